"""What is written down of a run of `esa serve`: replicas of a model, who forms their batches, and requests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, field_validator, model_validator

from esa.serving.arrivals import KINDS
from esa.serving.costs.stages import SOURCES
from esa.serving.fastserve.engine import SWAPS
from esa.serving.fastserve.orders import POLICIES
from esa.serving.lengths import LENGTHS
from esa.serving.models import GPUS, MODELS
from esa.serving.network import FABRICS
from esa.serving.routers import ROUTERS
from esa.serving.traces import FORMATS
from esa.serving.vidur.names import SCHEDULERS
from experiments.specs.flows import MAX_FLOWS, FlowSpec
from experiments.specs.keys import MAX_JOBS, Finite, Name, key
from experiments.specs.serving_network import NetworkSpec, TrainingSpec
from experiments.specs.toml_files import ScenarioError, dump_toml, one_of, read_toml, validated

NAMES = (*SCHEDULERS, *POLICIES)
MAX_REQUESTS = 1_000_000


def _known(name: str, allowed: tuple[str, ...]) -> Any:
    return field_validator(name)(classmethod(lambda cls, value: one_of(name, value, allowed)))


class ReplicaSpec(Finite):
    """A model on GPUs, some times over."""

    model: str = key("which", allowed=", ".join(MODELS))
    gpu: str = key("on which", allowed=", ".join(GPUS))
    tp: int = key("degree of tensor parallelism", 1, ge=1, le=64)
    pp: int = key("stages", 1, ge=1, le=64)
    count: int = key("replicas", 1, ge=1, le=1024)
    times: str = key("where iteration times are from", "auto", allowed=", ".join(SOURCES))
    fabric: str | None = key("whose collectives", None, absent="the GPU's own", allowed=", ".join(FABRICS))
    per_host: int | None = key("GPUs of a host", None, absent="8; on [network] 1", ge=1, le=64)
    overhead_ms: float = key("of the engine, each iteration", 0.0, ge=0, le=10_000)
    hosts: tuple[tuple[int, ...], ...] | None = key(
        "with [network]: by replica, those of its GPUs, stage by stage",
        None,
        absent="one after the other",
        allowed="hosts by number, from 0",
    )
    blocks: int | None = key("of KV memory, 16 tokens each", None, absent="what the model leaves", ge=1, le=10**9)

    _models = _known("model", tuple(MODELS))
    _gpus = _known("gpu", tuple(GPUS))
    _sources = _known("times", SOURCES)

    @field_validator("fabric")
    @classmethod
    def _fabrics(cls, value: str | None) -> str | None:
        return value if value is None else one_of("fabric", value, FABRICS)


class VidurSpec(Finite):
    """Limits of Vidur's replica schedulers."""

    cap: int = key("requests under way", 128, ge=1, le=100_000)
    request_tokens: int = key("most of a request, prompt and answer", 4096, ge=2, le=10**6)
    most_tokens: int = key("most of a batch of prompts", 4096, ge=1, le=10**6)
    chunk: int = key("tokens of sarathi's batches", 512, ge=1, le=10**6)
    watermark: float = key("part of the blocks that a new request leaves free", 0.01, ge=0, lt=1)
    patience: int = key("iterations between lightllm's batches of prompts", 10, ge=1, le=10**6)
    compat: bool = key("as the published tool, with what looks like mistakes", False)


class FastServeSpec(Finite):
    """Rules of FastServe's engine."""

    batch: int = key("requests of an iteration", 16, ge=1, le=4096)
    alpha_s: float = key("who has waited so long moves up; 0: nobody does", 0.3, ge=0, le=1e6)
    swap: str = key("where keys and values go that have no room", "proactive", allowed=", ".join(SWAPS))
    idle: int = key("blocks that are kept free", 16, ge=0, le=10**6)
    pcie_gbs: float = key("of a link, one way", 32.0, ge=0, le=10_000)
    host_gb: float = key("of a replica, for keys and values", 56.0, ge=0, le=100_000)

    _swaps = _known("swap", SWAPS)


class DrawnSpec(Finite):
    """Requests that are drawn."""

    count: int = key("how many", 1000, ge=1, le=MAX_REQUESTS)
    lengths: str = key("of prompts and answers", "lmsys-chat", allowed=", ".join(LENGTHS))
    arrivals: str = key("intervals", "poisson", allowed=", ".join(KINDS))
    rate: float = key("requests a second, all replicas", 1.0, gt=0, le=1e6)
    cv: float = key("of gamma's intervals, deviation over mean", 0.5, gt=0, le=100)

    _lengths = _known("lengths", tuple(LENGTHS))
    _kinds = _known("arrivals", KINDS)


class TraceSpec(Finite):
    """Requests of a trace (esa/serving/traces.py)."""

    format: str = key("whose columns", allowed=", ".join(FORMATS))
    path: str = key("from this file's folder")
    most: int | None = key("requests", None, absent="all", ge=1, le=MAX_REQUESTS)
    pace: float = key("how many times as fast", 1.0, gt=0, le=1e6)

    _formats = _known("format", tuple(FORMATS))


class ServingScenario(Finite):
    """Requests, and who serves them."""

    name: Name = key("what runs and folders are called")
    seed: int = key("of what is drawn", 1, ge=0, lt=2**32)
    scheduler: str = key("who forms batches", allowed=", ".join(NAMES))
    router: str = key("which replica a request goes to", "least-outstanding", allowed=", ".join(ROUTERS))
    most: int = key("requests of a replica, of deferred", 128, ge=1, le=100_000)
    replicas: ReplicaSpec = key("that serve")
    vidur: VidurSpec = key("of Vidur's schedulers", VidurSpec())
    fastserve: FastServeSpec = key("of FastServe's", FastServeSpec())
    drawn: DrawnSpec | None = key("requests that are drawn", None, absent="none")
    network: NetworkSpec | None = key("the simulated network under its collectives", None, absent="as measured")
    training: tuple[TrainingSpec, ...] = key("jobs beside, on [network]", (), max_length=MAX_JOBS)
    flows: tuple[FlowSpec, ...] = key("traffic beside, on [network]", (), max_length=MAX_FLOWS)
    trace: TraceSpec | None = Field(None, description="requests of a trace", json_schema_extra={"absent": "none"})

    _schedulers = _known("scheduler", NAMES)
    _routers = _known("router", ROUTERS)

    @model_validator(mode="after")
    def _fits_together(self) -> ServingScenario:
        if (self.drawn is None) == (self.trace is None):
            what = "drawn and trace together" if self.drawn else "none"
            raise ValueError(f"requests: {what}; allowed: one of drawn, trace")
        if self.scheduler in POLICIES and self.replicas.pp > 1:
            raise ValueError(f"replicas.pp: {self.replicas.pp} with {self.scheduler}; allowed: 1")
        if self.network is None:
            beside = "training" if self.training else "flows" if self.flows else None
            if beside or self.replicas.hosts is not None:
                raise ValueError(f"{beside or 'replicas.hosts'}: without [network]; allowed: with it")
            return self
        if self.replicas.tp % self.gpus_together:
            tp = self.replicas.tp
            raise ValueError(f"replicas.per_host: {self.gpus_together} of {tp} on [network]; allowed: a divisor of tp")
        if self.replicas.fabric is not None and self.gpus_together == 1:
            raise ValueError("replicas.fabric: with [network]; allowed: one of them, or several GPUs per_host")
        if self.network.idle and (self.training or self.flows):
            raise ValueError("network.idle: with jobs or flows beside; allowed: without")
        if self.hosts_each == 1 and not (self.training or self.flows):
            raise ValueError("network: replicas on one host each, and nobody beside; allowed: something that sends")
        names = [one.name for one in (*self.training, *self.flows)]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"training, flows: {twice} is given twice")
        return self

    @classmethod
    def load(cls, path: Path, **overrides: Any) -> ServingScenario:
        """Read and validate a TOML file. overrides: those that are not None replace top-level keys."""
        data = read_toml(path) | {name: value for name, value in overrides.items() if value is not None}
        return validated(cls, data, str(path))

    @property
    def gpus_together(self) -> int:
        """GPUs of a tensor-parallel group on a host."""
        otherwise = 8 if self.network is None else 1
        return min(self.replicas.tp, self.replicas.per_host or otherwise)

    @property
    def hosts_each(self) -> int:
        """Of a replica, on [network]; none has two stages."""
        return self.replicas.tp // self.gpus_together * self.replicas.pp

    @property
    def method(self) -> str:
        """Who forms batches and, on [network], how sums are made."""
        return self.scheduler if self.network is None else f"{self.scheduler}-{self.network.carrier}"

    def carried_by(self, carrier: str | None) -> ServingScenario:
        """The same with sums made so; None: as it is. ScenarioError without [network], or for one that is not known."""
        if carrier is None:
            return self
        if self.network is None:
            raise ScenarioError(f"--carrier {carrier}: {self.name} has no [network]; allowed: with it")
        one_of_carriers = validated(
            NetworkSpec, {**self.network.model_dump(mode="json"), "carrier": carrier}, "--carrier"
        )
        return self.model_copy(update={"network": one_of_carriers})

    def to_toml(self) -> str:
        """The scenario as resolved."""
        return dump_toml(self.model_dump(mode="json", exclude_none=True, by_alias=True))
