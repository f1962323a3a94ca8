"""Runs, sweeps and figures as pandas data frames.

    from esa.report import load

    frames = load("results/contention-esa-...", "results/contention-atp-...")
    frames.jobs.groupby("policy").jct_s.mean()
    frames.samples.plot(x="t_s", y="taken")

`COLUMNS` says what every column means, and in what unit; a column that no run has is there, and empty. What was left
out of a folder is in `notes`; a path that is none of them is a `ReportError`, unless another one is.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from esa.report.reading import Found, ReadFigure, ReadRun, ReadSweep, read
from esa.report.records import ReportError

_RUN = {
    "run": "the run's folder; of a sweep: its folder and the point's number",
    "scenario": "its name",
    "policy": "esa, atp, switchml, ...; gloo, ring, ... where no switch sums",
    "seed": "of everything that is drawn",
}
_JOB = {
    "workers": "of the job",
    "jct_s": "seconds from submission to the last worker's finish",
    "wait_s": "seconds of that in which it had no hosts",
    "bound_s": "seconds that its computing and its links need at least",
    "alone_s": "seconds, its JCT where nobody else is on the network",
    "inflation": "jct_s over alone_s",
    "iterations": "that every worker has finished",
    "compute_s": "seconds, mean over the workers, without those in which nothing was left to do but to wait",
    "comm_s": "seconds, mean over the workers, in which at least one bucket was on its way",
    "final_loss": "of the final weights on the held-out samples; live",
    "accuracy": "likewise, 0 to 1",
    "fragments": "sent for the first time, over all workers",
    "resends": "sent again",
    "via_ps": "fragments whose sum came from the PS",
    "marked": "fragments whose sum met a long queue",
    "unseated": "true: found no rows, and was a ring",
}
_MEANS = {
    "mean_jct_s": "seconds, over the jobs",
    "makespan_s": "seconds from the first submission to the last end",
    "mean_wait_s": "seconds, over the jobs",
    "mean_bound_s": "seconds, over the jobs",
    "mean_per_bound": "jct_s over bound_s, mean over the jobs",
    "mean_inflation": "jct_s over alone_s, mean over the jobs",
    "occupancy_mean": "part of the shared rows in use, 0 to 1",
    "useful_mean": "part of them that waits for workers still; virtual time",
    "dropped": "packets lost to full queues",
    "packet_hops": "packets that reached the end of a link; virtual time",
    "unseated": "jobs that found no rows, and were rings",
    "incomplete": "why the run did not end as it should; missing: it did",
}
COLUMNS: dict[str, dict[str, str]] = {
    "runs": {
        **_RUN,
        "switch": "embedded, bmv2 or virtual",
        "topology": "of the network",
        **_MEANS,
        "esa": "the version that it was made with",
        "code": "a hash of the code that it was made with",
    },
    "jobs": {**_RUN, "job": "its name", **_JOB},
    "iterations": {
        **_RUN,
        "job": "its name",
        "rank": "the worker",
        "iteration": "from 0; live",
        "t_s": "seconds from the run's start to the iteration's end",
        "seconds": "that it took",
        "loss": "of the rank's own batch",
    },
    "samples": {
        **_RUN,
        "t_s": "seconds since the run's start",
        "taken": "rows that hold something, over all switches",
        "useful": "of these, rows that wait for workers still; virtual time, as all below",
        "ps_bytes": "bytes that PSs received and sent since the start, on the wire",
        "queue_max": "packets in the longest queue of a switch",
        "queue_mean": "packets, over the queues of the switches",
        "running": "jobs",
    },
    "occupancy": {**_RUN, "t_s": "seconds since the run's start; live", "job": "its name", "rows": "that it holds"},
    "counters": {**_RUN, "job": "its name", "counter": "of the switches' counters", "count": "packets, over the run"},
    "flows": {
        **_RUN,
        "flow": "its name",
        "kind": "tcp or constant",
        "bytes": "of payload that arrived",
        "seconds": "until it had",
        "goodput_bps": "bits per second",
        "lost": "packets, of a constant flow",
        "resends": "packets, of a TCP flow",
    },
    "settings": {**_RUN, "key": "of the scenario, dotted", "value": "as text"},
    "points": {
        "sweep": "its folder",
        "point": "its number in the grid",
        "seed": "of everything that is drawn",
        **_MEANS,
    },  # and a column for each axis, behind `seed`
}


@dataclass(frozen=True)
class Frames:
    """Data frames; `COLUMNS` has the columns of each by its name.

    figures: by name, with the columns of their CSV files: x, x_low and x_high are a figure and its 95 % interval.
    """

    runs: pd.DataFrame
    jobs: pd.DataFrame
    iterations: pd.DataFrame
    samples: pd.DataFrame
    occupancy: pd.DataFrame
    counters: pd.DataFrame
    flows: pd.DataFrame
    settings: pd.DataFrame
    points: pd.DataFrame
    figures: dict[str, pd.DataFrame] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def load(*paths: str | os.PathLike[str]) -> Frames:
    """Read what lies at the paths; ReportError, one line, if it is no run, sweep or figure at all."""
    found = read(map(Path, paths))
    if found.empty:
        raise ReportError("; ".join(found.problems) or "no folder of a run was given")
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in COLUMNS}
    for run in found.runs:
        _add(rows, _of_run(run))
    for sweep in found.sweeps:
        _add(rows, _of_sweep(sweep))
    frames = {name: _frame(rows[name], COLUMNS[name]) for name in COLUMNS}
    figures = {figure.name: _of_figure(figure) for figure in found.figures}
    return Frames(**frames, figures=figures, notes=_notes(found))


def _notes(found: Found) -> tuple[str, ...]:
    return (*found.notes, *found.problems)


def _add(rows: dict[str, list[dict[str, Any]]], more: Iterable[tuple[str, dict[str, Any]]]) -> None:
    for name, row in more:
        rows[name].append(row)


def _of_run(run: ReadRun) -> Iterable[tuple[str, dict[str, Any]]]:
    summary = run.summary
    mine = {"run": run.name, "scenario": summary.scenario, "policy": summary.policy, "seed": summary.seed}
    made = {name: run.versions.get(name) for name in ("esa", "code")}
    yield "runs", mine | {"switch": summary.switch, "topology": summary.topology} | _means(summary) | made
    yield from _of_summary(summary, mine)
    for key, value in run.settings.items():
        yield "settings", mine | {"key": key, "value": str(value)}
    for record in run.records:
        event = record.get("event")
        if event == "iteration":
            yield "iterations", mine | {"t_s": record.get("t")} | _chosen(record, COLUMNS["iterations"])
        elif event == "sample":
            yield "samples", mine | _chosen(record, COLUMNS["samples"])
        elif event == "occupancy" and isinstance(record.get("rows"), dict):
            yield "samples", mine | {"t_s": record.get("t"), "taken": sum(record["rows"].values())}
            for job, count in record["rows"].items():
                yield "occupancy", mine | {"t_s": record.get("t"), "job": job, "rows": count}


def _of_summary(summary: Any, mine: dict[str, Any]) -> Iterable[tuple[str, dict[str, Any]]]:
    for job in summary.jobs:
        yield "jobs", mine | {"job": job.name} | {name: getattr(job, name) for name in _JOB}
    for job_name, counters in summary.switch_counters.items():
        for counter, count in counters.items():
            yield "counters", mine | {"job": job_name, "counter": counter, "count": count}
    for flow in summary.flows or ():
        yield "flows", mine | {"flow": flow.name} | _chosen(vars(flow), COLUMNS["flows"])


def _of_sweep(sweep: ReadSweep) -> Iterable[tuple[str, dict[str, Any]]]:
    name = sweep.folder.resolve().name
    for point in sweep.points:
        summary = point.summary
        place = {"sweep": name, "point": point.number, "seed": point.seed}
        yield "points", place | {axis: _value(text) for axis, text in point.axes.items()} | _means(summary)
        mine = {"run": f"{name}/{point.number}", "scenario": summary.scenario, "policy": summary.policy}
        yield from _of_summary(summary, mine | {"seed": point.seed})


def _of_figure(figure: ReadFigure) -> pd.DataFrame:
    rows = [[_value(cell) for cell in row] for row in figure.rows]
    return pd.DataFrame([dict(zip(figure.head, row, strict=False)) for row in rows], columns=figure.head)


def _means(summary: Any) -> dict[str, Any]:
    return {name: getattr(summary, name) for name in _MEANS}


def _chosen(record: Mapping[str, Any], columns: Mapping[str, str]) -> dict[str, Any]:
    return {name: record[name] for name in columns if name in record}


def _value(text: str) -> Any:
    """A number where the text is one."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text or None


def _frame(rows: list[dict[str, Any]], columns: Mapping[str, str]) -> pd.DataFrame:
    """With all columns, those that are not documented (a sweep's axes) behind the seed."""
    more = [name for name in dict.fromkeys(key for row in rows for key in row) if name not in columns]
    at = 1 + (list(columns).index("seed") if "seed" in columns else -1)
    return pd.DataFrame(rows, columns=[*list(columns)[:at], *more, *list(columns)[at:]])
