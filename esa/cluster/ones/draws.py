"""Draws by what they are for: (seed, time), operator, candidate, cell or job. Nobody's draw depends on who else draws.

A draw is a hash of its key, three steps of splitmix64 (Steele, Lea, Flood 2014), so there is no state: a job more
leaves those of the others as they were.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from esa.native import native

CROSSOVER, PARENTS, MUTATION, PROGRESS = range(4)  # operators

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)
_EXACT = 2.0**-53
_TRIES = 64  # of the sampler: one in twenty fails


@native
def mixed(key: np.uint64, value: int) -> np.uint64:
    """A step of splitmix64 from `key`, at `value`."""
    z = key + (np.uint64(value) + np.uint64(1)) * _GOLDEN
    z = (z ^ (z >> np.uint64(30))) * _FIRST
    z = (z ^ (z >> np.uint64(27))) * _SECOND
    return z ^ (z >> np.uint64(31))


@native
def uniform(key: np.uint64, operator: int, candidate: int, cell: int) -> float:
    """In (0, 1)."""
    drawn = mixed(mixed(mixed(key, operator), candidate), cell)
    return (float(drawn >> np.uint64(11)) + 0.5) * _EXACT


@native
def gamma(key: np.uint64, job: int, which: int, shape: float) -> float:
    """Of a shape of 1 or more and scale 1 (Marsaglia and Tsang 2000). Draws of a job and a which are its own."""
    third = shape - 1.0 / 3.0
    width = 1.0 / math.sqrt(9.0 * third)
    for attempt in range(_TRIES):
        counter = 4 * attempt + 1024 * which
        radius = math.sqrt(-2.0 * math.log(uniform(key, PROGRESS, job, counter)))
        normal = radius * math.cos(2.0 * math.pi * uniform(key, PROGRESS, job, counter + 1))
        cube = 1.0 + width * normal
        if cube <= 0.0:
            continue
        cube = cube * cube * cube
        chance = math.log(uniform(key, PROGRESS, job, counter + 2))
        if chance < 0.5 * normal * normal + third - third * cube + third * math.log(cube):
            return third * cube
    return third


@native
def betas(
    key: np.uint64, jobs: npt.NDArray[np.int64], a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """A draw of Beta(a, b) for each job, in (0, 1); a and b are 1 or more."""
    drawn = np.empty(len(jobs))
    for k in range(len(jobs)):
        done, left = gamma(key, jobs[k], 0, a[k]), gamma(key, jobs[k], 1, b[k])
        drawn[k] = min(max(done / (done + left), 1e-9), 1.0 - 1e-9)
    return drawn
