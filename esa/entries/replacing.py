"""Where all jobs of a switch should be now: pools anew when jobs come and go, with as few moves as that takes.

    re_place([Tenant("a", "placed", Pool(base=0, size=2048), 256, 2048), Tenant("b", "placed", None, 256, 2048)], 4096)

A pool may be moved while its job sums (docs/protocol.md says why that is exact), but what is in flight then goes by the
PS. So a job that has what it needs stays. Where the windows of all have rows of their own:

- *sizes*: from a window's rows each pool is doubled, the smallest first, as long as all fit and its span has a use for
  more. Of several those grow that are as large already, then those with the larger demand.
- *places*: who has its size, and nobody else there, stays. The others shrink or grow where they are if they can, and
  take free rows if not. Only where these lie in too small parts does another have to make room.

Where they do not, each has a window's rows, and who shares them goes by demand: a pool is moved where that of the
others is lower by an eighth or more.

What is not placed by the control plane stays where it is: slices, and jobs of unknown window, which others stay out of
if there is room elsewhere; pools for all, which they lie in.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from esa.entries.pools import Claim, power_of_two_from, power_of_two_within
from esa.job import MAX_SPAN, Pool
from esa.policy import Policy

WORTH = 7 / 8  # of the demand that a job meets: what a move has to bring it below


class Tenant(NamedTuple):
    """A job with its rows. kind, demand: as in `Claim`.

    pool: that it has; None: it comes. least, most: rows that its window and its span take, powers of two; 0: it stays.
    """

    name: str
    kind: str
    pool: Pool | None
    least: int = 0
    most: int = 0
    demand: float = 1.0

    @classmethod
    def placed(
        cls, name: str, policy: Policy, pool: Pool | None, window: int, span: int | None, rows: int, demand: float = 1.0
    ) -> Tenant:
        """A job of this policy that may be moved. span: None: as far ahead as the policy allows."""
        all_rows = power_of_two_within(rows)
        ahead = min(policy.windows_ahead * window, MAX_SPAN) if span is None else span
        least = min(power_of_two_from(window), all_rows)
        return cls(name, policy.pool, pool, least, max(least, min(power_of_two_from(ahead), all_rows)), demand)

    @classmethod
    def fixed(cls, claim: Claim) -> Tenant:
        """A job that stays where it is."""
        return cls(claim.name, claim.kind, claim.pool, demand=claim.demand)

    @property
    def movable(self) -> bool:
        return self.kind == "placed" and self.least > 0


def re_place(tenants: Sequence[Tenant], rows: int) -> dict[str, Pool]:
    """The pools that all movable tenants should have, by name; most often those that they have.

    rows: of the switch. Where slices leave a job no place at all it keeps what it has, and one that comes is left out.
    """
    moving = [tenant for tenant in tenants if tenant.movable]
    staying = [tenant for tenant in tenants if not tenant.movable and tenant.kind != "none" and tenant.pool is not None]
    room = _Room.of(rows, [one.pool for one in staying if one.kind != "shared" and one.pool is not None])
    sizes = _sizes(moving, room)
    if sizes is None:
        return _share(moving, staying, rows)
    return _side_by_side(moving, sizes, room)


class _Room(NamedTuple):
    """Free rows as blocks, each a power of two at a multiple of its size."""

    blocks: tuple[Pool, ...]

    @classmethod
    def of(cls, rows: int, taken: Iterable[Pool]) -> _Room:
        room: _Room = cls(tuple(_blocks(0, rows)))
        for pool in taken:
            room = room.without(pool)
        return room

    def without(self, pool: Pool) -> _Room:
        end = pool.base + pool.size
        left: list[Pool] = []
        for block in self.blocks:
            block_end = block.base + block.size
            if block_end <= pool.base or end <= block.base:
                left.append(block)
            else:
                left += _blocks(block.base, min(pool.base, block_end))
                left += _blocks(max(end, block.base), block_end)
        return _Room(tuple(left))

    def has(self, pool: Pool) -> bool:
        """Whether all rows of the pool are free."""
        end = pool.base + pool.size
        both = (min(end, block.base + block.size) - max(pool.base, block.base) for block in self.blocks)
        return sum(max(0, rows) for rows in both) == pool.size

    def find(self, size: int) -> Pool | None:
        """Where as few rows as possible are broken up for a pool of this size; of several the lowest."""
        large = [block for block in self.blocks if block.size >= size]
        if not large:
            return None
        return Pool(base=min(large, key=lambda block: (block.size, block.base)).base, size=size)

    def packs(self, sizes: Iterable[int]) -> bool:
        """Whether pools of these sizes fit side by side. (Powers of two, the largest first: no choice is wrong.)"""
        free = sorted((block.size for block in self.blocks), reverse=True)
        for size in sorted(sizes, reverse=True):
            if not free or free[0] < size:
                return False
            block = free.pop(0)
            while block > size:
                block //= 2
                free.append(block)
            free.sort(reverse=True)
        return True


def _blocks(base: int, end: int) -> Iterable[Pool]:
    while base < end:
        size = power_of_two_within(end - base)
        if base:
            size = min(size, base & -base)
        yield Pool(base=base, size=size)
        base += size


def _sizes(tenants: Sequence[Tenant], room: _Room) -> dict[str, int] | None:
    """Rows of each; None where windows do not fit side by side."""
    sizes = {tenant.name: tenant.least for tenant in tenants}
    if not room.packs(sizes.values()):
        return None
    growing = [tenant for tenant in tenants if tenant.least < tenant.most]
    free = sum(block.size for block in room.blocks) - sum(sizes.values())

    def turn(tenant: Tenant) -> tuple[int, bool, float]:
        size = sizes[tenant.name]
        return size, tenant.pool is None or tenant.pool.size < 2 * size, -tenant.demand

    while growing:
        tenant = min(growing, key=turn)
        size = sizes[tenant.name]
        fits = size <= free and room.packs([*(s for name, s in sizes.items() if name != tenant.name), 2 * size])
        if fits:
            sizes[tenant.name] = 2 * size
            free -= size
        if not fits or 2 * size == tenant.most:
            growing.remove(tenant)
    return sizes


def _side_by_side(tenants: Sequence[Tenant], sizes: dict[str, int], room: _Room) -> dict[str, Pool]:
    staying: list[Tenant] = []
    free = room
    for tenant in sorted(tenants, key=lambda tenant: -sizes[tenant.name]):
        if tenant.pool is not None and tenant.pool.size == sizes[tenant.name] and free.has(tenant.pool):
            staying.append(tenant)
            free = free.without(tenant.pool)
    found = _with_staying(tenants, staying, sizes, room)
    while found is None:  # free rows lie in too small parts: one has to make room, the smallest that will do
        less = [[other for other in staying if other is not tenant] for tenant in reversed(staying)]
        tries = (_with_staying(tenants, fewer, sizes, room) for fewer in less)
        found = next((pools for pools in tries if pools is not None), None)
        staying = staying[:-1]
    return found


def _with_staying(
    tenants: Sequence[Tenant], staying: Sequence[Tenant], sizes: dict[str, int], room: _Room
) -> dict[str, Pool] | None:
    """The pools of all if these stay, or None: there is no place for one of the others."""
    pools: dict[str, Pool] = {}
    for tenant in staying:
        assert tenant.pool is not None
        pools[tenant.name] = tenant.pool
        room = room.without(tenant.pool)
    others = [tenant for tenant in tenants if tenant.name not in pools]
    for tenant in sorted(others, key=lambda tenant: -sizes[tenant.name]):
        near = _near(tenant.pool, sizes[tenant.name])
        pool = near if near is not None and room.has(near) else room.find(sizes[tenant.name])
        if pool is None:
            return None
        pools[tenant.name] = pool
        room = room.without(pool)
    return {tenant.name: pools[tenant.name] for tenant in tenants}


def _near(pool: Pool | None, size: int) -> Pool | None:
    """The pool shrunk or grown to a size: its first part, or a larger one that it is a part of."""
    return None if pool is None else Pool(base=pool.base // size * size, size=size)


def _share(tenants: Sequence[Tenant], staying: Sequence[Tenant], rows: int) -> dict[str, Pool]:
    """Pools of a window's rows each, where others' demand is least; who has such a one is moved if that pays."""
    demand = np.zeros(rows)  # of all, by row
    for other in staying:
        assert other.pool is not None
        demand[_part(other.pool)] += math.inf if other.kind == "slice" else other.demand / other.pool.size
    pools: dict[str, Pool] = {}
    for tenant in tenants:
        if tenant.pool is not None and tenant.pool.size == tenant.least and _on(demand, tenant.pool) < math.inf:
            pools[tenant.name] = tenant.pool
            demand[_part(tenant.pool)] += tenant.demand / tenant.least
    for tenant in sorted(tenants, key=lambda tenant: (-tenant.least, -tenant.demand)):
        if tenant.name in pools:
            continue
        near, best = _near(tenant.pool, tenant.least), _best(demand, tenant.least)
        if near is not None and near.base + near.size <= rows and _on(demand, near) * WORTH <= _on(demand, best):
            best = near
        if _on(demand, best) == math.inf:
            if tenant.pool is not None:
                pools[tenant.name] = tenant.pool
            continue
        pools[tenant.name] = best
        demand[_part(best)] += tenant.demand / tenant.least
    moved = True
    while moved:  # each move lowers the demand that jobs meet, summed over all pairs
        moved = False
        for tenant in tenants:
            pool = pools.get(tenant.name)
            if pool is None or pool.size != tenant.least:
                continue
            own = tenant.demand / pool.size
            demand[_part(pool)] -= own
            best = _best(demand, pool.size)
            if _on(demand, best) < WORTH * _on(demand, pool) - 1e-9:
                pools[tenant.name] = pool = best
                moved = True
            demand[_part(pool)] += own
    return {tenant.name: pools[tenant.name] for tenant in tenants if tenant.name in pools}


def _part(pool: Pool) -> slice:
    return slice(pool.base, pool.base + pool.size)


def _on(demand: npt.NDArray[np.float64], pool: Pool) -> float:
    return float(demand[_part(pool)].sum())


def _best(demand: npt.NDArray[np.float64], size: int) -> Pool:
    """Of the pools of a size, one behind the other, that with the least demand; of several the lowest."""
    parts = len(demand) // size
    return Pool(base=int(demand[: parts * size].reshape(parts, size).sum(axis=1).argmin()) * size, size=size)
