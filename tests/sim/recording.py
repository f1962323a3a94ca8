"""Everything that enters and leaves the switches of a simulation, and what the controller tells them meanwhile."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import pytest

from esa.cluster.inventory import Gpu
from esa.entries.job_entries import Entry, Group
from esa.entries.tiers import forwarding_items, job_items
from esa.job import Run
from esa.sim import Outcome, Plan
from esa.sim.engine.lines import NONE
from esa.sim.fabric.wiring import Control
from esa.sim.loop import SimState
from esa.switch.runtime.pipeline import Pipeline
from tests.sim.tap import SIMULATE, arrivals, simulate_tapped


class Entering(NamedTuple):
    """A packet at a switch."""

    now_us: int
    port: int
    frame: bytes


class Told(NamedTuple):
    """The controller adds entries and groups to a switch, or takes them away."""

    adds: bool
    items: Sequence[Entry | Group]


Step: TypeAlias = Entering | Told


class Recording:
    """A simulation whose queues do not overflow, by switch: racks' switches, then spines.

    steps: what came to a switch, in order; left: what left it, by port, in order. Cells are those at the end.
    """

    def __init__(self, plan: Plan) -> None:
        graph = plan.fabric.graph
        self._graph = graph
        self._switch_of = {graph.nodes[switch].ip: number for number, switch in enumerate(graph.switches)}
        self.switches = range(len(self._switch_of))
        self.steps: list[list[Step]] = [[] for _ in self.switches]
        self.left: list[dict[int, list[bytes]]] = [defaultdict(list) for _ in self.switches]
        self.pipelines: list[Pipeline] = []
        self._expected: list[tuple[int, int, bytes]] = []  # line, packets that it has brought before, the next one
        self._now_us = 0
        self._sim: SimState | None = None
        self.outcome = self._record(plan)
        assert self.outcome.dropped == 0

    def packets(self, switch: int) -> list[Entering]:
        return [step for step in self.steps[switch] if isinstance(step, Entering)]

    def registers(self, switch: int) -> dict[str, list[int]]:
        return {name: register.read_all().tolist() for name, register in self.pipelines[switch].registers.items()}

    def counters(self, switch: int) -> dict[str, list[int]]:
        return {name: counter.packets.tolist() for name, counter in self.pipelines[switch].counters.items()}

    def _record(self, plan: Plan) -> Outcome:
        recording = self

        class Recorded(Control):
            def __init__(self, plan: Plan, pipelines: list[Pipeline]) -> None:
                super().__init__(plan, pipelines)
                recording.pipelines = pipelines
                recording._tell(True, forwarding_items(recording._graph))

            def add(self, number: int, gpus: Sequence[Gpu]) -> Run:
                job = super().add(number, gpus)
                recording._tell(True, job_items(self._networks[number], job, job.job))
                return job

            def remove(self, number: int) -> None:
                super().remove(number)
                job = self.run_of(number)
                recording._tell(False, job_items(self._networks[number], job, job.job))

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(SIMULATE, "Control", Recorded)
            outcome = simulate_tapped(plan, self._look)
        self._write_down()
        self._write_down_what_is_under_way()
        return outcome

    def _tell(self, adds: bool, items: dict) -> None:
        self._write_down()
        for ip, each in items.items():
            self.steps[self._switch_of[ip]].append(Told(adds, each))

    def _look(self, sim: SimState, now_ns: int) -> None:
        self._write_down()
        self._sim, self._now_us = sim, now_ns // 1000
        for line, buffer in arrivals(sim, now_ns):
            self._expected.append(
                (line, int(sim.lines[line]["arrived"]), sim.pool.data[buffer, : sim.pool.length[buffer]].tobytes())
            )

    def _write_down(self) -> None:
        """What was to arrive, and did: the end of a job may have come between."""
        for number, before, frame in self._expected:
            assert self._sim is not None
            line = self._sim.lines[number]
            if line["arrived"] == before:
                continue
            if line["from_switch"] != NONE:
                self.left[line["from_switch"]][int(line["from_port"])].append(frame)
            if line["switch"] != NONE:
                self.steps[line["switch"]].append(Entering(self._now_us, int(line["port"]), frame))
        self._expected.clear()

    def _write_down_what_is_under_way(self) -> None:
        sim = self._sim
        assert sim is not None
        for line in sim.lines[sim.lines["from_switch"] != NONE]:
            buffer = line["head"]
            while buffer != NONE:
                self.left[line["from_switch"]][int(line["from_port"])].append(
                    sim.pool.data[buffer, : sim.pool.length[buffer]].tobytes()
                )
                buffer = sim.pool.descriptor[buffer]["next"]
