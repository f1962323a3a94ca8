"""Who lives is waited for, who is silent is not, and a worker knows which of the two it is."""

from __future__ import annotations

import numpy as np
import pytest

from esa.protocol import NEVER, NOT_YET, server_change_policy, server_state, worker_state, worker_waiting
from esa.wire import Flag, Kind
from tests.protocol.exchange import EPOCH, JOB, LANES, MS, S, Server, Worker, packet

pytestmark = pytest.mark.timeout(180)

Q = Kind.QUERY
SWITCH = 3  # number of the switch in a job of three workers


def server(workers=(3,), **settings) -> Server:
    given = {"give_up_s": 4.0, "wait_limit_s": 60.0, "switches": 0, "unicast": True, **settings}
    return Server(server_state(job=JOB, epoch=EPOCH, workers_per_rack=workers, window=4, lanes=LANES, **given))


def worker(**settings) -> Worker:
    given = {"rank": 0, "give_up_s": 4.0, "wait_limit_s": 60.0, **settings}
    return Worker(worker_state(job=JOB, epoch=EPOCH, window=4, lanes=LANES, **given))


def not_yet(s: Server, source: int, seq: int = -1, rack: int = 0, bit: int | None = None) -> None:
    bitmap0 = 1 << (source if bit is None else bit)
    fields = {"flags": Flag.ANSWER, "bitmap0": bitmap0, "bitmap1": 1 << rack, "priority": NOT_YET}
    s.receive(packet(Kind.RESULT, seq, **fields), source)


def ask_until(s: Server, until_ns: int, computing: tuple[int, ...]) -> list[tuple[int, int, int, int]]:
    """Time passes, and the ranks that compute say so when they are asked; (time, to, flags, bitmap0) of each QUERY."""
    queries = []
    while s.now_ns < until_ns and s.wake_ns < NEVER:
        for (kind, _, to), sent in zip(s.wait(), s.sent, strict=True):
            if kind == Q:
                queries.append((s.now_ns, to, int(sent["flags"]), int(sent["bitmap0"])))
                if to in computing:
                    not_yet(s, to)
    return queries


def test_a_worker_that_has_no_result_yet_says_that_it_lives():
    w = worker()
    w.query(0)
    (answer,) = w.send()
    assert (int(answer["flags"]), int(answer["priority"]), int(answer["seq"])) == (Flag.ANSWER, NOT_YET, 2**32 - 1)


def test_a_worker_that_has_given_up_says_so_no_more():
    w = worker()
    w.feed(1)
    w.send()
    while not w.me["failed"]:
        w.wait()
    w.query(2)
    assert w.send() == []


def test_who_computes_is_waited_for_up_to_the_limit_and_those_who_wait_are_told():
    s = server()
    s.gradient(0, 0)
    s.gradient(1, 0)
    s.send()
    queries = ask_until(s, 59 * S, computing=(2,))
    assert s.counted("failed") == 0
    told = [at for at, to, flags, bitmap0 in queries if to == 0 and (flags, bitmap0) == (Flag.ALIVE, 0b100)]
    assert told[0] < 1 * S
    assert max(np.diff(told)) < 1 * S
    ask_until(s, 70 * S, computing=(2,))
    assert 60 * S <= s.now_ns < 60.5 * S
    assert (s.counted("failed"), int(s.state.rack[0]["silent_bitmap"])) == (1, 0)


def test_who_dies_while_computing_is_given_up_from_its_last_word_on():
    s = server()
    s.gradient(0, 0)
    s.gradient(1, 0)
    s.send()
    ask_until(s, 10 * S, computing=(2,))
    queries = ask_until(s, 70 * S, computing=())
    assert 14 * S <= s.now_ns < 14.5 * S
    assert (s.counted("failed"), int(s.state.rack[0]["silent_bitmap"])) == (1, 0b100)
    last = [(flags, bitmap0) for at, to, flags, bitmap0 in queries if at > 11 * S and to == 0]
    assert set(last) == {(0, 0b100)}


def test_who_is_dead_is_given_up_although_another_computes_and_alone_is_named():
    s = server()
    s.gradient(0, 0)
    s.send()
    queries = ask_until(s, 70 * S, computing=(1,))
    assert 4 * S <= s.now_ns < 4.5 * S
    assert (s.counted("failed"), int(s.state.rack[0]["silent_bitmap"])) == (1, 0b100)
    late = {(to, flags, bitmap0) for at, to, flags, bitmap0 in queries if at > 1 * S}
    assert late == {(0, 0, 0b100), (1, 0, 0b110), (2, 0, 0b100)}  # each of the missing finds itself named


def test_who_has_sent_it_is_not_alive_by_what_it_said_before():
    s = server()
    s.gradient(0, 0)
    s.gradient(1, 0)
    s.send()
    ask_until(s, 3 * S, computing=(2,))
    s.gradient(2, 0)
    s.send()
    s.gradient(0, 1)
    s.gradient(1, 1)
    s.gradient(2, 2)  # its fragment 1 is lost, and so is everything that it sends from here on
    s.send()
    queries = ask_until(s, 30 * S, computing=())
    assert 7 * S <= s.now_ns < 7.5 * S
    assert not any(flags & Flag.ALIVE for *_, flags, _ in queries)


def test_a_server_of_two_racks_names_the_silent_of_either():
    s = server((2, 2))
    s.gradient(0, 0)
    s.gradient(3, 0, bitmap0=0b10, bitmap1=0b10)
    s.send()
    for _ in range(20):  # rank 1 of rack 0 computes, rank 2, the first of rack 1, is silent
        for (kind, _, to), sent in zip(s.wait(), s.sent, strict=True):
            if kind == Q and to == 1:
                not_yet(s, 1)
            if kind == Q and to == 0:
                last = int(sent["flags"]), int(sent["bitmap0"]), int(sent["bitmap1"])
    assert last == (0, 0b01, 0b10)
    for _ in range(20):  # now that one lives, too
        for (kind, _, to), sent in zip(s.wait(), s.sent, strict=True):
            if kind == Q and to in (1, 2):
                not_yet(s, to, rack=to // 2, bit=1 - to // 2)
            if kind == Q and to == 0:
                last = int(sent["flags"]), int(sent["bitmap0"]), int(sent["bitmap1"])
    assert last == (Flag.ALIVE, 0b10, 0b01)


def query(w: Worker, flags: int, bitmap0: int, seq: int = 0) -> None:
    w.receive(packet(Q, seq, flags=flags, bitmap0=bitmap0, bitmap1=1))


def test_a_worker_waits_while_the_server_says_that_the_missing_live():
    w = worker()
    w.feed(1)
    w.send()
    while w.now_ns < 50 * S:
        w.now_ns += 3 * S  # most of the QUERYs are lost
        query(w, Flag.ALIVE, 0b10)
        w.send()
    assert not w.me["failed"]
    assert worker_waiting(w.state, w.now_ns)._asdict() == {
        "seq": 0,
        "since_ns": 0,
        "computing": (0b10, 1),
        "silent": (0, 0),
        "unheard": False,
        "server_silent": False,
    }
    while not w.me["failed"]:
        query(w, Flag.ALIVE, 0b10)
        w.wait()
    assert 60 * S <= w.now_ns < 61 * S
    assert worker_waiting(w.state, 90 * S).computing == (0b10, 1)


def test_a_worker_gives_up_when_nobody_says_any_more_that_the_missing_live():
    w = worker()
    w.feed(1)
    w.send()
    w.now_ns = 3 * S
    query(w, Flag.ALIVE, 0b10)
    w.send()
    while not w.me["failed"]:
        query(w, 0, 0b10)
        w.wait()
    assert 7 * S <= w.now_ns < 8 * S
    assert worker_waiting(w.state, w.now_ns).silent == (0b10, 1)


def test_a_worker_whose_server_is_silent_knows_that():
    w = worker()
    assert worker_waiting(w.state, 0) is None
    w.feed(1)
    w.send()
    query(w, Flag.ALIVE, 0b10)
    while not w.me["failed"]:
        w.wait()
    waiting = worker_waiting(w.state, w.now_ns)
    assert (waiting.server_silent, waiting.computing, waiting.silent) == (True, (0, 0), (0, 0))


def test_a_worker_knows_when_the_server_does_not_receive_its_part():
    w = worker()
    w.feed(1)
    w.send()
    query(w, 0, 0b01)
    assert worker_waiting(w.state, 1 * MS).unheard
    w.now_ns = 5 * MS
    query(w, 0, 0b10)
    waiting = worker_waiting(w.state, 5 * MS)
    assert (waiting.unheard, waiting.silent) == (False, (0b10, 1))


def test_a_worker_of_another_rack_than_is_named_knows_that_its_part_has_arrived():
    w = worker(rack=1)
    w.feed(1)
    w.send()
    w.receive(packet(Q, 0, flags=Flag.ALIVE, bitmap0=0b11, bitmap1=0b01))
    assert w.send() == []
    assert worker_waiting(w.state, 0).computing == (0b11, 0b01)
    w.receive(packet(Q, 0, bitmap0=0b11, bitmap1=0b10))
    assert len(w.send()) == 1


@pytest.mark.parametrize("kind", [Kind.RESULT, Kind.QUERY])
def test_a_worker_tells_packets_of_another_run_from_nonsense(kind):
    w = worker()
    w.feed(1)
    w.send()
    assert w.me["other_run"] == -1
    w.receive(packet(kind, 0, bitmap0=7, epoch=EPOCH + 4))
    w.receive(packet(kind, 0, bitmap0=7, epoch=EPOCH + 4, job=JOB + 1))
    assert (w.counted("other_run"), w.counted("malformed"), int(w.me["other_run"])) == (1, 1, EPOCH + 4)
    assert (w.counted("results"), w.counted("queries")) == (0, 0)


def test_a_server_tells_packets_of_another_run_from_nonsense():
    s = server()
    s.gradient(1, 0, epoch=EPOCH - 1)
    s.gradient(2, 0, epoch=EPOCH - 1, job=JOB + 1)
    s.gradient(2, 0, epoch=EPOCH - 2, source=-1)  # a stranger's
    me = s.state.server[0]
    assert (s.counted("other_run"), s.counted("malformed"), s.counted("fragments")) == (1, 2, 0)
    assert (int(me["other_run"]), int(me["other_source"])) == (EPOCH - 1, 1)


def test_a_server_that_is_told_of_another_policy_asks_and_answers_accordingly():
    s = server(switches=1, unicast=False)
    s.gradient(0, 0)
    s.send()
    assert s.wait() == [(Kind.REMINDER, 0, SWITCH)]
    server_change_policy(s.state, switches=0, unicast=True, release_on_ack=False)
    assert s.wait() == [(Q, 0, 1), (Q, 0, 2)]
    s.gradient(1, 0)
    s.gradient(2, 0)
    assert s.send() == [(Kind.RESULT, 0, 0), (Kind.RESULT, 0, 1), (Kind.RESULT, 0, 2)]
    server_change_policy(s.state, switches=1, unicast=False, release_on_ack=True)
    s.gradient(1, 0, flags=Flag.RESEND)
    assert s.send() == [(Kind.RESULT, 0, -1)]
