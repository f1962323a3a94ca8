"""Data and models are the same for every worker that starts from the same seed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from experiments.live.digits import save_digits
from experiments.live.models import MODELS, Digits, batches, load_data
from experiments.specs.models import TRAINED, TRAINING_SAMPLES


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Digits:
    return split(tmp_path_factory.mktemp("digits"), 1)


def split(folder: Path, seed: int) -> Digits:
    save_digits(folder / "digits.npz", seed)
    return load_data(folder / "digits.npz")


def test_split_is_the_seed_s(digits: Digits, tmp_path: Path) -> None:
    one, same, other = digits, split(tmp_path, 1), split(tmp_path, 2)
    assert torch.equal(one.test_images, same.test_images)
    assert not torch.equal(one.test_images, other.test_images)
    assert one.train_images.shape[1:] == (1, 8, 8)
    assert 0.0 <= one.train_images.min() <= one.train_images.max() <= 1.0


def test_scenarios_know_the_models_and_the_data(digits: Digits) -> None:
    assert tuple(MODELS) == TRAINED
    assert len(digits.train_labels) == TRAINING_SAMPLES


def test_workers_share_an_epoch_without_a_sample_twice() -> None:
    samples, size, workers = 100, 7, 3
    per_epoch = samples // (size * workers)
    parts = [batches(samples, size, rank, workers, seed=5, iterations=2 * per_epoch) for rank in range(workers)]
    for epoch in range(2):
        seen = torch.cat([part for rank in parts for part in rank[epoch * per_epoch : (epoch + 1) * per_epoch]])
        assert len(seen) == len(seen.unique()) == per_epoch * size * workers


def test_a_batch_larger_than_the_data_is_refused() -> None:
    with pytest.raises(ValueError, match="batch_size: 4 workers x 30 samples; there are 100"):
        batches(100, 30, 0, 4, seed=1, iterations=1)


@pytest.mark.parametrize("name", MODELS)
def test_models_take_the_digits(name: str, digits: Digits) -> None:
    torch.manual_seed(0)
    assert MODELS[name]()(digits.test_images[:5]).shape == (5, 10)


def test_the_multilayer_perceptron_is_mostly_communication() -> None:
    size = {name: sum(p.numel() for p in model().parameters()) for name, model in MODELS.items()}
    assert size["mlp"] > 10 * size["cnn"]
