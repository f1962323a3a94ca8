"""Decisions that cannot be applied: each is refused in a line that names the job, the host, and what is allowed."""

from __future__ import annotations

import pytest

from esa.cluster.scheduler import Decision, Resize, Stop
from esa.cluster.validate import check_decision
from esa.errors import BadInput
from tests.cluster.clusters import asked, cluster, on, running, start, start_ring

WHERE = cluster((2, 2), gpus=2, max_jobs=3)
RING = asked(8, has_server=False, aggregates=False)
WAITING = (asked(1), asked(2), asked(3, hosts=(0, 1, 0)), asked(6, workers=1), asked(7, workers=1), RING)
RUNNING = (running(asked(4), (2, 0), (2, 1), (3, 0)),)


def resize(number: int, *places: tuple[int, int]) -> Resize:
    *workers, server = on(*places)
    return Resize(number, tuple(workers), server)


def check(decision: Decision) -> None:
    check_decision(decision, WHERE, WAITING, RUNNING)


@pytest.mark.parametrize(
    "decision",
    [
        Decision(),
        Decision(starts=(start(1, (0, 0), (0, 1), (1, 0)),)),
        Decision(starts=(start(3, (1, 1), (0, 1), (0, 0)),)),
        Decision(starts=(start_ring(8, (1, 1), (3, 1)),)),
        Decision(stops=(Stop(4),)),
        Decision(starts=(start(2, (2, 1), (3, 0), (2, 0)),), stops=(Stop(4),)),  # where the other was
        Decision(starts=(start(1, (2, 1), (3, 0), (2, 0)),), resizes=(resize(4, (0, 0), (0, 1), (1, 0), (1, 1)),)),
        Decision(resizes=(resize(4, (2, 1), (3, 1)),)),  # one of its own, and a free one
    ],
)
def test_what_can_be_done_passes(decision: Decision) -> None:
    check(decision)


@pytest.mark.parametrize(
    ("decision", "problem"),
    [
        (
            Decision(starts=(start(5, (0, 0), (0, 1), (1, 0)),)),
            "job number 5: start: it is not there; allowed: a job that waits (job-1, job-2, job-3, job-6, job-7, "
            "job-8)",
        ),
        (
            Decision(starts=(start(4, (0, 0), (0, 1), (1, 0)),)),
            "job job-4: start: it runs already; allowed: a job that waits (job-1, job-2, job-3, job-6, job-7, job-8)",
        ),
        (Decision(stops=(Stop(1),)), "job job-1: stop: it waits; allowed: a job that runs (job-4)"),
        (
            Decision(resizes=(resize(2, (0, 0), (0, 1)),)),
            "job job-2: resize: it waits; allowed: a job that runs (job-4)",
        ),
        (Decision(stops=(Stop(4), Stop(4))), "job job-4: stop: it is named twice; allowed: once in a decision"),
        (
            Decision(stops=(Stop(4),), resizes=(resize(4, (0, 0), (0, 1)),)),
            "job job-4: resize: it is named twice; allowed: once in a decision",
        ),
        (Decision(starts=(start_ring(1, (0, 0), (0, 1)),)), "job job-1: no PS; allowed: a GPU for it, too"),
        (
            Decision(starts=(start(8, (0, 0), (0, 1), (1, 0)),)),
            "job job-8: its PS on host 1; allowed: none, it has no PS",
        ),
        (
            Decision(starts=(start(1, (0, 0), (1, 0)),)),
            "job job-1: 1 ranks; allowed: 2, which it asked for",
        ),
        (Decision(resizes=(resize(4, (0, 0)),)), "job job-4: no rank; allowed: 1 or more"),
        (
            Decision(starts=(start(1, (0, 0), (4, 0), (1, 0)),)),
            "job job-1: rank 1 on host 4; allowed: 0 to 3",
        ),
        (
            Decision(starts=(start(1, (0, 0), (0, 1), (-1, 0)),)),
            "job job-1: its PS on host -1; allowed: 0 to 3",
        ),
        (
            Decision(starts=(start(1, (0, 2), (0, 1), (1, 0)),)),
            "job job-1: rank 0 on GPU 2 of host 0; allowed: 0 to 1",
        ),
        (
            Decision(starts=(start(1, (0, 1), (0, 1), (1, 0)),)),
            "job job-1: rank 0 and rank 1 on GPU 1 of host 0; allowed: one on a GPU",
        ),
        (
            Decision(starts=(start(1, (0, 0), (0, 1), (0, 1)),)),
            "job job-1: rank 1 and its PS on GPU 1 of host 0; allowed: one on a GPU",
        ),
        (
            Decision(starts=(start(1, (3, 1), (3, 0), (2, 1)),)),
            "job job-1: rank 1 on GPU 0 of host 3, which is another job's; allowed there: 1",
        ),
        (
            Decision(starts=(start(1, (2, 0), (0, 0), (0, 1)),)),
            "job job-1: rank 0 on GPU 0 of host 2, which is another job's; allowed there: none",
        ),
        (
            Decision(starts=(start(1, (0, 0), (0, 1), (1, 0)), start(2, (1, 0), (1, 1), (3, 1)))),
            "job job-2: rank 0 on GPU 0 of host 1, which is another job's; allowed there: 1",
        ),
        (
            Decision(starts=(start(3, (1, 1), (0, 1), (1, 0)),)),
            "job job-3: ranks and PS on hosts 1, 0, 1; allowed: 0, 1, 0, as it asked for",
        ),
        (
            Decision(starts=(start(1, (0, 0), (3, 1), (1, 0)),)),
            "job job-1: hosts: its PS, on host 1, is in a rack with workers of it; over several racks it needs one "
            "without",
        ),
        (
            Decision(resizes=(resize(4, (0, 0), (3, 0), (0, 1), (2, 0)),)),
            "job job-4: ranks in racks 0, 1, 0; allowed: rack by rack",
        ),
        (
            Decision(starts=(start(1, (0, 0), (0, 1), (1, 0)), start(6, (1, 1), (3, 1)), start(7, (2, 0), (2, 1)))),
            "job job-7: rank 0 on GPU 0 of host 2, which is another job's; allowed there: none",
        ),
    ],
)
def test_what_cannot_be_done_is_refused(decision: Decision, problem: str) -> None:
    with pytest.raises(BadInput) as refused:
        check(decision)
    assert str(refused.value) == problem


def test_no_more_jobs_at_a_time_than_the_switches_tell_apart() -> None:
    where = cluster((4,), gpus=2, max_jobs=2)
    waiting = [asked(number, workers=1) for number in range(1, 4)]
    at_work = [running(asked(0, workers=1), (3, 0), (3, 1))]
    two = start(1, (0, 0), (0, 1)), start(2, (1, 0), (1, 1))
    check_decision(Decision(starts=two[:1]), where, waiting, at_work)
    check_decision(Decision(starts=two, stops=(Stop(0),)), where, waiting, at_work)
    with pytest.raises(BadInput, match=r"^job job-2: 3 jobs at a time; allowed: 2$"):
        check_decision(Decision(starts=two), where, waiting, at_work)


def test_no_more_ranks_in_a_rack_than_a_bitmap_has_bits() -> None:
    where = cluster((10,), gpus=4)
    places = [(host, gpu) for host in range(9) for gpu in range(4)]
    check_decision(Decision(starts=(start(0, *places[:33]),)), where, [asked(0, workers=32)], [])
    with pytest.raises(BadInput, match=r"^job job-0: 33 ranks in rack 0; allowed: 32$"):
        check_decision(Decision(starts=(start(0, *places[:34]),)), where, [asked(0, workers=33)], [])


def test_no_more_racks_than_a_bitmap_has_bits() -> None:
    where = cluster((1,) * 34)
    with pytest.raises(BadInput, match=r"^job job-0: ranks in 33 racks; allowed: 32$"):
        check_decision(Decision(starts=(start(0, *((h, 0) for h in range(34))),)), where, [asked(0, workers=33)], [])
