"""What `esa laboratory` runs: a stack of layers, what stands in each one's place when it is off, and the settings.

    scenario = StackScenario.load(Path("experiments/scenarios/laboratory/stack.toml"))

A wrong file is a ScenarioError of one line that names the key and what is allowed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationInfo, field_validator, model_validator

from esa.cluster.policies import LABORATORY, LEARNING
from esa.gpu_network.filled_times import PREDICTORS
from esa.network_times.network import SWITCH_POLICIES
from esa.program import program
from esa.serving.kv_methods import METHODS
from esa.serving.vidur.names import SCHEDULERS
from experiments.specs.keys import Finite, Name, key
from experiments.specs.toml_files import one_of, read_toml, validated

LAYERS: dict[str, tuple[str, ...]] = {
    "scheduler": tuple(name for name in LABORATORY if name not in LEARNING and name != "aryl-loaning"),
    "sharing": PREDICTORS,
    "serving": tuple(SCHEDULERS),
    "cache": tuple(METHODS),
    "switch": tuple(name for name in SWITCH_POLICIES if name != "switchml"),
}
ROWS = (2, program(0).aggregators)


def _rows(value: int) -> int:
    if not ROWS[0] <= value <= ROWS[1] or value & (value - 1):
        raise ValueError(f"{value}; allowed: powers of two, {ROWS[0]} to {ROWS[1]}")
    return value


class StackSpec(Finite):
    """A layer each."""

    scheduler: str = key("of the cluster", allowed=", ".join(LAYERS["scheduler"]))
    sharing: str = key(
        "how waits for gradients are filled; time-slice: GPUs, by turns", allowed=", ".join(LAYERS["sharing"])
    )
    serving: str = key("who forms batches of requests", allowed=", ".join(LAYERS["serving"]))
    cache: str = key("how KV caches are sent and kept", allowed=", ".join(LAYERS["cache"]))
    switch: str = key("how sums are made", allowed=", ".join(LAYERS["switch"]))
    rows: int = key("of each switch; a power of two")

    @field_validator(*LAYERS)
    @classmethod
    def _known(cls, value: str, of: ValidationInfo) -> str:
        return one_of(str(of.field_name), value, LAYERS[str(of.field_name)])

    @field_validator("rows")
    @classmethod
    def _power_of_two(cls, value: int) -> int:
        return _rows(value)


class InsteadSpec(Finite):
    """By layer, what stands in its place, one at a time."""

    scheduler: tuple[str, ...] = key("as of [whole]", ())
    sharing: tuple[str, ...] = key("as of [whole]", ())
    serving: tuple[str, ...] = key("as of [whole]", ())
    cache: tuple[str, ...] = key("as of [whole]", ())
    switch: tuple[str, ...] = key("as of [whole]", ())
    rows: tuple[int, ...] = key("as of [whole]", ())

    @field_validator(*LAYERS)
    @classmethod
    def _known(cls, values: tuple[str, ...], of: ValidationInfo) -> tuple[str, ...]:
        return tuple(one_of(str(of.field_name), value, LAYERS[str(of.field_name)]) for value in values)

    @field_validator("rows")
    @classmethod
    def _power_of_two(cls, values: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(_rows(value) for value in values)


class RackSpec(Finite):
    """Three trainings of four ranks on a switch; GPUs of the first are filled (experiments/laboratory/gaps.py)."""

    kernel_us: float = key("median of the fillers' kernels, here and on the cluster", 300.0, gt=0, le=1e6)
    spread: float = key("deviation of their logarithm", 0.5, ge=0, le=3)
    slice_us: float = key("of sharing by time-slice, here and on the cluster", 500.0, ge=0.001, le=1e6)
    switch_us: float = key("likewise: what it costs to change", 50.0, ge=0, le=1e6)
    iterations: int = key("of the first training that count", 8, ge=3, le=10_000)


class FromSpec(Finite):
    """A setting that is a scenario of another command."""

    scenario: str = key("from this file's folder")


class QuickSpec(Finite):
    """Smaller loads."""

    seeds: int = key("how many", 3, ge=2, le=100)
    jobs: int = key("of the cluster", 40, ge=1, le=10**6)
    iterations: int = key("of the rack", 4, ge=3, le=10_000)
    chats: int = key("requests of chat", 6, ge=1, le=10**6)
    prompts: int = key("requests of prompts", 40, ge=2, le=100_000)


class StackScenario(Finite):
    """A stack, its layers' other choices, and four settings."""

    name: Name = key("what it is called")
    whole: StackSpec = key("the whole stack")
    instead: InsteadSpec = key("what a layer is when it is off")
    cluster: FromSpec = key("trainings on a cluster: of `esa cluster`, with [network] and [synthetic]")
    rack: RackSpec = key("trainings on a switch", RackSpec())
    chat: FromSpec = key("inference beside a training: of `esa serve`, with [network] and [drawn]")
    prompts: FromSpec = key("prefill and decode apart: of `esa kv`")
    quick: QuickSpec = key("smaller loads", QuickSpec())

    @model_validator(mode="after")
    def _others(self) -> StackScenario:
        for layer in StackSpec.model_fields:
            values = getattr(self.instead, layer)
            if getattr(self.whole, layer) in values or len(set(values)) < len(values):
                raise ValueError(f"instead.{layer}: {', '.join(map(str, values))}; allowed: others, each once")
        if not any(getattr(self.instead, layer) for layer in StackSpec.model_fields):
            raise ValueError("instead: none; allowed: something of at least one layer")
        return self

    @classmethod
    def load(cls, path: Path, **overrides: Any) -> StackScenario:
        """Read and validate a TOML file. overrides: those that are not None replace top-level keys."""
        data = read_toml(path) | {name: value for name, value in overrides.items() if value is not None}
        return validated(cls, data, str(path))
