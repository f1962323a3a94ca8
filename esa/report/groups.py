"""Runs that differ in their seeds alone, taken together: mean JCT with its interval, and ratios between groups."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from esa.report.grid import UNKNOWN, Grid
from esa.report.reading import ReadRun, ReadSweep
from esa.report.records import VIRTUAL, Summary
from esa.report.statistics import Interval, mean_interval, ratio_interval


class Group(NamedTuple):
    """Summaries of one setting, in the order of their seeds."""

    name: str
    summaries: tuple[Summary, ...]

    def figures(self, of: Callable[[Summary], float | None]) -> list[float]:
        """Those that are known."""
        return [figure for one in self.summaries if (figure := of(one)) is not None]


class Compared(NamedTuple):
    """A group's mean JCT in seconds and over the first group's; None: not known. One run alone has no interval.

    per_first: seed by seed where both groups have the same seeds, else the ratio of the means, without an interval.
    """

    name: str
    seeds: tuple[int, ...]
    jct_s: Interval | None
    per_first: Interval | None
    per_bound: Interval | None


def groups_of(runs: Sequence[ReadRun]) -> list[Group]:
    """By scenario, policy and what summed, and of runs whose settings differ by their folder."""
    found: dict[tuple[str, ...], list[ReadRun]] = {}
    for run in runs:
        summary = run.summary
        settings = {key: value for key, value in run.settings.items() if key != "seed"}
        key = (summary.scenario, summary.policy, summary.switch, repr(sorted(settings.items(), key=str)))
        found.setdefault(key, []).append(run)
    names = [key[:3] for key in found]
    return [_group(_name(key[:3], names, mine[0].name), [run.summary for run in mine]) for key, mine in found.items()]


def _name(key: tuple[str, ...], keys: Sequence[tuple[str, ...]], folder: str) -> str:
    """As short as tells it from the others."""
    scenario, policy, switch = key
    if keys.count(key) > 1:
        return folder
    parts = [
        *([scenario] if len({one[0] for one in keys}) > 1 else []),
        policy,
        *([f"({switch})"] if len({one[2] for one in keys}) > 1 else []),
    ]
    return " ".join(parts)


def groups_of_sweep(sweep: ReadSweep) -> list[Group]:
    """One for each place on its axes."""
    found: dict[str, list[Summary]] = {}
    for point in sweep.points:
        found.setdefault(", ".join(point.axes.values()) or sweep.name, []).append(point.summary)
    return [_group(name, mine) for name, mine in found.items()]


def _group(name: str, summaries: Iterable[Summary]) -> Group:
    return Group(name, tuple(sorted(summaries, key=lambda one: one.seed)))


def compared(groups: Sequence[Group]) -> list[Compared]:
    return [
        Compared(
            group.name,
            tuple(one.seed for one in group.summaries),
            interval(group.figures(mean_jct_s)),
            _ratio(group, groups[0]),
            interval(group.figures(lambda one: one.mean_per_bound)),
        )
        for group in groups
    ]


def mean_jct_s(summary: Summary) -> float | None:
    return summary.mean_jct_s


def interval(figures: Sequence[float]) -> Interval | None:
    """A single figure is its own centre, and has no ends (NaN)."""
    if not figures:
        return None
    return mean_interval(figures) if len(figures) > 1 else Interval(figures[0], float("nan"), float("nan"), 1)


def _ratio(group: Group, first: Group) -> Interval | None:
    above, below = group.figures(mean_jct_s), first.figures(mean_jct_s)
    if not above or not below or min(*above, *below) <= 0:
        return None
    seeds = [one.seed for one in group.summaries]
    paired = seeds == [one.seed for one in first.summaries] and len(set(seeds)) == len(seeds)
    if paired and len(above) == len(below) == len(seeds) > 1:
        return ratio_interval(above, below)
    centre = (sum(above) / len(above)) / (sum(below) / len(below))
    return Interval(centre, float("nan"), float("nan"), min(len(above), len(below)))


def group_table(groups: Sequence[Group]) -> Grid:
    """One row per group: mean JCT and ratios, with 95 % confidence intervals over the seeds where there are several."""
    virtual = all(one.switch == VIRTUAL for group in groups for one in group.summaries)
    digits = 6 if virtual else 2
    rows = compared(groups)
    table = Grid("mean JCT", ["", "seeds", "mean JCT s", f"/ {rows[0].name}", "/ bound"], left=frozenset({0, 1}))
    for row in rows:
        cells = (text(row.jct_s, digits), text(row.per_first, 2), text(row.per_bound, 2))
        table.add(row.name, seeds_text(row.seeds), *cells)
    if any(len(row.seeds) > 1 for row in rows):
        table.caption = (
            "in brackets: 95 % confidence intervals over the seeds (Student's t; of ratios, of their logarithms)"
        )
    return table


def text(one: Interval | None, digits: int) -> str:
    """As "1.67 [1.63, 1.71]"."""
    if one is None:
        return UNKNOWN
    ends = f" [{one.low:.{digits}f}, {one.high:.{digits}f}]" if one.low == one.low else ""
    return f"{one.centre:.{digits}f}{ends}"


def seeds_text(seeds: Sequence[int]) -> str:
    """Neighbours as "1-5"."""
    different = sorted(set(seeds))
    whole = len(different) > 2 and different == list(range(different[0], different[-1] + 1))
    return f"{different[0]}-{different[-1]}" if whole else ", ".join(map(str, different))
