"""Events of a cluster: when jobs start, stop and end, to the nanosecond, and what it costs."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esa.cluster.inventory import Cluster, Gpu
from esa.cluster.policies import LABORATORY, fifo
from esa.cluster.scheduler import NOTHING, Decision, JobInfo, Resize, Running, Start, Stop
from esa.cluster.times import COMPUTING, Answer, Asked, Times
from esa.errors import BadInput
from esa.laboratory import simulate_cluster
from tests.effort import tries
from tests.laboratory.jobs import SECOND, check_books, ends_s, hosts, job


def test_fifo_waits_for_the_head_of_the_queue() -> None:
    jobs = [job("a", 0, 3, 10), job("b", 1, 2, 5), job("c", 2, 1, 4)]
    outcome = simulate_cluster(hosts(4), jobs, fifo.decide, COMPUTING, spells=True)
    assert ends_s(outcome) == [10, 15, 14]
    assert [one.waited_ns for one in outcome.jobs] == [0, 9 * SECOND, 8 * SECOND]
    assert (outcome.makespan_ns, outcome.held, outcome.useful) == (15 * SECOND, 44 * SECOND, 44 * SECOND)
    check_books(hosts(4), jobs, outcome)


def test_shortest_remaining_stops_a_longer_job_which_pays_and_goes_on_from_its_checkpoint() -> None:
    jobs = [job("long", 0, 4, 100, start=1, preempt=2, checkpoint=10), job("short", 30.5, 4, 5)]
    outcome = simulate_cluster(hosts(4), jobs, LABORATORY["shortest-remaining"], COMPUTING, spells=True)
    long, short = outcome.jobs
    assert short.end_ns == round(35.5 * SECOND)
    assert long.end_ns == round((35.5 + 3 + 80) * SECOND)  # 29 s done until then, 20 kept
    assert (long.stops, long.starts) == (1, 2)
    assert (long.delayed, long.lost) == (4 * 4 * SECOND, 4 * round(9.5 * SECOND))
    check_books(hosts(4), jobs, outcome)


def test_what_a_scheduler_keeps_of_what_it_saw_stays_as_it_was() -> None:
    kept: list[Running] = []

    def decide(
        now_ns: int, cluster: Cluster, waiting: Sequence[JobInfo], running: Sequence[Running], times: Times
    ) -> Decision:
        kept.extend(one for one in running if one.job.name == "long")
        assert [one.job.number for one in running] == [*running.by_number]
        return fifo.decide(now_ns, cluster, waiting, running, times)

    jobs = [job("long", 0, 1, 10), *(job(f"{second} s", second, 1, 1) for second in (2, 4))]
    simulate_cluster(hosts(4), jobs, decide, COMPUTING)
    assert [one.job.done for one in kept] == [2, 3, 4, 5]
    assert {one.workers for one in kept} == {gpus(0)}


def scripted(*steps: Decision):
    """A scheduler that decides these one after the other."""
    left = list(steps)

    def decide(
        now_ns: int, cluster: Cluster, waiting: Sequence[JobInfo], running: Sequence[Running], times: Times
    ) -> Decision:
        return left.pop(0) if left else NOTHING

    return decide


def gpus(*numbers: int) -> tuple[Gpu, ...]:
    return tuple(Gpu(0, number) for number in numbers)


def test_an_elastic_job_goes_on_faster_after_the_cost_of_rescaling() -> None:
    elastic = job("a", 0, 2, 30, elastic=(1, 4), rescale=3, migrate=1)
    steps = (
        Decision((Start(0, gpus(0, 1), None),)),
        *(Decision(resizes=(Resize(0, some, None),)) for some in (gpus(0, 1, 2, 3), gpus(3, 2, 1, 0))),
    )
    outcome = simulate_cluster(hosts(4), [elastic], scripted(*steps), COMPUTING, tick_ns=10 * SECOND, spells=True)
    # 10 s wait; 10 s of 30 done; 3 s cost, 7 s twice as fast: 24 done; 1 s cost, 3 s.
    assert ends_s(outcome) == [34]
    assert (outcome.jobs[0].resizes, outcome.jobs[0].moves) == (1, 1)
    assert outcome.jobs[0].delayed == (3 + 1) * 4 * SECOND
    check_books(hosts(4), [elastic], outcome)


@settings(max_examples=tries(60), deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_asking_more_often_changes_nothing_for_who_is_left_alone(seed: int) -> None:
    """Ticks cut intervals; with a scheduler that lets be what runs, ends are those without it, bit for bit."""
    dice = random.Random(seed)
    width, seconds = dice.randint(1, 7), dice.randint(1, 50)
    elastic = job("a", 0, 5, seconds, elastic=(1, 8))
    start = Decision((Start(0, gpus(*range(width)), None),))
    coarse = simulate_cluster(hosts(8), [elastic], scripted(start), COMPUTING, tick_ns=SECOND)
    fine = simulate_cluster(hosts(8), [elastic], scripted(*[NOTHING] * 7, start), COMPUTING, tick_ns=SECOND // 8)
    assert ends_s(coarse) == ends_s(fine)
    assert fine.decisions > coarse.decisions


class Looking:
    """Times that depend on who else runs, as a network's would; here on how many."""

    isolated = False

    def __call__(self, running: Sequence[Asked], /) -> Sequence[Answer]:
        return [Answer(len(running) * asked.gpu_ns / asked.workers / 1e9, level=2) for asked in running]


def test_jobs_that_share_a_network_slow_each_other_down_while_both_run() -> None:
    jobs = [job("a", 0, 1, 10), job("b", 4, 1, 10)]
    outcome = simulate_cluster(hosts(2), jobs, fifo.decide, Looking(), spells=True)
    assert ends_s(outcome) == [16, 20]
    assert outcome.by_level == {2: 32 * SECOND}


class Changing(Looking):
    """Gives the same answer in another object at every look."""

    def __call__(self, running: Sequence[Asked], /) -> Sequence[Answer]:
        return [Answer(asked.gpu_ns / asked.workers / 1e9, error_s=random.random()) for asked in running]


@settings(max_examples=tries(40), deadline=None)
@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 3), st.integers(1, 20)), min_size=1, max_size=8))
def test_cutting_an_interval_in_two_changes_nothing(drawn: list[tuple[int, int, int]]) -> None:
    """Whoever is asked for anew at each event has its progress added up there; ends stay those without it."""
    jobs = [job(f"job-{k}", submit, workers, seconds) for k, (submit, workers, seconds) in enumerate(drawn)]
    whole = simulate_cluster(hosts(4), jobs, LABORATORY["first-fit"], COMPUTING)
    cut = simulate_cluster(hosts(4), jobs, LABORATORY["first-fit"], Changing())
    assert ends_s(whole) == ends_s(cut)


drawn_jobs = st.lists(
    st.tuples(st.integers(0, 40), st.integers(1, 5), st.integers(1, 30), st.booleans(), st.integers(0, 3)),
    min_size=1,
    max_size=10,
)


@pytest.mark.parametrize("name", LABORATORY)
@settings(max_examples=tries(25), deadline=None)
@given(drawn=drawn_jobs, sizes=st.sampled_from([(5,), (4, 4), (1, 2, 3, 4)]), tick=st.sampled_from([0, 15]))
def test_books_are_kept_under_every_scheduler(name: str, drawn: list, sizes: tuple[int, ...], tick: int) -> None:
    """A tick is longer than what a start costs: else jobs that take turns get nowhere."""
    jobs = [
        job(
            f"job-{k}", submit, workers, seconds, (1, workers + 2) if elastic else None, start=costs, preempt=1,
            rescale=costs, checkpoint=costs,
        )
        for k, (submit, workers, seconds, elastic, costs) in enumerate(drawn)
    ]  # fmt: skip
    cluster = hosts(*sizes, placement="most-free")
    outcome = simulate_cluster(cluster, jobs, LABORATORY[name], COMPUTING, tick_ns=tick * SECOND, spells=True)
    check_books(cluster, jobs, outcome)
    again = simulate_cluster(cluster, jobs, LABORATORY[name], COMPUTING, tick_ns=tick * SECOND, spells=True)
    assert again == outcome


class Listening(Looking):
    """Keeps what it is told to be left."""

    def __init__(self) -> None:
        self.left_s: list[list[float]] = []

    def __call__(self, running: Sequence[Asked], /) -> Sequence[Answer]:
        self.left_s.append([asked.left_ns / SECOND for asked in running])
        return COMPUTING(running)


def test_a_network_is_told_what_is_left_or_what_the_scheduler_takes_to_be_left() -> None:
    jobs = [job("a", 0, 1, 10), job("b", 4, 1, 10), job("c", 6, 1, 1)]
    times = Listening()
    simulate_cluster(hosts(3), jobs, fifo.decide, times)
    assert times.left_s == [[10], [6, 10], [4, 8, 1], [3, 7], [4]]
    told = Listening()
    steps = [Decision((Start(number, gpus(number), None),)) for number in range(3)]
    steps[1] = replace(steps[1], left_ns={0: 99 * SECOND, 1: SECOND})
    simulate_cluster(hosts(3), jobs, scripted(*steps), told)
    assert told.left_s == [[10], [99, 1], [99, 1, 1], [99, 1], [1]]


def test_a_decision_is_refused_by_the_name_of_its_rule() -> None:
    two = [job("a", 0, 2, 5), job("b", 0, 2, 5)]
    for step, rule in (
        (Decision((Start(0, gpus(0), None),)), "gang"),
        (Decision((Start(0, gpus(0, 7), None),)), "capacity"),
        (Decision((Start(0, gpus(0, 1), None), Start(1, gpus(1, 2), None))), "capacity"),
        (Decision(stops=(Stop(1),)), "name"),
        (Decision(left_ns={7: SECOND}), "name"),
    ):
        with pytest.raises(BadInput, match=f"^at 0 ns the scheduler's decision breaks the rule '{rule}': job "):
            simulate_cluster(hosts(4), two, scripted(step), COMPUTING)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"workers": 5}, "job a: 5 GPUs; allowed: up to 4, all in the cluster"),
        ({"workers": 0}, "job a: 0 to 0 workers, 0 asked for; allowed: 1 or more, and bounds on both sides"),
        ({"elastic": (3, 2)}, "job a: 3 to 2 workers, 2 asked for; allowed: "),
        ({"submit_ns": -1}, "job a: submitted at -1 ns; allowed: 0 to "),
        ({"name": "b"}, "job b: there is another of this name; allowed: once"),
        ({"work": job("", 0, 1, 0).work}, "job a: nothing to do; allowed: 1 or more iterations"),
    ],
)
def test_jobs_that_cannot_be_are_refused_before_the_run(change: dict, problem: str) -> None:
    jobs = [replace(job("a", 0, 2, 5), **change), job("b", 0, 1, 1)]
    with pytest.raises(BadInput) as refused:
        simulate_cluster(hosts(4), jobs, fifo.decide, COMPUTING)
    assert str(refused.value).startswith(problem)


def test_a_scheduler_that_starts_nobody_ends_the_run() -> None:
    with pytest.raises(BadInput, match="job a: it waits, nothing runs and nothing is to come"):
        simulate_cluster(hosts(4), [job("a", 0, 1, 1)], scripted(), COMPUTING)


def test_the_order_of_jobs_at_hand_does_not_matter() -> None:
    jobs = [job(f"job-{k}", 3 * k, 1 + k % 3, 7 + k % 5) for k in range(20)]
    for name in ("fifo", "least-attained", "tiresias"):
        there, back = (
            simulate_cluster(hosts(4), given, LABORATORY[name], COMPUTING, tick_ns=SECOND)
            for given in (jobs, jobs[::-1])
        )
        assert {one.name: one.end_ns for one in there.jobs} == {one.name: one.end_ns for one in back.jobs}
