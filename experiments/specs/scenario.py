"""What a run is made of: a TOML file, validated at the door.

    scenario = Scenario.load(Path("experiments/scenarios/default.toml"))

A wrong file is a ScenarioError of one line that names the key and what is allowed.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from esa.job import MAX_FAN_IN, Frozen, Pool
from esa.net.impairment import LinkFaults
from esa.policy import POLICIES, policy
from esa.program import program
from experiments.specs.fault_specs import FaultSpec, dump_faults, link_faults
from experiments.specs.rows import RowWish, assign_pools, check_rows, fitting_window
from experiments.specs.toml_files import ScenarioError, dump_toml, one_of, read_toml, validated

GLOO = "gloo"  # the same training with the ordinary all-reduce: a plain run, no policy of the switch
RUN_POLICIES = (*POLICIES, GLOO)
SWITCHES = ("embedded", "bmv2")
MODELS = ("mlp", "cnn")
MAX_HOSTS = 253
TRAINING_SAMPLES = 1347  # of the 1,797 digits; a test compares it with the data

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=64)]
Bandwidth = Annotated[float, Field(gt=0, le=1000)]


def policy_kind(name: str) -> str:
    """Whose rows a job takes: "shared", "slice" or "none"."""
    return "none" if name == GLOO else policy(name).pool


class Links(Frozen):
    """Bandwidth in Mb/s, both directions: of workers, of PSs, and of single hosts by name (`mlp-0`, `mlp-ps`)."""

    worker_mbps: Bandwidth = 20.0
    server_mbps: Bandwidth = 20.0
    hosts: dict[str, Bandwidth] = Field(default={})


class JobSpec(Frozen):
    """One training job. Batch size is per worker; a learning rate is SGD's, with momentum 0.9."""

    name: Name
    model: str
    workers: int = Field(ge=1, le=MAX_FAN_IN, default=2)
    iterations: int = Field(ge=1, le=1_000_000)
    batch_size: int = Field(ge=1, le=1024, default=32)
    learning_rate: float = Field(gt=0, le=10, default=0.05)
    bucket_cap_mb: float = Field(gt=0, le=1024, default=1.0)
    window: int = Field(ge=1, le=16384, default=256)
    quantisation: Literal["fixed", "adaptive"] = "adaptive"
    fraction_bits: int = Field(ge=-64, le=64, default=24)  # of `fixed`; with two workers: gradients up to 64
    policy: str | None = None  # in place of the run's
    pool: Pool | None = None  # in place of what the policy takes
    submit_s: float = Field(ge=0, le=3600, default=0.0)  # after the run's start

    @field_validator("model")
    @classmethod
    def _known_model(cls, model: str) -> str:
        return one_of("model", model, MODELS)

    @field_validator("policy")
    @classmethod
    def _known_policy(cls, name: str | None) -> str | None:
        return None if name is None else one_of("policy", name, RUN_POLICIES)

    @model_validator(mode="after")
    def _enough_samples(self) -> JobSpec:
        if self.workers * self.batch_size > TRAINING_SAMPLES:
            raise ValueError(
                f"batch_size: {self.workers} workers x {self.batch_size} samples; allowed: {TRAINING_SAMPLES} together"
            )
        return self


class Scenario(Frozen):
    """Jobs, the network between them, and the switch's memory that they share."""

    name: Name
    seed: int = Field(ge=0, lt=2**32, default=1)
    policy: str = "esa"
    switch: str = "embedded"
    lanes: int = 64
    topology: Literal["single-rack"] = "single-rack"
    aggregators: int | None = None  # the rows that the jobs share; all there are
    give_up_s: float = Field(gt=0, le=3600, default=30.0)  # without progress an all-reduce then fails, and its job
    links: Links = Links()
    faults: tuple[FaultSpec, ...] = ()
    jobs: tuple[JobSpec, ...] = Field(min_length=1, max_length=64)

    @field_validator("policy")
    @classmethod
    def _known_policy(cls, name: str) -> str:
        return one_of("policy", name, RUN_POLICIES)

    @field_validator("switch")
    @classmethod
    def _known_switch(cls, name: str) -> str:
        one_of("switch", name, SWITCHES)
        if name == "bmv2" and shutil.which("simple_switch_grpc") is None:
            raise ValueError("'bmv2' needs simple_switch_grpc on the PATH; 'embedded' needs nothing")
        return name

    @field_validator("lanes")
    @classmethod
    def _built(cls, lanes: int) -> int:
        # The payload-free build is for virtual time: it carries no gradients.
        if lanes == 0:
            raise ValueError("a run needs a build that carries lanes; allowed: 64, 256")
        try:
            program(lanes)
        except ValueError:
            raise ValueError(f"no build with {lanes} lanes; allowed: 64, 256") from None
        return lanes

    @model_validator(mode="after")
    def _consistent(self) -> Scenario:
        names = [job.name for job in self.jobs]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"jobs: two jobs are called '{name}'; a name may occur once")
        hosts = self.host_names()
        if len(hosts) > MAX_HOSTS:
            raise ValueError(f"jobs: {len(hosts)} workers and PSs; allowed: {MAX_HOSTS} hosts in one rack")
        for host in self.links.hosts:
            if host not in hosts:
                raise ValueError(f"links.hosts.{host}: no such host; allowed: {', '.join(hosts)}")
        for i, fault in enumerate(self.faults):
            if fault.link not in ("all", *hosts):
                raise ValueError(f"faults[{i}].link: no link '{fault.link}'; allowed: all, {', '.join(hosts)}")
            if fault.where == "switch" and self.switch != "embedded":
                raise ValueError(
                    f"faults[{i}].where: '{self.switch}' has no faults; allowed: 'hosts', or switch 'embedded'"
                )
        check_rows(self.aggregators, program(self.lanes).aggregators, self.lanes)
        self.pools()
        return self

    @property
    def rows(self) -> int:
        """The rows that the jobs share."""
        return self.aggregators or program(self.lanes).aggregators

    def policy_of(self, job: JobSpec) -> str:
        return job.policy or self.policy

    def host_names(self) -> list[str]:
        """Every host of the run: each job's workers by rank, then its PS."""
        return [
            host for job in self.jobs for host in (*(f"{job.name}-{r}" for r in range(job.workers)), f"{job.name}-ps")
        ]

    def bandwidth_mbps(self, host: str) -> float:
        default = self.links.server_mbps if host.endswith("-ps") else self.links.worker_mbps
        return self.links.hosts.get(host, default)

    def link_faults(self, host: str, where: str) -> LinkFaults | None:
        """What the host's link does to packets on purpose, at its end or at the switch's; None: nothing."""
        return link_faults(self.faults, self.seed, host, where)

    def pools(self) -> dict[str, Pool]:
        """The rows of each job. Shared: rows 0 .. rows; slices: equal parts of them, in the jobs' order.

        ValueError where a pool exceeds the memory or overlaps a slice.
        """
        wishes = [
            RowWish(job.name, self.policy_of(job), policy_kind(self.policy_of(job)), job.pool) for job in self.jobs
        ]
        return assign_pools(wishes, self.rows, program(self.lanes).aggregators)

    def window(self, job: JobSpec) -> int:
        """Fragments in flight per worker: the job's window, or what its pool has room for."""
        return fitting_window(job.window, policy_kind(self.policy_of(job)), self.pools()[job.name])

    @classmethod
    def load(cls, path: Path, *, loss: float | None = None, **overrides: Any) -> Scenario:
        """Read and validate a TOML file; `overrides` (those that are not None) replace its top-level keys.

        loss: of every link, both directions, whatever else the file asks of them.
        """
        if loss is not None and not 0 <= loss <= 1:
            raise ScenarioError(f"loss: {loss:g}; allowed: 0 to 1")
        data = read_toml(path)
        data |= {key: value for key, value in overrides.items() if value is not None}
        if loss is not None and isinstance(data.get("faults", []), list):
            data["faults"] = [*data.get("faults", []), {"link": "all", "loss": loss}]
        return validated(cls, data, str(path))

    def to_toml(self) -> str:
        """The scenario as resolved: a file that gives the same run."""
        data = self.model_dump(mode="json", exclude_none=True)
        del data["faults"]
        if self.faults:
            data["faults"] = dump_faults(self.faults)
        return dump_toml(data)
