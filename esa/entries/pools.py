"""Which rows a job may use: a part of the memory, all of it with everybody else, or a slice of its own.

- *placed*: as many rows as its span takes while there is room, a window's at least, where they are used least: of its
  own, or shared with jobs that communicate little. That is the control plane's half of scheduling the memory; where
  jobs do meet, priorities decide.
- *shared*: one pool for all, on which each hashes its fragments.
- *slice*: rows that nobody else has. Release on reuse needs two spans: a worker sends seq + span as soon as it has seq,
  so a row is free again only two spans later.

Placed and shared pools may overlap each other; a slice overlaps nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from esa.errors import BadInput
from esa.job import Pool
from esa.policy import Policy


class Claim(NamedTuple):
    """Rows that a job has or wants; `kind` is that of its policy: "placed", "shared", "slice" or "none".

    demand: how much of its time it uses them, 0 to 1; 1 where nothing is known.
    """

    name: str
    kind: str
    pool: Pool
    demand: float = 1.0


OVERLAPPING = ("placed", "shared")  # each other


def rows_text(pool: Pool) -> str:
    return f"rows {pool.base}..{pool.base + pool.size - 1}"


def slice_size(span: int) -> int:
    """Rows of a slice: two spans, rounded up to a power of two."""
    return 1 << (2 * span - 1).bit_length()


def placed_size(policy: Policy, window: int, rows: int, jobs: int) -> int:
    """Rows of a placed pool, a power of two: what the span takes if so many jobs have room for that, else a window."""
    least = min(power_of_two_from(window), power_of_two_within(rows))
    most = min(power_of_two_from(policy.windows_ahead * window), power_of_two_within(max(1, rows // max(1, jobs))))
    return max(least, most)


def same_kind(a: str, b: str) -> bool:
    """Whether rows of one kind are rows of the other."""
    return a == b or (a in OVERLAPPING and b in OVERLAPPING)


def check(claim: Claim, others: Iterable[Claim], rows: int, span: int | None = None) -> None:
    """Refuse a claim beyond the switch's `rows`, on another's slice, or as a slice smaller than two spans."""
    if claim.kind == "none":
        return
    if claim.pool.base + claim.pool.size > rows:
        raise BadInput(f"pool: job {claim.name}: {rows_text(claim.pool)} exceed the switch's {rows} rows")
    if claim.kind == "slice" and span is not None and claim.pool.size < slice_size(span):
        raise BadInput(
            f"pool: job {claim.name}: a slice of {claim.pool.size} rows is too small:"
            f" a span of {span} needs {slice_size(span)}"
        )
    for other in others:
        if other.kind == "none" or (claim.kind != "slice" and same_kind(claim.kind, other.kind)):
            continue
        if _overlap(claim.pool, other.pool):
            raise BadInput(
                f"pool: job {claim.name}: {claim.kind} {rows_text(claim.pool)} overlap"
                f" {other.kind} {rows_text(other.pool)} of job {other.name}"
            )


def allocate(
    name: str, policy: Policy, window: int, others: Sequence[Claim], rows: int, jobs: int | None = None
) -> Pool:
    """Rows for one more job, by the kind of its policy's pool. BadInput, one line, if there are none.

    jobs: how many may have to be placed in all; None: nobody knows, and who comes first takes what it can use.

    placed: where nobody is, else where the others' demand is least; shared: the pool that jobs share already, or the
    largest free one; slice: the highest free one.
    """
    if policy.pool == "none":
        return Pool(base=0, size=1)
    if policy.pool == "placed":
        return _place(name, policy, window, others, rows, jobs or 1)
    if policy.pool == "slice":
        size = slice_size(window)
        taken = others
    else:
        shared = [other for other in others if other.kind == "shared"]
        if shared:
            return max((other.pool for other in shared), key=lambda pool: pool.size)
        size = power_of_two_within(rows)
        taken = [other for other in others if other.kind == "slice"]
    taken = _holders(taken)
    while size:
        bases = range(0, rows - size + 1, size)
        # Slices fill the memory from the top, which leaves the largest pool to share at the bottom.
        for base in reversed(bases) if policy.pool == "slice" else bases:
            pool = Pool(base=base, size=size)
            if not any(_overlap(pool, other.pool) for other in taken):
                return pool
        size = 0 if policy.pool == "slice" else size // 2
    raise _no_room(
        name, f"a slice of {slice_size(window)} rows" if policy.pool == "slice" else "a pool to share", taken, rows
    )


def _place(name: str, policy: Policy, window: int, others: Sequence[Claim], rows: int, jobs: int) -> Pool:
    others = _holders(others)
    size = placed_size(policy, window, rows, jobs)
    least = placed_size(policy, window, rows, rows)
    while size:
        demand = _demand(size, others, rows)
        best = int(demand.argmin())  # of several the lowest
        if demand[best] == 0 or (size <= least and demand[best] < math.inf):
            return Pool(base=best * size, size=size)
        size //= 2
    raise _no_room(name, "a pool", others, rows)


def _demand(size: int, others: Iterable[Claim], rows: int) -> npt.NDArray[np.float64]:
    """Others' demand on each of the pools of a size, one behind the other; infinite where a slice is."""
    demand = np.zeros(rows // size)
    for other in others:
        base, end = other.pool.base, other.pool.base + other.pool.size
        touched = np.arange(base // size, min(-(-end // size), len(demand)))
        both = np.minimum((touched + 1) * size, end) - np.maximum(touched * size, base)
        demand[touched] += math.inf if other.kind == "slice" else other.demand * both / other.pool.size
    return demand


def _holders(claims: Iterable[Claim]) -> list[Claim]:
    return [claim for claim in claims if claim.kind != "none"]


def _no_room(name: str, wanted: str, taken: Iterable[Claim], rows: int) -> BadInput:
    holders = ", ".join(f"{rows_text(other.pool)} of job {other.name}" for other in taken) or "none taken"
    return BadInput(f"pool: job {name}: no room for {wanted} in {rows} rows ({holders})")


def _overlap(a: Pool, b: Pool) -> bool:
    return a.base < b.base + b.size and b.base < a.base + a.size


def power_of_two_from(rows: int) -> int:
    """The least power of two that is no less."""
    return 1 << (rows - 1).bit_length()


def power_of_two_within(rows: int) -> int:
    """The largest power of two that is no more."""
    return 1 << (rows.bit_length() - 1)
