"""What this machine's network says of addresses: its own, and its neighbours' MAC addresses."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from ipaddress import IPv4Address
from typing import Any

DISCARD_PORT = 9
ANSWER_LIMIT_S = 1.0  # for a neighbour's ARP answer


def own_addresses() -> dict[IPv4Address, str]:
    """This network namespace's IPv4 addresses with their interfaces' MAC addresses, loopback left out."""
    return {
        IPv4Address(address["local"]): str(interface["address"]).lower()
        for interface in _ip("addr", "show", "up")
        if interface["link_type"] == "ether"
        for address in interface["addr_info"]
        if address["family"] == "inet"
    }


def neighbour(ip: IPv4Address, *, ask: bool = True) -> str | None:
    """The MAC address that belongs to `ip` on a link of ours; None if nobody says. ask: let the kernel ask the link."""
    deadline = time.monotonic() + ANSWER_LIMIT_S
    asked = not ask
    while True:
        for entry in _ip("neigh", "show", str(ip)):
            if "lladdr" in entry and "FAILED" not in entry.get("state", []):
                return str(entry["lladdr"]).lower()
        if not asked:
            asked = True
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                try:
                    sock.sendto(b"", (str(ip), DISCARD_PORT))
                except OSError:
                    return None
        elif not ask or time.monotonic() > deadline:
            return None
        time.sleep(0.05)


def _ip(*arguments: str) -> list[dict[str, Any]]:
    done = subprocess.run(["ip", "-j", *arguments], capture_output=True, text=True, timeout=10, check=False)
    found: list[dict[str, Any]] = json.loads(done.stdout or "[]")
    return [entry for entry in found if entry]  # what it was not asked for, it leaves empty
