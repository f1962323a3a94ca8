"""Which runs there are, and those that are kept: a command that was interrupted goes on from there.

asked = points_of(scenario, seeds=10)
found = run_all(asked, settings, executor, folder, progress)      # found[point]: the setting's three figures
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, as_completed
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from esa import sources
from experiments.common.folders import write_whole
from experiments.laboratory.stack.settings import SETTINGS, Settings
from experiments.specs.stack import StackScenario, StackSpec

WHOLE, ALL = "nothing", "all"  # is off
Figures = tuple[float, float, float]


class Line(NamedTuple):
    """A stack, and what is off in it: a layer, and what is in its place."""

    off: str
    instead: str
    stack: StackSpec


class Point(NamedTuple):
    """One run."""

    setting: str
    line: Line
    seed: int

    def key(self, settings: Settings) -> str:
        """Equal for runs that are the same."""
        setting = SETTINGS[self.setting]
        mine = getattr(settings, self.setting).model_dump_json(by_alias=True, exclude_none=True)
        kernels = settings.rack.model_dump_json() if "sharing" in setting.layers else ""
        return json.dumps([self.setting, setting.own(self.line.stack), self.seed, mine, kernels])


def lines_of(scenario: StackScenario) -> list[Line]:
    """The whole stack, each layer's others, and the first others of all layers together."""
    whole = scenario.whole
    others = {layer: getattr(scenario.instead, layer) for layer in StackSpec.model_fields}
    lines = [Line(WHOLE, "", whole)]
    for layer, values in others.items():
        lines += [Line(layer, str(value), whole.model_copy(update={layer: value})) for value in values]
    first = {layer: values[0] for layer, values in others.items() if values}
    return [*lines, Line(ALL, "", whole.model_copy(update=first))]


def lines_in(scenario: StackScenario, setting: str) -> list[Line]:
    """Those whose layer the setting has."""
    mine = SETTINGS[setting]
    return [line for line in lines_of(scenario) if line.off in (WHOLE, ALL, *mine.layers) and mine.has(line.stack)]


def points_of(scenario: StackScenario, seeds: int) -> list[Point]:
    return [
        Point(setting, line, seed)
        for setting in SETTINGS
        for line in lines_in(scenario, setting)
        for seed in range(1, seeds + 1)
    ]


def check(scenario: StackScenario, settings: Settings) -> None:
    """BadInput, before anything runs."""
    for setting in SETTINGS:
        for line in lines_in(scenario, setting):
            SETTINGS[setting].check(settings, line.stack)


def find(setting: str, stack: StackSpec, seed: int, settings: Settings) -> Figures:
    """The run itself, a function of its arguments."""
    return SETTINGS[setting].find(settings, stack, seed)


def run_all(
    points: Sequence[Point],
    settings: Settings,
    executor: Executor,
    folder: Path,
    progress: Callable[[float], None] = lambda part: None,
) -> dict[Point, Figures]:
    """All points' figures; those that the folder has from this code are taken from it, each is kept when it is over."""
    keys = {point: point.key(settings) for point in points}
    done = {key: kept for key in dict.fromkeys(keys.values()) if (kept := _kept(folder, key)) is not None}
    missing = {key: point for point, key in reversed(keys.items()) if key not in done}
    total = len(done) + len(missing)
    running = {
        executor.submit(find, point.setting, point.line.stack, point.seed, settings): missing_key
        for missing_key, point in reversed(missing.items())
    }
    progress(len(done) / total)
    for future in as_completed(running):
        key = running[future]
        done[key] = future.result()
        write_whole(_file(folder, key), json.dumps({"run": key, "figures": done[key], "code": fingerprint()}) + "\n")
        progress(len(done) / total)
    return {point: done[key] for point, key in keys.items()}


@lru_cache
def fingerprint() -> str:
    """Of all sources that a run's figures come from."""
    return sources.digest(sources.closure(Path(__file__).resolve()))


def _file(folder: Path, key: str) -> Path:
    return folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"


def _kept(folder: Path, key: str) -> Figures | None:
    try:
        kept = json.loads(_file(folder, key).read_text())
        first, second, third = map(float, kept["figures"])
        return (first, second, third) if kept["code"] == fingerprint() else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
