"""A sweep's TOML file: a scenario, and what to vary in it.

    name = "memory"
    scenario = "contention.toml"          # from this file's folder
    seeds = [1, 2, 3]                     # or a number: that many, from the scenario's own on

    [axes]
    policy = ["esa", "atp", "switchml"]
    aggregators = [64, 128, 256]
    "job_defaults.window" = [128]         # a key in a table; "jobs.0.window": of the first job

The grid is the product: the last axis varies faster than the first, seeds fastest. Every point is validated before the
first one starts. A scenario with a table [cluster] is one of `esa cluster`, and all its points are.
"""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import Field, field_validator

from experiments.specs.cluster import ClusterScenario
from experiments.specs.keys import Finite, Name
from experiments.specs.scenario import Check, Scenario
from experiments.specs.toml_files import ScenarioError, read_toml, validated

MAX_POINTS = 100_000

Seed = Annotated[int, Field(ge=0, lt=2**32)]


class Point(NamedTuple):
    """One place in a grid: where it is on the axes, its seed, and the scenario."""

    axes: dict[str, Any]
    seed: int
    scenario: Scenario | ClusterScenario


class SweepFile(Finite):
    """What the file says; `points` makes the grid of it."""

    name: Name
    scenario: str
    seeds: tuple[Seed, ...] | Annotated[int, Field(ge=1, le=MAX_POINTS)] | None = None
    axes: dict[str, tuple[Any, ...]] = Field(default={})

    @field_validator("seeds", mode="before")
    @classmethod
    def _known_seeds(cls, value: Any) -> Any:
        several = isinstance(value, (list, tuple)) and value and len(set(map(repr, value))) == len(value)
        whole = all(isinstance(seed, int) and not isinstance(seed, bool) for seed in (value if several else [value]))
        if not whole or not (several or value >= 1):
            raise ValueError(f"{value!r}; allowed: a list of different numbers, or how many")
        return value

    @field_validator("axes", mode="before")
    @classmethod
    def _lists_of_values(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            raise ValueError(f"{value!r}; allowed: a table of keys and lists of values")
        axes = _flat(value)
        for key, values in axes.items():
            if key in ("seed", "name"):
                raise ValueError(
                    f"{key}: is no axis; allowed: keys of the scenario but name, and seed, for which there is 'seeds'"
                )
            if not isinstance(values, list) or not values:
                raise ValueError(f"{key}: {values!r}; allowed: a list of values")
            if len(set(map(repr, values))) < len(values):
                raise ValueError(f"{key}: {values!r}; allowed: values that occur once")
        return axes


def load_sweep(path: Path, check: Check) -> tuple[str, list[Point]]:
    """The sweep's name and its grid, each point checked.

    ScenarioError, one line, names what is wrong with the file or with a point.
    """
    file = validated(SweepFile, read_toml(path, "sweep"), str(path))
    base_path = path.parent / file.scenario
    base = read_toml(base_path)
    seeds = _seeds(file, base.get("seed", 1))
    count = len(seeds)
    for values in file.axes.values():
        count *= len(values)
    if count > MAX_POINTS:
        raise ScenarioError(f"{path}: axes: {count} points; allowed: {MAX_POINTS}")
    points = []
    for values in itertools.product(*file.axes.values()):
        axes = dict(zip(file.axes, values, strict=True))
        table = copy.deepcopy(base)
        for key, value in axes.items():
            try:
                _set(table, key, value)
            except LookupError as error:
                raise ScenarioError(f"{path}: axes.{key}: {error.args[0]}") from None
        source = f"{path}: {axes_text(axes)}: {base_path}" if axes else str(base_path)
        for seed in seeds:
            seeded = table | {"seed": seed}
            if "cluster" in base:
                points.append(Point(axes, seed, ClusterScenario.of_table(seeded, base_path.parent, source)))
            else:
                points.append(Point(axes, seed, Scenario.of_table(seeded, base_path.parent, source, check)))
    return file.name, points


def _seeds(file: SweepFile, first: Any) -> list[Any]:
    """Those that the file lists, or as many as it asks for from `first` on, the scenario's own."""
    if file.seeds is None or not isinstance(first, int):  # a seed that is no number is refused with the scenario
        return [first]
    return list(range(first, first + file.seeds)) if isinstance(file.seeds, int) else list(file.seeds)


def axes_text(axes: Mapping[str, Any]) -> str:
    """Where a point is, for people."""
    return ", ".join(f"{key} = {value_text(value)}" for key, value in axes.items())


def value_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """`network.rate = [..]` and `"network.rate" = [..]` are the same to a person, and here."""
    flat: dict[str, Any] = {}
    for key, value in table.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def _set(table: dict[str, Any], key: str, value: Any) -> None:
    """Set a dotted key; LookupError, with what is allowed, where the way to it is none."""
    *way, last = key.split(".")
    here: Any = table
    for depth, part in enumerate([*way, last]):
        if isinstance(here, list):
            if not part.isdecimal() or int(part) >= len(here):
                held = ".".join([*way, last][:depth])
                raise LookupError(
                    f"'{held}' is a list; allowed: numbers from 0 to {len(here) - 1} in place of '{part}'"
                )
        elif not isinstance(here, dict):
            raise LookupError(f"'{'.'.join(way[:depth])}' is no table")
        at: Any = int(part) if isinstance(here, list) else part
        if depth == len(way):
            here[at] = value
        else:
            here = here[at] if isinstance(here, list) else here.setdefault(at, {})
