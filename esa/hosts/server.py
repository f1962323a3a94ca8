"""A PS on a UDP socket."""

from __future__ import annotations

import logging
import os
import socket
import threading
from contextlib import closing
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from esa.hosts.channel import (
    BATCH,
    Channel,
    Waker,
    fatal,
    injected,
    open_channel,
    receive,
    send_all,
    void_wrong_lengths,
    wait,
)
from esa.hosts.counted import CountLog
from esa.hosts.packet_log import PacketLog, packets_wanted
from esa.hosts.waiting import OtherRuns, Watch
from esa.job import Job, Run
from esa.log import area, event
from esa.native import native
from esa.net import MessageBatch, message_batch, monotonic_ns, open_udp_socket, set_peer
from esa.net.impairment import LinkFaults
from esa.policy import policy
from esa.protocol import (
    MULTICAST,
    UNKNOWN_SENDER,
    ServerState,
    Timers,
    server_change_policy,
    server_receive,
    server_send,
    server_state,
)
from esa.protocol.of_job import policy_settings, server_of_job
from esa.wire import ESA_PORT

_log = area("hosts")
_CLOSE, _POLICY = 0, 1  # what an engine is told


@native
def _senders(channel: Channel, members: MessageBatch, source: npt.NDArray[np.int32], count: int) -> None:
    """Set source[i] to the number of the member that sent message i."""
    for i in range(count):
        source[i] = UNKNOWN_SENDER
        for member in range(len(members.peer)):
            if (
                channel.inbox.peer[i, 1] == members.peer[member, 1]
                and channel.inbox.peer[i, 0] == members.peer[member, 0]
            ):
                source[i] = member
                break


@native
def _run(
    channel: Channel,
    members: MessageBatch,
    state: ServerState,
    source: npt.NDArray[np.int32],
    destination: npt.NDArray[np.int32],
    told: npt.NDArray[np.uint8],
) -> int:
    """Move packets until told to close or of another policy; return the negative errno of a dead socket, or 0."""
    while True:
        received = receive(channel)
        if received < 0:
            if fatal(received):
                return received
            received = 0
        now_ns = monotonic_ns()
        if received:
            void_wrong_lengths(channel, received)
            _senders(channel, members, source, received)
            server_receive(state, channel.packets_in, source, received, now_ns)
        sending, until_ns = server_send(state, channel.packets_out, destination, now_ns)
        for i in range(sending):
            member = 0 if destination[i] == MULTICAST else destination[i]
            channel.outbox.peer[i, 0] = members.peer[member, 0]
            channel.outbox.peer[i, 1] = members.peer[member, 1]
        error = send_all(channel, sending)
        if error:
            return error
        if told[_CLOSE] or told[_POLICY]:
            return 0
        if received < BATCH and until_ns > now_ns:
            wait(channel, until_ns)


def open_server_socket(job: Job, number: int) -> socket.socket:
    """A PS's socket; OSError if its address cannot be opened."""
    me = job.servers[number]
    return open_udp_socket((str(me.ip), me.udp_port))


class ServerEndpoint:
    """A run's PS, in a thread of its own. OSError if its address cannot be opened.

    number: of several PSs which it is. timers: when it asks again. faults: what its link does to packets on purpose.
    """

    def __init__(self, job: Run, *, number: int = 0, timers: Timers | None = None, faults: LinkFaults | None = None):
        self.job = job
        self._timers = timers or Timers()
        self._policy = job.policy
        self._state = server_of_job(job, self._timers, number=number)
        # Switches are members whatever the policy is now: it may change to one under which they hold rows.
        switches = [job.switch_ip, *(rack.switch_ip for rack in job.racks)]
        self._addresses = [*((m.ip, m.udp_port) for m in job.workers), *((ip, ESA_PORT) for ip in switches)]
        self._members = message_batch(len(self._addresses), 1)
        for i, (ip, port) in enumerate(self._addresses):
            set_peer(self._members, i, int(ip), port)
        self._source = np.zeros(BATCH, np.int32)
        self._destination = np.zeros(BATCH, np.int32)
        self._told = np.array([1, 0], np.uint8)  # _CLOSE, _POLICY
        self._error = 0
        self.compile()
        self._socket = open_server_socket(job, number)
        self._waker = Waker()
        self._channel = open_channel(self._socket, self._waker, job.lanes, faults)
        self._told[_CLOSE] = 0
        self._fields = {"job": job.name, "epoch": job.epoch, "rank": "ps"}
        names = [f"rank {rank}" for rank in range(job.fan_in)]
        names += [f"switch {ip}" for ip, _ in self._addresses[job.fan_in :]]
        packets = PacketLog(self._state.counter, **self._fields)
        self._run = packets.server(_run, names) if packets_wanted() else _run
        self._thread = threading.Thread(target=self._serve, name=f"{job.name}-server", daemon=True)
        self._thread.start()
        self._other_runs = OtherRuns()
        self._counts = CountLog(**self._fields)
        self._watch = Watch(f"{job.name}-server-watch", self._look)

    @staticmethod
    def compile() -> None:
        """Compile what moves packets, or load it from the cache: before a peer waits for it."""
        with closing(Waker()) as waker, closing(open_udp_socket(("127.0.0.1", 0))) as sock:
            state = server_state(job=1, epoch=0, workers_per_rack=[1], window=1, lanes=64)
            members = message_batch(1, 1)
            numbers = np.zeros(BATCH, np.int32)
            channel, told = open_channel(sock, waker, 64), np.ones(2, np.uint8)
            _run(channel, members, state, numbers, numbers, told)
            if packets_wanted():  # then each part is called by itself
                server_receive(state, channel.packets_in, numbers, 0, 0)
                _senders(channel, members, numbers, 0)
                PacketLog(state.counter).server(_run, [])(channel, members, state, numbers, numbers, told)
                wait(channel, 0)

    def _serve(self) -> None:
        while True:
            self._error = self._run(
                self._channel, self._members, self._state, self._source, self._destination, self._told
            )
            if self._error or self._told[_CLOSE]:
                return
            self._told[_POLICY] = 0  # first: who sets it after this has set `_policy` before, and is heard again
            job = self.job.model_copy(update={"policy": self._policy})
            server_change_policy(self._state, **policy_settings(job, self._timers))

    def set_policy(self, name: str) -> None:
        """Serve the job as policy `name` wants, which it has on the switch now. ValueError: there is no such policy.

        What is open stays open, and every sum stays exact, whichever of switch and PS is told first.
        """
        policy(name)
        self._policy = name
        self._told[_POLICY] = 1
        self._waker.wake()

    def _look(self) -> list[str]:
        """Return what a person should hear now, a line each."""
        self._counts.look(self._state.counter)
        me = self._state.server[0]
        epoch, source = int(me["other_run"]), int(me["other_source"])
        if not self._other_runs.is_new(epoch):
            return []
        ip, _ = self._addresses[source]
        line = f"refuses packets of run (epoch) {epoch} from {ip}; this is run {self.job.epoch}"
        event(_log, logging.WARNING, line, **self._fields)
        return [f"job {self.job.name}, PS: {line}"]

    @property
    def policy(self) -> str:
        """The policy that it serves."""
        return self._policy

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def stats(self) -> dict[str, Any]:
        """Return counts since the start; `silent_ranks`: those that fragments were given up for."""
        counter = self._state.counter[0]
        silent = self._state.rack["silent_bitmap"].tolist()
        places = [self.job.place(rank) for rank in range(self.job.fan_in)]
        return {
            **{name: int(counter[name]) for name in self._state.counter.dtype.names or ()},
            "refused": int(self._channel.refused[0]),
            "silent_ranks": [rank for rank, (rack, bit) in enumerate(places) if silent[rack] >> bit & 1],
        }

    def faults(self) -> dict[str, dict[str, int]]:
        """Return what was done to packets on purpose since the start, by direction; empty if nothing was asked for."""
        return injected(self._channel)

    def close(self) -> None:
        """Stop; OSError if the socket had failed before."""
        if self._told[_CLOSE]:
            return
        self._told[_CLOSE] = 1
        self._waker.wake()
        self._thread.join()
        self._watch.close()
        self._socket.close()
        self._waker.close()
        if self._error:
            raise OSError(-self._error, f"job {self.job.name}, PS: {os.strerror(-self._error)}")

    def __enter__(self) -> ServerEndpoint:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
