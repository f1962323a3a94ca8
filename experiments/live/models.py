"""The models that the scenarios train, and which samples of the digits each worker takes.

`mlp` is wide: many parameters for little arithmetic, so its iterations are mostly communication. `cnn` shares a few
weights over the image: much arithmetic for few parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn


def mlp() -> nn.Module:
    """167,178 parameters; about 1 million multiplications an image."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 512), nn.ReLU(), nn.Linear(512, 256), nn.ReLU(), nn.Linear(256, 10)
    )


def cnn() -> nn.Module:
    """7,466 parameters; about 1 million multiplications an image: the weights slide over 16 x 16 positions.

    Smooth activations and average pooling: with ReLU and maxima, rounding in the seventh digit grows to whole percents
    of the loss within a hundred iterations, and runs could not be compared by it.
    """
    layers: list[nn.Module] = [nn.Upsample(scale_factor=2)]
    for channels_in, channels_out in ((1, 16), (16, 16), (16, 16)):
        layers += [nn.Conv2d(channels_in, channels_out, 3, padding=1), nn.GroupNorm(4, channels_out), nn.SiLU()]
    return nn.Sequential(*layers, nn.AvgPool2d(4), nn.Flatten(), nn.Linear(256, 10))


MODELS: dict[str, Callable[[], nn.Module]] = {"mlp": mlp, "cnn": cnn}


class Digits(NamedTuple):
    """Images (n, 1, 8, 8) float32 in 0..1 and labels (n,) int64: to train on, and held out."""

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor


def load_data(file: Path) -> Digits:
    """What `digits.save_digits` has split."""
    with np.load(file) as arrays:
        found = {name: torch.from_numpy(arrays[name]) for name in Digits._fields}
    images = {name: value.permute(0, 3, 1, 2) for name, value in found.items() if name.endswith("images")}
    return Digits(**found | images)  # channels last: convolutions round otherwise, so a run's losses depend on it


def batches(samples: int, batch_size: int, rank: int, workers: int, seed: int, iterations: int) -> list[Tensor]:
    """The sample numbers of each iteration of one worker.

    Every epoch is one permutation that all workers share; of each global batch the ranks take consecutive parts.
    """
    generator = torch.Generator().manual_seed(seed)
    wide = batch_size * workers
    if wide > samples:
        raise ValueError(f"batch_size: {workers} workers x {batch_size} samples; there are {samples}")
    parts: list[Tensor] = []
    while len(parts) < iterations:
        order = torch.randperm(samples, generator=generator)
        for start in range(rank * batch_size, samples - wide + rank * batch_size + 1, wide):
            parts.append(order[start : start + batch_size])
    return parts[:iterations]
