"""A fragment's packets under way, as a simulation's lines have them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from esa.fabric import Graph
from esa.job import Run
from esa.report import life as words
from esa.sim.engine.lines import NONE
from esa.sim.loop import SimState
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


class Senders:
    """Names of who sends in a run. server: what its PS is called; graph: of the network, whose switches have names."""

    def __init__(self, run: Run, server: str, graph: Graph) -> None:
        self._run = run
        self._names = {int(graph.nodes[k].ip): graph.nodes[k].name for k in graph.switches}
        self._names |= {int(member.ip): f"rank {rank}" for rank, member in enumerate(run.workers)}
        self._names |= {int(member.ip): server for member in run.servers}

    def at(self, address: int) -> str:
        """Who has an IPv4 address: a rank, a PS, a switch."""
        return self._names.get(address, "switch")

    def whose(self, packet: Packet) -> str:
        """Of which workers the packet is, or holds a sum: up to three by name."""
        bitmap0, bitmap1 = int(packet.header["bitmap0"]), int(packet.header["bitmap1"])
        if is_sum(packet) or bitmap1.bit_count() > 1:
            racks = [self.at(int(rack.switch_ip)) for k, rack in enumerate(self._run.racks) if bitmap1 >> k & 1]
            return f"the sum{'' if len(racks) == 1 else 's'} of {', '.join(racks)}"
        places = [self._run.place(rank) for rank in range(self._run.fan_in)]
        ranks = [rank for rank, (rack, bit) in enumerate(places) if bitmap1 >> rack & bitmap0 >> bit & 1]
        if 1 <= len(ranks) <= 3:
            return ", ".join(f"rank {rank}" for rank in ranks)
        return workers_in(bitmap0)


def cable_of(sim: SimState, buffer: int, cables: int) -> int | None:
    """The line that a packet is on; None: it is in a host's processor, or held by a fault. cables: of the network."""
    last = buffer
    while (following := int(sim.pool.descriptor[last]["next"])) != NONE:
        last = following
    found = np.flatnonzero((sim.lines["tail"] == last) & (sim.lines["head"] != NONE))
    return int(found[0]) if len(found) and found[0] < 2 * cables else None


def workers_in(bitmap: int) -> str:
    """How many workers a bitmap names, as a person would say."""
    number = bitmap.bit_count()
    return f"{number} worker{'' if number == 1 else 's'}"


def told_of_server(kind: Kind, to: str) -> tuple[str, str] | None:
    """What a PS does by sending a packet."""
    return {
        Kind.REMINDER: (words.REMINDED, "asks the switch for what it holds"),
        Kind.QUERY: (words.QUERIED, f"asks {to} for its part, or the result"),
        Kind.RESULT: (words.RESULT, "sends the sum"),
    }.get(kind)


def came_to_server(packet: Packet, whose: str) -> tuple[str, str] | None:
    """What a PS gets by a packet."""
    flags = Flag(int(packet.header["flags"]))
    again = ", sent again" if Flag.RESEND in flags else ""
    met = ", which met another's row" if Flag.COLLISION in flags else ""
    return {
        Kind.GRADIENT: (words.RECEIVED, f"{whose}{again}{met}"),
        Kind.PARTIAL: (words.RECEIVED, f"a sum of {whose}"),
        Kind.MISS: (words.MISSED, "the switch holds nothing of it"),
        Kind.RESULT: (words.RECEIVED, "a worker answers with the sum" if Flag.ANSWER in flags else "the sum"),
    }.get(kind_of(packet))


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
