"""Results by their place on a figure's axes, one value per seed."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from esa.report.records import Summary
from experiments.specs.scenario import Scenario
from experiments.virtual.sweep import Result

_LANE_BYTES = 4

Place = str | int | float


class Point(NamedTuple):
    """What is simulated and where it is on the axes; its seed is no axis."""

    axes: dict[str, Place]
    scenario: Scenario


class Cell(NamedTuple):
    """One simulation's figures (`MEASURED`), NaN where it did not end, and why it did not."""

    point: Point
    result: Result
    measured: dict[str, float]
    incomplete: str | None


# JCT, wait (for hosts), bound (the least that a job's computing and links need): means over the jobs, as per_bound, JCT
# over bound. taken, useful: mean part of the shared rows. ps_traffic: bytes on the wires of the PSs, both ways, per
# byte of gradient that workers sum. unseated: jobs without rows, which are rings. The others: per fragment of a worker.
MEASURED = (
    "jct_ms",
    "wait_ms",
    "bound_ms",
    "per_bound",
    "taken",
    "useful",
    "ps_traffic",
    "via_ps",
    "resends",
    "collisions",
    "preemptions",
    "packet_hops",
    "unseated",
)


def cell_of(point: Point, result: Result) -> Cell:
    """What one simulation showed."""
    summary = Summary.model_validate(result.summary)
    fragments = sum(job.fragments for job in summary.jobs) or math.nan
    gradient_bytes = fragments * _LANE_BYTES * point.scenario.lanes
    measured = {
        "jct_ms": 1e3 * _known(summary.mean_jct_s),
        "wait_ms": 1e3 * _known(summary.mean_wait_s),
        "bound_ms": 1e3 * _known(summary.mean_bound_s),
        "per_bound": _known(summary.mean_per_bound),
        "taken": _known(summary.occupancy_mean),
        "useful": _known(summary.useful_mean),
        "ps_traffic": samples(result)[-1]["ps_bytes"] / gradient_bytes,
        "via_ps": sum(job.via_ps for job in summary.jobs) / fragments,
        "resends": sum(job.resends for job in summary.jobs) / fragments,
        "collisions": summary.total("collisions") / fragments,
        "preemptions": summary.total("preemptions") / fragments,
        "packet_hops": float(summary.packet_hops or 0),
        "unseated": float(summary.unseated or 0),
    }
    return Cell(point, result, measured, summary.incomplete)


def _known(figure: float | None) -> float:
    return math.nan if figure is None else figure


def samples(result: Result) -> list[dict[str, Any]]:
    """The time series of a simulation."""
    records = (json.loads(line) for line in result.records.splitlines())
    return [record for record in records if record["event"] == "sample"]


class Cells:
    """All of a figure's simulations.

    jct_ms = cells.values("jct_ms", policy="esa", rows=512)   # (seeds,), in the order of the points
    """

    def __init__(self, cells: Sequence[Cell]) -> None:
        self.cells = tuple(cells)

    def places(self, axis: str) -> list[Any]:
        """The different places on an axis, in the order of the points."""
        return list(dict.fromkeys(cell.point.axes[axis] for cell in self.cells if axis in cell.point.axes))

    def at(self, **axes: Place) -> list[Cell]:
        """The simulations at a place, one per seed; KeyError if there are none."""
        found = [cell for cell in self.cells if _is_at(cell.point.axes, axes)]
        if not found:
            raise KeyError(f"no simulation at {axes}")
        return found

    def values(self, name: str, **axes: Place) -> npt.NDArray[np.float64]:
        return np.array([cell.measured[name] for cell in self.at(**axes)])

    @property
    def seeds(self) -> list[int]:
        return sorted({cell.point.scenario.seed for cell in self.cells})


def _is_at(axes: Mapping[str, Place], asked: Mapping[str, Place]) -> bool:
    return all(axis in axes and axes[axis] == place for axis, place in asked.items())
