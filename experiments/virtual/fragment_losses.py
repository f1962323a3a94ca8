"""What takes packets away in a simulation, as far as who follows one of them can tell: links, queues, what is down."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from esa.sim.failure import HOST, PS, SWITCH
from esa.sim.loop import SimState
from esa.sim.plan import Plan

_TO_SWITCH, _FROM_SWITCH = 0, 1


class Losses:
    """Compares counts between two looks; `looked` ends one. number: of the job, for its PS."""

    def __init__(self, plan: Plan, number: int) -> None:
        self._failures, self._number = plan.failures, number
        self._lost: Any = None  # by line of faults, and dropped by cable
        self._dropped: Any = None

    def looked(self, sim: SimState) -> None:
        self._lost, self._dropped = sim.faults.counter["lost"].copy(), sim.lines["dropped"].copy()

    def to_switch(self, sim: SimState, host: int) -> bool:
        """Whether a host's cable has lost what the host sent since the last look."""
        return self._on_cable(sim, 2 * host + _TO_SWITCH)

    def to_host(self, sim: SimState, host: int) -> bool:
        """Whether it has lost what came to the host."""
        return self._on_cable(sim, 2 * host + _FROM_SWITCH)

    def _on_cable(self, sim: SimState, line: int) -> bool:
        return self._lost is not None and bool(sim.faults.counter[line]["lost"] > self._lost[line])

    def in_queues_of(self, sim: SimState, which: int) -> bool:
        """Whether a switch's ports have dropped anything since the last look."""
        mine = sim.lines["from_switch"] == which
        return self._dropped is not None and bool(np.any(sim.lines["dropped"][mine] > self._dropped[mine]))

    def switch_down(self, which: int, at_ns: int) -> bool:
        return self._down(SWITCH, which, at_ns)

    def host_down(self, host: int, is_server: bool, at_ns: int) -> bool:
        """Whether a host is, or the PS on it."""
        return self._down(HOST, host, at_ns) or (is_server and self._down(PS, self._number, at_ns))

    def _down(self, kind: str, number: int, at_ns: int) -> bool:
        return any(
            one.kind == kind
            and one.number == number
            and one.at_ns <= at_ns < one.at_ns + (math.inf if one.down_ns is None else one.down_ns)
            for one in self._failures
        )
