"""Which runs there are, and those that are kept: a command that was interrupted goes on from there.

asked = points_of(scenario, seeds=10)
found = run_all(asked, settings, executor, folder, progress)      # found[point]: the setting's three figures
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import NamedTuple

from experiments.common.kept import code_of, run_kept
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
    calls = {key: (find, point.setting, point.line.stack, point.seed, settings) for point, key in keys.items()}
    found = run_kept(calls, folder, code_of(__file__), executor, progress=progress)
    return {point: _figures(*found[key]) for point, key in keys.items()}


def _figures(first: float, second: float, third: float) -> Figures:
    return first, second, third
