"""Keys that scenarios had before live runs and virtual time took the same file: refused with what replaced them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

REPLACED = {
    "switch": "live.switch",
    "topology": "network.racks; without it there is one rack",
    "give_up_s": "timers.give_up_s",
    "links.worker_mbps": 'network.rate, as "20 Mb/s"',
    "links.server_mbps": 'network.server_rate, as "20 Mb/s", where it is not network.rate',
    "links.hosts": 'network.rates, as { mlp-0 = "5 Mb/s" }',
    "links": "network",
    "wire_lanes": "lanes",
    "sample_us": "virtual.sample_us",
    "limit_s": "virtual.limit_s",
    "hosts.send_ns": "virtual.send_ns",
    "hosts.receive_ns": "virtual.receive_ns",
    "hosts.server_ns": "virtual.server_ns",
    "hosts": "virtual, or network.hosts",
    "network.gbps": 'network.rate, as "100 Gb/s"',
    "network.spine_gbps": 'network.spine_rate, as "400 Gb/s"',
    "network.switch_ns": "virtual.switch_ns",
    "jobs.overlap": 'order, "ddp" (false) or "front-first" (true)',
    "job_defaults.overlap": 'order, "ddp" (false) or "front-first" (true)',
}
_OF_LANES = {0: "virtual.carry_gradients = false, and lanes of a packet"}


def check_former_keys(data: Mapping[str, Any]) -> None:
    """ValueError names the first former key of a file's table, and its successor."""
    found = dict(_keys(data))
    # "links.worker_mbps" says more than "links", so keys inside a table come before it.
    for path in sorted(found, key=lambda path: -path.count(".")):
        plain = found[path]
        if plain in REPLACED:
            raise ValueError(f"{path}: is no key any more; replaced by {REPLACED[plain]}")
    if isinstance(data.get("lanes"), int) and data["lanes"] in _OF_LANES:
        raise ValueError(f"lanes: {data['lanes']}; replaced by {_OF_LANES[data['lanes']]}; allowed: 64, 256")


def _keys(table: Mapping[str, Any], path: str = "", plain: str = "") -> Iterator[tuple[str, str]]:
    """(path as people write it, path without numbers) of every key, in the order of the file."""
    for name, value in table.items():
        here, there = f"{path}{name}", f"{plain}{name}"
        yield here, there
        if isinstance(value, Mapping):
            yield from _keys(value, f"{here}.", f"{there}.")
        elif isinstance(value, (list, tuple)):
            for i, item in enumerate(value):
                if isinstance(item, Mapping):
                    yield from _keys(item, f"{here}[{i}].", f"{there}.")
