"""Workload-aware allocation (WAA) by expectation: GPUs that encode, and others that decode meanwhile.

    waa = Waa(encode_s=0.178, batch=4, mean_tokens=32.3, fixed_s=0.009, each_s=0.0011)
    waa.throughput, waa.pool, waa.latency_s(63)

Both sides run by themselves, so neither waits for the other's iteration: what is encoded in a second is what ends in a
second. (One encoding pass for each decoding iteration, as the published B_D = B_E E[S] has it, would take 11.2 s in the
first row of the paper's Table 6, where 3.01 s is printed.) A decoder-only model has its weights on both sides.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from esa.errors import BadInput

_HALVINGS = 30


@dataclass(frozen=True)
class Waa:
    """encode_s: of `batch` queries, on their GPUs; an iteration of p queries: fixed_s + p * each_s, on the others.

    mean_tokens: of an answer. most: queries that the decoders have memory for; handover_s: until keys and values are
    on the other side.
    """

    encode_s: float
    batch: int
    mean_tokens: float
    fixed_s: float
    each_s: float
    most: float = float("inf")
    handover_s: float = 0.0

    def __post_init__(self) -> None:
        times = self.encode_s, self.fixed_s
        if self.batch < 1 or min(times) <= 0 or self.mean_tokens < 1 or self.each_s < 0 or self.handover_s < 0:
            raise BadInput(f"{self}; allowed: from 1 query and token, times above 0")
        if self.most < 1:
            raise BadInput(f"{self}: most {self.most:g}; allowed: memory for 1 query or more")

    def decode_s(self, queries: float) -> float:
        """Of an iteration."""
        return self.fixed_s + queries * self.each_s

    @property
    def throughput(self) -> float:
        """Queries a second: the slower side's."""
        return min(self.batch / self.encode_s, self._decodes)

    @property
    def _decodes(self) -> float:
        """Queries that end in a second where there are always enough: all that memory has room for."""
        if self.most == float("inf"):
            return 1 / (self.mean_tokens * self.each_s) if self.each_s else float("inf")
        return self.most / (self.mean_tokens * self.decode_s(self.most))

    @property
    def pool(self) -> float:
        """Queries that decode, at most what there is room for: as many come as go, p = throughput E[S] decode_s(p)."""
        busy = self.throughput * self.mean_tokens
        left = 1 - busy * self.each_s
        return min(self.most, busy * self.fixed_s / left) if left > 1e-12 else self.most

    def latency_s(self, tokens: int) -> float:
        """Of a query of so many output tokens, from when its encoding begins; inf where ever more decode."""
        return self.encode_s + self.handover_s + tokens * self.decode_s(self.pool)


def balanced(
    encoded: float, mean_tokens: float, decode_s: Callable[[float], float], most: float
) -> tuple[float, float]:
    """Queries a second, and how many decode, of iterations that take what `decode_s` says; `Waa` has a line for it.

    encoded: queries a second that are encoded, if nothing holds them up; most: that decoders have memory for. A pool of
    p is left by p / (E[S] decode_s(p)) queries a second, which grows with p.
    """
    decoded = most / (mean_tokens * decode_s(most))
    if decoded <= encoded:
        return decoded, most
    low, high = 0.0, most
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if middle < encoded * mean_tokens * decode_s(middle) else (low, middle)
    return encoded, high


def split(gpus: int, encoding: float, decoding: float) -> tuple[int, int]:
    """GPUs that encode and that decode, in proportion to what both sides need: seconds (WAA-C) or bytes (WAA-M).

    At least one each. BadInput for fewer than two, or needs that are none.
    """
    if gpus < 2 or encoding < 0 or decoding < 0 or not encoding + decoding > 0:
        raise BadInput(f"{gpus} GPUs for {encoding:g} and {decoding:g}; allowed: 2 or more, and needs from 0")
    encoders = min(gpus - 1, max(1, round(gpus * encoding / (encoding + decoding))))
    return encoders, gpus - encoders


def check_memory(gpus: int, each_bytes: float, weights: float, kv_bytes: float) -> None:
    """BadInput unless two copies of a decoder's weights and what is in the pool fit."""
    if 2 * weights + kv_bytes > gpus * each_bytes:
        raise BadInput(
            f"WAA: two copies of {weights / 1e9:.1f} GB and {kv_bytes / 1e9:.1f} GB of keys and values on {gpus} GPUs "
            f"of {each_bytes / 1e9:.1f} GB; allowed: what fits"
        )
