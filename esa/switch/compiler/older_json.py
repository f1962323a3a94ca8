"""BMv2 JSON as older compilers and people write it, in the form of today's p4c: names for ids, primitives of P4_14.

Whatever today's form has already is left alone. Sources: BMv2's docs/JSON_format.md and src/bm_sim/P4Objects.cpp, which
reads these forms, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Json = Mapping[str, Any]

_LISTS = ("actions", "calculations", "checksums", "counter_arrays", "deparsers", "header_stacks", "register_arrays")
# Primitives of P4_14 that are an assignment of an operation on their arguments.
_OPERATIONS = {
    "add": "+",
    "subtract": "-",
    "bit_xor": "^",
    "bit_or": "|",
    "bit_and": "&",
    "shift_left": "<<",
    "shift_right": ">>",
}
_ON_ITSELF = {"add_to_field": "+", "subtract_from_field": "-"}
_RENAMED = {"copy_header": "assign_header"}
_DEFAULT_TABLE_SIZE = 16384


def modern(root: Json) -> Json:
    """A copy of `root` in today's form. What it cannot read raises as a reader of JSON would: KeyError and such."""
    actions = [_action(item, at) for at, item in enumerate(root.get("actions", ()))]
    ids: dict[str, list[int]] = {}
    for item in actions:
        ids.setdefault(item["name"], []).append(item["id"])
    return {
        **{name: [] for name in _LISTS},
        **root,
        "actions": actions,
        "headers": [{"metadata": False, "id": at, **item} for at, item in enumerate(root["headers"])],
        "parsers": [{**each, "parse_states": [*map(_state, each["parse_states"])]} for each in root["parsers"]],
        "pipelines": [
            {**pipeline, "tables": [_table(table, ids) for table in pipeline.get("tables", ())]}
            for pipeline in root["pipelines"]
        ],
        "counter_arrays": [{"is_direct": False, **item} for item in root.get("counter_arrays", ())],
    }


def _action(item: Json, at: int) -> dict[str, Any]:
    primitives = [_primitive(each) for each in item.get("primitives", ())]
    return {"id": at, "runtime_data": [], **item, "primitives": primitives}


def _primitive(item: Json) -> Json:
    op, parameters = item["op"], item.get("parameters") or []
    if op in _OPERATIONS:
        to, left, right = parameters
        return _assignment(item, to, _OPERATIONS[op], left, right)
    if op in _ON_ITSELF:
        to, by = parameters
        return _assignment(item, to, _ON_ITSELF[op], to, by)
    return {**item, "op": _RENAMED.get(op, op), "parameters": parameters}


def _assignment(item: Json, to: Json, op: str, left: Json, right: Json) -> Json:
    value = {"type": "expression", "value": {"op": op, "left": left, "right": right}}
    return {**item, "op": "assign", "parameters": [to, value]}


def _state(item: Json) -> Json:
    transitions = []
    for each in item.get("transitions", ()):
        kind = each.get("type", "hexstr")
        if kind == "hexstr" and each["value"] == "default":
            kind = "default"
        transitions.append({**each, "type": kind})
    return {**item, "transitions": transitions, "transition_key": item.get("transition_key") or []}


def _table(item: Json, ids: Mapping[str, list[int]]) -> Json:
    kinds = {key["match_type"] for key in item.get("key", ())}
    out = {"type": "simple", "key": [], "next_tables": {}, "match_type": _table_kind(kinds), **item}
    if "action_ids" not in item:
        out["action_ids"] = [_only(ids, name, item["name"]) for name in item["actions"]]
    if "max_size" not in item:
        out["max_size"] = len(item["entries"]) if "entries" in item else _DEFAULT_TABLE_SIZE
    return out


def _table_kind(kinds: set[str]) -> str:
    return next((kind for kind in ("range", "ternary", "lpm") if kind in kinds), "exact")


def _only(ids: Mapping[str, list[int]], name: str, table: str) -> int:
    found = ids.get(name, [])
    if len(found) != 1:
        raise ValueError(f"table {table}: {len(found)} actions are named {name}")
    return found[0]
