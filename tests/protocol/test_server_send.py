"""When a PS asks whom, one test for each rule; what it takes in is `test_server.py`."""

from __future__ import annotations

import numpy as np
import pytest

from esa.protocol import MULTICAST, NEVER, NOT_YET, Timers
from esa.wire import Flag, aggregator_index
from tests.protocol.exchange import EPOCH, JOB, MS, S, Server
from tests.protocol.servers import REM, RES, SWITCH, Q, answer, miss, server, values

pytestmark = pytest.mark.timeout(180)


def asked_at(s: Server, rounds: int) -> list[int]:
    """Milliseconds between so many questions."""
    times = [s.now_ns]
    while len(times) <= rounds:
        if s.wait():
            times.append(s.now_ns)
    return [int(gap) // MS for gap in np.diff(times)]


def test_where_nothing_but_resends_came_one_who_has_not_resent_is_asked_with_the_switch():
    s = server(asks_peer=True)
    s.gradient(2, 5, 7, flags=Flag.RESEND)
    assert s.send() == []  # its peers' RESENDs may come at the same time
    assert s.wait() == [(REM, 5, SWITCH), (Q, 5, 0)]  # 5 % 3 is the one who asked
    answer(s, 5, value=70, source=0)
    assert s.send() == [(RES, 5, 2)]
    assert values(s) == [70]


def test_where_a_peer_was_asked_a_miss_asks_nobody_else():
    s = server(asks_peer=True)
    s.gradient(2, 5, 7, flags=Flag.RESEND)
    s.send()
    assert s.wait() == [(REM, 5, SWITCH), (Q, 5, 0)]
    miss(s, 5)
    assert s.send() == []
    assert s.wait() == [(REM, 5, SWITCH), (Q, 5, 0), (Q, 5, 1)]  # the second round asks all that are missing


def test_no_peer_is_asked_where_a_part_of_the_sum_is_here():
    s = server(asks_peer=True)
    s.partial(0b001, 5, 7, source=SWITCH)
    s.gradient(2, 5, 7, flags=Flag.RESEND)
    s.send()
    assert s.wait() == [(REM, 5, SWITCH)]


def test_an_incomplete_fragment_is_reminded_of_then_the_missing_are_asked_then_all():
    s = server()
    s.now_ns = 5 * MS
    s.gradient(1, 0, 1)
    s.send()
    assert s.wake_ns == 5 * MS + 10 * MS
    assert s.wait() == [(REM, 0, SWITCH)]
    assert s.sent[0]["index"] == aggregator_index(JOB, EPOCH, 0)
    miss(s, 0)
    assert s.send() == [(Q, 0, 0), (Q, 0, 2)]
    assert {(int(p["bitmap0"]), int(p["bitmap1"])) for p in s.sent} == {(0b101, 1)}
    s.partial(0b001, 0, 1)
    assert s.wait() == [(REM, 0, SWITCH), (Q, 0, 2)]
    assert s.wait() == [(REM, 0, SWITCH), (Q, 0, 2)]
    assert s.wait() == [(REM, 0, SWITCH), (Q, 0, 0), (Q, 0, 1), (Q, 0, 2)]
    assert {int(p["bitmap0"]) for p in s.sent} == {0b100}
    miss(s, 0)
    assert s.send() == []  # the timer asks from now on


def test_silence_is_a_loss_at_first_and_then_asking_backs_off_to_the_ceiling():
    s = server()
    s.gradient(0, 0)
    s.send()
    assert asked_at(s, 14) == [*[10] * 9, 20, 40, 80, 160, 200]


def test_a_worker_that_has_not_sent_it_yet_is_asked_ever_more_rarely_and_the_others_are_told():
    s = server((2,))
    s.gradient(0, 8)
    s.send()
    s.wait()
    miss(s, 8, source=2)
    assert s.send() == [(Q, 8, 1)]
    gaps = []
    for _ in range(6):
        start_ns = s.now_ns
        answer(s, 4, source=1, priority=NOT_YET)
        assert s.wait() == [(REM, 8, 2), (Q, 8, 0), (Q, 8, 1)]
        gaps.append((s.now_ns - start_ns) // MS)
    assert gaps == [10, 20, 40, 80, 160, 200]


def test_of_all_that_a_late_worker_has_not_sent_yet_only_the_oldest_is_asked_for():
    s = server((2,), window=16, switches=0, unicast=True)
    for seq in range(16):
        s.gradient(0, seq)
    s.send()
    s.wait()
    answer(s, 0xFFFFFFFF, source=1, priority=NOT_YET)
    start = s.counted("queries")
    while s.now_ns < 400 * MS:
        s.wait()
        answer(s, 0xFFFFFFFF, source=1, priority=NOT_YET)
    assert s.counted("queries") - start <= 2 * 8
    s.gradient(0, 7, flags=Flag.RESEND)  # this one lacks a result, and knows why it asks
    s.now_ns += 10 * MS
    assert (Q, 7, 1) in s.send()


def test_a_worker_known_to_have_sent_it_did_not_mean_this_fragment():
    s = server((2,))
    s.gradient(0, 8)
    s.send()
    s.wait()
    miss(s, 8, source=2)
    s.send()
    answer(s, 4, source=1, priority=NOT_YET)
    s.gradient(1, 9)
    assert s.state.entry[8]["not_ready_rounds"] == 0
    asked_at(s, 4)
    assert s.state.entry[8]["not_ready_rounds"] == 0


def test_a_resend_brings_the_next_question_forward_but_not_before_the_answer_to_the_last():
    s = server((2,))
    s.gradient(0, 8)
    s.send()
    asked_at(s, 12)
    s.now_ns += 1 * MS
    s.gradient(0, 8, flags=Flag.RESEND)
    assert s.send() == []
    assert asked_at(s, 1) == [9]


def test_questions_follow_the_time_that_answers_take_and_not_that_of_completion():
    s = server((2,))
    for seq in range(60):
        s.gradient(0, seq)
        s.send()
        while (REM, seq, 2) not in s.wait():
            pass
        s.now_ns += 1 * MS
        miss(s, seq, source=2)
        s.send()
        s.now_ns += 3 * MS
        s.gradient(1, seq, flags=Flag.RESEND)
        s.send()
    s.gradient(0, 60)
    s.send()
    assert asked_at(s, 4) == [10, 2, 3, 2]  # for the switch, the workers, then losses are likely


def test_patience_follows_the_time_that_completion_takes():
    s = server((2,), timers=Timers(patience_ceiling_ns=S))
    for seq in range(100):
        s.gradient(0, seq)
        s.send()
        start_ns = s.now_ns
        while s.wake_ns < start_ns + 30 * MS:
            s.wait()
            miss(s, seq, source=2)  # asked too early
        s.now_ns = start_ns + 30 * MS
        s.gradient(1, seq)
        s.send()
    s.gradient(0, 100)
    s.send()
    assert 30 * MS <= s.wake_ns - s.now_ns < 40 * MS


def test_patience_does_not_follow_what_only_a_reminder_brought():
    s = server((2,))
    for seq in range(50):
        s.gradient(0, seq)
        s.send()
        s.wait()
        s.now_ns += 1 * MS
        s.partial(0b10, seq, source=2)
        s.send()
    s.gradient(0, 50)
    s.send()
    assert s.wake_ns - s.now_ns == 10 * MS


def test_without_a_switch_the_workers_are_asked_at_once():
    s = server(switches=0, unicast=True)
    s.gradient(1, 0)
    s.send()
    assert s.wait() == [(Q, 0, 0), (Q, 0, 2)]


def test_a_silent_worker_is_reported_and_may_come_back():
    s = server(give_up_s=2.0)
    s.gradient(0, 0, 1)
    s.gradient(1, 0, 2)
    s.send()
    while s.wake_ns < NEVER:
        s.wait()
    assert 2 * S <= s.now_ns < 2.5 * S
    assert (s.counted("failed"), int(s.state.rack[0]["silent_bitmap"])) == (1, 0b100)
    s.gradient(2, 0, 4)
    assert s.send() == [(RES, 0, MULTICAST)]
    assert values(s) == [7]


def test_who_is_missing_of_a_preempted_fragment_is_asked_ahead():
    s = server()
    s.partial(0b010, 0, 5, source=SWITCH)
    assert s.send() == [(Q, 0, 0), (Q, 0, 2)]
    assert {(int(p["flags"]), int(p["bitmap0"])) for p in s.sent} == {(int(Flag.COLLISION), 0b101)}
    s.gradient(0, 0, 1, flags=Flag.RESEND)
    s.gradient(2, 0, 1, flags=Flag.RESEND)
    assert s.send() == [(RES, 0, MULTICAST)]


def test_only_what_was_preempted_and_lacks_few_is_asked_ahead():
    s = server(timers=Timers(ask_ahead=1))
    s.partial(0b001, 0, source=SWITCH)  # two are missing
    s.partial(0b011, 4, source=SWITCH)
    assert s.send() == [(Q, 4, 2)]
    s.gradient(0, 5, flags=Flag.COLLISION)  # the row is another's, now and for the peers
    s.gradient(0, 1)  # came by itself: no switch aggregates
    s.gradient(0, 2, flags=Flag.RESEND)  # asks for what may be complete
    assert s.send() == []


def test_a_server_that_slept_for_a_minute_has_nothing_left_to_ask_for():
    s = server(give_up_s=4.0)
    s.gradient(0, 7, flags=Flag.RESEND)
    s.send()
    s.wait()  # reminds, and hears nothing
    s.now_ns += 61 * S
    assert s.send() == []
    assert (s.state.server[0]["open_count"], s.wake_ns, s.counted("failed")) == (0, NEVER, 0)
