"""What fails in virtual time and comes back: sums are exact, the simulation ends, and what happened is told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from esa.cluster.policies import shortest_remaining
from esa.errors import BadInput
from esa.sim import Failure, Flow, Outcome, Plan, simulate
from esa.workloads.program import compute, program, reduce
from tests.sim.plans import bad_links, bucket, fragments, job, leaf_spine, ns, only_job, plan, rack

pytestmark = pytest.mark.timeout(300)  # the first simulation compiles the event loop

POLICIES = ("esa", "atp", "switchml", "ps")
MS = 1_000_000
PARTS = (bucket(13, 2_000, 4_000), bucket(8, 1_000, 3_000))


def training(name: str = "job", policy: str = "esa", **given) -> object:
    return job(name, policy, **{"workers": 3, "iterations": 6, "buckets": PARTS, "window": 8, "rows": 16, **given})


def run(asked: Plan, *failures: Failure) -> Outcome:
    outcome = simulate(replace(asked, failures=failures))
    assert outcome.incomplete is None
    assert outcome.checked == sum(map(fragments, asked.jobs))
    assert all(result.jct_s is not None for result in outcome.jobs)
    return outcome


def alone_ns(asked: Plan) -> int:
    return ns(only_job(simulate(asked)).jct_s)


@pytest.mark.parametrize("kind", ["switch", "ps", "host"])
@pytest.mark.parametrize("policy", POLICIES)
def test_whatever_dies_sums_are_exact_and_the_run_ends(policy: str, kind: str) -> None:
    """At any time of two jobs that share rows, over bad links; a host is a worker's, or a PS's."""
    fabric = rack(9, faults=bad_links(9, 5, loss=0.01, duplicate=0.01))
    jobs = training("one", policy, first_row=64), training("other", policy, workers=2, first_row=128)
    asked = plan(*jobs, fabric=fabric, lanes=64, sample_ns=MS)
    end_ns = max(ns(result.jct_s) for result in run(asked).jobs)
    there = {"switch": [0], "ps": [0, 1], "host": [0, 3, 5]}[kind]
    for k, at_ns in enumerate(range(0, end_ns, end_ns // 6)):
        failure = Failure(kind, there[k % len(there)], at_ns, (20_000, 400_000)[k % 2])
        (told,) = run(asked, failure).failures
        assert (told.kind, told.number, ns(told.died_s)) == (kind, failure.number, at_ns)
        assert kind == "host" or not told.stopped


@pytest.mark.parametrize("policy", POLICIES)
def test_a_host_that_dies_stops_the_jobs_that_are_on_it(policy: str) -> None:
    """They go on where there is room, from the last iteration that all workers had finished."""
    asked = plan(training(policy=policy), fabric=rack(5), lanes=64, sample_ns=MS)
    usual_ns = alone_ns(asked)
    for at_ns in range(5_000, usual_ns, usual_ns // 5):
        outcome = run(asked, Failure("host", 1, at_ns))
        assert outcome.failures[0].stopped == ("job",)
        assert outcome.failures[0].back_s is None
        lost_ns = ns(only_job(outcome).jct_s) - usual_ns
        assert 0 < lost_ns < usual_ns / 6 * 1.5  # of six iterations
        assert only_job(outcome).wait_s == 0


def test_a_job_waits_for_the_host_that_it_needs() -> None:
    asked = plan(training(hosts=(0, 1, 2, 3)), fabric=rack(5), lanes=64, sample_ns=MS)
    outcome = run(asked, Failure("host", 3, 20_000, 300_000))
    assert ns(only_job(outcome).wait_s) == 300_000
    assert ns(outcome.failures[0].back_s) == 320_000


def test_a_job_whose_host_is_gone_for_good_is_named() -> None:
    asked = plan(training(hosts=(0, 1, 2, 3)), fabric=rack(5), lanes=64, failures=(Failure("host", 3, 20_000),))
    outcome = simulate(asked)
    assert outcome.incomplete == "job job waits, and hosts are down for good: 3"
    assert only_job(outcome).jct_s is None


def test_a_host_without_jobs_stops_none_and_no_job_comes_to_it() -> None:
    second = training("second", submit_ns=30_000)
    outcome = run(plan(training("first"), second, fabric=rack(9), lanes=64), Failure("host", 4, 20_000, 50_000))
    assert outcome.failures[0].stopped == ()
    assert outcome.jobs[1].hosts == (5, 6, 7, 8)


def test_a_switch_that_is_down_counts_nothing_and_what_it_counted_is_kept() -> None:
    asked = plan(training(), fabric=rack(5), lanes=64, sample_ns=MS)
    usual = run(asked).switch_counters["job"]["gradients"]
    (down,) = (run(asked, Failure("switch", 0, 30_000, 100_000)),)
    assert down.switch_counters["job"]["gradients"] >= usual
    assert ns(only_job(down).jct_s) > alone_ns(asked) + 100_000


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["esa", "atp", "ps"])
@pytest.mark.parametrize("which", range(5), ids=["rack", "rack", "rack of the PS", "spine", "spine"])
def test_every_switch_of_two_tiers_may_die(policy: str, which: int) -> None:
    fabric = leaf_spine((3, 3, 2), spines=2)
    asked = plan(training(policy=policy, hosts=(0, 1, 3, 6)), fabric=fabric, lanes=64, sample_ns=MS)
    for at_ns in (15_000, 40_000):
        run(asked, Failure("switch", which, at_ns, 200_000))


def test_failures_may_overlap_and_repeat() -> None:
    asked = plan(training(), fabric=rack(6), lanes=64, sample_ns=MS)
    failures = [
        Failure("switch", 0, 20_000, 200_000),
        Failure("switch", 0, 100_000, 200_000),  # while it is down
        Failure("ps", 0, 20_000, 500_000),
        Failure("ps", 0, 30_000, 10_000),
        Failure("host", 1, 150_000, 100_000),
        Failure("host", 1, 200_000, 100_000),
    ]
    outcome = run(asked, *failures)
    assert [ns(told.back_s) for told in outcome.failures[:2]] == [220_000, 300_000]
    again = run(asked, *failures)
    assert (again.jobs, again.failures) == (outcome.jobs, outcome.failures)  # it repeats


def test_a_job_that_was_stopped_by_its_host_may_be_stopped_by_the_scheduler() -> None:
    long = training("long", iterations=10)
    short = training("short", iterations=2, submit_ns=60_000)
    asked = plan(long, short, fabric=rack(5), lanes=64, decide=shortest_remaining.decide, sample_ns=MS)
    run(asked, Failure("host", 2, 30_000, 10_000), Failure("host", 0, 70_000, 20_000))


def test_a_ps_that_stays_away_ends_what_needs_it() -> None:
    fabric = rack(4, faults={0: bad_links(1, 1, loss=0.2)[0]})
    asked = plan(training(policy="ps"), fabric=fabric, lanes=64, give_up_s=0.01, sample_ns=MS)
    outcome = simulate(replace(asked, failures=(Failure("ps", 0, 20_000),)))
    assert outcome.incomplete == "job job gave up"
    assert outcome.end_s < 0.1


def test_what_comes_after_the_end_is_told_as_not_reached() -> None:
    outcome = run(plan(training(), lanes=64), Failure("switch", 0, 10**9, 5))
    assert (outcome.failures[0].died_s, outcome.failures[0].back_s) == (None, None)


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        (Failure("switch", 1, 0), "failure: switch 1; allowed: 0 to 0"),
        (Failure("ps", 3, 0), "failure: ps 3; allowed: 0 to 2"),
        (Failure("host", 8, 0), "failure: host 8; allowed: 0 to 7"),
        (Failure("ps", 1, 0), "failure: the PS of job ring, which has none"),
        (Failure("host", 0, 0), "failure: host 0: job ring: messages of it are under way"),
    ],
)
def test_what_cannot_fail_is_refused(failure: Failure, message: str) -> None:
    ring = training("ring", workers=2, transport="ring")
    with pytest.raises(BadInput, match=message):
        simulate(plan(training(workers=2), ring, training("third", workers=2), failures=(failure,)))


def test_hosts_whose_jobs_cannot_go_on_or_that_have_flows_are_refused() -> None:
    once = job("once", programs=(program(compute(10), reduce(256, 1)),) * 2)
    with pytest.raises(BadInput, match="host 0: job once: its programs are not one loop each"):
        simulate(plan(once, failures=(Failure("host", 0, 0),)))
    beside = plan(training(), flows=(Flow("bulk", 6, 7, bytes=100),), failures=(Failure("host", 7, 0),))
    with pytest.raises(BadInput, match="host 7: flow bulk has an end there"):
        simulate(beside)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"kind": "link"}, "failure: 'link'; allowed: switch, ps, host"),
        ({"at_ns": -1}, "failure: at_ns -1; allowed: 0 or more"),
        ({"down_ns": -1}, "failure: down_ns -1; allowed: 0 or more"),
    ],
)
def test_a_failure_checks_itself(given: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Failure(**{"kind": "switch", "number": 0, "at_ns": 0, **given})
