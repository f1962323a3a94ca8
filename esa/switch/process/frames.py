"""Frames from ports and to them, a batch at a time: system calls and counters as machine code, without the lock.

Calls are few: who does without the interpreter lock for a while waits for it after, where others use it. A port is a
slot of the arrays; `fds` int32 (slots,) are the ports' sockets, `numbers` int32 (slots,) what the program
calls them, `counters` uint64 (slots, 6) what `COUNTER_NAMES` says.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from esa.native import native
from esa.net import MessageBatch, frame_cost, is_ready, queued_bytes, recv_batch, send_rows, wait_ready

Counters: TypeAlias = npt.NDArray[np.uint64]
Int32s: TypeAlias = npt.NDArray[np.int32]
Int64s: TypeAlias = npt.NDArray[np.int64]

NOWHERE, CPU = -1, -2  # slots of ports that are no interface
RX_PACKETS, RX_BYTES, RX_DROPPED, TX_PACKETS, TX_BYTES, TX_DROPPED = range(6)
COUNTER_NAMES = ("rx_packets", "rx_bytes", "rx_dropped", "tx_packets", "tx_bytes", "tx_dropped")
_QUEUED, _FRAME_COST = range(2)


@native
def receive(
    polled: npt.NDArray[np.int16],
    timeout_ns: int,
    fds: Int32s,
    numbers: Int32s,
    first_port: int,
    messages: MessageBatch,
    ports: Int32s,
    counters: Counters,
    queues: Int64s,
    depths: Int64s,
) -> int:
    """Wait, fill the batch from the ready ports, an equal share each, `read_queues`; return the number of packets.

    timeout_ns: as of `wait_ready`. Row k of `polled` after row 0 is port slot k - 1. `first_port` rotates, so that no
    port is always served first.
    """
    wait_ready(polled, timeout_ns)
    slots = len(fds)
    ready = 0
    for slot in range(slots):
        ready += is_ready(polled, slot + 1)
    count = 0
    room = len(messages.length)
    for turn in range(slots):
        slot = (first_port + turn) % slots
        if not is_ready(polled, slot + 1):
            continue
        received = recv_batch(fds[slot], messages, count, (room - count) // ready)
        ready -= 1
        start = count
        for i in range(start, start + max(received, 0)):
            length = messages.length[i]
            if length < 0:
                counters[slot, RX_DROPPED] += np.uint64(1)
                continue
            if count != i:
                messages.data[count, :length] = messages.data[i, :length]
                messages.length[count] = length
            ports[count] = numbers[slot]
            counters[slot, RX_PACKETS] += np.uint64(1)
            counters[slot, RX_BYTES] += np.uint64(length)
            count += 1
    read_queues(fds, numbers, queues, depths)
    return count


@native
def transmit(
    fds: Int32s,
    slot_of_port: Int32s,
    messages: MessageBatch,
    ports: Int32s,
    count: int,
    rows: Int32s,
    starts: Int32s,
    cpu_rows: Int32s,
    queues: Int64s,
    counters: Counters,
) -> int:
    """Send `count` packets, one sendmmsg per egress port, keeping each port's order.

    rows (n,), starts (slots + 1,): scratch. queues: see `read_queues`. Returns how many packets are for the CPU, their
    rows in `cpu_rows`.
    """
    slots = len(fds)
    cpu_count = 0
    starts[:] = 0
    for i in range(count):
        slot = slot_of_port[ports[i]] if 0 <= ports[i] < len(slot_of_port) else NOWHERE
        if slot >= 0:
            starts[slot + 1] += 1
        elif slot == CPU:
            cpu_rows[cpu_count] = i
            cpu_count += 1
    for slot in range(slots):
        starts[slot + 1] += starts[slot]
    for i in range(count):
        slot = slot_of_port[ports[i]] if 0 <= ports[i] < len(slot_of_port) else NOWHERE
        if slot >= 0:
            rows[starts[slot]] = i
            starts[slot] += 1
    begin = 0
    for slot in range(slots):
        end = starts[slot]
        if begin < end:
            _send_port(fds[slot], messages, rows, begin, end, counters[slot])
            queues[slot, _QUEUED] = 1
            queues[slot, _FRAME_COST] = frame_cost(messages.length[rows[end - 1]])
        begin = end
    return cpu_count


@native
def read_queues(fds: Int32s, numbers: Int32s, queues: Int64s, depths: Int64s) -> None:
    """Tell the program how many frames wait at each port, depths int64 (512,) by port number.

    The queue is the interface's own (a rate limit's, say): the switch itself keeps none. queues int64 (slots, 2):
    whether the port's queue may hold something, and the cost of a frame like the last one sent.
    """
    for slot in range(len(fds)):
        if queues[slot, _QUEUED]:
            depth = queued_bytes(fds[slot]) // queues[slot, _FRAME_COST]
            depths[numbers[slot]] = depth
            queues[slot, _QUEUED] = 1 if depth > 0 else 0


@native
def _send_port(fd: int, messages: MessageBatch, rows: Int32s, begin: int, end: int, counters: Counters) -> None:
    while begin < end:
        sent = max(send_rows(fd, messages, rows, begin, end - begin), 0)
        for k in range(begin, begin + sent):
            counters[TX_PACKETS] += np.uint64(1)
            counters[TX_BYTES] += np.uint64(messages.length[rows[k]])
        begin += sent
        if begin < end:
            # The frame in front is lost: the port's queue is full, or the frame is longer than the port's MTU.
            counters[TX_DROPPED] += np.uint64(1)
            begin += 1
