"""What an inference cluster can do without: whole servers, by the time of day.

    offers = diurnal(hosts=32, seed=1)
    offers.at(now_ns)       # servers that can be lent now

No trace of such a cluster is public. The shape is that of a load that follows the day: a sine between a trough and a
peak, with noise that fades within the hour; the numbers are this project's own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from esa.errors import BadInput

SECOND_NS = 10**9
DAY_S = 86_400
NEVER = 2**63 - 1
_FADES_S = 3600.0  # after which a deviation has fallen to 1/e
_STREAM = 1  # of the seed's streams: that of the jobs is another


@dataclass(frozen=True)
class Offers:
    """Servers that can be lent, interval after interval; after the last the first again."""

    interval_ns: int
    counts: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.interval_ns < 1 or not self.counts or min(self.counts) < 0:
            text = f"{len(self.counts)} counts, intervals of {self.interval_ns} ns"
            raise BadInput(f"offers: {text}; allowed: 1 or more counts from 0, intervals from 1 ns")

    def at(self, now_ns: int) -> int:
        return self.counts[now_ns // self.interval_ns % len(self.counts)]

    def next_ns(self, now_ns: int) -> int:
        """When another number will be offered; `NEVER`, or later, if there is none."""
        interval = now_ns // self.interval_ns
        for later in range(interval + 1, interval + len(self.counts)):
            if self.counts[later % len(self.counts)] != self.at(now_ns):
                return later * self.interval_ns
        return NEVER


def diurnal(
    hosts: int,
    seed: int,
    *,
    trough: float = 0.4,
    peak: float = 0.95,
    noise: float = 0.02,
    head_room: float = 0.02,
    interval_s: int = 300,
    days: int = 15,
) -> Offers:
    """Offers of a cluster of `hosts` servers, least loaded at 0 h and most at 12 h.

    trough, peak: load, as a part of the cluster. noise: standard deviation of what is added to it. head_room: part of
    the cluster that is kept besides. The servers for both, rounded up, are not offered. BadInput.
    """
    if hosts < 1 or interval_s < 1 or days < 1 or DAY_S % interval_s:
        text = f"{hosts} hosts, intervals of {interval_s} s, {days} days"
        raise BadInput(f"offers: {text}; allowed: 1 or more of each, intervals that divide a day")
    if not 0 <= trough <= peak <= 1 or noise < 0 or head_room < 0:
        text = f"trough {trough:g}, peak {peak:g}, noise {noise:g}, head_room {head_room:g}"
        raise BadInput(f"offers: {text}; allowed: 0 <= trough <= peak <= 1, the others from 0")
    count = days * DAY_S // interval_s
    normal = np.random.Generator(np.random.PCG64([seed, _STREAM])).standard_normal(count)
    keeps = math.exp(-interval_s / _FADES_S)
    fresh = noise * math.sqrt(1 - keeps**2)
    deviation = noise * float(normal[0])
    counts = []
    for number in range(count):
        if number:
            deviation = keeps * deviation + fresh * float(normal[number])
        phase = 2 * math.pi * (number * interval_s % DAY_S) / DAY_S
        load = trough + (peak - trough) * (1 - math.cos(phase)) / 2 + deviation
        needed = math.ceil(min(max(load + head_room, 0.0), 1.0) * hosts - 1e-9)
        counts.append(hosts - needed)
    return Offers(interval_s * SECOND_NS, tuple(counts))
