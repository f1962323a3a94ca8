"""A2TP step by step, followed by hand through what its released code does (CSU-NetLab/A2TP-Eurosys2023 at c69b416).

common/CC_manager.h (`adjustWindow`) says how large the aggregator window is, client/p4ml_manager.cc which packets have
their resend bit set for want of it and how the straggling degree is measured, p4ml2/p4ml2.p4 which rows are marked: the
one that a packet of another fragment met, for that row's owner to hear of, and not the packet that met it.
"""

from __future__ import annotations

import numpy as np
import pytest

from esa.protocol import worker_drain, worker_state
from esa.wire import Flag, Kind
from tests.model.plan import JobPlan
from tests.model.rows import Header
from tests.protocol.exchange import EPOCH, JOB, LANES, US, Worker
from tests.protocol.servers import REM, server
from tests.protocol.test_atp_trace import Steps, row

pytestmark = pytest.mark.timeout(300)  # the first run compiles the switch and the protocol

WINDOW = 10


def worker(**settings: int) -> Worker:
    given = {"window": WINDOW, "slots": WINDOW, "least_window": 1, "passes_rows": True, **settings}
    w = Worker(worker_state(job=JOB, epoch=EPOCH, rank=0, lanes=LANES, **given))
    w.feed(2 * WINDOW)
    return w


def window_of_results(w: Worker, contested: int) -> list[int]:
    """The results of what is in flight, so many with the mark; return which of the next window's go past the rows."""
    passed = []
    first = int(w.me["snd_una"])
    for seq in range(first, first + WINDOW):
        w.result(seq, flags=Flag.RELEASE | (Flag.CONTESTED if seq - first < contested else 0))
        worker_drain(w.state, np.zeros(0, np.int32), 0, 1, np.zeros(0, np.int8))
        w.feed(1)
        passed += [int(p["seq"]) for p in w.send() if p["flags"] == Flag.RESEND]
    return passed


def test_the_window_shrinks_by_the_smoothed_part_that_is_contested_and_grows_by_one():
    """beta starts at 0 with a gain of an eighth; all degrees are 1, so a cut is (beta - 0.1) / 1.9."""
    w = worker()
    assert {int(p["flags"]) for p in w.send()} == {0}
    trace = [  # contested, then beta; the window before whole packets are taken of it, and after
        (10, 0.125, 9),  # 10 (1 - 0.025 / 1.9) = 9.87
        (9, 0.234375, 8),  # 9 (1 - 0.134375 / 1.9) = 8.36
        (8, 0.330078125, 7),  # 8 (1 - 0.230078125 / 1.9) = 7.03
        (7, 0.413818359375, 5),  # 7 (1 - 0.313818359375 / 1.9) = 5.84
        (0, 0.362091064453125, 6),  # nothing was contested, however large beta
        (1, 0.3376630147298177, 5),  # 6 (1 - 0.2376630147298177 / 1.9) = 5.25
    ]
    for contested, beta, size in trace:
        window_of_results(w, contested)
        assert w.me["beta"] == pytest.approx(beta, rel=1e-12)
        assert w.me["agg_window"] == size
    for _ in range(12):
        window_of_results(w, 0)
    assert w.me["agg_window"] == WINDOW  # no more than cwnd
    for _ in range(20):
        window_of_results(w, WINDOW)
    assert w.me["agg_window"] == 1


def test_a_tenth_that_is_contested_is_none():
    """Half of each window: beta is 0.0625 after the first, which is below a tenth, and 0.1171875 after the second."""
    w = worker()
    w.send()
    window_of_results(w, 5)
    assert (w.me["beta"], w.me["agg_window"]) == (0.0625, WINDOW)
    window_of_results(w, 5)
    assert (w.me["beta"], w.me["agg_window"]) == (0.1171875, 9)  # 10 (1 - 0.0171875 / 1.9) = 9.91


def test_what_a_window_has_beyond_goes_past_the_rows_and_is_no_resend_of_anything():
    w = worker()
    w.send()
    assert window_of_results(w, 10) == []  # with the last of 0..9 the window is 9; 10..19 are in flight already
    assert window_of_results(w, 9) == [29]  # 20..29, of which nine may take rows; then the window is 8
    assert window_of_results(w, 8) == [38, 39]
    assert window_of_results(w, 7) == [47, 48, 49]
    assert (w.counted("resends"), w.me["in_flight"]) == (0, WINDOW)


def after_a_window(acked: int, at_rtts: float) -> Worker:
    """A worker to whom so many of its second window come back that long after the end of its first."""
    w = worker()
    w.send()
    w.now_ns = 20 * US
    w.result(*range(WINDOW))
    worker_drain(w.state, np.zeros(0, np.int32), 0, WINDOW, np.zeros(0, np.int8))
    w.feed(WINDOW)
    w.send()
    w.now_ns += round(at_rtts * 20 * US)
    w.result(*range(WINDOW, WINDOW + acked))
    return w


def test_the_straggling_degree_is_what_is_back_a_base_round_trip_after_a_window():
    """Three of ten: gamma is 63/64 + 0.3/64 with the window's end; within the round trip nothing is measured."""
    w = after_a_window(acked=2, at_rtts=0.9)
    w.now_ns += 4 * US
    w.result(WINDOW + 2)
    assert w.me["degree"] == pytest.approx(0.3)
    w.result(*range(WINDOW + 3, 2 * WINDOW), flags=Flag.CONTESTED)
    gamma = 63 / 64 + 0.3 / 64
    assert w.me["gamma"] == pytest.approx(gamma)
    assert w.me["beta"] == pytest.approx(7 / WINDOW / 8)
    assert w.me["agg_window"] == WINDOW  # beta is 0.0875


def test_who_straggles_gives_up_more():
    """beta 0.125 for both, after ten of ten: 0.025 to the power of 1 or of 0.5; / 1.9 of a hundred packets."""
    sizes = []
    for gamma in (1.0, 0.5):
        w = worker(window=100, slots=100)
        w.feed(200)
        w.send(room=100)
        w.me["gamma"] = w.me["degree"] = gamma
        w.result(*range(100), flags=Flag.CONTESTED)
        sizes.append(int(w.me["agg_window"]))
    assert sizes == [98, 91]  # 98.68 and 91.68


@pytest.mark.parametrize("at_rtts", [5.1, 50.0])
def test_what_takes_longer_than_five_round_trips_is_a_pause(at_rtts):
    w = after_a_window(acked=3, at_rtts=at_rtts)
    assert (w.me["degree"], w.me["degree_measured"]) == (1.0, 0)


def test_the_owner_of_the_row_hears_of_a_collision_and_who_collided_gets_another_row() -> None:
    steps = Steps(JobPlan("a2tp", 2, 2, 0), JobPlan("a2tp", 2, 4, 0))
    steps.submit("2.6/w0")
    steps.deliver(*(f"2.6/w0 GRADIENT {seq}" for seq in range(4)))
    steps.submit("1.3/w0", "1.3/w1")
    met = row(1, 0)
    steps.deliver("1.3/w0 GRADIENT 0", "1.3/w1 GRADIENT 0")
    steps.deliver("switch, 1.3/w0: COLLISION 0", "switch, 1.3/w1: COLLISION 0")
    assert Header.of(steps.world.flight["1.3/ps RESULT 0"].frame).flags == Flag.RELEASE | Flag.COLLISION
    steps.deliver("1.3/ps RESULT 0", "switch, 1.3/ps: RESULT 0", "switch, 1.3/ps: RESULT 0 #2")
    for rank in (0, 1):
        assert steps.world.by_name[f"1.3/w{rank}"].state.worker[0]["contested"] == 0
        assert steps.row_of(f"1.3/w{rank} GRADIENT 2") == row(1, 2) != met

    steps.submit("2.6/w1")
    for seq in range(4):
        steps.deliver(f"2.6/w1 GRADIENT {seq}")
        whole = f"switch, 2.6/w1: PARTIAL {seq} 11"
        flags = Header.of(steps.world.flight[whole].frame).flags
        assert flags == (Flag.CONTESTED if row(2, seq) == met else 0)
        steps.deliver(whole)
        assert Header.of(steps.world.flight[f"2.6/ps RESULT {seq}"].frame).flags == Flag.RELEASE | flags
        steps.deliver(f"2.6/ps RESULT {seq}", f"switch, 2.6/ps: RESULT {seq}")
    me = steps.world.by_name["2.6/w0"].state.worker[0]
    assert me["beta"] == pytest.approx(1 / 4 / 8)  # one of the window's four
    steps.world.settle()


def test_a_first_fragment_past_the_rows_hurries_no_question_and_a_second_does():
    """A PS reminds its switches for a RESEND at once, but where it may have been sent for the first time."""
    for passes_rows, repeated, reminded in ((True, False, False), (True, True, True), (False, False, True)):
        s = server(switches=1, release_on_ack=True, passes_rows=passes_rows)
        s.gradient(1, 0, 5, flags=Flag.RESEND)
        if repeated:
            s.gradient(1, 0, 5, flags=Flag.RESEND)
        s.send()
        s.now_ns = 5_000_000  # beyond the shortest answer, before the patience's end
        assert (REM in [kind for kind, *_ in s.send()]) == reminded
        s.gradient(0, 0, 1, flags=Flag.RESEND)
        s.gradient(2, 0, 1, flags=Flag.RESEND)
        assert Kind.RESULT in [kind for kind, *_ in s.send()]
