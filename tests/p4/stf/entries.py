"""What an STF's `add` and `setdefault` mean for a compiled program: whole names, matches and parameters by position."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.p4.stf.script import Add, Call, SetDefault, number

# STF counts priorities up, BMv2 down.
_LOWEST_BMV2_PRIORITY = 10000
_BITS = {"x": 4, "b": 1, "o": 3}


@dataclass(frozen=True)
class TableNames:
    name: str
    match_type: str
    keys: Mapping[str, str]  # match kind by name
    actions: Mapping[str, tuple[str, ...]]  # names of parameters by name


@dataclass(frozen=True)
class Entry:
    """`match` None: the default. Its items: int (exact), (value, length) (lpm), (value, mask), None for any."""

    table: str
    action: str
    params: tuple[int, ...]
    match: tuple[Any, ...] | None
    kinds: tuple[str, ...] = ()
    priority: int | None = None

    def command(self) -> str:
        """The entry as a line for simple_switch_CLI."""
        params = [hex(value) for value in self.params]
        if self.match is None:
            return " ".join(["table_set_default", self.table, self.action, *params])
        match = [_text(kind, item) for kind, item in zip(self.kinds, self.match, strict=True)]
        priority = [] if self.priority is None else [str(_LOWEST_BMV2_PRIORITY - self.priority)]
        return " ".join(["table_add", self.table, self.action, *match, "=>", *params, *priority])


def _text(kind: str, item: Any) -> str:
    if kind == "lpm":
        return f"{item[0]:#x}/{item[1]}"
    return f"{item[0]:#x}&&&{item[1]:#x}" if kind == "ternary" else hex(item)


def tables_of(program: Mapping[str, Any]) -> list[TableNames]:
    """The tables of BMv2 JSON."""
    actions = {item["id"]: item for item in program["actions"]}
    tables = []
    for pipeline in program["pipelines"]:
        for table in pipeline["tables"]:
            keys = {key.get("name") or ".".join(key["target"]): key["match_type"] for key in table["key"]}
            chosen = [actions[identity] for identity in table["action_ids"]]
            params = {item["name"]: tuple(p["name"] for p in item["runtime_data"]) for item in chosen}
            tables.append(TableNames(table["name"], table["match_type"], keys, params))
    return tables


def entry(tables: Sequence[TableNames], command: Add | SetDefault) -> Entry:
    """The entry that a command means. Raises ValueError where the program has no such table, action or key."""
    by_name = {table.name: table for table in tables}
    table = by_name[whole_name(command.table, by_name, "table")]
    action, params = _action(table, command.call)
    if isinstance(command, SetDefault):
        return Entry(table.name, action, params, None)
    given = {_key_name(table, field): text for field, text in command.match}
    match = tuple(_match(kind, given.get(name)) for name, kind in table.keys.items())
    priority = command.priority if table.match_type in ("ternary", "range") else None
    return Entry(table.name, action, params, match, tuple(table.keys.values()), priority)


def _action(table: TableNames, call: Call) -> tuple[str, tuple[int, ...]]:
    action = whole_name(call.action, table.actions, f"action of table {table.name}")
    values = dict(call.arguments)
    if set(values) != set(table.actions[action]):
        raise ValueError(f"action {action} has the parameters {table.actions[action]}, not {tuple(values)}")
    return action, tuple(number(values[name]) for name in table.actions[action])


def whole_name(given: str, names: Iterable[str], what: str) -> str:
    """The one of `names` that is `given` or ends with it. Raises ValueError if none is, or several are."""
    if given in names:
        return given
    found = [name for name in names if name.endswith(given)]
    if len(found) != 1:
        raise ValueError(f"{len(found)} {what} names end with {given}")
    return found[0]


def _key_name(table: TableNames, given: str) -> str:
    given = re.sub(r"\$(\d+)", r"[\1]", given)
    bare = given[: -len("valid")] if given == "valid" or given.endswith(".valid") else given
    for name in (given, f"{given}$", f"{given}.$valid$", f"{bare}$valid$"):
        if name in table.keys:
            return name
    endings = (f".{given}", f".{given}$", *([".$valid$"] if given == "valid" else []))
    for name in table.keys:
        if name.endswith(endings):
            return name
    raise ValueError(f"table {table.name} has no key {given}, only {', '.join(table.keys)}")


def _match(kind: str, text: str | None) -> Any:
    if kind in ("exact", "valid"):
        return 0 if text is None else number(text)
    if kind not in ("lpm", "ternary"):
        if text is not None:
            raise ValueError(f"STF has no {kind} matches")
        return None
    if text is None:
        return (0, 0)
    if kind == "lpm" and "/" in text:
        value, length = text.split("/")
        return (number(value), number(length))
    bits = _BITS.get(text[1:2].lower())
    if bits is None:
        raise ValueError(f"{text}: a decimal number is no {kind} match")
    value, digits = number(text.replace("*", "0")), text[2:]
    if kind == "lpm":
        return (value, bits * len(digits.rstrip("*")))
    one = (1 << bits) - 1
    return (value, sum(one << bits * at for at, digit in enumerate(reversed(digits)) if digit != "*"))
