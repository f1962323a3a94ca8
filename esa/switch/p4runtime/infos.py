"""What a P4Info says of tables, arrays and value sets, each with what it is of the loaded program."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from esa.switch.p4runtime.action_profiles import ProfileEntries
from esa.switch.p4runtime.actions import ActionInfo
from esa.switch.p4runtime.idle import IdleTimeouts
from esa.switch.p4runtime.match_fields import FieldInfo, Read, left_out, reader
from esa.switch.p4runtime.status import Code, P4RuntimeError
from esa.switch.runtime.keys import Key

# Match kinds by which entries can overlap, so that a priority has to choose.
_NEEDS_PRIORITY = frozenset(("ternary", "range", "optional"))


@dataclass(frozen=True)
class TableInfo:
    """A table: its P4Info, and the loaded table itself."""

    id: int
    name: str
    fields: tuple[FieldInfo, ...]
    actions: Mapping[int, ActionInfo]
    default_only: frozenset[int]
    table_only: frozenset[int]
    constant: bool  # its entries cannot be changed
    const_entries: bool  # and the program says so itself
    constant_default: bool
    table: Any
    direct_counter: Any  # None if it has none
    direct_meter: ArrayInfo | None = None
    idle: IdleTimeouts | None = None  # where its entries can have idle time-outs
    profile: ProfileEntries | None = None  # where its entries name members and groups

    @cached_property
    def owner(self) -> str:
        """What errors call it."""
        return f"table {self.name}"

    @cached_property
    def readers(self) -> Mapping[int, tuple[Read, FieldInfo, str]]:
        """What reads each field's match, the field and what errors call it; by its id, in their order."""
        named = {field: f"{self.owner}, field {field.name}" for field in self.fields}
        return {field.id: (reader(what, field), field, what) for field, what in named.items()}

    @cached_property
    def plain(self) -> bool:
        """Whether an entry is a match and an action, and nothing else that packets meet."""
        return self.profile is None and self.direct_meter is None and self.idle is None

    @cached_property
    def needs_priority(self) -> bool:
        return any(field.match in _NEEDS_PRIORITY for field in self.fields)

    def action_named(self, name: str) -> ActionInfo:
        return next(action for action in self.actions.values() if action.name == name)

    def refuse(self, code: Any, reason: str) -> P4RuntimeError:
        """The error to raise for what the table refuses."""
        return P4RuntimeError(code, f"{self.owner}: {reason}")

    def invalid(self, reason: str) -> P4RuntimeError:
        """The same with INVALID_ARGUMENT."""
        return self.refuse(Code.INVALID_ARGUMENT, reason)

    def key_of(self, entry: Any) -> Key:
        """The key of a TableEntry in the loaded table; INVALID_ARGUMENT where it breaks a rule."""
        readers = self.readers
        given: dict[int, Any] = {}
        for match in entry.match:
            field_id = match.field_id
            if field_id not in readers:
                raise self.invalid(f"no key field has the id {field_id}")
            if field_id in given:
                raise self.invalid(f"field {readers[field_id][1].name} occurs twice")
            given[field_id] = match
        priority = entry.priority
        numbers: list[int] = []
        if self.needs_priority:
            if priority <= 0:
                raise self.invalid("its entries need a priority above 0")
        elif priority:
            raise self.invalid("its entries have no priority")
        for id_, (read, field, what) in readers.items():
            numbers += read(given[id_]) if id_ in given else left_out(what, field)
        if self.needs_priority:
            numbers.append(priority)
        return tuple(numbers)


@dataclass(frozen=True)
class ArrayInfo:
    """An array of cells: `kind` is counter, what a register holds (bit, int, bool), a meter's rates (one, two)."""

    id: int
    name: str
    size: int
    kind: str
    array: Any


@dataclass(frozen=True)
class ValueSetInfo:
    """A parser value set: its P4Info, and the loaded one itself."""

    id: int
    name: str
    size: int
    fields: tuple[FieldInfo, ...]
    values: Any
