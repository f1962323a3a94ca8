"""What both engines need of a socket: rows of packets, packets of a wrong length, waiting and being woken."""

from __future__ import annotations

import errno as codes
import os
import socket
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import types

from esa.native import native
from esa.net import (
    MessageBatch,
    is_ready,
    message_batch,
    monotonic_ns,
    poll_set,
    recv_batch,
    send_segmented,
    wait_ready,
)
from esa.net.faults import FaultyPath, delay_queue, fault_counters, impair, new_faults, next_due_ns
from esa.net.impairment import Impairment, LinkFaults
from esa.net.libc import libc_function
from esa.net.poll import PollSet
from esa.protocol import HEADER_WORDS, NEVER, Words

BATCH = 64  # messages per system call

_read = libc_function("read", types.int64, types.int32, types.uintp, types.uint64)
_ECONNREFUSED, _EHOSTUNREACH, _ENETUNREACH = codes.ECONNREFUSED, codes.EHOSTUNREACH, codes.ENETUNREACH
_EMSGSIZE, _EPERM, _ENETDOWN = codes.EMSGSIZE, codes.EPERM, codes.ENETDOWN
_QUEUE_FULL_WAIT_NS = 200_000
_HELD = 8192  # packets that a bad link may hold back, per direction


class Channel(NamedTuple):
    """A socket, room for a batch in each direction, and what to wait for. Usable inside native code."""

    fd: int
    wake_fd: int
    inbox: MessageBatch
    outbox: MessageBatch
    packets_in: Words  # (BATCH, words): the memory of inbox.data
    packets_out: Words
    polled: PollSet  # the socket, the waker
    refused: npt.NDArray[np.int64]  # (1,): messages that the system did not take
    outgoing: FaultyPath  # what the link does to packets on purpose; without lines: nothing
    incoming: FaultyPath
    lines: npt.NDArray[np.int32]  # (BATCH,): the one line of each path


def open_channel(sock: socket.socket, waker: Waker, lanes: int, faults: LinkFaults | None = None) -> Channel:
    size = 4 * (HEADER_WORDS + lanes)
    inbox, outbox = message_batch(BATCH, size), message_batch(BATCH, size, segments=True)
    outbox.length[:] = size
    faults = faults or LinkFaults()
    return Channel(
        sock.fileno(),
        waker.fd,
        inbox,
        outbox,
        inbox.data.view(np.uint32),
        outbox.data.view(np.uint32),
        poll_set([sock.fileno(), waker.fd]),
        np.zeros(1, np.int64),
        _path(faults.to_switch, faults.line_seed(0), size),
        _path(faults.from_switch, faults.line_seed(1), size),
        np.zeros(BATCH, np.int32),
    )


def _path(impairment: Impairment | None, seed: int, size: int) -> FaultyPath:
    if impairment is None:
        return FaultyPath(new_faults([], []), delay_queue(0, size))
    return FaultyPath(new_faults([impairment], [seed]), delay_queue(_HELD, size))


def injected(channel: Channel) -> dict[str, dict[str, int]]:
    """Return what was done to packets on purpose, by direction; empty if nothing was asked for."""
    paths = {"to_switch": channel.outgoing, "from_switch": channel.incoming}
    return {direction: fault_counters(path.faults, 0) for direction, path in paths.items() if len(path.faults.line)}


class Waker:
    """Ends an engine's wait from another thread."""

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def wake(self) -> None:
        os.eventfd_write(self.fd, 1)

    def close(self) -> None:
        os.close(self.fd)


@native
def void_wrong_lengths(channel: Channel, count: int) -> None:
    """Give received messages of a wrong length a version that does not exist, so that the protocol drops them."""
    for i in range(count):
        if channel.inbox.length[i] != channel.inbox.data.shape[1]:
            channel.inbox.data[i, 0] = 0


@native
def fatal(error: int) -> bool:
    """Return whether a socket's negative errno means that it is of no more use; others pass, or concern one message."""
    return -error not in (_ECONNREFUSED, _EHOSTUNREACH, _ENETUNREACH, _EMSGSIZE, _EPERM, _ENETDOWN)


@native
def receive(channel: Channel) -> int:
    """Take waiting messages into the inbox; return how many, or the negative errno of the socket."""
    received = recv_batch(channel.fd, channel.inbox, 0, BATCH)
    if len(channel.incoming.faults.line) and received >= 0:
        return int(impair(channel.incoming, channel.inbox, channel.lines, received, monotonic_ns()))
    return int(received)


@native
def send_all(channel: Channel, count: int) -> int:
    """Send packets 0..count-1, waiting where the queue is full; return 0, or the negative errno of a dead socket.

    A message that the system refuses (nobody listens, no route) is lost, as it could be anywhere else.
    """
    if len(channel.outgoing.faults.line):
        count = impair(channel.outgoing, channel.outbox, channel.lines, count, monotonic_ns())
    done = 0
    while done < count:
        sent = send_segmented(channel.fd, channel.outbox, done, count - done)
        if sent == 0:
            wait_ready(channel.polled[1:], _QUEUE_FULL_WAIT_NS)
        elif sent > 0:
            done += sent
        elif fatal(sent):
            return sent
        else:
            channel.refused[0] += 1
            done += 1
    return 0


@native
def wait(channel: Channel, until_ns: int) -> None:
    """Wait until something arrives, somebody wakes this thread, or it is `until_ns`."""
    until_ns = min(until_ns, next_due_ns(channel.incoming.queue), next_due_ns(channel.outgoing.queue))
    timeout_ns = -1
    if until_ns < NEVER:
        timeout_ns = max(until_ns - monotonic_ns(), 0)
    wait_ready(channel.polled, timeout_ns)
    if is_ready(channel.polled, 1):
        count = np.empty(1, np.uint64)
        _read(channel.wake_fd, count.ctypes.data, 8)
