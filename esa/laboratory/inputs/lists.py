"""Lists of jobs as clusters log them: when each was submitted, how many GPUs it had, and for how long.

    read_list(Path("philly.csv"), PHILLY)
    read_list(Path("cluster_log.csv"), HELIOS)

Philly: as petuum/adaptdl, branch osdi21-artifact, simulator/traces/philly.csv gives the jobs of msr-fiddle/
philly-traces. Helios: cluster_log.csv of S-Lab-System-Group/HeliosData. A job is as many iterations as it ran whole
seconds, of a second each on the GPUs that it had, evenly shared by more or fewer. Times start at the first submission.
Rows are in any order, as Philly's are (cluster by cluster); within a row times do not go backwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from esa.cluster.inventory import Cluster
from esa.cluster.kinds import ANY_KIND, Kind
from esa.laboratory.inputs.rows import InputError, Row, read_rows
from esa.laboratory.jobs import Iterations, Submitted

SECOND_NS = 10**9
MAX_S = 10**9
MAX_GPUS = 100_000


@dataclass(frozen=True)
class Format:
    """What the columns are called. missing: what stands where nothing is known. later: times of a row after the
    submission, in this order.
    """

    name: str
    submitted: str
    duration: str
    gpus: str
    missing: tuple[str, ...] = ("",)
    later: tuple[str, ...] = ()


PHILLY = Format("philly", "timestamp", "duration", "num_gpus")
HELIOS = Format("helios", "submit_time", "duration", "gpu_num", ("", "None"), ("start_time", "end_time"))
FORMATS = {one.name: one for one in (PHILLY, HELIOS)}


@dataclass(frozen=True)
class JobList:
    """Jobs in the order of submission. left_out: rows without a time, a GPU or a whole second; dropped: too short, or
    beyond the days that were asked for.
    """

    jobs: tuple[Submitted, ...]
    left_out: int = 0
    dropped: int = 0


def read_list(
    path: Path, layout: Format, *, days: float | None = None, least_s: int = 1, kind: Kind = ANY_KIND
) -> JobList:
    """Read a list. days: from the first submission; least_s: that a job ran. InputError says file, line and column."""
    found: list[tuple[datetime, int, int, int]] = []
    left_out = 0
    fields = (layout.submitted, layout.duration, layout.gpus)
    for row in read_rows(path, (*fields, *layout.later)):
        if any(row.text[column] in layout.missing for column in fields):
            left_out += 1
            continue
        seconds = int(row.number(layout.duration, 0, MAX_S))
        gpus = row.whole(layout.gpus, 0, MAX_GPUS)
        at = _time(row, layout.submitted)
        _check_order(row, layout, at)
        if not (seconds and gpus):
            left_out += 1
            continue
        found.append((at, row.line, gpus, seconds))
    if not found:
        raise InputError(f"{path}: no job with a time, a GPU and a second; {left_out} rows without")
    found.sort()
    first = found[0][0]
    jobs = tuple(
        Submitted(
            f"{layout.name}-{line}",
            round((at - first).total_seconds()) * SECOND_NS,
            gpus,
            Iterations(seconds),
            iteration_ns=SECOND_NS,
            kind=kind,
        )
        for at, line, gpus, seconds in found
        if seconds >= least_s and (days is None or (at - first).total_seconds() < days * 86_400)
    )
    if not jobs:
        raise InputError(f"{path}: no job of {least_s} s or more in the first {days} days, of {len(found)}")
    return JobList(jobs, left_out, len(found) - len(jobs))


def _check_order(row: Row, layout: Format, submitted: datetime) -> None:
    last, name = submitted, layout.submitted
    for column in layout.later:
        if row.text[column] in layout.missing:
            continue
        at = _time(row, column)
        if at < last:
            raise row.error(column, f"times that do not go backwards; {name} is {row.text[name]}")
        last, name = at, column


def _time(row: Row, column: str) -> datetime:
    try:
        return datetime.strptime(row.text[column], "%Y-%m-%d %H:%M:%S")
    except ValueError:
        raise row.error(column, "a time as 2017-10-09 07:01:55") from None


def offered_load(cluster: Cluster, jobs: tuple[Submitted, ...]) -> float:
    """GPU time that is asked for, over what the cluster has between the first submission and the last; above 1 the
    queue grows. Infinite where all come at once.
    """
    asked = sum(job.work.iterations * job.iteration_ns * job.workers for job in jobs)
    span_ns = max(job.submit_ns for job in jobs) - min(job.submit_ns for job in jobs)
    return asked / (span_ns * len(cluster.gpus)) if span_ns else float("inf")
