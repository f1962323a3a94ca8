"""Interfaces between hosts and switch that are there now: offloads off, the switch's address known beforehand."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, NamedTuple

from topologies import leftovers, record, tunnel
from topologies.doctor.finding import OK, WRONG, Finding
from topologies.interfaces import OFFLOADS, SWITCH_MAC

FEATURES = {  # what `ethtool -k` calls what `ethtool -K` takes
    "tx": "tx-checksumming",
    "rx": "rx-checksumming",
    "sg": "scatter-gather",
    "tso": "tcp-segmentation-offload",
    "gso": "generic-segmentation-offload",
    "gro": "generic-receive-offload",
}


class Interface(NamedTuple):
    """One of ours. namespace: empty for this one. switch_ip: of a host's, None where it is not known."""

    namespace: str
    name: str
    is_host: bool
    switch_ip: str | None = None

    @property
    def label(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name

    @property
    def enter(self) -> list[str]:
        return ["ip", "netns", "exec", self.namespace] if self.namespace else []


def check() -> Iterator[Finding]:
    there = list(interfaces())
    yield offloads_finding({each: _output([*each.enter, "ethtool", "-k", each.name]) for each in there})
    hosts = [each for each in there if each.is_host]
    yield arp_finding({each: _neighbours(each) for each in hosts})


def interfaces() -> Iterator[Interface]:
    """Those of runs, of racks that are up and their hosts, and ends of tunnels."""
    for path in sorted(Path("/sys/class/net").iterdir()):
        if leftovers.INTERFACE.fullmatch(path.name) or tunnel.OURS.fullmatch(path.name):
            is_host = path.name == tunnel.HOST_INTERFACE
            yield Interface("", path.name, is_host, _switch_ip(path.name) if is_host else None)
    for rack in record.records():
        if rack.up and rack.switch is not None:
            for host in rack.hosts:
                yield Interface(host.namespace, rack.interface, is_host=True, switch_ip=str(rack.switch.ip))


def offloads_finding(features: Mapping[Interface, str]) -> Finding:
    """features: what `ethtool -k` says of each."""
    wrong = {each: on for each, text in features.items() if (on := offloads_on(text))}
    if not wrong:
        return Finding("offloads", OK, _of(len(features), "has none on", "have none on"))
    said = ", ".join(f"{each.label} has {' '.join(on)} on" for each, on in wrong.items())
    mends = (
        " ".join([*each.enter, "ethtool", "-K", each.name, *(f"{name} off" for name in on)])
        for each, on in wrong.items()
    )
    return Finding("offloads", WRONG, f"{said}: frames come merged or without checksums", "; ".join(mends))


def offloads_on(text: str) -> list[str]:
    """Which of OFFLOADS are on, by what `ethtool -k` says; one that is fixed cannot be turned off, and is none."""
    states = {name.strip(): value.strip() for name, colon, value in (line.partition(":") for line in text.splitlines())}
    return [name for name in OFFLOADS if states.get(FEATURES[name]) == "on"]


def arp_finding(neighbours: Mapping[Interface, Sequence[Mapping[str, Any]]]) -> Finding:
    """neighbours: what `ip -j neighbour` says of each host's interface."""
    check = "static ARP of the switch"
    wrong = [each for each, known in neighbours.items() if not knows_switch(each, known)]
    if not wrong:
        return Finding(check, OK, _of(len(neighbours), "knows it", "know it", what="host"))
    said = f"{', '.join(each.label for each in wrong)}: the switch's address is not known, and it answers no ARP"
    mends = (
        " ".join([*each.enter, "ip", "neighbour", "replace", each.switch_ip or "SWITCH-IP"])
        + f" lladdr {SWITCH_MAC} dev {each.name} nud permanent"
        for each in wrong
    )
    return Finding(check, WRONG, said, "; ".join(mends))


def knows_switch(interface: Interface, known: Sequence[Mapping[str, Any]]) -> bool:
    return any(one.get("lladdr") == SWITCH_MAC and "PERMANENT" in one["state"] for one in known)


def _of(count: int, one: str, several: str, what: str = "interface") -> str:
    return f"no {what} is up" if count == 0 else f"{count} {what} {one}" if count == 1 else f"{count} {what}s {several}"


def _switch_ip(interface: str) -> str | None:
    """Where the switch is that a host's end of a tunnel leads to, if nobody said another; None: without an address."""
    links = json.loads(_output(["ip", "-j", "-4", "address", "show", "dev", interface]) or "[]")
    own = [IPv4Address(one["local"]) for link in links for one in link.get("addr_info", ())]
    return str(tunnel.default_switch_ip(own[0])) if own else None


def _neighbours(interface: Interface) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(
        _output([*interface.enter, "ip", "-j", "neighbour", "show", "dev", interface.name]) or "[]"
    )
    return found


def _output(command: list[str]) -> str:
    """What a command prints; nothing where the interface has gone meanwhile, or the command is missing."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False).stdout
    except OSError:
        return ""
