"""Many runs of `esa cluster`, each kept as soon as it is over: a study that is interrupted goes on from there.

with local_executor(2) as executor:
    found = run_all(points, executor, Path("results/studies"))
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from esa.report.records import Summary
from experiments.common.kept import code_of, run_kept
from experiments.laboratory.run import evaluate, laboratory_of
from experiments.specs.cluster import ClusterScenario
from experiments.specs.toml_files import validated

Place = str | float


class Point(NamedTuple):
    """What is simulated, and where it is on a study's axes; its seed is no axis."""

    axes: dict[str, Place]
    scenario: ClusterScenario


def run_point(text: str) -> str:
    """A scenario's summary without its jobs, as JSON."""
    scenario = validated(ClusterScenario, json.loads(text), "study")
    summary, _ = evaluate(scenario, laboratory_of(scenario, Path()))
    return summary.model_copy(update={"jobs": []}).model_dump_json()


class Found:
    """Summaries by their place.

    found.values("mean_jct_s", load=0.95, scheduler="aryl")   # (seeds,)
    """

    def __init__(self, points: Sequence[Point], summaries: Sequence[Summary]) -> None:
        self.points = points
        self._summaries = summaries

    def places(self, axis: str) -> list[Place]:
        return list(dict.fromkeys(point.axes[axis] for point in self.points if axis in point.axes))

    def at(self, **axes: Place) -> list[Summary]:
        """One for each seed, in the order of the points; KeyError if there are none."""
        pairs = zip(self.points, self._summaries, strict=True)
        found = [summary for point, summary in pairs if point.axes == axes]
        if not found:
            raise KeyError(f"no run at {axes}")
        return found

    def values(self, name: str, **axes: Place) -> npt.NDArray[np.float64]:
        """A figure of the summary, or of its section `cluster`."""
        return np.array(
            [
                getattr(one, name) if hasattr(one, name) else getattr(one.cluster, name)
                for one in self.at(**axes)
            ],
            np.float64,
        )  # fmt: skip


def run_all(
    points: Sequence[Point], executor: Executor, folder: Path, progress: Callable[[float], None] = lambda part: None
) -> tuple[Found, int]:
    """The points' summaries, and how many had to be run: those that `folder` has from this code are taken from it."""
    texts = [point.scenario.model_dump_json(by_alias=True, exclude_none=True) for point in points]
    run: list[str] = []
    found = run_kept(
        {text: (run_point, text) for text in texts},
        folder,
        code_of(__file__),
        executor,
        progress=progress,
        each=lambda text, _: run.append(text),
    )
    return Found(points, [Summary.model_validate_json(found[text]) for text in texts]), len(run)
