"""Members and groups of one action profile over P4Runtime, and one-shot sets of actions (P4Runtime 1.4, 9.2, 9.2.3).

A member of weight w in some group is w members of the loaded profile, as BMv2's P4Runtime server has it: so the numbers
of members, and with them the member that a packet's hash chooses, are the same after the same writes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from esa.p4runtime import p4runtime_pb2
from esa.switch.compiler.layout import SELECTOR_COPIES
from esa.switch.errors import TableError
from esa.switch.p4runtime.actions import ActionInfo, parse_action
from esa.switch.p4runtime.status import Code, P4RuntimeError, refusal
from esa.switch.p4runtime.translation import Translation, port_of
from esa.switch.runtime.device import Ports
from esa.switch.runtime.profiles import ActionProfile, Group, Member

Update = p4runtime_pb2.Update
_PORT_BITS = 9
_Set = p4runtime_pb2.ActionProfileActionSet


@dataclass
class _MemberState:
    message: Any
    numbers: list[int]  # in the loaded profile: one, and a copy for each further weight
    weights: dict[int, int] = field(default_factory=dict)  # by group id


@dataclass
class _GroupState:
    message: Any
    number: int
    watched: dict[int, int] = field(default_factory=dict)  # members' numbers in the loaded profile: port


class ProfileEntries:
    """What clients wrote to one action profile. `info` is its P4Info, `actions` those of its tables by id."""

    def __init__(
        self,
        info: Any,
        actions: Mapping[int, ActionInfo],
        profile: ActionProfile,
        ports: Ports,
        translation: Translation,
    ) -> None:
        self.id: int = info.preamble.id
        self.name: str = info.preamble.name
        self.profile = profile
        self._info = info
        self._actions = actions
        self._members: dict[int, _MemberState] = {}
        self._groups: dict[int, _GroupState] = {}
        self._one_shots: dict[int, _GroupState] = {}  # by group number
        self._member_ids: dict[int, int] = {}  # of the first number of each
        self._group_ids: dict[int, int] = {}
        self._ports = ports
        self._translation = translation

    def _error(self, code: Any, reason: str) -> P4RuntimeError:
        return P4RuntimeError(code, f"action profile {self.name}: {reason}")

    def _invalid(self, reason: str) -> P4RuntimeError:
        return self._error(Code.INVALID_ARGUMENT, reason)

    # --- members ------------------------------------------------------------------------------------------------

    def write_member(self, update_type: int, entry: Any) -> None:
        """Carry out one update of a member; the caller holds the data plane still."""
        known = self._known(self._members, update_type, entry.member_id, "member")
        try:
            if update_type == Update.DELETE:
                self._delete_member(entry.member_id, known)
                return
            if not entry.HasField("action"):
                raise self._invalid("a member needs an action")
            action, params = self._action(entry.action)
            if known is None:
                self._insert_member(entry, action, params)
                return
            for number in known.numbers:
                self.profile.modify_member(number, action, params)
            known.message = deepcopy(entry)
        except TableError as error:
            raise refusal(error) from None

    def _insert_member(self, entry: Any, action: str, params: Sequence[int]) -> None:
        if self._one_shots:
            raise self._invalid("its tables have one-shot entries: members and groups do not go with them")
        if len(self._members) >= max(self._info.size, 1):
            raise self._error(Code.RESOURCE_EXHAUSTED, f"all {self._info.size} members are taken")
        number = self.profile.add_member(action, params)
        self._members[entry.member_id] = _MemberState(deepcopy(entry), [number])
        self._member_ids[number] = entry.member_id

    def _delete_member(self, id_: int, known: Any) -> None:
        if known.weights:
            raise self._error(Code.FAILED_PRECONDITION, f"member {id_} is in group {min(known.weights)}")
        self.profile.delete_member(known.numbers[0])
        del self._members[id_], self._member_ids[known.numbers[0]]

    def _action(self, given: Any) -> tuple[str, list[int]]:
        return parse_action(f"action profile {self.name}", self._actions, given)

    def _known(self, states: Mapping[int, Any], update_type: int, id_: int, what: str) -> Any:
        """The state of an id, None for one that is new; refuses what does not go with the kind of update."""
        if id_ == 0:
            raise self._invalid(f"0 is no {what} id")
        known = states.get(id_)
        if update_type == Update.INSERT and known is not None:
            raise self._error(Code.ALREADY_EXISTS, f"{what} {id_} exists already: use MODIFY")
        if update_type != Update.INSERT and known is None:
            raise self._error(Code.NOT_FOUND, f"there is no {what} {id_}")
        return known

    # --- groups -------------------------------------------------------------------------------------------------

    def write_group(self, update_type: int, entry: Any) -> None:
        """Carry out one update of a group; the caller holds the data plane still."""
        if not self.profile.selects:
            raise self._invalid("it has no groups: it is no action selector")
        known = self._known(self._groups, update_type, entry.group_id, "group")
        try:
            if update_type == Update.DELETE:
                self._delete_group(entry.group_id, known)
            else:
                self._set_group(entry, known)
        except TableError as error:
            raise refusal(error) from None

    def _set_group(self, entry: Any, known: _GroupState | None) -> None:
        if known is None and self._one_shots:
            raise self._invalid("its tables have one-shot entries: members and groups do not go with them")
        what, weights = f"group {entry.group_id}", {}
        for member in entry.members:
            if member.member_id in weights:
                raise self._invalid(f"{what}: member {member.member_id} occurs twice")
            if member.member_id not in self._members:
                raise self._error(Code.NOT_FOUND, f"{what}: there is no member {member.member_id}")
            weights[member.member_id] = self._weight(member, what)
        ports = {member.member_id: self._port(member, what) for member in entry.members}
        self._check_size(self._max_size(entry, known), weights.values(), what, Code.RESOURCE_EXHAUSTED)
        touched = sorted({*weights, *(m.member_id for m in known.message.members)} if known is not None else weights)
        try:
            for id_ in touched:
                self._copy_member(self._members[id_], weights.get(id_, 0))
            numbers = {n: ports[id_] for id_, weight in weights.items() for n in self._members[id_].numbers[:weight]}
            if known is None:
                known = _GroupState(None, self.profile.add_group(list(numbers)))
                self._groups[entry.group_id] = known
                self._group_ids[known.number] = entry.group_id
            else:
                self.profile.set_group(known.number, list(numbers))
        except TableError:
            self._drop_copies(touched)
            raise
        max_size = entry.max_size or (known.message.max_size if known.message is not None else 0)
        known.message = deepcopy(entry)
        known.message.max_size = max_size
        known.message.action_profile_id = self.id
        for id_ in touched:
            self._members[id_].weights.pop(entry.group_id, None)
            if id_ in weights:
                self._members[id_].weights[entry.group_id] = weights[id_]
        self._watch(known, numbers)
        self._drop_copies(touched)

    def _delete_group(self, id_: int, known: Any) -> None:
        self.profile.delete_group(known.number)
        touched = sorted(member.member_id for member in known.message.members)
        for member in touched:
            del self._members[member].weights[id_]
        self._drop_copies(touched)
        del self._groups[id_], self._group_ids[known.number]

    def _copy_member(self, state: _MemberState, weight: int) -> None:
        while len(state.numbers) < weight:
            state.numbers.append(self.profile.add_member(*self.profile.member(state.numbers[0])))

    def _drop_copies(self, ids: Sequence[int]) -> None:
        """Remove the copies of members that no group has the weight for any more."""
        for id_ in ids:
            state = self._members[id_]
            while len(state.numbers) > max(1, *state.weights.values(), 1):
                self.profile.delete_member(state.numbers.pop())

    def _weight(self, member: Any, what: str) -> int:
        weight: int = member.weight
        if self._info.weights_disallowed:
            if weight:
                raise self._invalid(f"{what}: weights are not allowed")
            return 1
        if weight < 1:
            raise self._invalid(f"{what}: a weight of {weight}; 1 and more are allowed")
        most = self._info.sum_of_members.max_member_weight
        if most and weight > most:
            raise self._invalid(f"{what}: a weight of {weight} is above the greatest that is allowed, {most}")
        if weight > SELECTOR_COPIES:
            raise self._error(
                Code.RESOURCE_EXHAUSTED, f"{what}: a weight of {weight}; this target has {SELECTOR_COPIES}"
            )
        return weight

    def _max_size(self, entry: Any, known: _GroupState | None) -> int:
        """The most that the group may hold, 0 for no limit."""
        static: int = self._info.max_group_size
        size: int = entry.max_size
        if size < 0 or (static and size > static):
            raise self._invalid(f"group {entry.group_id}: max_size {size}; 0 to {static or 'any'} are allowed")
        if known is not None:
            before: int = known.message.max_size
            if size not in (0, before):
                raise self._invalid(f"group {entry.group_id}: max_size is {before} and stays so")
            size = before
        return size or static

    def _check_size(self, limit: int, weights: Any, what: str, code: Any) -> None:
        members = self._info.WhichOneof("selector_size_semantics") == "sum_of_members"
        size = len(weights) if members else sum(weights)
        if limit and size > limit:
            raise self._error(
                code, f"{what}: a size of {size} {'members' if members else 'in weights'} exceeds {limit}"
            )

    # --- watch ports --------------------------------------------------------------------------------------------

    def _port(self, member: Any, what: str) -> int | None:
        kind = member.WhichOneof("watch_kind")
        if kind is None or (kind == "watch_port" and not member.watch_port):
            return None
        if kind == "watch" and not member.watch:
            return None
        port: int = member.watch
        if kind == "watch_port":
            where = f"action profile {self.name}: {what}: watch_port"
            port = port_of(member.watch_port, _PORT_BITS, where, self._translation)
        if not 0 <= port < 1 << _PORT_BITS:
            raise self._invalid(f"{what}: {kind} {port} does not fit in {_PORT_BITS} bits")
        if port not in self._ports:
            there = ", ".join(map(str, sorted(self._ports.numbers or ())))
            raise self._invalid(f"{what}: {kind} {port}: there is no such port; there are {there or 'none'}")
        return port

    def _watch(self, group: _GroupState, ports: Mapping[int, int | None]) -> None:
        group.watched = {number: port for number, port in ports.items() if port is not None}
        self._set_down(group)

    def _set_down(self, group: _GroupState) -> None:
        down = [number for number, port in group.watched.items() if port in self._ports.down]
        self.profile.set_down(group.number, down)

    def port_changed(self, port: int) -> None:
        """Take members that watch `port` into the choice, or out of it; the caller holds the data plane still."""
        for group in [*self._groups.values(), *self._one_shots.values()]:
            if port in group.watched.values():
                self._set_down(group)

    # --- entries of tables --------------------------------------------------------------------------------------

    def reference(self, table: str, table_action: Any) -> Member | Group:
        """What the entry of a table names by a TableAction; a one-shot's members and group are made here."""
        kind = table_action.WhichOneof("type")
        if kind == "action_profile_member_id":
            id_ = table_action.action_profile_member_id
            if id_ not in self._members:
                raise self._error(Code.NOT_FOUND, f"there is no member {id_}")
            return Member(self._members[id_].numbers[0])
        if kind == "action_profile_group_id" and self.profile.selects:
            id_ = table_action.action_profile_group_id
            if id_ not in self._groups:
                raise self._error(Code.NOT_FOUND, f"there is no group {id_}")
            return Group(self._groups[id_].number)
        if kind == "action_profile_action_set" and self.profile.selects:
            return self._one_shot(table, table_action.action_profile_action_set)
        allowed = "a member or group, or a set of actions," if self.profile.selects else "a member"
        raise P4RuntimeError(Code.INVALID_ARGUMENT, f"table {table}: it takes {allowed} of its action profile")

    def _one_shot(self, table: str, given: Any) -> Group:
        what = f"table {table}, one-shot"
        if self._members or self._groups:
            raise self._invalid(f"{what}: it has members or groups already, which one-shot entries do not go with")
        self._check_modes(given, what)
        actions = [self._action(each.action) for each in given.action_profile_actions]
        weights = [self._weight(each, what) for each in given.action_profile_actions]
        ports = [self._port(each, what) for each in given.action_profile_actions]
        self._check_size(self._info.max_group_size, weights, what, Code.INVALID_ARGUMENT)
        numbers: dict[int, int | None] = {}
        try:
            for (action, params), weight, port in zip(actions, weights, ports, strict=True):
                for _ in range(weight):
                    numbers[self.profile.add_member(action, params)] = port
            group = _GroupState(deepcopy(given), self.profile.add_group(list(numbers)))
        except TableError as error:
            for number in numbers:
                self.profile.delete_member(number)
            raise refusal(error) from None
        self._one_shots[group.number] = group
        self._watch(group, numbers)
        return Group(group.number)

    def _check_modes(self, given: Any, what: str) -> None:
        unsupported = "is not supported by this target"
        if given.HasField("group_action"):
            raise self._error(Code.UNIMPLEMENTED, f"{what}: group_action {unsupported}")
        if given.action_selection_mode not in (_Set.DEFAULT_MODE_DETERMINED_BY_ACTION_SELECTOR, _Set.HASH):
            raise self._error(Code.UNIMPLEMENTED, f"{what}: action_selection_mode {unsupported}")
        members = self._info.WhichOneof("selector_size_semantics") == "sum_of_members"
        own = _Set.SUM_OF_MEMBERS if members else _Set.SUM_OF_WEIGHTS
        if given.size_semantics not in (_Set.DEFAULT_SIZE_DETERMINED_BY_ACTION_SELECTOR, own):
            raise self._error(Code.UNIMPLEMENTED, f"{what}: size_semantics {unsupported}")

    def drop(self, reference: Any) -> None:
        """An entry does not name it any more: what a one-shot has made goes."""
        if isinstance(reference, Group) and reference.number in self._one_shots:
            members = self.profile.group(reference.number)
            self.profile.delete_group(reference.number)
            for number in members:
                self.profile.delete_member(number)
            del self._one_shots[reference.number]

    def format(self, reference: Any, table_action: Any) -> None:
        """Write what an entry names into a TableAction, as it was given."""
        if isinstance(reference, Member):
            table_action.action_profile_member_id = self._member_ids.get(reference.number, 0)
        elif reference.number in self._one_shots:
            table_action.action_profile_action_set.CopyFrom(self._one_shots[reference.number].message)
        else:
            table_action.action_profile_group_id = self._group_ids.get(reference.number, 0)

    # --- reads --------------------------------------------------------------------------------------------------

    def read_members(self, id_: int) -> Iterator[Any]:
        """The member with this id, or all for 0."""
        for state in self._select(self._members, id_, "member"):
            entity = p4runtime_pb2.Entity()
            entity.action_profile_member.CopyFrom(state.message)
            yield entity

    def read_groups(self, id_: int) -> Iterator[Any]:
        """The group with this id, or all for 0."""
        for state in self._select(self._groups, id_, "group"):
            entity = p4runtime_pb2.Entity()
            entity.action_profile_group.CopyFrom(state.message)
            yield entity

    def _select(self, states: Mapping[int, Any], id_: int, what: str) -> list[Any]:
        if id_ and id_ not in states:
            raise self._error(Code.NOT_FOUND, f"there is no {what} {id_}")
        return [states[id_]] if id_ else [states[each] for each in sorted(states)]
