"""What the schedulers decide, and that whatever they decide can be done."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esa.cluster.inventory import Cluster
from esa.cluster.policies import SCHEDULERS, fifo, first_fit, shortest_first, shortest_remaining
from esa.cluster.scheduler import Decision, JobInfo, Running
from esa.cluster.times import COMPUTING
from esa.cluster.validate import check_decision
from tests.cluster.clusters import asked, cluster, running, start
from tests.effort import tries

EIGHT = cluster((4,), gpus=2)


def started(decision: Decision) -> list[int]:
    return [start.job for start in decision.starts]


def stopped(decision: Decision) -> list[int]:
    return [stop.job for stop in decision.stops]


QUEUE = [
    asked(0, workers=3, iterations=9, iteration_ns=10),
    asked(1, workers=7, iterations=4, iteration_ns=10),
    asked(2, workers=1, iterations=50, iteration_ns=1),
    asked(3, workers=1, iterations=3, iteration_ns=10),
]


def test_fifo_starts_in_order_and_nobody_overtakes() -> None:
    decision = fifo.decide(0, EIGHT, QUEUE, [], COMPUTING)
    assert decision == Decision(starts=(start(0, (0, 0), (0, 1), (1, 0), (1, 1)),))


def test_first_fit_lets_who_fits_overtake() -> None:
    decision = first_fit.decide(0, EIGHT, QUEUE, [], COMPUTING)
    assert started(decision) == [0, 2, 3]
    assert decision.starts[1:] == (start(2, (2, 0), (2, 1)), start(3, (3, 0), (3, 1)))


def test_shortest_first_goes_by_the_computing_that_is_left() -> None:
    assert started(shortest_first.decide(0, EIGHT, QUEUE, [], COMPUTING)) == [3]  # 30, then 40, which needs all
    assert started(shortest_first.decide(0, EIGHT, [QUEUE[0], *QUEUE[2:]], [], COMPUTING)) == [3, 2, 0]
    further = asked(0, workers=3, iterations=9, iteration_ns=10, done=7)
    assert started(shortest_first.decide(0, EIGHT, [further, *QUEUE[2:]], [], COMPUTING)) == [0, 3, 2]


def test_shortest_first_stops_nobody() -> None:
    at_work = [
        running(asked(9, workers=7, iterations=1000, iteration_ns=10), *((h, g) for h in range(4) for g in (0, 1)))
    ]
    assert shortest_first.decide(0, EIGHT, QUEUE, at_work, COMPUTING) == Decision()


LONG = running(asked(7, workers=1, iterations=100, iteration_ns=10), (0, 0), (0, 1))
LONGER = running(asked(8, workers=3, iterations=200, iteration_ns=10), (1, 0), (1, 1), (2, 0), (2, 1))
LONGEST = running(asked(9, workers=1, iterations=300, iteration_ns=10), (3, 0), (3, 1))


def test_shortest_remaining_stops_the_longest_that_is_in_the_way() -> None:
    decision = shortest_remaining.decide(0, EIGHT, [QUEUE[3]], [LONG, LONGER, LONGEST], COMPUTING)
    assert decision == Decision(starts=(start(3, (3, 0), (3, 1)),), stops=decision.stops)
    assert stopped(decision) == [9]
    decision = shortest_remaining.decide(
        0, EIGHT, [asked(0, iteration_ns=1, hosts=(1, 2, 2))], [LONG, LONGER, LONGEST], COMPUTING
    )
    assert stopped(decision) == [8]  # who is in nobody's way stays


def test_shortest_remaining_stops_nobody_in_vain() -> None:
    at_work = [LONG, LONGER, LONGEST]
    too_long = asked(5, workers=1, iterations=300, iteration_ns=10)
    assert shortest_remaining.decide(0, EIGHT, [too_long], at_work, COMPUTING) == Decision()
    too_large = asked(6, workers=7, iterations=150, iteration_ns=10)
    assert shortest_remaining.decide(0, EIGHT, [too_large], at_work, COMPUTING) == Decision()


def test_shortest_remaining_makes_room_where_jobs_are_too_many() -> None:
    where = cluster((4,), gpus=2, max_jobs=2)
    decision = shortest_remaining.decide(0, where, [QUEUE[3]], [LONG, LONGER], COMPUTING)
    assert (started(decision), stopped(decision)) == ([3], [8])


@pytest.mark.parametrize("name", SCHEDULERS)
def test_no_more_jobs_at_a_time_than_are_allowed(name: str) -> None:
    where = cluster((4,), gpus=2, max_jobs=2)
    at_work = [running(asked(9, workers=1, iterations=1), (3, 0), (3, 1))]
    decision = SCHEDULERS[name](0, where, [asked(k, workers=1, iterations=5) for k in range(3)], at_work, COMPUTING)
    assert started(decision) == [0]


jobs = st.lists(
    st.builds(
        dict,
        workers=st.integers(1, 9),
        iterations=st.integers(1, 9),
        iteration_ns=st.integers(0, 3),
        aggregates=st.booleans(),
    ),
    max_size=8,
)


@settings(max_examples=tries(200), deadline=None)
@given(
    st.builds(cluster, st.lists(st.integers(1, 4), min_size=1, max_size=3), st.integers(1, 3), st.integers(1, 4)),
    jobs,
    jobs,
    st.sampled_from(sorted(SCHEDULERS)),
)
def test_what_they_decide_can_be_done(where: Cluster, before: list, after: list, name: str) -> None:
    decide = SCHEDULERS[name]
    first = [asked(number, **job) for number, job in enumerate(before)]
    at_work, waiting = apply(decide(0, where, first, [], COMPUTING), where, first, [])
    more = [asked(100 + number, **job) for number, job in enumerate(after)]
    at_work, waiting = apply(decide(1, where, [*waiting, *more], at_work, COMPUTING), where, [*waiting, *more], at_work)
    assert len(at_work) + len(waiting) == len(first) + len(more)


def apply(
    decision: Decision, where: Cluster, waiting: list[JobInfo], at_work: list[Running]
) -> tuple[list[Running], list[JobInfo]]:
    check_decision(decision, where, waiting, at_work)
    by_number = {job.number: job for job in waiting}
    gone = stopped(decision)
    left = [job for job in waiting if job.number not in started(decision)]
    left += [job.job for job in at_work if job.job.number in gone]
    new = [Running(by_number[start.job], 0, start.workers, start.server) for start in decision.starts]
    return [*(job for job in at_work if job.job.number not in gone), *new], left


def test_schedulers_do_not_know_the_simulator() -> None:
    code = "import sys, esa.cluster.policies, esa.cluster.validate; sys.exit('esa.sim' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
