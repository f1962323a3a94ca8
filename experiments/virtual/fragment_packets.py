"""A fragment's packets under way, as a simulation's lines have them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from esa.wire import Flag, Kind


class Packet(NamedTuple):
    """One that is under way. line: that it is on; switch: at whose end, NONE: a host's; start: who sent it.

    source, destination: IPv4 addresses.
    """

    buffer: int
    arrive_ns: int
    header: Any
    source: int
    destination: int
    line: int
    switch: int
    start: str


def kind_of(packet: Packet) -> Kind:
    return Kind(int(packet.header["version_kind"]) & 15)


def is_sum(packet: Packet) -> bool:
    """Whether it is a rack's sum, to be added up over racks."""
    return Flag.LEVEL1 in Flag(int(packet.header["flags"]))


def arrivals_at_once(packets: list[Packet]) -> Iterator[list[Packet]]:
    """Those of a kind that arrive at one place in one nanosecond, together."""
    found: dict[object, list[Packet]] = {}
    for one in packets:
        key = one.arrive_ns, one.switch, kind_of(one), int(one.header["index"]), int(one.header["flags"])
        found.setdefault(key, []).append(one)
    yield from found.values()
