"""FasterTransformer and Orca: each request has blocks for the most tokens that it may come to, from its beginning."""

from __future__ import annotations

from esa.serving.batches import Batch
from esa.serving.kv_memory import Blocks
from esa.serving.requests import Life
from esa.serving.vidur.base import Limits, ReplicaScheduler


class _Reserving(ReplicaScheduler):
    def __init__(self, blocks: Blocks, limits: Limits) -> None:
        super().__init__(blocks, limits)
        self._each = blocks.of(limits.request_tokens)

    def _begins(self) -> Life | None:
        """The queue's head, if blocks are left."""
        if not self.queue or self.blocks.free < self._each:
            return None
        life = self.queue.popleft()
        self.reserve(life, self._each)
        self.inside += 1
        return life


class Orca(_Reserving):
    """Iteration by iteration: those that run, first come first, then new ones with their whole prompts (OSDI 2022)."""

    def next_batch(self, now_ns: int) -> Batch | None:
        self.runnable.sort(key=lambda life: life.number)
        cap = self.limits.batch_cap
        chosen, self.runnable = self.runnable[:cap], self.runnable[cap:]
        while len(chosen) < cap and self.inside < self.limits.cap:
            life = self._begins()
            if life is None:
                break
            chosen.append(life)
        return Batch.whole(chosen) if chosen else None


class FasterTransformer(_Reserving):
    """A batch runs until all of its requests are over; then the next one begins.

    compat: a request that is over before its batch never gives its blocks back, as in Vidur: capacity shrinks.
    """

    def __init__(self, blocks: Blocks, limits: Limits) -> None:
        super().__init__(blocks, limits)
        self._ready: list[list[Life]] = []  # batches that can go on
        self._batches = 0
        self._leaked = 0

    def next_batch(self, now_ns: int) -> Batch | None:
        if not self._ready:
            if self._batches == self.limits.pp:
                return None
            chosen: list[Life] = []
            while len(chosen) < self.limits.batch_cap and (life := self._begins()) is not None:
                chosen.append(life)
            if not chosen:
                return None
            self._batches += 1
            self._ready.append(chosen)
        return Batch.whole(self._ready.pop(0))

    def batch_done(self, batch: Batch, now_ns: int) -> None:
        going_on = [life for life in batch.lives if life.end_ns is None]
        for life in batch.lives:
            if life.end_ns is not None:
                self._over(life, last=not going_on)
        if going_on:
            self._ready.append(going_on)
        else:
            self._batches -= 1

    def _over(self, life: Life, *, last: bool) -> None:
        if last or not self.limits.compat:
            self.leave(life)
        else:
            self._leaked += 1
            self.inside -= 1

    def check(self) -> None:
        self.blocks.check()
        assert len(self.blocks.owners) == self.inside + self._leaked
