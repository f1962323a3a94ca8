"""Sweeps over scenarios of `esa cluster`: what a process does with a point, and what is refused before any runs.

scenarios, by = runs_of([point.scenario for point in points])
sweep(scenarios, executor, folder, by=by)
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from experiments.common.kept import code_of
from experiments.laboratory.run import evaluate, laboratory_of
from experiments.specs.cluster import ClusterScenario
from experiments.specs.scenario import Scenario
from experiments.specs.toml_files import parse_toml, validated
from experiments.virtual.sweep import Result, Runs, Swept, packets


@dataclass(frozen=True)
class ClusterPoint:
    """A scenario with the contents of the files that it names: as a hash of each, so that other contents are run
    again.
    """

    scenario: ClusterScenario
    hashes: tuple[tuple[str, str], ...]

    @property
    def name(self) -> str:
        return self.scenario.name

    @property
    def method(self) -> str:
        return self.scenario.method

    @property
    def seed(self) -> int:
        return self.scenario.seed

    def to_toml(self) -> str:
        lines = [f"# {name}: sha256 {found}\n" for name, found in self.hashes]
        return "".join(lines) + self.scenario.to_toml()


def run_cluster_point(text: str) -> Result:
    """Simulate a resolved scenario; its records are an event "job" for each."""
    scenario = validated(ClusterScenario, parse_toml(text, "sweep"), "sweep")
    summary, outcome = evaluate(scenario, laboratory_of(scenario, Path()))
    records = "".join(json.dumps({"event": "job", **vars(one), "jct_ns": one.jct_ns}) + "\n" for one in outcome.jobs)
    return Result(summary.as_dict(), records, code_of(__file__))


CLUSTER = Runs(run_cluster_point, lambda: code_of(__file__))


def runs_of(scenarios: Sequence[Scenario | ClusterScenario]) -> tuple[list[Swept], Runs]:
    """What is run, and by whom. BadInput, one line, for jobs that could never start, and lists that are wrong."""
    clusters = [one for one in scenarios if isinstance(one, ClusterScenario)]
    if not clusters:
        return [*scenarios], packets()
    for one in clusters:
        laboratory_of(one, Path())
    return [point_of(one) for one in clusters], CLUSTER


def point_of(scenario: ClusterScenario) -> ClusterPoint:
    """With the files that it names as they are now."""
    return ClusterPoint(scenario, (*_hashes(scenario),))


def _hashes(scenario: ClusterScenario) -> Iterator[tuple[str, str]]:
    for name, path in scenario.files().items():
        yield name, _hash(Path(path))


@lru_cache
def _hash(path: Path) -> str:
    """Of a file, or of all files in a folder, with their places in it."""
    if not path.is_dir():
        return hashlib.sha256(path.read_bytes()).hexdigest()
    found = hashlib.sha256()
    for each in sorted(one for one in path.rglob("*") if one.is_file()):
        found.update(each.relative_to(path).as_posix().encode() + b"\0" + each.read_bytes() + b"\0")
    return found.hexdigest()
