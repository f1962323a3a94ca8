"""An instance that preempts after every token: each iteration has the most urgent requests, as far as memory goes.

Keys and values of others stay on the GPU while there is room. Where there is not, they are dropped and made again
(`recompute`), or go to the host: when an iteration wants the room, which waits for that and for what it needs from the
host (`reactive`); or beforehand, and beside the computing (`proactive`): who will wait longest leaves while fewer than
`idle` blocks are free, who will run soonest comes while more are, and meanwhile others run that are there.
"""

from __future__ import annotations

from dataclasses import dataclass

from esa.errors import BadInput
from esa.serving.batches import Batch
from esa.serving.fastserve.orders import Order
from esa.serving.fastserve.store import Store
from esa.serving.requests import Life

SWAPS = ("proactive", "reactive", "recompute")


@dataclass(frozen=True)
class Rules:
    """batch: requests of an iteration; idle: blocks that are kept free; prompt_tokens: of an iteration, all prompts."""

    batch: int = 16
    idle: int = 16
    swap: str = "proactive"
    prompt_tokens: int = 1 << 40

    def __post_init__(self) -> None:
        if self.swap not in SWAPS:
            raise BadInput(f"swap: unknown way '{self.swap}'; allowed: {', '.join(SWAPS)}")
        if self.batch < 1 or self.idle < 0 or self.prompt_tokens < 1:
            raise BadInput(f"batch {self.batch}, idle {self.idle}, prompt_tokens {self.prompt_tokens}; allowed: from 1")


class Engine:
    """A scheduler of `esa/serving/core.py`. pace: which part of the time that passes its clock shows."""

    def __init__(self, order: Order, store: Store, rules: Rules, pace: float = 1.0) -> None:
        self.order = order
        self.store = store
        self.rules = rules
        self.pace = pace
        self.unfinished = 0
        self.queued = 0
        self._lives: dict[int, Life] = {}
        self._pending: list[Life] | None = None  # of the next iteration, which waits for copies
        self.dropped = 0
        self.waited_ns = 0
        self._waits_since_ns: int | None = None

    def add(self, life: Life, now_ns: int) -> None:
        """BadInput for a request that there is never room for."""
        gpu = self.store.gpu
        if gpu.of(life.prompt + life.output) > gpu.total:
            raise BadInput(
                f"request {life.number}: {life.prompt + life.output} tokens in {gpu.total} blocks of {gpu.tokens}; "
                "allowed: what fits"
            )
        if life.prompt + life.output > self.rules.prompt_tokens:
            raise BadInput(
                f"request {life.number}: {life.prompt + life.output} tokens; allowed: up to {self.rules.prompt_tokens}"
            )
        self.order.add(life, now_ns)
        self._lives[life.number] = life
        self.unfinished += 1
        self.queued += 1

    def batch_done(self, batch: Batch, now_ns: int) -> None:
        for life in batch.lives:
            if life.end_ns is not None:
                self.store.gpu.give(life.number)
                self.order.remove(life)
                del self._lives[life.number]
                self.unfinished -= 1
        self.order.ran(batch.lives, now_ns - batch.start_ns, now_ns)

    def next_batch(self, now_ns: int) -> Batch | None:
        self.store.settle(now_ns)
        if not self._lives:
            return None
        self.order.look(now_ns)
        lives = self._proactive(now_ns) if self.rules.swap == "proactive" else self._blocking(now_ns)
        if not lives:
            if self._waits_since_ns is None:
                self._waits_since_ns = now_ns
            return None
        if self._waits_since_ns is not None:
            self.waited_ns += now_ns - self._waits_since_ns
            self._waits_since_ns = None
        self.queued -= sum(life.first_ns is None for life in lives)
        return Batch.whole(lives)

    def wake_ns(self) -> int | None:
        return self.store.next_ns()

    def check(self) -> None:
        self.store.check()
        assert self.unfinished == len(self._lives)
        assert {*self.store.gpu.owners, *self.store.host.owners} <= self._lives.keys()

    def _needs(self, life: Life) -> int:
        """Blocks that its next iteration has to have, together."""
        return self.store.gpu.of(max(life.done, life.prefill))

    def _wanted(self) -> list[Life]:
        """The most urgent that can be in one iteration, were the GPU theirs alone."""
        chosen: list[Life] = []
        room, tokens = self.store.gpu.total, self.rules.prompt_tokens
        for life in self.order:
            blocks = self._needs(life)
            prompt = 0 if life.prefilled else life.prefill
            if blocks > room or prompt > tokens:
                break
            chosen.append(life)
            room -= blocks
            tokens -= prompt
            if len(chosen) == self.rules.batch:
                break
        return chosen

    def _seat(self, life: Life) -> bool:
        """It gets the blocks that it lacks for the next iteration, if they are free."""
        gpu = self.store.gpu
        lacks = self._needs(life) - gpu.held(life.number)
        if lacks > gpu.free:
            return False
        if lacks > 0:
            gpu.take(life.number, lacks)
        return True

    def _drop(self, life: Life) -> None:
        """Its keys and values are gone, wherever they are."""
        self.store.drop(life.number)
        life.restart()
        self.dropped += 1

    def _others(self, keep: list[Life], now_ns: int) -> list[Life]:
        """On the GPU and not among these: who will wait longest first."""
        kept = {life.number for life in keep}
        found = [life for number, life in self._lives.items() if number not in kept and self.store.resident(number)]
        waits = self.order.enst(self.rules.batch, now_ns)
        return sorted(found, key=lambda life: waits[life.number], reverse=True)

    # Reactive and by recomputing: the iteration waits.

    def _blocking(self, now_ns: int) -> list[Life]:
        store = self.store
        if self._pending is None:
            self._pending = self._wanted()
        wanted = self._pending
        lacks = sum(self._needs(life) - store.gpu.held(life.number) for life in wanted)
        if lacks > store.gpu.free + store.leaving_blocks:
            self._make_room(lacks - store.gpu.free - store.leaving_blocks, wanted, now_ns)
        for life in wanted:
            if store.can_come(life.number):
                store.upload(life.number, now_ns)
        if not store.idle:
            return []
        for life in wanted:
            if not self._seat(life):
                raise AssertionError(f"request {life.number} has no room in an iteration that was made room for")
        self._pending = None
        return wanted

    def _make_room(self, blocks: int, keep: list[Life], now_ns: int) -> None:
        for life in self._others(keep, now_ns):
            if blocks <= 0:
                return
            blocks -= self.store.gpu.held(life.number)
            if self.rules.swap != "recompute" and self.store.can_leave(life.number):
                self.store.offload(life.number, now_ns)
            else:
                self._drop(life)

    # Proactive: copies go on beside.

    def _proactive(self, now_ns: int) -> list[Life]:
        store, rules = self.store, self.rules
        wanted = self._wanted()
        ready: list[Life] = []
        tokens = rules.prompt_tokens
        wants = {life.number for life in wanted}
        missing = 0  # blocks that those lack who are wanted and not ready
        for life in self.order:
            if len(ready) == rules.batch:
                break
            number = life.number
            if not life.prefilled and not store.away(number) and not self._moves(number):
                if life.prefill <= tokens and (number in wants or self._may_begin(life)) and self._seat(life):
                    ready.append(life)
                    tokens -= life.prefill
                elif number in wants:
                    missing += self._needs(life)
            elif store.resident(number):
                if (number in wants or self.order.overtakes) and self._seat(life):
                    ready.append(life)
            elif number in wants and store.away(number):
                missing += self._needs(life)
        self._move(ready, wanted, missing, now_ns)
        if not ready and store.idle:
            ready = self._forced(wanted, now_ns)
        return ready

    def _may_begin(self, life: Life) -> bool:
        """Though more urgent ones wait for copies: it leaves the blocks that are kept free."""
        return self.order.overtakes and self.store.gpu.free - self._needs(life) >= self.rules.idle

    def _moves(self, number: int) -> bool:
        return (self.store.gpu.held(number) > 0 and not self.store.resident(number)) or (
            self.store.host.held(number) > 0 and not self.store.away(number)
        )

    def _move(self, ready: list[Life], wanted: list[Life], missing: int, now_ns: int) -> None:
        """Begin copies, out and in. What is wanted comes first; else room is kept for `idle` blocks."""
        store, idle = self.store, self.rules.idle
        for life in wanted:
            if store.can_come(life.number):
                missing -= store.host.held(life.number)
                store.upload(life.number, now_ns)
        short = max(missing, 0) + idle - store.gpu.free - store.leaving_blocks
        kept = {life.number: life for life in (*ready, *wanted)}
        if short > 0:
            for life in self._others([*kept.values()], now_ns):
                if short <= 0 or not store.can_leave(life.number):
                    break
                short -= store.gpu.held(life.number)
                store.offload(life.number, now_ns)
        elif store.host.owners:
            waits = self.order.enst(self.rules.batch, now_ns)
            for number in sorted(filter(store.away, store.host.owners), key=waits.__getitem__):
                if store.gpu.free - store.host.held(number) < idle + max(missing, 0):
                    break
                store.upload(number, now_ns)

    def _forced(self, wanted: list[Life], now_ns: int) -> list[Life]:
        """Nothing can run and nothing moves: the host is full, or there is none. Others are dropped for the first."""
        first = wanted[0]
        for life in self._others([first], now_ns):
            if self._needs(first) - self.store.gpu.held(first.number) <= self.store.gpu.free:
                break
            self._drop(life)
        if self.store.away(first.number):
            self.store.upload(first.number, now_ns)
            return []
        return [first] if self._seat(first) else []
