"""Rows: jobs share one pool or are placed, slices are disjoint, nothing exceeds the memory."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller import BadInput
from esa.entries.pools import Claim, allocate, check, placed_size, slice_size
from esa.job import Pool
from esa.policy import POLICIES, Policy

ROWS = 8192
PLACED, SHARED, SLICE, NONE = (POLICIES[name] for name in ("esa", "atp", "switchml", "ps"))


def claim(name: str, kind: str, base: int, size: int, demand: float = 1.0) -> Claim:
    return Claim(name, kind, Pool(base=base, size=size), demand)


@pytest.mark.parametrize(("window", "rows"), [(1, 2), (2, 4), (3, 8), (256, 512), (257, 1024), (16384, 32768)])
def test_a_slice_is_two_windows_rounded_up(window: int, rows: int) -> None:
    assert slice_size(window) == rows


def test_shared_pools_may_overlap_each_other() -> None:
    check(claim("b", "shared", 0, 8192), [claim("a", "shared", 0, 4096)], ROWS)


def test_a_slice_on_a_shared_pool_is_refused_with_jobs_and_rows() -> None:
    with pytest.raises(BadInput, match=r"job b: slice rows 4000..4511 overlap shared rows 0..4095 of job a"):
        check(claim("b", "slice", 4000, 512), [claim("a", "shared", 0, 4096)], ROWS)


def test_a_shared_pool_on_a_slice_is_refused() -> None:
    with pytest.raises(BadInput, match=r"job b: shared rows 0..8191 overlap slice rows 512..1023 of job a"):
        check(claim("b", "shared", 0, 8192), [claim("a", "slice", 512, 512)], ROWS)


def test_slices_side_by_side() -> None:
    check(claim("b", "slice", 512, 512), [claim("a", "slice", 0, 512), claim("c", "slice", 1024, 512)], ROWS)


def test_more_rows_than_there_are() -> None:
    with pytest.raises(BadInput, match=r"job b: rows 4096..12287 exceed the switch's 8192 rows"):
        check(claim("b", "shared", 4096, 8192), [], ROWS)


def test_a_slice_smaller_than_two_windows() -> None:
    with pytest.raises(BadInput, match=r"job b: a slice of 256 rows is too small: a span of 200 needs 512"):
        check(claim("b", "slice", 0, 256), [], ROWS, span=200)


def test_a_job_without_rows_is_in_nobodys_way() -> None:
    check(claim("b", "none", 0, 8192), [claim("a", "slice", 0, 512)], ROWS)
    check(claim("b", "slice", 0, 512), [claim("a", "none", 0, 8192)], ROWS)


def test_the_second_job_shares_the_pool_of_the_first() -> None:
    assert allocate("b", SHARED, 256, [claim("a", "shared", 0, 1024)], ROWS) == Pool(base=0, size=1024)


@pytest.mark.parametrize(
    ("window", "rows", "jobs", "size"),
    [
        (1, 64, 1, 8),
        (128, 8192, 1, 1024),
        (128, 4096, 8, 512),
        (129, 4096, 16, 256),
        (128, 512, 8, 128),
        (256, 99, 1, 64),
    ],
)
def test_a_placed_pool_is_what_the_span_takes_if_there_is_room_for_all_else_a_window(
    window: int, rows: int, jobs: int, size: int
) -> None:
    assert placed_size(PLACED, window, rows, jobs) == size


def test_jobs_are_placed_side_by_side_while_there_is_room() -> None:
    claims: list[Claim] = []
    for name in "abcd":
        pool = allocate(name, PLACED, 200, claims, 1024, jobs=4)
        claims.append(Claim(name, "placed", pool))
    assert [one.pool for one in claims] == [Pool(base=base, size=256) for base in (0, 256, 512, 768)]


def test_who_comes_first_takes_what_it_can_use_and_who_comes_later_what_is_left() -> None:
    claims = [Claim("a", "placed", allocate("a", PLACED, 64, [], 1024))]
    claims.append(Claim("b", "placed", allocate("b", PLACED, 64, claims, 1024)))
    assert [one.pool for one in claims] == [Pool(base=0, size=512), Pool(base=512, size=512)]
    assert allocate("c", PLACED, 64, claims, 1024) == Pool(base=0, size=64)


def test_then_where_there_is_least_demand() -> None:
    others = [claim(f"{demand}", "placed", 256 * k, 256, demand) for k, demand in enumerate((0.9, 0.2, 0.5))]
    assert allocate("d", PLACED, 256, others, 768) == Pool(base=256, size=256)
    # Half of the demand of a pool twice as large, and all of that of two that are smaller.
    small = [claim(name, "placed", base, 128, 0.3) for name, base in (("b", 512), ("c", 640))]
    assert allocate("d", PLACED, 256, [claim("a", "shared", 0, 512, 1.0), *small], 768) == Pool(base=0, size=256)


def test_slices_are_not_placed_upon() -> None:
    assert allocate("b", PLACED, 256, [claim("a", "slice", 0, 512)], 1024) == Pool(base=512, size=512)
    slices = [claim("a", "slice", 0, 512), claim("b", "slice", 512, 256)]
    assert allocate("c", PLACED, 256, slices, 896) == Pool(base=768, size=128)
    with pytest.raises(BadInput, match=r"job b: no room for a pool in 1024 rows \(rows 0..1023 of job a\)"):
        allocate("b", PLACED, 256, [claim("a", "slice", 0, 1024)], 1024)


def test_no_room_names_the_holders() -> None:
    with pytest.raises(
        BadInput, match=r"job b: no room for a slice of 512 rows in 8192 rows \(rows 0..8191 of job a\)"
    ):
        allocate("b", SLICE, 256, [claim("a", "shared", 0, 8192)], ROWS)


@given(
    st.lists(st.tuples(st.sampled_from([PLACED, SHARED, SLICE, NONE]), st.integers(1, 1024)), min_size=1, max_size=6),
    st.sampled_from([4096, 8192, 65536]),
)
def test_what_is_allocated_passes_every_check(requests: list[tuple[Policy, int]], rows: int) -> None:
    claims: list[Claim] = []
    try:
        for number, (policy, window) in enumerate(sorted(requests, key=lambda request: request[0].pool != "slice")):
            name = f"job{number}"
            claims.append(Claim(name, policy.pool, allocate(name, policy, window, claims, rows)))
            check(claims[-1], claims[:-1], rows, window)
    except BadInput as error:
        assert "no room" in str(error)  # noqa: PT017 - both outcomes are right, depending on the sizes
        return
    assert len({made.pool for made in claims if made.kind == "shared"}) <= 1
