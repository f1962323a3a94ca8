"""How simulations end: as they should, by giving up, at a limit, or because somebody asks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from esa.net.impairment import Impairment, LinkFaults
from esa.sim import Outcome, SimulatedJob, simulate
from tests.sim.plans import TIMERS, bucket, job, ns, plan, rack

pytestmark = pytest.mark.timeout(300)  # the first simulation compiles the event loop

GIVE_UP_S = 0.05
CUT = {0: LinkFaults(to_switch=Impairment(loss=1.0))}  # what host 0 sends is lost


def with_a_dead_link(*jobs, **given) -> Outcome:
    return simulate(plan(*jobs, fabric=rack(8, faults=CUT), give_up_s=GIVE_UP_S, **{"lanes": 64, **given}))


@pytest.mark.parametrize("name", ["esa", "atp", "switchml", "ps"])
def test_a_job_whose_link_loses_everything_gives_up(name: str) -> None:
    outcome = with_a_dead_link(job("cut", name, hosts=(0, 1, 2)), sample_ns=10**7)
    (cut,) = outcome.jobs
    assert outcome.incomplete == "job cut gave up"
    assert (cut.failed, cut.jct_s, cut.iterations) == (True, None, 0)
    assert cut.start_s == 0.0
    assert 0.05 <= outcome.end_s < 0.06
    assert outcome.faults["host-0"]["to_switch"]["lost"] == outcome.faults["host-0"]["to_switch"]["packets"] > 0


def test_others_go_on_as_if_nothing_were() -> None:
    """The same figures with a job that fails beside it and without: it has links and rows of its own."""
    fine = job("fine", "switchml", first_row=256, hosts=(3, 4, 5), iterations=300, buckets=[bucket(40, 5_000, 5_000)])
    beside = with_a_dead_link(job("cut", "esa", hosts=(0, 1, 2)), fine)
    (alone,) = with_a_dead_link(fine).jobs
    assert [result.failed for result in beside.jobs] == [True, False]
    assert beside.jobs[1] == alone


def test_the_hosts_of_a_job_that_gave_up_become_free_and_quiet() -> None:
    """The next job on them, which needs all of its links, takes as long as on hosts that nobody had before."""

    def following(*hosts: int) -> SimulatedJob:
        return job("next", "switchml", first_row=256, hosts=hosts, window=64, iterations=30, buckets=[bucket(3000)])

    outcome = with_a_dead_link(job("cut", hosts=(0, 1, 2)), following(2, 1, 3), lanes=0)
    assert outcome.incomplete == "job cut gave up"
    after = outcome.jobs[1]
    assert 0.05 <= after.start_s < 0.06
    assert not after.failed
    (alone,) = with_a_dead_link(following(4, 5, 6), lanes=0).jobs
    assert ns(after.jct_s) - ns(after.start_s) == ns(alone.jct_s) > TIMERS.patience_ceiling_ns


LONG = job(iterations=200, buckets=[bucket(40, 5_000, 5_000)])


def test_a_limit_ends_it() -> None:
    whole = simulate(plan(LONG))
    assert whole.incomplete is None
    limit_ns = round(whole.end_s * 1e9) // 2
    outcome = simulate(plan(LONG, limit_ns=limit_ns))
    assert outcome.incomplete == f"not over after {limit_ns / 1e9:g} s of virtual time"
    assert ns(outcome.end_s) == limit_ns
    (result,) = outcome.jobs
    assert result.jct_s is None
    assert 90 <= result.iterations <= 100
    assert not result.failed


def test_a_job_that_is_submitted_after_the_limit_never_starts() -> None:
    outcome = simulate(plan(job("now"), job("later", submit_ns=10**9), limit_ns=10**8))
    now, later = outcome.jobs
    assert now.jct_s is not None
    assert (later.start_s, later.jct_s, later.iterations) == (None, None, 0)
    assert outcome.incomplete == "not over after 0.1 s of virtual time"


def test_whoever_asks_ends_it() -> None:
    asked: list[None] = []

    def should_stop() -> bool:
        asked.append(None)
        return len(asked) == 5

    outcome = simulate(plan(LONG, sample_ns=50_000), should_stop=should_stop)
    assert outcome.incomplete == "interrupted"
    assert len(asked) == 5
    assert ns(outcome.end_s) == 4 * 50_000  # asked at 0 for the first time
    assert outcome.jobs[0].jct_s is None


def test_progress_grows_to_one() -> None:
    told: list[float] = []
    outcome = simulate(plan(LONG, replace(LONG, name="other", workers=3), sample_ns=20_000), progress=told.append)
    assert outcome.incomplete is None
    assert len(told) > 20
    assert told == sorted(told)
    assert (told[0], told[-1]) == (0.0, 1.0)
    assert len(set(told)) > 20


def test_progress_of_what_does_not_end_stays_below_one() -> None:
    told: list[float] = []
    simulate(plan(LONG, limit_ns=500_000, sample_ns=20_000), progress=told.append)
    assert 0.0 < told[-1] < 0.5


@pytest.mark.parametrize("name", ["esa", "atp", "switchml", "ps"])
def test_a_worker_that_computes_for_longer_than_silence_is_borne_is_waited_for(name: str) -> None:
    buckets = [bucket(4, 500_000, 500_000)]
    slow = job("slow", name, workers=3, iterations=8, buckets=buckets, straggle=0.2, slowdown=200.0)
    result = simulate(plan(slow, give_up_s=GIVE_UP_S, lanes=64))
    assert result.incomplete is None
    assert result.jobs[0].jct_s > 0.1  # one that straggles computes for 0.1 s or 0.2 s

    impatient = simulate(plan(slow, give_up_s=GIVE_UP_S, wait_limit_s=GIVE_UP_S, lanes=64))
    assert impatient.incomplete == "job slow gave up"
