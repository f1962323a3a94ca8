"""A plan's failures, as they happen: between two runs of the event loop, at their times."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from heapq import heapify, heappop

from esa.errors import BadInput
from esa.protocol import NEVER
from esa.sim.fabric.wiring import Control
from esa.sim.failure import HOST, PS, SWITCH, FailureOutcome
from esa.sim.jobs_on_hosts import JobsOnHosts
from esa.sim.loop import SimState
from esa.sim.plan import Plan


class Failures:
    """BadInput, one line, where one of them cannot be had."""

    def __init__(self, plan: Plan, control: Control, jobs: JobsOnHosts, sim: SimState) -> None:
        self._plan, self._control, self._jobs = plan, control, jobs
        self._check(sim)
        self.outcomes = [FailureOutcome(failure.kind, failure.number) for failure in plan.failures]
        self._due = [(failure.at_ns, number, False) for number, failure in enumerate(plan.failures)]
        self._due += [
            (failure.at_ns + failure.down_ns, number, True)
            for number, failure in enumerate(plan.failures)
            if failure.down_ns is not None
        ]
        heapify(self._due)

    @property
    def next_ns(self) -> int:
        """When the next one happens, or is over."""
        return self._due[0][0] if self._due else NEVER

    def happen(self, sim: SimState, now_ns: int) -> None:
        """Let happen what is due by now."""
        while self.next_ns <= now_ns:
            _, number, over = heappop(self._due)
            if over:
                self._back(sim, number, now_ns)
            else:
                self._die(sim, number, now_ns)

    def _die(self, sim: SimState, number: int, now_ns: int) -> None:
        failure = self._plan.failures[number]
        stopped: tuple[str, ...] = ()
        if failure.kind == SWITCH:
            self._control.fail(failure.number)
        elif failure.kind == PS:
            self._jobs.lose_server(sim, failure.number)
        else:
            stopped = tuple(self._plan.jobs[job].name for job in self._jobs.lose_host(sim, failure.number, now_ns))
        self.outcomes[number] = replace(self.outcomes[number], died_s=now_ns / 1e9, stopped=stopped)

    def _back(self, sim: SimState, number: int, now_ns: int) -> None:
        failure = self._plan.failures[number]
        back: dict[str, Callable[[], None]] = {
            SWITCH: lambda: self._control.put_back(failure.number),
            PS: lambda: self._jobs.new_server(sim, failure.number),
            HOST: lambda: self._jobs.host_is_back(failure.number),
        }
        back[failure.kind]()
        self.outcomes[number] = replace(self.outcomes[number], back_s=now_ns / 1e9)

    def _check(self, sim: SimState) -> None:
        plan = self._plan
        there = {
            SWITCH: len(plan.fabric.graph.switches),
            PS: len(plan.jobs),
            HOST: plan.fabric.hosts,
        }
        for failure in plan.failures:
            if not 0 <= failure.number < there[failure.kind]:
                raise BadInput(f"failure: {failure.kind} {failure.number}; allowed: 0 to {there[failure.kind] - 1}")
            if failure.kind == PS and not plan.jobs[failure.number].sums_in_network:
                job = plan.jobs[failure.number]
                raise BadInput(f"failure: the PS of job {job.name}, which has none; allowed: of a job over 'ina'")
            if failure.kind == HOST:
                self._check_host(sim, failure.number)

    def _check_host(self, sim: SimState, host: int) -> None:
        """What was on a host must be such as can be stopped, wherever a scheduler may put it."""
        for number, job in enumerate(self._plan.jobs):
            why = self._jobs.why_not_to_be_stopped(sim, number)
            if why is not None:
                raise BadInput(f"failure: host {host}: job {job.name}: {why}; allowed: where all jobs can be stopped")
        for flow in self._plan.flows:
            if host in (flow.source, flow.target):
                raise BadInput(f"failure: host {host}: flow {flow.name} has an end there; allowed: hosts without flows")
