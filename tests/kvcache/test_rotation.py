"""ZeroC: rotations that cost nothing, what cutting costs at most, and where folding fails."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from esa.kvcache.keep import channels, least_energy, plan
from esa.kvcache.rotation import dropped_bound, fold, fold_output, rotary, rotation
from tests.effort import tries

QUICK = settings(max_examples=tries(50), deadline=None)


def drawn(seed: int, *shapes: tuple[int, ...]) -> list[torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    return [torch.randn(*shape, generator=random, dtype=torch.float64) for shape in shapes]


@QUICK
@given(st.integers(0, 10**6), st.integers(1, 30), st.sampled_from([4, 8, 16]), st.integers(1, 3))
def test_with_all_channels_nothing_changes(seed: int, tokens: int, dim: int, shared: int) -> None:
    hidden = 24
    x, wk, wv, wo = drawn(seed, (tokens, hidden), (hidden, dim), (hidden, dim), (dim, hidden))
    wqs = drawn(seed + 1, *[(hidden, dim)] * shared)  # query heads that share the keys
    turned = rotation(*(x @ wq for wq in wqs), x @ wk).vectors
    for wq in wqs:
        plain, folded = (x @ wq) @ (x @ wk).T, (x @ fold(wq, turned)) @ (x @ fold(wk, turned)).T
        assert torch.allclose(plain, folded, rtol=1e-10, atol=1e-10)
        assert fold(wq, turned).shape == wq.shape  # as much work as before
    turned = rotation(x @ wv, wo.T).vectors
    plain = (x @ wv) @ wo
    assert torch.allclose(plain, (x @ fold(wv, turned)) @ fold_output(wo, turned), rtol=1e-10, atol=1e-10)


@QUICK
@given(st.integers(0, 10**6), st.integers(1, 20), st.integers(1, 20), st.integers(1, 16), st.integers(0, 16))
def test_the_error_is_within_half_the_squares_that_are_dropped(
    seed: int, queries: int, keys: int, dim: int, keep: int
) -> None:
    keep = min(keep, dim)
    query, key = drawn(seed, (queries, dim), (keys, dim))
    turned = rotation(query, key)
    cut = (query @ turned.vectors[:, :keep]) @ (key @ turned.vectors[:, :keep]).T
    error = query @ key.T - cut
    assert torch.linalg.norm(error) <= dropped_bound(turned.singular, keep) + 1e-9
    following = float(turned.singular[keep]) if keep < dim else 0.0
    assert torch.linalg.matrix_norm(error, 2) <= following**2 + 1e-9


def test_the_bound_never_rises_with_what_is_kept() -> None:
    query, key = drawn(3, (40, 16), (40, 16))
    turned = rotation(query, key)
    bounds = [dropped_bound(turned.singular, keep) for keep in range(17)]
    assert bounds == sorted(bounds, reverse=True)
    assert bounds[-1] == 0


def test_rotary_embeddings_do_not_commute_with_a_folded_rotation() -> None:
    x, wq, wk = drawn(4, (12, 24), (24, 8), (24, 8))
    places = torch.arange(12, dtype=torch.float64)
    query, key = rotary(x @ wq, places), rotary(x @ wk, places)
    plain = query @ key.T
    turned = rotation(x @ wq, x @ wk).vectors
    folded = rotary(x @ fold(wq, turned), places) @ rotary(x @ fold(wk, turned), places).T
    assert torch.linalg.norm(folded - plain) > 0.1 * torch.linalg.norm(plain)
    # Turned after the embedding, at run time, they are as they were.
    late = rotation(query, key).vectors
    assert torch.allclose((query @ late) @ (key @ late).T, plain, rtol=1e-10, atol=1e-10)


@QUICK
@given(st.lists(st.floats(0, 100), min_size=1, max_size=64), st.floats(0, 1), st.floats(0, 1))
def test_more_energy_keeps_no_fewer_channels(singular: list[float], one: float, other: float) -> None:
    falling = sorted(singular, reverse=True)
    low, high = sorted((one, other))
    assert channels(falling, low) <= channels(falling, high)
    assert channels(falling, 1) == len(falling)
    kept = channels(falling, high)
    squares = [each**2 for each in falling]
    assert sum(squares[:kept]) >= high * sum(squares) * (1 - 1e-9)
    assert kept % 8 == 0 or kept == len(falling)


def test_classes_of_tokens_have_their_factors_by_layer() -> None:
    flat, steep = [1.0] * 32, [10.0, *[0.1] * 31]
    assert plan([flat, steep], 0.9, {"recent": 1.0, "old": 0.5}) == [
        {"recent": 32, "old": 16},
        {"recent": 8, "old": 8},
    ]


def test_the_least_energy_within_the_bound_is_taken() -> None:
    def curve(energy: float) -> float:
        return 10 + 2 * (1 - energy)

    assert least_energy([0.5, 0.9, 0.96, 0.99], curve) == 0.96
    assert least_energy([0.5], curve) == 1.0


def test_other_settings_are_refused() -> None:
    with pytest.raises(ValueError, match=r"energy 1\.1, factor 1, step 8"):
        channels([1.0], 1.1)
    with pytest.raises(ValueError, match="stacked: widths"):
        rotation(torch.ones(2, 3), torch.ones(2, 4))
