"""The rows of a run in virtual time, over time: the scenario is simulated once more, and looked at meanwhile.

memory, same = virtual_memory(run, scenario_of(run))
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from esa.report.live_trace import SWITCH_COUNTERS
from esa.report.memory import LEFT, MAX_NAMED, Memory, frames_of
from esa.report.reading import ReadRun
from esa.sim.fabric.wiring import Control
from esa.sim.loop import SimState
from esa.sim.measure import rows_to_use
from esa.sim.plan import Plan
from experiments.specs.scenario import Scenario
from experiments.virtual.run import summarise
from experiments.virtual.trace import same_run, step_of, watched
from experiments.virtual.translate import plan_of

_AGGREGATION = "EsaIngress.aggregation"
_EPOCH_SHIFT, _SEQ = np.uint64(32), np.uint64(0xFFFFFFFF)  # owner: job, epoch, seq


def virtual_memory(
    run: ReadRun, scenario: Scenario, progress: Callable[[float], None] | None = None
) -> tuple[Memory, bool]:
    """scenario: the run's. Returns it, and whether the run came out as it is kept."""
    plan = plan_of(scenario)
    look = RowsOverTime(plan)
    look.step_ns = step_of(run, plan, look.frames)
    outcome = watched(plan, look, progress)
    return look.memory, same_run(run, summarise(scenario, outcome))


class RowsOverTime:
    """Looks at all rows and counters every `step_ns`."""

    def __init__(self, plan: Plan) -> None:
        self.control: Control | None = None
        graph, rows = plan.fabric.graph, rows_to_use(plan)
        self.frames = frames_of(rows * len(graph.switches))
        self.step_ns = plan.sample_ns
        self.memory = Memory([(graph.nodes[k].name, rows) for k in graph.switches], [job.name for job in plan.jobs])
        self._plan, self._rows = plan, rows
        self._next_ns = 0

    def next_ns(self, sim: SimState) -> int:
        return self._next_ns

    def look(self, sim: SimState, now_ns: int) -> None:
        if now_ns < self._next_ns:
            return
        self._next_ns = now_ns + self.step_ns
        assert self.control is not None
        counters = self.control.counters()
        counted: dict[str, Mapping[str, float]] = {
            name: {job: one[name] for job, one in counters.items()} for name in SWITCH_COUNTERS
        }
        via_ps = sim.servers.state.counter["via_ps"]
        counted["via PS"] = {
            job.name: int(via_ps[np.flatnonzero(sim.servers.job == k)].sum())
            for k, job in enumerate(self._plan.jobs)
            if job.sums_in_network
        }
        frames = [self._frame(which) for which in range(len(self.memory.switches))]
        owner, priority, seq = (np.concatenate(parts) for parts in zip(*frames, strict=True))
        self.memory.add(now_ns / 1e9, owner, priority, seq, {name: dict(one) for name, one in counted.items()})

    def _frame(self, which: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of one switch: number of the owner's job, priority, seq."""
        assert self.control is not None
        registers = self.control.pipeline(which).registers
        taken = registers[f"{_AGGREGATION}.row_bitmap"].read_all()[: self._rows] != 0
        held = registers[f"{_AGGREGATION}.row_owner"].read_all()[: self._rows]
        owner = np.where(taken, LEFT, 0).astype(np.uint8)
        runs = held >> _EPOCH_SHIFT
        for number, run in self.control.runs().items():
            if number < MAX_NAMED:
                owner[taken & (runs == run.job << 16 | run.epoch)] = number + 1
        priority = registers[f"{_AGGREGATION}.row_priority"].read_all()[: self._rows].astype(np.uint8)
        return owner, np.where(taken, priority, 0), np.where(taken, held & _SEQ, 0).astype(np.uint32)
