"""Lines: one direction of a cable, or a host's processor. Packets wait, are sent one by one, and arrive in order.

A packet is a buffer of the pool. A line is a list of buffers, linked in the order of their arrival; when a packet
leaves the queue is known the moment it enters it, so a packet costs one event a hop. Times inside are picoseconds: at
100 Gb/s a packet takes 27.68 ns, and a line must not be 2 % faster than asked for. A packet may have any length; how
long a cable takes to send one follows from its length on the wire, which is more than the bytes that are kept of it
where its payload is none of the simulation's business.
"""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from esa.memory import prefetch
from esa.native import native_uncounted as native
from esa.sim.engine.events import Events, push

NONE = -1
PS_PER_NS = 1000
BYTE_BITS = 16  # of a picosecond's fraction, in `byte_time`
MIN_RATE_BPS = 1000.0  # slower, and a jumbo frame's time does not fit in 64 bits

LINE = np.dtype(
    [
        ("byte_time", np.int64),  # how long sending a byte takes, ps << BYTE_BITS; a processor's is 0
        ("propagation_ns", np.int64),
        ("capacity", np.int64),  # packets that may wait or be under way out; one more is lost
        ("idle_from_ps", np.int64),  # when all that is in it has left
        ("head", np.int64),  # buffer that arrives next
        ("tail", np.int64),
        ("depart_head", np.int64),  # first buffer that has not left yet, as far as looked
        ("depth", np.int64),  # buffers from there on
        ("switch", np.int64),  # at the far end, or NONE
        ("port", np.int64),  # of that switch
        ("host", np.int64),  # at the far end, or NONE
        ("from_switch", np.int64),  # whose queue this is, or NONE
        ("from_port", np.int64),
        ("arrived", np.int64),  # packets, ever
        ("dropped", np.int64),
    ]
)
_DESCRIPTOR = np.dtype([("next", np.int64), ("arrive_ns", np.int64), ("leave_ps", np.int64)])


class PacketPool(NamedTuple):
    """The packets that exist; a switch reads `data`, `length` and `port` where they are."""

    data: npt.NDArray[np.uint8]  # (capacity, the most bytes that are kept of a packet)
    length: npt.NDArray[np.int32]  # bytes that are kept
    wire_bytes: npt.NDArray[np.int32]  # what it takes of a cable, payload that is not kept, preamble and gap included
    port: npt.NDArray[np.int32]  # where it entered the switch
    descriptor: npt.NDArray[np.void]
    free: npt.NDArray[np.int64]  # buffers; the first `spare[0]` are free
    spare: npt.NDArray[np.int64]  # (1,)


def new_packet_pool(capacity: int, data_bytes: int) -> PacketPool:
    """Room for `capacity` packets of which up to `data_bytes` are kept."""
    return PacketPool(
        data=np.zeros((capacity, data_bytes), np.uint8),
        length=np.zeros(capacity, np.int32),
        wire_bytes=np.zeros(capacity, np.int32),
        port=np.zeros(capacity, np.int32),
        descriptor=np.zeros(capacity, _DESCRIPTOR),
        free=np.arange(capacity - 1, -1, -1, dtype=np.int64),
        spare=np.full(1, capacity, np.int64),
    )


def grown_pool(pool: PacketPool) -> PacketPool:
    """The same packets, and as much room again."""
    old = len(pool.data)
    larger = new_packet_pool(2 * old, pool.data.shape[1])
    for name in ("data", "length", "wire_bytes", "port", "descriptor"):
        getattr(larger, name)[:old] = getattr(pool, name)
    spare = int(pool.spare[0])
    larger.free[:old] = np.arange(2 * old - 1, old - 1, -1)
    larger.free[old : old + spare] = pool.free[:spare]
    larger.spare[0] = old + spare
    return larger


def new_lines(count: int) -> npt.NDArray[np.void]:
    """Lines that lead nowhere yet."""
    lines = np.zeros(count, LINE)
    for name in ("head", "tail", "depart_head", "switch", "host", "from_switch"):
        lines[name] = NONE
    return lines


def byte_time(rate_bps: float, usual_bytes: int) -> int:
    """How long sending a byte takes at that rate, ps << BYTE_BITS.

    A packet of `usual_bytes` on the wire takes what it takes to the picosecond, half ones to the even side; any other
    length is off by a half and what its difference to the usual one adds, 2**-17 ps a byte.
    """
    exact = Fraction(8 * 10**12) / Fraction(rate_bps)
    unit: int = round(exact * 2**BYTE_BITS)
    wanted = round(usual_bytes * 8 * 1e12 / rate_bps)
    while (found := _rounded(unit, usual_bytes)) != wanted:  # at the border of a half
        unit += 1 if found < wanted else -1
    return unit


def _rounded(unit: int, octets: int) -> int:
    return (unit * octets + (1 << BYTE_BITS - 1)) >> BYTE_BITS


@native
def sending_ps(lines: npt.NDArray[np.void], pool: PacketPool, number: int, buffer: int) -> int:
    """How long a cable takes to send the packet in `buffer`."""
    time = lines[number]["byte_time"] * np.int64(pool.wire_bytes[buffer])
    return int((time + (1 << BYTE_BITS - 1)) >> BYTE_BITS)


@native
def take_buffer(pool: PacketPool) -> int:
    """A free buffer; the caller sees to it that there is one."""
    pool.spare[0] -= 1
    return int(pool.free[pool.spare[0]])


@native
def free_buffer(pool: PacketPool, buffer: int) -> None:
    pool.free[pool.spare[0]] = buffer
    pool.spare[0] += 1


@native
def queue_length(lines: npt.NDArray[np.void], pool: PacketPool, number: int, now_ns: int) -> int:
    """Packets in the line that have not left it, the one on its way out included."""
    line = lines[number]
    while line["depth"] > 0 and pool.descriptor[line["depart_head"]]["leave_ps"] <= now_ns * PS_PER_NS:
        head = pool.descriptor[line["depart_head"]]["next"]
        line["depart_head"] = head
        line["depth"] -= 1
        if line["depth"] > 0:
            prefetch(pool.descriptor, pool.descriptor[head]["next"])
    return int(line["depth"])


@native
def transmit(
    lines: npt.NDArray[np.void],
    pool: PacketPool,
    events: Events,
    number: int,
    buffer: int,
    from_ps: int,
    service_ps: int,
) -> int:
    """Put a packet into a line that takes `service_ps` for it, from `from_ps` on at the earliest.

    Return when it has left, ps. Of a cable the service is `sending_ps`.
    """
    line = lines[number]
    descriptor = pool.descriptor[buffer]
    leave_ps = max(line["idle_from_ps"], from_ps) + service_ps
    line["idle_from_ps"] = leave_ps
    descriptor["leave_ps"] = leave_ps
    descriptor["arrive_ns"] = (leave_ps + PS_PER_NS - 1) // PS_PER_NS + line["propagation_ns"]
    descriptor["next"] = NONE
    if line["head"] == NONE:
        line["head"] = buffer
        push(events, descriptor["arrive_ns"], number)
    else:
        pool.descriptor[line["tail"]]["next"] = buffer
    line["tail"] = buffer
    if line["depth"] == 0:
        line["depart_head"] = buffer
    line["depth"] += 1
    return int(leave_ps)


@native
def take_first(lines: npt.NDArray[np.void], pool: PacketPool, number: int, now_ns: int) -> int:
    """The buffer that has arrived at the line's end; the line begins with the next one."""
    line = lines[number]
    buffer = line["head"]
    if line["depth"] > 0 and line["depart_head"] == buffer:
        line["depart_head"] = pool.descriptor[buffer]["next"]
        line["depth"] -= 1
    head = pool.descriptor[buffer]["next"]
    line["head"] = head
    line["arrived"] += 1
    if head != NONE:  # the next to arrive, and its successor in the list: read soon, and written long ago
        prefetch(pool.data, head)
        prefetch(pool.length, head)
        prefetch(pool.wire_bytes, head)
        behind = pool.descriptor[head]["next"]
        if behind != NONE:
            prefetch(pool.descriptor, behind)
    return int(buffer)
