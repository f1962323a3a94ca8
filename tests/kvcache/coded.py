"""Caches to compare attention over: `python -m tests.kvcache.coded` holds Triton's kernels to them, as it runs them."""

from __future__ import annotations

import sys

import torch

from esa.kvcache.cache import BlockCache, PaperCache
from esa.kvcache.fused import Fused

LAYOUTS = (BlockCache, PaperCache)
SIZES = ((1, 16, 16), (20, 16, 16), (37, 24, 16), (100, 20, 24), (150, 64, 32), (70, 8, 32))  # tokens, dim, part


def filled(
    layout: type[BlockCache] | type[PaperCache], tokens: int, dim: int, part: int, seed: int
) -> BlockCache | PaperCache:
    """A cache of values whose mean is not 0, so that what attention gives does not cancel."""
    random = torch.Generator().manual_seed(seed)
    key, value = (torch.randn(tokens, dim, generator=random) for _ in range(2))
    cache = layout(dim, part)
    cache.append(key, value + torch.randn(dim, generator=random))
    return cache


def apart(cache: BlockCache | PaperCache, kernels: str | None, device: str = "cpu", queries: int = 3) -> float:
    """How far fused attention is from `attend`, as a part of that one's norm."""
    query = torch.randn(queries, cache.dim, generator=torch.Generator().manual_seed(cache.tokens))
    plain = cache.attend(query)
    found = Fused(cache, kernels).attend(query.to(device)).cpu()
    assert found.shape == plain.shape
    return float((found - plain).norm() / plain.norm())


def worst(kernels: str | None, device: str = "cpu") -> float:
    """Over all layouts and sizes, and once with more queries than a program of Triton's takes."""
    found = [
        apart(filled(layout, *size, seed), kernels, device) for layout in LAYOUTS for seed, size in enumerate(SIZES)
    ]
    return max(*found, *(apart(filled(layout, 40, 16, 16, 9), kernels, device, queries=19) for layout in LAYOUTS))


def main() -> None:
    found = worst("triton")
    print(f"{found:.1e}")
    sys.exit(not found < 1e-4)


if __name__ == "__main__":
    main()
