"""Sums over two tiers: over bad cables between switches, too; release on reuse; who does what without faults."""

from __future__ import annotations

from dataclasses import replace

import pytest

from esa.entries.job_entries import COUNTERS
from esa.policy import POLICIES
from esa.sim import Outcome, SimulatedJob
from tests.sim.between import BadCables
from tests.sim.end_hosts import end_hosts
from tests.sim.exponents import simulate_with_exponents
from tests.sim.plans import bad_links, bucket, fragments, job, leaf_spine, only_job, plan
from tests.sim.tap import denied, final_state, kept_switches

pytestmark = pytest.mark.timeout(300)  # the first simulation compiles the event loop

FABRIC = leaf_spine((5, 3, 4), spines=2)
THREE_JOBS = ((0, 1, 5, 8), (2, 3, 6, 9), (4, 7, 10))  # workers in racks 0 and 1, PSs in rack 2
FRAGMENTS = 24


def on(hosts: tuple[int, ...], policy: str, number: int = 0, **given) -> SimulatedJob:
    """Workers on these hosts, the PS on the last one; the higher its number, the more urgent."""
    asked = {"rows": 8, "window": 4, "buckets": [bucket(FRAGMENTS)], "priority": 10 * (number + 1), **given}
    first_row = 64 * (number + 1)
    return job(f"job-{number}", policy, workers=len(hosts) - 1, hosts=hosts, first_row=first_row, **asked)


def check(*jobs: SimulatedJob, seed: int, loss: float, duplicate: float = 0.0, late: float = 0.0) -> Outcome:
    """Every cable is bad, seqs wrap, exponents differ, end hosts have little room; and all is as it must be."""
    faults = bad_links(FABRIC.hosts, seed, loss=loss, duplicate=duplicate, reorder=late, reorder_ms=0.02)
    asked = plan(*jobs, fabric=replace(FABRIC, faults=faults), lanes=64, seed=seed, sample_ns=10**9)
    cables = BadCables(seed, loss, duplicate, late)
    with end_hosts(first_seq=2**32 - 8, outbox=8, held_resends=1), kept_switches() as switches:
        outcome, sim = simulate_with_exponents(asked, seed, cables)
    assert outcome.incomplete is None
    assert outcome.checked == sum(map(fragments, jobs))
    assert (sim.workers.state.worker["read_seq"] > 2**32).all()
    assert [number > 0 for number in (cables.lost, cables.duplicated, cables.late)] == [True, duplicate > 0, late > 0]
    for state in (sim.workers.state, sim.servers.state):
        assert not state.counter["malformed"].any()
    assert denied(switches) <= {"unknown job", "other run"}  # of jobs that are over
    return outcome


@pytest.mark.parametrize("name", POLICIES)
def test_every_sum_is_exact_over_lossy_cables(name: str) -> None:
    check(*(on(hosts, name, k) for k, hosts in enumerate(THREE_JOBS[:2])), seed=3, loss=0.1)


@pytest.mark.parametrize("names", [("esa", "esa", "atp"), ("esa-ack", "switchml", "ps")], ids=" ".join)
def test_jobs_on_shared_rows_are_exact_whatever_the_cables_do(names: tuple[str, ...]) -> None:
    jobs = [on(hosts, name, k, window=8) for k, (hosts, name) in enumerate(zip(THREE_JOBS, names, strict=True))]
    outcome = check(*jobs, seed=8, loss=0.05, duplicate=0.1, late=0.1)
    taken = sum(counters["preemptions"] for counters in outcome.switch_counters.values())
    assert names[0] != "esa" or taken > 0


@pytest.mark.parametrize("hosts", [(0, 1, 2, 5, 6, 8), (0, 5, 8), (5, 6, 7, 0, 8)], ids=str)
def test_release_on_reuse_never_stalls(hosts: tuple[int, ...]) -> None:
    for seed in range(5):
        check(on(hosts, "switchml", window=2), seed=seed, loss=0.15, duplicate=0.1, late=0.1)


def test_jobs_of_one_rack_with_their_servers_elsewhere_are_exact() -> None:
    check(on((5, 6, 7, 8), "esa"), on((0, 1, 9), "atp", 1), seed=4, loss=0.1)


@pytest.mark.parametrize("name", ["esa", "atp", "switchml"])
@pytest.mark.parametrize(
    ("hosts", "completed"),  # by switch: racks, then spines
    [((0, 1, 2, 5, 6, 8), [FRAGMENTS, FRAGMENTS, 0, FRAGMENTS, 0]), ((5, 6, 7, 8), [0, FRAGMENTS, 0, 0, 0])],
    ids=str,
)
def test_without_faults_the_switches_do_the_work_and_nothing_is_sent_twice(
    name: str, hosts: tuple[int, ...], completed: list[int]
) -> None:
    with kept_switches() as switches:
        outcome, sim = final_state(plan(on(hosts, name, rows=64), fabric=FABRIC, lanes=64))
    assert outcome.incomplete is None
    assert only_job(outcome).resends == 0
    assert sim.servers.state.counter["fragments"][0] == 0
    assert sim.servers.state.counter["partials"][0] == (FRAGMENTS if name == "atp" else 0)
    assert [switch.counters[COUNTERS["completed"]].packets[1] for switch in switches] == completed
    assert denied(switches) == set()
