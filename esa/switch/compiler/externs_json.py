"""Arrays, action profiles, digests, value sets of a BMv2 JSON document; anything unknown is refused by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from esa.switch.compiler.program import (
    Action,
    Control,
    CounterArray,
    Digest,
    Field,
    MeterArray,
    Profile,
    RegisterArray,
    TableNode,
    ValueSet,
)
from esa.switch.errors import UnsupportedError

Json = Mapping[str, Any]


def register_arrays(root: Json) -> dict[str, RegisterArray]:
    """The registers by name."""
    return {
        item["name"]: RegisterArray(item["name"], int(item["size"]), int(item["bitwidth"]))
        for item in root["register_arrays"]
    }


def counter_arrays(root: Json) -> dict[str, CounterArray]:
    """The counters, direct ones among them, by name."""
    return {
        item["name"]: CounterArray(
            item["name"], int(item.get("size") or 0), bool(item["is_direct"]), item.get("binding")
        )
        for item in root["counter_arrays"]
    }


def field_lists(root: Json) -> dict[int, tuple[Field, ...]]:
    """The fields that are kept over a clone or another pass, by number."""
    lists = {}
    for item in root.get("field_lists", ()):
        fields = []
        for element in item["elements"]:
            if element["type"] != "field":
                raise UnsupportedError(f"field list {item['name']}: element of type {element['type']!r}")
            fields.append(Field(*element["value"]))
        lists[int(item["id"])] = tuple(fields)
    return lists


def meter_arrays(root: Json) -> dict[str, MeterArray]:
    """The meters, direct ones among them, by name."""
    meters = {}
    for item in root.get("meter_arrays", ()):
        name, unit, direct = item["name"], item["type"], bool(item.get("is_direct"))
        if unit not in ("packets", "bytes"):
            raise UnsupportedError(f"meter {name} is of type {unit!r}; packets and bytes are allowed")
        if item["rate_count"] != 2:
            raise UnsupportedError(f"meter {name} has {item['rate_count']!r} rates; 2 are allowed")
        target = None
        if direct:
            if "result_target" not in item:
                raise UnsupportedError(f"meter {name}: no field takes its result (direct_meter.read)")
            target = Field(*item["result_target"])
        meters[name] = MeterArray(name, int(item.get("size") or 0), unit, direct, target)
    return meters


def profile_of(table: Json) -> str | None:
    """The action profile of a table; a profile of its own, in older documents, has the table's name."""
    kind, name = table["type"], table["name"]
    if kind == "simple":
        return None
    if kind not in ("indirect", "indirect_ws"):
        raise UnsupportedError(f"table {name}: type {kind!r}; simple, indirect and indirect_ws are allowed")
    if table.get("default_entry") or table.get("entries"):
        raise UnsupportedError(f"table {name}: actions stated by the program next to an action profile")
    return str(table.get("action_profile", name))


def _profile_items(root: Json) -> Iterator[Json]:
    for pipeline in root["pipelines"]:
        yield from pipeline.get("action_profiles", ())
        for table in pipeline["tables"]:
            if table["type"] != "simple" and "action_profile" not in table:
                yield {"max_size": table["max_size"], "selector": table.get("selector"), "name": table["name"]}


def selector_calculations(root: Json) -> list[Json]:
    """A calculation, as the document would state it, for each selector."""
    found: dict[str, Json] = {}
    names = {item["name"] for item in root["calculations"]}
    for item in _profile_items(root):
        name = _calculation_name(item["name"])
        if item.get("selector"):
            if name in names or name in found:
                raise UnsupportedError(f"two calculations have the name {name!r}")
            found[name] = {"algo": item["selector"]["algo"], "input": item["selector"]["input"], "name": name}
    return list(found.values())


def _calculation_name(profile: str) -> str:
    return f"select {profile}"


def action_profiles(root: Json, controls: Mapping[str, Control], actions: Mapping[int, Action]) -> dict[str, Profile]:
    """The action profiles by name, with the actions of the tables that share them."""
    tables: dict[str, list[TableNode]] = {}
    for control in controls.values():
        for node in control.nodes.values():
            if isinstance(node, TableNode) and node.profile is not None:
                tables.setdefault(node.profile, []).append(node)
    profiles = {}
    for item in _profile_items(root):
        name = item["name"]
        if name in profiles:
            raise UnsupportedError(f"two action profiles have the name {name}")
        users = tables.get(name, [])
        ids = users[0].action_ids if users else ()
        for user in users[1:]:
            if {actions[a].name for a in user.action_ids} != {actions[a].name for a in ids}:
                raise UnsupportedError(
                    f"action profile {name}: tables {users[0].name} and {user.name} differ in their actions"
                )
        selector = _calculation_name(name) if item.get("selector") else None
        profiles[name] = Profile(name, int(item["max_size"]), ids, selector)
    return profiles


def digests(root: Json) -> dict[int, Digest]:
    """The learn lists by number."""
    found: dict[int, Digest] = {}
    for item in root.get("learn_lists", ()):
        number, name = int(item["id"]), item["name"]
        for element in item["elements"]:
            if element["type"] != "field":
                raise UnsupportedError(f"digest {name}: element of type {element['type']!r}; fields are allowed")
        if number in found or not 0 < number < 1 << 16:
            raise UnsupportedError(f"digest {name}: number {number}; 1 to 65535, once, are allowed")
        found[number] = Digest(number, name, tuple(Field(*element["value"]) for element in item["elements"]))
    return found


def use_value_set(used: dict[str, tuple[int, ...]], name: str, widths: tuple[int, ...], where: str) -> None:
    """Note that a key of these widths is looked up in a value set, as all that are looked up in it must be."""
    if used.setdefault(name, widths) != widths:
        raise UnsupportedError(f"{where}: value set {name} is used with keys of other widths elsewhere")


def value_sets(root: Json, used: Mapping[str, tuple[int, ...]]) -> dict[str, ValueSet]:
    """The value sets that parser states use, by name."""
    sets = {item["name"]: item.get("max_size") for item in root.get("parse_vsets", ())}
    for name in used:
        if name not in sets:
            raise UnsupportedError(f"there is no value set {name!r}")
        if sets[name] is None:
            raise UnsupportedError(f"value set {name}: its max_size, the members that it has room for, is not given")
    return {name: ValueSet(name, int(sets[name]), widths) for name, widths in used.items()}
