"""Headers whose width the packet says: as on BMv2, and refused where they cannot be."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from esa.switch import Pipeline, UnsupportedError
from tests.switch import bmv2_files
from tests.switch.test_differential import ours, same

PROGRAM = Path(__file__).parent / "programs" / "varbit.json"
Root = dict[str, Any]


def varbit_packets(rng: random.Random, count: int) -> list[bytes]:
    out = []
    for _ in range(count):
        kind = rng.choice([0x0800, 0x0800, 0x7777])
        packet = rng.randbytes(12) + kind.to_bytes(2, "big")
        proto = rng.choice([6, 77])
        if kind == 0x0800:
            words = rng.choice([5, 5, 6, 7, 9, 15, 15, rng.randrange(16)])
            head = struct.pack(">BBHHHBBHII", 0x40 | words, rng.randrange(8), 0, 1, 0, 9, proto, 0, 5, 7)
            packet += head[:10] + rng.choice([bytes(2), rng.randbytes(2)]) + head[12:]
            packet += rng.randbytes(max(0, 4 * words - 20))
        if kind == 0x7777 or proto == 77:
            value = rng.randbytes(9)
            for _ in range(rng.randint(1, 4)):
                size = rng.choice([0, 1, 8, 9, 9, 10])
                packet += bytes([rng.choice([1, 1, 2]), rng.choice([8 * size, 8 * size, 8 * size, 12])])
                packet += rng.choice([value, value, rng.randbytes(9)])[:size] + bytes([rng.randrange(8) << 4, 1])
                packet += rng.choice([5, (1 << 128) - 1, 0]).to_bytes(16, "big")
        packet += rng.randbytes(rng.randint(0, 30))
        if rng.random() < 0.1:
            packet = packet[: rng.randint(14, len(packet))]
        out.append(packet)
    return out


@pytest.mark.supports("headers: a varbit field: extract, emit, assign, compare, checksum")
@pytest.mark.bmv2
@pytest.mark.parametrize("seed", [21, 22])
def test_varbits_are_bmv2s(seed: int) -> None:
    packets = {0: varbit_packets(random.Random(seed), 500)}
    same(bmv2_files.run(PROGRAM, packets), ours(Pipeline.load(PROGRAM.read_text()), packets))


def _type(root: Root, name: str) -> Root:
    found: Root = next(item for item in root["header_types"] if item["name"] == name)
    return found


def no_length(root: Root) -> None:
    del _type(root, "ip_t")["max_length"]


def two(root: Root) -> None:
    _type(root, "ip_t")["fields"].append(["more", "*"])


def unaligned(root: Root) -> None:
    _type(root, "tlv_t")["fields"].insert(0, ["odd", 4, False])


def huge(root: Root) -> None:
    _type(root, "ip_t")["max_length"] = 1000


def short(root: Root) -> None:
    _type(root, "ip_t")["max_length"] = 20


def plain_extract(root: Root) -> None:
    state = next(s for s in root["parsers"][0]["parse_states"] if s["name"] == "ip")
    operation = next(op for op in state["parser_ops"] if op["op"] == "extract_VL")
    operation["op"], operation["parameters"] = "extract", operation["parameters"][:1]


def fixed_extract(root: Root) -> None:
    operation = root["parsers"][0]["parse_states"][0]["parser_ops"][0]
    length = {"type": "expression", "value": {"type": "hexstr", "value": "0x10"}}
    operation["op"], operation["parameters"] = "extract_VL", [*operation["parameters"], length]


def negative(root: Root) -> None:
    state = next(s for s in root["parsers"][0]["parse_states"] if s["name"] == "ip")
    operation = next(op for op in state["parser_ops"] if op["op"] == "extract_VL")
    operation["parameters"][1] = {"type": "expression", "value": {"type": "hexstr", "value": "-0x8"}}


def number(root: Root) -> None:
    field = {"type": "field", "value": ["ip", "options"]}
    root["actions"][0]["primitives"].append({"op": "assign", "parameters": [field, {"type": "hexstr", "value": "0x1"}]})


def other_kind(root: Root) -> None:
    fields = [{"type": "field", "value": ["ip", name]} for name in ("options", "src")]
    root["actions"][0]["primitives"].append({"op": "assign_VL", "parameters": fields})


@pytest.mark.refuses("headers: two varbits in one header", "headers: a varbit that begins within a byte")
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (no_length, "ip_t: field options is a varbit whose width is not given"),
        (two, "field options is a varbit, and not the only one"),
        (unaligned, "field value is a varbit that begins within a byte"),
        (huge, r"\.options has 7840 bits, more than 2048"),
        (short, r"\.options has 0 bits"),
        (plain_extract, "parser state ip: header ip has a varbit"),
        (fixed_extract, "parser state start: header eth has no varbit"),
        (negative, "the width of header ip's varbit may be negative"),
        (number, "ip.options is a varbit, which takes the value of a varbit alone"),
        (other_kind, "ip.options is no varbit of the kind of ip.src"),
    ],
)
def test_refused_by_name(change: Callable[[Root], None], says: str) -> None:
    root = json.loads(PROGRAM.read_text())
    change(root)
    with pytest.raises(UnsupportedError, match=says):
        Pipeline.load(root, compiled=False)
