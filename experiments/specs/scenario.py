"""What is run, live on Mininet or in virtual time: a TOML file, validated at the door. docs/scenario.md has every key.

    scenario = Scenario.load(Path("experiments/scenarios/default.toml"), check_live)

A wrong file is a ScenarioError of one line that names the key and what is allowed. What describes the experiment is
said once, for both backends; where one of them cannot do it, its check refuses it. What only one of them can use has a
section of its own, which the other disregards. `to_toml` gives the scenario as resolved: one text that holds all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import field_validator, model_validator

from esa.entries.admission import Applicant, enough, needed_rows
from esa.job import MAX_SPAN, Pool, check_servers
from esa.net.impairment import LinkFaults
from esa.policy import POLICIES, policy
from esa.program import program
from esa.wire import WIRE_OVERHEAD_BYTES, packet_bytes
from experiments.specs.arrivals import Arrivals, drawn_jobs, jobs_of_trace
from experiments.specs.backends import Live, Virtual
from experiments.specs.failures import MAX_FAILURES, FailureSpec, check_failures
from experiments.specs.faults import FaultSpec, dump_faults, link_faults
from experiments.specs.flows import MAX_FLOWS, FlowSpec
from experiments.specs.former_keys import check_former_keys
from experiments.specs.jobs import INA, TRANSPORTS, JobSettings, JobSpec, known_policy, known_transport
from experiments.specs.keys import MAX_JOBS, Finite, Name, key
from experiments.specs.models import KNOWN_MODELS, ModelSpec
from experiments.specs.network import Network, spine_cable_name
from experiments.specs.rows import RowWish, assign_pools, check_rows, fitting_window, side_by_side
from experiments.specs.timers import TimerSpec
from experiments.specs.toml_files import ScenarioError, dump_toml, parse_toml, read_toml, validated

SOURCES = ("jobs", "arrivals", "trace")  # where jobs come from: one of them
LANES = (64, 256)


class Scenario(Finite):
    """Jobs, the network between them, and the switches' memory that they share."""

    name: Name = key("what runs and folders are called")
    seed: int = key("of weights, samples, arrivals, faults and whatever else is drawn", 1, ge=0, lt=2**32)
    transport: str = key(
        "how gradients are summed: ina, in the network and by PSs; gloo, by PyTorch's all-reduce, a ring; in virtual "
        "time halving-doubling, too, another all-reduce by messages",
        INA,
        allowed=", ".join(TRANSPORTS),
    )
    policy: str = key("of `ina`: how rows are scheduled", "esa", allowed=", ".join(POLICIES))
    lanes: int = key("int32 values in a fragment", 64, allowed=", ".join(map(str, LANES)))
    aggregators: int | None = key(
        "rows that the jobs share, of each switch; a power of two",
        None,
        unit="rows",
        absent="all that a switch has",
        ge=1,
    )
    admission: bool | None = key(
        "where rows are too few for an eighth of every job's window, only so many jobs have rows as find that, those "
        "first that communicate most; the others sum by a ring, and `summary.json` says so (docs/protocol.md); of "
        "policies that place rows, `esa`",
        None,
        absent="true with `esa` on one switch, unless something fails, `shortest-remaining` schedules or gradients are "
        "carried; live, unless there is a delay_us",
    )
    network: Network = key("hosts, switches and cables")
    timers: TimerSpec = key("when to ask again, when to give up", TimerSpec())
    live: Live = key("what live runs alone can use", Live())
    virtual: Virtual = key("what virtual time alone can use", Virtual())
    faults: tuple[FaultSpec, ...] = key("what links do to packets on purpose", ())
    flows: tuple[FlowSpec, ...] = key("traffic of no job", (), max_length=MAX_FLOWS)
    failures: tuple[FailureSpec, ...] = key("what dies, and when it is back", (), max_length=MAX_FAILURES)
    models: tuple[ModelSpec, ...] = key("models of the scenario's own", ())
    job_defaults: JobSettings = key("what jobs have in common", JobSettings())
    arrivals: Arrivals | None = key("jobs that come by chance", None, absent="none")
    trace: str | None = key(
        "a CSV file from this file's folder, a job a line: name,workers,iterations,submit_s,model", None, absent="none"
    )
    jobs: tuple[JobSpec, ...] = key("jobs, one by one", (), max_length=MAX_JOBS)

    @model_validator(mode="before")
    @classmethod
    def _with_defaults(cls, data: Any) -> Any:
        """Every job gets what it does not say itself."""
        if not isinstance(data, dict) or not isinstance(data.get("job_defaults"), dict):
            return data
        if not isinstance(data.get("jobs"), (list, tuple)):
            return data
        common = {name: value for name, value in data["job_defaults"].items() if name in JobSettings.model_fields}
        return data | {"jobs": [common | job if isinstance(job, dict) else job for job in data["jobs"]]}

    @field_validator("policy")
    @classmethod
    def _known_policy(cls, name: str) -> str:
        return known_policy(name)

    @field_validator("transport")
    @classmethod
    def _known_transport(cls, name: str) -> str:
        return known_transport(name)

    @field_validator("lanes")
    @classmethod
    def _known_lanes(cls, lanes: int) -> int:
        if lanes not in LANES:
            raise ValueError(f"{lanes}; allowed: {', '.join(map(str, LANES))}")
        return lanes

    @model_validator(mode="after")
    def _consistent(self) -> Scenario:
        given = [source for source in SOURCES if getattr(self, source)]
        if len(given) != 1:
            what = f"{' and '.join(given)} together" if given else "none"
            raise ValueError(f"jobs: {what}; allowed: one of {', '.join(SOURCES)}")
        if self.trace is not None:
            raise ValueError("trace: only a scenario that is a file can name another; allowed: jobs, arrivals")
        self._check_models()
        names: set[str] = set()
        for i, job in enumerate(self.job_specs):
            if job.name in names:
                raise ValueError(f"jobs[{i}].name: there is a job '{job.name}' already")
            if job.hosts is not None and self.own_hosts:
                raise ValueError(
                    f"jobs[{i}].hosts: every worker and PS has its own; allowed: with network.hosts or racks"
                )
            if job.congestion not in (None, "none") and self.network.ecn_packets is None:
                raise ValueError(f"jobs[{i}].congestion: nothing is marked; allowed: with network.ecn_packets")
            names.add(job.name)
        if self.admission and (problem := self._why_no_admission()) is not None:
            raise ValueError(f"admission: true, and {problem}")
        self._check_links()
        self._check_flows()
        check_failures(self.failures, [job.name for job in self.job_specs if self.has_server(job)], self.host_names())
        return self

    def _check_models(self) -> None:
        names = [model.name for model in self.models]
        for i, name in enumerate(names):
            if name in names[:i] or name in KNOWN_MODELS:
                raise ValueError(f"models[{i}].name: there is a model '{name}' already")
            if not any(self.models[i].bytes):
                raise ValueError(f"models[{i}].bytes: no gradients; allowed: some layer with 4 or more")
        asked = [(f"jobs[{i}].model", job.model) for i, job in enumerate(self.jobs)]
        asked += [(f"arrivals.models.{name}", name) for name in (self.arrivals.models if self.arrivals else ())]
        for where, name in asked:
            if name not in (*KNOWN_MODELS, *names):
                raise ValueError(f"{where}: unknown model '{name}'; allowed: {', '.join((*KNOWN_MODELS, *names))}")

    def _check_links(self) -> None:
        hosts, allowed = self.host_names(), self._hosts_text()
        for name in ("rates", "delays_us"):
            for host in getattr(self.network, name):
                if host not in hosts:
                    raise ValueError(f"network.{name}.{host}: no such host; allowed: {allowed}")
        cables = [spine_cable_name(*cable) for cable in self.network.spine_cables]
        for i, fault in enumerate(self.faults):
            if fault.where == "hosts" and fault.link in cables:
                raise ValueError(f"faults[{i}].link: '{fault.link}' joins switches; allowed: with where = 'switch'")
            if fault.link not in ("all", *hosts, *cables):
                between = f", {cables[0]} to {cables[-1]}" if cables else ""
                raise ValueError(f"faults[{i}].link: no link '{fault.link}'; allowed: all, {allowed}{between}")

    def _check_flows(self) -> None:
        hosts = set(self.host_names())
        names: set[str] = set()
        for i, flow in enumerate(self.flows):
            if flow.name in names:
                raise ValueError(f"flows[{i}].name: there is a flow '{flow.name}' already")
            names.add(flow.name)
            for name, host in (("from", flow.source), ("to", flow.target)):
                if host not in hosts:
                    raise ValueError(f"flows[{i}].{name}: no host '{host}'; allowed: {self._hosts_text()}")

    def _hosts_text(self) -> str:
        hosts = self.host_names()
        return ", ".join(hosts) if self.own_hosts else f"{hosts[0]} to {hosts[-1]}"

    def check_memory(self, rows_of_switch: int, lanes: int) -> None:
        """ValueError unless the jobs' rows are some of those that a switch has whose program carries `lanes`."""
        check_rows(self.aggregators, rows_of_switch, lanes)
        assign_pools(self._wishes(), self.rows, rows_of_switch)
        for i, job in enumerate(self.job_specs):
            window = self.window(job)
            if job.least_window is not None and job.least_window > job.window:
                raise ValueError(f"jobs[{i}].least_window: {job.least_window}; allowed: up to the window, {job.window}")
            if job.span is not None and job.span < window:
                raise ValueError(f"jobs[{i}].span: {job.span}; allowed: from the window, {window}")
            if self.has_server(job):
                span = min(policy(self.policy_of(job)).span(window), MAX_SPAN) if job.span is None else job.span
                try:
                    check_servers(job.servers, {"window": window, "span": span})
                except ValueError as error:
                    raise ValueError(f"jobs[{i}].{error}") from None

    @property
    def topology(self) -> str:
        if self.network.fat_tree is not None:
            return "fat-tree"
        return "leaf-spine" if self.network.leaf_spine else "single-rack"

    @property
    def own_hosts(self) -> bool:
        """Whether every worker and PS has a host of its own, called after it."""
        return self.network.rack_sizes is None

    @property
    def rows(self) -> int:
        """The rows of each switch that the jobs share."""
        return self.aggregators or program(self.lanes).aggregators

    @property
    def method(self) -> str:
        """How gradients are summed, in a word for tables and folders: the policy, or another transport."""
        return self.policy if self.transport == INA else self.transport

    @cached_property
    def job_specs(self) -> tuple[JobSpec, ...]:
        """Every job, those too that come by chance."""
        return self.jobs if self.arrivals is None else drawn_jobs(self.arrivals, self.job_defaults, self.seed)

    @cached_property
    def pools(self) -> dict[str, Pool]:
        """The rows of each job, as `assign_pools` gives them."""
        return self.pools_without(())

    def pools_without(self, names: Collection[str]) -> dict[str, Pool]:
        """The same where these jobs get none."""
        wishes = [wish for wish in self._wishes() if wish.name not in names]
        return assign_pools(wishes, self.rows, program(0).aggregators)

    def _wishes(self) -> list[RowWish]:
        return [
            RowWish(
                job.name,
                self.policy_of(job),
                self.pool_kind(job),
                self._placed_windows.get(job.name, job.window),
                job.pool,
            )
            for job in self.job_specs
        ]

    def policy_of(self, job: JobSpec) -> str:
        return job.policy or self.policy

    def transport_of(self, job: JobSpec) -> str:
        return job.transport or self.transport

    def has_server(self, job: JobSpec) -> bool:
        """Whether a PS takes part: gloo's workers sum among themselves."""
        return self.transport_of(job) == INA

    def pool_kind(self, job: JobSpec) -> str:
        """Whose rows a job takes: its policy's `pool`."""
        return policy(self.policy_of(job)).pool if self.has_server(job) else "none"

    def needs(self, job: JobSpec) -> int:
        """The rows that a job has to find, or it gets none and is a ring; 0: it has rows in any case."""
        if self.admission is False or not self._is_placed(job) or self._why_no_admission() is not None:
            return 0
        return needed_rows(job.window, job.workers)

    def _is_placed(self, job: JobSpec) -> bool:
        return self.pool_kind(job) == "placed" and job.pool is None

    def _why_no_admission(self) -> str | None:
        """What speaks against jobs without rows, and what is allowed; None: nothing does."""
        if not any(map(self._is_placed, self.job_specs)):
            return f"the control plane places no rows of '{self.method}'; allowed: with 'esa', or false"
        if self.topology != "single-rack":
            return "rows lie on several switches; allowed: with one switch, or false"
        if self.failures:
            return "what fails stops jobs, of which a ring cannot go on; allowed: without failures, or false"
        if self.virtual.scheduler == "shortest-remaining":
            return f"'{self.virtual.scheduler}' stops jobs, of which a ring cannot go on; allowed: others, or false"
        if self.virtual.carry_gradients:
            return "messages carry no gradients; allowed: without virtual.carry_gradients, or false"
        return None

    @cached_property
    def _placed_windows(self) -> dict[str, int]:
        """By the name of a job whose rows the control plane places, its window: cut, to twice what a link sends in a
        round trip at most, where that keeps jobs apart.
        """
        placed = list(filter(self._is_placed, self.job_specs))
        windows = side_by_side([job.window for job in placed], self.rows, 2 * self._round_trip_fragments)
        return {job.name: window for job, window in zip(placed, windows, strict=True)}

    @property
    def _round_trip_fragments(self) -> int:
        """How many fragments a link sends in the shortest round trip: four cables, each with its delay."""
        fragment_s = 8 * (packet_bytes(self.lanes) + WIRE_OVERHEAD_BYTES) / self.network.rate
        return math.ceil(4 * (1 + 1e-6 * self.network.longest_delay_us / fragment_s))

    def window(self, job: JobSpec) -> int:
        """Fragments in flight per worker: the job's window, or what its pool has room for."""
        if job.name in self._placed_windows:
            return self._placed_windows[job.name]
        return fitting_window(job.window, self.pool_kind(job), self.pools[job.name])

    def least_window(self, job: JobSpec) -> int | None:
        """As in `esa.job.Job`."""
        return None if job.least_window is None else min(job.least_window, self.window(job))

    @cached_property
    def compares(self) -> bool:
        """As in `esa.job.Job`: jobs whose rows are placed have fewer than their shares, and nothing keeps some out."""
        placed = [job for job in self.job_specs if self.pool_kind(job) == "placed"]
        shares = [Applicant(job.name, needed_rows(job.window, job.workers)) for job in placed]
        return not any(map(self.needs, placed)) and not enough(shares, self.rows)

    def congestion(self, job: JobSpec) -> Literal["none", "aimd", "dctcp"]:
        """What marks do to the windows of the job's workers, as in `esa.job.Job`."""
        return job.congestion or ("none" if self.network.ecn_packets is None else "aimd")

    def host_names(self) -> list[str]:
        """Every host, by number."""
        sizes = self.network.rack_sizes
        if sizes is not None:
            return [f"host-{number}" for number in range(sum(sizes))]
        return [
            f"{job.name}-{member}"
            for job in self.job_specs
            for member in (*map(str, range(job.workers)), *job.server_names)
        ]

    def link_faults(self, link: str, where: str = "hosts") -> LinkFaults | None:
        """What a host's link does to packets on purpose, at its end or at the switch's; or a cable between switches.

        None: nothing.
        """
        return link_faults(self.faults, self.seed, link, where)

    @classmethod
    def load(cls, path: Path, check: Check | None = None, *, loss: float | None = None, **overrides: Any) -> Scenario:
        """Read and validate a TOML file.

        check: of the backend that is to run it. loss: of every link, both directions, whatever else the file asks of
        them. overrides: those that are not None replace top-level keys, or keys of a section.
        """
        if loss is not None and not 0 <= loss <= 1:
            raise ScenarioError(f"loss: {loss:g}; allowed: 0 to 1")
        data = read_toml(path)
        for name, value in overrides.items():
            if value is not None:
                both = isinstance(value, dict) and isinstance(data.get(name), dict)
                data[name] = data[name] | value if both else value
        if loss is not None and isinstance(data.get("faults", []), list):
            data["faults"] = [*data.get("faults", []), {"link": "all", "loss": loss}]
        return cls.of_table(data, path.parent, str(path), check)

    @classmethod
    def parse(cls, text: str, check: Check | None = None) -> Scenario:
        """What `to_toml` wrote."""
        return cls.of_table(parse_toml(text, "scenario"), None, "scenario", check)

    @classmethod
    def of_table(
        cls, data: Mapping[str, Any], folder: Path | None, source: str, check: Check | None = None
    ) -> Scenario:
        """Validate a file's table. folder: where its trace is; source: what an error calls it."""
        data = dict(data)
        trace = data.get("trace")
        if isinstance(trace, str) and folder is not None and not (data.get("jobs") or data.get("arrivals")):
            del data["trace"]
            data["jobs"] = jobs_of_trace(folder / trace, data.get("models"))
        try:
            check_former_keys(data)
            scenario = validated(cls, data, source)
            if check is not None:
                check(scenario)
        except ScenarioError:
            raise
        except ValueError as error:
            raise ScenarioError(f"{source}: {error}") from None
        return scenario

    def to_toml(self) -> str:
        """The scenario as resolved: a text that gives the same scenario anywhere."""
        data = self.model_dump(mode="json", exclude_none=True, by_alias=True)
        data["network"] = {name: value for name, value in data["network"].items() if value != {}}
        data["faults"] = dump_faults(self.faults)
        data["jobs"] = [{"name": job["name"], **job} for job in data["jobs"]]
        return dump_toml({name: value for name, value in data.items() if value not in ([], {})})


Check = Callable[[Scenario], None]


def sums_by(name: str | None) -> dict[str, str | None]:
    """What `Scenario.load` is to replace so that gradients are summed by this policy, or by this transport."""
    if name is None:
        return {}
    return {"transport": name} if name in TRANSPORTS else {"transport": INA, "policy": name}
