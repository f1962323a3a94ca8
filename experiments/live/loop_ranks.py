"""Ranks that do nothing but sum arrays (`loop.py`): what each is to do, and what all of them say."""

from __future__ import annotations

import json
import selectors
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from esa.job import Pool
from esa.net.impairment import Impairment
from topologies.forked import Forked

DEFAULT_POOL = Pool(base=0, size=1024)


@dataclass(frozen=True)
class LoopJob:
    """One job of `workers` ranks that sums arrays of up to `values` elements again and again."""

    name: str
    policy: str
    workers: int = 2
    values: int = 20_000
    window: int = 64
    pool: Pool = DEFAULT_POOL
    priority: int = 100
    pause_s: float = 0.0
    give_up_s: float = 20.0
    ttl_us: int = 500_000
    impairment: Impairment | None = None
    seed: int = 0


@dataclass
class Rank:
    """One worker process and what it said."""

    job: LoopJob
    rank: int
    process: Forked
    events: list[dict[str, Any]] = field(default_factory=list)
    buffer: bytes = b""
    killed: bool = False

    @property
    def last(self) -> str:
        return str(self.events[-1]["event"]) if self.events else ""

    @property
    def over(self) -> bool:
        return self.killed or self.last in ("end", "error", "wrong")

    def of(self, event: str) -> list[dict[str, Any]]:
        return [said for said in self.events if said["event"] == event]


class Ranks:
    """The processes, in the order in which they were started; they are heard while somebody waits."""

    def __init__(self) -> None:
        self._ranks: list[Rank] = []
        self._selector = selectors.DefaultSelector()

    def __iter__(self) -> Iterator[Rank]:
        return iter(self._ranks)

    def __len__(self) -> int:
        return len(self._ranks)

    def add(self, one: Rank) -> None:
        self._ranks.append(one)
        assert one.process.stdout is not None
        self._selector.register(one.process.stdout, selectors.EVENT_READ, one)

    def forget(self, name: str | None = None) -> None:
        """Those of a job, or all, are no longer asked for."""
        self._ranks = [rank for rank in self._ranks if name is not None and rank.job.name != name]

    def close(self) -> None:
        self._selector.close()

    def of(self, name: str) -> list[Rank]:
        return [rank for rank in self._ranks if rank.job.name == name]

    def sums(self, name: str) -> int:
        """All-reduces that every rank which lives has completed."""
        return min((len(rank.of("sum")) for rank in self.of(name) if not rank.killed), default=0)

    def poll(self, timeout_s: float = 0.05) -> None:
        """Take in what the workers say."""
        for key, _ in self._selector.select(timeout_s):
            one: Rank = key.data
            assert one.process.stdout is not None
            chunk = one.process.stdout.read(1 << 16)
            if chunk == b"":
                self._selector.unregister(key.fileobj)
                if not one.over:
                    one.events.append({"event": "error", "t": time.monotonic(), "message": "ended without a word"})
                continue
            *lines, one.buffer = (one.buffer + (chunk or b"")).split(b"\n")
            one.events += [json.loads(line) for line in lines]

    def until(self, done: Callable[[], bool], limit_s: float) -> bool:
        """Listen until `done`; False if the time is up before."""
        deadline = time.monotonic() + limit_s
        while not done():
            if time.monotonic() > deadline:
                return False
            self.poll()
        return True

    def tell(self, word: str, names: Sequence[str] = ()) -> None:
        for rank in self._ranks:
            if not rank.killed and (not names or rank.job.name in names):
                assert rank.process.stdin is not None
                try:
                    rank.process.stdin.write(word.encode() + b"\n")
                    rank.process.stdin.flush()
                except BrokenPipeError:
                    continue  # it has ended, and said why
