"""What a run is made of: a TOML file, validated at the door.

    scenario = Scenario.load(Path("experiments/scenarios/default.toml"))

A wrong file is a ScenarioError of one line that names the key and what is allowed.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from controller import pools as pools_of_switch
from esa.job import MAX_FAN_IN, Frozen, Pool
from esa.net.impairment import Impairment, LinkFaults
from esa.policy import POLICIES, policy
from esa.program import program

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

GLOO = "gloo"  # the same training with the ordinary all-reduce: a plain run, no policy of the switch
RUN_POLICIES = (*POLICIES, GLOO)
SWITCHES = ("embedded", "bmv2")
MODELS = ("mlp", "cnn")
MAX_HOSTS = 253
TRAINING_SAMPLES = 1347  # of the 1,797 digits; a test compares it with the data

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=64)]
Bandwidth = Annotated[float, Field(gt=0, le=1000)]


class ScenarioError(ValueError):
    """A scenario that cannot be run; one line."""


def one_of(key: str, value: str, allowed: tuple[str, ...]) -> str:
    """Return `value`; ValueError unless it is one of `allowed`."""
    if value not in allowed:
        raise ValueError(f"unknown {key} '{value}'; allowed: {', '.join(allowed)}")
    return value


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
    quantisation: Literal["fixed", "adaptive"] = "fixed"
    fraction_bits: int = Field(ge=-64, le=64, default=24)  # with two workers: gradients up to 64
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


class FaultSpec(Impairment):
    """What a link does to packets on purpose, in one direction or both; later entries replace the keys they set.

    where: "hosts" (ESA's packets, at the host's end, any switch) or "switch" (every frame, at the embedded switch's).
    """

    link: str  # a host's name, or "all"
    direction: Literal["to_switch", "from_switch", "both"] = "both"
    where: Literal["hosts", "switch"] = "hosts"


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
        rows = program(self.lanes).aggregators
        if self.aggregators is not None:
            if not 1 <= self.aggregators <= rows:
                raise ValueError(
                    f"aggregators: {self.aggregators}; allowed: 1 to {rows}, the rows at {self.lanes} lanes"
                )
            if self.aggregators & (self.aggregators - 1):
                raise ValueError(f"aggregators: {self.aggregators}; allowed: powers of two")
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
        asked: dict[str, dict[str, Any]] = {}
        for fault in self.faults:
            if fault.where == where and fault.link in ("all", host):
                keys = fault.model_dump(exclude_unset=True, exclude={"link", "direction", "where"})
                for way in ("to_switch", "from_switch"):
                    if fault.direction in (way, "both"):
                        asked[way] = asked.get(way, {}) | keys
        if not asked:
            return None
        seed = int.from_bytes(hashlib.sha256(f"{self.seed} {host} {where}".encode()).digest()[:6], "big")
        return LinkFaults(seed=seed, **{way: Impairment(**keys) for way, keys in asked.items()})

    def pools(self) -> dict[str, Pool]:
        """The rows of each job. Shared: rows 0 .. rows; slices: equal parts of them, in the jobs' order.

        ValueError where a pool exceeds the memory or overlaps a slice.
        """
        kinds = [policy_kind(self.policy_of(job)) for job in self.jobs]
        part = 1 << max(0, (self.rows // max(1, kinds.count("slice"))).bit_length() - 1)
        pools: dict[str, Pool] = {}
        claims: list[pools_of_switch.Claim] = []
        for i, (job, kind) in enumerate(zip(self.jobs, kinds, strict=True)):
            automatic = {
                "shared": Pool(base=0, size=self.rows),
                "slice": Pool(base=part * kinds[:i].count("slice"), size=part),
                "none": Pool(base=0, size=1),  # no row is used
            }
            pool = pools[job.name] = job.pool or automatic[kind]
            if kind == "slice" and pool.size < 2:
                raise ValueError(
                    f"jobs[{i}].pool: {pool.size} row; '{self.policy_of(job)}' needs 2 or more for each job"
                )
            claim = pools_of_switch.Claim(job.name, kind, pool)
            try:
                pools_of_switch.check(claim, claims, program(self.lanes).aggregators)
            except ValueError as error:
                allowed = "pools within the memory, slices that overlap nothing"
                raise ValueError(f"jobs[{i}].{error}; allowed: {allowed}") from None
            claims.append(claim)
        return pools

    def window(self, job: JobSpec) -> int:
        """Fragments in flight per worker: the job's window, or what its pool has room for.

        A slice holds two versions of each fragment in flight (release on reuse), a shared pool one.
        """
        kind = policy_kind(self.policy_of(job))
        size = self.pools()[job.name].size
        return {"none": job.window, "shared": min(job.window, size), "slice": min(job.window, size // 2)}[kind]

    @classmethod
    def load(cls, path: Path, *, loss: float | None = None, **overrides: Any) -> Scenario:
        """Read and validate a TOML file; `overrides` (those that are not None) replace its top-level keys.

        loss: of every link, both directions, whatever else the file asks of them.
        """
        if loss is not None and not 0 <= loss <= 1:
            raise ScenarioError(f"loss: {loss:g}; allowed: 0 to 1")
        try:
            with path.open("rb") as file:
                data = tomllib.load(file)
        except OSError as error:
            raise ScenarioError(f"scenario: cannot read {path}: {error.strerror}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ScenarioError(f"{path}: not TOML: {error}") from None
        data |= {key: value for key, value in overrides.items() if value is not None}
        if loss is not None and isinstance(data.get("faults", []), list):
            data["faults"] = [*data.get("faults", []), {"link": "all", "loss": loss}]
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise ScenarioError(f"{path}: {_first_error(error)}") from None

    def to_toml(self) -> str:
        """The scenario as resolved: a file that gives the same run."""
        data = self.model_dump(mode="json", exclude_none=True)
        del data["faults"]
        if self.faults:  # only what an entry sets: the rest is left to others for the same link
            data["faults"] = [fault.model_dump(mode="json", exclude_unset=True) for fault in self.faults]
        return dump_toml(data)


def _first_error(error: ValidationError) -> str:
    """The first thing wrong, in one line: the key, what is wrong with it, what is allowed."""
    first = error.errors()[0]
    key = _key(first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        return f"{key}: unknown key; allowed: {', '.join(_allowed_keys(first['loc'][:-1]))}"
    if first["type"] == "missing":
        return f"{key}: missing"
    if not key:
        return message
    if first["type"] == "value_error" and isinstance(first["input"], dict):
        return f"{key}.{message}"  # a rule over several keys names its own
    if first["type"] != "value_error":
        message = f"{first['input']!r}: {message[0].lower()}{message[1:]}"
    return f"{key}: {message}"


def _key(location: tuple[int | str, ...]) -> str:
    key = ""
    for part in location:
        key += f"[{part}]" if isinstance(part, int) else f".{part}" if key else part
    return key


def _allowed_keys(location: tuple[int | str, ...]) -> list[str]:
    model: type[BaseModel] = Scenario
    for part in location:
        if isinstance(part, str) and part in model.model_fields:
            model = _model_in(model.model_fields[part].annotation) or model
    return list(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if get_origin(annotation) is not None:
        return next(filter(None, map(_model_in, get_args(annotation))), None)
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def dump_toml(table: dict[str, Any], prefix: str = "") -> str:
    """Write nested dicts of strings, numbers, booleans and lists as TOML; lists of dicts become arrays of tables."""
    lines = []
    nested = []
    for key, value in table.items():
        if isinstance(value, dict):
            nested.append((f"[{prefix}{key}]", key, value))
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            nested += [(f"[[{prefix}{key}]]", key, item) for item in value]
        else:
            lines.append(f"{key} = {_toml_value(value)}")
    text = "\n".join(lines) + "\n" if lines else ""
    for header, key, value in nested:
        text += f"\n{header}\n{dump_toml(value, f'{prefix}{key}.')}"
    return text


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return f"[{', '.join(map(_toml_value, value))}]"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    return repr(value)
