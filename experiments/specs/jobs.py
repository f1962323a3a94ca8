"""[[jobs]] and [job_defaults]: what is trained, by whom, and how its sums are made."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from esa.job import MAX_FAN_IN, SERVER_COUNTS, Pool
from esa.policy import EXPIRED_US, POLICIES, policy
from experiments.specs.keys import MAX_RACKS, MAX_TIME_S, Finite, Name, key
from experiments.specs.models import KNOWN_MODELS, MS_PER_SAMPLE
from experiments.specs.toml_files import one_of

FACTORS = ("ratio", "service", "layer")
CLASSES = ("classes",)
_PRIORITIES = f"a list of some of {', '.join(FACTORS)}, or of classes alone"
INA, GLOO, HALVING_DOUBLING = "ina", "gloo", "halving-doubling"
TRANSPORTS = (INA, GLOO, HALVING_DOUBLING)
_POLICIES = ", ".join(POLICIES)
_ESA_TTL_US = policy("esa").ttl_us()
_MODELS = f"{', '.join(KNOWN_MODELS)}, or one of [[models]]"
_PER_SAMPLE = " and ".join(f"{name} {ms:g} ms" for name, ms in MS_PER_SAMPLE.items())
_TRAINED = (
    f"what is trained; live, {' or '.join(MS_PER_SAMPLE)}, of which a sample takes a virtual worker {_PER_SAMPLE}"
)


def known_policy(name: str) -> str:
    """ValueError unless it is a policy; one that is a transport is told from it."""
    if name in TRANSPORTS:
        raise ValueError(f"'{name}' is a transport; allowed: {_POLICIES}, or transport = \"{name}\"")
    return one_of("policy", name, tuple(POLICIES))


def known_transport(name: str) -> str:
    return one_of("transport", name, TRANSPORTS)


class JobSettings(Finite):
    """What jobs have in common where they do not say otherwise; every key may stand in a job, too."""

    model: Name | None = key(_TRAINED, None, allowed=_MODELS)
    workers: int = key("ranks; live at most 32 behind one switch", 2, ge=1, le=MAX_FAN_IN * MAX_RACKS)
    iterations: int = key("training steps", 10, ge=1, le=1_000_000)
    batch_size: int = key(
        "samples of a worker in a step; in virtual time the computing of mlp and cnn goes with it",
        32,
        unit="samples",
        ge=1,
        le=1024,
    )
    learning_rate: float = key("SGD's, with momentum 0.9", 0.05, backend="live", gt=0, le=10)
    transport: str | None = key(
        "how gradients are summed, in place of the scenario's",
        None,
        absent="the scenario's",
        allowed=", ".join(TRANSPORTS),
    )
    policy: str | None = key(
        "how its rows are scheduled, in place of the scenario's", None, absent="the scenario's", allowed=_POLICIES
    )
    servers: int = key(
        "its PSs: fragment number n is that of PS n modulo these; the window is a multiple of them, and ranks and PSs "
        "of several are in one rack",
        1,
        allowed=", ".join(map(str, SERVER_COUNTS)),
    )
    servers_on: Literal["hosts", "workers"] = key(
        "hosts: each PS has a host of its own; workers: PS n is on the host of worker n, and shares its link and "
        "processor",
        "hosts",
        backend="virtual",
    )
    window: int = key("fragments in flight per worker, at most", 256, unit="fragments", ge=1, le=16384)
    span: int | None = key(
        "by how many fragments a worker is ahead, at most, of the oldest sum that it lacks; the window or more",
        None,
        absent="the policy's",
        unit="fragments",
        ge=1,
        le=16384,
    )
    least_window: int | None = key(
        "fragments in flight per worker where rows are scarce: the window gets no smaller; as large as it: it stays",
        None,
        absent="three tenths of the window under esa, one under a2tp, else the window",
        unit="fragments",
        ge=1,
        le=16384,
    )
    congestion: Literal["none", "aimd", "dctcp"] | None = key(
        "what marks do to a worker's window (docs/protocol.md): aimd, half of it goes; dctcp, the more the more are "
        "marked; none, nothing",
        None,
        absent="aimd with network.ecn_packets, else none",
    )
    bucket_cap_mb: float | None = key(
        "gradients that are summed at once, DDP's `bucket_cap_mb`",
        None,
        unit="MiB",
        absent="DDP's: 25, the first 1",
        ge=0.001,
        le=100_000,
    )
    quantisation: Literal["fixed", "adaptive"] = key(
        "adaptive: a scale per fragment, agreed on as values change; fixed: one for all. Virtual time has no values, "
        "and sends what `fixed` sends",
        "adaptive",
        backend="live",
    )
    # 24: with two workers, gradients up to 64.
    fraction_bits: int = key(
        "of `fixed`: a gradient is sent as value * 2**fraction_bits", 24, backend="live", unit="bits", ge=-64, le=64
    )
    ttl_us: int | None = key(
        "after how long without news it takes others' rows, 0: never",
        None,
        absent=f"under esa a quarter of a round trip, live {_ESA_TTL_US}; else {EXPIRED_US}",
        unit="us",
        ge=0,
        lt=2**48,
    )
    order: Literal["ddp", "front-first"] = key(
        "ddp: buckets are sent as they are computed, and the next forward pass waits for all sums; front-first: once "
        "the backward pass is over the front layers are sent first, and the next forward pass starts with their sums; "
        "live, `ddp` alone",
        "ddp",
        backend="virtual",
    )
    scale: float = key(
        "of the model's bytes, and of its times unless `time_scale` says otherwise; live, whole models alone",
        1.0,
        backend="virtual",
        gt=0,
        le=1000,
    )
    time_scale: float | None = key("of the model's times", None, backend="virtual", absent="`scale`", gt=0, le=1000)
    jitter: float = key(
        "each computation takes 1 - jitter to 1 + jitter times as long", 0.0, backend="virtual", ge=0, lt=1
    )
    straggle: float = key(
        "the part of (worker, iteration) pairs in which computing takes `slowdown` times as long",
        0.0,
        backend="virtual",
        ge=0,
        le=1,
    )
    slowdown: float = key("of those that straggle", 1.0, backend="virtual", ge=1, le=1000)
    priority: tuple[str, ...] | int | None = key(
        "classes, factors of the formula (docs/protocol.md), or one number for all fragments; live, the policy's",
        None,
        absent="under esa one for all, or classes where jobs have less rows than an eighth of their windows; "
        "else all factors",
        backend="virtual",
        allowed=f"1 to 255, {_PRIORITIES}",
    )

    @field_validator("policy")
    @classmethod
    def _known_policy(cls, name: str | None) -> str | None:
        return None if name is None else known_policy(name)

    @field_validator("transport")
    @classmethod
    def _known_transport(cls, name: str | None) -> str | None:
        return None if name is None else known_transport(name)

    @field_validator("servers")
    @classmethod
    def _known_servers(cls, number: int) -> int:
        if number not in SERVER_COUNTS:
            raise ValueError(f"{number}; allowed: {', '.join(map(str, SERVER_COUNTS))}")
        return number

    @property
    def own_servers(self) -> int:
        """PSs with a host of their own."""
        return self.servers if self.servers_on == "hosts" else 0

    @property
    def server_names(self) -> tuple[str, ...]:
        """What their hosts are called, behind the job's name."""
        return ("ps",) if self.own_servers == 1 else tuple(f"ps-{number}" for number in range(self.own_servers))

    @field_validator("priority", mode="before")
    @classmethod
    def _known_priority(cls, value: Any) -> Any:
        if value is None:
            return None
        fixed = isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 255
        factors = isinstance(value, (list, tuple)) and all(factor in FACTORS for factor in value)
        classes = isinstance(value, (list, tuple)) and tuple(value) == CLASSES
        if not fixed and not classes and not (factors and len(set(value)) == len(value)):
            raise ValueError(f"{value!r}; allowed: a number, 1 to 255, {_PRIORITIES}")
        return value


class JobSpec(JobSettings):
    """One training job, with the keys of [job_defaults] and its own."""

    name: Name = key("a name that occurs once")
    model: Name = key(_TRAINED, allowed=_MODELS)
    submit_s: float = key("after the start", 0.0, unit="s", ge=0, le=MAX_TIME_S)
    pool: Pool | None = key(
        "the rows that it may use, as { base = 0, size = 64 }; size a power of two",
        None,
        absent="as the policy takes them",
    )
    hosts: tuple[Annotated[int, Field(ge=0)], ...] | None = key(
        "its workers' and then its PSs', by number; with network.hosts or network.racks. gloo has no PS, and others "
        "may have that host",
        None,
        absent="whichever are free when its turn comes",
    )

    @model_validator(mode="after")
    def _hosts_for_all(self) -> JobSpec:
        members = self.workers + self.own_servers
        if self.hosts is not None and len(self.hosts) != members:
            servers = {0: "", 1: " and the PS"}.get(self.own_servers, f" and {self.own_servers} PSs")
            raise ValueError(f"hosts: {len(self.hosts)} hosts; allowed: {members}, for {self.workers} workers{servers}")
        if self.servers_on == "workers" and self.servers > self.workers:
            raise ValueError(f"servers: {self.servers} on workers' hosts; allowed: up to the {self.workers} workers")
        if self.hosts is not None and len(set(self.hosts)) != len(self.hosts):
            raise ValueError("hosts: one host twice; a worker or PS needs a host of its own")
        return self
