"""Summaries as tables, 80 columns wide at most for two jobs and five runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from esa.report.grid import UNKNOWN, Grid
from esa.report.records import VIRTUAL, FlowSummary, JobSummary, Summary

# What the switch did, in the order of a packet's way.
COUNTERS = (
    "gradients",
    "aggregated",
    "completed",
    "collisions",
    "preemptions",
    "evicted",
    "aged",
    "expired",
    "reminders",
    "misses",
    "resends",
    "duplicates",
    "denied",
)
FAULTS = ("packets", "lost", "duplicated", "reordered", "delayed", "overflowed", "retried")
COMPARED_COUNTERS = ("collisions", "preemptions", "evicted", "reminders")
MAX_COLUMNS = 6  # jobs side by side; of more, the sum
MAX_COMPARED_JOBS = 12  # of more, means alone
MAX_COMPARED_FLOWS = 12


def run_tables(summary: Summary) -> list[Grid]:
    """All that have something to say of a run."""
    return [
        jct_table(summary),
        fragment_table(summary),
        *([counter_table(summary)] if summary.switch_counters else []),
        *([tier_table(summary)] if summary.tiers is not None else []),
        *([flow_table(summary)] if summary.flows is not None else []),
        *([fault_table(summary)] if summary.faults is not None else []),
        *([failure_table(summary)] if summary.failures is not None else []),
    ]


def jct_table(summary: Summary) -> Grid:
    """Times, one row per job; of what no job knows there is no column."""
    title = f"{summary.scenario}: {summary.policy} on {summary.switch}, seed {summary.seed}"
    table = Grid(title if summary.incomplete is None else f"{title} (incomplete)")
    digits = _digits(summary)
    columns = {
        "JCT s": [_number(job.jct_s, digits) for job in summary.jobs],
        "sums by": [_sums_by(summary, job) for job in summary.jobs],
        "wait s": [_number(job.wait_s, digits) for job in summary.jobs],
        "bound s": [_number(job.bound_s, digits) for job in summary.jobs],
        "/ bound": [_ratio(job.jct_s, job.bound_s) for job in summary.jobs],
        "/ alone": [_number(job.inflation, 2) for job in summary.jobs],
        "compute s": [_number(job.compute_s, digits) for job in summary.jobs],
        "comm s": [_number(job.comm_s, digits) for job in summary.jobs],
        "loss": [_number(job.final_loss, 4) for job in summary.jobs],
        "accuracy": [_number(job.accuracy, 3) for job in summary.jobs],
    }
    known = {name: cells for name, cells in columns.items() if name == "JCT s" or set(cells) != {UNKNOWN}}
    table.head += known
    for job, *cells in zip(summary.jobs, *known.values(), strict=True):
        table.add(job.name, *cells)
    table.caption = (
        f"mean JCT {_number(summary.mean_jct_s, digits)} s, makespan {_number(summary.makespan_s, digits)} s, "
        f"mean occupancy {_part(summary.occupancy_mean)}"
    )
    if summary.unseated:
        table.caption += f"; {summary.unseated} of {len(summary.jobs)} jobs found no rows, and were rings"
    return table


def fragment_table(summary: Summary) -> Grid:
    """What each job sent, one row per job."""
    table = Grid("fragments", ["", "sent", "resends", "via PS"])
    for job in summary.jobs:
        table.add(job.name, str(job.fragments), str(job.resends), str(job.via_ps))
    return table


def counter_table(summary: Summary) -> Grid:
    """What the switch counted, one column per job; of many jobs, the sum."""
    table = Grid("switch counters")
    columns = summary.switch_counters
    if len(columns) > MAX_COLUMNS:
        columns = {f"{len(columns)} jobs": {name: summary.total(name) for name in COUNTERS}}
    table.head += columns
    for name in COUNTERS:
        table.add(name, *(str(counters.get(name, 0)) for counters in columns.values()))
    return table


def tier_table(summary: Summary) -> Grid:
    """Jobs over several racks, one row each: packets to the racks' switches, and from there to the root."""
    table = Grid("over racks", ["", "from workers", "to the root", "ratio"])
    for job, tier in (summary.tiers or {}).items():
        table.add(job, str(tier.from_workers), str(tier.to_root), _number(tier.reduction, 2))
    return table


def fault_table(summary: Summary) -> Grid:
    """What was done to packets on purpose, one row per link and direction, and their sum."""
    table = Grid("faults injected", ["", *FAULTS])
    total: Counter[str] = Counter()
    for link, directions in (summary.faults or {}).items():
        for direction, counters in directions.items():
            total.update(counters)
            table.add(f"{link} {direction.replace('_', ' ')}", *(str(counters.get(name, 0)) for name in FAULTS))
    table.add("all", *(str(total[name]) for name in FAULTS))
    return table


def flow_table(summary: Summary) -> Grid:
    """Traffic of no job, one row per flow."""
    table = Grid("flows", ["", "kind", "seconds", "MB", "Mb/s", "lost", "resends"], left=frozenset({0, 1}))
    for flow in summary.flows or ():
        table.add(
            flow.name,
            flow.kind,
            _number(flow.seconds, _digits(summary)),
            f"{flow.bytes / 1e6:.3f}",
            _mbps(flow),
            _count(flow.lost),
            _count(flow.resends),
        )
    return table


def failure_table(summary: Summary) -> Grid:
    """What died, one row each."""
    table = Grid("failures", ["", "died s", "back s", "works again s", "stopped"], left=frozenset({0, 4}))
    for failure in summary.failures or ():
        table.add(
            f"{failure.what} {failure.name}",
            _number(failure.died_s, _digits(summary)),
            _number(failure.back_s, _digits(summary)),
            _number(failure.restored_s, _digits(summary)),
            ", ".join(failure.stopped) or UNKNOWN,
        )
    return table


def comparison_table(summaries: Sequence[Summary]) -> Grid:
    """One column per run, the first being what the others are compared with."""
    first = summaries[0]
    on_one = len({summary.switch for summary in summaries}) == 1
    columns = [summary.policy if on_one else f"{summary.policy} ({summary.switch})" for summary in summaries]
    table = Grid(f"{first.scenario}: {', '.join(columns)}")
    for name, summary in zip(columns, summaries, strict=True):
        table.head.append(name if summary.incomplete is None else f"{name} (cut)")
    digits = _digits(first)
    table.add("mean JCT s", *(_number(summary.mean_jct_s, digits) for summary in summaries))
    table.add(f"mean JCT / {columns[0]}", *(_ratio(summary.mean_jct_s, first.mean_jct_s) for summary in summaries))
    table.add_known("mean JCT / bound", [_number(summary.mean_per_bound, 2) for summary in summaries])
    table.add_known("mean JCT / alone", [_number(summary.mean_inflation, 2) for summary in summaries])
    table.add_known("mean wait s", [_number(summary.mean_wait_s, digits) for summary in summaries])
    table.add_known("mean bound s", [_number(summary.mean_bound_s, digits) for summary in summaries])
    names = [job.name for job in first.jobs]
    for name in names if len(names) <= MAX_COMPARED_JOBS else ():
        jobs = [_job(summary, name) for summary in summaries]
        table.add_known(f"{name}: JCT s", [_number(job.jct_s if job else None, digits) for job in jobs])
        table.add_known(f"{name}: accuracy", [_number(job.accuracy if job else None, 3) for job in jobs])
        table.add_known(f"{name}: loss", [_number(job.final_loss if job else None, 4) for job in jobs])
    for flow in [flow.name for flow in first.flows or ()][:MAX_COMPARED_FLOWS]:
        table.add_known(f"{flow}: Mb/s", [_mbps(_flow(summary, flow)) for summary in summaries])
    for counter in COMPARED_COUNTERS:
        table.add(counter, *(str(summary.total(counter)) for summary in summaries))
    table.add_known("jobs without rows", [_count(summary.unseated) for summary in summaries])
    table.add("via PS", *(str(sum(job.via_ps for job in summary.jobs)) for summary in summaries))
    table.add("resends", *(str(sum(job.resends for job in summary.jobs)) for summary in summaries))
    table.add("mean occupancy", *(_part(summary.occupancy_mean) for summary in summaries))
    table.add_known("mean useful", [_part(summary.useful_mean) for summary in summaries])
    table.add_known("dropped", [_count(summary.dropped) for summary in summaries])
    return table


def _job(summary: Summary, name: str) -> JobSummary | None:
    return next((job for job in summary.jobs if job.name == name), None)


def _flow(summary: Summary, name: str) -> FlowSummary | None:
    return next((flow for flow in summary.flows or () if flow.name == name), None)


def _mbps(flow: FlowSummary | None) -> str:
    return UNKNOWN if flow is None or flow.goodput_bps is None else f"{flow.goodput_bps / 1e6:.1f}"


def _sums_by(summary: Summary, job: JobSummary) -> str:
    """Unknown where all sum as the run is called."""
    return UNKNOWN if not summary.unseated else "ring" if job.unseated else summary.policy


def _digits(summary: Summary) -> int:
    """Of seconds: those of a real clock differ from run to run in the second, those of virtual time repeat."""
    return 6 if summary.switch == VIRTUAL else 2


def _number(value: float | None, digits: int) -> str:
    return UNKNOWN if value is None else f"{value:.{digits}f}"


def _count(value: int | None) -> str:
    return UNKNOWN if value is None else str(value)


def _ratio(value: float | None, base: float | None) -> str:
    return UNKNOWN if value is None or not base else f"{value / base:.2f}"


def _part(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.1%}"
