"""The trace of a live run, of its records: what workers were at, and what switches counted.

An "iteration" of a worker has `buckets`, a list for each: its number and the `TIMES` of it; and `via_ps`, fragments so
far whose sum came from the PS. An "occupancy" has `rows` and `counters` by job. Runs that were kept without them show
the rest.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from esa.report.reading import ReadRun
from esa.report.trace import Trace

# Seconds, of one bucket: it reached the hook; the thread that quantises took it up, and was through; the first and the
# last of its fragments went to the protocol, which sends them within its window; the first and the last sum came; the
# average was written. None: not measured.
TIMES = ("launched", "taken_up", "quantised", "first_fed", "last_fed", "first_sum", "last_sum", "written")
SWITCH_COUNTERS = ("collisions", "preemptions", "evicted", "reminders", "completed")


def live_trace(run: ReadRun) -> Trace:
    summary = run.summary
    trace = Trace(run=run.name, scenario=summary.scenario, policy=summary.policy, switch=summary.switch)
    for name in dict.fromkeys(job.name for job in summary.jobs):
        trace.process(f"job {name}")
    for record in run.of("submit"):
        if isinstance(at := record.get("t"), (int, float)):
            trace.instant(trace.process(f"job {record.get('job')}"), "submitted", at)
    for record in run.of("iteration"):
        _iteration(trace, record)
    for record in run.of("occupancy"):
        _switches(trace, record)
    return trace


def _iteration(trace: Trace, record: dict[str, Any]) -> None:
    end, seconds = record.get("t"), record.get("seconds")
    if not isinstance(end, (int, float)) or not isinstance(seconds, (int, float)):
        return
    job, rank = f"job {record.get('job')}", record.get("rank")
    process, number = trace.process(job), record.get("iteration")
    start = end - seconds
    trace.span(process, f"rank {rank}: iterations", f"iteration {number}", start, end, loss=_number(record.get("loss")))
    buckets = list(_buckets(record))
    launched = [times["launched"] for _, times in buckets if times["launched"] is not None]
    if launched:
        trace.span(process, f"rank {rank}: compute", "forward, backward", start, max(start, *launched))
    for bucket, times in buckets:
        name = f"bucket {bucket}"
        for track, phase_from, phase_until in (
            ("quantise", "taken_up", "quantised"),
            ("send", "first_fed", "last_fed"),
            ("receive", "first_sum", "last_sum"),
        ):
            begin, until = times[phase_from], times[phase_until]
            if begin is not None and until is not None:
                trace.span(process, f"rank {rank}: {track}", name, begin, until, iteration=number)
        begin, until = times["first_fed"], times["last_sum"]
        if begin is not None and until is not None:
            trace.overlapping(process, f"rank {rank}: aggregate", name, begin, until, iteration=number)
        elif times["launched"] is not None and times["written"] is not None:  # summed by who tells no more
            track = f"rank {rank}: all-reduce"
            trace.overlapping(process, track, name, times["launched"], times["written"], iteration=number)
    if rank == 0 and isinstance(via_ps := record.get("via_ps"), int):
        trace.counter(trace.process(f"PS of {job}"), "sums from the PS to rank 0", end, {"fragments": via_ps})


def _buckets(record: dict[str, Any]) -> Iterator[tuple[int, dict[str, float | None]]]:
    told = record.get("buckets")
    for one in told if isinstance(told, list) else ():
        if isinstance(one, list) and len(one) == 1 + len(TIMES):
            yield one[0], {name: _number(value) for name, value in zip(TIMES, one[1:], strict=True)}


def _switches(trace: Trace, record: dict[str, Any]) -> None:
    at, rows, counters = record.get("t"), record.get("rows"), record.get("counters")
    if not isinstance(at, (int, float)) or not isinstance(rows, dict):
        return
    switch = trace.process("switches")
    trace.counter(switch, "rows by job", at, {job: _number(count) or 0 for job, count in rows.items()})
    counters = counters if isinstance(counters, dict) else {}
    for name in SWITCH_COUNTERS if counters else ():
        values = {job: _number(one.get(name)) or 0 for job, one in counters.items() if isinstance(one, dict)}
        trace.counter(switch, name, at, values)


def _number(value: Any) -> float | None:
    return value if isinstance(value, (int, float)) and abs(value) < 1e15 else None
