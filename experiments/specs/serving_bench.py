"""What is written down of a run of `esa vidur-bench`: schedulers by workloads, over seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from esa.serving.routers import ROUTERS
from esa.serving.vidur.names import SCHEDULERS
from experiments.specs.keys import Finite, Name, key
from experiments.specs.serving import NAMES, DrawnSpec, FastServeSpec, ReplicaSpec, ServingScenario, VidurSpec
from experiments.specs.toml_files import dump_toml, one_of, read_toml, validated


class WorkloadSpec(DrawnSpec):
    """Requests that are drawn, under a name."""

    name: Name = key("in the table")


class ServingBench(Finite):
    """Workloads, schedulers, and the replicas that all of them are run on."""

    name: Name = key("what folders are called")
    seed: int = key("the first, of lengths, arrivals and random routing", 1, ge=0, lt=2**31)
    seeds: int = key("how many, one after the other", 10, ge=2, le=1000)
    schedulers: tuple[str, ...] = key(
        "who forms batches", tuple(SCHEDULERS), allowed=", ".join(NAMES), min_length=1, max_length=len(NAMES)
    )
    router: str = key("which replica a request goes to", "round-robin", allowed=", ".join(ROUTERS))
    replicas: ReplicaSpec = key("that serve")
    vidur: VidurSpec = key("of Vidur's schedulers", VidurSpec())
    fastserve: FastServeSpec = key("of FastServe's", FastServeSpec())
    workload: Annotated[tuple[WorkloadSpec, ...], Field(min_length=1, max_length=64)] = key("what is asked for")

    @field_validator("schedulers")
    @classmethod
    def _schedulers(cls, value: tuple[str, ...]) -> Any:
        return tuple(dict.fromkeys(one_of("scheduler", name, NAMES) for name in value))

    @model_validator(mode="after")
    def _names(self) -> ServingBench:
        names = [one.name for one in self.workload]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"workload: {twice} is given twice")
        return self

    def scenario(self, workload: WorkloadSpec, scheduler: str, seed: int) -> ServingScenario:
        """One run. ScenarioError for a scheduler that these replicas cannot have."""
        data = self.model_dump(mode="json", exclude_none=True)
        drawn = workload.model_dump(mode="json", exclude={"name"})
        kept = {name: data[name] for name in ("router", "replicas", "vidur", "fastserve")}
        whole = {**kept, "name": workload.name, "scheduler": scheduler, "seed": seed, "drawn": drawn}
        return validated(ServingScenario, whole, self.name)

    @classmethod
    def load(cls, path: Path) -> ServingBench:
        """Read and validate a TOML file."""
        return validated(cls, read_toml(path, "bench"), str(path))

    def to_toml(self) -> str:
        """The bench as resolved."""
        return dump_toml(self.model_dump(mode="json", exclude_none=True))
