"""Round-robin allocation (RRA) by expectation: phases of one encoding pass and so many decoding iterations.

    phase = Phase(encode_s=1.572, decode_s=0.0376, batch=52, iterations=13)
    phase.throughput, phase.latency_s(63)

A query of S output tokens is over in the U-th iteration after the last encoding that it meets; its share of a phase's
places is what P(U) says. The pool that decodes is `batch / sum P(U)` by the paper's formula. By Little's law it is
`batch * E[ceil(S / iterations)]`, which is more, and what a simulation with lengths drawn comes to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp

from esa.errors import BadInput

Lengths = Mapping[int, float]  # probability by output tokens
POOL_RULES = ("paper", "little")


@dataclass(frozen=True)
class Phase:
    """encode_s: of `batch` queries; decode_s: of an iteration of the pool; iterations: of a phase."""

    encode_s: float
    decode_s: float
    batch: int
    iterations: int

    def __post_init__(self) -> None:
        if self.batch < 1 or self.iterations < 1 or self.encode_s < 0 or self.decode_s < 0:
            raise BadInput(f"{self}; allowed: from 1 query and iteration, times from 0")

    @property
    def seconds(self) -> float:
        return self.encode_s + self.iterations * self.decode_s

    @property
    def throughput(self) -> float:
        """Queries a second, with always enough that wait."""
        return self.batch / self.seconds

    def latency_s(self, tokens: int) -> float:
        """Of a query of so many output tokens, from when its encoding begins: the paper's is of the 99th percentile of
        lengths, not of latencies.
        """
        return -(-tokens // self.iterations) * self.encode_s + tokens * self.decode_s


def truncated_normal(mean: float, deviation: float, most: int) -> dict[int, float]:
    """Of whole tokens from 1, as densities at them: how ExeGPT's tasks are given."""
    weights = {tokens: exp(-0.5 * ((tokens - mean) / deviation) ** 2) for tokens in range(1, most + 1)}
    total = sum(weights.values())
    return {tokens: weight / total for tokens, weight in weights.items()}


def check_lengths(lengths: Lengths) -> None:
    """BadInput unless probabilities of whole tokens from 1 are there and add up to 1."""
    total = sum(lengths.values())
    if not lengths or min(lengths) < 1 or min(lengths.values()) < 0 or abs(total - 1) > 1e-9:
        raise BadInput(f"lengths: probabilities of {total:g} together; allowed: 1, of whole tokens from 1")


def ends_at(lengths: Lengths, iterations: int) -> list[float]:
    """P(U) for U = 1 .. iterations: a query met by an encoding pass is over in the U-th iteration after it."""
    check_lengths(lengths)
    found = [0.0] * iterations
    for tokens, part in lengths.items():
        found[(tokens - 1) % iterations] += part / -(-tokens // iterations)
    return found


def pool(lengths: Lengths, batch: int, iterations: int, rule: str = "paper") -> float:
    """Queries that decode right after an encoding of so many. rule: "paper" or "little"."""
    if rule not in POOL_RULES:
        raise BadInput(f"rule: unknown rule '{rule}'; allowed: {', '.join(POOL_RULES)}")
    if rule == "paper":
        return batch / sum(ends_at(lengths, iterations))
    check_lengths(lengths)
    return batch * sum(part * -(-tokens // iterations) for tokens, part in lengths.items())


def waa_pool(lengths: Lengths, batch: int) -> float:
    """Of workload-aware allocation: `batch` encoded for each iteration, E[S] iterations each."""
    check_lengths(lengths)
    return batch * sum(tokens * part for tokens, part in lengths.items())
