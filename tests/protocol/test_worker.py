"""The worker's rules, one test each.

One reason to change: a rule of the worker.
"""

from __future__ import annotations

import numpy as np
import pytest

from esa.protocol import NEVER, NOT_YET, Timers, worker_drain, worker_feed, worker_room, worker_state
from esa.wire import Flag, Kind, aggregator_index
from tests.protocol.exchange import EPOCH, JOB, LANES, MS, Worker, kinds, packet

pytestmark = pytest.mark.timeout(180)

G, R = Kind.GRADIENT, Kind.RESULT
NO_EXPONENTS = np.zeros(0, np.int8)


def worker(window: int = 4, rank: int = 2, lanes: int = LANES, **settings) -> Worker:
    return Worker(worker_state(job=JOB, epoch=EPOCH, rank=rank, window=window, lanes=lanes, **settings))


def flags(packets) -> list[int]:
    return [int(p["flags"]) for p in packets]


def seqs(packets) -> list[int]:
    return [int(p["seq"]) for p in packets]


def test_a_gradient_says_whose_it_is_and_where_it_aggregates():
    w = worker(rank=2, first_seq=41)
    w.feed(1, value=-7, priority=200, exponent=-3)
    (gradient,) = w.send()
    assert kinds([gradient]) == [(G, 41)]
    assert gradient["index"] == aggregator_index(JOB, EPOCH, 41)
    names = ("flags", "priority", "exponent", "job", "epoch", "bitmap0", "bitmap1")
    assert [int(gradient[n]) for n in names] == [0, 200, -3, JOB, EPOCH, 1 << 2, 1]
    assert set(gradient["lane"].tolist()) == {-7}


def test_a_window_of_fragments_is_in_flight_and_results_move_it():
    w = worker(window=4)
    w.feed(7)
    assert seqs(w.send()) == [0, 1, 2, 3]
    assert w.send() == []
    w.result(1)  # the window counts from the lowest unresolved
    assert w.send() == []
    w.result(0)
    assert seqs(w.send()) == [4, 5]


def test_with_a_longer_span_one_missing_result_stops_nobody_until_it_is_full():
    w = worker(window=2, span=6)
    w.feed(9)
    assert seqs(w.send()) == [0, 1]
    w.result(1)
    assert seqs(w.send()) == [2]  # two in flight, as ever
    for seq in (2, 3, 4):
        w.result(seq)
        assert seqs(w.send()) == [seq + 1]
    w.result(5)
    assert w.send() == []  # 6 would be six ahead of 0
    w.result(0)
    assert seqs(w.send()) == [6, 7]
    assert worker_drain(w.state, np.zeros(6 * LANES, np.int32), 0, 9, NO_EXPONENTS) == 6


def test_a_span_is_a_window_at_least():
    with pytest.raises(ValueError, match="span: 3 fragments; at least the window's 4"):
        worker(window=4, span=3)


def test_seq_wraps():
    w = worker(window=4, first_seq=0xFFFFFFFE)
    w.feed(6)
    assert seqs(w.send()) == [0xFFFFFFFE, 0xFFFFFFFF, 0, 1]
    w.result(0xFFFFFFFE, 0xFFFFFFFF, 0)
    sent = w.send()
    assert seqs(sent) == [2, 3]
    assert sent[0]["index"] == aggregator_index(JOB, EPOCH, 2)
    w.query(0xFFFFFFFF)
    assert kinds(w.send()) == [(R, 0xFFFFFFFF)]


def test_results_come_out_in_order_once_and_with_their_exponents():
    w = worker()
    w.feed(3)
    w.send()
    lanes = np.zeros(3 * LANES - 5, np.int32)  # the last fragment is not full
    exponents = np.zeros(3, np.int8)
    w.result(2, value=30, exponent=1)
    assert worker_drain(w.state, lanes, 0, 3, exponents) == 0
    w.result(0, value=10, exponent=-4)
    w.result(0, value=99, exponent=9)
    w.result(1, value=20, exponent=7)
    assert worker_drain(w.state, lanes, 0, 2, exponents) == 2
    assert worker_drain(w.state, lanes, 2, 1, exponents) == 1
    assert exponents.tolist() == [-4, 7, 1]
    assert lanes.tolist() == [10] * LANES + [20] * LANES + [30] * (LANES - 5)
    assert (w.counted("results"), w.counted("duplicates")) == (3, 1)


def test_a_short_array_is_filled_up_with_zeros():
    w = worker()
    exponents = np.array([6, -2], np.int8)
    assert worker_feed(w.state, np.full(LANES + 1, 5, np.int32), 0, 2, 1, exponents) == 2
    assert worker_feed(w.state, np.zeros(0, np.int32), 0, 1, 1, exponents[1:]) == 1
    sent = w.send()
    assert [int(p["exponent"]) for p in sent] == [6, -2, -2]
    assert sent[1]["lane"].tolist() == [5] + [0] * (LANES - 1)
    assert not sent[2]["lane"].any()


def test_without_payload_everything_but_the_lanes_is_the_same():
    w = worker(lanes=0)
    assert worker_feed(w.state, np.zeros(0, np.int32), 0, 9, 1, NO_EXPONENTS) == 8  # a ring of 16 less 8 kept for peers
    assert seqs(w.send()) == [0, 1, 2, 3]
    w.result(0, 1, exponent=3)
    assert worker_drain(w.state, np.zeros(0, np.int32), 0, 9, NO_EXPONENTS) == 2


def test_the_last_two_windows_of_results_are_kept_for_peers():
    w = worker(window=4)
    w.feed(8)
    lanes = np.zeros(LANES, np.int32)
    for seq in range(100):
        w.send()
        w.result(seq, value=seq)
        worker_drain(w.state, lanes, 0, 1, NO_EXPONENTS)
        w.feed(worker_room(w.state))
    w.send()
    for seq in range(92, 100):
        w.query(seq)
    answers = w.send()
    assert kinds(answers) == [(R, seq) for seq in range(92, 100)]
    assert [int(a["lane"][0]) for a in answers] == list(range(92, 100))
    assert {(int(a["flags"]), int(a["bitmap0"])) for a in answers} == {(Flag.ANSWER, 1 << 2)}


def test_a_query_for_what_is_gone_is_answered_with_the_last_result():
    w = worker(window=4)
    w.feed(8)
    for seq in range(50):
        w.send()
        w.result(seq, value=seq)
        worker_drain(w.state, np.zeros(0, np.int32), 0, 1, NO_EXPONENTS)
        w.feed(worker_room(w.state))
    w.query(3)
    (answer,) = [p for p in w.send() if p["flags"] & Flag.ANSWER]
    assert (int(answer["seq"]), int(answer["lane"][0])) == (49, 49)


def test_a_query_for_an_outstanding_fragment_is_answered_with_a_resend():
    w = worker(window=2, rank=2)
    w.feed(4)
    w.send()
    w.query(1, bitmap0=0b101)
    w.query(0xFFFFFFFF, bitmap0=0b101)  # there never was such a fragment
    (resend,) = w.send()
    assert (kinds([resend]), flags([resend])) == ([(G, 1)], [Flag.RESEND])


def test_a_query_for_what_the_server_has_from_this_worker_says_whom_it_waits_for():
    w = worker(window=2, rank=2)
    w.feed(2)
    w.send()
    w.query(1, bitmap0=0b010)
    assert w.send() == []
    assert int(w.me["straggler_bitmap0"]) == 0b010


def test_a_worker_does_not_take_itself_for_who_keeps_it_waiting():
    w = worker(window=4, rank=0, give_up_s=1.0)
    w.feed(4)
    w.send()
    w.query(1, bitmap0=0b1100)
    w.query(2, bitmap0=0b0001)
    w.query(3, bitmap0=0b0101)
    assert int(w.me["straggler_bitmap0"]) == 0b0100
    while not w.me["failed"]:
        w.wait()
    w.query(1, bitmap0=0b1111)  # what a worker that has failed no longer resends, the PS lacks from others like it, too
    assert int(w.me["straggler_bitmap0"]) == 0b0100


def test_a_query_for_a_fragment_not_sent_yet_is_answered_with_the_last_result_and_the_fragment_goes_straight():
    w = worker(window=2)
    w.feed(2, priority=9)
    w.send()
    w.query(2)  # asked before there is any result
    (answer,) = w.send()
    assert (int(answer["seq"]), int(answer["priority"]), int(answer["flags"])) == (2**32 - 1, NOT_YET, Flag.ANSWER)
    w.result(0, 1, value=5)
    w.query(3)
    w.query(9)  # nobody can be as far as that
    (answer,) = w.send()
    assert (kinds([answer]), flags([answer])) == ([(R, 1)], [Flag.ANSWER])
    assert (int(answer["priority"]), int(answer["lane"][0])) == (NOT_YET, 5)
    w.feed(2)
    assert flags(w.send()) == [Flag.RESEND, Flag.RESEND]


def test_what_is_not_answered_is_probed_for_and_a_slow_peer_costs_a_few_packets():
    w = worker(window=16)
    w.feed(16)
    w.send()
    probes = []
    while w.wake_ns < 400 * MS:
        probes.append((w.wake_ns // MS, seqs(sent := w.wait())))
        assert set(flags(sent)) == {Flag.RESEND}
    assert probes == [(50, [0]), (150, [0, 1]), (350, [0, 1, 2, 3])]  # a timer each would have resent 48
    w.result(0)
    while not (sent := w.send()):
        w.now_ns = w.wake_ns
    assert (w.now_ns // MS, seqs(sent)[0]) == (350 + 50, 1)  # its time counts from the result, and as if it were new


def measured(window: int = 16, round_trip_ns: int = 1 * MS, workers: int = 1) -> Worker:
    """A worker that knows the round trip, with a full window on its way since the last result."""
    w = worker(window=window, workers=workers, timers=Timers(rto_floor_ns=100 * MS))
    w.feed(2 * window)
    w.send()
    w.now_ns += round_trip_ns
    w.result(0)
    w.send()
    return w


def probes_until(w: Worker, end_ns: int) -> list[tuple[int, list[int]]]:
    """(ms since now, seqs) of what is sent."""
    start_ns, sent = w.now_ns, []
    while w.wake_ns < end_ns:
        if found := w.wait():
            sent.append(((w.now_ns - start_ns) // MS, seqs(found)))
    return sent


def test_the_tail_is_probed_soon_with_one_packet_and_later_in_growing_numbers():
    w = measured()
    times = [8, 16, 24, 32, 40, 48, 56, 72, 104, 168, 268, 468]  # at doubling intervals, then those of the floor
    sizes = [1] * 11 + [2]
    assert [(at, len(sent)) for at, sent in probes_until(w, 500 * MS)] == list(zip(times, sizes, strict=True))


def test_a_server_that_waits_for_others_is_not_probed_in_growing_numbers():
    w = measured()
    w.now_ns += 1
    w.query(1, bitmap0=0b010)
    times = [at for at, sent in probes_until(w, 2000 * MS) if sent == [1]]
    assert times == [7, 23, 55, 119, 219, 419, 819, 1619]


def test_a_result_starts_the_probes_anew():
    w = measured()
    probes_until(w, 100 * MS)
    start_ns = w.now_ns = 100 * MS
    w.result(1)
    w.send()
    assert probes_until(w, start_ns + 10 * MS) == [(8, [2])]


def test_an_overtaken_fragment_waits_for_reordering_then_the_usual_round_trip_each_time():
    w = measured(round_trip_ns=10 * MS)
    start_ns = w.now_ns
    w.result(2)  # overtakes 1
    w.send()
    resent = [at for at, sent in probes_until(w, start_ns + 40 * MS) if 1 in sent]
    assert resent == [2, 12, 21, 31]


@pytest.mark.parametrize(("workers", "resent"), [(4, [2, 12, 21, 31]), (8, [2, 21, 41]), (32, [2, 80, 157])])
def test_the_more_workers_a_job_has_the_longer_each_waits_between_resends(workers: int, resent: list[int]):
    w = measured(round_trip_ns=10 * MS, workers=workers)
    start_ns = w.now_ns
    w.result(2)  # overtakes 1
    w.send()
    until_ms = resent[-1] + 2
    assert [at for at, sent in probes_until(w, start_ns + until_ms * MS) if 1 in sent] == resent


def test_when_no_result_comes_overtaken_fragments_are_resent_ever_more_slowly():
    w = measured()
    w.result(2)
    w.send()
    resent = [at for at, sent in probes_until(w, 20_000 * MS) if 1 in sent]
    assert resent[:4] == [2, 8, 14, 20]
    assert len([at for at in resent if at >= 1000]) < 40
    assert np.diff(resent).max() <= 1001


def test_the_oldest_overtaken_fragments_are_resent_first():
    w = measured(window=64)
    w.now_ns += 1 * MS
    w.result(63)  # overtakes 1..62
    w.send()
    sent = probes_until(w, w.now_ns + 10 * MS)
    assert [[s for s in resent if s < 63] for _, resent in sent] == [list(range(1, 63)), list(range(1, 17))]


def test_resends_in_vain_make_it_more_patient_and_losses_less():
    w = measured(window=64)
    stretched = []
    for seq in range(2, 32, 2):
        w.result(seq)
        w.send()
        while seq - 1 not in seqs(w.wait()):
            pass
        w.result(seq - 1)
        w.result(seq - 1, seq - 1, flags=Flag.ANSWER)  # the first had been on its way
        stretched.append(float(w.me["reo_wnd_mult"]))
    assert stretched == sorted(stretched)
    assert stretched[-1] > 3
    w.result(33)
    w.send()
    while 32 not in seqs(w.wait()):
        pass
    w.result(32)
    assert w.me["reo_wnd_mult"] < stretched[-1]


def test_one_result_in_vain_for_each_that_was_needed_is_borne():
    w = measured(window=64)
    for seq in range(2, 32, 2):
        w.result(seq)
        w.send()
        while seq - 1 not in seqs(w.wait()):
            pass
        w.result(seq - 1, seq - 1)
    assert w.me["reo_wnd_mult"] < 1.2


def test_a_result_in_vain_counts_however_often_its_fragment_was_resent():
    w = measured()
    w.result(2)
    w.send()
    for _ in range(3):
        while 1 not in seqs(w.wait()):
            pass
    w.result(1)
    before = float(w.me["reo_wnd_mult"])
    w.result(1)
    assert w.me["reo_wnd_mult"] > before


def test_a_window_lost_whole_is_recovered_in_a_logarithmic_number_of_rounds():
    w = worker(window=16)
    w.feed(16)
    w.send()
    rounds = 0
    while w.me["snd_una"] < 16:
        sent = w.wait()
        rounds += len(sent) > 0
        for p in sent:
            w.result(int(p["seq"]))
    assert rounds <= 6


def test_what_later_results_overtook_is_resent_in_parallel():
    w = worker(window=16)
    w.feed(16)
    w.send()
    w.now_ns = 1 * MS
    w.result(*(s for s in range(16) if s not in (3, 5, 6, 11)))
    assert w.send() == []
    assert seqs(w.wait()) == [3, 5, 6, 11]
    assert w.now_ns == 1 * MS + 2 * MS  # what reordering may take


def test_resends_back_off_to_the_ceiling():
    w = worker(window=1)
    w.feed(1)
    w.send()
    times = []
    for _ in range(8):
        w.wait()
        times.append(w.now_ns // MS)
    assert np.diff([0, *times]).tolist() == [50, 100, 200, 400, 800, 1000, 1000, 1000]


def test_the_round_trip_is_never_measured_on_what_was_sent_twice():
    w = worker(window=2)
    w.feed(2)
    w.send()
    w.wait()
    w.now_ns += 7 * MS
    w.result(0)
    assert w.me["srtt_ns"] == 0
    w.result(1)
    assert w.me["srtt_ns"] == w.now_ns


def test_a_result_of_the_ps_is_counted_as_such():
    w = worker()
    w.feed(3)
    w.send()
    w.result(0)
    w.result(1, flags=Flag.RELEASE)
    w.result(2, flags=Flag.ANSWER)
    assert w.counted("via_ps") == 2


@pytest.mark.parametrize(
    "changed",
    [
        {"version_kind": 0x23},
        {"version_kind": 0x11},
        {"version_kind": 0x1F},
        {"job": JOB + 1},
        {"bitmap0": 0xFB},  # a sum without this worker
        {"seq": 4},  # of what was never sent
        {"seq": 0x7FFFFFFF},
    ],
)
def test_nonsense_is_counted_and_dropped(changed):
    w = worker(rank=2, window=4)
    w.feed(8)
    w.send()
    seq = changed.pop("seq", 0)
    w.result(seq, **changed)
    assert (w.counted("malformed"), w.counted("results"), int(w.me["snd_una"])) == (1, 0, 0)


def test_giving_up_names_the_fragment_and_the_ranks_and_answers_go_on():
    w = worker(window=2, give_up_s=1.0)
    w.feed(4)
    w.send()
    w.now_ns = 10 * MS
    w.result(0, value=5)
    w.send()
    w.query(1, bitmap0=0b1010)
    while not w.me["failed"]:
        w.wait()
    assert 1000 * MS <= w.now_ns - 10 * MS < 1100 * MS
    assert (int(w.me["snd_una"]), int(w.me["straggler_bitmap0"])) == (1, 0b1010)
    assert w.wake_ns == NEVER
    w.query(1)
    w.query(0)
    (answer,) = w.send()
    assert (int(answer["seq"]), int(answer["lane"][0])) == (0, 5)


def test_waiting_for_work_is_not_waiting_for_an_answer():
    w = worker(give_up_s=1.0)
    assert w.send() == []
    assert w.wake_ns == NEVER
    w.now_ns = 3600 * 1000 * MS
    w.feed(1)
    assert len(w.send()) == 1
    assert not w.me["failed"]


def test_what_does_not_fit_is_sent_by_the_next_call():
    w = worker(window=16)
    w.feed(16)
    assert seqs(w.send(room=5)) == [0, 1, 2, 3, 4]
    assert w.wake_ns == w.now_ns
    assert seqs(w.send(room=64)) == list(range(5, 16))


def ask_ahead(w: Worker, seq: int) -> None:
    w.receive(packet(Kind.QUERY, seq, bitmap0=0b101, bitmap1=1, flags=Flag.COLLISION))


def test_asked_ahead_a_fragment_that_was_not_sent_goes_straight_to_the_server():
    w = worker(window=4)
    ask_ahead(w, 1)
    w.feed(3)
    assert flags(w.send()) == [0, Flag.RESEND, 0]
    assert (w.counted("fragments"), w.counted("resends")) == (3, 0)


@pytest.mark.parametrize("late_ms", [0, 5, 15])
def test_asked_ahead_a_fragment_that_was_sent_is_left_to_its_timer_and_a_known_result_answered(late_ms: int):
    w = worker(window=4)
    w.feed(4)
    w.send()
    w.now_ns += 10 * MS
    w.result(0)  # a round trip of 10 ms
    w.now_ns += late_ms * MS
    w.send()
    ask_ahead(w, 3)
    ask_ahead(w, 0)
    assert kinds(w.send()) == [(R, 0)]
