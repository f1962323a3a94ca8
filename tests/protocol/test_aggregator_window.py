"""What split fragments do to a worker's window, result by result."""

import numpy as np
import pytest

from esa.protocol import worker_drain, worker_state
from esa.protocol.aggregator_window import least_window
from esa.wire import Flag
from tests.protocol.exchange import EPOCH, JOB, LANES, Worker

pytestmark = pytest.mark.timeout(180)

WINDOW = 64
NOTHING = np.zeros(0, np.int32)


def worker(least: int | None) -> Worker:
    """One with a lot to send, which has sent what its window admits."""
    settings = {"window": WINDOW, "span": 8 * WINDOW, "least_window": least}
    w = Worker(worker_state(job=JOB, epoch=EPOCH, rank=0, lanes=LANES, **settings))
    w.feed(2 * WINDOW)
    w.send()
    return w


def rounds(w: Worker, count: int, split_every: int) -> list[float]:
    """So many windows come back, every so many-th fragment split, and go out again; the window after each."""
    windows = []
    for _ in range(count):
        first, end = int(w.me["snd_una"]), int(w.me["snd_nxt"])
        for seq in range(first, end):
            w.result(seq, flags=Flag.RELEASE if (seq + 1) % split_every else Flag.RELEASE | Flag.COLLISION)
        worker_drain(w.state, NOTHING, 0, end - first, np.zeros(0, np.int8))
        w.feed(end - first)
        w.send()
        windows.append(float(w.me["agg_window"]))
    return windows


def test_a_split_fragment_takes_four_off_and_a_window_of_others_puts_eight_on():
    w = worker(least=16)
    w.result(0, flags=Flag.COLLISION)
    assert w.me["agg_window"] == WINDOW - 4
    w.result(*range(1, WINDOW - 3))
    assert w.me["agg_window"] == WINDOW  # no more than the job's
    w.result(0, flags=Flag.COLLISION)  # again: only the first result of a fragment counts
    assert w.me["agg_window"] == WINDOW


def test_what_is_in_flight_follows_and_no_less_than_the_least():
    w = worker(least=16)
    rounds(w, 3, split_every=1)
    assert (w.me["agg_window"], w.me["in_flight"]) == (16, 16)
    rounds(w, 40, split_every=10**9)
    assert (w.me["agg_window"], w.me["in_flight"]) == (WINDOW, WINDOW)


def test_at_rest_two_fragments_of_a_window_are_split():
    w = worker(least=4)
    at_rest = rounds(w, 60, split_every=20)[20:]
    assert np.mean(at_rest) == pytest.approx(2 * 20, rel=0.15)


def test_without_such_a_rule_the_window_is_what_the_job_says():
    w = worker(least=None)
    assert set(rounds(w, 2, split_every=1)) == {WINDOW}


def test_a_result_that_came_by_the_ps_for_want_of_a_packet_takes_nothing_off():
    w = worker(least=16)
    w.result(0, 1, flags=Flag.RELEASE)
    w.result(2, flags=Flag.ANSWER)
    assert w.me["agg_window"] == WINDOW


def test_the_least_window_is_three_tenths_and_never_none():
    assert [least_window(window) for window in (1, 2, 128, 256)] == [1, 1, 38, 77]
