"""A row of the bench: a figure, and what it is compared with, each the median of its runs beside the least and most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any


@dataclass(frozen=True)
class Figure:
    """The median of some runs, with the least and the most of them; one run is all three."""

    median: float
    least: float
    most: float
    runs: int

    @classmethod
    def of(cls, runs: float | Sequence[float]) -> Figure:
        each = [float(runs)] if isinstance(runs, (int, float)) else [float(run) for run in runs]
        return cls(median(each), min(each), max(each), len(each))

    def __str__(self) -> str:
        spread = "" if self.runs == 1 else f" ({number(self.least)} to {number(self.most)})"
        return f"{number(self.median)}{spread}"


@dataclass(frozen=True)
class Point:
    """What a switch did at one rate: packets a second offered to it, and back from it, how many less, CPU of each."""

    offered_per_s: float
    passed_per_s: float
    lost: int
    cpu_us: float


Curves = Mapping[str, tuple[Point, ...]]  # by switch, from few to many


@dataclass(frozen=True)
class Row:
    """What was measured, in which unit; `other`: beside what, or why beside nothing; `note`: what else to know.

    curves: of what the figures were taken from, where there is more to see.
    """

    what: str
    unit: str
    figure: Figure
    other: str = ""
    other_figure: Figure | None = None
    note: str = ""
    curves: Curves = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        """The figure over the other; None where there is no other, or it is 0."""
        if self.other_figure is None or self.other_figure.median == 0:
            return None
        return self.figure.median / self.other_figure.median

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"ratio": self.ratio}


def row(
    what: str,
    unit: str,
    runs: float | Sequence[float],
    other: str = "",
    other_runs: float | Sequence[float] | None = None,
    note: str = "",
    curves: Curves | None = None,
) -> Row:
    """A row of the figures of all runs."""
    return Row(
        what, unit, Figure.of(runs), other, None if other_runs is None else Figure.of(other_runs), note, curves or {}
    )


def number(value: float) -> str:
    """Three digits, or all of those before the point."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 0.1 else f"{value:.{1 if abs(value) >= 10 else 2}f}"
