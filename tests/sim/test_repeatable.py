"""A simulation is a function of its plan: the same again, here or in another process; not with other dice."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from dataclasses import astuple, replace
from pathlib import Path

import pytest

from esa.sim import Outcome, Plan, build, simulate
from tests.sim.plans import PACKET_NS, bad_links, bucket, job, leaf_spine, ns, plan, rack
from tests.sim.tap import final_state

pytestmark = pytest.mark.timeout(300)  # the first simulation compiles the event loop

BUSY = {"workers": 3, "iterations": 3, "buckets": (bucket(40, 500, 500), bucket(50, 500, 500)), "rows": 16}
BAD = {"loss": 0.02, "duplicate": 0.02, "reorder": 0.05, "reorder_ms": 0.01, "jitter_ms": 0.003}
RACKS = replace(leaf_spine((2, 2, 2, 2), spines=2), ecn_packets=4)


def busy_plan(*, seed: int = 1, fault_seed: int | None = 1, jitter: float = 0.2, **given) -> Plan:
    """Two jobs over racks, with everything that is drawn by chance."""
    faults = {} if fault_seed is None else bad_links(RACKS.hosts, fault_seed, **BAD)
    jobs = [job(name, name, priority=50 + n, jitter=jitter, **BUSY) for n, name in enumerate(("esa", "atp"))]
    return plan(*jobs, fabric=replace(RACKS, faults=faults), seed=seed, sample_ns=20_000, **given)


def fingerprint(outcome: Outcome) -> str:
    """Of every figure and every byte of the series."""
    figures = repr(astuple(replace(outcome, series=None)))
    return hashlib.sha256(figures.encode() + outcome.series.tobytes()).hexdigest()


@pytest.mark.parametrize("lanes", [0, 64])
def test_the_same_plan_gives_the_same_outcome(lanes: int) -> None:
    first, second = simulate(busy_plan(lanes=lanes)), simulate(busy_plan(lanes=lanes))
    assert replace(first, series=None) == replace(second, series=None)
    assert len(first.series) > 10
    assert first.series.tobytes() == second.series.tobytes()
    assert sum(result.resends for result in first.jobs) > 0


@pytest.mark.slow
def test_in_another_process_too() -> None:
    program = "from tests.sim.test_repeatable import *; print(fingerprint(simulate(busy_plan())))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=250,
        check=True,
    )
    assert done.stdout.strip() == fingerprint(simulate(busy_plan()))


@pytest.mark.parametrize(
    ("given", "other"),
    [
        ({"fault_seed": None}, {"fault_seed": None, "seed": 2}),  # jitter alone
        ({"jitter": 0.0}, {"jitter": 0.0, "fault_seed": 2}),  # faults alone
        ({}, {"seed": 2}),
    ],
)
def test_other_dice_give_another_outcome(given: dict, other: dict) -> None:
    assert simulate(busy_plan(**given)).end_s != simulate(busy_plan(**other)).end_s


def test_without_dice_and_ties_a_seed_changes_nothing() -> None:
    alone = [simulate(plan(job(workers=1, buckets=[bucket(200)]), seed=seed)) for seed in (1, 2)]
    assert fingerprint(alone[0]) == fingerprint(alone[1])


def test_of_two_jobs_that_meet_at_a_queue_each_comes_first_as_often() -> None:
    """Their first packets reach the rack's switch in the same nanosecond, and go up by the same cable."""
    fabric = leaf_spine((2, 2))
    jobs = [job(name, "ps", workers=1, buckets=[bucket(1)], hosts=(k, 2 + k)) for k, name in enumerate("ab")]
    firsts = 0
    for seed in range(24):
        a, b = (outcome.jct_s for outcome in simulate(plan(*jobs, fabric=fabric, seed=seed)).jobs)
        if seed < 4:
            again = simulate(plan(*jobs, fabric=fabric, seed=seed)).jobs
            assert [outcome.jct_s for outcome in again] == [a, b]
        assert abs(ns(a) - ns(b)) == PACKET_NS
        firsts += ns(a) < ns(b)
    assert 6 <= firsts <= 18


def test_gradients_cost_no_time() -> None:
    """The build without payload makes the same decisions at the same times."""
    without, carried = simulate(busy_plan(lanes=0)), simulate(busy_plan(lanes=64))
    assert (without.checked, carried.checked) == (0, 2 * 3 * 3 * 90)
    assert fingerprint(without) == fingerprint(replace(carried, checked=0))


def test_memory_that_grows_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixteen workers send whole windows at once: more packets than there is room for at first, some held by faults."""
    fabric = rack(17, faults=bad_links(17, 1, delay_ms=0.5, reorder=0.3, reorder_ms=1.0))
    large = plan(job("large", workers=16, buckets=[bucket(600)], window=512, rows=1024), fabric=fabric)
    small_at_first, sim = final_state(large)
    assert len(sim.pool.data) > build._POOL
    assert len(sim.events.key) > build._EVENTS
    monkeypatch.setattr(build, "_EVENTS", 2**17)
    monkeypatch.setattr(build, "_POOL", 2**17)
    large_at_once, sim = final_state(large)
    assert len(sim.pool.data) == 2**17 <= len(sim.events.key) < 2**18
    assert fingerprint(small_at_first) == fingerprint(large_at_once)
