"""Invariants 2 and 3 in the simulator: every sum of every worker is the plain one, and everything ends.

Gradients are carried (64 lanes), jobs contend for a few rows, and every link is bad.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from esa.policy import POLICIES
from esa.sim import HostCosts, Outcome, Plan
from tests.effort import tries
from tests.sim.end_hosts import end_hosts
from tests.sim.plans import LINK, bad_links, bucket, fragments, job, leaf_spine, only_job, plan, rack
from tests.sim.tap import denied, final_state, kept_switches

pytestmark = pytest.mark.timeout(300)  # the first simulation compiles the event loop

SPREAD = ((0, 1, 3, 6), (2, 4, 5, 7))  # both in racks 0 and 1, their PSs in rack 2
# Where the network is, and each job's hosts; None: those that it finds.
FABRICS = {
    "rack": (rack(8), (None, None)),
    "2 racks, PSs across": (leaf_spine((4, 4)), ((0, 1, 2, 4), (5, 6, 7, 3))),
    "3 racks, one root": (leaf_spine((3, 3, 2)), SPREAD),
    "3 racks, two roots": (leaf_spine((3, 3, 2), spines=2), SPREAD),
    "4 racks, two spines": (leaf_spine((2, 2, 2, 2), spines=2), (None, None)),
}
SAMPLE_NS = 100_000_000  # nothing here looks at the series, and bad links take their time
EVERYTHING = {
    "loss": 0.1,
    "duplicate": 0.1,
    "reorder": 0.1,
    "reorder_ms": 0.02,
    "delay_ms": 0.002,
    "jitter_ms": 0.005,
    "burst_enter": 0.01,
}


def two_jobs(policies: tuple[str, str], where: str, **given) -> tuple:
    """Three workers each; a job that has a slice has it behind the rows that others share."""
    buckets = (bucket(13, backward_ns=1_000), bucket(8, forward_ns=1_000, backward_ns=500))
    common = {"workers": 3, "iterations": 2, "buckets": buckets, "window": 8, "jitter": 0.3, **given}
    return tuple(
        job(f"job-{number}", name, first_row=256 * (number + 1), priority=100 + number, hosts=hosts, **common)
        for number, (name, hosts) in enumerate(zip(policies, FABRICS[where][1], strict=True))
    )


def check(summed: Plan) -> Outcome:
    with kept_switches() as switches:
        outcome, sim = final_state(summed)
    assert outcome.incomplete is None
    assert outcome.checked == sum(map(fragments, summed.jobs))
    assert [result.iterations for result in outcome.jobs] == [asked.iterations for asked in summed.jobs]
    assert all(result.jct_s is not None and not result.failed for result in outcome.jobs)
    for state in (sim.workers.state, sim.servers.state):
        assert not state.counter["malformed"].any()
    assert denied(switches) <= {"unknown job", "other run"}  # of jobs that are over
    return outcome


@pytest.mark.parametrize("where", FABRICS)
@pytest.mark.parametrize("name", POLICIES)
def test_every_policy_sums_exactly_over_bad_links(name: str, where: str) -> None:
    fabric, _ = FABRICS[where]
    jobs = two_jobs((name, "esa"), where, rows=16)
    fabric = replace(fabric, faults=bad_links(fabric.hosts, 7, **EVERYTHING))
    outcome = check(plan(*jobs, fabric=fabric, lanes=64, sample_ns=SAMPLE_NS))
    injected = [line for host in outcome.faults.values() for line in host.values()]
    assert len(injected) == 2 * fabric.hosts
    for what in ("lost", "duplicated", "reordered", "delayed"):
        assert sum(line[what] for line in injected) > 0


@pytest.mark.slow
@pytest.mark.parametrize("where", FABRICS)
@pytest.mark.parametrize("name", POLICIES)
def test_without_faults_too_and_with_switches_that_do_the_work(name: str, where: str) -> None:
    outcome = check(plan(*two_jobs((name, name), where, rows=64), fabric=FABRICS[where][0], lanes=64))
    completed = [counters["completed"] for counters in outcome.switch_counters.values()]
    assert all(completed) == (POLICIES[name].pool != "none")
    assert outcome.dropped == 0


@pytest.mark.parametrize("name", ["esa", "atp", "switchml", "ps"])
def test_without_faults_the_switch_does_the_work_and_nothing_is_sent_twice(name: str) -> None:
    outcome, sim = final_state(plan(job(policy_name=name, workers=3, window=4, rows=8), lanes=64))
    assert outcome.incomplete is None
    assert only_job(outcome).resends == 0
    server = sim.servers.state.counter[0]
    per_worker = only_job(outcome).fragments // 3
    assert server["fragments"] == (3 * per_worker if name == "ps" else 0)
    assert server["partials"] == (per_worker if name == "atp" else 0)
    assert outcome.switch_counters["job"]["aggregated"] == (0 if name == "ps" else 3 * per_worker)


def test_preemption_and_loss_leave_no_row_taken_for_ever() -> None:
    faults = bad_links(11, 5, loss=0.1, duplicate=0.1, reorder=0.1, reorder_ms=0.1)
    names, given = ("esa", "esa", "atp"), {"window": 8, "rows": 8, "buckets": [bucket(60)]}
    jobs = [
        job(f"job-{k}", name, workers=(3, 3, 2)[k], priority=(9, 90, 50)[k], **given) for k, name in enumerate(names)
    ]
    outcome = check(plan(*jobs, fabric=rack(11, faults=faults), lanes=64, sample_ns=SAMPLE_NS))
    assert sum(counters["preemptions"] for counters in outcome.switch_counters.values()) > 0


rates = st.sampled_from([0.0, 0.0, 0.01, 0.1])


@settings(max_examples=tries(60), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    policies=st.tuples(*2 * [st.sampled_from(sorted(POLICIES))]),
    where=st.sampled_from(sorted(FABRICS)),
    rows=st.sampled_from([16, 32, 64]),
    window=st.sampled_from([1, 8, 32]),
    queue=st.sampled_from([8, 1024]),
    ecn=st.sampled_from([None, 4]),
    costs=st.sampled_from([HostCosts(), HostCosts(50, 150, 300), HostCosts(50, 150, 300, cores=2)]),
    ttl_us=st.sampled_from([0, 20, 2_000_000]),
    faults=st.fixed_dictionaries(
        {
            "loss": rates,
            "duplicate": rates,
            "reorder": rates,
            "reorder_ms": st.sampled_from([0.002, 0.1]),
            "jitter_ms": st.sampled_from([0.0, 0.005]),
            "burst_enter": rates,
        }
    ),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_two_jobs_sum_exactly(policies, where, rows, window, queue, ecn, costs, ttl_us, faults, seed) -> None:
    fabric, _ = FABRICS[where]
    link = LINK._replace(queue_packets=queue)
    fabric = replace(
        fabric,
        graph=replace(fabric.graph, cables=tuple(cable._replace(link=link) for cable in fabric.graph.cables)),
        ecn_packets=ecn,
        costs=costs,
        faults=bad_links(fabric.hosts, seed % 1000, **faults),
    )
    jobs = two_jobs(policies, where, rows=rows, window=window, ttl_us=ttl_us)
    outcome = check(plan(*jobs, fabric=fabric, lanes=64, seed=seed, sample_ns=SAMPLE_NS))
    note(f"{outcome.packet_hops} packet-hops, {outcome.end_s * 1e3:.1f} ms, {outcome.dropped} dropped")


probability = st.sampled_from([0.0, 0.0, 0.02, 0.1, 0.2])


@settings(max_examples=tries(60), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    policies=st.lists(st.sampled_from(sorted(POLICIES)), min_size=1, max_size=3),
    workers=st.integers(1, 4),
    window=st.sampled_from([1, 2, 4, 8]),
    held_resends=st.sampled_from([None, 1]),
    ecn=st.sampled_from([None, 1]),
    faults=st.fixed_dictionaries({"loss": probability, "duplicate": probability, "reorder": probability}),
    seed=st.integers(0, 2**32 - 1),
)
def test_jobs_of_any_size_sum_exactly_with_little_room(policies, workers, window, held_resends, ecn, faults, seed):
    hosts = 15
    bad = bad_links(hosts, seed % 1000, **faults, reorder_ms=0.1)
    jobs = [
        job(f"job-{k}", name, workers=workers, window=window, rows=8, first_row=64 * (k + 1), ttl_us=20,
            buckets=[bucket(24, backward_ns=3_000)], jitter=0.9, priority=1 + (seed >> 8 * k) % 255)
        for k, name in enumerate(policies)
    ]  # fmt: skip
    with end_hosts(first_seq=2**32 - 16, outbox=8, held_resends=held_resends):
        fabric = rack(hosts, faults=bad, ecn_packets=ecn)
        outcome = check(plan(*jobs, fabric=fabric, lanes=64, seed=seed, sample_ns=SAMPLE_NS))
    note(f"{outcome.packet_hops} packet-hops, {outcome.end_s * 1e3:.1f} ms")
