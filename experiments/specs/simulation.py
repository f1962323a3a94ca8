"""What a simulation is made of: a TOML file, validated at the door.

    simulation = Simulation.load(Path("experiments/scenarios/sim/contention.toml"))
    outcome = simulate(plan_of(simulation))

A wrong file is a ScenarioError of one line that names the key and what is allowed. `to_toml` gives the scenario as
resolved: one text that holds all of it, from which any machine makes the same simulation.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationInfo, field_validator, model_validator

from esa.job import Pool
from esa.net.impairment import LinkFaults
from esa.policy import POLICIES, policy
from esa.program import program
from esa.sim.plan import Fabric
from esa.workloads import MODELS, TraceError, poisson, read_trace
from experiments.specs.fault_specs import FaultSpec, dump_faults, link_faults
from experiments.specs.rows import RowWish, assign_pools, check_rows, fitting_window
from experiments.specs.simulation_specs import (
    MAX_JOBS,
    MAX_TIME_S,
    Arrivals,
    Finite,
    HostCosts,
    JobSettings,
    JobSpec,
    ModelSpec,
    Name,
    Network,
    TimerSpec,
)
from experiments.specs.toml_files import ScenarioError, dump_toml, one_of, parse_toml, read_toml, validated
from experiments.virtual.simulated_models import job_buckets
from experiments.virtual.simulated_network import base_round_trip_ns, check_place, fabric_of, timers_of

SOURCES = ("jobs", "arrivals", "trace")  # where jobs come from: one of them
LANES = (0, 64)
WIRE_LANES = (64, 256)


class Simulation(Finite):
    """Jobs, the network between them, and the switches' memory that they share, in virtual time.

    lanes 0 carries no gradients, in packets as long as if they carried `wire_lanes` lanes; 64 carries them and compares
    every sum with the plain one. aggregators: rows that the jobs share, of each switch; absent: all of a switch with
    `wire_lanes` lanes. sample_us: between two lines of the time series; limit_s: of virtual time.
    """

    name: Name
    seed: int = Field(ge=0, lt=2**32, default=1)
    policy: str = "esa"
    lanes: int = 0
    wire_lanes: int = 64
    aggregators: int | None = None
    sample_us: float = Field(gt=0, le=60e6, default=100.0)
    limit_s: float = Field(gt=0, le=MAX_TIME_S, default=MAX_TIME_S)
    network: Network
    hosts: HostCosts = HostCosts()
    timers: TimerSpec = TimerSpec()
    faults: tuple[FaultSpec, ...] = ()
    models: tuple[ModelSpec, ...] = ()
    job_defaults: JobSettings = JobSettings()
    arrivals: Arrivals | None = None
    trace: str | None = None  # a CSV file, from the scenario's folder; `load` makes jobs of it
    jobs: tuple[JobSpec, ...] = Field(max_length=MAX_JOBS, default=())

    @model_validator(mode="before")
    @classmethod
    def _with_defaults(cls, data: Any) -> Any:
        """Every job gets what it does not say itself."""
        if not isinstance(data, dict) or not isinstance(data.get("job_defaults"), dict):
            return data
        if not isinstance(data.get("jobs"), (list, tuple)):
            return data
        common = {key: value for key, value in data["job_defaults"].items() if key in JobSettings.model_fields}
        return data | {"jobs": [common | job if isinstance(job, dict) else job for job in data["jobs"]]}

    @field_validator("policy")
    @classmethod
    def _known_policy(cls, name: str) -> str:
        return one_of("policy", name, tuple(POLICIES))

    @field_validator("lanes", "wire_lanes")
    @classmethod
    def _known_lanes(cls, lanes: int, info: ValidationInfo) -> int:
        allowed = LANES if info.field_name == "lanes" else WIRE_LANES
        if lanes not in allowed:
            raise ValueError(f"{lanes}; allowed: {', '.join(map(str, allowed))}")
        return lanes

    @model_validator(mode="after")
    def _consistent(self) -> Simulation:
        given = [source for source in SOURCES if getattr(self, source)]
        if len(given) != 1:
            what = f"{' and '.join(given)} together" if given else "none"
            raise ValueError(f"jobs: {what}; allowed: one of {', '.join(SOURCES)}")
        if self.trace is not None:
            raise ValueError("trace: only a scenario that is a file can name another; allowed: jobs, arrivals")
        if self.lanes and self.lanes != self.wire_lanes:
            raise ValueError(f"wire_lanes: {self.wire_lanes} with {self.lanes} lanes; allowed: {self.lanes}")
        check_rows(self.aggregators, program(self.lanes).aggregators, self.lanes)
        self._check_models()
        self._check_faults()
        names = [job.name for job in self.job_specs]
        fabric = fabric_of(self.network, self.hosts, {})
        for i, job in enumerate(self.job_specs):
            if job.name in names[:i]:
                raise ValueError(f"jobs[{i}].name: there is a job '{job.name}' already")
            self._check_job(job, f"jobs[{i}]" if self.jobs else "arrivals", fabric)
        self.pools  # noqa: B018 - refuses what does not fit
        timers_of(self.timers, self.base_round_trip_ns)
        return self

    def _check_models(self) -> None:
        names = [model.name for model in self.models]
        for i, name in enumerate(names):
            if name in names[:i] or name in MODELS:
                raise ValueError(f"models[{i}].name: there is a model '{name}' already")
            if not any(self.models[i].bytes):
                raise ValueError(f"models[{i}].bytes: no gradients; allowed: some layer with 4 or more")
        asked = [(f"jobs[{i}].model", job.model) for i, job in enumerate(self.jobs)]
        asked += [(f"arrivals.models.{name}", name) for name in (self.arrivals.models if self.arrivals else ())]
        for key, name in asked:
            if name not in (*MODELS, *names):
                raise ValueError(f"{key}: unknown model '{name}'; allowed: {', '.join((*MODELS, *names))}")

    def _check_faults(self) -> None:
        names = self.host_names()
        for i, fault in enumerate(self.faults):
            if fault.link not in ("all", *names):
                raise ValueError(f"faults[{i}].link: no link '{fault.link}'; allowed: all, {names[0]} to {names[-1]}")
            if fault.where != "hosts":
                raise ValueError(f"faults[{i}].where: '{fault.where}' is for real switches; allowed: 'hosts'")

    def _check_job(self, job: JobSpec, where: str, fabric: Fabric) -> None:
        if job.submit_s >= self.limit_s:
            raise ValueError(f"{where}.submit_s: {job.submit_s:g}; allowed: less than limit_s, {self.limit_s:g}")
        try:
            check_place(fabric, job, self.policy_of(job))
            job_buckets(job, self.models)
        except ValueError as error:
            raise ValueError(f"{where}.{error}") from None

    @property
    def topology(self) -> str:
        return "leaf-spine" if self.network.leaf_spine else "single-rack"

    @property
    def rows(self) -> int:
        """The rows of each switch that the jobs share."""
        return self.aggregators or program(self.wire_lanes).aggregators

    @property
    def base_round_trip_ns(self) -> int:
        return base_round_trip_ns(self.network, self.hosts, self.wire_lanes)

    @cached_property
    def job_specs(self) -> tuple[JobSpec, ...]:
        """Every job, those too that come by chance."""
        if self.arrivals is None:
            return self.jobs
        common, asked = self.job_defaults.model_dump(exclude_unset=True), self.arrivals
        requests = poisson(
            asked.count,
            asked.mean_interval_s,
            asked.models,
            asked.workers or (self.job_defaults.workers,),
            asked.iterations or (self.job_defaults.iterations,),
            self.seed,
        )
        last = requests[-1]
        if last.submit_s >= self.limit_s:
            raise ValueError(
                f"arrivals: the last job comes after {last.submit_s:.0f} s; allowed: before limit_s, {self.limit_s:g}"
            )
        return tuple(JobSpec(**(common | vars(request))) for request in requests)

    @cached_property
    def pools(self) -> dict[str, Pool]:
        """The rows of each job, as in a real run (`experiments/specs/rows.py`)."""
        wishes = [RowWish(job.name, *self._policy_and_kind(job), job.pool) for job in self.job_specs]
        return assign_pools(wishes, self.rows, program(self.lanes).aggregators)

    def policy_of(self, job: JobSpec) -> str:
        return job.policy or self.policy

    def window(self, job: JobSpec) -> int:
        """Fragments in flight per worker: the job's window, or what its pool has room for."""
        return fitting_window(job.window, policy(self.policy_of(job)).pool, self.pools[job.name])

    def host_names(self) -> list[str]:
        return [f"host-{number}" for number in range(sum(self.network.rack_sizes))]

    def link_faults(self) -> dict[int, LinkFaults]:
        """By host: what its link does to packets on purpose."""
        links = [link_faults(self.faults, self.seed, host, "hosts") for host in self.host_names()]
        return {number: faults for number, faults in enumerate(links) if faults is not None}

    def _policy_and_kind(self, job: JobSpec) -> tuple[str, str]:
        name = self.policy_of(job)
        return name, policy(name).pool

    @classmethod
    def load(cls, path: Path, **overrides: Any) -> Simulation:
        """Read and validate a TOML file; `overrides` (those that are not None) replace its top-level keys."""
        data = read_toml(path) | {key: value for key, value in overrides.items() if value is not None}
        return cls.of_table(data, path.parent, str(path))

    @classmethod
    def parse(cls, text: str) -> Simulation:
        """What `to_toml` wrote."""
        return cls.of_table(parse_toml(text, "scenario"), None, "scenario")

    @classmethod
    def of_table(cls, data: dict[str, Any], folder: Path | None, source: str) -> Simulation:
        """Validate a file's table. folder: where its trace is; source: what an error calls it."""
        trace = data.get("trace")
        if isinstance(trace, str) and folder is not None and not (data.get("jobs") or data.get("arrivals")):
            data = {key: value for key, value in data.items() if key != "trace"}
            data["jobs"] = _jobs_of_trace(folder / trace, data.get("models"))
        return validated(cls, data, source)

    def to_toml(self) -> str:
        """The scenario as resolved: a text that gives the same simulation anywhere."""
        data = self.model_dump(mode="json", exclude_none=True)
        data["faults"] = dump_faults(self.faults)
        data["jobs"] = [{"name": job["name"], **job} for job in data["jobs"]]
        return dump_toml({key: value for key, value in data.items() if value not in ([], {})})


def _jobs_of_trace(path: Path, models: Any) -> list[dict[str, Any]]:
    own = [model.get("name") for model in models if isinstance(model, dict)] if isinstance(models, list) else []
    try:
        requests = read_trace(path, [*MODELS, *(name for name in own if isinstance(name, str))])
    except TraceError as error:
        raise ScenarioError(f"trace: {error}") from None
    return [dict(vars(request)) for request in requests]
