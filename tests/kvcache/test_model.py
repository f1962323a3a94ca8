"""HACK's and ZeroC's numerics inside a transformer that was trained here, for a few steps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from esa.errors import BadInput
from esa.kvcache.cache import BlockCache
from esa.kvcache.decoding import Dense, decode
from esa.kvcache.folding import by_energy, folded, kept_part
from esa.kvcache.fused import Fused
from esa.kvcache.model import (
    Model,
    Shape,
    corpus,
    new_model,
    one_thread,
    perplexity,
    settled,
    split,
    train,
    windows_of,
)
from experiments.cli import app

pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("one")]

SMALL = Shape(layers=2, heads=2, dim=16, window=64)


@pytest.fixture(scope="module")
def one() -> Iterator[None]:
    with one_thread():
        yield


@cache
def trained(positions: str = "learned") -> Model:
    return train(corpus(), replace(SMALL, positions=positions), steps=40, batch=8)


def held() -> torch.Tensor:
    return split(corpus())[1]


def samples() -> torch.Tensor:
    return windows_of(split(corpus())[0], SMALL.window, 8)[:, :-1]


def test_it_learns() -> None:
    before = perplexity(settled(new_model(SMALL)), held(), windows=8)
    assert before > 100
    assert perplexity(trained(), held(), windows=8) < 45  # of 128 bytes


@pytest.mark.parametrize("positions", [pytest.param("learned", marks=pytest.mark.slow), "rotary"])
def test_decoding_by_token_is_the_whole_window_at_once(positions: str) -> None:
    """The model's own code twice: causal attention over all, and a cache that grows."""
    windows = windows_of(held(), 32, 1)
    found = decode(trained(positions), windows, lambda dim: Dense(dim, torch.float32), prompt=10)
    assert found.error < 1e-5
    assert found.octets == 2 * 2 * SMALL.hidden * 4


def test_hack_costs_a_few_percent_of_perplexity() -> None:
    model, windows = trained(), windows_of(held(), SMALL.window, 1)
    plain = decode(model, windows, Dense, prompt=40)
    coded = decode(model, windows, lambda dim: BlockCache(dim, 16), prompt=40)
    fused = decode(model, windows, lambda dim: Fused(BlockCache(dim, 16)), prompt=40)
    assert plain.error < 1e-3 < coded.error < 0.2
    assert coded.perplexity == pytest.approx(plain.perplexity, rel=0.1)
    assert coded.octets < 0.5 * plain.octets
    assert fused == pytest.approx(coded, rel=1e-4)


def test_folded_rotations_change_nothing() -> None:
    model = trained()
    turned, singular = folded(model, samples())
    plain, other = (each.forward(samples()[:2]) for each in (model, turned))
    assert torch.allclose(plain, other, rtol=1e-3, atol=1e-3)
    assert [each.shape for each in turned.tensors()] == [each.shape for each in model.tensors()]
    assert all((each.key.diff() <= 1e-4).all() for each in singular)


def test_with_rotary_embeddings_folding_changes_what_the_model_says() -> None:
    model = trained("rotary")
    turned, _ = folded(model, samples())
    plain, other = (each.forward(samples()[:2]) for each in (model, turned))
    assert (plain - other).norm() > 0.02 * plain.norm()


def test_cuts_cost_more_the_less_they_keep() -> None:
    turned, singular = folded(trained(), samples())
    plain = turned.forward(samples()[:4])
    errors, kept = [], []
    for energy in (1.0, 0.99, 0.9, 0.5):
        cut = by_energy(turned, singular, energy)
        errors.append(float((cut.forward(samples()[:4]) - plain).norm() / plain.norm()))
        kept.append(kept_part(cut))
    assert errors[0] < 1e-6
    assert errors == sorted(errors)
    assert kept == sorted(kept, reverse=True)
    assert kept[0] == 1.0 > kept[-1]
    # Fewer channels of what is far away: between all of them and as few of all.
    old = by_energy(turned, singular, 1.0, recent=16, factor=0.5)
    error = float((old.forward(samples()[:4]) - plain).norm() / plain.norm())
    assert 0 < error < 1
    assert kept_part(old) == 0.5
    assert old.layers[0].cut.key == SMALL.dim


def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    for change, error in (
        ({"positions": "none"}, "positions: unknown positions 'none'; allowed: learned, rotary"),
        ({"dim": 15}, "dim: 15; allowed: even ones"),
        ({"layers": 0}, "layers: 0; allowed: from 1"),
    ):
        with pytest.raises(BadInput, match=error):
            replace(SMALL, **change)
    with pytest.raises(BadInput, match="text: 90 bytes to learn from"):
        train(torch.zeros(100, dtype=torch.int64), Shape())
    with pytest.raises(BadInput, match="prompt: 64 of 64 bytes"):
        decode(trained(), windows_of(held(), 64, 1), Dense, prompt=64)
    for options, error in ((["--positions", "sine"], "unknown positions 'sine'"), (["--steps", "0"], "steps: 0")):
        done = CliRunner().invoke(app, ["perplexity", *options, "--results", str(tmp_path)])
        assert done.exit_code == 2
        assert error in done.output
