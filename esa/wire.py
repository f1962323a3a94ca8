"""The packet: the one place where its layout is written down.

An ESA packet is Ethernet / IPv4 / UDP / ESA header / V lanes, all big-endian. `FIELDS` is the header's table;
the numpy dtypes, the Scapy layer and (held by a test) the headers of the compiled P4 program all follow from it.

    >>> frame = packet_dtype(lanes=64)
    >>> frame.itemsize
    280
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from functools import lru_cache
from typing import NamedTuple

import numpy as np

VERSION = 1
ESA_PORT = 31780  # UDP, below the ephemeral range: a packet to or from this port is an ESA packet


class Kind(IntEnum):
    """What a packet is; the low four bits of the first byte."""

    GRADIENT = 1  # a fragment on its way to be summed
    PARTIAL = 2  # a sum of several workers' fragments on its way to the PS
    RESULT = 3  # the sum over all workers
    REMINDER = 4  # PS to switch: hand over what is held of this fragment
    MISS = 5  # switch to PS: nothing of it is held here
    QUERY = 6  # PS to worker: answer with the result, or resend


class Flag(IntFlag):
    """The flags byte."""

    RESEND = 0x01  # never takes a row: this fragment was sent before
    COLLISION = 0x02  # passed on to the PS because the row was another's
    ECN = 0x04  # met a queue above its threshold
    RELEASE = 0x08  # the row that holds this fragment can be cleared
    LEVEL1 = 0x10  # the complete sum of a rack, to be summed over racks
    ANSWER = 0x20  # a RESULT from a worker's ring, in answer to a QUERY
    ALIVE = 0x40  # a QUERY: the workers it names live and have not sent this yet; nobody is silent
    CONTESTED = 0x80  # a sum: another's packet met the row that it was in, and went on to its own PS


class Field(NamedTuple):
    """One header field: `name` as in the P4 header, `bits` on the wire, `signed` two's complement."""

    name: str
    bits: int
    signed: bool = False


FIELDS: tuple[Field, ...] = (
    Field("version", 4),
    Field("kind", 4),
    Field("flags", 8),
    Field("priority", 8),
    Field("exponent", 8, signed=True),
    Field("job", 16),
    Field("epoch", 16),
    Field("seq", 32),
    Field("index", 32),
    Field("bitmap0", 32),
    Field("bitmap1", 32),
)

HEADER_BYTES = sum(field.bits for field in FIELDS) // 8
ENCAPSULATION_BYTES = 14 + 20 + 8  # Ethernet, IPv4, UDP
WIRE_OVERHEAD_BYTES = 24  # what a frame takes of a cable beside itself: preamble, start of frame, FCS, gap
LANE_COUNTS = (0, 64, 256)  # builds of the P4 program; 0 carries no payload and is for virtual time

# The exponent that says "this fragment holds a value that no scale of int32 fits": see docs/protocol.md.
EXPONENT_POISON = 127


def version_kind(kind: int) -> int:
    """The first header byte of a packet of `kind`."""
    return VERSION << 4 | int(kind)


def _numpy_fields() -> list[tuple[str, str]]:
    # numpy has no 4-bit fields: version and kind share the first byte.
    fields = [("version_kind", ">u1")]
    fields += [(f.name, f">{'i' if f.signed else 'u'}{f.bits // 8}") for f in FIELDS[2:]]
    return fields


HEADER = np.dtype(_numpy_fields())


@lru_cache
def packet_dtype(lanes: int) -> np.dtype[np.void]:
    """A UDP payload as a packed numpy dtype: the ESA header, then `lanes` big-endian int32 in field `lane`."""
    return np.dtype([*_numpy_fields(), ("lane", ">i4", (lanes,))])


def packet_bytes(lanes: int) -> int:
    """Bytes of a whole Ethernet frame (without FCS) that carries `lanes` lanes."""
    return ENCAPSULATION_BYTES + HEADER_BYTES + 4 * lanes


def aggregator_index(job: int, epoch: int, seq: int) -> int:
    """The 32-bit `index` of a fragment, before the switch masks it: the same at every worker and at the PS.

    An odd multiplier makes it a bijection of seq modulo every power of two, so a job never collides with itself within
    a window as long as its pool; multiplier and salt depend on job and epoch, so jobs collide pseudo-randomly.
    """
    multiplier, salt = index_parameters(job, epoch)
    return (seq * multiplier + salt) & 0xFFFFFFFF


def index_parameters(job: int, epoch: int) -> tuple[int, int]:
    """(odd multiplier, salt) of `aggregator_index`, both 32 bits: a splitmix64 step over (job, epoch)."""
    z = ((job << 16 | epoch) + 1) * 0x9E3779B97F4A7C15 & (2**64 - 1)
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & (2**64 - 1)
    z = (z ^ z >> 27) * 0x94D049BB133111EB & (2**64 - 1)
    z ^= z >> 31
    return z >> 32 | 1, z & 0xFFFFFFFF


def seq_before(a: int, b: int) -> bool:
    """Whether `a` comes before `b` in 32-bit serial-number arithmetic (RFC 1982)."""
    return 0 < (b - a) & 0xFFFFFFFF < 0x80000000
