"""A fragment's PS is that of its seq: what a worker says to which, and which rows a PS draws of those of several."""

from __future__ import annotations

import numpy as np
import pytest

from esa.protocol import server_number, words, worker_send, worker_state
from esa.wire import Flag
from tests.protocol.exchange import EPOCH, JOB, LANES, Worker
from tests.protocol.servers import RES, server
from tests.protocol.test_slots import ROWS, SLOTS, moves, row

pytestmark = pytest.mark.timeout(180)


def worker(**settings) -> Worker:
    return Worker(worker_state(job=JOB, epoch=EPOCH, rank=0, window=8, lanes=LANES, servers=4, **settings))


@pytest.mark.parametrize("first_seq", [0, 2**32 - 6])
def test_each_packet_is_for_the_ps_that_its_seq_says(first_seq: int) -> None:
    w, out = worker(first_seq=first_seq), words(16, LANES)
    w.feed(8)
    count, _ = worker_send(w.state, out, 0)
    assert count == 8
    assert [server_number(out, i, 4) for i in range(count)] == [(first_seq + i) % 4 for i in range(count)]


@pytest.mark.parametrize("acked", range(6))
@pytest.mark.parametrize("asked", range(6, 12))
def test_not_yet_is_said_to_who_asked(acked: int, asked: int) -> None:
    w = worker()
    w.feed(6)
    w.send()
    w.result(*range(acked))
    w.query(asked)
    (said,) = w.send()
    assert (int(said["flags"]), int(said["priority"])) == (Flag.ANSWER, 0)
    told = int(np.int32(np.uint32(said["seq"])))
    assert told % 4 == asked % 4  # so it is this one's
    assert acked - 4 <= told < acked  # and a result that every worker can have sent, or none


def test_pss_of_a_job_never_draw_the_same_row() -> None:
    knobs = {"release_on_ack": True, "slots": SLOTS, "rows": ROWS, "window": SLOTS, "servers": 2}
    drawn = []
    for number in (0, 1):
        s = server(number=number, **knobs)
        for turn in range(3):
            seq = number + 2 * turn
            for rank in range(3):
                s.gradient(rank, seq, index=row(seq % SLOTS), flags=Flag.COLLISION)
            s.send()
            drawn += [int(p["index"]) for p in s.sent if int(p["version_kind"]) & 15 == RES]
    slots = [(0, 4), (2, 6), (0, 8), (1, 5), (3, 7), (1, 9)]
    assert drawn == [moves(slot, to) for slot, to in slots]


def test_so_many_pss_divide_slots_and_chains() -> None:
    with pytest.raises(ValueError, match="servers: 3; allowed: powers of two"):
        worker_state(job=JOB, epoch=EPOCH, rank=0, window=4, lanes=LANES, servers=3)
    with pytest.raises(ValueError, match=r"servers: 4; allowed: what divides slots, 6, and chain, 0"):
        worker_state(job=JOB, epoch=EPOCH, rank=0, window=6, slots=6, lanes=LANES, servers=4)
    with pytest.raises(ValueError, match="number: 2; allowed: 0 to 1"):
        server(servers=2, number=2)
