"""A model that decodes token by token with its heads' caches in codes: what HACK costs in perplexity.

    found = decode(model, windows, lambda dim: BlockCache(dim, 64), prompt=64)
    found.perplexity, found.error

The prompt goes through in full, as HACK's code does by default; what follows is given, byte by byte, and each one is
predicted from the caches.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch.nn import functional

from esa.errors import BadInput
from esa.kvcache.model import Model, attention, one_thread


class HeadCache(Protocol):
    """K and V of a head, `esa/kvcache/cache.py`'s or `Dense`."""

    def append(self, key: torch.Tensor, value: torch.Tensor) -> None: ...

    def attend(self, query: torch.Tensor) -> torch.Tensor: ...

    def octets(self) -> int: ...


class Dense:
    """A cache in floats of a type, for comparison."""

    def __init__(self, dim: int, dtype: torch.dtype = torch.float16) -> None:
        self.key = torch.zeros(0, dim, dtype=dtype)
        self.value = self.key

    def append(self, key: torch.Tensor, value: torch.Tensor) -> None:
        self.key = torch.cat([self.key, key.to(self.key.dtype)])
        self.value = torch.cat([self.value, value.to(self.value.dtype)])

    def attend(self, query: torch.Tensor) -> torch.Tensor:
        key, value = self.key.float(), self.value.float()
        return torch.softmax(query.float() @ key.T / query.shape[-1] ** 0.5, -1) @ value

    def octets(self) -> int:
        return sum(each.numel() * each.element_size() for each in (self.key, self.value))


class Decoded(NamedTuple):
    """perplexity: by byte, of those after the prompt. error: of logits, against those of the whole window at once in
    32 bits, as a part of their norm. octets: of all caches at the end, by token.
    """

    perplexity: float
    error: float
    octets: float


@one_thread()
@torch.no_grad()
def decode(model: Model, windows: torch.Tensor, new_cache: Callable[[int], HeadCache], *, prompt: int) -> Decoded:
    """windows: (count, tokens + 1) bytes. BadInput unless the prompt leaves some."""
    length = windows.shape[1] - 1
    if not 1 <= prompt < length <= model.shape.window:
        raise BadInput(f"prompt: {prompt} of {length} bytes; allowed: 1 and more, fewer than all, at most the window")
    losses, errors, wholes, octets = 0.0, 0.0, 0.0, 0
    for window in windows:
        exact = model.forward(window[None, :-1])[0, prompt:]
        found, caches = _decode_one(model, window[:-1], new_cache, prompt)
        losses += float(functional.cross_entropy(found, window[prompt + 1 :], reduction="sum"))
        errors += float(((found - exact) ** 2).sum())
        wholes += float((exact**2).sum())
        octets += sum(each.octets() for each in caches)
    count = len(windows)
    return Decoded(
        math.exp(losses / (count * (length - prompt))), math.sqrt(errors / wholes), octets / (count * length)
    )


def _decode_one(
    model: Model, tokens: torch.Tensor, new_cache: Callable[[int], HeadCache], prompt: int
) -> tuple[torch.Tensor, list[HeadCache]]:
    """Logits after the prompt, (tokens - prompt, BYTES)."""
    shape = model.shape
    caches = [[new_cache(shape.dim) for _ in range(shape.heads)] for _ in model.layers]
    hidden = model.embed(tokens[:prompt])
    for layer, mine in zip(model.layers, caches, strict=True):
        query, key, value = model.heads_of(layer, hidden)
        for number, cache in enumerate(mine):
            cache.append(key[number], value[number])
        hidden = model.after(layer, hidden, attention(shape, layer.cut, query, key, value))
    found = []
    for place in range(prompt, len(tokens)):
        hidden = model.embed(tokens[place : place + 1], place)
        for layer, mine in zip(model.layers, caches, strict=True):
            query, key, value = model.heads_of(layer, hidden, place)
            for number, cache in enumerate(mine):
                cache.append(key[number], value[number])
            mixed = torch.stack([cache.attend(query[number]) for number, cache in enumerate(mine)])
            hidden = model.after(layer, hidden, mixed)
        found.append(model.logits(hidden))
    return torch.cat(found), [cache for mine in caches for cache in mine]
