"""Runs and sweeps as pictures for a page: JCT, timelines, occupancy, traffic."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from esa.report.groups import Group, interval, mean_jct_s
from esa.report.numbers import number
from esa.report.plain import plain
from esa.report.reading import ReadRun, ReadSweep
from esa.report.records import Summary
from esa.report.svg import DASHES, INK, MUTED, SERIES

MAX_BARS = 12  # jobs; of more, how their JCTs are distributed
MAX_LINES = 6  # runs in one picture: as many as there are colours
MAX_ROWS = 24  # jobs in a timeline
POINTS = 400  # of a line
_INCHES = (4.6, 2.9)


class Picture(NamedTuple):
    """title: what stands above it. what: what it shows, in a sentence."""

    title: str
    what: str
    draw: Callable[[Figure], None]
    inches: tuple[float, float] = _INCHES


class Line(NamedTuple):
    name: str
    x: Sequence[float]
    y: Sequence[float]
    dashed: bool = False  # of the same run as the one before


def run_pictures(runs: Sequence[ReadRun], groups: Sequence[Group]) -> list[Picture]:
    """Those for which there are figures."""
    shown, names = runs[:MAX_LINES], labels(runs)
    first = f" of the first {MAX_LINES} runs" if len(runs) > MAX_LINES else ""
    jobs = list(dict.fromkeys(job.name for run in runs for job in run.summary.jobs))
    pictures = []
    if any(job.jct_s is not None for run in runs for job in run.summary.jobs):
        if len(jobs) <= MAX_BARS:
            inches = (_INCHES[0], max(_INCHES[1], 0.9 + 0.22 * len(jobs) * len(groups)))
            what = "JCT in seconds by job and run, with 95 % intervals over the seeds"
            pictures.append(Picture("JCT by job", what, partial(_jct_bars, groups, jobs), inches))
        else:
            what = "part of the jobs that were done within a time"
            pictures.append(Picture("JCT, all jobs", what, partial(_jct_parts, groups)))
    for title, label, lines in (
        ("Rows in use" + first, "rows", _occupancy(shown, names)),
        ("To and from the PSs" + first, "Gb/s", _ps_traffic(shown, names)),
        ("Longest queue of a switch" + first, "packets", _samples(shown, names, "queue_max")),
        ("Iterations" + first, "seconds", _iterations(shown, names, "seconds")),
        ("Loss" + first, "loss", _iterations(shown, names, "loss")),
    ):
        if lines:
            what = f"{title}, {label}, over the time since the run's start"
            pictures.append(Picture(title, what, partial(_lines, lines, label)))
    for run, name in zip(shown, names, strict=False):
        spans = timeline(run)
        if spans:
            inches = (_INCHES[0], 0.9 + 0.22 * len(spans))
            what = "for each job, when it waited for hosts and when it trained"
            pictures.append(Picture(f"Jobs over time: {name}", what, partial(_timeline, spans), inches))
    return pictures


def sweep_pictures(sweep: ReadSweep) -> list[Picture]:
    """Mean JCT along the first axis whose places are numbers, a line for each place on the others."""
    axes = list(sweep.points[0].axes) if sweep.points else []
    along = next((axis for axis in axes if len(_numbers(sweep, axis)) > 1), None)
    if along is None:
        return []
    lines: dict[str, dict[float, list[Summary]]] = {}
    for point in sweep.points:
        name = ", ".join(value for axis, value in point.axes.items() if axis != along) or "mean JCT"
        lines.setdefault(name, {}).setdefault(float(point.axes[along]), []).append(point.summary)
    what = f"mean JCT in seconds by {plain(along)}, with 95 % intervals over the seeds"
    title = f"Mean JCT by {plain(along)}"
    return [Picture(title, what, partial(_sweep, dict(list(lines.items())[:MAX_LINES]), plain(along)), (6.4, 3.6))]


def labels(runs: Sequence[ReadRun]) -> list[str]:
    """A short name for each run, none twice."""
    short = [run.summary.policy for run in runs]
    if len({run.summary.scenario for run in runs}) > 1:
        short = [f"{run.summary.scenario} {policy}" for run, policy in zip(runs, short, strict=True)]
    if len(set(short)) < len(short):
        short = [f"{name}, seed {run.summary.seed}" for run, name in zip(runs, short, strict=True)]
    if len(set(short)) < len(short):
        short = [run.name for run in runs]
    return [plain(name, 40) for name in short]


def timeline(run: ReadRun) -> list[tuple[str, float, float, float | None]]:
    """By job: its name, submission, start and end (None: it has none), seconds since the run's start."""
    spans = []
    for record in run.of("job"):  # virtual time
        submit, start, jct = (number(record.get(key)) for key in ("submit_s", "start_s", "jct_s"))
        if submit is not None and start is not None:
            spans.append((plain(record.get("name"), 24), submit, start, None if jct is None else submit + jct))
    ends: dict[str, list[float]] = {}
    for record in run.of("end"):
        ends.setdefault(str(record.get("job")), []).append(number(record.get("end")) or 0.0)
    for record in run.of("submit"):
        name, at = str(record.get("job")), number(record.get("t"))
        if at is not None:
            spans.append((plain(name, 24), at, at, max(ends[name]) if name in ends else None))
    return spans[:MAX_ROWS]


def _numbers(sweep: ReadSweep, axis: str) -> set[float]:
    try:
        return {float(point.axes[axis]) for point in sweep.points}
    except (KeyError, ValueError):
        return set()


def _series(
    run: ReadRun, event: str, time: str, of: Callable[[dict[str, Any]], Any]
) -> tuple[list[float], list[float]]:
    x, y = [], []
    for record in run.of(event):
        at, value = number(record.get(time)), number(of(record))
        if at is not None and value is not None:
            x.append(at)
            y.append(value)
    return x, y


def _occupancy(runs: Sequence[ReadRun], names: Sequence[str]) -> list[Line]:
    lines = []
    for run, name in zip(runs, names, strict=False):
        if run.of("sample"):
            lines.append(Line(name, *_series(run, "sample", "t_s", lambda record: record.get("taken"))))
            useful = _series(run, "sample", "t_s", lambda record: record.get("useful"))
            lines.append(Line(f"{name}, useful", *useful, dashed=True))
        elif run.of("occupancy"):
            lines.append(Line(name, *_series(run, "occupancy", "t", _rows)))
    return [line for line in lines if line.x]


def _rows(record: dict[str, Any]) -> float | None:
    rows = record.get("rows")
    return sum(number(one) or 0.0 for one in rows.values()) if isinstance(rows, dict) else None


def _samples(runs: Sequence[ReadRun], names: Sequence[str], key: str) -> list[Line]:
    lines = [
        Line(name, *_series(run, "sample", "t_s", lambda record: record.get(key)))
        for run, name in zip(runs, names, strict=False)
    ]
    return [line for line in lines if line.x]


def _ps_traffic(runs: Sequence[ReadRun], names: Sequence[str]) -> list[Line]:
    """Rates between samples."""
    lines = []
    for line in _samples(runs, names, "ps_bytes"):
        keep = max(1, len(line.x) // POINTS)
        x, y = line.x[::keep], line.y[::keep]
        steps = [(a, b, 8e-9 * (d - c) / (b - a)) for a, b, c, d in zip(x, x[1:], y, y[1:], strict=False) if b > a]
        lines.append(Line(line.name, [step[1] for step in steps], [step[2] for step in steps]))
    return [line for line in lines if line.x]


def _iterations(runs: Sequence[ReadRun], names: Sequence[str], key: str) -> list[Line]:
    """Of rank 0 of each job; several runs: of the first job."""
    lines = []
    for run, name in zip(runs, names, strict=False):
        jobs = list(dict.fromkeys(str(record.get("job")) for record in run.of("iteration")))
        for job in jobs[: 1 if len(runs) > 1 else MAX_LINES]:
            mine = [one for one in run.of("iteration") if str(one.get("job")) == job and one.get("rank") == 0]
            points = [(number(one.get("t")), number(one.get(key))) for one in mine]
            known = [(x, y) for x, y in points if x is not None and y is not None]
            label = plain(f"{name}, {job}" if len(runs) > 1 else job, 40)
            if known:
                lines.append(Line(label, [x for x, _ in known], [y for _, y in known]))
    return lines[:MAX_LINES]


def _lines(lines: Sequence[Line], label: str, figure: Figure) -> None:
    axes = figure.subplots()
    colour = -1
    handles: list[tuple[Any, str]] = []
    for line in lines:
        colour += not line.dashed
        keep = max(1, len(line.x) // POINTS)
        style = ":" if line.dashed else ("-", "--", "-.", (0, (6, 1)), (0, (3, 1, 1, 1)), "-")[colour % len(SERIES)]
        width = 1.0 if line.dashed else 1.4
        axes.plot(line.x[::keep], line.y[::keep], linestyle=style, color=SERIES[colour % len(SERIES)], linewidth=width)
        handles.append((axes.lines[-1], line.name))
    axes.set_xlabel("time since the run's start (s)")
    axes.set_ylabel(label)
    axes.set_ylim(bottom=0)
    _legend(axes, handles)


def _legend(axes: Axes, handles: Sequence[tuple[Any, str]]) -> None:
    """By handle: a name that begins with an underscore would be left out else."""
    if len(handles) > 1:
        axes.legend(
            [handle for handle, _ in handles],
            [name for _, name in handles],
            loc="lower center",
            bbox_to_anchor=(0.5, 1.0),
            ncols=min(4 if max(len(name) for _, name in handles) < 14 else 2, len(handles)),
        )


def _jct_bars(groups: Sequence[Group], jobs: Sequence[str], figure: Figure) -> None:
    axes = figure.subplots()
    height = 0.8 / len(groups)
    handles: list[tuple[Any, str]] = []
    for place, group in enumerate(groups):
        for row, job in enumerate(jobs):
            found = interval(group.figures(partial(_jct_of, job)))
            if found is None:
                continue
            reach = [[found.centre - found.low], [found.high - found.centre]] if found.low == found.low else None
            bar = axes.barh(
                row + (place - (len(groups) - 1) / 2) * height,
                found.centre,
                height * 0.9,
                color=SERIES[place % len(SERIES)],
                hatch="" if place < len(SERIES) else "//",
                xerr=reach,
                error_kw={"ecolor": INK, "elinewidth": 0.9, "capsize": 2},
            )
            if not any(name == plain(group.name, 40) for _, name in handles):
                handles.append((bar, plain(group.name, 40)))
    axes.set_yticks(range(len(jobs)), [plain(job, 24) for job in jobs])
    axes.invert_yaxis()
    axes.grid(False, axis="y")
    axes.set_xlabel("JCT (s)")
    _legend(axes, handles)


def _jct_of(name: str, summary: Summary) -> float | None:
    return next((job.jct_s for job in summary.jobs if job.name == name), None)


def _jct_parts(groups: Sequence[Group], figure: Figure) -> None:
    axes = figure.subplots()
    handles: list[tuple[Any, str]] = []
    for place, group in enumerate(groups[:MAX_LINES]):
        jobs = [job for one in group.summaries for job in one.jobs]
        times = sorted(job.jct_s for job in jobs if job.jct_s is not None)
        parts = [(k + 1) / len(jobs) for k in range(len(times))]
        axes.step([0.0, *times], [0.0, *parts], where="post", color=SERIES[place])
        handles.append((axes.lines[-1], plain(group.name, 40)))
    axes.set_xlabel("JCT (s)")
    axes.set_ylabel("part of the jobs")
    _legend(axes, handles)


def _timeline(spans: Sequence[tuple[str, float, float, float | None]], figure: Figure) -> None:
    axes = figure.subplots()
    latest = max((one if one is not None else start) for _, _, start, one in spans)
    for row, (_, submit, start, end) in enumerate(spans):
        axes.barh(row, start - submit, 0.5, left=submit, color="none", edgecolor=MUTED, linewidth=0.8)
        until = latest if end is None else end
        hatch = "//" if end is None else ""
        axes.barh(row, until - start, 0.5, left=start, color=SERIES[row % len(SERIES)], hatch=hatch)
    axes.set_yticks(range(len(spans)), [name for name, *_ in spans])
    axes.invert_yaxis()
    axes.grid(False, axis="y")
    axes.set_xlabel("time since the run's start (s); an outline: waiting for hosts, hatched: no end")


def _sweep(lines: dict[str, dict[float, list[Summary]]], along: str, figure: Figure) -> None:
    axes = figure.subplots()
    handles: list[tuple[Any, str]] = []
    for place, (name, found) in enumerate(lines.items()):
        known = [(x, one) for x in sorted(found) if (one := interval(_known(found[x]))) is not None]
        if not known:
            continue
        low = [one.centre - one.low if one.low == one.low else 0.0 for _, one in known]
        high = [one.high - one.centre if one.low == one.low else 0.0 for _, one in known]
        colour = SERIES[place]
        axes.errorbar(
            [x for x, _ in known],
            [one.centre for _, one in known],
            [low, high],
            color=colour,
            linestyle=DASHES[place % len(DASHES)],
            marker="os^Dvx"[place],
            markersize=4,
            capsize=2,
        )
        style: Any = {"linestyle": DASHES[place % len(DASHES)], "marker": "os^Dvx"[place], "markersize": 4}
        handles.append((Line2D([], [], color=colour, **style), plain(name, 40)))
    places = sorted({x for found in lines.values() for x in found})
    if places[0] > 0 and places[-1] >= 8 * places[0]:
        axes.set_xscale("log", base=2)
    axes.set_xticks(places, [f"{x:g}" for x in places])
    axes.minorticks_off()
    axes.set_ylim(bottom=0)
    axes.set_xlabel(along)
    axes.set_ylabel("mean JCT (s)")
    _legend(axes, handles)


def _known(summaries: Sequence[Summary]) -> list[float]:
    return [figure for one in summaries if (figure := mean_jct_s(one)) is not None]
