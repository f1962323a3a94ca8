"""A run as the page shows it: plain values for JSON, every name as text that can be seen.

view_of(read_run(folder), state="finished")
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any

from esa.report.content import value_text
from esa.report.live_trace import SWITCH_COUNTERS
from esa.report.numbers import number
from esa.report.pictures import timeline
from esa.report.plain import plain
from esa.report.progress import JobProgress
from esa.report.reading import ReadRun
from esa.report.records import VIRTUAL

POINTS = 600  # of a line
MAX_JOBS = 64  # of more, the first

Series = dict[str, Any]
"""title, unit, kind ("lines", "stacked"), t: seconds, lines: name and values, None where there is none."""


def view_of(run: ReadRun, state: str) -> dict[str, Any]:
    """state: "finished", "under way", "incomplete"."""
    virtual = run.summary.switch == VIRTUAL
    summary = run.summary.as_dict()
    view: dict[str, Any] = _finite(
        {
            "name": plain(run.name),
            "state": state,
            "virtual": virtual,
            "notes": [plain(note, 400) for note in run.notes],
            "summary": {key: summary[key] for key in summary if key not in ("jobs", "switch_counters")},
            "jobs": jobs_of(run),
            "now_s": latest_s(run.records),
            "series": virtual_series(run) if virtual else live_series(run),
            "rows": _whole(run.settings.get("aggregators")),
            "settings": [[plain(key), plain(value_text(value))] for key, value in run.settings.items()],
            "versions": [[plain(key), plain(value)] for key, value in run.versions.items()],
        }
    )
    return view


def jobs_of(run: ReadRun) -> list[dict[str, Any]]:
    """By job what its summary says, when it waited and trained, and of one under way how far it is."""
    spans = {name: (submit, start, end) for name, submit, start, end in timeline(run)}
    planned = _planned(run)
    submitted = {str(record.get("job")): number(record.get("t")) for record in run.of("submit")}
    progress = {job.name: JobProgress(planned.get(job.name), submitted.get(job.name)) for job in run.summary.jobs}
    for record in run.of("iteration"):
        if (job_of := str(record.get("job"))) in progress:
            progress[job_of].add(record)
    counters, now_s = _counters(run), latest_s(run.records)
    found = []
    for job in run.summary.jobs[:MAX_JOBS]:
        told = progress[job.name].told(now_s)
        submit, start, end = spans.get(plain(job.name, 24), (None, None, None))
        found.append(
            {
                **job.model_dump(),
                "name": plain(job.name),
                "submit_s": submit,
                "start_s": start,
                "end_s": end,
                "planned": planned.get(job.name),
                "counters": counters.get(job.name, {}),
                **({} if told is None else told._asdict()),
            }
        )
    return found


def latest_s(records: Iterable[dict[str, Any]]) -> float | None:
    """The newest time in the records."""
    times = [at for record in records if (at := number(record.get("t", record.get("t_s")))) is not None]
    return max(times, default=None)


def virtual_series(run: ReadRun) -> list[Series]:
    samples = run.of("sample")
    return _some(
        _lines("Rows in use", "rows", samples, "t_s", {"taken": "taken", "wait for workers": "useful"}),
        _ps_traffic(samples),
        _lines("Queues of switches", "packets", samples, "t_s", {"longest": "queue_max", "mean": "queue_mean"}),
        _lines("Jobs that run", "jobs", samples, "t_s", {"jobs": "running"}),
    )


def live_series(run: ReadRun) -> list[Series]:
    occupancy = run.of("occupancy")
    names = list(dict.fromkeys(str(job) for one in occupancy for job in _table(one.get("rows"))))[:MAX_JOBS]
    by_job = {name: _of_job("rows", name) for name in names}
    series = [_series("Rows by job", "rows", "stacked", occupancy, "t", by_job)]
    for counter in SWITCH_COUNTERS:
        values = {name: _of_job("counters", name, counter) for name in names}
        series.append(_rates(_series(f"{counter.capitalize()} per second", "/s", "lines", occupancy, "t", values)))
    for key, title, unit in (("seconds", "Time of an iteration", "s"), ("loss", "Loss", "")):
        series.append(_iterations(run, key, title, unit))
    return _some(*series)


def _iterations(run: ReadRun, key: str, title: str, unit: str) -> Series | None:
    """Of rank 0 of each job."""
    records = [one for one in run.of("iteration") if one.get("rank") == 0]
    names = list(dict.fromkeys(str(one.get("job")) for one in records))[:MAX_JOBS]
    values = {name: _of_its_records(key, name) for name in names}
    return _series(title, unit, "lines", sorted(records, key=lambda one: number(one.get("t")) or 0.0), "t", values)


def _lines(title: str, unit: str, records: Sequence[dict[str, Any]], time: str, keys: dict[str, str]) -> Series | None:
    return _series(title, unit, "lines", records, time, {name: _key(key) for name, key in keys.items()})


def _key(key: str) -> Callable[[dict[str, Any]], Any]:
    return lambda record: record.get(key)


def _of_its_records(key: str, job: str) -> Callable[[dict[str, Any]], Any]:
    return lambda record: record.get(key) if str(record.get("job")) == job else None


def _of_job(table: str, job: str, counter: str | None = None) -> Callable[[dict[str, Any]], Any]:
    def value(record: dict[str, Any]) -> Any:
        found = _table(record.get(table)).get(job)
        return found if counter is None else _table(found).get(counter)

    return value


def _series(
    title: str,
    unit: str,
    kind: str,
    records: Sequence[dict[str, Any]],
    time: str,
    values: dict[str, Callable[[dict[str, Any]], Any]],
) -> Series | None:
    """None where nothing was recorded."""
    timed = [(at, record) for record in records if (at := number(record.get(time))) is not None]
    step = max(1, math.ceil(len(timed) / POINTS))
    kept = timed[::step] + ([timed[-1]] if timed and (len(timed) - 1) % step else [])
    lines = [
        {"name": plain(name), "values": [number(value(record)) for _, record in kept]} for name, value in values.items()
    ]
    if not any(one is not None for line in lines for one in line["values"]):
        return None
    return {"title": title, "unit": unit, "kind": kind, "t": [at for at, _ in kept], "lines": lines}


def _rates(series: Series | None) -> Series | None:
    """Per second, of what is counted; None where nothing ever was."""
    if series is None or not any(any(line["values"]) for line in series["lines"]):
        return None
    times = series["t"]
    for line in series["lines"]:
        line["values"] = rates(times, line["values"])
    return series


def rates(times: Sequence[float], values: Sequence[float | None]) -> list[float | None]:
    """What was counted between two times, per second; a counter that begins anew: None."""
    found: list[float | None] = [None] if values else []
    for (since, before), (at, now) in pairwise(zip(times, values, strict=True)):
        if before is None or now is None or at <= since or now < before:
            found.append(None)
        else:
            found.append((now - before) / (at - since))
    return found


def _ps_traffic(samples: Sequence[dict[str, Any]]) -> Series | None:
    series = _rates(_lines("To and from the PSs", "Gb/s", samples, "t_s", {"all PSs": "ps_bytes"}))
    if series is not None:
        for line in series["lines"]:
            line["values"] = [None if one is None else 8e-9 * one for one in line["values"]]
    return series


def _planned(run: ReadRun) -> dict[str, int]:
    """By job, how many iterations the scenario asks for."""
    names = {
        key.split(".")[1]: str(value)
        for key, value in run.settings.items()
        if key.startswith("jobs.") and key.endswith(".name")
    }
    default = _whole(run.settings.get("job_defaults.iterations"))
    found = {name: _whole(run.settings.get(f"jobs.{place}.iterations")) or default for place, name in names.items()}
    return {name: count for name, count in found.items() if count}


def _counters(run: ReadRun) -> dict[str, dict[str, int]]:
    if run.summary.switch_counters:
        return run.summary.switch_counters
    last = run.of("occupancy")[-1:]
    told = _table(last[0].get("counters")) if last else {}
    return {
        str(job): {str(name): _whole(count) or 0 for name, count in _table(one).items()} for job, one in told.items()
    }


def _some(*series: Series | None) -> list[Series]:
    return [one for one in series if one is not None]


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _finite(value: Any) -> Any:
    """JSON has no NaN and no infinity; other text than names is the program's own."""
    if isinstance(value, dict):
        return {plain(key): _finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (bool, int)) else plain(value, 2000)
