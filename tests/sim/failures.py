"""A simulation whose switches and PSs fail in the middle: what they held is gone, and they come back as new ones.

failing = Failing(plan)
failing.restart_switch(0, at_ns=20_000, down_ns=5_000_000)
failing.restart_server(1, at_ns=30_000, down_ns=0)
outcome = failing.simulate()
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from ipaddress import IPv4Address
from itertools import count

import numpy as np
import pytest

from esa.cluster.inventory import Gpu
from esa.entries.direct import apply
from esa.entries.tiers import forwarding_items, job_items
from esa.job import Run
from esa.protocol import NEVER, UNKNOWN_SENDER
from esa.sim import Outcome, Plan, jobs_on_hosts, loop
from esa.sim.engine.lines import NONE
from esa.sim.fabric.switches import Switches
from esa.sim.fabric.wiring import Control
from esa.sim.loop import SimState, StopReason
from esa.sim.transport.endpoints import put_server
from esa.switch.runtime.pipeline import Pipeline
from tests.sim.tap import SIMULATE, simulate_running


class Supervised(Control):
    """Its switches may lose what they hold, and get it back."""

    def __init__(self, plan: Plan, pipelines: list[Pipeline]) -> None:
        self._runs: dict[int, Run] = {}  # of the jobs that are on the switches
        self._down: set[IPv4Address] = set()
        super().__init__(plan, pipelines)

    def add(self, number: int, gpus: Sequence[Gpu]) -> Run:
        self._runs[number] = super().add(number, gpus)
        return self._runs[number]

    def remove(self, number: int) -> None:
        """Of a switch that is down, too: there is nothing on it that could be taken away."""
        for ip in self._down:
            apply(self._items(number).get(ip, ()), self._pipelines[ip])
        super().remove(number)
        del self._runs[number]

    def fail(self, ip: IPv4Address) -> None:
        self._pipelines[ip].reset()
        self._down.add(ip)

    def put_back(self, ip: IPv4Address) -> None:
        """What a supervisor puts on a switch that is empty."""
        self._pipelines[ip].reset()
        self._down.discard(ip)
        apply(forwarding_items(self._graph)[ip], self._pipelines[ip])
        for number in self._runs:
            apply(self._items(number).get(ip, ()), self._pipelines[ip])

    def _items(self, number: int) -> dict:
        job = self._runs[number]
        return job_items(self._networks[number], job, job.job)


class Failing:
    """A plan, and what fails when. Without ECN: its entry is not put back."""

    def __init__(self, plan: Plan) -> None:
        assert plan.fabric.ecn_packets is None
        self._plan = plan
        self._due: list[tuple[int, int, Callable[[SimState], None]]] = []
        self._order = count()
        self._control: Supervised | None = None
        self._server_at: dict[int, np.ndarray] = {}  # by job: place on a host and id of a PS that is down

    def restart_switch(self, which: int, at_ns: int, down_ns: int) -> None:
        """A switch loses tables, rows and counters; after `down_ns` it has its tables again."""
        graph = self._plan.fabric.graph
        ip = graph.nodes[graph.switches[which]].ip
        self._at(at_ns, lambda _: self._supervised.fail(ip))
        self._at(at_ns + down_ns, lambda _: self._supervised.put_back(ip))

    def restart_server(self, number: int, at_ns: int, down_ns: int) -> None:
        """The PS of a job hears nothing and says nothing; after `down_ns` there is one that knows only the job."""
        self._at(at_ns, lambda sim: self._lose_server(sim, number))
        self._at(at_ns + down_ns, lambda sim: self._new_server(sim, number))

    def simulate(self) -> Outcome:
        failing = self

        class Kept(Supervised):
            def __init__(self, plan: Plan, pipelines: list[Pipeline]) -> None:
                super().__init__(plan, pipelines)
                failing._control = self

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(SIMULATE, "Control", Kept)
            return simulate_running(self._plan, self._run)

    @property
    def _supervised(self) -> Supervised:
        assert self._control is not None
        return self._control

    def _at(self, at_ns: int, act: Callable[[SimState], None]) -> None:
        heappush(self._due, (at_ns, next(self._order), act))

    def _run(self, sim: SimState, switches: Switches, until_ns: int) -> int:
        while self._due and self._due[0][0] < until_ns:
            reason = loop.run(sim, switches, self._due[0][0])
            if reason not in (StopReason.TIME_REACHED, StopReason.NO_EVENTS):
                return int(reason)
            heappop(self._due)[-1](sim)
        return int(loop.run(sim, switches, until_ns))

    def _lose_server(self, sim: SimState, number: int) -> None:
        endpoint = int(sim.scalars["workers"][0]) + number
        there = sim.endpoint_at == endpoint
        if there.any():  # it was not down, and its job is not over
            self._server_at[number] = there
        sim.endpoint_at[there] = NONE
        sim.timer_ns[endpoint] = NEVER

    def _new_server(self, sim: SimState, number: int) -> None:
        if not sim.ranks.job[number]["open"]:
            return
        known = sim.servers.member_at[number]
        members = sorted(np.flatnonzero(known != UNKNOWN_SENDER), key=lambda place: known[place])
        state = jobs_on_hosts.server_of_job(self._supervised.run_of(number), self._plan.timers)
        put_server(sim.servers, number, state, self._supervised.server_templates(number), members)
        sim.endpoint_at[self._server_at[number]] = int(sim.scalars["workers"][0]) + number
