"""What commands print of tables, entries and actions: in simple_switch_CLI's form, which other programs read."""

from __future__ import annotations

from typing import Any

from esa.switch.cli.names import MATCH_NAMES, Names
from esa.switch.cli.values import needs_priority, shown_priority

_WIDTH = 20


def table_line(names: Names, table: Any) -> str:
    """A table's name, action profile and key."""
    key = ",\t".join(f"{f.name}({MATCH_NAMES[f.match_type]}, {f.bitwidth})" for f in table.match_fields)
    profile = names.of_id(table.implementation_id).preamble.name if table.implementation_id else "None"
    return f"{table.preamble.name:30} [implementation={profile}, mk={key}]"


def action_line(action: Any) -> str:
    """An action's name and parameters."""
    params = ",\t".join(f"{param.name}({param.bitwidth})" for param in action.params)
    return f"{action.preamble.name:30} [{params}]"


def hex_text(data: bytes, bits: int) -> str:
    """A value as all the bytes of its width."""
    return f"{int.from_bytes(data, 'big'):0{(bits + 7) // 8 * 2}x}"


def action_text(names: Names, table_action: Any) -> str:
    """What an entry does."""
    kind = table_action.WhichOneof("type")
    if kind == "action":
        return call_text(names, table_action.action)
    if kind == "action_profile_member_id":
        return f"Index: member({table_action.action_profile_member_id - 1})"
    if kind == "action_profile_group_id":
        return f"Index: group({table_action.action_profile_group_id - 1})"
    if kind == "action_profile_action_set":
        return "a set of actions of its own"
    return "EMPTY"


def call_text(names: Names, call: Any) -> str:
    """An action with its parameters."""
    action = names.of_id(call.action_id)
    bits = {param.id: param.bitwidth for param in action.params}
    data = ", ".join(hex_text(param.value, bits[param.param_id]) for param in call.params)
    return f"Action entry: {action.preamble.name} - {data}"


def entry_text(names: Names, table: Any, handle: int, entry: Any) -> str:
    """An entry: handle, key, priority, action, idle time-out."""
    given = {match.field_id: match for match in entry.match}
    width = max([_WIDTH, *(len(field.name) for field in table.match_fields)])
    lines = [f"Dumping entry {handle:#x}", "Match key:"]
    for field in table.match_fields:
        kind = MATCH_NAMES[field.match_type]
        text = _field_text(kind, field.bitwidth, given.get(field.id))
        lines.append(f"* {field.name:{width}}: {kind.upper():10}{text}")
    if needs_priority(table):
        lines.append(f"Priority: {shown_priority(entry.priority)}")
    lines.append(action_text(names, entry.action))
    if entry.idle_timeout_ns:
        lines.append(f"Life: timeout is {entry.idle_timeout_ns // 1_000_000}ms")
    return "\n".join(lines)


def _field_text(kind: str, bits: int, match: Any | None) -> str:
    low, high = hex_text(b"", bits), hex_text(b"", bits)
    if match is None:
        everything = {"lpm": f"{low}/0", "range": f"{low} -> {((1 << bits) - 1):x}"}
        return everything.get(kind, f"{low} &&& {high}")
    if kind == "exact":
        return hex_text(match.exact.value, bits)
    if kind == "lpm":
        return f"{hex_text(match.lpm.value, bits)}/{match.lpm.prefix_len}"
    if kind == "range":
        return f"{hex_text(match.range.low, bits)} -> {hex_text(match.range.high, bits)}"
    if kind == "ternary":
        return f"{hex_text(match.ternary.value, bits)} &&& {hex_text(match.ternary.mask, bits)}"
    return f"{hex_text(match.optional.value, bits)} &&& {(1 << bits) - 1:x}"
