"""Attention over a coded cache in one pass over its bytes: nothing is unpacked or dequantised into memory.

    cache = Fused(BlockCache(dim=128))
    cache.append(key, value)
    cache.attend(query)                     # (M, dim), what `BlockCache.attend` gives but for rounding of floats

Each block of tokens gives its largest score, the sum of exponentials above it, and values weighted by these; blocks are
put together with the tokens in 16 bits at the end. A block's probabilities are coded before they are divided by the sum
of all, which changes their scale and minimum and no code. The block itself is computed by compiled code
(`fused_native.py`), or on a GPU by a Triton kernel (`fused_triton.py`).
"""

from __future__ import annotations

from types import ModuleType
from typing import NamedTuple

import torch

from esa.kvcache import fused_native
from esa.kvcache.cache import BlockCache, PaperCache, Stored

KERNELS = ("native", "triton")


class Coded(NamedTuple):
    """Matrices of codes, a block each, as `Stored` has them one by one."""

    packed: torch.Tensor
    scale: torch.Tensor
    least: torch.Tensor
    sums: torch.Tensor

    def to(self, device: torch.device, dtype: torch.dtype) -> Coded:
        """Sums as int32, scales and minima as `dtype`, all of it contiguous."""
        moved = (
            each.to(device, kind) for each, kind in zip(self, (torch.uint8, dtype, dtype, torch.int32), strict=True)
        )
        return Coded(*(each.contiguous() for each in moved))


class Blocks(NamedTuple):
    """All full blocks of a cache. paper: the layout, `PaperCache`'s or `BlockCache`'s.

    key: packed (B, dim, part / 4), scale, least (B, dim, 1); of the paper (B, part, dim / 4), (B, part, P);
    value: packed (B, part, dim / 4), scale, least (B, part, P); of the paper (B, dim, part / 4), (B, dim, 1);
    sums of both layouts: (B, part, P) of key, (B, dim, 1) of value; P: parts of channels
    """

    key: Coded
    value: Coded
    dim: int
    part: int
    across: int
    paper: bool


class Parts(NamedTuple):
    """Of each block and query, in float32: the largest score (B, M), exp of scores above it: their sum (B, M), and
    values weighted by them (B, M, dim).
    """

    top: torch.Tensor
    total: torch.Tensor
    mixed: torch.Tensor


class Fused:
    """A cache whose `attend` is fused. kernels: of `KERNELS`; None: Triton's for queries on a GPU, else native."""

    def __init__(self, cache: BlockCache | PaperCache, kernels: str | None = None) -> None:
        if kernels not in (None, *KERNELS):
            raise ValueError(f"kernels: unknown kernels '{kernels}'; allowed: {', '.join(KERNELS)}")
        self.cache, self.kernels = cache, kernels
        self._blocks: Blocks | None = None
        self._closed = 0

    def append(self, key: torch.Tensor, value: torch.Tensor) -> None:
        self.cache.append(key, value)

    def octets(self) -> int:
        return self.cache.octets()

    @torch.no_grad()
    def attend(self, query: torch.Tensor) -> torch.Tensor:
        """As the cache's own, on the query's device. ValueError for another shape, and without Triton where it is
        wanted.
        """
        if query.ndim != 2 or query.shape[1] != self.cache.dim:
            raise ValueError(f"query {tuple(query.shape)}; allowed: (queries, {self.cache.dim})")
        if self.cache.tokens == 0:
            raise ValueError("cache: no tokens; allowed: one and more")
        scaled = (query.float() / self.cache.dim**0.5).contiguous()
        found = [_tail(self.cache, scaled)]
        if self.cache.values:
            found.append(self._by_blocks(scaled))
        return _together(found)

    def _by_blocks(self, query: torch.Tensor) -> Parts:
        kernels = self.kernels or ("triton" if query.is_cuda else "native")
        if kernels == "native" and query.device.type != "cpu":
            raise ValueError(f"kernels: native for a query on {query.device}; allowed: triton there")
        coded = self._there(query.device, torch.float32 if kernels == "native" else torch.float16)
        empty = (
            torch.empty(len(coded.key.packed), len(query), *width, device=query.device)
            for width in ((), (), (coded.dim,))
        )
        parts = Parts(*empty)
        if kernels == "native":
            _natively(coded, query, parts)
        else:
            _triton().fill(coded, query, parts)
        return parts

    def _there(self, device: torch.device, dtype: torch.dtype) -> Blocks:
        """The full blocks, stacked anew when one has closed."""
        if self._blocks is None or self._closed != len(self.cache.values) or self._blocks.key.packed.device != device:
            self._blocks = _stacked(self.cache, device, dtype)
            self._closed = len(self.cache.values)
        return self._blocks


def _triton() -> ModuleType:
    try:
        from esa.kvcache import fused_triton
    except ImportError as error:
        raise ValueError(
            f"kernels: triton cannot be imported ({error}); allowed: native, or the extra 'triton'"
        ) from None
    return fused_triton


def _stacked(cache: BlockCache | PaperCache, device: torch.device, dtype: torch.dtype) -> Blocks:
    paper = isinstance(cache, PaperCache)
    keys = _coded(cache.keys[: len(cache.values) * cache.part] if paper else cache.keys)
    if paper:  # a token each
        keys = Coded(*(each.reshape(-1, cache.part, each.shape[-1]) for each in keys))
    values = _coded(cache.values)
    return Blocks(keys.to(device, dtype), values.to(device, dtype), cache.dim, cache.part, cache.across, paper)


def _coded(stored: list[Stored]) -> Coded:
    return Coded(*(torch.stack([getattr(one, name) for one in stored]) for name in Coded._fields))


def _natively(coded: Blocks, query: torch.Tensor, parts: Parts) -> None:
    fill = fused_native.fill_paper if coded.paper else fused_native.fill_code
    key, value = (fused_native.Coded(*(each.numpy() for each in one)) for one in (coded.key, coded.value))
    scratch = fused_native.scratch(coded.part, coded.dim)
    fill(query.numpy(), key, value, coded.across, scratch, *(each.numpy() for each in parts))


def _tail(cache: BlockCache | PaperCache, query: torch.Tensor) -> Parts:
    """Of tokens whose values are in 16 bits, as one block; without any its largest score is -inf."""
    scores, value = cache.tail(query)
    if not len(value):
        count = len(query)
        return Parts(
            query.new_full((1, count), -torch.inf), query.new_zeros(1, count), query.new_zeros(1, *query.shape)
        )
    top = scores.amax(-1)
    weights = torch.exp(scores - top[:, None])
    return Parts(top[None], weights.sum(-1)[None], (weights @ value)[None])


def _together(found: list[Parts]) -> torch.Tensor:
    top, total, mixed = (torch.cat(each) for each in zip(*found, strict=True))
    weights = torch.exp(top - top.amax(0))
    return (weights[..., None] * mixed).sum(0) / (weights * total).sum(0)[:, None]
