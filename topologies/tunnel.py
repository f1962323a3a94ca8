"""One end of a tunnel between a host's machine and the switch's: a VXLAN interface whose number is the switch's port.

make(port_end(1, "192.168.7.2"))                    # on the switch's machine: esa-port1
make(host_end("10.0.0.1/24", 1, "192.168.7.1"))     # on 192.168.7.2: esa0
remove()                                            # on either: all ends that are there

`docs/machines.md` says what for, and why each command of an end is there.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, ip_address
from typing import Any

from esa.errors import BadInput, EsaError
from topologies.interfaces import OFFLOADS, SWITCH_MAC, NotRootError

UDP_PORT = 4789  # IANA's for VXLAN
OVERHEAD = {4: 20 + 8 + 8 + 14, 6: 40 + 8 + 8 + 14}  # outer IP (by version), UDP, VXLAN, inner Ethernet
DEFAULT_MTU = 1500 - OVERHEAD[4]
MIN_MTU, MAX_MTU = 576, 9000  # IPv4's smallest; what a switch's Ethernet takes
MAX_PORT = 510  # of a job's member
HOST_INTERFACE = "esa0"
PORT_INTERFACE = "esa-port{}"
OURS = re.compile(r"esa0|esa-port\d+")


class TunnelError(EsaError):
    """An end cannot be made or removed; one line, and nothing of a new one is left."""


@dataclass(frozen=True)
class End:
    """What this machine's end of a tunnel is to be, and the commands that make it.

    peer: the machine at the other end. address: the host's own, on its end alone.
    """

    interface: str
    port: int
    peer: IPv4Address | IPv6Address
    mtu: int
    address: IPv4Interface | None = None
    switch_ip: IPv4Address | None = None

    @property
    def mac(self) -> str:
        """A host's MAC address: the same whenever its end is made, so that a job's file stays right."""
        assert self.address is not None
        return ":".join(f"{byte:02x}" for byte in (2, 0, *self.address.packed))

    @property
    def commands(self) -> list[list[str]]:
        name, mac = self.interface, "" if self.address is None else f"address {self.mac} "
        lines = [
            f"ip link add {name} {mac}mtu {self.mtu}"
            f" type vxlan id {self.port} remote {self.peer} dstport {UDP_PORT} nolearning udpcsum",
            f"ethtool -K {name} {' '.join(f'{offload} off' for offload in OFFLOADS)}",
            f"ip link set {name} addrgenmode none",
        ]
        if self.address is None:
            lines += [f"ip link set {name} arp off up"]
        else:
            lines += [
                f"ip address add {self.address} dev {name}",
                f"ip link set {name} up",
                f"ip neighbour replace {self.switch_ip} lladdr {SWITCH_MAC} dev {name} nud permanent",
            ]
        return [line.split() for line in lines]


def port_end(port: int, host_machine: str, *, mtu: int = DEFAULT_MTU) -> End:
    """The switch's end of the tunnel to the machine of the host behind `port`. BadInput."""
    return End(PORT_INTERFACE.format(port), _port(port), _machine("host-machine", host_machine), _mtu(mtu))


def host_end(
    address: str, port: int, switch_machine: str, *, switch_ip: str | None = None, mtu: int = DEFAULT_MTU
) -> End:
    """The host's end of the tunnel to the switch's machine; the switch_ip as `esa job new` takes it. BadInput."""
    peer = _machine("switch-machine", switch_machine)
    try:
        own = IPv4Interface(address)
    except ValueError:
        raise BadInput(f"address: '{address}' is not an address with its network, as 10.0.0.1/24") from None
    try:
        switch = default_switch_ip(own.ip) if switch_ip is None else IPv4Address(switch_ip)
    except ValueError:
        raise BadInput(f"switch-ip: '{switch_ip}' is not an IPv4 address") from None
    if "/" not in address or own.ip in (own.network.network_address, own.network.broadcast_address):
        raise BadInput(f"address: '{address}' is no host's address with its network, as 10.0.0.1/24")
    if switch == own.ip or switch not in own.network:
        raise BadInput(f"switch-ip: {switch} has to be another address of the network {own.network}")
    if peer in own.network:
        raise BadInput(f"address: the switch's machine, {peer}, is in {own.network}, which lies inside the tunnel")
    return End(HOST_INTERFACE, _port(port), peer, _mtu(mtu), own, switch)


def default_switch_ip(member: IPv4Address) -> IPv4Address:
    """Where the switch of this member is, if nobody says: the last address of its /24 that a host could have."""
    return IPv4Address(int(member) & ~0xFF | 254)


def make(end: End) -> None:
    """Make it. TunnelError, NotRootError."""
    _require_root()
    if any(link["ifname"] == end.interface for link in _links()):
        raise TunnelError(f"{end.interface} is there already: esa detach {end.interface} removes it")
    _check_way(end)
    first, *others = end.commands
    _run(first)
    try:
        for command in others:
            _run(command)
    except TunnelError:
        subprocess.run(["ip", "link", "delete", end.interface], capture_output=True, timeout=30, check=False)
        raise


def remove(names: Sequence[str] = ()) -> list[str]:
    """Remove these ends, by default all that are on this machine; returns their names. TunnelError, BadInput."""
    there = [link["ifname"] for link in _links() if _is_end(link)]
    for name in names:
        if name not in there:
            raise BadInput(f"detach: '{name}' is no end of a tunnel here; there are: {', '.join(there) or 'none'}")
    _require_root()
    chosen = list(names) or there
    for name in chosen:
        _run(["ip", "link", "delete", name])
    return chosen


def _check_way(end: End) -> None:
    """The way to the other machine has to lead out of this one and take a whole frame."""
    ways = _ip("route", "get", str(end.peer))
    if not ways:
        raise TunnelError(f"there is no way from here to {end.peer}")
    if ways[0].get("type") == "local":
        raise TunnelError(f"{end.peer} is this machine itself: a tunnel goes to another one")
    links = _ip("link", "show", "dev", ways[0]["dev"])
    room = int(links[0]["mtu"]) - OVERHEAD[end.peer.version]
    if end.mtu > room:
        raise TunnelError(
            f"{ways[0]['dev']} leaves room for {room} bytes in the tunnel, not {end.mtu}: "
            f"give every end of this switch --mtu {room}"
        )


def _port(port: int) -> int:
    if not 1 <= port <= MAX_PORT:
        raise BadInput(f"port: {port}; allowed: 1 to {MAX_PORT}")
    return port


def _mtu(mtu: int) -> int:
    if not MIN_MTU <= mtu <= MAX_MTU:
        raise BadInput(f"mtu: {mtu}; allowed: {MIN_MTU} to {MAX_MTU}")
    return mtu


def _machine(what: str, text: str) -> IPv4Address | IPv6Address:
    try:
        found = ip_address(text)
    except ValueError:
        raise BadInput(f"{what}: '{text}' is not an IP address") from None
    if found.is_multicast or found.is_unspecified or found.is_loopback:
        raise BadInput(f"{what}: {found} is not one machine's address on a network")
    return found


def _is_end(link: dict[str, Any]) -> bool:
    return bool(OURS.fullmatch(link["ifname"])) and link.get("linkinfo", {}).get("info_kind") == "vxlan"


def _links() -> list[dict[str, Any]]:
    return _ip("-d", "link", "show")


def _ip(*arguments: str) -> list[dict[str, Any]]:
    done = subprocess.run(["ip", "-j", *arguments], capture_output=True, text=True, timeout=30, check=False)
    found: list[dict[str, Any]] = json.loads(done.stdout or "[]")
    return [entry for entry in found if entry]


def _run(command: Sequence[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except FileNotFoundError:
        raise TunnelError(f"{command[0]} is not installed here") from None
    if done.returncode != 0:
        why = " ".join((done.stderr or done.stdout).split()) or f"status {done.returncode}"
        if "Unknown device type" in why:
            why = "this machine's kernel has no VXLAN"
        raise TunnelError(f"{' '.join(command)}: {why}")


def _require_root() -> None:
    if os.geteuid() != 0:
        raise NotRootError("an end of a tunnel is a network interface, which needs root: run with sudo")
