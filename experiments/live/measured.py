"""What a live run has shown so far, its records and its summary."""

from __future__ import annotations

import contextlib
import fcntl
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from esa.entries.tiers import sent_up
from esa.report.records import FailureSummary, FlowSummary, JobSummary, Summary, TierSummary
from experiments.live.flows import Traffic
from experiments.live.links import sending_s
from experiments.live.plan import JobPlan
from experiments.live.seats import unseated
from experiments.specs.scenario import Scenario
from topologies.forked import Forked


@dataclass
class Worker:
    """One rank's process and what it said."""

    plan: JobPlan
    rank: int
    process: Forked
    log: Path
    ready: bool = False
    iterations: int = 0
    end: dict[str, Any] | None = None
    failed: bool = False
    stopped: bool = False  # with its job; another is to come in its place
    buffer: bytes = b""

    @property
    def name(self) -> str:
        return f"job {self.plan.name} rank {self.rank}"


@dataclass
class Measured:
    """What a run has shown so far."""

    workers: list[Worker] = field(default_factory=list)
    go: dict[str, float] = field(default_factory=dict)  # job -> submission, monotonic seconds
    counters: dict[str, dict[str, int]] = field(default_factory=dict)  # by job, over all switches
    by_switch: dict[str, dict[str, dict[str, int]]] = field(default_factory=dict)  # the same of each switch
    racks: dict[str, list[str]] = field(default_factory=dict)  # job over several racks -> switches of its workers
    spines: list[str] = field(default_factory=list)  # the switches above
    occupied: list[float] = field(default_factory=list)  # part of the rows, per sample
    failures: dict[str, str] = field(default_factory=dict)  # job -> what went wrong first
    training: bool = False  # before it, whatever fails ends the run
    traffic: Traffic | None = None  # of no job
    outages: list[FailureSummary] = field(default_factory=list)  # one for each of the scenario's failures
    waited_s: dict[str, float] = field(default_factory=dict)  # job -> without hosts


class Records:
    """What happened, a JSON object a line; times are monotonic, and count from the run's start in the file."""

    def __init__(self, file: IO[str], started: float) -> None:
        with contextlib.suppress(OSError):  # whoever finds them locked knows that the run is under way
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._file = file
        self._started = started

    def now(self, event: str, **more: Any) -> None:
        self.write({"event": event, **more, "t": time.monotonic()})

    def write(self, record: dict[str, Any]) -> None:
        times: dict[str, Any] = {key: round(record[key] - self._started, 6) for key in ("t", "end") if key in record}
        if "buckets" in record:  # of each its number, then times
            times["buckets"] = [
                [number, *(None if at is None else round(at - self._started, 6) for at in bucket)]
                for number, *bucket in record["buckets"]
            ]
        self._file.write(json.dumps(record | times) + "\n")
        self._file.flush()


def summarise(scenario: Scenario, measured: Measured, problem: str | None) -> Summary:
    """What a run has shown, whole or not."""
    jobs = []
    without_rows = unseated(scenario)
    for spec in scenario.job_specs:
        workers = [worker for worker in measured.workers if worker.plan.name == spec.name]
        ends = [worker.end for worker in workers if worker.end is not None]
        job = JobSummary(
            name=spec.name,
            workers=spec.workers,
            iterations=min((worker.iterations for worker in workers), default=0),
            unseated=spec.name in without_rows or None,
        )
        for count in ("fragments", "resends", "via_ps"):
            setattr(job, count, sum(end["network"].get(count, 0) for end in ends))
        if scenario.network.ecn_packets is not None:
            job.marked = sum(end["network"].get("ecn", 0) for end in ends)
        if ends and len(ends) == len(workers):
            job.jct_s = max(end["end"] for end in ends) - measured.go[spec.name]
            job.wait_s = measured.waited_s.get(spec.name, 0.0)  # every job has its hosts before the run
            job.compute_s = _mean(end["statistics"]["compute_s"] for end in ends)
            sent = [end["network"].get("fragments", 0) for end in ends]
            job.bound_s = max(job.compute_s, sending_s(scenario, spec.name, sent))
            job.comm_s = _mean(end["statistics"]["comm_s"] for end in ends)
            job.final_loss = ends[0]["loss"]
            job.accuracy = ends[0]["accuracy"]
        jobs.append(job)
    whole = all(job.jct_s is not None for job in jobs)
    return Summary(
        scenario=scenario.name,
        policy=scenario.method,
        switch=scenario.live.switch,
        topology=scenario.topology,
        seed=scenario.seed,
        jobs=jobs,
        makespan_s=max(measured.go[job.name] + job.jct_s for job in jobs) - min(measured.go.values())
        if whole
        else None,
        switch_counters=measured.counters,
        counters_by_switch=measured.by_switch if len(measured.by_switch) > 1 and measured.counters else None,
        tiers=tiers_of(measured),
        occupancy_mean=_mean(measured.occupied) if measured.occupied else None,
        flows=_flows(scenario, measured),
        failures=measured.outages or None,
        unseated=len(without_rows) or None,
        incomplete=problem,
    ).with_means()


def tiers_of(measured: Measured) -> dict[str, TierSummary] | None:
    """Of the jobs over several racks, what they sent up; None: there are none."""
    found = {}
    for job, racks in measured.racks.items():
        below, above = (
            [counted[job] for name in names if job in (counted := measured.by_switch.get(name, {}))]
            for names in (racks, measured.spines)
        )
        found[job] = TierSummary.of(*sent_up(below, above))
    return found or None


def _flows(scenario: Scenario, measured: Measured) -> list[FlowSummary] | None:
    if not scenario.flows:
        return None
    if measured.traffic is None:
        return [FlowSummary(name=flow.name, kind=flow.kind) for flow in scenario.flows]
    return measured.traffic.summaries()


def _mean(values: Any) -> float:
    values = list(values)
    return sum(values) / len(values)
