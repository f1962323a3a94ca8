"""How fast those advance that send at a time: by cables, windows, and who finds rows in the switches.

shares = Shares(component, network)
shares.of(frozenset({0, 2}))[2].rate       # of member 2 while 0 and 2 send: fragments in a nanosecond
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from esa.network_times.component import Component
from esa.network_times.load import load_of, round_trip_ns
from esa.network_times.memory import part_beside
from esa.network_times.network import RING, Network
from esa.network_times.queues import queued
from esa.network_times.rates import Share, max_min
from esa.network_times.rows import Slice, rows_of
from esa.network_times.split import split_shares
from esa.network_times.stalls import Cycle, cycle_of
from esa.network_times.urgency import priorities_of
from esa.policy import policy


class Shares:
    """Of the jobs of a component, by who sends; each set is reckoned once."""

    def __init__(self, component: Component, network: Network) -> None:
        self.component = component
        self.network = network
        self.loads = [load_of(number, component, network) for number in range(len(component.members))]
        self.slices: list[Slice] = rows_of(component, network)
        self._windows = [one.window for one in self.slices]
        every = [priorities_of(member, network) for member in component.members]
        self._urgency = [found[len(found) // 2] for found in every]
        self._known: dict[frozenset[int], Mapping[int, Share]] = {}

    def of(self, active: frozenset[int]) -> Mapping[int, Share]:
        found = self._known.get(active)
        if found is None:
            found = self._known[active] = self._reckoned(active)
        return found

    def _reckoned(self, active: frozenset[int]) -> Mapping[int, Share]:
        jobs = sorted(active)
        if self.network.policy == RING:
            return self._rings(jobs)
        if self.network.policy == "esa":
            ttl_ns = 1000.0 * policy("esa").ttl_us(round_trip_ns(self.component, self.network))
            return split_shares(jobs, self.component, self.loads, self.slices, self._urgency, ttl_ns)
        sends = dict.fromkeys(jobs, 1.0)
        beside = self.beside(sends)
        cycles = {job: self._cycle(job, part, sends) for job, part in beside.items()}
        rates, _ = queued(
            {job: cycle.cables for job, cycle in cycles.items()},
            {job: cycle.trip_ns for job, cycle in cycles.items()},
            {job: cycle.window for job, cycle in cycles.items()},
        )
        return {job: Share(rates[job], part, self._rows(job, rates[job], part)) for job, part in beside.items()}

    def _rings(self, jobs: Sequence[int]) -> dict[int, Share]:
        """Max-min; one that is longer waits more for itself, by the root, as in the packet simulator."""
        weights = {job: 1 / math.sqrt(self.component.members[job].ranks - 1) for job in jobs}
        rates = max_min({job: self.loads[job].summed for job in jobs}, dict.fromkeys(jobs, math.inf), weights)
        return {job: Share(rates[job], 0.0) for job in jobs}

    def beside(self, sends: Mapping[int, float]) -> dict[int, float]:
        """By job that sends in some part of the time, the part of its fragments that the PS adds; ESA's none."""
        return part_beside(self.component, self.network, self._windows, sends)

    def window_rate(self, job: int, beside: float, sends: Mapping[int, float]) -> float:
        """What a window lets out in a round trip."""
        if self.network.policy == RING:
            return math.inf
        cycle = self._cycle(job, beside, sends)
        return cycle.window / cycle.trip_ns

    def _cycle(self, job: int, beside: float, sends: Mapping[int, float]) -> Cycle:
        return cycle_of(job, self.component, self.network, self.loads[job], self._windows, beside, sends)

    def _rows(self, job: int, rate: float, beside: float) -> float:
        """Of a switch: a slice is taken always; ATP's rows until the PS has answered."""
        if self.network.policy == "switchml":
            return float(self.slices[job].size)
        if self.network.policy == "atp":
            return (1 - beside) * min(self._windows[job], rate * self.loads[job].summed_ns)
        return 0.0
