"""Fragments with exponents, which no plan has: each result's must be the largest of what all workers gave."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from esa.sim import Outcome, Plan
from esa.sim.loop import SimState
from esa.sim.transport.endpoints import worker
from tests.sim.tap import Look, simulate_tapped


def simulate_with_exponents(plan: Plan, seed: int, look: Look) -> tuple[Outcome, SimState]:
    """As `simulate_tapped`, of jobs that all start at 0; exponents are drawn. AssertionError: one is wrong."""
    assert plan.lanes > 0  # fragments are fed, and sums taken, one by one
    given = _Exponents(seed)

    def both(sim: SimState, now_ns: int) -> None:
        given.look(sim)
        look(sim, now_ns)

    outcome = simulate_tapped(plan, both, given.next)
    assert given.sim is not None
    given.look(given.sim)
    assert given.checked == outcome.checked > 0
    return outcome, given.sim


class _Exponents:
    def __init__(self, seed: int) -> None:
        self.next = np.zeros(1, np.int8)  # of whoever feeds in the coming nanosecond
        self.checked = 0
        self.sim: SimState | None = None
        self._rng = np.random.default_rng(seed)
        self._largest: defaultdict[tuple[int, int], int] = defaultdict(lambda: -128)  # by job and seq
        self._fed: dict[int, int] = {}  # by worker: seqs before were fed
        self._read: dict[int, int] = {}

    def look(self, sim: SimState) -> None:
        self.sim = sim
        self.next[0] = self._rng.integers(-128, 128)
        states = [worker.py_func(sim.workers, w) for w in range(len(sim.ranks.rank))]
        for w, state in enumerate(states):
            end = int(state.worker[0]["write_seq"])
            for seq in range(self._fed.get(w, end), end):
                name = int(sim.ranks.rank[w]["job"]), seq
                self._largest[name] = max(self._largest[name], self._exponent(state, seq))
            self._fed[w] = end
        for w, state in enumerate(states):
            end = int(state.worker[0]["read_seq"])
            for seq in range(self._read.get(w, end), end):
                name = int(sim.ranks.rank[w]["job"]), seq
                assert self._exponent(state, seq) == self._largest[name], f"rank {w}, job and seq {name}"
                self.checked += 1
            self._read[w] = end

    @staticmethod
    def _exponent(state, seq: int) -> int:
        return int(state.fragment[seq & len(state.fragment) - 1]["exponent"])
