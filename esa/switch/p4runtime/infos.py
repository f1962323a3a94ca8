"""What a P4Info says of tables, arrays and value sets, each with what it is of the loaded program."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from esa.switch.p4runtime.action_profiles import ProfileEntries
from esa.switch.p4runtime.actions import ActionInfo
from esa.switch.p4runtime.idle import IdleTimeouts
from esa.switch.p4runtime.translation import Strings

# Match kinds by which entries can overlap, so that a priority has to choose.
_NEEDS_PRIORITY = frozenset(("ternary", "range", "optional"))


@dataclass(frozen=True)
class FieldInfo:
    """One field of a table's key: `match` as P4Runtime sees it, `compiled` as the loaded table does."""

    id: int
    name: str
    match: str
    compiled: str
    bits: int
    strings: Strings | None = None  # where its values have names


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
    def by_id(self) -> Mapping[int, tuple[FieldInfo, str]]:
        """The fields by id, in their order, and what errors call them."""
        return {field.id: (field, f"{self.owner}, field {field.name}") for field in self.fields}

    @cached_property
    def plain(self) -> bool:
        """Whether an entry is a match and an action, and nothing else that packets meet."""
        return self.profile is None and self.direct_meter is None and self.idle is None

    @cached_property
    def needs_priority(self) -> bool:
        return any(field.match in _NEEDS_PRIORITY for field in self.fields)

    def action_named(self, name: str) -> ActionInfo:
        return next(action for action in self.actions.values() if action.name == name)


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
