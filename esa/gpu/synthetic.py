"""Kernels that are drawn: where no measured ones are at hand.

A model is blocks, all of the same few kinds of kernels; a kind has its profile, its SMs and, from a log-normal
distribution, its duration. Median and spread by default are near those of inference in Orion's files: medians of 9 to
34 us, and kernels of up to 0.5 ms.
"""

from __future__ import annotations

import numpy as np

from esa.gpu.kernels import Kernels

LEAST_NS = 1000  # shorter kernels are not drawn
_SMS = (1, 160)  # of a kind, evenly by logarithm


def synthetic_kernels(
    blocks: int = 16, kinds: int = 10, *, median_us: float = 12.0, spread: float = 1.0, seed: int = 1
) -> Kernels:
    """Draw blocks * kinds kernels, at least 1 us each. spread: standard deviation of the logarithm of durations."""
    if blocks < 1 or kinds < 1 or not median_us > 0 or not spread >= 0:
        raise ValueError(
            f"blocks {blocks}, kinds {kinds}, median_us {median_us:g}, spread {spread:g}; allowed: 1 and more of both, "
            "a median above 0, a spread of 0 and more"
        )
    random = np.random.default_rng(seed)
    duration_ns = np.maximum(LEAST_NS, np.round(1e3 * median_us * np.exp(spread * random.standard_normal(kinds))))
    profile = random.choice([1, 0, -1], kinds, p=[0.4, 0.4, 0.2])
    sms = np.round(np.exp(random.uniform(np.log(_SMS[0]), np.log(_SMS[1]), kinds)))
    names = [f"kind-{kind}" for kind in range(kinds)] * blocks
    return Kernels.of(names, np.tile(profile, blocks), np.tile(sms, blocks), np.tile(duration_ns, blocks))
