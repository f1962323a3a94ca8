"""What `esa kv` runs: requests, instances of prefill and of decode, and the NICs between them, validated at the door.

    scenario = KvScenario.load(Path("experiments/scenarios/kv/artefact.toml"))

A wrong file is a ScenarioError of one line that names the key and what is allowed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import field_validator, model_validator

from esa.kvcache.sizes import EFFICIENCY, FIXED_S
from esa.serving.costs.stages import SOURCES
from esa.serving.kv_methods import METHODS, OF_HACK
from esa.serving.lengths import LENGTHS
from esa.serving.models import GPUS, MODELS
from experiments.specs.keys import Finite, Name, key
from experiments.specs.toml_files import dump_toml, one_of, read_toml, validated

MAX_REQUESTS = 100_000
FIRST = "fp16"  # what others are held against


class InstanceSpec(Finite):
    """Instances of one kind."""

    gpu: str = key("on which", allowed=", ".join(GPUS))
    tp: int = key("degree of tensor parallelism", 1, ge=1, le=64)
    count: int = key("instances", 1, ge=1, le=1024)
    times: str = key("where iteration times are from", "auto", allowed=", ".join(SOURCES))
    overhead_ms: float = key("of the engine, each iteration", 0.0, ge=0, le=10_000)
    pace: float = key("of prefill: how many times as long prompts take", 1.0, gt=0, le=1000)
    most_tokens: int = key("of prefill: of a batch of prompts", 4096, ge=1, le=10**6)
    cap: int = key("of decode: requests at a time", 128, ge=1, le=100_000)
    memory: float = key("of decode: part that weights and caches have", 0.9, gt=0, le=1)

    @field_validator("gpu")
    @classmethod
    def _gpus(cls, value: str) -> str:
        return one_of("gpu", value, tuple(GPUS))

    @field_validator("times")
    @classmethod
    def _sources(cls, value: str) -> str:
        return one_of("source", value, SOURCES)


class NicSpec(Finite):
    """Of each instance."""

    gbps: tuple[float, ...] = key("rates, one run each", min_length=1, max_length=64)
    efficiency: float = key("part of the rate that caches get", EFFICIENCY, gt=0, le=1)
    fixed_ms: float = key("of each transfer besides", 1e3 * FIXED_S, ge=0, le=10**6)

    @field_validator("gbps")
    @classmethod
    def _rates(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        for rate in value:
            if not 0.001 <= rate <= 10_000:
                raise ValueError(f"{rate:g}; allowed: 0.001 to 10000")
        if sorted(set(value)) != list(value):
            raise ValueError(f"{', '.join(f'{rate:g}' for rate in value)}; allowed: ascending, each once")
        return value


class RequestSpec(Finite):
    """What is asked, Poisson."""

    count: int = key("requests of a run", 100, ge=2, le=MAX_REQUESTS)
    rate: tuple[float, ...] = key("requests a second, one run each", min_length=1, max_length=64)
    lengths: str | None = key("of prompts and answers", None, absent="prompt, output", allowed=", ".join(LENGTHS))
    prompt: tuple[int, int] | None = key("tokens, least and most", None, absent="lengths")
    output: tuple[int, int] | None = key("tokens of answers, least and most", None, absent="lengths")

    @model_validator(mode="after")
    def _one_way(self) -> RequestSpec:
        drawn = (self.prompt is not None, self.output is not None)
        if drawn not in ((True, True), (False, False)) or (self.lengths is None) == (not all(drawn)):
            raise ValueError("lengths: allowed: either lengths, or both prompt and output")
        if self.lengths is not None:
            one_of("lengths", self.lengths, tuple(LENGTHS))
        for name in ("prompt", "output"):
            ends = getattr(self, name)
            if ends is not None and not 1 <= ends[0] <= ends[1] <= 10**6:
                raise ValueError(f"{name}: {list(ends)}; allowed: [least, most], from 1 to 1000000")
        for rate in self.rate:
            if not 0 < rate <= 1e6:
                raise ValueError(f"rate: {rate:g}; allowed: above 0 to 1e6")
        return self


class KvScenario(Finite):
    """Disaggregated inference, over methods, rates of NICs and of requests."""

    name: Name = key("what results are called")
    model: str = key("which", allowed=", ".join(MODELS))
    prefill: InstanceSpec = key("where prompts are done")
    decode: InstanceSpec = key("where answers are")
    nic: NicSpec = key("of each instance")
    requests: RequestSpec = key("what is asked")
    methods: tuple[str, ...] = key("of caches", OF_HACK, allowed=", ".join(METHODS))
    part: int = key("of HACK's partitions, in values", 64, ge=8, le=1024)

    @field_validator("model")
    @classmethod
    def _models(cls, value: str) -> str:
        return one_of("model", value, tuple(MODELS))

    @field_validator("methods")
    @classmethod
    def _methods(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            one_of("method", name, tuple(METHODS))
        if FIRST not in value or len(set(value)) < len(value):
            raise ValueError(f"{', '.join(value)}; allowed: {FIRST} and others, each once")
        return value

    @classmethod
    def load(cls, path: Path, **overrides: Any) -> KvScenario:
        """Read and validate a TOML file. overrides: those that are not None replace top-level keys."""
        data = read_toml(path) | {name: value for name, value in overrides.items() if value is not None}
        return validated(cls, data, str(path))

    def to_toml(self) -> str:
        """The scenario as resolved."""
        return dump_toml(self.model_dump(mode="json", exclude_none=True))
