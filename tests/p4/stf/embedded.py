"""An STF on the embedded switch, in this process."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from esa.switch import Pipeline
from tests.p4.stf.entries import Entry, whole_name
from tests.p4.stf.play import play
from tests.p4.stf.replication import Replication
from tests.p4.stf.script import Command

_PACKET_INTERVAL_US = 1000


def run(pipeline: Pipeline, program: dict[str, Any], commands: Sequence[Command]) -> dict[int, list[bytes]]:
    """The packets that left, by port. Raises ValueError as `play` does."""
    switch = _InProcess(pipeline)
    play(switch, program, commands)
    return switch.sent


class _InProcess:
    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._now_us = 0
        self.sent: dict[int, list[bytes]] = defaultdict(list)

    def send(self, port: int, packet: bytes) -> None:
        self._now_us += _PACKET_INTERVAL_US
        for egress, copy in self._pipeline.process(port, packet, self._now_us):
            self.sent[egress].append(copy)

    def settle(self) -> None:
        """Nothing: whatever is sent is through."""

    def write(self, new: Entry) -> None:
        table = self._pipeline.tables[new.table]
        if new.match is None:
            table.set_default(new.action, new.params)
        else:
            table.add(new.match, new.action, new.params, new.priority or 0)

    def replicate(self, replication: Replication) -> None:
        for group, copies in replication.groups().items():
            self._pipeline.multicast.set(group, copies)
        sessions = self._pipeline.clone_sessions
        if sessions is None:  # a program that does not clone
            return
        sessions.clear()
        for session, copies in replication.sessions().items():
            sessions.set(session, copies)

    def write_register(self, name: str, index: int | None, value: int) -> None:
        register = self._pipeline.registers[name]
        for cell in range(register.size) if index is None else [index]:
            register.write(cell, value)

    def write_counter(self, name: str, index: int, packets: int, size: int) -> None:
        counter = self._pipeline.counters[name]
        counter.packets[index], counter.bytes[index] = packets, size

    def count(self, counter: str, cell: int | Entry) -> tuple[int, int]:
        pipeline = self._pipeline
        if isinstance(cell, int):
            found, index = pipeline.counters[whole_name(counter, pipeline.counters, "counter")], cell
        else:
            assert cell.match is not None
            found = pipeline.direct_counters[cell.table]
            index = pipeline.tables[cell.table].row(cell.match, cell.priority or 0)
        return int(found.packets[index]), int(found.bytes[index])
