"""The trace of a run in virtual time: the scenario is simulated once more, and looked at meanwhile.

    trace, same = virtual_trace(run, scenario_of(run))

A run keeps nothing for it: the same scenario gives the same run, bit for bit, and what is looked at does not know. So a
trace is of whatever code makes it; `same` says whether the run came out as it is kept.

Computing is told to the nanosecond, but for what begins and is over between two looks: how long it took is. Sending and
sums are seen at the looks: one at least every `step` of the run, one whenever a rank has computed. Nothing is quantised
in virtual time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from esa.protocol import NEVER
from esa.report.live_trace import SWITCH_COUNTERS
from esa.report.reading import SCENARIO, ReadRun
from esa.report.records import Summary
from esa.report.trace import Trace
from esa.sim import loop
from esa.sim.fabric.switches import Switches
from esa.sim.fabric.wiring import Control
from esa.sim.loop import SimState, StopReason
from esa.sim.plan import Outcome, Plan
from esa.sim.ranks import RANK
from esa.sim.simulate import simulate
from experiments.specs.scenario import Scenario
from experiments.virtual.check import check_virtual
from experiments.virtual.run import summarise
from experiments.virtual.translate import plan_of

STEPS = 2000  # looks over a run, beside those at the ends of computing
PS_COUNTERS = ("fragments", "collisions", "partials", "via_ps", "reminders")
_NONE = -1


def scenario_of(run: ReadRun) -> Scenario:
    """ScenarioError, one line, if the folder has none that can be simulated."""
    return Scenario.load(run.folder / SCENARIO, check_virtual)


def virtual_trace(
    run: ReadRun, scenario: Scenario, steps: int = STEPS, progress: Callable[[float], None] | None = None
) -> tuple[Trace, bool]:
    """scenario: the run's. steps: looks over the run."""
    plan = plan_of(scenario)
    step_ns, summary = step_of(run, plan, steps), run.summary
    trace = Trace(
        run=run.name, scenario=summary.scenario, policy=summary.policy, switch="virtual", step=f"{step_ns} ns"
    )
    watch = Watch(plan, trace, step_ns)
    outcome = watched(plan, watch, progress)
    _jobs(trace, outcome)
    return trace, same_run(run, summarise(scenario, outcome))


def step_of(run: ReadRun, plan: Plan, steps: int) -> int:
    """Nanoseconds between two of so many looks over the run."""
    length_s = run.summary.makespan_s or 0.0
    return max(1, round(1e9 * length_s / steps)) if length_s > 0 else plan.sample_ns


def same_run(run: ReadRun, again: Summary) -> bool:
    """Whether a run came out as it is kept."""
    kept = run.summary
    return (again.makespan_s, again.switch_counters) == (kept.makespan_s, kept.switch_counters)


class Look(Protocol):
    """Who looks at a simulation. control: is given before it begins."""

    control: Control | None

    def next_ns(self, sim: SimState) -> int:
        """When to look next; what is over already: at once."""
        ...

    def look(self, sim: SimState, now_ns: int) -> None: ...


def watched(plan: Plan, watch: Look, progress: Callable[[float], None] | None = None) -> Outcome:
    """`simulate(plan)`, with `watch.look` called in between."""

    def run(sim: SimState, switches: Switches, until_ns: int) -> int:
        while (stop_ns := watch.next_ns(sim)) < until_ns:
            reason = loop.run(sim, switches, stop_ns)
            watch.look(sim, int(sim.scalars["now_ns"][0]))
            if reason != StopReason.TIME_REACHED:
                break
        else:
            reason = loop.run(sim, switches, until_ns)
            watch.look(sim, int(sim.scalars["now_ns"][0]))
        if reason == StopReason.NO_EVENTS:  # nothing more happens before `until_ns`: it is that time now
            reason = loop.run(sim, switches, until_ns)
        return int(reason)

    def observer(control: Control) -> Callable[[SimState, Switches, int], int]:
        watch.control = control
        return run

    return simulate(plan, progress, observer=observer)


class _Sum:
    """A sum of one rank on its way: parts from `start` to `end`; when what was seen first."""

    def __init__(self, number: int, start: int, end: int, begun_ns: int) -> None:
        self.number, self.start, self.end, self.begun_ns = number, start, end, begun_ns
        self.sent_from = self.sent_until = self.summed_from = _NONE


class Watch:
    """Writes down what it sees of a simulation into a trace."""

    def __init__(self, plan: Plan, trace: Trace, step_ns: int) -> None:
        self.control: Control | None = None
        self._plan, self._trace, self._step_ns = plan, trace, step_ns
        self._next_ns = 0
        self._before_ns = 0  # the look before
        self._place = [(job, rank) for job in plan.jobs for rank in range(job.workers)]
        workers = len(self._place)
        self._until = np.zeros(workers, RANK["until_ns"])
        self._computed, self._computed_until = np.zeros(workers, np.int64), [0] * workers
        self._begun = np.zeros(workers, np.int64)
        self._ends = [0] * workers  # of the newest sum that was seen
        self._sent_ns, self._summed_ns = [0] * workers, [0] * workers  # when the newest was sent, and had come
        self._sums: list[list[_Sum]] = [[] for _ in range(workers)]
        self._counted: dict[tuple[str, str], object] = {}
        for job in plan.jobs:
            trace.process(f"job {job.name}")

    def next_ns(self, sim: SimState) -> int:
        """When to look: at the next step, or just after a rank has computed."""
        until = sim.ranks.rank["until_ns"]
        ends = until[until >= sim.scalars["now_ns"][0]]
        return min(self._next_ns, int(ends.min()) + 1 if len(ends) else NEVER)

    def look(self, sim: SimState, now_ns: int) -> None:
        self._see_computing(sim, now_ns)
        self._see_sums(sim, now_ns)
        if now_ns >= self._next_ns:
            self._next_ns = now_ns + self._step_ns
            self._see_counters(sim, now_ns)
        self._before_ns = now_ns

    def _see_computing(self, sim: SimState, now_ns: int) -> None:
        rank = sim.ranks.rank
        computing = (rank["until_ns"] > now_ns) & (rank["until_ns"] < NEVER)  # of a job that is stopped: NEVER
        news = (rank["compute_ns"] != self._computed) | (computing & (rank["until_ns"] != self._until))
        for w in np.flatnonzero(news).tolist():
            me, begun_ns, until_ns = rank[w], now_ns, now_ns
            unseen_ns = int(me["compute_ns"] - self._computed[w])  # with what is being computed now
            if computing[w] and me["until_ns"] != self._until[w]:
                until_ns = int(me["until_ns"])
                begun_ns = until_ns - self._duration_ns(sim, w)
                unseen_ns -= until_ns - begun_ns
                self._tell_computing(w, begun_ns, until_ns, int(me["rounds"]))
            if unseen_ns > 0:  # begun and over since the look before
                end_ns = min(begun_ns, now_ns)
                self._tell_computing(w, max(self._computed_until[w], end_ns - unseen_ns), end_ns, int(me["rounds"]))
            self._computed_until[w] = max(self._computed_until[w], until_ns if computing[w] else 0)
        self._until, self._computed = rank["until_ns"].copy(), rank["compute_ns"].copy()

    def _duration_ns(self, sim: SimState, w: int) -> int:
        """Of what rank w computes now."""
        me = sim.ranks.rank[w]
        duration_ns = sim.ranks.operation[me["at"]]["ns"]
        if me["first_pace"] == _NONE:
            return int(duration_ns)
        return int(duration_ns * sim.ranks.pace[me["first_pace"] + me["round"]])

    def _tell_computing(self, w: int, from_ns: int, until_ns: int, iteration: int) -> None:
        job, rank = self._place[w]
        process = self._trace.process(f"job {job.name}")
        self._trace.span(
            process, f"rank {rank}: compute", "compute", from_ns / 1e9, until_ns / 1e9, iteration=iteration
        )

    def _see_sums(self, sim: SimState, now_ns: int) -> None:
        ranks, state = sim.ranks, sim.workers.state.worker
        for w in np.flatnonzero((ranks.rank["begun"] != self._begun) | [bool(one) for one in self._sums]).tolist():
            me = ranks.rank[w]
            if me["begun"] < self._begun[w]:  # its job was stopped, and goes on from an iteration's beginning
                self._sums[w], self._begun[w], self._ends[w] = [], me["begun"], int(me["summed"])
            for number in range(int(self._begun[w]), int(me["begun"])):
                # A place is taken by a newer sum only when this one has come: then it has no end of its own any more.
                kept = number >= int(me["begun"]) - int(me["sums"])
                end = (
                    int(ranks.sum[me["first_sum"] + (number & (int(me["sums"]) - 1))]["end"]) if kept else self._ends[w]
                )
                self._sums[w].append(_Sum(number, self._ends[w], end, now_ns))
                self._ends[w] = end
            self._begun[w] = me["begun"]
            summed = int(me["summed"])
            by_messages = ranks.job[me["job"]]["exchanges"]
            sent = int(me["fed"]) if by_messages else summed + int(state[w]["snd_nxt"] - state[w]["read_seq"])
            self._sums[w] = [one for one in self._sums[w] if not self._moved(one, w, sent, summed, now_ns)]

    def _moved(self, one: _Sum, w: int, sent: int, summed: int, now_ns: int) -> bool:
        """Note how far a sum is; whether it has come, and is in the trace."""
        if one.sent_from == _NONE and max(sent, summed) > one.start:
            one.sent_from = max(one.begun_ns, self._before_ns, self._sent_ns[w])
        if one.sent_until == _NONE and max(sent, summed) >= one.end:
            one.sent_until = self._sent_ns[w] = now_ns
        if one.summed_from == _NONE and summed > one.start:
            one.summed_from = max(one.begun_ns, self._before_ns, self._summed_ns[w])
        if summed < one.end:
            return False
        self._summed_ns[w] = now_ns
        job, rank = self._place[w]
        process, name = self._trace.process(f"job {job.name}"), f"sum {one.number}"
        times = {key: max(0, value) / 1e9 for key, value in vars(one).items() if key not in ("number", "start", "end")}
        parts = {"fragments": one.end - one.start}
        self._trace.span(process, f"rank {rank}: send", name, times["sent_from"], times["sent_until"], **parts)
        self._trace.overlapping(process, f"rank {rank}: aggregate", name, times["begun_ns"], now_ns / 1e9, **parts)
        self._trace.span(process, f"rank {rank}: receive", name, times["summed_from"], now_ns / 1e9, **parts)
        return True

    def _see_counters(self, sim: SimState, now_ns: int) -> None:
        assert self.control is not None
        counters, at_s = self.control.counters(), now_ns / 1e9
        rows = {job: max(0, one["seated"] - one["released"]) for job, one in counters.items()}
        self._tell("switches", "rows by job", at_s, rows)
        for name in SWITCH_COUNTERS:
            self._tell("switches", name, at_s, {job: one[name] for job, one in counters.items()})
        for k, job in enumerate(self._plan.jobs):
            if job.sums_in_network:
                counted = sim.servers.state.counter[k]
                self._tell(f"PS of job {job.name}", "packets", at_s, {name: int(counted[name]) for name in PS_COUNTERS})
        self._tell("PSs", "bytes", at_s, {"received and sent": int(sim.scalars["server_bytes"][0])})

    def _tell(self, process: str, name: str, at_s: float, values: dict[str, int]) -> None:
        """What has not changed is not told again."""
        if self._counted.get((process, name)) != values:
            self._counted[process, name] = values
            self._trace.counter(self._trace.process(process), name, at_s, values)


def _jobs(trace: Trace, outcome: Outcome) -> None:
    process = trace.process("jobs")
    for job in outcome.jobs:
        start = job.start_s if job.start_s is not None else outcome.end_s
        end = outcome.end_s if job.jct_s is None else job.submit_s + job.jct_s
        if start > job.submit_s:
            trace.span(process, f"{job.name}: hosts", "waits", job.submit_s, start)
        trace.span(process, f"{job.name}: hosts", "trains", start, max(start, end))
