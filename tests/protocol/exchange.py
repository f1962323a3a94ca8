"""Packets to and from the state machines, one at a time and by name."""

from __future__ import annotations

from typing import Any

import numpy as np

from esa.protocol import as_packets, server_receive, server_send, words, worker_feed, worker_receive, worker_send
from esa.wire import Kind, version_kind

JOB, EPOCH = 7, 3
LANES = 64
US, MS, S = 1_000, 1_000_000, 1_000_000_000


def packet(kind: Kind, seq: int, *, lanes: int = LANES, value: Any = 0, **fields: int) -> np.ndarray:
    """One packet of the job as words (1, 6 + lanes); `value` fills its lanes."""
    batch = words(1, lanes)
    record = as_packets(batch)[0]
    record["version_kind"], record["job"], record["epoch"] = version_kind(kind), JOB, EPOCH
    record["seq"] = seq & 0xFFFFFFFF
    record["lane"] = value
    for name, number in fields.items():
        record[name] = number
    return batch


def kinds(packets: list[np.void]) -> list[tuple[Kind, int]]:
    """(kind, seq) of each."""
    return [(Kind(int(p["version_kind"]) & 15), int(p["seq"])) for p in packets]


class Worker:
    """A worker state and a clock that is set by hand."""

    def __init__(self, state: Any):
        self.state = state
        self.now_ns = 0
        self.wake_ns = 0
        self.me = state.worker[0]
        self.lanes = state.lane.shape[1]

    def feed(self, fragments: int, value: int = 1, priority: int = 9, exponent: int = 2) -> int:
        lanes = np.full(fragments * self.lanes, value, np.int32)
        return worker_feed(self.state, lanes, 0, fragments, priority, np.full(fragments, exponent, np.int8))

    def receive(self, batch: np.ndarray) -> None:
        worker_receive(self.state, batch, len(batch), self.now_ns)

    def result(self, *seqs: int, value: int = 0, bitmap0: int = 0xFF, **fields: int) -> None:
        for seq in seqs:
            self.receive(packet(Kind.RESULT, seq, lanes=self.lanes, value=value, bitmap0=bitmap0, **fields))

    def query(self, seq: int, bitmap0: int = 1) -> None:
        self.receive(packet(Kind.QUERY, seq, lanes=self.lanes, bitmap0=bitmap0, bitmap1=1))

    def send(self, room: int = 64) -> list[np.void]:
        out = words(room, self.lanes)
        count, self.wake_ns = worker_send(self.state, out, self.now_ns)
        return list(as_packets(out)[:count])

    def wait(self) -> list[np.void]:
        """What is sent when the time comes."""
        self.now_ns = self.wake_ns
        return self.send()

    def counted(self, name: str) -> int:
        return int(self.state.counter[0][name])


class Server:
    """A PS state and a clock that is set by hand."""

    def __init__(self, state: Any):
        self.state = state
        self.now_ns = 0
        self.wake_ns = 0
        self.lanes = state.lane.shape[1]

    def receive(self, batch: np.ndarray, source: int) -> None:
        server_receive(self.state, batch, np.full(len(batch), source, np.int32), len(batch), self.now_ns)

    def gradient(self, rank: int, seq: int, value: int = 0, source: int | None = None, **fields: int) -> None:
        given = {"bitmap0": 1 << rank, "bitmap1": 1, "lanes": self.lanes, **fields}
        self.receive(packet(Kind.GRADIENT, seq, value=value, **given), rank if source is None else source)

    def partial(self, bitmap0: int, seq: int, value: int = 0, source: int = 0, **fields: int) -> None:
        given = {"bitmap0": bitmap0, "bitmap1": 1, "lanes": self.lanes, **fields}
        self.receive(packet(Kind.PARTIAL, seq, value=value, **given), source)

    def send(self, room: int = 64) -> list[tuple[Kind, int, int]]:
        """(kind, seq, destination) of each packet; `sent` has the packets."""
        out, destination = words(room, self.lanes), np.zeros(room, np.int32)
        count, self.wake_ns = server_send(self.state, out, destination, self.now_ns)
        self.sent = list(as_packets(out)[:count])
        return [(*k, int(to)) for k, to in zip(kinds(self.sent), destination[:count], strict=True)]

    def wait(self) -> list[tuple[Kind, int, int]]:
        """What is sent when the time comes."""
        self.now_ns = self.wake_ns
        return self.send()

    def counted(self, name: str) -> int:
        return int(self.state.counter[0][name])
