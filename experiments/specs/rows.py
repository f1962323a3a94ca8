"""Which rows of the switch each job of a scenario uses, and how many fragments it may keep in flight there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from esa.entries import pools as pools_of_switch
from esa.job import Pool
from esa.policy import policy


class RowWish(NamedTuple):
    """A job's name and policy, whose rows that policy takes (its `pool`), its window, and the pool it asks for."""

    name: str
    policy: str
    kind: str
    window: int
    pool: Pool | None


def assign_pools(wishes: Sequence[RowWish], rows: int, rows_of_switch: int) -> dict[str, Pool]:
    """The rows of each job. Shared: rows 0 .. rows; slices: equal parts of them, in the jobs' order; placed: as if all
    jobs came at once, in that order.

    ValueError where a pool exceeds the memory or overlaps a slice.
    """
    slices = sum(wish.kind == "slice" for wish in wishes)
    placed = sum(wish.kind == "placed" and wish.pool is None for wish in wishes)
    part = 1 << max(0, (rows // max(1, slices)).bit_length() - 1)
    pools: dict[str, Pool] = {}
    claims: list[pools_of_switch.Claim] = []
    before = 0
    for i, wish in enumerate(wishes):
        pool = wish.pool
        if pool is None and wish.kind == "placed":
            pool = pools_of_switch.allocate(wish.name, policy(wish.policy), wish.window, claims, rows, placed)
        elif pool is None:
            pool = {
                "shared": Pool(base=0, size=rows),
                "slice": Pool(base=part * before, size=part),
                "none": Pool(base=0, size=1),  # no row is used
            }[wish.kind]
        before += wish.kind == "slice"
        pools[wish.name] = pool
        if wish.kind == "slice" and pool.size < 2:
            raise ValueError(f"jobs[{i}].pool: {pool.size} row; '{wish.policy}' needs 2 or more for each job")
        claim = pools_of_switch.Claim(wish.name, wish.kind, pool)
        try:
            pools_of_switch.check(claim, claims, rows_of_switch)
        except ValueError as error:
            allowed = "pools within the memory, slices that overlap nothing"
            raise ValueError(f"jobs[{i}].{error}; allowed: {allowed}") from None
        claims.append(claim)
    return pools


def side_by_side(windows: Sequence[int], rows: int, least: int) -> list[int]:
    """Windows, the largest of them cut, to powers of two, until each has rows of its own.

    As they are where one would be cut below `least`: a window that leaves its link idle costs more than rows that are
    shared.
    """
    cut = [min(window, rows) for window in windows]
    while sum(map(rows_of_window, cut)) > rows:
        largest = max(range(len(cut)), key=cut.__getitem__)
        cut[largest] = rows_of_window(cut[largest]) // 2
        if cut[largest] < least:
            return [min(window, rows) for window in windows]
    return cut


def rows_of_window(window: int) -> int:
    """Of a pool: a power of two."""
    return 1 << (window - 1).bit_length()


def check_rows(aggregators: int | None, rows_of_switch: int, lanes: int) -> None:
    """ValueError unless the rows that jobs share are some of those there are, and a power of two."""
    if aggregators is None:
        return
    if not 1 <= aggregators <= rows_of_switch:
        raise ValueError(f"aggregators: {aggregators}; allowed: 1 to {rows_of_switch}, the rows at {lanes} lanes")
    if aggregators & (aggregators - 1):
        raise ValueError(f"aggregators: {aggregators}; allowed: powers of two")


def fitting_window(window: int, kind: str, pool: Pool) -> int:
    """Fragments in flight per worker: the job's window, or what its pool has room for.

    A slice holds two versions of each fragment in flight (release on reuse), other pools one.
    """
    return {"none": window, "slice": min(window, pool.size // 2)}.get(kind, min(window, pool.size))
