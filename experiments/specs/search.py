"""What is written down of a run of `esa search`: which configurations of a model, under which requests and limits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from esa.serving.lengths import LENGTHS
from esa.serving.models import GPUS, MODELS
from esa.serving.vidur.names import SCHEDULERS
from experiments.specs.keys import Finite, Name, key
from experiments.specs.toml_files import dump_toml, one_of, read_toml, validated

PRICED = tuple(name for name, gpu in GPUS.items() if gpu.dollars is not None)
_Degree = Annotated[int, Field(ge=1, le=64)]
_Count = Annotated[int, Field(ge=1, le=4096)]
_Many = {"min_length": 1, "max_length": 64}


class SearchSpec(Finite):
    """Configurations, requests, limits."""

    name: Name = key("what folders are called")
    seed: int = key("of lengths and arrivals", 1, ge=0, lt=2**32)
    model: str = key("that is served", allowed=", ".join(MODELS))
    gpus: dict[str, _Count] = key("of each kind, at most", allowed=", ".join(PRICED), min_length=1)
    per_host: dict[str, _Count] = key("of them in a host", {"a100": 4, "h100": 4, "a40": 8})
    tp: tuple[_Degree, ...] = key("degrees of tensor parallelism", (1, 2, 4, 8), **_Many)
    pp: tuple[_Degree, ...] = key("stages", (1, 2, 4), **_Many)
    schedulers: tuple[str, ...] = key("who forms batches", ("vllm", "sarathi"), allowed=", ".join(SCHEDULERS), **_Many)
    chunks: tuple[_Count, ...] = key("of sarathi, tokens", (256, 512, 1024, 2048, 4096), **_Many)
    caps: tuple[_Count, ...] = key("requests of a stage's batch", (32, 64, 128), **_Many)
    lengths: str = key("of prompts and answers", "lmsys-chat", allowed=", ".join(LENGTHS))
    requests: int = key("of each run", 300, ge=10, le=100_000)
    start: float = key("requests a second that a search begins with", 8.0, gt=0, le=1e6)
    request_tokens: int = key("most of a request, prompt and answer", 4096, ge=2, le=10**6)
    delay_s: float = key("of scheduling, 99th percentile, that is a capacity's limit", 5.0, gt=0, le=3600)
    ttft_p90_s: float = key("to the first token, 90th percentile, at most", 2.0, gt=0, le=3600)
    tbt_p99_s: float = key("between tokens, 99th percentile, at most", 0.2, gt=0, le=3600)
    prune: bool = key("leave what cannot be the cheapest; without: the whole front", True)
    seeds: int = key("under which the cheapest and the fronts are measured again, for intervals", 1, ge=1, le=100)

    @field_validator("model")
    @classmethod
    def _model(cls, value: str) -> Any:
        return one_of("model", value, tuple(MODELS))

    @field_validator("lengths")
    @classmethod
    def _lengths(cls, value: str) -> Any:
        return one_of("lengths", value, tuple(LENGTHS))

    @field_validator("schedulers")
    @classmethod
    def _schedulers(cls, value: tuple[str, ...]) -> Any:
        return tuple(one_of("scheduler", name, tuple(SCHEDULERS)) for name in value)

    @field_validator("gpus", "per_host")
    @classmethod
    def _gpus(cls, value: dict[str, int]) -> Any:
        for name in value:
            if name not in PRICED:
                raise ValueError(f"{name}: unknown GPU; allowed: {', '.join(PRICED)}")
        return value

    @model_validator(mode="after")
    def _limits(self) -> SearchSpec:
        if self.tbt_p99_s > self.ttft_p90_s:
            raise ValueError(
                f"tbt_p99_s: {self.tbt_p99_s:g}, above ttft_p90_s, {self.ttft_p90_s:g}; allowed: at most that"
            )
        missing = next((gpu for gpu in self.gpus if gpu not in self.per_host), None)
        if missing is not None:
            raise ValueError(f"per_host: nothing of {missing}; allowed: how many are in a host")
        return self

    @classmethod
    def load(cls, path: Path) -> SearchSpec:
        """Read and validate a TOML file."""
        return validated(cls, read_toml(path, "search"), str(path))

    def to_toml(self) -> str:
        """The search as resolved."""
        return dump_toml(self.model_dump(mode="json", exclude_none=True))
