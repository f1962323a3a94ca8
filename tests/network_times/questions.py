"""Jobs that share a network, as they are asked for."""

from __future__ import annotations

from pathlib import Path

from esa.cluster.times import Answer, Asked
from esa.network_times.component import Component, Member, components
from esa.network_times.levels import NetworkTimes
from esa.network_times.network import Network
from esa.workloads import profile

RACKS = [0, 0, 0, 0, 1, 1, 1, 1]
HEAVY, LIGHT = "communication-heavy", "computation-heavy"


def asked(number: int, *hosts: int, model: str = HEAVY, each: int = 1, left_ns: int = 0) -> Asked:
    """A job with `each` GPUs on each of these hosts, which compute as long as the model says."""
    found = profile(model)
    gpu_ns = (found.forward_ns + found.backward_ns) * each * len(hosts)
    return Asked(number, model, gpu_ns, 0, 0, tuple((host, each) for host in hosts), left_ns)


def member(*hosts: tuple[int, int], model: str = HEAVY, service: int | None = None) -> Member:
    found = profile(model)
    return Member(model, found.forward_ns + found.backward_ns, 0, service, hosts)


def component(network: Network, *members: Member) -> Component:
    """The one that they are."""
    (part,) = components(members, network, RACKS)
    return part.component


def answers(network: Network, *running: Asked, level: str = "flows", folder: Path) -> list[Answer]:
    return [*NetworkTimes(network, RACKS, level=level, folder=folder)(running)]
