"""The tables of a simulation's TOML file, each checked by itself; `simulation.py` checks them together."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, field_validator, model_validator

from esa.job import MAX_FAN_IN, Frozen, Pool
from esa.policy import POLICIES
from experiments.specs.toml_files import one_of

MAX_PORTS = 500  # of a switch: hosts and spines
MAX_RACKS = 32  # bits of a bitmap
MAX_JOBS = 255  # that a switch has counters for
MAX_TIME_S = 3600  # of virtual time
FACTORS = ("ratio", "service", "layer")

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=64)]
Nanoseconds = Annotated[int, Field(ge=0, le=1_000_000_000)]
Microseconds = Annotated[float, Field(gt=0, le=60e6)]
Gigabits = Annotated[float, Field(gt=0, le=10_000)]
Packets = Annotated[int, Field(ge=1, le=1_000_000)]
Milliseconds = Annotated[float, Field(ge=0, le=1000 * MAX_TIME_S)]


class Finite(Frozen):
    """Configuration whose numbers are numbers."""

    model_config = ConfigDict(allow_inf_nan=False)


class Network(Finite):
    """Hosts and switches: `hosts` behind one switch, or `racks` of that many hosts each under `spines`.

    queue_packets: that may wait at a switch's port. ecn_packets: switches mark packets that find more than that
    waiting; absent: never. The cables between leaves and spines are like those of the hosts unless the file says
    otherwise.
    """

    hosts: int | None = Field(ge=2, le=MAX_PORTS, default=None)
    racks: tuple[Annotated[int, Field(ge=1, le=MAX_PORTS)], ...] | None = Field(
        min_length=1, max_length=MAX_RACKS, default=None
    )
    spines: int = Field(ge=1, le=MAX_RACKS, default=1)
    gbps: Gigabits = 100.0
    delay_us: float = Field(ge=0, le=1_000_000, default=1.0)
    queue_packets: Packets = 4096
    spine_gbps: Gigabits | None = None
    spine_delay_us: float | None = Field(ge=0, le=1_000_000, default=None)
    ecn_packets: Packets | None = None
    switch_ns: Nanoseconds = 400

    @model_validator(mode="after")
    def _one_shape(self) -> Network:
        if (self.hosts is None) == (self.racks is None):
            raise ValueError("hosts: either 'hosts', the number behind one switch, or 'racks', hosts by rack")
        if not self.leaf_spine:
            for key in ("spines", "spine_gbps", "spine_delay_us"):
                if key in self.model_fields_set and getattr(self, key) != type(self).model_fields[key].default:
                    raise ValueError(f"{key}: one rack has no spines; allowed: with two or more racks")
        elif max(self.rack_sizes) + self.spines > MAX_PORTS:
            raise ValueError(
                f"racks: {max(self.rack_sizes)} hosts and {self.spines} spines; allowed: {MAX_PORTS} ports"
            )
        return self

    @property
    def rack_sizes(self) -> tuple[int, ...]:
        return self.racks or (self.hosts or 0,)

    @property
    def leaf_spine(self) -> bool:
        return len(self.rack_sizes) > 1

    @property
    def spine_cable(self) -> tuple[float, float]:
        """Gb/s and us of a cable between a leaf and a spine."""
        delay_us = self.delay_us if self.spine_delay_us is None else self.spine_delay_us
        return self.spine_gbps or self.gbps, delay_us


class HostCosts(Finite):
    """What a host's processor needs for a packet: workers', and the PS's both ways."""

    send_ns: Nanoseconds = 0
    receive_ns: Nanoseconds = 0
    server_ns: Nanoseconds = 0


class TimerSpec(Finite):
    """Timers of workers (`rto`, `overtaken`) and PSs (`patience`); what is absent follows from the network."""

    rto_initial_us: Microseconds | None = None
    rto_floor_us: Microseconds | None = None
    rto_ceiling_us: Microseconds | None = None
    overtaken_floor_us: Microseconds | None = None
    patience_initial_us: Microseconds | None = None
    patience_floor_us: Microseconds | None = None
    patience_ceiling_us: Microseconds | None = None
    ask_ahead: int = Field(ge=0, le=MAX_FAN_IN, default=4)
    give_up_s: float = Field(gt=0, le=MAX_TIME_S, default=30.0)  # for who is silent
    wait_limit_s: float = Field(gt=0, le=MAX_TIME_S, default=1800.0)  # for who computes


class ModelSpec(Finite):
    """A model of one's own: bytes of gradients and milliseconds of one worker, layer by layer from the front."""

    name: Name
    bytes: tuple[Annotated[int, Field(ge=0, le=2**40, multiple_of=4)], ...] = Field(min_length=1, max_length=10_000)
    forward_ms: tuple[Milliseconds, ...]
    backward_ms: tuple[Milliseconds, ...]

    @model_validator(mode="after")
    def _one_of_each(self) -> ModelSpec:
        for key in ("forward_ms", "backward_ms"):
            if len(getattr(self, key)) != len(self.bytes):
                raise ValueError(f"{key}: {len(getattr(self, key))} values for {len(self.bytes)} layers")
        return self


class JobSettings(Finite):
    """What jobs have in common where they do not say otherwise.

    scale:     of the model's bytes, and of its times unless `time_scale` says otherwise: 0.01 makes both a hundredth
    bucket_cap_mb: of the model before it is scaled; absent: DDP's defaults, 25 and 1 for the first bucket
    overlap:   front layers are sent first, after the backward pass, and the next forward pass starts with their sums
    jitter:    each computation takes 1 - jitter to 1 + jitter times as long
    straggle:  the part of (worker, iteration) pairs in which computing takes `slowdown` times as long
    priority:  the formula's factors (see `esa.priority`), or one number, 1..255, for all fragments
    """

    model: Name | None = None
    workers: int = Field(ge=1, le=MAX_FAN_IN * MAX_RACKS, default=2)
    iterations: int = Field(ge=1, le=1_000_000, default=10)
    window: int = Field(ge=1, le=16384, default=256)
    scale: float = Field(gt=0, le=1000, default=1.0)
    time_scale: float | None = Field(gt=0, le=1000, default=None)
    bucket_cap_mb: float | None = Field(ge=0.001, le=100_000, default=None)
    overlap: bool = False
    jitter: float = Field(ge=0, lt=1, default=0.0)
    straggle: float = Field(ge=0, le=1, default=0.0)
    slowdown: float = Field(ge=1, le=1000, default=1.0)
    policy: str | None = None  # in place of the simulation's
    priority: tuple[str, ...] | int = FACTORS
    ttl_us: int = Field(ge=0, lt=2**48, default=2_000_000)

    @field_validator("policy")
    @classmethod
    def _known_policy(cls, name: str | None) -> str | None:
        return None if name is None else one_of("policy", name, tuple(POLICIES))

    @field_validator("priority", mode="before")
    @classmethod
    def _known_priority(cls, value: Any) -> Any:
        fixed = isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 255
        factors = isinstance(value, (list, tuple)) and all(factor in FACTORS for factor in value)
        if not fixed and not (factors and len(set(value)) == len(value)):
            raise ValueError(f"{value!r}; allowed: a number, 1 to 255, or a list of some of {', '.join(FACTORS)}")
        return value


class JobSpec(JobSettings):
    """One job. hosts: its workers' and then its PS's, by number; absent: whichever are free when its turn comes."""

    name: Name
    model: Name
    submit_s: float = Field(ge=0, le=MAX_TIME_S, default=0.0)
    pool: Pool | None = None  # in place of what the policy takes
    hosts: tuple[Annotated[int, Field(ge=0)], ...] | None = None

    @model_validator(mode="after")
    def _hosts_for_all(self) -> JobSpec:
        if self.hosts is not None and len(self.hosts) != self.workers + 1:
            raise ValueError(
                f"hosts: {len(self.hosts)} hosts; allowed: {self.workers + 1}, for {self.workers} workers and the PS"
            )
        if self.hosts is not None and len(set(self.hosts)) != len(self.hosts):
            raise ValueError("hosts: one host twice; a worker or PS needs a host of its own")
        return self


class Arrivals(Finite):
    """Jobs that come by chance: `count` of them, `mean_interval_s` apart on average.

    models: name to share. Workers and iterations: one number, or several that are equally likely.
    """

    kind: Literal["poisson"] = "poisson"
    count: int = Field(ge=1, le=MAX_JOBS)
    mean_interval_s: float = Field(gt=0, le=MAX_TIME_S)
    models: dict[Name, Annotated[float, Field(gt=0, le=1_000_000)]] = Field(min_length=1)
    workers: tuple[Annotated[int, Field(ge=1, le=MAX_FAN_IN * MAX_RACKS)], ...] | None = Field(
        min_length=1, default=None
    )
    iterations: tuple[Annotated[int, Field(ge=1, le=1_000_000)], ...] | None = Field(min_length=1, default=None)
