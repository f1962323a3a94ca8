"""What replica schedulers have in common: a queue, requests that run, blocks, and what to do when blocks run out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass
from operator import attrgetter

from esa.errors import BadInput
from esa.serving.batches import Batch
from esa.serving.kv_memory import Blocks
from esa.serving.requests import Life

by_number = attrgetter("number")  # requests are numbered as they arrive


@dataclass(frozen=True)
class Limits:
    """cap: requests of a batch, over all stages' batches; most_tokens: of a batch of prompts. request_tokens: of a
    request, prompt and output. watermark: part of the blocks that a new request leaves free.

    compat: as Vidur has it, with what looks like mistakes.
    """

    cap: int = 128
    request_tokens: int = 4096
    most_tokens: int = 4096
    watermark: float = 0.01
    chunk: int = 512
    patience: int = 10
    pp: int = 1
    compat: bool = False

    def __post_init__(self) -> None:
        for name in ("request_tokens", "most_tokens", "chunk", "pp", "patience"):
            if getattr(self, name) < 1:
                raise BadInput(f"{name}: {getattr(self, name)}; allowed: from 1")
        if self.cap < self.pp:
            raise BadInput(f"cap: {self.cap}; allowed: at least the {self.pp} stages")
        if not 0 <= self.watermark < 1:
            raise BadInput(f"watermark: {self.watermark:g}; allowed: from 0, below 1")

    @property
    def batch_cap(self) -> int:
        return self.cap // self.pp


class ReplicaScheduler(ABC):
    """`runnable`: requests that have blocks and are in no batch, `inside` counts those and the ones in batches."""

    def __init__(self, blocks: Blocks, limits: Limits) -> None:
        self.blocks = blocks
        self.limits = limits
        self.queue = deque[Life]()
        self.runnable: list[Life] = []
        self.inside = 0
        self._watermark = int(limits.watermark * blocks.total)

    @property
    def queued(self) -> int:
        return len(self.queue)

    @property
    def unfinished(self) -> int:
        return len(self.queue) + self.inside

    def add(self, life: Life, now_ns: int) -> None:
        """BadInput for a request that there is never room for."""
        self.check_room(life)
        self.queue.append(life)

    def check_room(self, life: Life) -> None:
        tokens, limits = life.prompt + life.output, self.limits
        if tokens > limits.request_tokens:
            raise BadInput(f"request {life.number}: {tokens} tokens; allowed: up to {limits.request_tokens}")
        if self.blocks.of(tokens) + self._watermark > self.blocks.total:
            raise BadInput(
                f"request {life.number}: {tokens} tokens in {self.blocks.total} blocks of {self.blocks.tokens}, "
                f"{self._watermark} of them left free; allowed: what fits"
            )

    @abstractmethod
    def next_batch(self, now_ns: int) -> Batch | None: ...

    def batch_done(self, batch: Batch, now_ns: int) -> None:
        """Those that are over give their blocks back, the others can run again."""
        for life in batch.lives:
            if life.end_ns is None:
                self.runnable.append(life)
            else:
                self.leave(life)

    def leave(self, life: Life) -> None:
        self.blocks.give(life.number)
        life.reserved = 0
        self.inside -= 1

    def wake_ns(self) -> int | None:
        return None

    def check(self) -> None:
        self.blocks.check()
        assert len(self.blocks.owners) == self.inside

    # Paged memory, as vLLM and Sarathi have it.

    def reserve(self, life: Life, count: int) -> None:
        self.blocks.take(life.number, count)
        life.reserved += count * self.blocks.tokens

    def admits(self, life: Life) -> bool:
        """Whether its prompt's blocks leave the watermark."""
        return self.blocks.free - self.blocks.of(life.prefill) >= self._watermark

    def admit(self) -> Life:
        """The queue's head gets the blocks of its prompt."""
        life = self.queue.popleft()
        self.reserve(life, self.blocks.of(life.prefill))
        self.inside += 1
        return life

    def evict(self, life: Life) -> None:
        """Its keys and values are dropped, and it goes to the head of the queue."""
        self.leave(life)
        life.restart()
        self.queue.appendleft(life)

    def decodes(self, most: int) -> list[Life]:
        """Up to so many of `runnable` that decode, taken from it, each with room for one token more.

        Where a block is missing, the last of `runnable` goes; the request itself if it is the last.
        """
        runnable, chosen, kept = self.runnable, list[Life](), list[Life]()
        at = 0
        while at < len(runnable) and len(chosen) < most:
            life = runnable[at]
            if life.done < life.prefill:
                kept.append(life)
                at += 1
                continue
            if life.done > life.reserved:
                if not self.blocks.free:
                    self.evict(runnable.pop())
                    continue
                self.reserve(life, 1)
            chosen.append(life)
            at += 1
        self.runnable = kept + runnable[at:]
        return chosen
