"""An STF on a switch, command after command, in the order of the file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from tests.p4.stf.entries import Entry, entry, tables_of
from tests.p4.stf.replication import Replication
from tests.p4.stf.script import COMPARISONS, Add, CheckCounter, Cli, Command, Packet, SetDefault, number


class Switch(Protocol):
    """What a script does to a switch that runs its program."""

    def send(self, port: int, packet: bytes) -> None:
        """Let a packet in."""

    def settle(self) -> None:
        """Wait until the packets sent so far are through."""

    def write(self, new: Entry) -> None:
        """Add an entry, or set a default."""

    def replicate(self, replication: Replication) -> None:
        """Have these groups and sessions, and no others."""

    def write_register(self, name: str, index: int | None, value: int) -> None:
        """Write a cell, or all."""

    def write_counter(self, name: str, index: int, packets: int, size: int) -> None:
        """Write a cell."""

    def count(self, counter: str, cell: int | Entry) -> tuple[int, int]:
        """Packets and bytes of a cell, or of an entry."""


def play(switch: Switch, program: Mapping[str, Any], commands: Sequence[Command]) -> None:
    """Run commands. Raises ValueError where the program has not what one names, or a counter is not as one says."""
    tables, replication = tables_of(program), Replication()
    labels: dict[str, Entry] = {}
    for command in commands:
        if isinstance(command, Packet):
            switch.send(command.port, command.data)
            continue
        switch.settle()
        if isinstance(command, (Add, SetDefault)):
            new = entry(tables, command)
            switch.write(new)
            if isinstance(command, Add):
                labels[command.label] = new
        elif isinstance(command, CheckCounter):
            cell = int(command.cell) if command.cell.isdigit() else labels[command.cell.lstrip("$")]
            check(command, switch.count(command.counter, cell))
        elif isinstance(command, Cli):
            _cli(switch, replication, command)


def check(command: CheckCounter, found: tuple[int, int]) -> None:
    """Raise ValueError if what is found, packets and bytes, is not what a command says."""
    count = found[command.unit == "bytes"]
    if not COMPARISONS[command.comparison](count, command.count):
        raise ValueError(f"counter {command.counter}({command.cell}): {count} {command.unit}, not {command.comparison}"
                         f" {command.count}")  # fmt: skip


def _cli(switch: Switch, replication: Replication, command: Cli) -> None:
    name, *words = command.words
    if name.startswith(("mc_", "mirroring_")):
        replication.command(name, [number(word) for word in words])
        switch.replicate(replication)
    elif name == "register_write":
        switch.write_register(words[0], number(words[1]), number(words[2]))
    elif name == "register_reset":
        switch.write_register(words[0], None, 0)
    elif name == "counter_write":
        switch.write_counter(words[0], number(words[1]), number(words[2]), number(words[3]))
    elif name not in ("register_read", "counter_read", "meter_get_rates"):  # reads print, and are not compared
        raise ValueError(f"{name} is not known to this runner")
