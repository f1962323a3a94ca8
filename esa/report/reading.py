"""What lies in folders of results, read so that nothing of it can stop the reader.

    found = read([Path("results/contention-esa-..."), Path("results/sweep-memory"), Path("results/figures")])
    found.runs, found.sweeps, found.figures      # what could be read
    found.problems                               # a line for each path that is none of these

A file that is missing, cut off or of another version costs what stands in it, and a line in `notes`.
"""

from __future__ import annotations

import contextlib
import csv
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from esa.report.records import RECORDS, SUMMARY, JobSummary, Run, Summary
from esa.report.versions import FORMAT, VERSIONS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SCENARIO = "scenario.toml"
SWEEP = "sweep.json"
POINTS_CSV = ".points.csv"
MAX_NOTES = 5  # of one file; what goes on is counted
_DEPTH = 64  # of what is nested in a settings file
_TRIES = 50  # each mends what the one before has shown
_NOTHING: dict[str, Any] = {"seed": 0, "workers": 0, "jobs": [], "from_workers": 0, "to_root": 0, "reduction": None}


@dataclass(frozen=True)
class ReadRun(Run):
    """A run as far as it can be read.

    settings: the scenario as resolved, key by key ("jobs.0.window"). versions: see `esa.report.versions`; empty where
    they were not kept. notes: what is missing or was left out, a line each.
    """

    settings: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.folder.resolve().name


@dataclass(frozen=True)
class SweepPoint:
    """axes: where it is in the grid, without its seed."""

    number: int
    axes: dict[str, str]
    seed: int
    summary: Summary


@dataclass(frozen=True)
class ReadSweep:
    """A sweep's points that are finished. points: how many there are to be."""

    folder: Path
    name: str
    points: list[SweepPoint]
    planned: int
    versions: dict[str, str]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class ReadFigure:
    """A figure's table as `esa figures` writes it: an interval x is the columns x, x_low and x_high."""

    path: Path
    head: list[str]
    rows: list[list[str]]
    picture: Path | None

    @property
    def name(self) -> str:
        return self.path.stem


@dataclass
class Found:
    runs: list[ReadRun] = field(default_factory=list)
    sweeps: list[ReadSweep] = field(default_factory=list)
    figures: list[ReadFigure] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def notes(self) -> list[str]:
        read: list[ReadRun | ReadSweep] = [*self.runs, *self.sweeps]
        return [f"{one.folder}: {note}" for one in read for note in one.notes]

    @property
    def empty(self) -> bool:
        return not (self.runs or self.sweeps or self.figures)


def read(paths: Iterable[Path]) -> Found:
    """Read folders of runs, sweeps and figures, a figure's CSV file, and folders that hold such folders."""
    found = Found()
    for path in paths:
        before = len(found.runs) + len(found.sweeps) + len(found.figures)
        if not _take(path, found) and path.is_dir():
            for inner in sorted(path.iterdir()):
                if inner.is_dir():
                    _take(inner, found)
        if len(found.runs) + len(found.sweeps) + len(found.figures) == before:
            why = f"it has no {SUMMARY}" if path.is_dir() else "there is no such folder"
            found.problems.append(f"{path}: not the folder of a run, a sweep or figures: {why}")
    return found


def _take(path: Path, found: Found) -> bool:
    """Whether the path itself is something."""
    if path.suffix == ".csv" and path.is_file():
        found.figures += _figures([path])
    elif (path / SWEEP).is_file():
        found.sweeps.append(read_sweep(path))
    elif any((path / name).is_file() for name in (SUMMARY, RECORDS, SCENARIO)):
        found.runs.append(read_run(path))
    else:
        tables = [
            table.with_name(table.name.removesuffix(POINTS_CSV) + ".csv") for table in path.glob(f"*{POINTS_CSV}")
        ]
        found.figures += _figures(sorted(table for table in tables if table.is_file()))
        return bool(tables)
    return True


def read_run(folder: Path) -> ReadRun:
    notes: list[str] = []
    settings = dict(_flat(_toml(folder / SCENARIO, notes)))
    versions = _versions(folder, notes)
    records = list(_records(folder / RECORDS, notes))
    told = _json(folder / SUMMARY, notes)
    if told is None:
        summary = _summary_of(folder, settings, records)
    else:
        summary, left_out = lenient(told)
        notes += _some(left_out, SUMMARY)
    if summary.incomplete is not None:
        notes.append(f"incomplete: {summary.incomplete}")
    return ReadRun(folder, summary, records, settings, versions, tuple(notes))


def read_sweep(folder: Path) -> ReadSweep:
    notes: list[str] = []
    state = _json(folder / SWEEP, notes) or {}
    versions = _versions(folder, notes)
    points, left_out = [], []
    for record in _records(folder / RECORDS, notes):
        axes = record.get("axes")
        if record.get("event") != "point" or not isinstance(axes, dict):
            continue
        summary, odd = lenient(record.get("summary"))
        left_out += odd
        texts = {str(key): value if isinstance(value, str) else json.dumps(value) for key, value in axes.items()}
        points.append(SweepPoint(_whole(record.get("point")), texts, _whole(record.get("seed")), summary))
    notes += _some(left_out, RECORDS)
    planned = _whole(state.get("points"), len(points))
    if len(points) < planned:
        notes.append(
            f"{len(points)} of {planned} points are there: {state.get('incomplete', 'the others did not run')}"
        )
    return ReadSweep(folder, str(state.get("name", folder.name)), points, planned, versions, tuple(notes))


def lenient(told: Any) -> tuple[Summary, list[str]]:
    """A summary of any version: keys that are not known are left out, those that are missing get what says nothing.

    Returns it, and a line for each.
    """
    left_out: list[str] = []
    here = json.loads(json.dumps(told)) if isinstance(told, dict) else {}
    for _ in range(_TRIES):
        try:
            return Summary.model_validate(here), left_out
        except ValidationError as error:
            for one in error.errors(include_url=False):
                place, name = one["loc"], ".".join(map(str, one["loc"]))
                missing = one["type"] == "missing"
                left_out.append(f"{name} is missing" if missing else f"{name} is left out: {one['msg']}")
                with contextlib.suppress(LookupError, TypeError):  # what is around it is gone already
                    if missing:
                        _put(here, place, _NOTHING.get(str(place[-1]), "?"))
                    else:
                        _drop(here, place)
    return Summary(scenario="?", policy="?", switch="?", topology="?", seed=0, jobs=[]), left_out


def _put(here: Any, place: tuple[int | str, ...], value: Any) -> None:
    for part in place[:-1]:
        here = here[part]
    here[place[-1]] = value


def _drop(here: Any, place: tuple[int | str, ...]) -> None:
    """Take away what stands at a place, or what is around it where that is no table."""
    for depth, part in enumerate(place):
        inner = here.get(part) if isinstance(here, dict) else None
        if isinstance(here, list):
            if isinstance(part, int) and part < len(here) and isinstance(here[part], dict) and depth + 1 < len(place):
                inner = here[part]
            else:
                here.clear()
                return
        if depth + 1 == len(place) or not isinstance(inner, (dict, list)):
            here.pop(part, None)
            return
        here = inner


def _summary_of(folder: Path, settings: dict[str, Any], records: list[dict[str, Any]]) -> Summary:
    """Of a run that did not come to write one."""
    jobs = {str(settings[key]) for key in settings if key.startswith("jobs.") and key.endswith(".name")}
    jobs |= {str(record["job"]) for record in records if "job" in record}
    return Summary(
        scenario=str(settings.get("name", folder.name)),
        policy=str(settings.get("policy", "?")),
        switch=str(settings.get("live.switch", "?")),
        topology="?",
        seed=_whole(settings.get("seed")),
        jobs=[JobSummary(name=name, workers=0) for name in sorted(jobs)],
        incomplete=f"there is no {SUMMARY} that can be read",
    )


def _records(path: Path, notes: list[str]) -> Iterator[dict[str, Any]]:
    bad = 0
    try:
        text = path.read_text(errors="replace") if path.is_file() else ""
    except OSError as error:
        notes.append(f"{path.name} cannot be read: {error.strerror}")
        return
    if not text:
        notes.append(f"there is no {path.name}" if not path.exists() else f"{path.name} is empty")
    for line in text.splitlines():
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            record = None
        if isinstance(record, dict):
            yield record
        else:
            bad += 1
    if bad:
        notes.append(f"{path.name}: {bad} lines are left out: they are no JSON objects")


def _json(path: Path, notes: list[str]) -> dict[str, Any] | None:
    try:
        told = json.loads(path.read_text(errors="replace")) if path.is_file() else None
    except OSError as error:
        notes.append(f"{path.name} cannot be read: {error.strerror}")
        return None
    except (ValueError, RecursionError):
        notes.append(f"{path.name} is no JSON")
        return None
    if told is not None and not isinstance(told, dict):
        notes.append(f"{path.name} is no JSON object")
        return None
    return told


def _versions(folder: Path, notes: list[str]) -> dict[str, str]:
    told = {str(key): str(value) for key, value in (_json(folder / VERSIONS, notes) or {}).items()}
    if told.get("format", "").isdecimal() and int(told["format"]) > FORMAT:
        notes.append(f"written by a newer version (format {told['format']}, this is {FORMAT})")
    return told


def _toml(path: Path, notes: list[str]) -> dict[str, Any]:
    if not path.is_file():
        notes.append(f"there is no {path.name}")
        return {}
    try:
        return tomllib.loads(path.read_text(errors="replace"))
    except (OSError, ValueError, RecursionError):
        notes.append(f"{path.name} is no TOML")
        return {}


def _flat(table: Any, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    inner = table.items() if isinstance(table, dict) else enumerate(table) if _is_tables(table) else None
    if inner is None or depth > _DEPTH:
        yield prefix, table
        return
    for key, value in inner:
        yield from _flat(value, f"{prefix}.{key}" if prefix else str(key), depth + 1)


def _is_tables(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(one, dict) for one in value)


def _figures(tables: Iterable[Path]) -> Iterator[ReadFigure]:
    for path in tables:
        with path.open(newline="", errors="replace") as file:
            lines = list(csv.reader(file, strict=False))
        if lines:
            picture = path.with_suffix(".png")
            yield ReadFigure(path, lines[0], lines[1:], picture if picture.is_file() else None)


def _whole(value: Any, otherwise: int = 0) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else otherwise


def _some(lines: list[str], file: str) -> list[str]:
    told = list(dict.fromkeys(lines))
    more = [f"{file}: {len(told) - MAX_NOTES} more"] if len(told) > MAX_NOTES else []
    return [*(f"{file}: {line}" for line in told[:MAX_NOTES]), *more]
