"""[live] and [virtual]: what only one of the backends can use."""

from __future__ import annotations

import shutil

from pydantic import field_validator

from esa.cluster.policies import SCHEDULERS
from experiments.specs.keys import MAX_TIME_S, Finite, key
from experiments.specs.toml_files import one_of

SWITCHES = ("embedded", "bmv2")
_NS = {"unit": "ns", "ge": 0, "le": 1_000_000_000}


class Live(Finite):
    """A run in real time: processes on Mininet."""

    switch: str = key("the P4 switch", "embedded", backend="live", allowed=", ".join(SWITCHES))

    @field_validator("switch")
    @classmethod
    def _known_switch(cls, name: str) -> str:
        return one_of("switch", name, SWITCHES)

    def check_installed(self) -> None:
        """ValueError unless the switch can be started on this machine."""
        if self.switch == "bmv2" and shutil.which("simple_switch_grpc") is None:
            raise ValueError("live.switch: 'bmv2' needs simple_switch_grpc on the PATH; 'embedded' needs nothing")


class Virtual(Finite):
    """A run in virtual time. What hosts and switches need for a packet is the machine's own in a live run."""

    sample_us: float = key("between two lines of the time series", 100.0, backend="virtual", unit="us", gt=0, le=60e6)
    limit_s: float = key(
        "virtual time after which a run is cut short",
        float(MAX_TIME_S),
        backend="virtual",
        unit="s",
        gt=0,
        le=MAX_TIME_S,
    )
    carry_gradients: bool = key(
        "packets carry gradients, drawn from the seed, and every sum is compared with the plain one; with 64 lanes",
        False,
        backend="virtual",
    )
    alone: bool = key(
        "every job is simulated once more, alone on the network, for the inflation of its JCT; jobs that are the same "
        "once for all",
        True,
        backend="virtual",
    )
    scheduler: str = key("who gets GPUs, which, and when", "fifo", backend="virtual", allowed=", ".join(SCHEDULERS))
    re_place: bool = key(
        "whenever a job starts or ends, those that run are given other rows and spans where that leaves more for all; "
        "each in a gap of its sums",
        False,
        backend="virtual",
    )
    gpus: int = key(
        "of each host; a worker or PS takes one, and shares the host's link and processor with those on the others",
        1,
        backend="virtual",
        ge=1,
        le=16,
    )
    switch_ns: int = key("a packet's way through a switch", 400, backend="virtual", **_NS)
    send_ns: int = key("a worker's processor, for a packet that it sends", 0, backend="virtual", **_NS)
    receive_ns: int = key("a worker's processor, for a packet that it receives", 0, backend="virtual", **_NS)
    server_ns: int = key("a PS's processor, for a packet, both ways", 0, backend="virtual", **_NS)
    cores: int = key(
        "processors of a host: 1 for all that it sends and receives, or 2, one for each direction",
        1,
        backend="virtual",
        ge=1,
        le=2,
    )
    framing_bytes: int = key(
        "of a link's rate, what goes beside each Ethernet frame: preamble, FCS and gap; 0 counts frames alone, as "
        "Mininet's links do",
        24,
        backend="virtual",
        unit="bytes",
        ge=0,
        le=1000,
    )

    mtu_bytes: int = key(
        "of an IPv4 packet of a flow or of gloo's ring; Mininet's links have 1500",
        9000,
        backend="virtual",
        ge=100,
        le=65_535,
    )

    @field_validator("scheduler")
    @classmethod
    def _known_scheduler(cls, name: str) -> str:
        return one_of("scheduler", name, tuple(SCHEDULERS))
