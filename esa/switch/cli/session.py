"""What commands share while they run: the switch, names, and the numbers that entries have here (handles)."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field
from typing import Any

from esa.p4runtime import p4runtime_pb2
from esa.switch.cli.client import DELETE, CommandError, SwitchClient
from esa.switch.cli.names import Names

Prepared = Callable[[], None]
"""A command that was read and checked, to be carried out."""
_HANDLE = b"handle "


class Handles:
    """The entries of one table by handle, the lowest free number for a new one.

    P4Runtime's entries have none: it travels with the entry, as its metadata, and is there for the next run. An entry
    that another client wrote, or the program has, gets the lowest free one for as long as this lives.
    """

    def __init__(self, entries: Sequence[Any]) -> None:
        self._entries: dict[int, Any] = {}
        self._free = 0  # none is free below
        others = []
        for entry in entries:
            handle = _handle_of(entry)
            if handle is None or handle in self._entries:
                others.append(entry)
            else:
                self._entries[handle] = entry
        for entry in others:
            self._entries[self.free()] = entry

    def free(self) -> int:
        """The lowest number that no entry has."""
        self._free = lowest_free(self._entries, self._free)
        return self._free

    def __len__(self) -> int:
        return len(self._entries)

    def items(self) -> list[tuple[int, Any]]:
        return sorted(self._entries.items())

    def add(self, entry: Any, write: Callable[[Any], None]) -> int:
        """Write a new entry and return its handle."""
        handle = self.free()
        entry.metadata = _HANDLE + str(handle).encode()
        write(entry)
        self._entries[handle] = entry
        return handle

    def find(self, table: str, handle: int) -> Any:
        """A copy of the entry; CommandError if there is none."""
        if handle not in self._entries:
            raise CommandError(f"table {table} has no entry {handle}; {allowed(self._entries)}")
        entry = p4runtime_pb2.TableEntry()
        entry.CopyFrom(self._entries[handle])
        return entry

    def forget(self, handle: int) -> None:
        del self._entries[handle]
        self._free = min(self._free, handle)


def _handle_of(entry: Any) -> int | None:
    text = entry.metadata.removeprefix(_HANDLE)
    return int(text) if text != entry.metadata and text.isdigit() and len(text) < 10 else None


def lowest_free(taken: Container[int], first: int = 0) -> int:
    handle = first
    while handle in taken:
        handle += 1
    return handle


def allowed(numbers: Any, most: int = 16) -> str:
    """What there is, for a message."""
    some = sorted(numbers)
    return "allowed: " + (", ".join(map(str, some[:most])) + (", ..." if len(some) > most else "") or "none yet")


@dataclass
class Session:
    """`say` is told what a command prints."""

    client: SwitchClient
    names: Names
    say: Callable[[str], None]
    _handles: dict[int, Handles] = field(default_factory=dict)
    kept: dict[str, Any] = field(default_factory=dict)  # what a group of commands keeps

    def handles(self, table: Any) -> Handles:
        """The entries of a table, read when first asked for."""
        id_ = table.preamble.id
        if id_ not in self._handles:
            self._handles[id_] = Handles(self.entries(table))
        return self._handles[id_]

    def reread(self, table: Any) -> Handles:
        """The same, as the switch has them now."""
        self._handles.pop(table.preamble.id, None)
        return self.handles(table)

    def entries(self, table: Any, *, default: bool = False) -> list[Any]:
        """The entries of a table, or its default one, as TableEntry."""
        entity = p4runtime_pb2.Entity()
        entity.table_entry.table_id, entity.table_entry.is_default_action = table.preamble.id, default
        return [found.table_entry for found in self.client.read(entity)]

    def write_entry(self, kind: int, entry: Any) -> None:
        """Carry out one update of a table."""
        entity = p4runtime_pb2.Entity()
        entity.table_entry.CopyFrom(entry)
        if kind == DELETE:
            for name in ("action", "metadata", "is_const", "idle_timeout_ns"):
                entity.table_entry.ClearField(name)
        entity.table_entry.is_const = False
        self.client.write(kind, entity)

    def forget(self) -> None:
        """Everything on the switch may have changed."""
        self._handles.clear()
        self.kept.clear()
