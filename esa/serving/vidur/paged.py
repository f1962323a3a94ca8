"""vLLM, Sarathi-Serve and LightLLM: blocks are taken as tokens come."""

from __future__ import annotations

from esa.errors import BadInput
from esa.serving.batches import Batch
from esa.serving.kv_memory import Blocks
from esa.serving.requests import Life
from esa.serving.vidur.base import Limits, ReplicaScheduler, by_number


class Vllm(ReplicaScheduler):
    """Prompts first: a batch is of prompts alone if one can be admitted, else of decodes alone.

    compat: prompts count as if padded to the longest, which is stricter than vLLM.
    """

    def add(self, life: Life, now_ns: int) -> None:
        if life.prompt + life.output > self.limits.most_tokens:  # all of it, for after a restart that is its prompt
            raise BadInput(
                f"request {life.number}: {life.prompt + life.output} tokens; allowed: up to {self.limits.most_tokens}, "
                "which a batch has"
            )
        super().add(life, now_ns)

    def next_batch(self, now_ns: int) -> Batch | None:
        prompts = self._prompts()
        if prompts:
            return Batch.whole(prompts)
        self.runnable.sort(key=by_number)
        chosen = self.decodes(self.limits.batch_cap)
        if chosen:
            return Batch(chosen, [1] * len(chosen))
        prompts = self._prompts()  # the last one may have had to begin again
        return Batch.whole(prompts) if prompts else None

    def _prompts(self) -> list[Life]:
        limits = self.limits
        chosen: list[Life] = []
        together = longest = 0
        while self.queue and len(chosen) < limits.batch_cap and self.inside < limits.cap:
            life = self.queue[0]
            longest = max(longest, life.prefill)
            together += life.prefill
            tokens = longest * (len(chosen) + 1) if limits.compat else together
            if tokens > limits.most_tokens or not self.admits(life):
                break
            chosen.append(self.admit())
        return chosen


class Sarathi(ReplicaScheduler):
    """Decodes, and beside them prompts in chunks that fill the batch up to a fixed number of tokens (OSDI 2024)."""

    def next_batch(self, now_ns: int) -> Batch | None:
        limits = self.limits
        if not limits.compat:
            self.runnable.sort(key=by_number)
        lives = self.decodes(limits.batch_cap)
        tokens = [1] * len(lives)
        budget = limits.chunk - len(lives)
        later = []
        for life in self.runnable:
            if budget > 0 and life.done < life.prefill and len(lives) < limits.batch_cap:
                count = min(life.prefill - life.done, budget)
                lives.append(life)
                tokens.append(count)
                budget -= count
            else:
                later.append(life)
        self.runnable = later
        while (
            budget > 0
            and self.queue
            and len(lives) < limits.batch_cap
            and self.inside < limits.cap
            and self.admits(self.queue[0])
        ):
            life = self.admit()
            count = min(life.prefill, budget)
            lives.append(life)
            tokens.append(count)
            budget -= count
        return Batch(lives, tokens) if lives else None


class LightLlm(ReplicaScheduler):
    """Admits whom there will be room for until the end, knowing how long answers become; blocks of one token.

    After `patience` iterations of decodes a batch of prompts may come between.
    """

    def __init__(self, blocks: Blocks, limits: Limits) -> None:
        if blocks.tokens != 1 or limits.pp != 1:
            raise BadInput(f"lightllm: blocks of {blocks.tokens} tokens, pp {limits.pp}; allowed: 1 and 1")
        super().__init__(blocks, limits)
        self._waited = 0

    def next_batch(self, now_ns: int) -> Batch | None:
        if self.queue and (not self.runnable or self._waited >= self.limits.patience):
            prompts = self._prompts()
            if prompts:
                self._waited = 0
                return Batch.whole(prompts)
        chosen = self.runnable
        if not chosen:
            return None
        self.runnable = []
        for life in chosen:
            if life.done > life.reserved:
                self.reserve(life, 1)  # there is one: that is what admission has reckoned
        self._waited += 1
        return Batch(chosen, [1] * len(chosen))

    def _prompts(self) -> list[Life]:
        limits, chosen = self.limits, list[Life]()
        running, tokens = list(self.runnable), 0
        while self.queue and self.inside < limits.cap:
            life = self.queue[0]
            tokens += life.prefill
            if tokens > limits.most_tokens or not self._fits([*running, life]):
                break
            chosen.append(self.admit())
            running.append(life)
        return chosen

    def _fits(self, lives: list[Life]) -> bool:
        """Whether at no time more tokens are there than blocks, if each ends when it will."""
        together = 0
        for place, life in enumerate(sorted(lives, key=lambda life: -life.left), start=1):
            together += max(life.done, life.prefill)
            if together + place * life.left >= self.blocks.total:
                return False
        return True
