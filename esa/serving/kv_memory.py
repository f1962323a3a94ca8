"""Keys and values in blocks of a fixed number of tokens, as paged attention keeps them; how many blocks there are."""

from __future__ import annotations

from esa.errors import BadInput
from esa.serving.models import HALF, Gpu, Llm

BLOCK_TOKENS = 16
_GIB = 1024**3


class Blocks:
    """A fixed number of blocks, and who holds how many.

    Raises ValueError where more are taken than are free, or given back than held: a scheduler's mistake.
    """

    def __init__(self, total: int, tokens: int = BLOCK_TOKENS) -> None:
        if total < 1 or tokens < 1:
            raise BadInput(f"blocks: {total} of {tokens} tokens; allowed: at least one of one")
        self.total = total
        self.tokens = tokens
        self.free = total
        self.peak = 0
        self._held: dict[int, int] = {}

    def of(self, tokens: int) -> int:
        """Blocks that so many tokens need."""
        return -(-tokens // self.tokens)

    def held(self, owner: int) -> int:
        return self._held.get(owner, 0)

    @property
    def owners(self) -> tuple[int, ...]:
        return tuple(self._held)

    def take(self, owner: int, count: int) -> None:
        if not 0 < count <= self.free:
            raise ValueError(f"blocks: {owner} takes {count} of {self.free} free ones")
        self._held[owner] = self._held.get(owner, 0) + count
        self.free -= count
        self.peak = max(self.peak, self.total - self.free)

    def give(self, owner: int) -> int:
        """All that it holds; returns how many."""
        if owner not in self._held:
            raise ValueError(f"blocks: {owner} holds none")
        count = self._held.pop(owner)
        self.free += count
        return count

    def check(self) -> None:
        """Raise AssertionError unless every block is free or held, once."""
        assert 0 <= self.free <= self.total
        assert self.free + sum(self._held.values()) == self.total
        assert all(count > 0 for count in self._held.values())


def requests_that_fit(model: Llm, gpu: Gpu, tp: int, pp: int, max_tokens: int, *, margin: float = 0.1) -> int:
    """How many requests of the most tokens a replica's memory has room for, as Vidur plans it.

    margin: part of the memory that is for other things. Weights are without embedding; keys and values are reckoned
    for all layers on each GPU, and `replica_blocks` takes the stages into account. BadInput where not even one fits.
    """
    model.check_split(tp, pp)
    available = gpu.memory_gib * _GIB * (1 - margin) - model.weight_bytes(tp, pp, embedding=False)
    each = 2 * HALF * model.head_size * model.kv_heads_at(tp) * max_tokens * model.layers
    slots = int(available // each) if available > 0 else 0
    if slots < 1:
        raise BadInput(
            f"{model.name} on {gpu.name}, tp {tp}, pp {pp}: no room for the keys and values of {max_tokens} tokens; "
            f"allowed: more GPUs, fewer tokens, a smaller model"
        )
    return slots


def replica_blocks(model: Llm, gpu: Gpu, tp: int, pp: int, max_tokens: int, *, tokens: int = BLOCK_TOKENS) -> int:
    """Blocks of a replica (Vidur's planner: whole requests, then blocks of each)."""
    return max_tokens // tokens * requests_that_fit(model, gpu, tp, pp, max_tokens) * pp


def paged_blocks(model: Llm, gpu: Gpu, tp: int = 1, *, part: float = 0.9, tokens: int = BLOCK_TOKENS) -> int:
    """Blocks of what weights leave of a part of the memory, as FastServe and vLLM count them. BadInput if none."""
    model.check_split(tp, 1)
    left = gpu.memory_gib * _GIB * part - model.weight_bytes(tp)
    each = 2 * HALF * model.layers * model.kv_heads_at(tp) * model.head_size * tokens
    if left < each:
        raise BadInput(f"{model.name} on {gpu.name}, tp {tp}: its weights leave no room; allowed: more GPUs")
    return int(left // each)
