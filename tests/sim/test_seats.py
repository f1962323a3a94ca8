"""Jobs that find too few rows are rings from their start to their end; who has rows is as if the others had none."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from esa.sim import Outcome, SimulatedJob, simulate
from esa.sim.failure import HOST, Failure
from tests.sim.plans import bucket, job, plan, rack

pytestmark = pytest.mark.timeout(600)  # on a cold machine the first test compiles the simulator

FABRIC = rack(20)
WORDY, QUIET = bucket(400, backward_ns=10_000), bucket(400, backward_ns=200_000)


def share(name: str, needs: int = 8, demand: float = 0.5, submit_ns: int = 0, quiet: bool = False) -> SimulatedJob:
    """One of four workers that is placed on 16 rows, of which its window could use all."""
    one = job(name, buckets=(QUIET if quiet else WORDY,), workers=4, iterations=2, window=16)
    return replace(one, pool=None, needs=needs, demand=demand, submit_ns=submit_ns)


def run(*jobs: SimulatedJob, **settings: Any) -> Outcome:
    outcome = simulate(plan(*jobs, fabric=FABRIC, rows=16, **settings))
    assert outcome.incomplete is None
    return outcome


def rings(outcome: Outcome) -> list[str]:
    return [each.name for each in outcome.jobs if each.unseated]


def test_who_finds_no_share_is_a_ring_and_says_so() -> None:
    jobs = [share("a", demand=0.2), share("b"), share("c"), share("d", demand=0.2)]
    outcome = run(*jobs)
    assert rings(outcome) == ["a", "d"]
    for each in outcome.jobs:
        counted = outcome.switch_counters[each.name]
        assert (each.fragments == 0, counted["gradients"] == 0) == (each.unseated, each.unseated)
        assert each.iterations == 2
        assert each.jct_s is not None
        assert each.bound_s is not None
        assert each.bound_s <= each.jct_s
    assert run(*jobs).jobs == outcome.jobs


def test_who_comes_while_a_job_runs_is_thought_of_and_who_comes_later_is_not() -> None:
    heavy: dict[str, Any] = {"needs": 16, "demand": 0.9}
    assert rings(run(share("a", 16, 0.2), share("b", submit_ns=1000, **heavy))) == ["a"]
    assert rings(run(share("a", 16, 0.2), share("b", submit_ns=10_000_000, **heavy))) == []
    assert rings(run(share("a", 16, 0.9), share("b", 16, 0.2, submit_ns=1000))) == ["b"]  # a keeps its rows


def test_where_all_have_their_share_nothing_is_otherwise() -> None:
    jobs = [share("a"), share("b")]
    with_needs = run(*jobs)
    without = run(*(replace(one, needs=0) for one in jobs))
    assert with_needs.jobs == without.jobs
    assert with_needs.packet_hops == without.packet_hops
    assert with_needs.switch_counters == without.switch_counters


def test_a_ring_cannot_be_stopped_so_no_host_may_fail() -> None:
    jobs = [share(name) for name in "abc"]
    with pytest.raises(ValueError, match="failure: host 0: job a: messages of it are under way"):
        run(*jobs, failures=(Failure(HOST, 0, 1000, 1000),))


def test_rows_for_few_are_worth_more_than_too_few_for_all() -> None:
    jobs = [share(name, 8, 0.5) for name in "abcd"]
    some, every = run(*jobs), run(*(replace(one, needs=0) for one in jobs))
    assert len(rings(some)) == 2
    assert rings(every) == []
    mean = [sum(each.jct_s or 0.0 for each in outcome.jobs) / 4 for outcome in (some, every)]
    assert mean[0] < mean[1]
