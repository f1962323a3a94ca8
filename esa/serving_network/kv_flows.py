"""KV caches between instances of prefill and decode as flows over their NICs: equal shares (max-min), no packets.

    network = KvFlows(rate_bps=10e9)
    network.begin(number, source, target, octets, now_ns)

A prefill instance sends, and a decode instance receives, through one NIC of the rate; the network between is none's
bottleneck. What software leaves of the rate, and what each transfer takes besides, are those of `esa/kvcache/sizes.py`
unless told otherwise. `tests/serving/test_disaggregated.py` holds these flows to packets.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from esa.errors import BadInput
from esa.kvcache.sizes import EFFICIENCY, FIXED_S
from esa.network_times.load import Cables
from esa.network_times.rates import max_min

_RATES_BPS = (1e6, 1e13)


@dataclass
class _Flow:
    source: int
    target: int
    bits: float
    ends_ns: int


class KvFlows:
    """A `KvNetwork` (`esa/serving/disaggregated.py`). efficiency: part of the rate that caches get. BadInput."""

    def __init__(self, rate_bps: float, *, efficiency: float = EFFICIENCY, fixed_s: float = FIXED_S) -> None:
        low, high = _RATES_BPS
        if not low <= rate_bps <= high:
            raise BadInput(f"rate_bps: {rate_bps:g}; allowed: {low:g} to {high:g}")
        if not 0 < efficiency <= 1 or not 0 <= fixed_s < 1e6:
            raise BadInput(f"efficiency {efficiency:g}, fixed_s {fixed_s:g}; allowed: above 0 to 1, from 0")
        self._bits_ns = rate_bps * efficiency / 1e9
        self._fixed_ns = round(1e9 * fixed_s)
        self._flows: dict[int, _Flow] = {}
        self._rates: dict[int, float] = {}
        self._there: list[tuple[int, int]] = []  # sent, and when it is there
        self._at_ns = 0

    def begin(self, number: int, source: int, target: int, octets: int, now_ns: int) -> None:
        self._go_to(now_ns)
        self._flows[number] = _Flow(source, target, 8.0 * octets, now_ns)
        self._share(now_ns)

    def next_ns(self) -> int | None:
        sent = min((flow.ends_ns for flow in self._flows.values()), default=None)
        there = min((when for when, _ in self._there), default=None)
        return min((when for when in (sent, there) if when is not None), default=None)

    def take(self, now_ns: int) -> list[int]:
        self._go_to(now_ns)
        over = [number for number, flow in self._flows.items() if flow.ends_ns <= now_ns]
        for number in over:
            del self._flows[number]
            self._there.append((now_ns + self._fixed_ns, number))
        if over:
            self._share(now_ns)
        found = [number for when, number in sorted(self._there) if when <= now_ns]
        self._there = [each for each in self._there if each[0] > now_ns]
        return found

    def _go_to(self, now_ns: int) -> None:
        for number, flow in self._flows.items():
            flow.bits -= self._rates[number] * (now_ns - self._at_ns)
        self._at_ns = now_ns

    def _share(self, now_ns: int) -> None:
        each = 1 / self._bits_ns
        cables: dict[int, Cables] = {
            number: {("from", flow.source): each, ("to", flow.target): each} for number, flow in self._flows.items()
        }
        self._rates = max_min(cables, dict.fromkeys(cables, math.inf), dict.fromkeys(cables, 1.0))
        for number, flow in self._flows.items():
            flow.ends_ns = now_ns + max(0, math.ceil(flow.bits / self._rates[number]))
