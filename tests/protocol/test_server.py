"""What a PS takes in and finishes, one test for each rule; when it asks is `test_server_send.py`."""

from __future__ import annotations

import numpy as np
import pytest

from esa.protocol import MULTICAST, NEVER, UNKNOWN_SENDER, Timers
from esa.wire import Flag, Kind, aggregator_index
from tests.protocol.exchange import EPOCH, JOB, MS, S, packet
from tests.protocol.servers import REM, RES, SWITCH, Q, answer, miss, server, values

pytestmark = pytest.mark.timeout(180)

INT32 = np.iinfo(np.int32)


def test_disjoint_contributions_add_up_to_one_result_for_the_group():
    s = server()
    s.gradient(0, 5, 10, priority=4, exponent=-9)
    s.partial(0b110, 5, 30, source=SWITCH, priority=90, exponent=-3, flags=Flag.ECN)
    assert s.send() == [(RES, 5, MULTICAST)]
    (result,) = s.sent
    assert set(result["lane"].tolist()) == {40}
    names = ("flags", "priority", "exponent", "job", "epoch", "index", "bitmap0", "bitmap1")
    expected = [Flag.RELEASE | Flag.ECN, 90, -3, JOB, EPOCH, aggregator_index(JOB, EPOCH, 5), 0b111, 1]
    assert [int(result[n]) for n in names] == expected
    assert s.wake_ns == NEVER


@pytest.mark.parametrize("flags", [0, Flag.COLLISION], ids=["whole", "split"])
def test_a_result_says_whether_its_fragment_was_split_for_want_of_a_row(flags):
    s = server()
    s.partial(0b110, 5, 30, source=SWITCH, flags=flags)
    s.gradient(0, 5, 1)
    assert s.send() == [(RES, 5, MULTICAST)]
    assert s.sent[0]["flags"] == Flag.RELEASE | flags


def test_where_no_switch_replicates_every_worker_gets_its_own_result():
    s = server(switches=0, unicast=True)
    for rank in range(3):
        s.gradient(rank, 0, 1)
    assert s.send(room=2) == [(RES, 0, 0), (RES, 0, 1)]
    assert s.wake_ns == s.now_ns
    assert s.send() == [(RES, 0, 2)]
    assert {int(p["flags"]) for p in s.sent} == {Flag.ANSWER}


def test_a_complete_sum_of_the_switch_is_passed_on():
    s = server(release_on_ack=True)
    s.partial(0b111, 0, 12, source=1)  # atp: from the address of the worker that completed it
    assert s.send() == [(RES, 0, MULTICAST)]
    assert values(s) == [12]


def test_lanes_saturate():
    s = server((2,))
    s.gradient(0, 0, INT32.max)
    s.gradient(1, 0, 1)
    s.gradient(0, 1, INT32.min)
    s.gradient(1, 1, -1)
    s.send()
    assert values(s) == [INT32.max, INT32.min]


def test_what_is_contained_is_discarded():
    s = server()
    s.partial(0b011, 0, 30)
    s.gradient(0, 0, 10)
    s.partial(0b011, 0, 30)
    s.gradient(2, 0, 5)
    s.send()
    assert values(s) == [35]
    assert s.counted("duplicates") == 2


def test_what_overlaps_is_discarded_and_a_resend_takes_its_place():
    s = server(timers=Timers(ask_ahead=0))
    s.partial(0b011, 0, 30)
    s.partial(0b110, 0, 25)  # workers 1 and 2
    assert (s.send(), s.counted("overlaps")) == ([], 1)
    s.gradient(2, 0, 5, flags=Flag.RESEND)
    assert s.send() == [(RES, 0, MULTICAST)]
    assert values(s) == [35]


def test_a_resend_is_used_only_for_what_nothing_else_covers():
    s = server()
    s.gradient(0, 0, 10, flags=Flag.RESEND)
    s.gradient(0, 0, 10, flags=Flag.RESEND)
    s.gradient(2, 0, 5, flags=Flag.RESEND, exponent=8)
    assert s.send() == []
    s.partial(0b011, 0, 30)  # worker 0 is in here
    assert s.send() == [(RES, 0, MULTICAST)]
    assert values(s) == [35]
    assert s.sent[0]["exponent"] == 8
    assert s.counted("duplicates") == 1


def test_resends_alone_complete_a_sum():
    s = server()
    for rank in range(3):
        s.gradient(rank, 0, 1 << rank, flags=Flag.RESEND)
    assert s.send() == [(RES, 0, MULTICAST)]
    assert values(s) == [7]


def test_a_resend_that_cannot_be_kept_apart_is_added_at_once():
    s = server(held_resends=1)
    s.gradient(0, 0, 1, flags=Flag.RESEND)
    s.gradient(1, 0, 2, flags=Flag.RESEND)
    s.gradient(2, 1, 4, flags=Flag.RESEND)
    s.partial(0b011, 0, 3)
    assert s.counted("overlaps") == 1
    s.partial(0b100, 0, 4)
    s.partial(0b011, 1, 3)
    assert s.send() == [(RES, 0, MULTICAST), (RES, 1, MULTICAST)]
    assert values(s) == [7, 7]
    s.gradient(0, 2, 1, flags=Flag.RESEND)  # the one place is free again
    assert s.state.held_resend_bitmap[2].tolist() == [1]


def test_who_resends_a_finished_fragment_is_sent_its_result():
    s = server()
    s.partial(0b111, 0, 9)
    s.send()
    s.gradient(2, 0, flags=Flag.RESEND)
    s.gradient(1, 0)  # an echo of the original
    assert s.send() == [(RES, 0, 2)]
    assert values(s) == [9]
    assert s.sent[0]["flags"] == Flag.ANSWER


def test_where_rows_wait_for_the_result_it_is_sent_to_the_group_once_more():
    s = server(release_on_ack=True)
    s.partial(0b111, 0, 9)
    s.send()
    for _ in range(3):
        s.gradient(2, 0, flags=Flag.RESEND)
    assert s.send() == [(RES, 0, MULTICAST), (RES, 0, 2), (RES, 0, 2)]
    assert [int(p["flags"]) for p in s.sent] == [Flag.RELEASE, Flag.ANSWER, Flag.ANSWER]


def test_a_workers_answer_goes_to_those_who_asked():
    s = server()
    s.gradient(2, 0, 5, flags=Flag.RESEND)
    s.send()
    s.wait()
    miss(s, 0)
    assert s.send() == [(Q, 0, 0), (Q, 0, 1)]
    answer(s, 0, 77, exponent=6)
    answer(s, 0, 77, source=1)
    assert s.send() == [(RES, 0, 2)]
    assert (values(s), int(s.sent[0]["exponent"])) == ([77], 6)
    assert (s.counted("answered"), s.counted("via_ps"), s.wake_ns) == (1, 0, NEVER)


def test_an_answer_that_nobody_asked_for_changes_nothing():
    s = server()
    answer(s, 3, 77)
    s.gradient(0, 3)
    assert s.send() == []


def test_what_every_worker_has_is_an_echo():
    s = server(window=4)
    s.partial(0b111, 20, 1)
    s.send()
    s.gradient(0, 12, flags=Flag.RESEND)  # two windows back
    assert s.send() == []
    assert (s.wake_ns, s.counted("duplicates")) == (NEVER, 1)
    s.gradient(0, 13, flags=Flag.RESEND)
    s.send()
    assert s.wake_ns < NEVER


def test_an_open_fragment_that_the_job_has_passed_is_closed():
    s = server(window=4)
    s.gradient(0, 12, flags=Flag.RESEND)
    s.send()
    answer(s, 20)  # the worker's hint: the result asked for is gone
    assert s.wait() == []
    assert s.wake_ns == NEVER
    assert s.state.server[0]["free_head"] >= 0


def test_a_row_never_holds_what_was_there_a_turn_of_the_ring_before():
    s = server((2,), window=1)  # four rows
    s.gradient(0, 1, 100)
    s.gradient(1, 9, 7)
    s.gradient(0, 9, 8)
    assert s.send() == [(RES, 9, MULTICAST)]
    assert values(s) == [15]


def test_seq_wraps():
    s = server((2,), window=4)
    for seq in (0xFFFFFFFE, 0xFFFFFFFF, 0, 1):
        s.gradient(0, seq, 1)
        s.gradient(1, seq, 2)
    assert [seq for _, seq, _ in s.send()] == [0xFFFFFFFE, 0xFFFFFFFF, 0, 1]
    assert s.sent[2]["index"] == aggregator_index(JOB, EPOCH, 0)


def test_after_a_quiet_minute_everything_is_forgotten():
    s = server((2,), window=4)
    s.gradient(0, 5, 1)
    s.gradient(1, 5, 2)
    s.send()
    s.now_ns += 61 * S
    s.gradient(0, 5, 50, flags=Flag.RESEND)  # 2**32 fragments later, or a new run of the same numbers
    s.gradient(1, 5, 60, flags=Flag.RESEND)
    assert s.send() == [(RES, 5, MULTICAST)]
    assert values(s) == [110]
    s.now_ns += 61 * S
    s.gradient(0, 5 - 2**31, 1)  # behind by half the numbers, and yet new
    s.send()
    assert s.wake_ns < NEVER


def test_a_sum_out_of_rows_that_nobody_used_for_half_the_numbers_is_an_echo():
    s = server((2,), window=4)
    s.gradient(0, 5, 1)
    s.partial(0b10, 5 - 2**31 + 1, 50)  # nearer from above than from below
    s.gradient(1, 5, 2)
    assert s.send() == [(RES, 5, MULTICAST)]
    assert values(s) == [3]


@pytest.mark.parametrize(
    ("source", "fields"),
    [
        (UNKNOWN_SENDER, {}),
        (1, {}),  # worker 1 speaks for worker 0
        (0, {"bitmap0": 0}),
        (0, {"bitmap0": 0b011}),  # a gradient of two
        (0, {"bitmap0": 0b1001}),
        (3, {"bitmap0": 0b1000}),  # there is no fourth worker
        (0, {"bitmap1": 0}),
        (0, {"bitmap1": 2}),
        (0, {"bitmap1": 3}),
        (0, {"flags": Flag.LEVEL1, "bitmap1": 2}),
        (0, {"version_kind": 0x21}),
        (0, {"version_kind": 0x10 | Kind.MISS}),
        (0, {"version_kind": 0x10 | Kind.RESULT}),  # no answer
        (0, {"version_kind": 0x10 | Kind.QUERY}),
        (0, {"version_kind": 0x10 | Kind.PARTIAL, "bitmap0": 0b1001}),
        (0, {"version_kind": 0}),
        (0, {"job": JOB - 1}),
        (UNKNOWN_SENDER, {"epoch": EPOCH - 1}),
    ],
)
def test_nonsense_is_counted_and_dropped(source, fields):
    s = server()
    s.gradient(0, 0, source=source, **fields)
    assert s.send() == []
    assert (s.counted("malformed"), s.wake_ns, int(s.state.server[0]["open_count"])) == (1, NEVER, 0)


def test_any_bytes_at_all_are_survived():
    rng = np.random.default_rng(3)
    s = server((2, 3), switches=2, window=2, held_resends=3)
    for n in range(4000):
        batch = packet(Kind(int(rng.integers(1, 7))), int(rng.integers(-4, 12)), flags=int(rng.integers(64)))
        spoilt = rng.random(6) < 0.15
        batch[0, :6][spoilt] = rng.integers(0, 2**32, spoilt.sum(), dtype=np.uint32)
        batch[0, 4:6] |= rng.integers(0, 4, 2, dtype=np.uint32) << 24
        s.now_ns += int(rng.integers(3 * MS)) if n % 1000 else 100 * S
        s.receive(batch, int(rng.integers(-1, 7)))
        s.send(room=int(rng.integers(1, 9)))
    assert s.counted("malformed") > 0


def test_two_racks_complete_by_racks_partials_and_resends():
    s = server((2, 3), switches=3)
    s.partial(0xFFFFFFFF, 0, 100, bitmap1=0b10, flags=Flag.LEVEL1, source=5)  # all of rack 1
    s.gradient(1, 0, 7, bitmap1=0b01)
    s.partial(0b01, 0, 1, bitmap1=0b10, source=6)  # a part of what is complete
    s.gradient(0, 0, 3, bitmap1=0b01, flags=Flag.RESEND)
    assert s.send() == [(RES, 0, MULTICAST)]
    assert (values(s), int(s.sent[0]["bitmap1"])) == ([110], 0b11)
    s.gradient(2, 1, bitmap0=0b100, bitmap1=0b10, source=4)
    s.send()
    assert s.wait() == [(REM, 1, 5), (REM, 1, 6), (REM, 1, 7)]
    for switch in (5, 6):
        miss(s, 1, switch)
    assert s.send() == []
    miss(s, 1, 7)
    assert s.send() == [(Q, 1, 0), (Q, 1, 1), (Q, 1, 2), (Q, 1, 3)]


def test_without_payload_everything_but_the_lanes_is_the_same():
    s = server(lanes=0)
    for rank in range(3):
        s.gradient(rank, 0, value=[], exponent=rank)
    assert s.send() == [(RES, 0, MULTICAST)]
    assert s.sent[0]["exponent"] == 2


def test_one_rack_is_no_whole_rack():
    s = server()
    s.gradient(0, 0, flags=Flag.LEVEL1)
    assert (s.counted("malformed"), s.send()) == (1, [])


def test_a_resend_that_took_a_rows_sum_along_is_both_a_sum_and_a_word_of_its_sender():
    s = server()
    s.partial(0b011, 0, 30, source=1, flags=Flag.RESEND)
    assert s.send() == []  # who is missing may not have sent it yet: nobody is asked ahead
    assert s.wake_ns == Timers().answer_floor_ns
    s.gradient(2, 0, 5)
    assert s.send() == [(RES, 0, MULTICAST)]
    assert values(s) == [35]
    s.partial(0b111, 0, 35, source=2, flags=Flag.RESEND)
    assert s.send() == [(RES, 0, 2)]
    assert (s.counted("partials"), s.counted("resends"), s.counted("duplicates")) == (2, 0, 1)


def test_a_flushed_sum_that_overlaps_is_discarded_whole():
    s = server()
    s.gradient(0, 0, 10, flags=Flag.COLLISION)
    s.partial(0b011, 0, 30, source=1, flags=Flag.RESEND)  # the switch has cleared the row
    assert (s.send(), s.counted("overlaps")) == ([], 1)
    for rank, value in ((1, 20), (2, 5)):
        s.gradient(rank, 0, value, flags=Flag.RESEND)
    assert s.send() == [(RES, 0, MULTICAST)]
    assert values(s) == [35]


def test_who_resent_is_answered_first():
    s = server(resends_first=True)
    s.partial(0b111, 0, 9)
    s.partial(0b111, 1, 9)
    s.gradient(2, 0, flags=Flag.RESEND)
    s.partial(0b111, 2, 9, source=1, flags=Flag.RESEND)
    assert s.send() == [(RES, 2, MULTICAST), (RES, 0, 2), (RES, 0, MULTICAST), (RES, 1, MULTICAST)]


def test_what_is_half_said_is_said_before():
    s = server(switches=0, unicast=True, resends_first=True)
    for seq in (0, 1):
        for rank in range(3):
            s.gradient(rank, seq, 1)
    assert s.send(room=2) == [(RES, 0, 0), (RES, 0, 1)]
    s.gradient(0, 0, flags=Flag.RESEND)
    assert s.send() == [(RES, 0, 2), (RES, 0, 0), (RES, 1, 0), (RES, 1, 1), (RES, 1, 2)]
