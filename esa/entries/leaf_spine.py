"""A leaf-spine network as the control plane sees it: which port leads where, and plain forwarding.

items = forwarding_items(network)   # by the switch's address
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Address
from typing import NamedTuple, TypeAlias

from esa.entries import job_entries as e
from esa.entries.job_entries import Entry, Group
from esa.errors import BadInput

Items: TypeAlias = list[Entry | Group]

MAX_PORT = 510  # 511 drops


@dataclass(frozen=True)
class Switch:
    """A switch as others address it: sums and partials come from `ip`; REMINDERs go to it, in frames to `mac`."""

    ip: IPv4Address
    mac: str


@dataclass(frozen=True)
class RackSwitch(Switch):
    """Spine s is behind port `first_uplink + s`."""

    first_uplink: int


class Host(NamedTuple):
    """An end host, behind `port` of rack switch number `rack`; frames to it from other racks take spine `spine`."""

    mac: str
    rack: int
    port: int
    spine: int = 0


@dataclass(frozen=True)
class LeafSpine:
    """Every rack switch has a link to every spine; rack r is behind port r of each spine. One rack needs no spine.

    Frames to rack switch r itself take spine r modulo the spines. BadInput if ports or addresses clash.
    """

    racks: tuple[RackSwitch, ...]
    spines: tuple[Switch, ...]
    hosts: tuple[Host, ...]

    def __post_init__(self) -> None:
        if not self.racks or (len(self.racks) > 1 and not self.spines):
            raise BadInput(f"spines: {len(self.racks)} racks and no spine; several racks need one")
        check_distinct(
            "mac", [*(switch.mac for switch in (*self.racks, *self.spines)), *(host.mac for host in self.hosts)]
        )
        check_distinct("ip", (switch.ip for switch in (*self.racks, *self.spines)))
        for host in self.hosts:
            if not 0 <= host.rack < len(self.racks) or not 0 <= host.spine < max(len(self.spines), 1):
                raise BadInput(
                    f"hosts: {host.mac} is in rack {host.rack}, behind spine {host.spine}: not in the network"
                )
        uplinks = [
            (rack, self.uplink(rack, spine)) for rack in range(len(self.racks)) for spine in range(len(self.spines))
        ]
        ports = [*((host.rack, host.port) for host in self.hosts), *uplinks]
        check_distinct("port: (rack, port)", ports)
        for rack, port in ports:
            if not 0 <= port <= MAX_PORT:
                raise BadInput(f"port: rack switch {rack}: {port}; allowed: 0..{MAX_PORT}")

    def uplink(self, rack: int, spine: int) -> int:
        """The port of a rack switch that a spine is behind."""
        return self.racks[rack].first_uplink + spine

    def spine_to(self, rack: int) -> int:
        """The spine that frames to a rack switch itself take."""
        return rack % len(self.spines)

    @cached_property
    def host(self) -> dict[str, Host]:
        """By MAC address."""
        return {host.mac: host for host in self.hosts}


def check_distinct(what: str, values: Iterable[object]) -> None:
    """BadInput if a value comes twice."""
    seen: set[object] = set()
    for value in values:
        if value in seen:
            raise BadInput(f"{what}: {value} is given twice")
        seen.add(value)


def forwarding_items(network: LeafSpine) -> dict[IPv4Address, Items]:
    """By the switch's address: where frames to each host and switch go. Broadcasts take the first spine alone."""
    items: dict[IPv4Address, Items] = {}
    for rack, switch in enumerate(network.racks):
        here = {host.mac: host.port for host in network.hosts if host.rack == rack}
        above = {host.mac: host.spine for host in network.hosts if host.rack != rack}
        above |= {other.mac: network.spine_to(r) for r, other in enumerate(network.racks) if r != rack}
        above |= {spine.mac: number for number, spine in enumerate(network.spines)}
        up = {mac: network.uplink(rack, spine) for mac, spine in above.items()}
        first = [network.uplink(rack, 0)] if network.spines else []
        items[switch.ip] = _forward(here | up, flood=[*here.values(), *first])
    for number, spine in enumerate(network.spines):
        below = {host.mac: host.rack for host in network.hosts}
        below |= {switch.mac: rack for rack, switch in enumerate(network.racks)}
        items[spine.ip] = _forward(below, flood=range(len(network.racks)) if number == 0 else [])
    return items


def _forward(ports: Mapping[str, int], flood: Iterable[int]) -> Items:
    group = e.flood_group(flood)
    flooding: Items = [group, e.broadcast_entry()] if group.replicas else []
    return [*flooding, *(e.host_entry(mac, port) for mac, port in ports.items())]
