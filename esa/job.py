"""A job as every part of the system sees it: who takes part, where they are, which rows it may use.

One JSON file per job; the controller turns it into table entries, workers and PS read their addresses from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from esa.policy import MOST_AHEAD, Release, policy
from esa.program import program
from esa.wire import ESA_PORT

MAX_SPAN = 16384
MAX_FAN_IN = 32  # bits of a bitmap
MAX_EPOCH = 65535  # 16 bits
SERVER_COUNTS = (1, 2, 4, 8)  # powers of two: a seq has the same PS when 32-bit numbers have come round

Mac = Annotated[str, Field(pattern=r"^([0-9a-f]{2}:){5}[0-9a-f]{2}$")]


class Frozen(BaseModel):
    """Configuration: immutable, and a key that does not exist is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Member(Frozen):
    """One end host of a job: its addresses and the switch port it is behind."""

    ip: IPv4Address = Field(description="its IPv4 address")
    mac: Mac = Field(description="its MAC address, lower case, as 02:00:00:00:00:01")
    udp_port: int = Field(ge=1, le=65535, description="where it receives; a PS on the ESA port")
    switch_port: int = Field(ge=0, le=510, description="the switch's port that it is behind")


class Pool(Frozen):
    """The rows `base .. base + size`; both such that a mask selects a row (size a power of two)."""

    base: int = Field(ge=0, description="the first row")
    size: int = Field(ge=1, description="how many rows, a power of two")

    @field_validator("size")
    @classmethod
    def _power_of_two(cls, size: int) -> int:
        if size & (size - 1):
            raise ValueError(f"pool size {size} is not a power of two")
        return size


def check_servers(count: int, fragments: Mapping[str, int]) -> None:
    """ValueError, its first word the key, unless a job can have so many PSs.

    fragments: its window and span by name; fragments that follow each other in a row, or in a chain, have one PS.
    """
    if count not in SERVER_COUNTS:
        raise ValueError(f"servers: {count}; allowed: {', '.join(map(str, SERVER_COUNTS))}")
    for name, number in fragments.items():
        if number % count:
            raise ValueError(f"{name}: {number} fragments; allowed: a multiple of the job's {count} PSs")


class Rack(Frozen):
    """The next `workers` ranks of a job over several racks: they sit behind one rack switch."""

    workers: int = Field(ge=1, le=MAX_FAN_IN, description="how many ranks")
    switch_ip: IPv4Address = Field(description="the rack switch as a member of the job")


class Job(Frozen):
    """What is to be trained together: who takes part, where they are, which rows they may use.

    A job can be run many times, one run after the other; each run has an epoch of its own (`Run`). Workers are numbered
    by their place in `workers`, which is their bit in every bitmap; PyTorch's ranks may be in another order.

    Without `racks` all workers sit behind one switch. With them `switch_ip` is the root, which adds the racks' sums.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", description="a name, unique on the switch")
    job: int = Field(ge=1, le=65535, description="a number, unique on the switch: on the wire it stands for the name")
    policy: str = Field(description="how its rows are scheduled: esa, atp, a2tp, switchml, ps, or an ablation of esa")
    lanes: int = Field(default=64, description="int32 values in a fragment: 64 or 256, as the switch's program has")
    workers: tuple[Member, ...] = Field(min_length=1, description="who trains")
    racks: tuple[Rack, ...] = Field(
        default=(), max_length=MAX_FAN_IN, description="over several racks: how `workers` are spread, in their order"
    )
    server: Member = Field(description="the parameter server (PS); of several, that of fragment 0")
    more_servers: tuple[Member, ...] = Field(
        default=(),
        description="the others: fragment seq is that of PS (seq modulo their number, one of "
        f"{', '.join(map(str, SERVER_COUNTS))})",
    )
    switch_ip: IPv4Address = Field(description="the switch as a member of the job: where reminders go; no host has it")
    pool: Pool = Field(description="the rows that it may use")
    demand: float = Field(
        ge=0,
        le=1,
        default=1.0,
        description="how much of its time it sends gradients: where not all jobs have rows of their own, which share",
    )
    window: int = Field(ge=1, le=16384, default=256, description="fragments in flight per worker, at most")
    span: int | None = Field(
        ge=1,
        le=MAX_SPAN,
        default=None,
        description="fragments by which a worker is ahead of the oldest sum that it lacks, at most; null: its policy's",
    )
    least_window: int | None = Field(
        ge=1,
        default=None,
        description="fragments in flight per worker where rows are scarce, at least; null: its policy's part of it",
    )
    compares: bool = Field(
        default=False,
        description="whether fragments have priorities by class, under esa; false: all are alike, as where each job "
        "finds an eighth of its window",
    )
    congestion: Literal["none", "aimd", "dctcp"] = Field(
        default="none", description="what a mark of a long queue does to the window: half (aimd), in proportion (dctcp)"
    )
    ttl_us: int | None = Field(
        ge=0,
        lt=2**48,
        default=None,
        description="after how long without news it takes others' rows, in us, 0: never; null: its policy's",
    )
    quantisation: Literal["fixed", "adaptive"] = Field(
        default="adaptive", description="adaptive: a scale per fragment, agreed on as values change; fixed: one for all"
    )
    fraction_bits: int = Field(
        ge=-64, le=64, default=20, description="of `fixed`: a gradient is sent as value * 2**fraction_bits"
    )
    give_up_s: float = Field(gt=0, default=30.0, description="how long a silent member is waited for, in s")
    wait_limit_s: float = Field(
        gt=0, default=1800.0, description="how long a worker that answers, but computes, is waited for, in s"
    )

    @property
    def row_ttl_us(self) -> int:
        """`ttl_us`, or its policy's."""
        return policy(self.policy).ttl_us() if self.ttl_us is None else self.ttl_us

    @model_validator(mode="after")
    def _consistent(self) -> Job:
        policy(self.policy)
        rows = program(self.lanes).aggregators
        if self.racks:
            self._check_racks()
        elif len(self.workers) > MAX_FAN_IN:
            raise ValueError(f"workers: a fan-in of {len(self.workers)} exceeds {MAX_FAN_IN}")
        if self.pool.base + self.pool.size > rows:
            raise ValueError(
                f"pool: rows {self.pool.base}..{self.pool.base + self.pool.size - 1} exceed the {rows} rows"
            )
        if self.span is not None and self.span < self.window:
            raise ValueError(f"span: {self.span}; allowed: from the window, {self.window}")
        if self.least_window is not None and self.least_window > self.window:
            raise ValueError(f"least_window: {self.least_window}; allowed: up to the window, {self.window}")
        # Release on reuse keeps the sum of seq until seq + 2 spans takes its row; sooner, a peer may still need it.
        # (A run is checked where rows are given: its members need not know what the switch has.)
        if not isinstance(self, Run) and policy(self.policy).pool == "slice" and 2 * self.reuse_span > self.pool.size:
            what = "window" if self.reuse_span == self.window else "span"
            raise ValueError(
                f"{what}: {self.reuse_span} fragments need a slice of {2 * self.reuse_span} rows under {self.policy}, "
                f"not {self.pool.size}"
            )
        for key, server in (("server", self.server), *(("more_servers", other) for other in self.more_servers)):
            if server.udp_port != ESA_PORT:
                raise ValueError(f"{key}.udp_port: a PS listens on {ESA_PORT}")
        if self.more_servers:
            self._check_servers()
        return self

    def _check_servers(self) -> None:
        addresses = [server.ip for server in self.servers]
        check_servers(len(addresses), {"window": self.window, "span": self.reach})
        if len(set(addresses)) != len(addresses):
            raise ValueError("more_servers: PSs need an address each")
        if self.racks:
            raise ValueError(f"more_servers: {len(self.racks)} racks; allowed: for a job behind one switch")

    def _check_racks(self) -> None:
        if len(self.racks) == 1:
            raise ValueError("racks: a job behind one switch has none; its switch is switch_ip")
        if sum(self.workers_per_rack) != len(self.workers):
            raise ValueError(f"racks: they have {sum(self.workers_per_rack)} workers, the job has {len(self.workers)}")
        addresses = [self.switch_ip, *(rack.switch_ip for rack in self.racks)]
        if len(set(addresses)) != len(addresses):
            raise ValueError("racks: root and rack switches need an address each")

    @property
    def fan_in(self) -> int:
        return len(self.workers)

    @property
    def servers(self) -> tuple[Member, ...]:
        """Its PSs: fragment seq is that of the one at seq modulo their number."""
        return self.server, *self.more_servers

    @property
    def members(self) -> tuple[Member, ...]:
        """Its end hosts: workers, then PSs."""
        return *self.workers, *self.servers

    @property
    def reach(self) -> int:
        """By how many fragments a worker is ahead at most, of the oldest whose sum it lacks."""
        if self.span is not None:
            return self.span
        return min(policy(self.policy).span(self.window), MAX_SPAN)

    @property
    def reuse_span(self) -> int:
        """What a slice holds two of: see `esa.policy.Policy.reuse_span`."""
        return policy(self.policy).reuse_span(self.window, self.span)

    @property
    def chain(self) -> int:
        """A worker sends a fragment only with the sum of the one so many before in hand; 0: there is no such rule.

        The window, up to a power of two, so that all that meet in a row of a slice are of one chain.
        """
        return 1 << (self.window - 1).bit_length() if policy(self.policy).chains else 0

    @property
    def max_reach(self) -> int:
        """The largest `reach` that a member of the job may have, under another policy."""
        return min(self.window * MOST_AHEAD, MAX_SPAN) if self.span is None else self.span

    @property
    def workers_per_rack(self) -> tuple[int, ...]:
        """How many ranks sit behind each rack switch, in the order of the ranks."""
        return tuple(rack.workers for rack in self.racks) or (len(self.workers),)

    def place(self, rank: int) -> tuple[int, int]:
        """(rack, rank within the rack) of a rank: the bits of bitmap1 and bitmap0 that are its own."""
        for rack, size in enumerate(self.workers_per_rack):
            if 0 <= rank < size:
                return rack, rank
            rank -= size
        raise ValueError(f"rank: job {self.name} has ranks 0..{self.fan_in - 1}")

    @property
    def switches(self) -> tuple[IPv4Address, ...]:
        """The switches that the PS reminds, in the order of its members: the root, then the racks.

        None where no switch holds rows; nor with release on reuse over several racks (why: `esa/entries/tiers.py`).
        Where there are none the PS sends each worker its own RESULT.
        """
        knobs = policy(self.policy)
        if knobs.pool == "none" or (self.racks and knobs.release == Release.ON_REUSE):
            return ()
        return self.switch_ip, *(rack.switch_ip for rack in self.racks)

    def run(self, epoch: int) -> Run:
        """The run of this job that the control plane gave `epoch`."""
        return Run(**{**dict(self), "epoch": epoch})

    def save(self, path: str | Path) -> None:
        Path(path).write_text(self.model_dump_json(indent=2) + "\n")

    @classmethod
    def load(cls, path: str | Path) -> Job:
        """The job in a JSON file; OSError or pydantic's ValidationError (a ValueError) if there is none."""
        return Job.model_validate_json(Path(path).read_text())


class Run(Job):
    """One use of a job by one set of workers: `(job, epoch)` on the wire.

    The epoch is the control plane's to give, a new one for every run; packets, rows and table entries of different runs
    of a job have nothing to do with each other. So a run comes from the controller, never from a file that somebody
    might read twice.
    """

    epoch: int = Field(ge=0, le=MAX_EPOCH)

    @property
    def description(self) -> Job:
        """The job that this is a run of."""
        return Job(**{name: value for name, value in self if name != "epoch"})

    def save(self, path: str | Path) -> None:
        self.description.save(path)
