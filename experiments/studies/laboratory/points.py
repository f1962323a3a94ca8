"""Many runs of `esa cluster`, each kept as soon as it is over: a study that is interrupted goes on from there.

with local_executor(2) as executor:
    found = run_all(points, executor, Path("results/studies"))
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, as_completed
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from esa import sources
from esa.report.records import Summary
from experiments.common.folders import write_whole
from experiments.laboratory.run import evaluate, laboratory_of
from experiments.specs.cluster import ClusterScenario
from experiments.specs.toml_files import validated

Place = str | float


class Point(NamedTuple):
    """What is simulated, and where it is on a study's axes; its seed is no axis."""

    axes: dict[str, Place]
    scenario: ClusterScenario


@lru_cache
def fingerprint() -> str:
    """Of all sources that a run's figures come from."""
    return sources.digest(sources.closure(Path(__file__).resolve()))


def run_point(text: str) -> tuple[str, str]:
    """A scenario's summary without its jobs, as JSON, and the code that it came from."""
    scenario = validated(ClusterScenario, json.loads(text), "study")
    summary, _ = evaluate(scenario, laboratory_of(scenario, Path()))
    return summary.model_copy(update={"jobs": []}).model_dump_json(), fingerprint()


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
    folder.mkdir(parents=True, exist_ok=True)
    texts = [point.scenario.model_dump_json(by_alias=True, exclude_none=True) for point in points]
    done = {text: kept for text in texts if (kept := _kept(folder, text)) is not None}
    missing = [text for text in dict.fromkeys(texts) if text not in done]
    running: dict[Future[tuple[str, str]], str] = {executor.submit(run_point, text): text for text in missing}
    progress((len(texts) - len(missing)) / len(texts))
    for count, future in enumerate(as_completed(running), 1):
        text = running[future]
        done[text], code = future.result()
        write_whole(_file(folder, text), json.dumps({"scenario": text, "summary": done[text], "code": code}) + "\n")
        progress((len(texts) - len(missing) + count) / len(texts))
    return Found(points, [Summary.model_validate_json(done[text]) for text in texts]), len(missing)


def _file(folder: Path, text: str) -> Path:
    return folder / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.json"


def _kept(folder: Path, text: str) -> str | None:
    try:
        kept = json.loads(_file(folder, text).read_text())
        return str(kept["summary"]) if kept["code"] == fingerprint() else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
