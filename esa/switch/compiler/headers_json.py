"""Header types, headers, stacks and unions of a BMv2 JSON document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from esa.switch.compiler.program import OLDER_METADATA, STANDARD, FieldType, Header
from esa.switch.errors import UnsupportedError

Json = Mapping[str, Any]


def _varbit_bits(item: Json, name: str) -> int:
    """The most bits of a header type's varbit."""
    where = f"header type {item['name']}: field {name} is a varbit"
    if [bits for _, bits, *_ in item["fields"]].count("*") != 1:
        raise UnsupportedError(f"{where}, and not the only one")
    if not item.get("max_length") or item.get("length_exp"):
        raise UnsupportedError(f"{where} whose width is not given where it is extracted")
    start, before = 0, True
    for each, bits, *_ in item["fields"]:
        before = before and each != name
        start += int(bits) if before else 0
    if start % 8:
        raise UnsupportedError(f"{where} that begins within a byte")
    fixed = sum(int(bits) for _, bits, *_ in item["fields"] if bits != "*")
    return 8 * int(item["max_length"]) - fixed


def read_headers(root: Json) -> tuple[dict[str, Header], dict[str, tuple[str, ...]]]:
    """The headers, and those of each stack, by name. Raises UnsupportedError for fields that are not supported."""
    types: dict[str, tuple[FieldType, ...]] = {}
    for item in root["header_types"]:
        fields = []
        for name, bits, *rest in item["fields"]:
            if bits == "*":
                fields.append(FieldType(name, _varbit_bits(item, name), False, varbit=True))
                continue
            fields.append(FieldType(name, int(bits), any(rest[:1]), saturating=any(rest[1:2])))
        types[item["name"]] = tuple(fields)
    names = {item["id"]: item["name"] for item in root["headers"]}
    stacks = {
        item["name"]: tuple(names[identity] for identity in item["header_ids"])
        for item in root.get("header_stacks", ())
    }
    stacks |= {part: members for parts in read_union_stacks(root).values() for part, members in parts.items()}
    place = {member: (stack, at) for stack, members in stacks.items() for at, member in enumerate(members)}
    headers = {}
    for item in root["headers"]:
        name, type_name = item["name"], item["header_type"]
        stack, at = place.get(name, (None, 0))
        for field in types[type_name] if name in (STANDARD, *OLDER_METADATA) else ():
            if field.saturating:
                raise UnsupportedError(f"{name}.{field.name} is a saturating field, in which this target cannot write")
        headers[name] = Header(name, type_name, types[type_name], bool(item["metadata"]), stack, at)
    return headers, stacks


def read_union_stacks(root: Json) -> dict[str, dict[str, tuple[str, ...]]]:
    """By stack of unions, for each member of its union: the name of the stack of that member, and its headers.

    Raises UnsupportedError where that is no stack.
    """
    names = {item["id"]: item["name"] for item in root["headers"]}
    unions = {item["id"]: item["header_ids"] for item in root.get("header_unions", ())}
    types = {item["name"]: [name for name, _ in item["headers"]] for item in root.get("header_union_types", ())}
    taken = {item["name"] for item in root.get("header_stacks", ())}
    found: dict[str, dict[str, tuple[str, ...]]] = {}
    for item in root.get("header_union_stacks", ()):
        name, members = item["name"], types[item["union_type"]]
        elements = [unions[identity] for identity in item["header_union_ids"]]
        if not members or any(len(element) != len(members) for element in elements):
            raise UnsupportedError(f"stack of header unions {name}: not every element has a header for each member")
        parts = [part_of(name, member) for member in members]
        if len({name, *parts} - taken) != 1 + len(parts):
            raise UnsupportedError(f"stack of header unions {name}: a stack or a member has the same name")
        taken |= {name, *parts}
        found[name] = {part: tuple(names[element[at]] for element in elements) for at, part in enumerate(parts)}
    return found


def part_of(stack: str, member: str) -> str:
    """What the stack of one member of a stack of unions is called."""
    return f"{stack}[].{member}"


def read_unions(root: Json) -> dict[str, tuple[str, ...]]:
    """The headers of each header union."""
    names = {item["id"]: item["name"] for item in root["headers"]}
    return {
        item["name"]: tuple(names[identity] for identity in item["header_ids"])
        for item in root.get("header_unions", ())
    }
