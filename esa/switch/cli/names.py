"""What the program on the switch has, by the names that commands use: whole, or any end of one that is unique."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from esa.p4runtime import p4info_pb2
from esa.switch.cli.client import CommandError

MATCH_NAMES = {
    p4info_pb2.MatchField.EXACT: "exact",
    p4info_pb2.MatchField.LPM: "lpm",
    p4info_pb2.MatchField.TERNARY: "ternary",
    p4info_pb2.MatchField.RANGE: "range",
    p4info_pb2.MatchField.OPTIONAL: "optional",
}
_KINDS = {
    "table": ("tables",),
    "action": ("actions",),
    "action profile": ("action_profiles",),
    "counter": ("counters", "direct_counters"),
    "meter": ("meters", "direct_meters"),
    "register": ("registers",),
    "value set": ("value_sets",),
}
_LISTED = 12


class Names:
    """A P4Info by name. Raises CommandError for a name that is none, or more than one thing's."""

    def __init__(self, p4info: Any) -> None:
        self._all = {
            kind: {each.preamble.name: each for field in fields for each in getattr(p4info, field)}
            for kind, fields in _KINDS.items()
        }
        self._types = p4info.type_info.new_types
        self._by_id = {each.preamble.id: each for named in self._all.values() for each in named.values()}

    def all(self, kind: str) -> list[Any]:
        """Every table, action, ... by name."""
        return [self._all[kind][name] for name in sorted(self._all[kind])]

    def of_id(self, id_: int) -> Any:
        """The P4Info of an id."""
        return self._by_id[id_]

    def find(self, kind: str, name: str) -> Any:
        """The P4Info of a table, action, action profile, counter, meter, register or value set."""
        return _find(kind, name, self._all[kind], "the program")

    def action_of(self, table: Any, name: str) -> Any:
        """One of a table's actions."""
        actions = [self._by_id[ref.id] for ref in table.action_refs]
        return _find("action", name, {each.preamble.name: each for each in actions}, f"table {table.preamble.name}")

    def actions_of(self, profile: Any) -> Iterable[Any]:
        """The actions that an action profile's members may be: those of its tables."""
        tables = [self._by_id[id_] for id_ in profile.table_ids]
        return [self._by_id[ref.id] for table in tables for ref in table.action_refs]

    def member_action(self, profile: Any, name: str) -> Any:
        """One of an action profile's actions."""
        actions = {each.preamble.name: each for each in self.actions_of(profile)}
        return _find("action", name, actions, f"action profile {profile.preamble.name}")

    def register_type(self, register: Any) -> tuple[str, int]:
        """What a register holds: bit, int or bool, and of how many bits."""
        spec = register.type_spec
        for _ in range(len(self._types)):
            if spec.WhichOneof("type_spec") != "new_type":
                break
            new_type = self._types[spec.new_type.name]
            if new_type.HasField("translated_type"):
                return "bit", int(new_type.translated_type.sdn_bitwidth)
            spec = new_type.original_type
        if spec.HasField("bool"):
            return "bool", 1
        kind = spec.bitstring.WhichOneof("type_spec")
        if kind not in ("bit", "int"):
            raise CommandError(f"register {register.preamble.name} holds what P4Runtime has no number for")
        return kind, int(getattr(spec.bitstring, kind).bitwidth)

    def profile_of(self, table: Any) -> Any:
        """The action profile of a table."""
        if not table.implementation_id:
            raise CommandError(f"table {table.preamble.name} has no action profile")
        return self._by_id[table.implementation_id]


def _find(kind: str, name: str, named: Mapping[str, Any], owner: str) -> Any:
    if name in named:
        return named[name]
    found = [each for each in named if each.endswith(f".{name}")]
    if len(found) == 1:
        return named[found[0]]
    allowed = sorted(found or named)
    listed = ", ".join(allowed[:_LISTED]) + (", ..." if len(allowed) > _LISTED else "") or "none"
    problem = f"{kind} '{name}' is more than one" if found else f"{owner} has no {kind} '{name}'"
    raise CommandError(f"{problem}; allowed: {listed}")
