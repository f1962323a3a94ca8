"""Packets that make no sense, at the worker's and the PS's state machine: counted, dropped, no sum changes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from esa.protocol import UNKNOWN_SENDER, server_state, worker_drain, worker_state
from esa.wire import VERSION, Flag, Kind
from tests.protocol.exchange import EPOCH, JOB, LANES, Server, Worker, packet

pytestmark = pytest.mark.timeout(180)

INT32 = np.iinfo(np.int32)
FAR = [2**31 - 1, 2**31, 2**31 + 1, 2**30, 2**32 - 1]
POISON = INT32.max  # lanes of what must not be summed


def new_worker(sent: int = 4) -> Worker:
    w = Worker(worker_state(job=JOB, epoch=EPOCH, rank=1, window=4, lanes=LANES))
    w.feed(sent, value=3)
    assert len(w.send()) == sent
    return w


def new_server(**settings) -> Server:
    return Server(server_state(job=JOB, epoch=EPOCH, workers_per_rack=(3,), window=4, lanes=LANES, **settings))


def finish(w: Worker, count: int = 4, value: int = 11) -> None:
    """The job goes on, and its sums are those that it was sent."""
    w.result(*range(count), value=value)
    sums = np.zeros(count * LANES, np.int32)
    assert worker_drain(w.state, sums, 0, count, np.zeros(0, np.int8)) == count
    assert set(sums.tolist()) == {value}


def odd_headers() -> list[dict[str, int]]:
    """Versions and jobs that are not ours; and another job's epochs."""
    versions = [{"version_kind": v << 4 | Kind.RESULT} for v in range(16) if v != VERSION]
    return [
        *versions,
        *({"job": j} for j in (0, JOB - 1, 0xFFFF)),
        *({"job": JOB + 1, "epoch": e} for e in (0, EPOCH + 1, 0xFFFF)),
    ]


def test_a_worker_takes_nothing_of_another_version_or_job():
    w = new_worker()
    for kind, fields in itertools.product((Kind.RESULT, Kind.QUERY), odd_headers()):
        w.receive(packet(kind, 0, value=POISON, bitmap0=7, **fields))
    assert w.counted("malformed") == 2 * len(odd_headers())
    finish(w)


def test_a_worker_takes_no_kind_but_result_and_query():
    w = new_worker()
    for kind, flags in itertools.product(set(range(16)) - {Kind.RESULT, Kind.QUERY}, (0, 0xFF)):
        w.receive(packet(0, 0, value=POISON, version_kind=VERSION << 4 | kind, flags=flags, bitmap0=7))
    assert w.counted("malformed") == 28
    finish(w)


def test_a_worker_takes_no_result_that_it_is_not_in_or_has_not_sent():
    w = new_worker(sent=2)
    for bitmap0 in (0, 1, 4, 0xFFFFFFFD):
        w.result(0, value=POISON, bitmap0=bitmap0)
    for seq in (2, 3, 4, 7, 8, 16, *FAR[:1], 2**30):
        w.result(seq, value=POISON)
    assert w.counted("malformed") == 12
    for seq in FAR[2:3] + FAR[4:]:  # long past
        w.result(seq, value=POISON)
    assert w.counted("duplicates") == 2
    finish(w, 2)


def test_a_worker_asked_absurd_things_says_nothing_and_goes_on():
    w = new_worker()
    for seq, flags in itertools.product((8, 100, *FAR[:1], 2**30), (0, Flag.COLLISION, 0xFF)):
        w.receive(packet(Kind.QUERY, seq, flags=flags, bitmap0=0xFFFFFFFF, bitmap1=0xFFFFFFFF))
    assert w.send() == []
    for _ in range(3):
        w.query(0)
    w.query(2**32 - 9)  # long past
    assert {int(p["seq"]) for p in w.send()} <= {0, 2**32 - 1}
    finish(w)


def test_a_flood_of_questions_does_not_overrun_a_worker():
    w = new_worker()
    w.result(*range(4), value=11)
    for _ in range(10):
        for seq in range(4):
            w.query(seq)
    assert 0 < len(w.send(room=64)) <= 16


@pytest.mark.parametrize("exponent", [-128, -1, 0, 126, 127])
def test_a_worker_reads_every_exponent(exponent):
    w = new_worker(sent=1)
    w.result(0, value=11, exponent=exponent)
    exponents = np.zeros(1, np.int8)
    assert worker_drain(w.state, np.zeros(LANES, np.int32), 0, 1, exponents) == 1
    assert exponents.tolist() == [exponent]


def poisonous(s: Server) -> list[tuple[np.ndarray, int]]:
    """(packet, source) of everything that a PS of three workers and a switch must refuse."""
    own = {"bitmap0": 1, "bitmap1": 1, "value": POISON}
    out = [(packet(Kind.GRADIENT, 0, **own), UNKNOWN_SENDER), (packet(Kind.PARTIAL, 0, **own), UNKNOWN_SENDER)]
    out += [(packet(Kind.RESULT, 0, **own, flags=Flag.ANSWER), source) for source in (UNKNOWN_SENDER, 3)]
    out += [(packet(Kind.GRADIENT, 0, **own, **fields), 0) for fields in odd_headers()]
    for kind in set(range(16)) - {Kind.GRADIENT, Kind.PARTIAL, Kind.RESULT, Kind.MISS}:
        out += [(packet(0, 0, **own, version_kind=VERSION << 4 | kind, flags=f), n) for f in (0, 0xFF) for n in (0, 3)]
    out += [(packet(Kind.RESULT, 0, **own, flags=flags), 0) for flags in (0, Flag.RELEASE, 0xFF & ~Flag.ANSWER)]
    out += [(packet(Kind.MISS, 0), source) for source in (UNKNOWN_SENDER, 0, 2)]
    out += [(packet(Kind.GRADIENT, 0, **own), source) for source in (1, 2, 3)]  # for another, or by a switch
    for kind, bitmap0 in itertools.product((Kind.GRADIENT, Kind.PARTIAL), (0, 8, 15, 0x80000001, 0xFFFFFFFF)):
        out.append((packet(kind, 0, value=POISON, bitmap0=bitmap0, bitmap1=1), 0))
    for kind, bitmap1 in itertools.product((Kind.GRADIENT, Kind.PARTIAL), (0, 2, 3, 0x80000000, 0xFFFFFFFF)):
        out.append((packet(kind, 0, value=POISON, bitmap0=1, bitmap1=bitmap1), 0))
    for bitmap1 in (0, 2, 3, 0xFFFFFFFF):
        out.append((packet(Kind.GRADIENT, 0, value=POISON, bitmap0=1, bitmap1=bitmap1, flags=Flag.LEVEL1), 3))
    out.append((packet(Kind.GRADIENT, 0, value=POISON, bitmap0=3, bitmap1=1), 0))  # a gradient is one worker's
    return out


def test_a_ps_refuses_what_makes_no_sense_and_sums_on():
    s = new_server()
    s.gradient(0, 0, 10)
    before = [array.tobytes() for array in s.state[:-1]]
    refused = poisonous(s)
    for batch, source in refused:
        s.receive(batch, source)
    assert s.counted("malformed") == len(refused)
    assert before == [array.tobytes() for array in s.state[:-1]]
    s.gradient(1, 0, 20)
    s.gradient(2, 0, 30)
    s.send()
    assert [set(p["lane"].tolist()) for p in s.sent] == [{60}]


@pytest.mark.parametrize("far", FAR)
def test_a_ps_survives_a_member_that_jumps(far):
    """A member may say any seq; what is then old is dropped, what follows is summed, and no sum is a mixture."""
    s = new_server()
    s.gradient(0, 0, 10)
    s.gradient(0, far, 1)
    for rank in range(3):
        s.gradient(rank, far + 20, rank)
    s.send()
    results = {int(p["seq"]): set(p["lane"].tolist()) for p in s.sent if p["version_kind"] & 15 == Kind.RESULT}
    behind = 2**31 <= far < 2**32 - 20
    assert results == ({} if behind else {(far + 20) & 0xFFFFFFFF: {3}})


def test_lanes_at_their_extremes_saturate_and_nothing_else_moves():
    s = new_server()
    for rank, value in enumerate((INT32.min, INT32.min, INT32.max)):
        s.gradient(rank, 0, value)
    s.send()
    assert set(s.sent[0]["lane"].tolist()) == {-1}
