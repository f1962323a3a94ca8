"""An STF on the embedded switch, in this process."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from esa.switch import Pipeline
from tests.p4.stf.entries import Entry, entry, tables_of, whole_name
from tests.p4.stf.script import COMPARISONS, Add, CheckCounter, Cli, Command, Packet, SetDefault, number

_PACKET_INTERVAL_US = 1000


class Replication:
    """simple_switch's replication engine as its CLI builds it: groups of nodes, sessions to ports or to groups."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._nodes: list[tuple[int, list[int]]] = []  # by handle: (rid, ports)
        self._groups: dict[int, list[int]] = {}
        self._port_sessions: dict[int, int] = {}
        self._group_sessions: dict[int, int] = {}

    def command(self, name: str, arguments: Sequence[int]) -> None:
        if name == "mc_mgrp_create":
            self._groups[arguments[0]] = []
        elif name == "mc_node_create":
            self._nodes.append((arguments[0], list(arguments[1:])))
        elif name == "mc_node_update":
            self._nodes[arguments[0]] = (self._nodes[arguments[0]][0], list(arguments[1:]))
        elif name == "mc_node_associate":
            self._groups[arguments[0]].append(arguments[1])
        elif name == "mirroring_add":
            self._port_sessions[arguments[0]] = arguments[1]
        elif name == "mirroring_add_mc":
            self._group_sessions[arguments[0]] = arguments[1]
        elif name == "mirroring_delete":
            self._port_sessions.pop(arguments[0], None)
            self._group_sessions.pop(arguments[0], None)
        self._apply()

    def _copies(self, group: int) -> list[tuple[int, int]]:
        nodes = (self._nodes[handle] for handle in self._groups.get(group, ()))
        return [(port, rid) for rid, ports in nodes for port in ports]

    def _apply(self) -> None:
        for group in self._groups:
            self._pipeline.multicast.set(group, self._copies(group))
        sessions = self._pipeline.clone_sessions
        if sessions is None:  # a program that does not clone
            return
        sessions.clear()
        for session in self._port_sessions.keys() | self._group_sessions.keys():
            copies = self._copies(self._group_sessions[session]) if session in self._group_sessions else []
            if session in self._port_sessions:
                copies.append((self._port_sessions[session], 0))
            sessions.set(session, copies)


def run(pipeline: Pipeline, program: dict[str, Any], commands: Sequence[Command]) -> dict[int, list[bytes]]:
    """The packets that left, by port.

    Raises ValueError where the program has not what a command names, or a counter is not as a command says.
    """
    tables = tables_of(program)
    replication = Replication(pipeline)
    sent: dict[int, list[bytes]] = defaultdict(list)
    labels: dict[str, Entry] = {}
    now_us = 0
    for command in commands:
        if isinstance(command, Packet):
            now_us += _PACKET_INTERVAL_US
            for port, packet in pipeline.process(command.port, command.data, now_us):
                sent[port].append(packet)
        elif isinstance(command, Add):
            new = entry(tables, command)
            assert new.match is not None
            pipeline.tables[new.table].add(new.match, new.action, new.params, new.priority or 0)
            labels[command.label] = new
        elif isinstance(command, SetDefault):
            new = entry(tables, command)
            pipeline.tables[new.table].set_default(new.action, new.params)
        elif isinstance(command, CheckCounter):
            _check(pipeline, labels, command)
        elif isinstance(command, Cli):
            _cli(pipeline, replication, command)
    return sent


def _check(pipeline: Pipeline, labels: Mapping[str, Entry], command: CheckCounter) -> None:
    if command.cell.isdigit():
        counter, index = pipeline.counters[whole_name(command.counter, pipeline.counters, "counter")], int(command.cell)
    else:
        counted = labels[command.cell.lstrip("$")]
        assert counted.match is not None
        counter = pipeline.direct_counters[counted.table]
        index = pipeline.tables[counted.table].row(counted.match, counted.priority or 0)
    count = int((counter.packets if command.unit == "packets" else counter.bytes)[index])
    if not COMPARISONS[command.comparison](count, command.count):
        raise ValueError(f"counter {command.counter}({command.cell}): {count} {command.unit}, not {command.comparison}"
                         f" {command.count}")  # fmt: skip


def _cli(pipeline: Pipeline, replication: Replication, command: Cli) -> None:
    name, *words = command.words
    if name.startswith(("mc_", "mirroring_")):
        replication.command(name, [number(word) for word in words])
    elif name == "register_write":
        pipeline.registers[words[0]].write(number(words[1]), number(words[2]))
    elif name == "register_reset":
        pipeline.registers[words[0]].clear()
    elif name == "counter_write":
        counter, index = pipeline.counters[words[0]], number(words[1])
        counter.packets[index], counter.bytes[index] = number(words[2]), number(words[3])
    elif name not in ("register_read", "counter_read", "meter_get_rates"):  # reads print, and are not compared
        raise ValueError(f"{name} is not known to this runner")
