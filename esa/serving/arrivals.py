"""When requests come, and requests drawn whole.

    requests = drawn_requests(1000, Arrivals(rate=2.0), LENGTHS["lmsys-chat"], seed=1)

Lengths and intervals have streams of their own, so that another rate leaves the lengths as they were.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from esa.errors import BadInput
from esa.serving.lengths import Drawn, Lengths
from esa.serving.requests import Request

SECOND_NS = 10**9
KINDS = ("poisson", "gamma", "static")
_CUT = 3.0  # mean intervals
_INTERVALS, _LENGTHS = 0xA221, 0x1E46  # streams of the seed


@dataclass(frozen=True)
class Arrivals:
    """rate: requests a second in the mean. cv: of gamma's intervals, their deviation over their mean.

    compat: Poisson's intervals are cut at three means, as Vidur's are, whose rate is then 5.24 % higher.
    """

    rate: float = 1.0
    kind: str = "poisson"
    cv: float = 0.5
    compat: bool = False

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise BadInput(f"arrivals: unknown kind '{self.kind}'; allowed: {', '.join(KINDS)}")
        if not 0 < self.rate < 1e9 or not 0 < self.cv <= 100:
            raise BadInput(f"arrivals: rate {self.rate:g}, cv {self.cv:g}; allowed: above 0, cv up to 100")

    def draw(self, count: int, generator: np.random.Generator) -> Drawn:
        """Nanoseconds, ascending; the first after an interval."""
        if self.kind == "static":
            return np.zeros(count, np.int64)
        if self.kind == "gamma":
            shape = 1 / self.cv**2
            seconds = generator.gamma(shape, 1 / (self.rate * shape), count)
        else:
            seconds = generator.exponential(1 / self.rate, count)
            if self.compat:
                seconds = np.minimum(seconds, _CUT / self.rate)
        return np.rint(np.cumsum(seconds) * SECOND_NS).astype(np.int64)


def drawn_requests(count: int, arrivals: Arrivals, lengths: Lengths, seed: int) -> list[Request]:
    """So many, in the order of arrival."""
    prompts, outputs = lengths.draw(count, np.random.Generator(np.random.PCG64([seed, _LENGTHS])))
    times = arrivals.draw(count, np.random.Generator(np.random.PCG64([seed, _INTERVALS])))
    return [Request(*each) for each in zip(times.tolist(), prompts.tolist(), outputs.tolist(), strict=True)]
