"""Simulated jobs under a scheduler: on hosts with several GPUs, more of them than ids, stopped and resumed."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest

from esa.cluster.inventory import Cluster, Gpu
from esa.cluster.policies import first_fit, shortest_remaining
from esa.cluster.scheduler import Decision, JobInfo, Resize, Running, Start, Stop
from esa.cluster.times import Times
from esa.errors import BadInput
from esa.policy import POLICIES
from esa.sim import HostCosts, Outcome, Plan, SimulatedJob, simulate
from esa.workloads.program import ORDERS, Program, compute, loop, mark, program, reduce, wait
from tests.sim.plans import FRAGMENT_BYTES, bad_links, bucket, fragments, job, leaf_spine, ns, only_job, plan, rack
from tests.sim.test_repeatable import fingerprint

pytestmark = pytest.mark.timeout(300)  # the first simulation compiles the event loop

BAD = {"loss": 0.02, "duplicate": 0.02, "reorder": 0.05, "reorder_ms": 0.01}


def check(summed: Plan) -> Outcome:
    """All jobs end, and every sum is the plain one."""
    outcome = simulate(summed)
    assert outcome.incomplete is None
    assert outcome.checked == sum(map(fragments, summed.jobs))
    assert [result.iterations for result in outcome.jobs] == [asked.iterations for asked in summed.jobs]
    return outcome


# Several GPUs


@pytest.mark.parametrize("name", POLICIES)
def test_two_jobs_share_hosts_of_four_gpus(name: str) -> None:
    fabric = rack(2, gpus=4, faults=bad_links(2, 3, **BAD))
    given = {"workers": 3, "rows": 16, "iterations": 2, "window": 8}
    one, other = (
        job(each, name, first_row=64 * k, hosts=hosts, **given)
        for k, (each, hosts) in enumerate((("one", (0, 1, 0, 1)), ("other", (1, 0, 1, 0))))
    )
    outcome = check(plan(one, other, fabric=fabric, lanes=64))
    assert [result.start_s for result in outcome.jobs] == [0.0, 0.0]


@pytest.mark.parametrize("racks", [(2, 2, 2), (3, 1, 1)])
def test_over_racks_too(racks: tuple[int, ...]) -> None:
    fabric = leaf_spine(racks, spines=2, gpus=4, faults=bad_links(sum(racks), 4, **BAD))
    jobs = [job(each, "esa", workers=12, rows=16, iterations=2) for each in ("one", "other")]
    check(plan(*jobs, fabric=fabric, lanes=64))


@pytest.mark.parametrize("costs", [HostCosts(), HostCosts(send_ns=1000)])
def test_ranks_on_a_host_share_its_cable_and_its_processor(costs: HostCosts) -> None:
    def jct_ns(*hosts: int) -> int:
        fabric = rack(4, gpus=4, costs=costs)
        large = job(buckets=[bucket(2000)], window=512, rows=2048, workers=len(hosts) - 1, hosts=hosts)
        return ns(only_job(simulate(plan(large, fabric=fabric))).jct_s)

    # Two take twice as long, and the cable is not full while both wait for the one that is behind.
    apart = jct_ns(0, 1, 2, 3)
    assert 1.95 < jct_ns(0, 0, 1, 3) / apart < 2.5
    assert 2.95 < jct_ns(0, 0, 0, 3) / apart < 3.75


def test_as_many_ranks_as_gpus_find_a_place() -> None:
    fabric = rack(2, gpus=4)
    first, second, third = simulate(plan(*(job(n, workers=3) for n in "abc"), fabric=fabric)).jobs
    assert (first.start_s, second.start_s) == (0.0, 0.0)
    assert third.start_s == min(first.jct_s, second.jct_s)


# Ids


@pytest.mark.slow
def test_three_hundred_jobs_in_a_lifetime() -> None:
    """Under `esa` and `atp`, which leave rows behind; counters are each job's own, whoever had its id before."""
    jobs = [
        job(f"job-{k}", ("esa", "atp")[k % 2], submit_ns=k % 7, rows=8, buckets=[bucket(3 + k % 3)]) for k in range(300)
    ]
    outcome = check(plan(*jobs, lanes=64, sample_ns=100_000))
    assert [result.start_s is not None for result in outcome.jobs] == [True] * 300
    for asked, result in zip(jobs, outcome.jobs, strict=True):
        counted = outcome.switch_counters[asked.name]
        assert result.fragments == fragments(asked)
        # A RESEND may be under way when its job is over.
        assert result.fragments <= counted["gradients"] <= result.fragments + result.resends
        assert counted["completed"] <= fragments(asked) // 2
    assert sum(counted["completed"] for counted in outcome.switch_counters.values()) > 300
    assert outcome.useful_mean <= outcome.occupancy_mean


@pytest.mark.slow
def test_no_more_than_255_at_a_time() -> None:
    fabric = rack(260, gpus=2)
    jobs = [job(f"job-{k}", workers=1, buckets=[bucket(2 + k % 5)]) for k in range(257)]
    outcome = check(plan(*jobs, fabric=fabric, lanes=64, sample_ns=100))
    assert outcome.series["running"].max() == 255
    assert sum(result.start_s == 0.0 for result in outcome.jobs) == 255


# Stops


def preempted(at_ns: int, policy_name: str = "esa", **given) -> tuple[SimulatedJob, SimulatedJob]:
    """A long job that holds half of what the short one wants from `at_ns` on."""
    parts = (bucket(13, 2_000, 4_000), bucket(8, 1_000, 3_000))
    common = {"workers": 3, "window": 8, "rows": 16, **given}
    long = job("long", policy_name, iterations=10, buckets=parts, **common)
    return long, job("short", policy_name, iterations=2, buckets=parts, submit_ns=at_ns, first_row=64, **common)


@pytest.mark.parametrize("order", ["ddp", *(pytest.param(o, marks=pytest.mark.slow) for o in ORDERS if o != "ddp")])
@pytest.mark.parametrize("name", POLICIES)
def test_a_job_that_was_stopped_goes_on_exactly(name: str, order: str) -> None:
    fabric = rack(6, faults=bad_links(6, 5, **BAD))
    for at_ns in range(10_000, 80_000, 9_000):
        jobs = preempted(at_ns, name, order=order, jitter=0.2)
        outcome = check(plan(*jobs, fabric=fabric, lanes=64, decide=shortest_remaining.decide))
        long, short = outcome.jobs
        assert ns(short.start_s) == at_ns
        assert ns(long.jct_s) > at_ns + ns(short.jct_s)


def test_what_is_lost_is_less_than_an_iteration() -> None:
    (alone,) = check(plan(preempted(0)[0], lanes=64)).jobs
    iteration_ns = ns(alone.jct_s) / 10
    for at_ns in range(10_000, 80_000, 7_000):
        fabric = rack(6)
        long, short = check(plan(*preempted(at_ns), fabric=fabric, lanes=64, decide=shortest_remaining.decide)).jobs
        lost_ns = ns(long.jct_s) - ns(short.jct_s) - ns(alone.jct_s)
        assert 0 <= lost_ns < 1.5 * iteration_ns
        assert 10 * 10_000 <= ns(long.compute_s) <= 11 * 10_000  # 10 us an iteration; the unfinished one counts, too
        assert ns(long.comm_s) <= ns(alone.comm_s) + lost_ns


def test_stops_repeat() -> None:
    def outcome() -> Outcome:
        fabric = rack(6, faults=bad_links(6, 5, **BAD))
        return simulate(plan(*preempted(44_000, jitter=0.2), fabric=fabric, decide=shortest_remaining.decide))

    assert fingerprint(outcome()) == fingerprint(outcome())


def test_counters_are_those_of_all_runs() -> None:
    long, short = preempted(50_000)
    outcome = check(plan(long, short, fabric=rack(6), lanes=64, decide=shortest_remaining.decide))
    result = outcome.jobs[0]
    counted = outcome.switch_counters["long"]
    assert fragments(long) < result.fragments <= fragments(long) + 3 * 21
    assert result.fragments + result.resends - 3 * 8 <= counted["gradients"] <= result.fragments + result.resends


def moves(
    now_ns: int, cluster: Cluster, waiting: Sequence[JobInfo], running: Sequence[Running], times: Times
) -> Decision:
    """`long` starts on racks 0 and 1 and makes way for `short`; it goes on on racks 2 and 3, in other numbers."""
    at_work = {job.job.name: job for job in running}
    starts, stops = [], []
    for each in waiting:
        if each.name == "short" and "long" in at_work:
            stops.append(Stop(at_work["long"].job.number))
        hosts = (0, 1, 4, 8) if each.name == "short" or not each.done else (8, 12, 13, 0)
        if each.name != "long" or "short" not in at_work:
            *workers, server = (Gpu(host // 2, host % 2) for host in hosts)
            starts.append(Start(each.number, tuple(workers), server))
    return Decision(tuple(starts), tuple(stops))


def with_programs(*programs: Program) -> list[SimulatedJob]:
    """A long job on all hosts, and a short one that comes at 60 us."""
    long = job("long", programs=programs, workers=len(programs))
    return [long, job("short", submit_ns=60_000, workers=len(programs), first_row=64)]


def test_a_job_with_a_loop_of_its_own_goes_on_too() -> None:
    def part(fragments: int):
        return reduce(fragments * FRAGMENT_BYTES, 9)

    mine = program(
        loop(10, part(7), compute(3_000), wait(1), mark(1), compute(4_000), part(5), compute(5_000), mark(2))
    )
    jobs = with_programs(mine, mine, mine)
    outcome = simulate(plan(*jobs, fabric=rack(4), lanes=64, decide=shortest_remaining.decide))
    assert outcome.incomplete is None
    assert ns(outcome.jobs[1].start_s) == 60_000
    assert outcome.checked == 3 * 10 * 12 + fragments(jobs[1])
    for marks in outcome.marks_ns["long"]:
        assert [tag for tag, _ in marks] == [1, 2] * 10
        times = [at for _, at in marks]
        assert times == sorted(times)
        assert max(later - at for at, later in itertools.pairwise(times)) > ns(outcome.jobs[1].jct_s)


def test_a_job_whose_programs_are_no_loop_can_only_end() -> None:
    jobs = with_programs(program(compute(90_000), mark()), program(loop(2, compute(90_000))))
    with pytest.raises(BadInput, match=r"^job long: stop: its programs are not one loop each; allowed: to let it end$"):
        simulate(plan(*jobs, fabric=rack(3), decide=shortest_remaining.decide))


@pytest.mark.parametrize("name", ["esa", "atp", "switchml", "ps"])
def test_it_may_go_on_in_other_racks(name: str) -> None:
    fabric = leaf_spine((2, 2, 2, 2), spines=2, gpus=2, faults=bad_links(8, 6, **BAD))
    long, short = check(plan(*preempted(60_000, name), fabric=fabric, lanes=64, decide=moves)).jobs
    assert (ns(long.start_s), ns(short.start_s)) == (0, 60_000)


# What cannot be done


def resizes(
    now_ns: int, cluster: Cluster, waiting: Sequence[JobInfo], running: Sequence[Running], times: Times
) -> Decision:
    if running:
        return Decision(resizes=(Resize(running[0].job.number, (Gpu(0, 0),), Gpu(1, 0)),))
    return first_fit.decide(now_ns, cluster, waiting, running, times)


def puts_two_on_one(
    now_ns: int, cluster: Cluster, waiting: Sequence[JobInfo], running: Sequence[Running], times: Times
) -> Decision:
    return Decision((Start(waiting[0].number, (Gpu(0, 0), Gpu(0, 0)), Gpu(1, 0)),))


def starts_nobody(
    now_ns: int, cluster: Cluster, waiting: Sequence[JobInfo], running: Sequence[Running], times: Times
) -> Decision:
    return Decision()


@pytest.mark.parametrize(
    ("decide", "problem"),
    [
        (
            starts_nobody,
            "job first: it waits, nothing runs and nothing is to come; allowed: a scheduler that starts a job",
        ),
        (resizes, "job first: resize: simulated jobs keep their size; allowed: starts and stops"),
        (puts_two_on_one, "job first: rank 0 and rank 1 on GPU 0 of host 0; allowed: one on a GPU"),
    ],
)
def test_a_decision_that_cannot_be_applied_ends_the_simulation(decide, problem: str) -> None:
    first, second = job("first"), job("second", submit_ns=1000)
    with pytest.raises(BadInput) as refused:
        simulate(plan(first, second, decide=decide))
    assert str(refused.value) == problem
