"""What marks do to a worker's window, result by result."""

import numpy as np
import pytest

from esa.protocol import worker_drain, worker_state
from esa.protocol.congestion import RULES, initial_window, window_increase
from esa.wire import Flag, packet_bytes
from tests.protocol.exchange import EPOCH, JOB, LANES, Worker

pytestmark = pytest.mark.timeout(180)

NOTHING = np.zeros(0, np.int32)


def worker(rule: str, window: int = 64, begin: int | None = None, **settings) -> Worker:
    """One with a lot to send, which has sent what its window admits."""
    settings = {"congestion": rule, "initial_window": begin, **settings}
    w = Worker(worker_state(job=JOB, epoch=EPOCH, rank=0, window=window, lanes=LANES, **settings))
    w.feed(2 * window)
    w.send()
    return w


def rounds(w: Worker, count: int, mark_every: int = 10**9) -> None:
    """So many windows come back, with every so many-th result marked, and go out again."""
    for _ in range(count):
        first, end = int(w.me["snd_una"]), int(w.me["snd_nxt"])
        for seq in range(first, end):
            w.result(seq, flags=0 if (seq + 1) % mark_every else Flag.ECN)
        worker_drain(w.state, NOTHING, 0, end - first, np.zeros(0, np.int8))
        w.feed(end - first)
        w.send()


def test_without_a_rule_the_window_is_what_the_job_says_and_marks_are_counted():
    w = worker("none", window=8)
    w.result(0, 1, 2, flags=Flag.ECN)
    assert (w.me["cwnd"], w.counted("ecn")) == (8, 3)


@pytest.mark.parametrize("rule", RULES[1:])
def test_it_begins_slowly_and_doubles_until_the_first_mark(rule):
    w = worker(rule, begin=2)
    rounds(w, 3)
    assert w.me["cwnd"] == 16
    w.result(int(w.me["snd_una"]), flags=Flag.ECN)
    cut = float(w.me["cwnd"])
    assert 8 <= cut < 10  # half, or nearly so, as next to nothing is known of the part that is marked
    assert w.me["ssthresh"] == cut
    w.send()
    rounds(w, 11)  # the first was sent before the cut
    assert w.me["cwnd"] == pytest.approx(cut + 10, abs=1.5)  # by one a window


def test_a_mark_halves_the_window_once_per_window_of_data():
    w = worker("aimd", window=32, begin=32)
    w.result(0, 1, 2, flags=Flag.ECN)
    assert w.me["cwnd"] == 16
    w.result(*range(3, 32), flags=Flag.ECN)  # all of them sent before it
    assert w.me["cwnd"] == 16
    w.send()
    w.result(32, flags=Flag.ECN)
    assert w.me["cwnd"] == 8
    for _ in range(8):
        w.send()
        w.result(int(w.me["snd_una"]), flags=Flag.ECN)
    assert w.me["cwnd"] >= 1
    rounds(w, 20, mark_every=1)
    assert w.me["cwnd"] == 1
    assert w.me["in_flight"] == 1


def test_dctcp_gives_way_in_proportion_to_what_is_marked():
    few, many = worker("dctcp", begin=32), worker("dctcp", begin=32)
    rounds(few, 100, mark_every=64)
    rounds(many, 100, mark_every=1)
    assert few.me["alpha"] < 0.2
    assert many.me["alpha"] > 0.9
    assert many.me["cwnd"] < 3
    before, alpha = float(few.me["cwnd"]), float(few.me["alpha"])
    few.result(int(few.me["snd_una"]), flags=Flag.ECN)
    assert few.me["cwnd"] == pytest.approx(before * (1 - alpha / 2))


def test_the_window_grows_only_while_it_is_what_holds_the_worker_back():
    w = Worker(worker_state(job=JOB, epoch=EPOCH, rank=0, window=64, lanes=LANES, congestion="aimd", initial_window=4))
    for seq in range(12):  # one at a time
        w.feed(1)
        w.send()
        w.result(seq)
    assert w.me["cwnd"] == 4


def test_a_window_grows_by_a_full_frames_bytes_and_never_beyond_the_jobs():
    assert window_increase(packet_bytes(64)) == pytest.approx(1500 / 322)
    w = worker("aimd", window=16, begin=8, window_increase=4.0)
    w.me["ssthresh"] = 1
    rounds(w, 1)
    assert w.me["cwnd"] == pytest.approx(11.5, abs=0.6)
    rounds(w, 9)
    assert w.me["cwnd"] == 16


def test_the_workers_of_a_job_begin_with_ten_packets_together():
    assert [initial_window("aimd", 64, workers) for workers in (1, 2, 4, 16)] == [10, 5, 2, 1]
    assert initial_window("dctcp", 3, 1) == 3
    assert initial_window("none", 64, 16) == 64


def test_another_rule_is_refused():
    with pytest.raises(ValueError, match="congestion: 'cubic'; allowed: none, aimd, dctcp"):
        worker("cubic")
