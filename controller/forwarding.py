"""Plain forwarding on one switch: which host is on which port, and broadcasts to all of them."""

from __future__ import annotations

from collections.abc import Mapping

from controller.client import Switch
from esa.entries import job_entries as e
from esa.errors import AlreadyExists, Refused

ATTEMPTS = 8  # against other controllers that write the same at the same time


def hosts(switch: Switch) -> dict[str, int]:
    """Return MAC address -> switch port."""
    found = switch.read_entries([e.DESTINATION])
    return {e.mac_text(entry.match[0]): entry.params[0] for entry in found if entry.action == e.FORWARD}


def add_hosts(switch: Switch, ports: Mapping[str, int]) -> None:
    """Forward frames for these MAC addresses to their ports, and flood broadcasts there too.

    Hosts that are there already stay, one that moved is moved.
    """
    for attempt in range(ATTEMPTS):
        try:
            _add_entries(switch, ports)
            _flood_everywhere(switch)
            return
        except AlreadyExists:  # another controller adds some of them, too
            if attempt == ATTEMPTS - 1:
                raise


def _add_entries(switch: Switch, ports: Mapping[str, int]) -> None:
    existing = {entry.match: entry for entry in switch.read_entries([e.DESTINATION])}
    wanted = [e.host_entry(mac, port) for mac, port in ports.items()] + [e.broadcast_entry()]
    switch.insert([entry for entry in wanted if entry.match not in existing])
    switch.modify([entry for entry in wanted if existing.get(entry.match, entry) != entry])


def _flood_everywhere(switch: Switch) -> None:
    # A group is written whole, so of two controllers that add hosts at a time the second would undo the first's
    # port. Each looks again after it wrote, and hosts are there before their ports: whoever writes last sees all.
    for _ in range(ATTEMPTS):
        flood = next((group for group in switch.read_groups() if group.id == e.FLOOD_GROUP), None)
        flooded = {replica.port for replica in flood.replicas} if flood else set()
        ports = set(hosts(switch).values())
        if flood is not None and flooded >= ports:
            return
        (switch.insert if flood is None else switch.modify)([e.flood_group(flooded | ports)])
    raise Refused(f"hosts: other controllers change them all the time on the switch at {switch.address}")
