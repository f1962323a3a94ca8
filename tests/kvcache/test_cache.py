"""HACK's cache in both layouts: its bytes, its sums, when it quantises, and what attention makes of it."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from esa.kvcache.cache import BlockCache, PaperCache
from esa.kvcache.quantise import by_part
from esa.kvcache.sizes import SINKS, KvShape, hack_bytes, paper_bytes
from tests.effort import tries

LAYOUTS = {BlockCache: hack_bytes, PaperCache: paper_bytes}
layouts = st.sampled_from(list(LAYOUTS))


def filled(
    layout: type[BlockCache] | type[PaperCache],
    tokens: int,
    dim: int,
    part: int,
    seed: int,
    *,
    requantise: bool = False,
) -> tuple[BlockCache | PaperCache, torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    key, value = (torch.randn(tokens, dim, generator=random) for _ in range(2))
    cache = layout(dim, part, requantise=requantise)
    cache.append(key, value)
    return cache, key, value


@settings(max_examples=tries(25), deadline=None)
@given(layouts, st.integers(1, 90), st.sampled_from([8, 16, 24]), st.sampled_from([8, 16, 32]), st.integers(0, 999))
def test_products_of_codes_are_those_of_the_dequantised_cache(
    layout: type[BlockCache], tokens: int, dim: int, part: int, seed: int
) -> None:
    cache, _, _ = filled(layout, tokens, dim, part, seed)
    random = torch.Generator().manual_seed(seed + 1)
    key, value = cache.dense()
    assert key.shape == value.shape == (tokens, dim)
    # Eight bits of queries and of probabilities are all that is lost against the dequantised cache.
    query = torch.randn(3, dim, generator=random)
    step = (query.amax() - query.amin()) / 255
    scores = cache.scores(query)
    spread = key.abs().amax() * dim
    assert (scores - query @ key.T).abs().amax() <= spread * (step if layout is PaperCache else 3 * step)
    weights = torch.softmax(scores, -1)
    assert (cache.mix(weights) - weights @ value).abs().amax() <= 3 * tokens * value.abs().amax() / 255


@settings(max_examples=tries(25), deadline=None)
@given(layouts, st.integers(0, 150), st.sampled_from([(16, 16), (32, 16), (16, 32), (64, 64)]))
def test_what_is_kept_has_the_bytes_of_the_formula(
    layout: type[BlockCache], tokens: int, sizes: tuple[int, int]
) -> None:
    dim, part = sizes
    cache, _, _ = filled(layout, tokens, dim, part, 1)
    assert cache.octets() == LAYOUTS[layout](KvShape(1, 1, dim), tokens, part)


def test_sums_that_are_kept_are_those_of_the_codes() -> None:
    cache, _, _ = filled(BlockCache, 4 + 3 * 32, 64, 32, 2)
    assert isinstance(cache, BlockCache)
    assert len(cache.keys) == 3
    for key, value in zip(cache.keys, cache.values, strict=True):
        over_channels = by_part(key.codes().T.int(), 32).sum(-1)  # (tokens, parts)
        over_tokens = by_part(value.codes().T.int(), 32).sum(-1)  # (dim, 1)
        assert (key.sums.int() == over_channels).all()
        assert (value.sums.int() == over_tokens).all()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_block_is_quantised_once_or_at_every_token(layout: type[BlockCache]) -> None:
    tokens = SINKS + 70 if layout is BlockCache else 70
    assert filled(layout, tokens, 16, 32, 3)[0].quantised == 2
    assert filled(layout, tokens, 16, 32, 3, requantise=True)[0].quantised == 70


@pytest.mark.parametrize("layout", LAYOUTS)
def test_attention_is_near_that_of_the_whole_cache(layout: type[BlockCache]) -> None:
    random = torch.Generator().manual_seed(4)
    key, value, query = (torch.randn(rows, 64, generator=random) for rows in (300, 300, 4))
    value = value + torch.randn(64, generator=random)  # what attention is about: not all of it cancels in the mean
    cache = layout(64, 64)
    cache.append(key, value)
    whole = torch.softmax(query @ key.T / 8, -1) @ value
    stands, means = cache.dense()
    coded = torch.softmax(query @ stands.T / 8, -1) @ means
    found = cache.attend(query)
    # Against what the codes stand for, 8 bits of queries and probabilities cost little; two bits of K and V more.
    assert torch.linalg.norm(found - coded) / torch.linalg.norm(coded) < 0.05
    assert torch.linalg.norm(found - whole) / torch.linalg.norm(whole) < 0.2


def test_short_caches_are_all_16_bits() -> None:
    cache, key, value = filled(BlockCache, 20, 16, 32, 6)
    assert (cache.dense()[0] == key.half().float()).all()
    assert (cache.dense()[1] == value.half().float()).all()


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"key \(1, 8\), value \(1, 16\); allowed: \(tokens, 16\) both"):
        BlockCache(16).append(torch.zeros(1, 8), torch.zeros(1, 16))
    with pytest.raises(ValueError, match="dim 0, part 64"):
        PaperCache(0)
