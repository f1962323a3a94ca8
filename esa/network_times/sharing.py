"""How fast those advance that send at a time: by cables, windows, and who finds rows in the switches.

shares = Shares(component, network)
shares.of(frozenset({0, 2}))[2].rate       # of member 2 while 0 and 2 send: fragments in a nanosecond
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from esa.network_times.component import Component
from esa.network_times.load import load_of
from esa.network_times.memory import part_beside, round_trip_factor
from esa.network_times.network import RING, Network
from esa.network_times.rates import Share, max_min, mixed
from esa.network_times.rows import Slice, rows_of
from esa.network_times.split import split_shares
from esa.network_times.urgency import priorities_of


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
        self._weights = [self._weight(number) for number in range(len(component.members))]
        self._known: dict[frozenset[int], Mapping[int, Share]] = {}

    def of(self, active: frozenset[int]) -> Mapping[int, Share]:
        found = self._known.get(active)
        if found is None:
            found = self._known[active] = self._reckoned(active)
        return found

    def _reckoned(self, active: frozenset[int]) -> Mapping[int, Share]:
        if self.network.policy == "esa":
            return split_shares(sorted(active), self.component, self.loads, self.slices, self._urgency, self._weights)
        sends = dict.fromkeys(sorted(active), 1.0)
        beside = self.beside(sends)
        rates = max_min(
            {job: mixed(self.loads[job], part) for job, part in beside.items()},
            {job: self.window_rate(job, part, sends) for job, part in beside.items()},
            {job: self._weights[job] for job in beside},
        )
        return {job: Share(rates[job], part, self._rows(job, rates[job], part)) for job, part in beside.items()}

    def beside(self, sends: Mapping[int, float]) -> dict[int, float]:
        """By job that sends in some part of the time, the part of its fragments that the PS adds; ESA's none."""
        return part_beside(self.component, self.network, self._windows, sends)

    def window_rate(self, job: int, beside: float, sends: Mapping[int, float]) -> float:
        """What a window lets out in a round trip."""
        if self.network.policy == RING:
            return math.inf
        load, window = self.loads[job], self._windows[job]
        factor = round_trip_factor(self.component, self.network, job, window, beside, sends)
        return window / (factor * ((1 - beside) * load.summed_ns + beside * load.beside_ns))

    def _weight(self, job: int) -> float:
        """What a job gets of a full cable goes by. Where windows wait in one queue, who is back sooner has more of it;
        a ring that is longer waits more for itself. Both by the root, as in the packet simulator.
        """
        if self.network.policy == RING:
            return 1 / math.sqrt(self.component.members[job].ranks - 1)
        load = self.loads[job]
        return 1 / math.sqrt(load.beside_ns if self.network.policy == "ps" else load.summed_ns)

    def _rows(self, job: int, rate: float, beside: float) -> float:
        """Of a switch: a slice is taken always; ATP's rows until the PS has answered."""
        if self.network.policy == "switchml":
            return float(self.slices[job].size)
        if self.network.policy == "atp":
            return (1 - beside) * min(self._windows[job], rate * self.loads[job].summed_ns)
        return 0.0
