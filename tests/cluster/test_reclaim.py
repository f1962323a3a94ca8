"""Giving servers back: who is stopped, against trying everything, and where greed is not the best."""

from __future__ import annotations

import random
from fractions import Fraction
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esa.cluster.reclaim import VICTIMS, Occupant, Reclaimed, reclaim
from esa.errors import BadInput
from tests.effort import tries


def wide(*hosts: int, gpus: int = 2, submit: int = 0) -> Occupant:
    return Occupant(dict.fromkeys(hosts, gpus), {}, submit)


def drawn(seed: int) -> tuple[range, dict[int, Occupant]]:
    """Servers 0 to 7 at most are lent, 10 and 11 are not."""
    dice = random.Random(seed)
    lent = range(dice.randint(1, 8))
    jobs = {}
    for number in range(dice.randint(0, 9)):
        of = dice.sample([*lent, 10, 11], dice.randint(1, min(4, len(lent) + 2)))
        jobs[number] = Occupant({host: dice.randint(1, 4) for host in of}, {dice.choice(lent): 1}, dice.randint(0, 9))
    return lent, jobs


def empty(lent: range, jobs: dict[int, Occupant], stopped: set[int] | frozenset[int]) -> set[int]:
    return {host for host in lent if not any(host in job.base for k, job in jobs.items() if k not in stopped)}


def fewest(lent: range, jobs: dict[int, Occupant], count: int) -> int:
    for size in range(len(jobs) + 1):
        for victims in combinations(jobs, size):
            if len(empty(lent, jobs, set(victims))) >= count:
                return size
    raise AssertionError


def check(found: Reclaimed, lent: range, jobs: dict[int, Occupant], count: int) -> None:
    assert len(found.hosts) == min(count, len(lent))
    assert found.hosts <= empty(lent, jobs, found.victims)


@settings(max_examples=tries(40), deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 9), st.sampled_from(VICTIMS), st.booleans(), st.booleans())
def test_so_many_are_empty_then_and_no_rule_stops_fewer_than_the_optimum(
    seed: int, count: int, victims: str, servers: bool, trim: bool
) -> None:
    lent, jobs = drawn(seed)
    found = reclaim(lent, jobs, count, victims, share="servers" if servers else "gpus", trim=trim)
    check(found, lent, jobs, count)
    best = fewest(lent, jobs, min(count, len(lent)))
    assert len(found.victims) >= best
    if victims == "optimal":
        assert len(found.victims) == best
    if trim:
        for number in found.victims:
            assert len(empty(lent, jobs, found.victims - {number})) < count


def test_the_greedy_rule_meets_the_optimum_in_most_cases_and_is_not_far_off_in_the_others() -> None:
    ratios = []
    for seed in range(150):
        lent, jobs = drawn(seed)
        count = 1 + seed % len(lent)
        best = fewest(lent, jobs, count)
        ratios.append(len(reclaim(lent, jobs, count).victims) / best if best else 1.0)
    assert sum(ratio == 1 for ratio in ratios) / len(ratios) > 0.85
    assert sum(ratios) / len(ratios) < 1.06


def test_its_known_counter_example() -> None:
    """Server 0 has a quarter of two jobs, which costs 0.5; server 1 has one whole job, which costs 1."""
    jobs = {0: wide(0, 10, 11, 12), 1: wide(0, 13, 14, 15), 2: wide(1)}
    assert reclaim(range(2), jobs, 1).victims == {0, 1}
    assert reclaim(range(2), jobs, 1, trim=True).victims == {0, 1}  # both are in the way
    assert reclaim(range(2), jobs, 1, "optimal").victims == reclaim(range(2), jobs, 1, "count").victims == {2}


def test_it_stops_two_wide_jobs_where_counting_stops_narrow_ones() -> None:
    jobs = {0: wide(0, 1, 2, 3), 1: wide(0, 1, 2, 3), 2: wide(4), 3: wide(5), 4: wide(6)}
    assert reclaim(range(7), jobs, 4) == Reclaimed(frozenset({0, 1, 2, 3}), frozenset({0, 1}))
    assert len(reclaim(range(7), jobs, 4, "count").victims) >= 3


def test_empty_servers_go_first_then_those_of_flexible_workers_without_a_stop() -> None:
    jobs = {0: Occupant({10: 2}, {0: 1, 2: 2}), 1: wide(1)}
    assert reclaim(range(4), jobs, 1) == Reclaimed(frozenset({3}), frozenset())
    assert reclaim(range(4), jobs, 2) == Reclaimed(frozenset({0, 3}), frozenset())
    assert reclaim(range(4), jobs, 3) == Reclaimed(frozenset({0, 2, 3}), frozenset())
    assert reclaim(range(4), jobs, 9) == Reclaimed(frozenset(range(4)), frozenset({1}))


def test_who_came_first_is_stopped_last_by_priority() -> None:
    jobs = {0: wide(0, submit=5), 1: wide(1, submit=1), 2: wide(1, 2, submit=9), 3: wide(2, submit=8)}
    assert reclaim(range(3), jobs, 1, "priority").victims == {2, 3}


@pytest.mark.parametrize("share", ["gpus", "servers"])
def test_a_jobs_parts_add_up_to_one_over_all_its_servers(share: str) -> None:
    job = Occupant({0: 3, 1: 1, 10: 4}, {2: 5})
    assert sum(job.share(host, share) for host in job.base) == 1
    assert job.share(0, "gpus") == Fraction(3, 8)
    assert job.share(0, "servers") == Fraction(1, 3)


def test_an_unknown_rule_is_refused() -> None:
    with pytest.raises(BadInput, match="victims: unknown rule 'random'; allowed: preemption_cost, count, "):
        reclaim(range(2), {}, 1, "random")
