"""How long sums take over links that lose packets: links of 25 Mb/s, and the timers of real runs.

A loss must cost a few round trips, not time-outs that are made for slow peers; and a slow peer, or a switch that is too
small, must not cost a storm of packets. Virtual time repeats, so the bounds are no timing.
"""

from __future__ import annotations

from dataclasses import replace
from statistics import fmean

import numpy as np
import pytest

from esa.fabric import Link
from esa.protocol import Timers
from esa.sim import Plan, SimulatedJob, simulate
from esa.workloads.program import Steps, compute, program, reduce
from tests.sim.plans import FRAGMENT_BYTES, bad_links, job, ns, only_job, plan, rack
from tests.sim.tap import final_state

pytestmark = pytest.mark.timeout(300)  # the first simulation compiles the event loop

US, MS = 1_000, 1_000_000
LINK = Link(25e6, 150 * US, queue_packets=4096)
TIMERS = Timers(rto_initial_ns=100 * MS, rto_floor_ns=100 * MS)  # of a training run
FRAGMENTS = 400
SEEDS = range(1, 11)


def sums(fragments: int = FRAGMENTS, priority: int = 9) -> Steps:
    return reduce(fragments * FRAGMENT_BYTES, priority)


def two_workers(policy: str, *ranks: tuple[Steps, ...], first_host: int = 0, **given) -> SimulatedJob:
    hosts = (first_host, first_host + 1, first_host + 2)
    asked = {"window": 128, "rows": 1024, "hosts": hosts, **given}
    return replace(job(f"job-{first_host}", policy, **asked), programs=tuple(program(*steps) for steps in ranks))


def on_slow_links(*jobs: SimulatedJob, faults: dict | None = None) -> Plan:
    fabric = rack(3 * len(jobs), LINK, faults=faults or {})
    return plan(*jobs, fabric=fabric, timers=TIMERS, lanes=64, sample_ns=10**9)


def jct_ns(policy: str, faults: dict | None = None) -> int:
    outcome = simulate(on_slow_links(two_workers(policy, (sums(),), (sums(),)), faults=faults))
    assert outcome.incomplete is None
    assert outcome.checked == 2 * FRAGMENTS
    return ns(only_job(outcome).jct_s)


# Half as much again as it is. With time-outs made for slow peers alone, 20 % took 30 to 160 times as long.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("policy", "bounds"),
    [
        ("esa", {0.01: 1.65, 0.05: 2.25, 0.2: 5.0}),
        ("atp", {0.01: 1.85, 0.05: 3.35, 0.2: 9.8}),
        ("switchml", {0.01: 1.75, 0.05: 2.35, 0.2: 4.7}),
        ("ps", {0.01: 1.7, 0.05: 2.85, 0.2: 11.1}),
    ],
)
def test_a_loss_costs_a_few_round_trips(policy: str, bounds: dict[float, float]) -> None:
    without_ns = jct_ns(policy)
    for loss, bound in bounds.items():
        bad = {"loss": loss, "duplicate": 0.01, "reorder": 0.01, "reorder_ms": 2.0}
        times_ns = [jct_ns(policy, bad_links(3, seed, **bad)) for seed in SEEDS]
        times = f"{loss:.0%}: {[t // MS for t in times_ns]} ms, without {without_ns // MS} ms"
        assert fmean(times_ns) / without_ns < bound, times


@pytest.mark.parametrize("pause_ms", [20, 200, 3000])
@pytest.mark.parametrize("policy", ["esa", "atp", "switchml", "ps"])
def test_a_peer_that_computes_costs_a_handful_of_packets(policy: str, pause_ms: int) -> None:
    at_once, pausing = (sums(150), sums(250)), (sums(150), compute(pause_ms * MS), sums(250))
    outcome, sim = final_state(on_slow_links(two_workers(policy, at_once, pausing)))
    assert outcome.incomplete is None
    assert only_job(outcome).resends <= 12
    counted = sim.servers.state.counter[0]
    assert counted["reminders"] + counted["queries"] <= 80


def resends_on_32_rows(policy: str, seed: int) -> int:
    """Of two jobs with windows of 32; when their ranks start, and what is urgent, is drawn."""
    rng = np.random.default_rng(seed)
    jobs = []
    for k in range(2):
        urgent = sums(priority=int(rng.integers(1, 256)))
        ranks = [(compute(start_ns), urgent) for start_ns in rng.integers(5 * MS, size=2).tolist()]
        jobs.append(two_workers(policy, *ranks, first_host=3 * k, window=32, rows=32))
    outcome = simulate(on_slow_links(*jobs))
    assert outcome.incomplete is None
    assert outcome.checked == 4 * FRAGMENTS
    return sum(result.resends for result in outcome.jobs)


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["esa", "atp", "a2tp", "esa-coin", "ps"])
def test_a_switch_that_is_too_small_causes_no_storm(policy: str) -> None:
    assert fmean(resends_on_32_rows(policy, seed) for seed in SEEDS) < 0.07 * 4 * FRAGMENTS


@pytest.mark.parametrize("policy", ["esa", "ps"])
def test_links_that_retry_lose_nothing_and_cost_what_the_retries_take(policy: str) -> None:
    """The same packets that would be lost are late instead, and in order: nobody resends."""
    bad = bad_links(3, seed=1, loss=0.05, retry_us=50.0)
    outcome = simulate(on_slow_links(two_workers(policy, (sums(),), (sums(),), window=16), faults=bad))
    assert outcome.incomplete is None
    assert outcome.checked == 2 * FRAGMENTS
    counted = [way for link in outcome.faults.values() for way in link.values()]
    assert sum(way["lost"] for way in counted) == 0
    assert sum(way["retried"] for way in counted) > 20
    assert only_job(outcome).resends == 0
    assert ns(only_job(outcome).jct_s) < 1.05 * jct_ns(policy)
