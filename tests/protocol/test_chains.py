"""SwitchML's chains: a fragment goes out with the result of the one a window before, whatever else is missing."""

from __future__ import annotations

import pytest

from esa.job import Pool
from esa.protocol import NOT_YET, worker_state
from esa.protocol.of_job import worker_of_job
from esa.wire import Flag, Kind
from tests.p4 import traffic
from tests.protocol.exchange import EPOCH, JOB, LANES, MS, Worker, kinds

pytestmark = pytest.mark.timeout(180)

G, R = Kind.GRADIENT, Kind.RESULT


def worker(window: int = 2, span: int = 8, chain: int = 2, **settings) -> Worker:
    state = worker_state(job=JOB, epoch=EPOCH, rank=0, window=window, span=span, chain=chain, lanes=LANES, **settings)
    return Worker(state)


def seqs(packets) -> list[int]:
    return [int(p["seq"]) for p in packets]


@pytest.mark.parametrize("first", [0, 0xFFFFFFFD])
def test_a_missing_result_stops_its_chain_alone(first: int) -> None:
    w = worker(first_seq=first)
    w.feed(12)

    def sent_after(n: int) -> list[int]:
        w.result(first + n)
        return [(seq - first) & 0xFFFFFFFF for seq in seqs(w.send())]

    assert seqs(w.send()) == [first, first + 1]
    assert [sent_after(n) for n in (1, 3, 5)] == [[3], [5], [7]]
    assert sent_after(7) == []  # 9 would be a span and more ahead of 0
    assert sent_after(0) == [2, 9]  # the span has moved by two
    assert [sent_after(n) for n in (2, 4, 6)] == [[4], [6], [8]]
    assert w.me["in_flight"] == 2


def test_chains_are_no_shorter_than_the_window() -> None:
    with pytest.raises(ValueError, match="chain: 2 fragments; allowed: 0, or the window's 4 and more"):
        worker(window=4, chain=2)


def test_what_was_skipped_was_not_sent() -> None:
    w = worker()
    w.feed(8)
    w.send()
    w.result(1)
    assert seqs(w.send()) == [3]
    w.result(2)  # nobody can have it
    assert w.counted("malformed") == 1
    w.query(2)
    (answer,) = w.send()
    assert (kinds([answer])[0][0], int(answer["priority"])) == (R, NOT_YET)
    w.result(0)
    (late,) = w.send()
    assert (int(late["seq"]), int(late["flags"])) == (2, Flag.RESEND)  # it was asked for


def test_what_was_skipped_is_not_resent_and_has_a_round_trip_once_it_is_sent() -> None:
    w = worker()
    w.feed(8)
    w.send()
    w.now_ns = 8 * MS
    w.result(1)
    w.send()
    w.now_ns = 16 * MS
    w.result(3)
    assert seqs(w.send()) == [0, 5]  # 0 is lost; 2, which waits for it, is not
    w.now_ns = 17 * MS
    w.result(0)
    assert seqs(w.send()) == [2]
    w.now_ns = 17 * MS + 8 * MS  # a round trip: only now it is where others were when they were overtaken
    assert 2 not in seqs(w.send())
    w.now_ns += 8 * MS
    assert 2 in seqs(w.send())


@pytest.mark.parametrize(("window", "chain"), [(1, 1), (2, 2), (3, 4), (4, 4)])
def test_a_chain_is_the_window_up_to_a_power_of_two(window: int, chain: int) -> None:
    """So that all that meet in a row of a slice, of two windows or more, are of one chain."""
    job = traffic.job(1, "switchml", workers=2, pool=Pool(base=0, size=8), ports=16).model_copy(
        update={"window": window}
    )
    me = worker_of_job(job, 0).worker[0]
    assert (int(me["chain"]), int(me["span"]), job.reuse_span) == (chain, 8 * window, window)
