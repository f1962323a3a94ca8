"""What is simulated, as plain values that check themselves: a ValueError of one line says what is wrong.

Times are integer nanoseconds, sizes bytes, rates bits per second.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from esa.cluster.policies import fifo
from esa.cluster.scheduler import Decide
from esa.entries.tiers import SentUp
from esa.fabric import Graph, Link
from esa.job import MAX_SPAN, Pool, check_servers
from esa.net.impairment import LinkFaults
from esa.policy import EXPIRED_US, POLICIES, policy
from esa.protocol.congestion import RULES as CONGESTION_RULES
from esa.protocol.timers import Timers
from esa.sim.engine.lines import MIN_RATE_BPS
from esa.sim.failure import Failure, FailureOutcome
from esa.sim.transport.flow import FlowOptions
from esa.sim.transport.steps import TRANSPORTS as BY_MESSAGES
from esa.workloads import Bucket
from esa.workloads.program import ORDERS, Program

__all__ = ["SERIES", "Fabric", "HostCosts", "JobOutcome", "Link", "Outcome", "Plan", "SimulatedJob"]

TRANSPORTS = ("ina", *BY_MESSAGES)
FLOW_CONGESTION = ("dctcp", "reno")
MAX_FLOW_BYTES = 2**50


def _at_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise ValueError(f"{name}: {value}; allowed: {least} or more")


def _one_of(name: str, value: object, allowed: Collection[object]) -> None:
    if value not in allowed:
        raise ValueError(f"{name}: {value}; allowed: {', '.join(map(str, allowed))}")


@dataclass(frozen=True)
class HostCosts:
    """What a host's processor needs for a packet that a worker sends, one that it receives, and any of a PS.

    cores: 1: what is sent and what is received waits for one processor, in the order in which it comes. 2: a processor
    for each direction.
    """

    send_ns: int = 0
    receive_ns: int = 0
    server_ns: int = 0
    cores: int = 1

    def __post_init__(self) -> None:
        for name in ("send_ns", "receive_ns", "server_ns"):
            _at_least(f"costs.{name}", getattr(self, name), 0)
        _one_of("costs.cores", self.cores, (1, 2))


@dataclass(frozen=True)
class Fabric:
    """The network, and what its switches and hosts do to packets.

    graph: any shape carries frames; a job runs in one rack, or in several of a leaf-spine, where its root is a spine.
    gpus: of each host; a worker or PS takes one, and shares the host's link and processor with those on the others.
    ecn_packets: switches mark what finds more than that waiting. switch_ns: a packet's way through a switch.
    faults: of hosts' links, by host number.
    """

    graph: Graph
    switch_ns: int = 0
    ecn_packets: int | None = None
    costs: HostCosts = HostCosts()
    faults: dict[int, LinkFaults] = field(default_factory=dict)
    gpus: int = 1

    def __post_init__(self) -> None:
        _at_least("switch_ns", self.switch_ns, 0)
        if self.ecn_packets is not None:
            _at_least("ecn_packets", self.ecn_packets, 0)
        for lower, upper, link in self.graph.cables:
            if not MIN_RATE_BPS <= link.rate_bps < math.inf:
                ends = f"{self.graph.nodes[lower.node].name} to {self.graph.nodes[upper.node].name}"
                raise ValueError(f"cables: {ends}: {link.rate_bps} b/s; allowed: {MIN_RATE_BPS:g} or more, finite")
        for host in self.faults:
            if not 0 <= host < self.hosts:
                raise ValueError(f"faults: host {host}; allowed: 0 to {self.hosts - 1}")

    @property
    def hosts(self) -> int:
        return self.graph.hosts

    @property
    def racks(self) -> tuple[int, ...]:
        """Hosts per rack."""
        return tuple(map(len, self.graph.hosts_of.values()))

    @property
    def places(self) -> int:
        """Where a worker or PS can be: GPUs."""
        return self.hosts * self.gpus

    @property
    def addresses(self) -> int:
        """Those of nodes, one for each GPU of a host but the first, which has the host's, and for a PS beside each."""
        return len(self.graph.nodes) + (2 * self.gpus - 1) * self.hosts

    def address_of(self, host: int, gpu: int) -> int:
        """Which of the addresses a GPU has."""
        return host if gpu == 0 else len(self.graph.nodes) + (gpu - 1) * self.hosts + host

    def address_beside(self, host: int, gpu: int) -> int:
        """Which of them a PS has that is on the host of a worker, beside it."""
        return len(self.graph.nodes) + (self.gpus - 1 + gpu) * self.hosts + host


@dataclass(frozen=True)
class SimulatedJob:
    """One training run.

    buckets:    in the order of the backward pass: the layers at the back first
    priority:   uint8 (iterations, buckets), 1..255
    order:      "ddp": buckets are sent as they are computed, and the next forward pass waits for all sums (PyTorch
                DDP). "front-first": the front layers are sent first, once the backward pass is over, and the next
                forward pass starts with their sums. See `esa.workloads.program.training`
    jitter:     each computation takes 1 - jitter to 1 + jitter times as long, by worker and iteration
    straggle:   the part of (worker, iteration) pairs in which computing takes `slowdown` times as long
    hosts:      the workers' hosts, then its PSs', where these have their own; None: where the scheduler puts them
    servers, servers_on: PSs, 1, 2, 4 or 8; "hosts": each has a GPU; "workers": PS p shares host and link of worker p
    transport:  how sums are made: "ina", in the network, by the policy; "ring", "halving-doubling": by messages between
                the workers, without a PS (`esa/sim/transport/steps.py`); policy, pool and ttl_us then say nothing
    pool:       the rows that it uses; None: those that the control plane gives it when it starts, as its policy asks
    span:       as in `esa.job.Job`; None: its policy's
    least_window: as in `esa.job.Job`
    congestion: what marks do to its windows, as in `esa.job.Job`
    demand:     how much of its time it uses them, 0 to 1: what that goes by
    needs:      rows without which it gets none, and its sums are messages, by a ring (`esa/sim/seats.py`); 0: it has
                rows, however few
    programs:   what each worker does in place of the training: iterations, buckets, priority, order, jitter, straggle
                and slowdown then say nothing
    """

    name: str
    policy: str
    workers: int
    iterations: int
    buckets: tuple[Bucket, ...]
    priority: npt.NDArray[np.uint8]
    window: int
    pool: Pool | None
    submit_ns: int = 0
    order: str = "ddp"
    jitter: float = 0.0
    straggle: float = 0.0
    slowdown: float = 1.0
    ttl_us: int = EXPIRED_US
    hosts: tuple[int, ...] | None = None
    servers: int = 1
    servers_on: Literal["hosts", "workers"] = "hosts"
    transport: str = "ina"
    span: int | None = None
    least_window: int | None = None
    congestion: Literal["none", "aimd", "dctcp"] = "none"
    demand: float = 1.0
    needs: int = 0
    programs: tuple[Program, ...] | None = None

    @property
    def reach(self) -> int:
        """By how many fragments a worker is ahead at most, of the oldest whose sum it lacks."""
        if self.span is not None:
            return self.span
        return min(policy(self.policy).span(self.window), MAX_SPAN)

    @property
    def sums_in_network(self) -> bool:
        """Whether switches have something to do, and a PS is there."""
        return self.transport == "ina"

    @property
    def own_servers(self) -> int:
        """How many PSs have a GPU."""
        return self.servers if self.sums_in_network and self.servers_on == "hosts" else 0


@dataclass(frozen=True)
class Flow:
    """Traffic of no job, from one host to another.

    bytes: that are to arrive; None: it never ends. rate_bps: it sends so many bits of payload per second, whatever
    becomes of them, as UDP would; None: as fast as the network lets it, as TCP does. stop_ns: it is cut off there,
    whatever is under way. congestion: what marks do to its window: "dctcp", less in proportion (RFC 8257); "reno", half
    of it (RFC 3168). ValueError, one line.
    """

    name: str
    source: int
    target: int
    bytes: int | None = None
    rate_bps: float | None = None
    start_ns: int = 0
    stop_ns: int | None = None
    congestion: str = "dctcp"

    def __post_init__(self) -> None:
        _one_of(f"flow {self.name}: congestion", self.congestion, FLOW_CONGESTION)
        if self.source == self.target:
            raise ValueError(f"flow {self.name}: from host {self.source} to itself; allowed: two hosts")
        if self.bytes is not None and not 1 <= self.bytes <= MAX_FLOW_BYTES:
            raise ValueError(f"flow {self.name}: bytes {self.bytes}; allowed: 1 to {MAX_FLOW_BYTES}")
        if self.rate_bps is not None and not 1e3 <= self.rate_bps <= 1e13:
            raise ValueError(f"flow {self.name}: rate_bps {self.rate_bps:g}; allowed: 1e3 to 1e13")
        if self.start_ns < 0:
            raise ValueError(f"flow {self.name}: start_ns {self.start_ns}; allowed: 0 or more")
        if self.stop_ns is not None and self.stop_ns <= self.start_ns:
            raise ValueError(f"flow {self.name}: stop_ns {self.stop_ns}; allowed: more than its start, {self.start_ns}")


@dataclass(frozen=True)
class Plan:
    """One simulation. lanes 0: the payload-free build, packets as long as if they carried `wire_lanes` lanes.

    With lanes 64 the gradients are drawn from the seed and every sum is compared with the plain one.
    give_up_s, wait_limit_s: of every job, as in `esa.job.Job`, virtual seconds. decide: the scheduler.
    """

    fabric: Fabric
    jobs: tuple[SimulatedJob, ...]
    timers: Timers
    rows: int | None = None  # that jobs share, of each switch; None: all that the program has
    re_place: bool = False  # place jobs that run anew whenever one starts or ends
    decide: Decide = fifo.decide
    give_up_s: float = 30.0
    wait_limit_s: float = 1800.0
    seed: int = 1
    lanes: int = 0
    wire_lanes: int = 64
    sample_ns: int = 1_000_000  # between two lines of the time series
    flows: tuple[Flow, ...] = ()  # a simulation ends when its jobs are over and those that end have arrived
    flow: FlowOptions = field(default_factory=FlowOptions)  # of these, SENDs and sums by messages
    failures: tuple[Failure, ...] = ()
    limit_ns: int = 3_600_000_000_000  # of virtual time; a simulation that is not over by then is incomplete

    def __post_init__(self) -> None:
        if not self.jobs:
            raise ValueError("jobs: none; allowed: 1 or more")
        _one_of("lanes", self.lanes, (0, 64))
        _at_least("wire_lanes", self.wire_lanes, 1)
        _at_least("seed", self.seed, 0)
        _at_least("sample_ns", self.sample_ns, 1)
        _at_least("limit_ns", self.limit_ns, 0)
        for name in ("give_up_s", "wait_limit_s"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: {getattr(self, name)}; allowed: more than 0")
        seen: set[str] = set()
        for job in self.jobs:
            if job.name in seen:
                raise ValueError(f"jobs: {job.name} is given twice")
            seen.add(job.name)
            try:
                _check_job(job, self.fabric.gpus)
            except ValueError as error:
                raise ValueError(f"job {job.name}: {error}") from None


def _check_job(job: SimulatedJob, gpus: int) -> None:
    _one_of("policy", job.policy, tuple(POLICIES))
    _one_of("transport", job.transport, TRANSPORTS)
    _one_of("congestion", job.congestion, CONGESTION_RULES)
    for name, least in (("workers", 1), ("window", 1), ("submit_ns", 0), ("ttl_us", 0), ("needs", 0)):
        _at_least(name, getattr(job, name), least)
    if job.programs is None:
        _check_training(job)
    check_servers(job.servers, {"window": job.window, "span": job.reach} if job.sums_in_network else {})
    if job.servers_on == "workers" and job.servers > job.workers:
        raise ValueError(f"servers: {job.servers} on workers' hosts; allowed: up to the {job.workers} workers")
    if job.hosts is None:
        return
    members = job.workers + job.own_servers
    if len(job.hosts) != members or max(Counter(job.hosts).values()) > gpus:
        each = "each once" if gpus == 1 else f"each at most {gpus} times"
        last = {0: "", 1: ", the last for the PS"}.get(job.own_servers, f", the last {job.own_servers} for PSs")
        raise ValueError(f"hosts: {list(job.hosts)}; allowed: {members}, {each}{last}")


def _check_training(job: SimulatedJob) -> None:
    _one_of("order", job.order, ORDERS)
    _at_least("iterations", job.iterations, 1)
    if not any(bucket.bytes > 0 for bucket in job.buckets):
        raise ValueError("buckets: none with bytes; allowed: some with more than 0")
    for bucket in job.buckets:
        for name, value in vars(bucket).items():
            _at_least(f"buckets: {name}", value, 0)
    shape = (job.iterations, len(job.buckets))
    if job.priority.shape != shape or job.priority.dtype != np.uint8 or not job.priority.all():
        found = f"{job.priority.dtype} {job.priority.shape}, from {job.priority.min(initial=255)}"
        raise ValueError(f"priority: {found}; allowed: uint8 {shape}, from 1")
    if not 0 <= job.jitter < 1:
        raise ValueError(f"jitter: {job.jitter}; allowed: 0 or more, less than 1")
    if not 0 <= job.straggle <= 1:
        raise ValueError(f"straggle: {job.straggle}; allowed: 0 to 1")
    if not 1 <= job.slowdown < math.inf:
        raise ValueError(f"slowdown: {job.slowdown}; allowed: 1 or more, finite")


@dataclass(frozen=True)
class JobOutcome:
    """A job's figures; times in virtual seconds, None where the job did not get that far.

    jct_s: from submission to the last worker's last result; start_s: when it got its hosts, since the simulation's
    start; hosts: its workers', then its PSs' where these have their own, when it started first; wait_s: in which it had
    none; bound_s: the least that a training needs (`esa.sim.bound`); compute_s, comm_s: as in a real run, means over
    the workers: time spent computing; time in which at least one bucket was on its way. failed: it gave up. unseated:
    it got no rows, and was a ring.
    """

    name: str
    workers: int
    policy: str
    submit_s: float
    start_s: float | None
    hosts: tuple[int, ...] | None
    wait_s: float
    bound_s: float | None
    jct_s: float | None
    compute_s: float
    comm_s: float
    iterations: int  # finished by every worker; of programs of its own: MARKs that each has come to
    fragments: int
    resends: int  # of fragments, and of packets of its flows
    via_ps: int
    marked: int  # fragments whose sum met a long queue
    failed: bool
    unseated: bool = False


@dataclass(frozen=True)
class FlowOutcome:
    """Background traffic. bytes: of payload that arrived; end_s: virtual time when all had or it was cut off, None if
    it went on to the simulation's end. lost: of a constant flow, packets missing below the newest that arrived.
    """

    name: str
    bytes: int
    end_s: float | None
    packets: int
    resends: int
    lost: int


SERIES = np.dtype(
    [
        ("t_s", np.float64),
        ("taken", np.int64),  # rows that hold something, over all switches
        ("useful", np.int64),  # of these, rows that wait for workers still; the others hold a sum for later
        ("ps_bytes", np.int64),  # that PSs received and sent since the start, on the wire
        ("queue_max", np.int64),  # packets in the longest queue of a switch
        ("queue_mean", np.float64),
        ("running", np.int64),  # jobs
    ]
)


@dataclass(frozen=True)
class Outcome:
    """What came out. packet_hops: packets that reached the end of a link. dropped: by full queues. checked: fragments
    whose sum was compared with the plain one, by each worker. marks_ns: by job with MARKs and by worker, tag and time.
    sent_up: by job over several racks.

    `incomplete` says why a simulation did not end as it should.
    """

    jobs: tuple[JobOutcome, ...]
    switch_counters: dict[str, dict[str, int]]  # by job, over all switches
    series: npt.NDArray[np.void]  # SERIES
    occupancy_mean: float  # of the rows that the jobs share, over time, while jobs ran
    useful_mean: float
    packet_hops: int
    dropped: int
    faults: dict[str, dict[str, dict[str, int]]]  # host name, direction, kind
    end_s: float
    checked: int = 0
    incomplete: str | None = None
    flows: tuple[FlowOutcome, ...] = ()
    failures: tuple[FailureOutcome, ...] = ()  # in the order of the plan
    marks_ns: dict[str, tuple[tuple[tuple[int, int], ...], ...]] = field(default_factory=dict)
    sent_up: dict[str, SentUp] = field(default_factory=dict)
