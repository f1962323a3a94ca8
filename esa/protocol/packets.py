"""Packets as the state machines see them: rows of 32-bit words, big-endian, six of header and one per lane.

A batch is a uint32 array (n, 6 + lanes), the same memory as n of `wire.packet_dtype(lanes)`: `as_packets` makes these
of it. Words are swapped on the way in and out, a whole row of lanes in a few vector instructions.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from esa.native import native_uncounted as native
from esa.wire import FIELDS, HEADER, HEADER_BYTES, VERSION, Flag, Kind, packet_dtype

Words: TypeAlias = npt.NDArray[np.uint32]
Lanes: TypeAlias = npt.NDArray[np.int32]
Records: TypeAlias = npt.NDArray[np.void]

HEADER_WORDS = HEADER_BYTES // 4

# The layout below is `wire.FIELDS` in words; importing this with another table would be wrong, so it fails.
_LAYOUT = "version_kind flags priority exponent job epoch seq index bitmap0 bitmap1"
if " ".join(HEADER.names or ()) != _LAYOUT or [f.bits for f in FIELDS[2:]] != [8, 8, 8, 16, 16, 32, 32, 32, 32]:
    raise ImportError("esa.protocol.packets does not match the header in esa.wire")

GRADIENT, PARTIAL, RESULT = int(Kind.GRADIENT), int(Kind.PARTIAL), int(Kind.RESULT)
REMINDER, MISS, QUERY = int(Kind.REMINDER), int(Kind.MISS), int(Kind.QUERY)
RESEND, ECN, RELEASE = int(Flag.RESEND), int(Flag.ECN), int(Flag.RELEASE)
COLLISION, LEVEL1, ANSWER = int(Flag.COLLISION), int(Flag.LEVEL1), int(Flag.ANSWER)
ALIVE, CONTESTED = int(Flag.ALIVE), int(Flag.CONTESTED)

_BITS32 = 0xFFFFFFFF
_LOWEST, _HIGHEST = -(2**31), 2**31 - 1


def words(count: int, lanes: int) -> Words:
    """Make room for `count` packets: uint32 (count, 6 + lanes), zeros."""
    return np.zeros((count, HEADER_WORDS + lanes), np.uint32)


def as_packets(batch: Words) -> npt.NDArray[np.void]:
    """View a batch as (n,) of `wire.packet_dtype`: fields by name, for people and tests."""
    packets: npt.NDArray[np.void] = batch.view(packet_dtype(batch.shape[1] - HEADER_WORDS))[:, 0]
    return packets


@native
def _swap(word: Any) -> int:
    value = np.int64(word)
    return int((value >> 24) & 0xFF | (value >> 8) & 0xFF00 | (value & 0xFF00) << 8 | (value & 0xFF) << 24)


@native
def _word(packets: Words, i: int, k: int) -> int:
    return _swap(packets[i, k])


@native
def kind_of(packets: Words, i: int, job: int, epoch: int) -> int:
    """Return the kind of packet i; 0 if its version is not ours or it belongs to another job or epoch."""
    first = _word(packets, i, 0) >> 24
    if first >> 4 != VERSION or _word(packets, i, 1) != (job << 16 | epoch):
        return 0
    return first & 0xF


@native
def other_run_of(packets: Words, i: int, job: int, epoch: int) -> int:
    """Return the epoch of packet i if it is of this job and not of this epoch, so of another run; else -1."""
    first, second = _word(packets, i, 0) >> 24, _word(packets, i, 1)
    if first >> 4 != VERSION or second >> 16 != job or second & 0xFFFF == epoch:
        return -1
    return second & 0xFFFF


@native
def flags_of(packets: Words, i: int) -> int:
    return (_word(packets, i, 0) >> 16) & 0xFF


@native
def priority_of(packets: Words, i: int) -> int:
    return (_word(packets, i, 0) >> 8) & 0xFF


@native
def exponent_of(packets: Words, i: int) -> int:
    return ((_word(packets, i, 0) & 0xFF) ^ 0x80) - 0x80


@native
def seq_of(packets: Words, i: int) -> int:
    return _word(packets, i, 2)


@native
def server_number(packets: Words, i: int, servers: int) -> int:
    """Return which of a job's PSs, so many, packet i of a worker is for: that of its seq."""
    return _word(packets, i, 2) & (servers - 1)


@native
def index_of(packets: Words, i: int) -> int:
    return _word(packets, i, 3)


@native
def bitmap0_of(packets: Words, i: int) -> int:
    return _word(packets, i, 4)


@native
def bitmap1_of(packets: Words, i: int) -> int:
    return _word(packets, i, 5)


@native
def write_header(
    packets: Words,
    i: int,
    kind: int,
    flags: int,
    priority: int,
    exponent: int,
    job: int,
    epoch: int,
    seq: int,
    index: int,
    bitmap0: int,
    bitmap1: int,
) -> None:
    """Write the header of packet i; numbers are cut to their fields' widths."""
    first = (VERSION << 4 | kind) << 24 | (flags & 0xFF) << 16 | (priority & 0xFF) << 8 | (exponent & 0xFF)
    packets[i, 0] = _swap(first)
    packets[i, 1] = _swap(job << 16 | epoch)
    packets[i, 2] = _swap(seq & _BITS32)
    packets[i, 3] = _swap(index & _BITS32)
    packets[i, 4] = _swap(bitmap0 & _BITS32)
    packets[i, 5] = _swap(bitmap1 & _BITS32)


@native
def read_lanes(packets: Words, i: int, lane: Lanes, row: int) -> None:
    """Copy the lanes of packet i to lane[row]."""
    for k in range(lane.shape[1]):
        lane[row, k] = np.int32(_swap(packets[i, HEADER_WORDS + k]))


@native
def add_lanes(packets: Words, i: int, lane: Lanes, row: int) -> None:
    """Add the lanes of packet i to lane[row], saturating."""
    for k in range(lane.shape[1]):
        total = int(lane[row, k]) + int(np.int32(_swap(packets[i, HEADER_WORDS + k])))
        lane[row, k] = min(max(total, _LOWEST), _HIGHEST)


@native
def add_rows(lane: Lanes, row: int, other: Lanes, other_row: int) -> None:
    """Add other[other_row] to lane[row], saturating."""
    for k in range(lane.shape[1]):
        total = int(lane[row, k]) + int(other[other_row, k])
        lane[row, k] = min(max(total, _LOWEST), _HIGHEST)


@native
def write_lanes(packets: Words, i: int, lane: Lanes, row: int) -> None:
    """Copy lane[row] to the lanes of packet i."""
    for k in range(lane.shape[1]):
        packets[i, HEADER_WORDS + k] = np.uint32(_swap(lane[row, k]))


@native
def write_zeros(packets: Words, i: int) -> None:
    """Set the lanes of packet i to 0: a packet that asks or tells something carries all lanes all the same."""
    for k in range(HEADER_WORDS, packets.shape[1]):
        packets[i, k] = 0
