"""The models that the scenarios train, and the data: the handwritten digits that ship inside scikit-learn.

`mlp` is wide: many parameters for little arithmetic, so its iterations are mostly communication. `cnn` shares a few
weights over the image: much arithmetic for few parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

HELD_OUT = 0.25  # of the 1,797 digits


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


def load_data(seed: int) -> Digits:
    """Split the digits; the same seed gives the same split everywhere."""
    digits = load_digits()
    images = (digits.images / 16.0).astype(np.float32)[:, None]
    train_x, test_x, train_y, test_y = train_test_split(
        images, digits.target.astype(np.int64), test_size=HELD_OUT, random_state=seed, stratify=digits.target
    )
    return Digits(*(torch.from_numpy(np.ascontiguousarray(a)) for a in (train_x, train_y, test_x, test_y)))


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
