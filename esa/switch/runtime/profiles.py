"""Action profiles and selectors as the control plane sees them; members and groups lie in words of generated code."""

from __future__ import annotations

from collections import Counter as Counts
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from esa.switch.compiler.layout import SELECTOR_GROUPS, SELECTOR_SLOTS, ProfilePlace, TablePlace
from esa.switch.compiler.program import Action, TableNode, words_of
from esa.switch.errors import BadEntry, EntryInUse, NoSuchEntry, TableFull
from esa.switch.runtime.growing import Numbers
from esa.switch.runtime.hash_index import word
from esa.switch.runtime.keys import Key, Match
from esa.switch.runtime.tables import FREE, Table, checked_params


@dataclass(frozen=True)
class Member:
    """What an entry names in place of an action: a member of the table's action profile, by number."""

    number: int


@dataclass(frozen=True)
class Group:
    """What an entry names in place of an action: a group of the table's action selector, by number."""

    number: int


@dataclass
class _Group:
    members: tuple[int, ...]
    down: set[int] = field(default_factory=set)  # members that are not chosen for now
    place: int = 0

    @property
    def active(self) -> list[int]:
        return [member for member in self.members if member not in self.down]


class ActionProfile:
    """Members, each an action with parameters, and groups of members of which a packet's hash chooses one.

    Numbers are BMv2's handles, the lowest that is free; a packet with hash h goes to the active member of its group
    that is number h % (active members) by number. Every change is made in place: hold `Pipeline.lock` while packets
    may be running.
    """

    def __init__(
        self, name: str, actions: Sequence[Action], place: ProfilePlace, m64: npt.NDArray[np.int64], selects: bool
    ) -> None:
        self.name = name
        self.actions = tuple(action.name for action in actions)
        self.selects = selects
        self._actions = {action.name: action for action in actions}
        self._place = place
        self._m64 = m64
        self._members: dict[int, tuple[str, tuple[int, ...]]] = {}
        self._groups: dict[int, _Group] = {}
        self._uses: Counts[Member | Group] = Counts()
        self._member_numbers = Numbers(place.rows)
        self._group_numbers = Numbers(SELECTOR_GROUPS)
        self._next_slot = 0
        self._slots_used = 0

    def __repr__(self) -> str:
        return f"<ActionProfile {self.name}, {len(self._members)} members, {len(self._groups)} groups>"

    # --- members ------------------------------------------------------------------------------------------------

    def parameters(self, action: str) -> int:
        """How many parameters an action takes."""
        return len(self._actions[action].params)

    def add_member(self, action: str, params: Sequence[int] = ()) -> int:
        """Add a member; returns its number. Raises BadEntry, TableFull."""
        values = checked_params(f"action profile {self.name}", self._actions, action, params)
        number = self._member_numbers.lowest()
        if number is None:
            raise TableFull(f"action profile {self.name}: all {self._place.rows} members are taken")
        self._member_numbers.take()
        self._write(number, action, values)
        return number

    def modify_member(self, number: int, action: str, params: Sequence[int] = ()) -> None:
        """Change a member's action, for all entries and groups that name it. Raises NoSuchEntry, BadEntry."""
        self.member(number)
        self._write(number, action, checked_params(f"action profile {self.name}", self._actions, action, params))

    def delete_member(self, number: int) -> None:
        """Remove a member. Raises NoSuchEntry, EntryInUse."""
        self.member(number)
        if self._uses[Member(number)]:
            raise EntryInUse(f"action profile {self.name}: member {number} is in use by an entry or a group")
        del self._members[number], self._uses[Member(number)]
        self._member_numbers.free(number)

    def member(self, number: int) -> tuple[str, tuple[int, ...]]:
        """A member's action and parameters. Raises NoSuchEntry."""
        if number not in self._members:
            raise NoSuchEntry(f"action profile {self.name}: no member {number}")
        return self._members[number]

    def members(self) -> dict[int, tuple[str, tuple[int, ...]]]:
        """The actions and parameters of all members, by number."""
        return dict(sorted(self._members.items()))

    # --- groups -------------------------------------------------------------------------------------------------

    def add_group(self, members: Sequence[int] = ()) -> int:
        """Add a group; returns its number. Raises BadEntry where there are no groups, NoSuchEntry, TableFull."""
        if not self.selects:
            raise BadEntry(f"action profile {self.name} has no groups: it is no action selector")
        number = self._group_numbers.lowest()
        if number is None:
            raise TableFull(f"action profile {self.name}: all {SELECTOR_GROUPS} groups are taken")
        self._set_members(number, _Group(()), members)
        self._group_numbers.take()
        return number

    def set_group(self, number: int, members: Sequence[int]) -> None:
        """Change a group's members; those that stay keep their state. Raises NoSuchEntry, BadEntry, TableFull."""
        self._set_members(number, self._group(number), members)

    def delete_group(self, number: int) -> None:
        """Remove a group. Raises NoSuchEntry, EntryInUse."""
        group = self._group(number)
        if self._uses[Group(number)]:
            raise EntryInUse(f"action profile {self.name}: group {number} is in use by an entry")
        self._uses.subtract(Member(member) for member in group.members)
        self._slots_used -= len(group.members)
        del self._groups[number], self._uses[Group(number)]
        self._group_numbers.free(number)
        self._m64[self._place.groups + 2 * number : self._place.groups + 2 * number + 2] = 0

    def group(self, number: int) -> tuple[int, ...]:
        """A group's members, ascending. Raises NoSuchEntry."""
        return self._group(number).members

    def groups(self) -> dict[int, tuple[int, ...]]:
        """The members of all groups, by number."""
        return {number: group.members for number, group in sorted(self._groups.items())}

    def set_down(self, number: int, members: Collection[int]) -> None:
        """Say which of a group's members are not to be chosen for now; all others are. Raises NoSuchEntry."""
        group = self._group(number)
        for member in members:
            if member not in group.members:
                raise NoSuchEntry(f"action profile {self.name}: member {member} is not in group {number}")
        if group.down != set(members):
            group.down = set(members)
            self._write_group(number, group)

    def clear(self) -> None:
        """Remove all groups and members, once no entry refers to them."""
        for number in list(self._groups):
            self.delete_group(number)
        for number in list(self._members):
            self.delete_member(number)

    # --- for tables ---------------------------------------------------------------------------------------------

    def check(self, reference: Any) -> None:
        """Raise BadEntry, NoSuchEntry unless this is a member or group that an entry may name."""
        if isinstance(reference, Member):
            self.member(reference.number)
        elif isinstance(reference, Group) and self.selects:
            self._group(reference.number)
        else:
            allowed = "a Member or Group" if self.selects else "a Member"
            raise BadEntry(f"action profile {self.name}: an entry names {allowed} of it, not {reference!r}")

    def hold(self, reference: Member | Group) -> None:
        """Note that one more entry names it."""
        self._uses[reference] += 1

    def release(self, reference: Member | Group) -> None:
        """Note that an entry does not name it any more."""
        self._uses[reference] -= 1

    # --- words --------------------------------------------------------------------------------------------------

    def _group(self, number: int) -> _Group:
        if number not in self._groups:
            raise NoSuchEntry(f"action profile {self.name}: no group {number}")
        return self._groups[number]

    def _write(self, number: int, action: str, params: tuple[int, ...]) -> None:
        self._members[number] = (action, params)
        self._m64[self._place.actions + number] = self.actions.index(action)
        first = self._place.parameters + number * self._place.params
        each = zip(self._actions[action].params, params, strict=True)
        words = [word(part) for (_, bits), value in each for part in words_of(value, bits)]
        self._m64[first : first + len(words)] = words

    def _set_members(self, number: int, group: _Group, members: Sequence[int]) -> None:
        ordered = tuple(sorted(members))
        for member in ordered:
            self.member(member)
        if len(set(ordered)) != len(ordered):
            raise BadEntry(f"action profile {self.name}: a member is in group {number} twice")
        used = self._slots_used - len(group.members) + len(ordered)
        if used > SELECTOR_SLOTS:
            raise TableFull(f"action profile {self.name}: groups have more than {SELECTOR_SLOTS} members together")
        self._uses.update(Member(member) for member in ordered)
        self._uses.subtract(Member(member) for member in group.members)
        self._slots_used = used
        grows = len(ordered) > len(group.members)
        group.members = ordered
        group.down &= set(ordered)
        self._groups[number] = group
        if grows and self._next_slot + len(ordered) > SELECTOR_SLOTS:
            self._next_slot = 0  # the gaps that groups have left are closed
            for other, each in self._groups.items():
                self._move(each)
                self._write_group(other, each)
            return
        if grows:
            self._move(group)
        self._write_group(number, group)

    def _move(self, group: _Group) -> None:
        group.place = self._place.slots + self._next_slot
        self._next_slot += len(group.members)

    def _write_group(self, number: int, group: _Group) -> None:
        active = group.active
        self._m64[group.place : group.place + len(active)] = active
        at = self._place.groups + 2 * number
        self._m64[at : at + 2] = [group.place, len(active)]


class IndirectTable(Table):
    """A table with an action profile: `action` of its entries, and of its default, is a Member or Group of it."""

    def __init__(
        self, node: TableNode, actions: Sequence[Action], place: TablePlace, m64: npt.NDArray[np.int64],
        profile: ActionProfile,
    ) -> None:  # fmt: skip
        self.profile = profile
        super().__init__(node, actions, place, m64)

    def insert(
        self,
        key: Key,
        action: Any,
        params: Sequence[int],
        priority: int,
        guard: AbstractContextManager[object] = FREE,
        match: Match | None = None,
    ) -> int:
        """Add an entry that names a Member or Group. Raises DuplicateEntry, TableFull, BadEntry, NoSuchEntry."""
        row = super().insert(key, action, params, priority, guard, match)
        self.profile.hold(action)
        return row

    def change(
        self, row: int, action: Any, params: Sequence[int], guard: AbstractContextManager[object] = FREE
    ) -> None:
        """Let an entry name another Member or Group. Raises NoSuchEntry, BadEntry."""
        before = self.entry(row).action
        super().change(row, action, params, guard)
        self.profile.hold(action)
        self._release(before)

    def remove(self, row: int, guard: AbstractContextManager[object] = FREE) -> None:
        """Remove an entry."""
        before = self.entry(row).action
        super().remove(row, guard)
        self._release(before)

    def clear(self) -> None:
        """Remove every entry."""
        before = [entry.action for entry in self.entries()]
        super().clear()
        for reference in before:
            self._release(reference)

    def set_default(self, action: Any, params: Sequence[int] = ()) -> None:
        """Let packets that match no entry get a Member or Group. Raises NoSuchEntry, BadEntry."""
        before = self._default
        super().set_default(action, params)
        self.profile.hold(action)
        if before is not None:
            self._release(before[0])

    def reset_default(self) -> None:
        """Back to no action for packets that match no entry."""
        before = self._default
        super().reset_default()
        if before is not None:
            self._release(before[0])

    def _release(self, reference: Any) -> None:
        self.profile.release(reference)

    def _check_action(self, action: Any, params: Sequence[int]) -> tuple[int, ...]:
        self.profile.check(action)
        if params:
            raise BadEntry(f"table {self.name}: a member or group takes no parameters")
        return ()

    def _write_action(self, row: int, action: Any, params: Sequence[int]) -> None:
        number = action.number
        self._m64[self._place.actions + row] = number if isinstance(action, Member) else -2 - number
