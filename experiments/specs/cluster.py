"""What `esa cluster` runs: a TOML file of hosts, a scheduler, costs, and where jobs come from, validated at the door.

    scenario = ClusterScenario.load(Path("experiments/scenarios/cluster/philly-like.toml"))

A wrong file is a ScenarioError of one line that names the key and what is allowed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, ValidationInfo, field_validator, model_validator

from esa.cluster.packing import PACKINGS
from esa.cluster.policies import LEARNING, NAMES
from esa.cluster.policies.aryl import ORDERS
from esa.cluster.reclaim import SHARES, VICTIMS
from esa.laboratory.inputs.lists import FORMATS
from experiments.specs.cluster_network import ClusterNetwork
from experiments.specs.keys import Finite, Name, key
from experiments.specs.toml_files import dump_toml, one_of, read_toml, validated

PACKING_NAMES = tuple(PACKINGS)
SOURCES = ("synthetic", "list", "pollux", "ones")  # where jobs come from: one of them
MAX_S = 10**6


class Hosts(Finite):
    """Hosts, with as many GPUs each."""

    hosts: int | None = key(
        "how many, dealt out to the racks in order", None, absent="those of `topology`", ge=1, le=100_000
    )
    topology: str | None = key(
        "in place of `hosts` and `racks`: a file as Alibaba's topo.csv (esa/laboratory/inputs/topology.py); from this "
        "file's folder",
        None,
        absent="none",
    )
    gpus: int = key("of each host", 4, ge=1, le=64)
    racks: int = key("how many", 1, ge=1, le=10_000)
    placement: str = key(
        "the rule by which jobs get hosts, of esa/cluster/packing.py", "consolidate", allowed=", ".join(PACKING_NAMES)
    )

    @field_validator("placement")
    @classmethod
    def _known(cls, name: str) -> str:
        return one_of("placement", name, PACKING_NAMES)

    @model_validator(mode="after")
    def _racks_have_hosts(self) -> Hosts:
        if (self.hosts is None) == (self.topology is None):
            found = "neither hosts nor" if self.hosts is None else "both hosts and"
            raise ValueError(f"hosts: {found} topology; allowed: one of them")
        if self.hosts is None:
            if self.racks != 1:
                raise ValueError(f"racks: {self.racks} with topology, which says which there are; allowed: without")
        elif self.racks > self.hosts:
            raise ValueError(f"racks: {self.racks} for {self.hosts} hosts; allowed: 1 to {self.hosts}")
        return self


class CostSpec(Finite):
    """Time in which a job has GPUs and makes no progress."""

    start_s: float = key("from getting GPUs to the first iteration", 0.0, ge=0, le=MAX_S)
    preempt_s: float = key("besides, at a start after a stop", 0.0, ge=0, le=MAX_S)
    rescale_s: float = key("at more or fewer GPUs", 0.0, ge=0, le=MAX_S)
    migrate_s: float = key("at as many others", 0.0, ge=0, le=MAX_S)
    checkpoint: int = key("iterations between checkpoints; 0: a stop loses nothing", 0, ge=0, le=10**9)


class SyntheticSpec(Finite):
    """Jobs that are drawn, as Philly's (esa/laboratory/inputs/synthetic.py)."""

    jobs: int = key("how many", ge=1, le=10_000_000)
    mean_interval_s: float = key("between submissions, in the mean", gt=0, le=MAX_S)
    least_gpus: int = key("narrower jobs are not drawn", 1, ge=1, le=100_000)
    most_gpus: int = key("wider jobs are not drawn", 64, ge=1, le=100_000)
    elastic: float = key("part of the jobs that can do with up to twice what they ask for", 0.0, ge=0, le=1)
    anywhere: float = key("part of the jobs that can run on the inference side's GPUs, too", 1.0, ge=0, le=1)


class InferenceSpec(Finite):
    """Servers that an inference cluster lends while it does not need them (esa/laboratory/offers.py)."""

    hosts: int = key("how many, in a rack after the others", ge=1, le=100_000)
    gpus: int = key("of each host, counted in GPUs of the cluster's own: fewer where theirs are slower", 4, ge=1, le=64)
    trough: float = key("load at 0 h, as a part of these hosts", 0.4, ge=0, le=1)
    peak: float = key("load at 12 h", 0.95, ge=0, le=1)
    noise: float = key("standard deviation of what is added to the load", 0.02, ge=0, le=1)
    head_room: float = key("part of these hosts that is kept besides", 0.02, ge=0, le=1)
    interval_s: int = key("what is offered changes at multiples; divides a day", 300, ge=1, le=86_400)
    days: int = key("after which the load comes again", 15, ge=1, le=365)


class ArylSpec(Finite):
    """Rules of aryl and its variants (esa/cluster/policies/aryl.py)."""

    victims: str = key("how a server that is given back is chosen", "preemption_cost", allowed=", ".join(VICTIMS))
    share: str = key("what a job's part on a server is counted in", "gpus", allowed=", ".join(SHARES))
    trim: bool = key("who turns out not to be in the way is not stopped", False)
    order: str = key("of base demand", "shortest", allowed=", ".join(ORDERS))
    backfill: bool = key("who fits overtakes who does not", True)
    charged: bool = key("what a change of the number of workers costs is taken off its value", False)

    @field_validator("victims", "share", "order")
    @classmethod
    def _known(cls, value: str, of: ValidationInfo) -> str:
        name = str(of.field_name)
        return one_of(name, value, {"victims": VICTIMS, "share": SHARES, "order": ORDERS}[name])


class ListSpec(Finite):
    """A list of jobs as a cluster logged them (esa/laboratory/inputs/lists.py)."""

    format: str = key("whose columns", allowed=", ".join(FORMATS))
    path: str = key("from this file's folder")
    days: float | None = key("from the first submission", None, absent="all", gt=0, le=10_000)
    least_s: int = key("shorter jobs are left out", 1, ge=1, le=MAX_S)

    @field_validator("format")
    @classmethod
    def _known(cls, name: str) -> str:
        return one_of("format", name, tuple(FORMATS))


class PolluxSpec(Finite):
    """A workload of Pollux's simulator, by its measured times and with its costs, which replace [costs]."""

    traces: str = key("the folder simulator/traces of petuum/adaptdl, branch osdi21-artifact; from this file's folder")
    workload: str = key("a workload-N.csv; from this file's folder")
    elastic: bool = key("jobs have any number of GPUs that their batch can be split among, as optimus wants it", False)
    growing: bool = key("so they have, and their batches grow with the GPUs, as ones wants it", False)


class OnesSpec(Finite):
    """Jobs such as those of ONES' artefact, drawn (esa/laboratory/inputs/ones_trace.py), on hosts all alike."""

    traces: str = key("Pollux's simulator/traces, of which jobs converge as one; from this file's folder")
    jobs: int = key("how many", 50, ge=1, le=1_000_000)
    mean_interval_s: float = key("between submissions, in the mean", 30.0, gt=0, le=MAX_S)
    elastic: bool = key("jobs have any number of GPUs that their batch can be split among, as optimus wants it", False)
    growing: bool = key("so they have, and their batches grow with the GPUs, as ones wants it", False)
    as_published: bool = key("jobs are those of its files of results (ones_published.py), not of its history", False)


class ClusterScenario(Finite):
    """Jobs on a cluster, and who decides."""

    name: Name = key("what runs and folders are called")
    seed: int = key("of what is drawn", 1, ge=0, lt=2**32)
    scheduler: str = key("who gets GPUs, which, and when", "fifo", allowed=", ".join(NAMES))
    tick_s: float = key("when it is asked: at multiples; 0: when a job comes or ends", 0.0, ge=0, le=MAX_S)
    round_s: float = key("ends are noted to the nearest multiple; 0: to the nanosecond", 0.0, ge=0, le=MAX_S)
    cluster: Hosts = key("hosts and GPUs")
    inference: InferenceSpec | None = key("servers that can be lent", None, absent="none")
    aryl: ArylSpec = key("rules of aryl", ArylSpec())
    network: ClusterNetwork | None = key("that jobs share; without it, sums cost nothing", None, absent="none")
    costs: CostSpec = key("of starting, moving and stopping", CostSpec())
    synthetic: SyntheticSpec | None = key("jobs that are drawn", None, absent="none")
    list_: ListSpec | None = Field(
        None, alias="list", description="jobs of a list", json_schema_extra={"absent": "none"}
    )
    pollux: PolluxSpec | None = key("a workload of Pollux's", None, absent="none")
    ones: OnesSpec | None = key("jobs such as ONES' artefact has", None, absent="none")

    @field_validator("scheduler")
    @classmethod
    def _known(cls, name: str) -> str:
        return one_of("scheduler", name, NAMES)

    @model_validator(mode="after")
    def _one_source(self) -> ClusterScenario:
        given = [
            name for name, one in zip(SOURCES, (self.synthetic, self.list_, self.pollux, self.ones), strict=True) if one
        ]
        if len(given) != 1:
            what = f"{' and '.join(given)} together" if given else "none"
            raise ValueError(f"jobs: {what}; allowed: one of {', '.join(SOURCES)}")
        if self.inference is None and self.scheduler == "aryl-loaning":
            raise ValueError("scheduler: aryl-loaning without [inference]; allowed: with servers that can be lent")
        source = self.pollux or self.ones
        if self.pollux is not None and self.network is not None:
            raise ValueError("network: pollux has measured times; allowed: with jobs of synthetic, list or ones")
        if self.ones is not None and self.ones.as_published and self.network is not None:
            raise ValueError("network: jobs as published have times of their own; allowed: without ones.as_published")
        if self.scheduler in LEARNING and not (source is not None and source.growing):
            raise ValueError(f"scheduler: '{self.scheduler}' wants growing = true in [pollux] or [ones]")
        ticks = self.tick_s / self.round_s if self.round_s else 0
        if ticks != int(ticks):
            raise ValueError(f"tick_s: {self.tick_s:g}; allowed: a multiple of round_s, {self.round_s:g}")
        return self

    @property
    def method(self) -> str:
        """Of what figures are compared."""
        return self.scheduler

    def files(self) -> dict[str, str]:
        """By key, the files and folders that it names."""
        named = {
            "cluster.topology": self.cluster.topology,
            "list.path": self.list_ and self.list_.path,
            "pollux.traces": self.pollux and self.pollux.traces,
            "pollux.workload": self.pollux and self.pollux.workload,
            "ones.traces": self.ones and self.ones.traces,
        }
        return {name: path for name, path in named.items() if path}

    @classmethod
    def of_table(cls, table: dict[str, Any], folder: Path, source: str) -> ClusterScenario:
        """Validate a file's table. folder: from which its files are named, by their whole paths afterwards; source:
        what an error calls it.
        """
        found = validated(cls, table, source)
        for name, path in found.files().items():
            section, last = name.split(".")
            table = table | {section: table[section] | {last: str((folder / path).resolve())}}
        return validated(cls, table, source)

    @classmethod
    def load(cls, path: Path, **overrides: Any) -> ClusterScenario:
        """Read and validate a TOML file. overrides: those that are not None replace top-level keys."""
        data = read_toml(path) | {name: value for name, value in overrides.items() if value is not None}
        return validated(cls, data, str(path))

    def to_toml(self) -> str:
        """The scenario as resolved."""
        return dump_toml(self.model_dump(mode="json", exclude_none=True, by_alias=True))
