"""A PS to test with, of three workers unless told otherwise, and what its members say to it."""

from __future__ import annotations

from esa.protocol import server_state
from esa.wire import Flag, Kind
from tests.protocol.exchange import EPOCH, JOB, LANES, Server, packet

Q, REM, RES = Kind.QUERY, Kind.REMINDER, Kind.RESULT
SWITCH = 3  # number of the first switch in a job of three workers


def server(workers=(3,), window: int = 4, lanes: int = LANES, **settings) -> Server:
    settings = {"job": JOB, "epoch": EPOCH, "workers_per_rack": workers, "window": window, "lanes": lanes, **settings}
    return Server(server_state(**settings))


def values(s: Server) -> list[int]:
    return [int(p["lane"][0]) for p in s.sent]


def answer(s: Server, seq: int, value: int = 0, source: int = 0, **fields: int) -> None:
    fields = {"flags": Flag.ANSWER, "bitmap0": 1 << source, "bitmap1": 1, **fields}
    s.receive(packet(RES, seq, value=value, **fields), source)


def miss(s: Server, seq: int, source: int = SWITCH) -> None:
    s.receive(packet(Kind.MISS, seq), source)
