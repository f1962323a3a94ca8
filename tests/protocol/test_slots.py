"""A row per slot of the window: where workers send, what the PS draws and tells, whatever was lost in between."""

from __future__ import annotations

import pytest

from esa.policy import POLICIES
from esa.program import AGGREGATORS
from esa.protocol import MULTICAST, Timers, worker_state
from esa.protocol.slots import next_row_of, row_of, slot_index
from esa.wire import Flag, Kind, aggregator_index
from tests.protocol.exchange import EPOCH, JOB, LANES, MS, Server, Worker, kinds
from tests.protocol.servers import RES, SWITCH, answer, miss, server

pytestmark = pytest.mark.timeout(180)

SLOTS, ROWS = 4, 16


def row(n: int) -> int:
    """The n-th of the job's rows."""
    return aggregator_index(JOB, EPOCH, n) & 0xFFFF


def stays(n: int) -> int:
    return slot_index(row(n), row(n))


def moves(n: int, to: int) -> int:
    return slot_index(row(n), row(to))


def worker(**settings) -> Worker:
    return Worker(worker_state(job=JOB, epoch=EPOCH, rank=0, window=SLOTS, slots=SLOTS, lanes=LANES, **settings))


def atp_server(**settings) -> Server:
    knobs = {"release_on_ack": True, "resends_first": True, "slots": SLOTS, "rows": ROWS}
    return server(window=SLOTS, **{**knobs, **settings})


def indices(packets) -> list[int]:
    return [int(p["index"]) for p in packets]


def test_an_index_has_two_halves_and_every_row_of_a_switch_fits() -> None:
    assert (row_of(slot_index(9, 65535)), next_row_of(slot_index(9, 65535))) == (9, 65535)
    assert max(AGGREGATORS.values()) <= 65536
    assert len({row(n) % ROWS for n in range(ROWS)}) == ROWS


def test_slots_are_of_the_whole_span() -> None:
    with pytest.raises(ValueError, match="slots: 3; allowed: 0, or the span's 4"):
        worker_state(job=JOB, epoch=EPOCH, rank=0, window=4, slots=3, lanes=LANES)


@pytest.mark.parametrize("first_seq", [0, 0xFFFFFFFE])
def test_a_slot_stays_in_its_row_until_a_result_says_otherwise(first_seq: int) -> None:
    w = worker(first_seq=first_seq)
    w.feed(8)
    slots = [(first_seq + n) % SLOTS for n in range(SLOTS)]
    assert indices(w.send()) == [stays(s) for s in slots]
    w.result(first_seq, index=moves(slots[0], 7))
    w.result(first_seq + 1, index=stays(slots[1]))
    assert indices(w.send()) == [stays(7), stays(slots[1])]
    for n in (2, 3, 4):
        w.result(first_seq + n, index=stays(7 if n == 4 else slots[n]))
    w.feed(4)
    assert indices(w.send()) == [stays(slots[2]), stays(slots[3]), stays(7)]


def test_a_resend_goes_to_the_row_of_the_first_time() -> None:
    w = worker()
    w.feed(6)
    w.send()
    w.result(1, index=moves(1, 9))
    w.now_ns = 100 * MS
    again, *_ = w.wait()
    assert (int(again["seq"]), int(again["flags"]), int(again["index"])) == (0, Flag.RESEND, stays(0))


def test_an_answer_says_of_the_row_what_the_result_said() -> None:
    w = worker()
    w.feed(2)
    w.send()
    w.result(0, index=moves(0, 5))
    w.query(0)
    (sent,) = w.send()
    assert kinds([sent]) == [(Kind.RESULT, 0)]
    assert int(sent["index"]) == moves(0, 5)


def collision(s: Server, seq: int, n: int, **fields: int) -> list[int]:
    """All of a fragment reach the PS, one as a collision; the indices of what it says then."""
    for rank in range(3):
        s.gradient(rank, seq, index=stays(n), flags=Flag.COLLISION if rank == 1 else 0, **fields)
    assert s.send() == [(RES, seq, MULTICAST)]
    return indices(s.sent)


def test_a_fragment_that_collided_moves_its_slot_to_the_next_row_that_no_slot_was_in() -> None:
    s = atp_server()
    assert collision(s, 0, 0) == [moves(0, SLOTS)]
    assert collision(s, 1, 1) == [moves(1, SLOTS + 1)]
    s.partial(0b111, 2, source=1, index=stays(2))  # complete in its row
    s.partial(0b111, 4, source=1, index=stays(SLOTS))
    s.send()
    assert indices(s.sent) == [stays(2), stays(SLOTS)]
    assert collision(s, 8, SLOTS) == [moves(SLOTS, SLOTS + 2)]


def test_when_every_row_was_used_slots_stay_where_they_are() -> None:
    s = atp_server(rows=SLOTS + 1)
    assert collision(s, 0, 0) == [moves(0, SLOTS)]
    assert collision(s, 1, 1) == [stays(1)]


def test_what_is_resent_did_not_collide_and_later_results_say_the_same() -> None:
    s = atp_server()
    for rank in range(3):
        s.gradient(rank, 0, index=stays(0), flags=Flag.RESEND)
    s.send()
    assert indices(s.sent) == [stays(0)]
    told = collision(s, 1, 1)
    s.gradient(1, 1, index=stays(1), flags=Flag.RESEND)
    s.gradient(0, 1, index=stays(1), flags=Flag.COLLISION)  # a copy, late
    s.gradient(2, 1, index=stays(1), flags=Flag.RESEND)
    s.send()
    assert indices(s.sent) == told * 2


def test_a_restarted_server_repeats_what_a_worker_knows_of_the_row() -> None:
    s = atp_server()
    s.gradient(2, 0, index=stays(0), flags=Flag.RESEND)
    s.send()
    s.wait()
    miss(s, 0, SWITCH)
    s.send()
    answer(s, 0, index=moves(0, 11))
    s.send()
    assert indices(s.sent) == [moves(0, 11)]


def test_a_reminder_goes_where_the_slot_was_last_said_to_be() -> None:
    s = atp_server(timers=Timers(ask_ahead=0))
    assert collision(s, 0, 0) == [moves(0, SLOTS)]
    s.partial(0b001, SLOTS, source=SWITCH)  # what a switch hands over does not tell
    s.partial(0b001, 2, source=SWITCH)
    assert s.send() == []
    s.wait()
    told = {int(p["seq"]): int(p["index"]) for p in s.sent}
    assert told == {SLOTS: stays(SLOTS), 2: stays(2)}
    s.gradient(1, 2, index=stays(6))
    s.wait()
    assert stays(6) in indices(s.sent)


def test_atp_alone_has_slots() -> None:
    assert [name for name, policy in POLICIES.items() if policy.rows == "slot"] == ["atp", "a2tp"]
