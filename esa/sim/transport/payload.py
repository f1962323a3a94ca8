"""Gradients for simulations that carry them: hashes instead of memory, so every sum is compared with the plain one."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from esa.native import native_uncounted as native

# splitmix64 (Steele, Lea, Flood 2014).
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_SHIFT_1, _SHIFT_2, _SHIFT_3, _TOP = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(43)
_HALF = 1 << 20  # lanes within 2**20 either way: 1,024 workers' sum fits
_PLACES = 4096  # plain sums that are kept, a power of two: workers get the sum of a fragment at about the same time


class PlainSums(NamedTuple):
    """The plain sums that were needed last, of one simulation; make one with `new_plain_sums`."""

    job: npt.NDArray[np.int64]  # (places,): 0: none is here
    fragment: npt.NDArray[np.int64]
    lanes: npt.NDArray[np.int64]  # (places, lanes)


def new_plain_sums(lanes: int) -> PlainSums:
    places = _PLACES if lanes else 1
    return PlainSums(np.zeros(places, np.int64), np.zeros(places, np.int64), np.zeros((places, lanes), np.int64))


@native
def _lane(seed: int, job: int, rank: int, fragment: int, k: int) -> int:
    z = np.uint64(seed) * _MIX_2 + np.uint64(job) * _MIX_1 + np.uint64((fragment << 18) + (rank << 8) + k + 1) * _GOLDEN
    z = (z ^ (z >> _SHIFT_1)) * _MIX_1
    z = (z ^ (z >> _SHIFT_2)) * _MIX_2
    return int((z ^ (z >> _SHIFT_3)) >> _TOP) - _HALF


@native
def fill_lanes(lanes: npt.NDArray[np.int32], seed: int, job: int, rank: int, fragment: int) -> None:
    """lanes (n,) int32 = a worker's gradients of one fragment."""
    for k in range(len(lanes)):
        lanes[k] = _lane(seed, job, rank, fragment, k)


@native
def check_sum(lanes: npt.NDArray[np.int32], seed: int, job: int, workers: int, fragment: int, plain: PlainSums) -> bool:
    """Whether lanes (n,) int32 are the sum of all workers' gradients of one fragment; job: from 1."""
    place = (fragment + 977 * job) & (len(plain.job) - 1)
    if plain.job[place] != job or plain.fragment[place] != fragment:
        plain.job[place], plain.fragment[place] = job, fragment
        for k in range(len(lanes)):
            total = 0
            for rank in range(workers):
                total += _lane(seed, job, rank, fragment, k)
            plain.lanes[place, k] = total
    right = True
    for k in range(len(lanes)):
        right = right and lanes[k] == plain.lanes[place, k]
    return right
