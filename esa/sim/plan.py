"""What is simulated, as plain values. Whoever makes them has checked them (`experiments/virtual/check.py` does).

Times are integer nanoseconds, sizes bytes, rates bits per second.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from esa.fabric import Graph, Link
from esa.job import Pool
from esa.net.impairment import LinkFaults
from esa.protocol.timers import Timers
from esa.workloads import Bucket
from esa.workloads.program import Program

__all__ = [
    "SERIES",
    "WIRE_OVERHEAD_BYTES",
    "Fabric",
    "HostCosts",
    "JobOutcome",
    "Link",
    "Outcome",
    "Plan",
    "SimulatedJob",
]

WIRE_OVERHEAD_BYTES = 24  # preamble, start of frame, FCS, gap between frames


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


@dataclass(frozen=True)
class Fabric:
    """The network, and what its switches and hosts do to packets.

    graph: any shape carries frames; a job runs in one rack, or in several of a leaf-spine, where its root is a spine.
    ecn_packets: switches mark ESA packets that find more than that waiting. switch_ns: a packet's way through a switch.
    faults: of hosts' links, by host number.
    """

    graph: Graph
    switch_ns: int = 0
    ecn_packets: int | None = None
    costs: HostCosts = HostCosts()
    faults: dict[int, LinkFaults] = field(default_factory=dict)

    @property
    def hosts(self) -> int:
        return self.graph.hosts

    @property
    def racks(self) -> tuple[int, ...]:
        """Hosts per rack."""
        return tuple(map(len, self.graph.hosts_of.values()))


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
    hosts:      the workers' hosts, then the PS's; None: whichever are free when the job's turn comes
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
    pool: Pool
    submit_ns: int = 0
    order: str = "ddp"
    jitter: float = 0.0
    straggle: float = 0.0
    slowdown: float = 1.0
    ttl_us: int = 2_000_000
    hosts: tuple[int, ...] | None = None
    programs: tuple[Program, ...] | None = None


@dataclass(frozen=True)
class Plan:
    """One simulation. lanes 0: the payload-free build, packets as long as if they carried `wire_lanes` lanes.

    With lanes 64 the gradients are drawn from the seed and every sum is compared with the plain one.
    give_up_s, wait_limit_s: of every job, as in `esa.job.Job`, virtual seconds.
    """

    fabric: Fabric
    jobs: tuple[SimulatedJob, ...]
    timers: Timers
    give_up_s: float = 30.0
    wait_limit_s: float = 1800.0
    seed: int = 1
    lanes: int = 0
    wire_lanes: int = 64
    sample_ns: int = 1_000_000  # between two lines of the time series
    limit_ns: int = 3_600_000_000_000  # of virtual time; a simulation that is not over by then is incomplete


@dataclass(frozen=True)
class JobOutcome:
    """A job's figures; times in virtual seconds, None where the job did not get that far.

    jct_s: from submission to the last worker's last result; start_s: when it got its hosts, since the simulation's
    start; compute_s, comm_s: as in a real run, means over the workers: time spent computing; time in which at least one
    bucket was on its way. failed: it gave up.
    """

    name: str
    workers: int
    policy: str
    submit_s: float
    start_s: float | None
    jct_s: float | None
    compute_s: float
    comm_s: float
    iterations: int  # finished by every worker; of programs of its own: MARKs that each has come to
    fragments: int
    resends: int
    via_ps: int
    failed: bool


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
    marks_ns: dict[str, tuple[tuple[tuple[int, int], ...], ...]] = field(default_factory=dict)
