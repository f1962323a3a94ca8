"""What a cluster is made of: hosts in racks, their GPUs, and the NIC that all ranks on a host share. Frozen values."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

from esa.errors import BadInput


class Gpu(NamedTuple):
    """One GPU: the number of its host, and which of that host's it is."""

    host: int
    gpu: int


@dataclass(frozen=True)
class Nic:
    """A host's cable to its rack's switch."""

    rate_bps: float


@dataclass(frozen=True)
class Host:
    """A machine in a rack. Its ranks have a GPU each; its NIC and its processor are theirs together.

    gpu_type: what its GPUs are called, where jobs ask for some. pod: of racks that are nearer to each other than to
    others'.
    """

    rack: int
    nic: Nic
    gpus: int = 1
    gpu_type: str = ""
    pod: int = 0


@dataclass(frozen=True)
class Cluster:
    """Hosts by number. max_jobs: that may run at a time. tiers: of switches; above two, a job has to be in one rack.
    down: hosts whose GPUs nobody can have now. placement: by which rule jobs are placed, of `placement.RULES`.
    inference: hosts of the inference side's, `down` unless it lends them; offered: how many of them it can do without
    now.

    BadInput if a host has no GPU, or a rack no host.
    """

    hosts: tuple[Host, ...]
    max_jobs: int
    tiers: int = 2
    down: frozenset[int] = frozenset()
    placement: str = "racks"
    inference: frozenset[int] = frozenset()
    offered: int = 0

    def __post_init__(self) -> None:
        for number, host in enumerate(self.hosts):
            if host.gpus < 1:
                raise BadInput(f"gpus: host {number} has {host.gpus}; allowed: 1 or more")
        racks = {host.rack for host in self.hosts}
        if racks != set(range(len(racks))) or not racks:
            raise BadInput(f"racks: hosts are in racks {sorted(racks)}; allowed: 0, 1, ... without a gap")
        if self.max_jobs < 1:
            raise BadInput(f"max_jobs: {self.max_jobs}; allowed: 1 or more")

    @cached_property
    def gpus(self) -> frozenset[Gpu]:
        """Every GPU that there is, but those of hosts that are down."""
        up = [(number, host) for number, host in enumerate(self.hosts) if number not in self.down]
        return frozenset(Gpu(number, gpu) for number, host in up for gpu in range(host.gpus))

    @cached_property
    def lent(self) -> frozenset[int]:
        """Hosts of the inference side's that it lends now."""
        return self.inference - self.down

    def lending(self, lent: frozenset[int]) -> Cluster:
        """With these of the inference side's hosts lent, and no others."""
        return replace(self, down=(self.down - self.inference) | (self.inference - lent))

    @cached_property
    def racks(self) -> tuple[int, ...]:
        """Hosts by rack."""
        of = [host.rack for host in self.hosts]
        return tuple(of.count(rack) for rack in range(max(of) + 1))

    @cached_property
    def hosts_of_racks(self) -> tuple[tuple[int, ...], ...]:
        """The numbers of each rack's hosts."""
        hosts: list[list[int]] = [[] for _ in self.racks]
        for number, host in enumerate(self.hosts):
            hosts[host.rack].append(number)
        return tuple(map(tuple, hosts))

    def rack_of(self, gpu: Gpu) -> int:
        """The rack of a GPU's host."""
        return self.hosts[gpu.host].rack
