"""Where all jobs should be: apart where windows fit, as large as there is use for, moved as little as can be."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from esa.entries.pools import Claim
from esa.entries.replacing import Tenant, re_place
from esa.job import Pool
from esa.policy import POLICIES

ROWS = 4096
ESA = POLICIES["esa"]


def pool(base: int, size: int) -> Pool:
    return Pool(base=base, size=size)


def placed(name: str, at: Pool | None = None, window: int = 128, demand: float = 1.0, **settings: int) -> Tenant:
    return Tenant.placed(name, ESA, at, window, settings.get("span"), settings.get("rows", ROWS), demand)


def fixed(name: str, kind: str, at: Pool, demand: float = 1.0) -> Tenant:
    return Tenant.fixed(Claim(name, kind, at, demand))


def after(tenants: list[Tenant], rows: int = ROWS) -> list[Tenant]:
    """The tenants where they should be."""
    pools = re_place(tenants, rows)
    return [tenant._replace(pool=pools.get(tenant.name, tenant.pool)) for tenant in tenants]


def come(names: str, rows: int = ROWS, **settings: int) -> list[Tenant]:
    """Jobs that come one after the other."""
    tenants: list[Tenant] = []
    for name in names:
        tenants = after([*tenants, placed(name, rows=rows, **settings)], rows)
    return tenants


@pytest.mark.parametrize(
    ("window", "span", "least", "most"),
    [(1, None, 1, 8), (100, None, 128, 1024), (100, 100, 128, 128), (9, 20, 16, 32)],
)
def test_a_job_needs_the_rows_of_its_window_and_has_a_use_for_those_of_its_span(
    window: int, span: int | None, least: int, most: int
) -> None:
    assert Tenant.placed("a", ESA, None, window, span, ROWS)[3:5] == (least, most)
    assert Tenant.placed("a", ESA, None, window, span, 64)[3:5] == (min(least, 64), min(most, 64))


def test_the_first_jobs_have_what_their_spans_take_and_later_ones_make_them_share_alike() -> None:
    assert [tenant.pool for tenant in come("abcd")] == [pool(1024 * k, 1024) for k in range(4)]
    five = come("abcde")
    assert sorted(tenant.pool.size for tenant in five if tenant.pool) == [512, 512, 1024, 1024, 1024]
    assert [tenant.pool for tenant in five[:3]] == [pool(0, 1024), pool(1024, 1024), pool(2048, 1024)]
    assert five[3].pool == pool(3072, 512), "it shrinks where it is"
    assert five[4].pool == pool(3584, 512)
    assert {tenant.pool.size for tenant in come("abcdefgh") if tenant.pool} == {512}
    assert {tenant.pool.size for tenant in come("abcdefghijklmnopqrstuvwxyzABCDEF") if tenant.pool} == {128}


def test_when_a_job_leaves_another_grows_where_it_is() -> None:
    five = come("abcde")
    four = after([tenant for tenant in five if tenant.name != "d"])
    assert [tenant.pool for tenant in four] == [*(tenant.pool for tenant in five[:3]), pool(3072, 1024)]
    more = after([tenant for tenant in five if tenant.name != "a"])
    assert more[:2] == five[1:3], "who has what it needs stays"
    assert {tenant.pool.size for tenant in more if tenant.pool} == {1024}


def test_of_several_that_could_shrink_it_is_the_one_that_sends_least() -> None:
    four = [tenant._replace(demand=demand) for tenant, demand in zip(come("abcd"), (0.9, 0.2, 0.8, 0.7), strict=True)]
    assert after([*four, placed("e", demand=0.1)])[1].pool == pool(1024, 512)


def test_free_rows_in_too_small_parts_are_made_one_by_moving_one_job() -> None:
    small = [placed(name, pool(base, 128), span=128) for name, base in (("a", 0), ("b", 256))]
    large = placed("c", None, window=256, span=256, rows=512)
    tenants = after([*small, large], 512)
    moved = [tenant.name for tenant, old in zip(tenants, (*small, large), strict=True) if tenant.pool != old.pool]
    assert moved == ["b", "c"] or moved == ["a", "c"]


def test_what_is_not_the_control_planes_stays_and_slices_are_gone_round() -> None:
    others = [fixed("s", "slice", pool(0, 2048)), fixed("p", "none", pool(0, 1)), fixed("x", "placed", pool(2048, 64))]
    tenants = after([*others, placed("a"), placed("b", pool(0, 1024))])
    assert tenants[:3] == others
    assert [tenant.pool for tenant in tenants[3:]] == [pool(2560, 512), pool(3072, 1024)]
    assert re_place([fixed("s", "slice", pool(0, ROWS)), placed("a")], ROWS) == {}
    assert re_place([fixed("s", "slice", pool(0, ROWS)), placed("a", pool(7, 1))], ROWS) == {"a": pool(7, 1)}


def test_where_windows_do_not_fit_who_sends_much_is_with_who_sends_little() -> None:
    busy, idle = [placed(name, demand=0.9) for name in "ab"], [placed(name, demand=0.1) for name in "cd"]
    tenants = after([*busy, *idle], 256)
    where = {tenant.name: tenant.pool for tenant in tenants}
    assert where["a"] != where["b"]
    assert where["c"] != where["d"]
    # One of the busy ones leaves: the other gets rows of its own, by one move.
    rest = after(tenants[1:], 256)
    assert rest[0].pool not in (rest[1].pool, rest[2].pool)
    assert sum(one.pool != other.pool for one, other in zip(rest, tenants[1:], strict=True)) == 1
    together = [placed("b", pool(0, 128), demand=0.9), *(placed(name, pool(0, 128), demand=0.1) for name in "cd")]
    assert sum(one.pool != other.pool for one, other in zip(after(together, 256), together, strict=True)) == 1


def test_a_pool_for_all_is_no_obstacle_and_counts_as_demand() -> None:
    everywhere = fixed("atp", "shared", pool(0, ROWS))
    assert {tenant.pool.size for tenant in after([everywhere, placed("a"), placed("b")])[1:] if tenant.pool} == {1024}
    half = fixed("atp", "shared", pool(0, 128))
    crowd = [placed(name) for name in "abc"]
    chosen = [tenant.pool for tenant in after([half, *crowd], 256)[1:]]
    assert chosen.count(pool(128, 128)) == 2


@dataclass(frozen=True)
class Step:
    """A job comes, or, where there are so many, that of number `leave` goes."""

    window: int
    demand: float
    leave: int | None


steps = st.builds(
    Step,
    window=st.sampled_from([1, 3, 16, 60, 128, 256, 700]),
    demand=st.floats(0, 1),
    leave=st.one_of(st.none(), st.integers(0, 5)),
)


def overlapping(tenants: list[Tenant], rows: int) -> bool:
    used = np.zeros(rows, np.int64)
    for tenant in tenants:
        assert tenant.pool is not None
        used[tenant.pool.base : tenant.pool.base + tenant.pool.size] += 1
    return bool(used.max(initial=0) > 1)


@given(
    st.lists(steps, min_size=1, max_size=20),
    st.sampled_from([1, 96, 256, 1000, 4096]),
    st.sampled_from([None, pool(0, 16), pool(64, 32), pool(512, 256)]),
)
def test_whatever_comes_and_goes(history: list[Step], rows: int, slice_: Pool | None) -> None:
    fences = [] if slice_ is None or slice_.base + slice_.size > rows else [fixed("slice", "slice", slice_)]
    tenants: list[Tenant] = []
    for number, step in enumerate(history):
        if step.leave is not None and step.leave < len(tenants):
            del tenants[step.leave]
        else:
            tenants.append(placed(str(number), window=step.window, demand=step.demand, rows=rows))
        everybody = [*fences, *tenants]
        pools = re_place(everybody, rows)
        left_out = len(pools) < len(tenants)  # slices leave it no place
        tenants = [tenant._replace(pool=pools[tenant.name]) for tenant in tenants if tenant.name in pools]
        if left_out:
            continue
        assert re_place([*fences, *tenants], rows) == {tenant.name: tenant.pool for tenant in tenants}, "moved twice"
        for tenant in tenants:
            assert tenant.pool is not None
            assert tenant.pool.base + tenant.pool.size <= rows
            assert tenant.least <= tenant.pool.size <= tenant.most
        free = rows - sum(fence.pool.size for fence in fences if fence.pool)
        aligned = rows & (rows - 1) == 0 and not fences
        if aligned and sum(tenant.least for tenant in tenants) <= free:
            assert not overlapping(tenants, rows)
        assert not fences or not any(overlapping([*fences, tenant], rows) for tenant in tenants)
