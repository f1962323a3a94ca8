"""Where simulated jobs go, when their turn comes, and what has no place (the rule: `tests/cluster`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from esa.cluster.inventory import Gpu
from esa.cluster.placement import place
from esa.entries.job_entries import COUNTERS, POLICY
from esa.entries.tiers import job_items
from esa.job import Pool
from esa.policy import POLICIES
from esa.sim import Fabric, Outcome, Plan, SimulatedJob, simulate
from esa.sim.build import build
from esa.sim.fabric.wiring import Control, network_of
from esa.sim.jobs_on_hosts import cluster_of, job_info
from tests.sim.plans import RACK, bucket, job, leaf_spine, ns, plan, rack

pytestmark = pytest.mark.timeout(300)  # the first simulation compiles the event loop


@pytest.mark.slow
@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("racks", [(8,), (4, 4), (3, 3, 3), (2, 2, 2, 2), (1, 1, 1, 1, 1)])
def test_the_network_takes_a_job_where_it_is_put(racks: tuple[int, ...], name: str) -> None:
    asked = job(policy_name=name, workers=4 if len(racks) != 2 else 3)
    spread = plan(asked, fabric=leaf_spine(racks, spines=2))
    control = Control(spread, build(spread).pipelines)
    cluster = cluster_of(spread.fabric)
    gpus = place(cluster, job_info(0, asked), cluster.gpus)
    assert gpus is not None
    added = control.add(0, gpus)
    assert added.fan_in == asked.workers
    assert all(job_items(network_of(spread.fabric), added, 1).values())
    control.remove(0)


def test_jobs_wait_in_the_order_of_submission_and_hosts_are_used_again() -> None:
    # Eight hosts: `first` takes six, `large` waits for them, `small`, which would fit at once, waits behind it.
    jobs = [
        job("small", workers=1, submit_ns=300, buckets=[bucket(10)]),
        job("first", workers=5, submit_ns=100, buckets=[bucket(30)]),
        job("large", workers=7, submit_ns=200, buckets=[bucket(20)]),
    ]
    outcome = simulate(plan(*jobs, sample_ns=100))
    small, first, large = outcome.jobs
    ends = [ns(result.submit_s) + ns(result.jct_s) for result in (first, large)]
    assert [ns(result.start_s) for result in (first, large, small)] == [100, *ends]
    assert [ns(result.submit_s) for result in (small, first, large)] == [300, 100, 200]
    assert ns(small.jct_s) > ends[1] - 300  # it is counted from the submission
    assert outcome.series["running"].max() == 1


def test_two_jobs_that_fit_run_side_by_side() -> None:
    outcome = simulate(plan(job("one", workers=3), job("other", workers=3), sample_ns=1000))
    assert [result.start_s for result in outcome.jobs] == [0.0, 0.0]
    assert outcome.series["running"].max() == 2


def test_a_job_may_name_its_hosts_and_waits_for_them() -> None:
    jobs = [job("first", hosts=(2, 5, 7)), job("other", hosts=(1, 5, 6)), job("third", hosts=(0, 3, 4))]
    first, other, third = simulate(plan(*jobs)).jobs
    assert (ns(first.start_s), ns(other.start_s)) == (0, ns(first.jct_s))
    assert third.start_s == other.start_s  # nobody overtakes


@pytest.mark.parametrize(
    ("fabric", "asked", "problem"),
    [
        (RACK, {"workers": 8}, "no place for 8 workers and a PS on 8 hosts in racks of 8"),
        (
            leaf_spine((3, 3)),
            {"workers": 4},
            "no place for 4 workers and a PS on 6 hosts in racks of 3, 3; over",
        ),
        (RACK, {"hosts": (1, 2, 8)}, "no place for 2 workers and a PS on 8 hosts"),
        (leaf_spine((3, 3)), {"hosts": (0, 3, 1)}, "hosts: its PS, on host 1, is in a rack with workers of it"),
    ],
)
def test_a_job_that_can_never_start_is_refused_before_anything_does(fabric: Fabric, asked: dict, problem: str) -> None:
    fine = job("fine", workers=1)
    with pytest.raises(ValueError, match=f"^job late: {problem}") as refused:
        simulate(plan(fine, job("late", submit_ns=10**9, **asked), fabric=fabric))
    assert "\n" not in str(refused.value)


def test_workers_on_named_hosts_are_ranked_rack_by_rack() -> None:
    fabric = leaf_spine((3, 3, 3))
    mixed = job(workers=4, hosts=(4, 0, 5, 1, 8))
    cluster = cluster_of(fabric)
    gpus = place(cluster, job_info(0, mixed), cluster.gpus)
    assert gpus is not None
    assert [gpu.host for gpu in gpus] == [4, 5, 0, 1, 8]
    outcome = simulate(plan(mixed, fabric=fabric, lanes=64))
    assert outcome.incomplete is None
    assert outcome.checked == 4 * 40


def test_under_ps_the_server_may_sit_with_some_of_its_workers() -> None:
    jobs = [job("late", "ps", workers=4), job("other", "ps", hosts=(0, 3, 1))]
    outcome = simulate(plan(*jobs, fabric=leaf_spine((3, 3)), lanes=64))
    assert outcome.incomplete is None


# Rows that the control plane gives


def placed(name: str, demand: float = 1.0, **settings: Any) -> SimulatedJob:
    return replace(job(name, window=16, **settings), pool=None, demand=demand)


def pools(asked: Plan, steps: Sequence[int]) -> list[Pool]:
    """Of the jobs that are started, one after the other; one that is given again ends."""
    control, found = Control(asked, build(asked).pipelines), []
    for number in steps:
        if number in control._counted_before:
            control.remove(number)
        else:
            hosts = range(3 * number, 3 * number + 3)
            found.append(control.add(number, [Gpu(host, 0) for host in hosts]).pool)
    return found


def test_a_job_is_placed_when_it_starts_by_those_that_run() -> None:
    jobs = [placed("a", 0.9), placed("b", 0.2), placed("c"), placed("d")]
    asked = plan(*jobs, fabric=rack(12), rows=32)
    first, second = Pool(base=0, size=16), Pool(base=16, size=16)
    assert pools(asked, [0, 1, 2]) == [first, second, second]
    assert pools(asked, [0, 1, 0, 2]) == [first, second, first]  # the first one has ended
    assert pools(plan(*jobs, fabric=rack(12), rows=512), [0, 1, 2, 3]) == [
        Pool(base=128 * k, size=128) for k in range(4)
    ]


def test_jobs_that_run_make_room_for_one_that_starts_and_take_that_of_one_that_ends() -> None:
    jobs = [replace(placed(name), span=64) for name in "abc"]
    asked = plan(*jobs, fabric=rack(12), rows=128, re_place=True)
    control = Control(asked, build(asked).pipelines)

    def where() -> list[Pool]:
        """By the entries on the switch."""
        (pipeline,) = control._pipelines.values()
        entries = [entry for entry in pipeline.tables[POLICY].entries() if entry.params]
        return [Pool(base=entry.params[1], size=entry.params[2] + 1) for entry in entries]

    def start(number: int) -> None:
        control.add(number, [Gpu(host, 0) for host in range(3 * number, 3 * number + 3)])

    start(0)
    assert where() == [Pool(base=0, size=64)]
    start(1)
    assert where() == [Pool(base=0, size=64), Pool(base=64, size=64)]
    start(2)
    assert where() == [Pool(base=0, size=64), Pool(base=64, size=32), Pool(base=96, size=32)]
    assert [control.run_of(number).pool for number in range(3)] == where()
    control.remove(0)
    assert {pool.size for pool in where()} == {64}
    control.remove(1)
    control.remove(2)
    assert where() == []


def test_a_job_that_has_much_in_its_rows_is_moved_in_a_gap() -> None:
    asked = plan(*(placed(name) for name in "ab"), fabric=rack(12), rows=64, re_place=True)
    control = Control(asked, build(asked).pipelines)
    first = control.add(0, [Gpu(host, 0) for host in range(3)])
    assert first.pool == Pool(base=0, size=64)
    (pipeline,) = control._pipelines.values()
    seated = pipeline.counters[COUNTERS["seated"]].packets
    seated[first.job] += 2
    control.add(1, [Gpu(host, 0) for host in range(3, 6)])
    control.look()
    assert (control.unsettled, control.run_of(0).pool.size) == (True, 64)
    seated[first.job] -= 1  # one row is not much
    control.look()
    assert not control.unsettled
    assert [control.run_of(number).pool for number in (0, 1)] == [Pool(base=0, size=32), Pool(base=32, size=32)]


def crowd(*, re_place: bool) -> Outcome:
    """Four jobs for rows of two windows; two of them end early."""
    jobs = [
        replace(placed(name, iterations=iterations, buckets=[bucket(200)]), demand=demand)
        for name, iterations, demand in (("a", 30, 0.5), ("b", 3, 1.0), ("c", 30, 0.4), ("d", 3, 0.3))
    ]
    return simulate(plan(*jobs, fabric=rack(12), rows=32, re_place=re_place))


@pytest.mark.parametrize("policy", ["esa", "esa-ack", "esa-no-preemption"])
def test_no_fragment_is_lost_where_pools_move_between_packets(policy: str) -> None:
    jobs = [
        replace(job(name, policy, window=16, iterations=4, buckets=[bucket(100)], submit_ns=at), pool=None, ttl_us=50)
        for name, at in (("a", 0), ("b", 20_000), ("c", 41_000), ("d", 63_000))
    ]
    asked = plan(*jobs, fabric=rack(12), rows=64, lanes=64, re_place=True)
    outcome = simulate(replace(asked, jobs=tuple(replace(one, span=32) for one in jobs)))
    assert outcome.incomplete is None
    assert outcome.checked == 4 * 2 * 400
    met = sum(counted[name] for counted in outcome.switch_counters.values() for name in ("collisions", "preemptions"))
    assert met > 0, "nothing was under way when they moved"


def test_jobs_that_share_rows_are_moved_apart_when_there_is_room_again() -> None:
    stay, move = crowd(re_place=False), crowd(re_place=True)
    assert stay.incomplete is move.incomplete is None
    slow, fast = (max(one.jct_s for one in outcome.jobs if one.jct_s) for outcome in (stay, move))
    assert fast < slow


def test_a_slice_of_a_job_to_come_is_not_placed_upon() -> None:
    late = job("late", "switchml", window=8, submit_ns=1000)  # rows 0..15
    asked = plan(placed("a"), late, fabric=rack(12), rows=64)
    assert pools(asked, [0]) == [Pool(base=32, size=32)]
