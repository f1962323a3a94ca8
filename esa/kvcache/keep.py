"""How many channels ZeroC keeps: by layer from its singular values, by class of token, under a bound on accuracy.

The published rule could not be read ("hybrid layer-token", adaptive, under a constraint on perplexity). Here a layer
keeps the fewest channels whose squares are a part `energy` of all, times a factor of the token's class, in multiples
that hardware likes; and of several energies the least is taken whose perplexity, by a curve from outside, is within a
bound.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

STEP = 8  # channels; fewer at a time save no work


def channels(singular: Sequence[float], energy: float, *, factor: float = 1.0, step: int = STEP) -> int:
    """Kept of a layer. energy: 0 to 1, of the squares; 1 keeps all. factor: of the class of token, up to 1.

    ValueError for one out of these.
    """
    if not 0 <= energy <= 1 or not 0 < factor <= 1 or step < 1:
        raise ValueError(
            f"energy {energy:g}, factor {factor:g}, step {step}; allowed: 0 to 1, above 0 to 1, 1 and more"
        )
    squares = [each**2 for each in singular]
    wanted, found, fewest = energy * math.fsum(squares), 0.0, 0
    while fewest < len(squares) and (energy == 1 or found < wanted):
        found += squares[fewest]
        fewest += 1
    rounded = -(-math.ceil(fewest * factor) // step) * step
    return max(min(step, len(squares)), min(rounded, len(squares)))


def plan(
    layers: Sequence[Sequence[float]], energy: float, factors: Mapping[str, float], *, step: int = STEP
) -> list[dict[str, int]]:
    """Channels by layer (its singular values) and class of token (its factor)."""
    return [
        {name: channels(singular, energy, factor=factor, step=step) for name, factor in factors.items()}
        for singular in layers
    ]


def least_energy(energies: Sequence[float], perplexity: Callable[[float], float], most_added: float = 0.1) -> float:
    """The least energy whose perplexity is at most that of 1, plus `most_added`; 1 always is."""
    limit = perplexity(1.0) + most_added
    return min([1.0, *(each for each in energies if perplexity(each) <= limit)])
