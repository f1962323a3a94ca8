"""What every sum must be: each worker's lanes are a pure function of whose they are, so any row can be read back.

The first lanes are one per rank: rank r puts its tag into lane r and zeros into the others', so a sum shows who is in
it, and how often. The other lanes are arbitrary numbers. Exponents and priorities are pure functions as well.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

TAG_LANES = 8  # fan-in of the model's jobs, at most


def mix(*numbers: int) -> int:
    """64 bits that look random: splitmix64 over the numbers."""
    z = 0
    for number in numbers:
        z = (z ^ number) + 0x9E3779B97F4A7C15 & (2**64 - 1)
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & (2**64 - 1)
        z = (z ^ z >> 27) * 0x94D049BB133111EB & (2**64 - 1)
        z ^= z >> 31
    return z


@lru_cache(200_000)
def _hash(job: int, epoch: int, seq: int, rank: int) -> int:
    return mix(job, epoch, seq, rank)


def priority(job: int, epoch: int, seq: int, rank: int) -> int:
    """1..255, skewed: extremes are frequent."""
    h = _hash(job, epoch, seq, rank)
    return (1, 255, 1 + (h >> 8) % 255, 1 + (h >> 8) % 16)[h & 3]


def exponent(job: int, epoch: int, seq: int, rank: int) -> int:
    return (_hash(job, epoch, seq, rank) >> 20) % 255 - 128


def merged_exponent(job: int, epoch: int, seq: int, bitmap: int) -> int:
    return max(exponent(job, epoch, seq, rank) for rank in range(TAG_LANES) if bitmap >> rank & 1)


@lru_cache(200_000)
def contribution(job: int, epoch: int, seq: int, rank: int, lanes: int) -> np.ndarray:
    """(lanes,) int32 of one worker."""
    h = _hash(job, epoch, seq, rank)
    values = (np.arange(lanes, dtype=np.int64) * (h >> 40 | 1) + (h & 0xFFFFFF)) % (1 << 26) - (1 << 25)
    values[:TAG_LANES] = 0
    if lanes:
        values[rank] = 1 + (h >> 30) % 1_000_000
    return values.astype(np.int32)


@lru_cache(200_000)
def sum_bytes(job: int, epoch: int, seq: int, bitmap: int, lanes: int) -> bytes:
    """The lanes of the sum over exactly the workers of `bitmap`, as on the wire."""
    ranks = [rank for rank in range(TAG_LANES) if bitmap >> rank & 1]
    total = np.sum([contribution(job, epoch, seq, rank, lanes) for rank in ranks], axis=0, dtype=np.int32)
    return total.astype(">i4").tobytes()


def decode(job: int, epoch: int, seq: int, found: bytes) -> str:
    """Who is in a sum of this fragment, by its tags: "2 x w0 + w3"."""
    tags = np.frombuffer(found, ">i4")[:TAG_LANES]
    parts = []
    for rank, value in enumerate(tags.tolist()):
        tag = int(contribution(job, epoch, seq, rank, TAG_LANES)[rank])
        if value and value % tag == 0:
            parts.append(f"w{rank}" if value == tag else f"{value // tag} x w{rank}")
        elif value:
            parts.append(f"{value} in w{rank}'s lane, whose tag is {tag}")
    return " + ".join(parts) or "nobody"
