"""One run in virtual time: its figures, and its folder of results.

    summary, folder = run_virtual(Scenario.load(path, check_virtual), Path("results"), console)

`evaluate` is the run itself, a pure function of the scenario; what it returns holds no time of the machine's, so equal
scenarios give equal bytes. The folder holds them, and is there however the scenario ends.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from esa.errors import EsaError
from esa.report.records import (
    RECORDS,
    VIRTUAL,
    FailureSummary,
    FlowSummary,
    JobSummary,
    Summary,
    TierSummary,
)
from esa.signals import ending_asks
from esa.sim import simulate
from esa.sim.failure import HOST
from esa.sim.plan import JobOutcome, Outcome
from experiments.common.folders import give_to_caller, new_folder
from experiments.common.part_progress import PartProgress
from experiments.specs.flows import CONSTANT, TCP
from experiments.specs.scenario import Scenario
from experiments.virtual.alone import Alone, jct_alone
from experiments.virtual.translate import plan_of

SERIES_FILE = "series.csv"
INTERRUPTED = "interrupted"  # what the simulator calls it


class SimulationError(EsaError, RuntimeError):
    """A simulation did not end as it should; one line."""


def evaluate(
    scenario: Scenario,
    progress: Callable[[float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> tuple[Summary, Outcome]:
    """Run a scenario, and its jobs alone. progress: called with the part that is done; should_stop: asked at every
    sample.
    """
    plan, alone = plan_of(scenario), None
    share = 0.5 if scenario.virtual.alone else 1.0
    outcome = simulate(plan, None if progress is None else lambda part: progress(share * part), should_stop)
    if scenario.virtual.alone and outcome.incomplete is None:
        alone = jct_alone(
            scenario,
            plan,
            outcome,
            None if progress is None else lambda part: progress(share + (1 - share) * part),
            should_stop,
        )
    return summarise(scenario, outcome, alone), outcome


def run_virtual(scenario: Scenario, results: Path, console: Console) -> tuple[Summary, Path]:
    """Run one scenario; returns its summary and folder. Asked to end, it ends early, and its summary says so."""
    folder = new_folder(results, f"{scenario.name}-{scenario.method}")
    (folder / "scenario.toml").write_text(scenario.to_toml())
    summary = _unfinished(scenario, "ended early")
    console.print(f"{scenario.name}: policy {scenario.method}, results in {folder}", highlight=False, soft_wrap=True)
    try:
        with ending_asks() as asked, PartProgress(console, f"{scenario.name}: {scenario.method}") as shown:
            summary, outcome = evaluate(scenario, shown.part, asked)
        (folder / RECORDS).write_text(records_text(outcome))
        (folder / SERIES_FILE).write_text(series_text(outcome))
    finally:
        summary.save(folder)
        give_to_caller(folder)
    return summary, folder


def _unfinished(scenario: Scenario, problem: str) -> Summary:
    return Summary(
        scenario=scenario.name,
        policy=scenario.method,
        switch=VIRTUAL,
        topology=scenario.topology,
        seed=scenario.seed,
        jobs=[JobSummary(name=job.name, workers=job.workers) for job in scenario.job_specs],
        incomplete=problem,
    )


def summarise(scenario: Scenario, outcome: Outcome, alone: Alone | None = None) -> Summary:
    """What virtual time has shown, in the words of a live run."""
    ends = [job.submit_s + job.jct_s for job in outcome.jobs if job.jct_s is not None]
    whole = len(ends) == len(outcome.jobs)
    alone_s = (None,) * len(outcome.jobs) if alone is None else alone.jct_s
    return Summary(
        scenario=scenario.name,
        policy=scenario.method,
        switch=VIRTUAL,
        topology=scenario.topology,
        seed=scenario.seed,
        jobs=[
            _job_summary(job, its_own, marks=scenario.network.ecn_packets is not None)
            for job, its_own in zip(outcome.jobs, alone_s, strict=True)
        ],
        makespan_s=max(ends) - min(job.submit_s for job in outcome.jobs) if whole else None,
        alone_runs=None if alone is None else alone.runs,
        switch_counters=outcome.switch_counters,
        tiers={job: TierSummary.of(*sent) for job, sent in outcome.sent_up.items()} or None,
        occupancy_mean=outcome.occupancy_mean,
        useful_mean=outcome.useful_mean,
        dropped=outcome.dropped,
        packet_hops=outcome.packet_hops,
        checked=outcome.checked if scenario.virtual.carry_gradients else None,
        faults=outcome.faults if scenario.faults else None,
        flows=_flow_summaries(scenario, outcome) if scenario.flows else None,
        failures=_failure_summaries(scenario, outcome) if scenario.failures else None,
        unseated=sum(job.unseated for job in outcome.jobs) or None,
        incomplete=outcome.incomplete,
    ).with_means()


def _flow_summaries(scenario: Scenario, outcome: Outcome) -> list[FlowSummary]:
    return [
        FlowSummary.of(
            spec.name,
            spec.kind,
            flow.bytes,
            (outcome.end_s if flow.end_s is None else flow.end_s) - spec.start_s,
            lost=flow.lost if spec.kind == CONSTANT else None,
            resends=flow.resends if spec.kind == TCP else None,
        )
        for spec, flow in zip(scenario.flows, outcome.flows, strict=True)
    ]


def _failure_summaries(scenario: Scenario, outcome: Outcome) -> list[FailureSummary]:
    return [
        FailureSummary(
            what=spec.what,
            name=spec.name,
            died_s=came.died_s,
            back_s=came.back_s,
            restored_s=came.back_s if spec.what != HOST else None,
            stopped=list(came.stopped),
        )
        for spec, came in zip(scenario.failures, outcome.failures, strict=True)
    ]


def _job_summary(job: JobOutcome, alone_s: float | None, *, marks: bool) -> JobSummary:
    return JobSummary(
        name=job.name,
        workers=job.workers,
        jct_s=job.jct_s,
        wait_s=job.wait_s,
        bound_s=job.bound_s,
        alone_s=alone_s,
        inflation=job.jct_s / alone_s if job.jct_s is not None and alone_s else None,
        iterations=job.iterations,
        compute_s=job.compute_s,
        comm_s=job.comm_s,
        fragments=job.fragments,
        resends=job.resends,
        via_ps=job.via_ps,
        marked=job.marked if marks else None,
        unseated=job.unseated or None,
    )


def records_text(outcome: Outcome) -> str:
    """One event a line: a "job", "flow" or "failure" for each of them, a "sample" for each line of the time series."""
    jobs = [{"event": "job", **vars(job)} for job in outcome.jobs]
    flows = [{"event": "flow", **vars(flow)} for flow in outcome.flows]
    samples = [{"event": "sample", **_plain(line)} for line in outcome.series]
    failures = [{"event": "failure", **vars(failure)} for failure in outcome.failures]
    return "".join(json.dumps(record) + "\n" for record in (*jobs, *flows, *failures, *samples))


def series_text(outcome: Outcome) -> str:
    """The time series as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(outcome.series.dtype.names or ())
    writer.writerows(outcome.series.tolist())
    return text.getvalue()


def _plain(line: np.void) -> dict[str, Any]:
    return dict(zip(line.dtype.names or (), line.item(), strict=True))
