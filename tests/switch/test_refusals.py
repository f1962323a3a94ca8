"""What the target does not do is refused when the program is loaded, by name and place."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from esa.switch import Pipeline, UnsupportedError

PROGRAMS = Path(__file__).parent / "programs"
Root = dict[str, Any]


def varbit(root: Root) -> None:
    next(h for h in root["header_types"] if h["name"] == "eth_t")["fields"].append(["options", "*"])


def wide(root: Root) -> None:
    next(h for h in root["header_types"] if h["name"] == "eth_t")["fields"][0][1] = 2056


def union(root: Root) -> None:
    root["header_unions"].append({"name": "u", "id": 0, "union_type": "u_t", "header_ids": []})


def primitive(root: Root) -> None:
    root["actions"][0]["primitives"].append({"op": "levitate", "parameters": []})


def algorithm(root: Root) -> None:
    root["calculations"][0]["algo"] = "xxh64"


def wide_register(root: Root) -> None:
    root["register_arrays"].append({"name": "I.r", "id": 9, "size": 4, "bitwidth": 2049})


def wide_parameter(root: Root) -> None:
    next(a for a in root["actions"] if a["runtime_data"])["runtime_data"][0]["bitwidth"] = 2049


def wide_lookahead(root: Root) -> None:
    root["parsers"][0]["parse_states"][0]["transition_key"] = [{"type": "lookahead", "value": [0, 2049]}]


def wide_checksum(root: Root) -> None:
    next(h for h in root["header_types"] if h["name"] == "ip_t")["fields"][9][1] = 80


def wide_port(root: Root) -> None:
    next(h for h in root["header_types"] if h["name"] == "standard_metadata")["fields"][1][1] = 72


def wide_index(root: Root) -> None:
    index = {"type": "field", "value": ["eth", "dst"]}
    read = {"op": "register_read", "parameters": [index, {"type": "register_array", "value": "I.r"}, index]}
    root["register_arrays"].append({"name": "I.r", "id": 9, "size": 4, "bitwidth": 32})
    next(h for h in root["header_types"] if h["name"] == "eth_t")["fields"][0][1] = 80
    root["actions"][0]["primitives"].append(read)


def negative_length(root: Root) -> None:
    ttl = {"type": "field", "value": ["ip", "ttl"]}
    less = {"op": "-", "left": ttl, "right": {"type": "hexstr", "value": "0x1"}}
    root["actions"][0]["primitives"].append({"op": "truncate", "parameters": [{"type": "expression", "value": less}]})


def huge_length(root: Root) -> None:
    next(h for h in root["header_types"] if h["name"] == "eth_t")["fields"][0][1] = 64
    length = {"type": "field", "value": ["eth", "dst"]}
    root["actions"][0]["primitives"].append({"op": "truncate", "parameters": [length]})


def part_of_a_byte(root: Root) -> None:
    next(h for h in root["header_types"] if h["name"] == "eth_t")["fields"][0][1] = 47


def endless(root: Root) -> None:
    start = root["parsers"][0]["parse_states"][0]
    start["parser_ops"] = []
    start["transitions"][0]["next_state"] = start["name"]


def of_the_payload(root: Root) -> None:
    root["calculations"][0]["input"].append({"type": "payload"})


def jump(root: Root) -> None:
    root["actions"][0]["primitives"] += [{"op": "_jump", "parameters": [{"type": "hexstr", "value": "0x0"}]}] * 2


def extern(root: Root) -> None:
    root["extern_instances"].append({"name": "I.e", "id": 0, "type": "mystery"})


@pytest.mark.refuses(
    "programs: extern instances, and primitives that v1model has not",
    "programs: jumps in actions that are no if statements",
    "numbers: more than 2,048 bits",
    "numbers: more than 64 bits in standard metadata, indices and checksums",
    "headers: headers of part of a byte",
    "parsers: loops that take no byte",
    "externs: hashes that BMv2 has not",
    "externs: a hash over the payload inside an action",
    "externs: truncate to a length that may be negative",
)
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (varbit, "eth_t: field options is a varbit"),
        (wide, "eth.dst has 2056 bits, more than 2048"),
        (union, "header union u: it has no headers"),
        (primitive, "levitate"),
        (algorithm, "xxh64"),
        (wide_register, "I.r has 2049 bits; 1 to 2048 are allowed"),
        (wide_parameter, "has 2049 bits, more than 2048"),
        (wide_lookahead, "lookahead of 2049 bits; 1 to 2048 are allowed"),
        (wide_checksum, "ip.csum has 80 bits, more than the 64 that a checksum may have"),
        (wide_port, "standard_metadata.* has 72 bits: this is no v1model program"),
        (wide_index, "register_read of a number of more than 64 bits"),
        (negative_length, "truncate to a length that may be negative or huge"),
        (huge_length, "truncate to a length that may be negative or huge"),
        (part_of_a_byte, "header eth is not a whole number of bytes"),
        (endless, "parser state start: the parser can come back to it without taking a byte"),
        (of_the_payload, "a hash over the payload .* inside an action"),
        (jump, "a jump that is no if statement"),
        (extern, "I.e: extern instances"),
    ],
)
def test_refused_by_name(change: Callable[[Root], None], says: str) -> None:
    root = json.loads((PROGRAMS / "features.json").read_text())
    change(root)
    with pytest.raises(UnsupportedError, match=says):
        Pipeline.load(root, compiled=False)


@pytest.mark.refuses("programs: JSON that is no v1model program")
def test_not_a_program() -> None:
    with pytest.raises(UnsupportedError, match="not a BMv2 JSON program"):
        Pipeline.load("{}")


@pytest.mark.refuses("numbers: more than 64 bits in digests and keys of value sets")
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("digests", "digest learned_t: scalars.tmp is a varbit or has more than 64 bits"),
        ("value_sets", "value set P.pairs: keys of .9, 112. bits; 1 to 64 are allowed"),
    ],
)
def test_wide_fields_where_none_may_be(name: str, says: str) -> None:
    root = json.loads((PROGRAMS / f"{name}.json").read_text())
    for kind in root["header_types"]:
        if kind["name"] != "standard_metadata":
            kind["fields"] = [[field, 112 if bits == 48 else bits, *rest] for field, bits, *rest in kind["fields"]]
    with pytest.raises(UnsupportedError, match=says):
        Pipeline.load(root, compiled=False)


@pytest.mark.refuses("parsers: a value set whose size is not given")
def test_a_value_set_without_room_for_members() -> None:
    root = json.loads((PROGRAMS / "value_sets.json").read_text())
    for each in root["parse_vsets"]:
        del each["max_size"]
    with pytest.raises(UnsupportedError, match=r"value set P\.kinds: its max_size, .* is not given"):
        Pipeline.load(root, compiled=False)
