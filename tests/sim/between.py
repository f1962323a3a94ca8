"""Cables between switches that lose packets, bring them twice, or late: a plan's faults are those of hosts' links."""

from __future__ import annotations

import numpy as np

from esa.sim.engine.lines import NONE, PS_PER_NS, sending_ps, take_buffer, transmit
from esa.sim.loop import SimState
from tests.sim.tap import arrivals

NOBODY = bytes.fromhex("02ffffffffff88b5")  # an address that no switch knows, and a frame that is not ESA's: dropped


class BadCables:
    """What `simulate_tapped` calls; a rate is a part of the packets.

    A packet that is late goes the whole way once more, so that others overtake it, as does the copy of one that comes
    twice.
    """

    def __init__(self, seed: int, loss: float = 0.0, duplicate: float = 0.0, late: float = 0.0) -> None:
        self._rng = np.random.default_rng(seed)
        self._loss, self._duplicate, self._late = loss, loss + duplicate, loss + duplicate + late
        self.lost = self.duplicated = self.late = 0

    def __call__(self, sim: SimState, now_ns: int) -> None:
        for line, buffer in arrivals(sim, now_ns):
            if NONE in (sim.lines[line]["from_switch"], sim.lines[line]["switch"]):
                continue
            drawn = self._rng.random()
            if drawn < self._loss:
                self.lost += 1
                _lose(sim, buffer)
            elif drawn < self._duplicate:
                self.duplicated += 1
                _send_again(sim, line, buffer, now_ns)
            elif drawn < self._late:
                self.late += 1
                _send_again(sim, line, buffer, now_ns)
                _lose(sim, buffer)


def _lose(sim: SimState, buffer: int) -> None:
    sim.pool.data[buffer, : len(NOBODY)] = np.frombuffer(NOBODY, np.uint8)


def _send_again(sim: SimState, line: int, buffer: int, now_ns: int) -> None:
    """Put a copy of a packet that arrives into its line."""
    pool, copy = sim.pool, take_buffer(sim.pool)
    for array in (pool.data, pool.length, pool.wire_bytes):
        array[copy] = array[buffer]
    service_ps = sending_ps(sim.lines, pool, line, copy)
    transmit(sim.lines, pool, sim.events, line, copy, now_ns * PS_PER_NS, service_ps)
