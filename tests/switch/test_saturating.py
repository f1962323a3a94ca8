"""Saturating fields: what they cannot hold becomes the nearest that they can, whatever writes them.

p4c makes none (it has operations that saturate); older compilers and people do, as the fourth word of a field in the
JSON. So the program is `programs/arithmetic.json` with fields of its output saturating, and assignments without masks.
"""

from __future__ import annotations

import json
import random
import struct
from pathlib import Path
from typing import Any

import pytest

from esa.switch import Pipeline, UnsupportedError
from tests.switch import bmv2_files
from tests.switch.test_differential import ours, same

PROGRAMS = Path(__file__).parent / "programs"
Root = dict[str, Any]
IN = struct.Struct("!BBIIiiQQhh6s6s")
WIDER = {"shl": 100, "concat": 72, "through": 20, "flags": 4, "mod": 4}  # bits, where not those of the program
SIGNED = {"sadd": 32, "cast16": 16, "sshr": 32, "gadd": 16, "concat": 72}


def field(header: str, name: str) -> Root:
    return {"type": "field", "value": [header, name]}


def of(op: str, left: Root, right: Root) -> Root:
    return {"type": "expression", "value": {"op": op, "left": left, "right": right}}


A, B, C, D, E, F, G, H = (field("i", name) for name in ("a", "b", "c", "d", "e", "f", "g", "h"))
BYTE = field("i", "a8")
ASSIGNED = {
    "add": of("+", A, B),
    "sub": of("-", A, B),
    "mul": of("*", A, B),
    "shl": of("*", E, F),  # 128 bits into 100
    "sadd": of("*", C, D),
    "sshr": of("-", A, E),
    "uadd64": of("+", E, F),
    "usub64": of("-", E, F),
    "mul64": of("*", C, C),
    "cast16": of("-", G, H),
    "gadd": A,
    "concat": of("*", of("*", C, D), G),
    "flags": BYTE,
}


def argument(value: Root) -> Root:
    """An expression as a primitive's argument: BMv2 wants it wrapped once more."""
    return {"type": "expression", "value": value} if value["type"] == "expression" else value


def writes(primitive: Root) -> bool:
    """Whether it writes a field of the output."""
    target = primitive["parameters"][0]
    return target["type"] == "field" and target["value"][0] == "o" and target["value"][1] != "$valid$"


def program() -> Root:
    root = json.loads((PROGRAMS / "arithmetic.json").read_text())
    kind = next(kind for kind in root["header_types"] if kind["name"] == "out_t")
    fields = [[name, WIDER.get(name, bits), name in SIGNED, True] for name, bits, *_ in kind["fields"]]
    fields.append(["pad", -sum(bits for _, bits, *_ in fields) % 8 or 8, False])
    kind["fields"] = fields
    action = max(root["actions"], key=lambda action: len(action["primitives"]))
    for each in root["actions"]:
        each["primitives"] = [p for p in each["primitives"] if not writes(p)]
    assigned = [{"op": "assign", "parameters": [field("o", name), argument(e)]} for name, e in ASSIGNED.items()]
    array = {"type": "register_array", "value": "I.wide"}
    first = {"type": "hexstr", "value": "0x0"}
    register = [
        {"op": "register_write", "parameters": [array, first, E]},
        {"op": "register_read", "parameters": [field("o", "through"), array, first]},
    ]
    action["primitives"] += [*assigned, *register]
    return root


def expected(fields: list[list[Any]], packet: bytes) -> dict[str, int]:
    """What BMv2's rule (fields.h, export_bytes) makes of the assigned fields."""
    a8, _, a, b, c, d, e, f, g, h, *_ = IN.unpack(packet)
    values = {
        "add": a + b, "sub": a - b, "mul": a * b, "shl": e * f, "sadd": c * d, "sshr": a - e, "uadd64": e + f,
        "usub64": e - f, "mul64": c * c, "cast16": g - h, "gadd": a, "concat": c * d * g, "flags": a8, "through": e,
    }  # fmt: skip
    found = {}
    for name, bits, signed, *_ in fields:
        if name in values:
            low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
            found[name] = max(low, min(values[name], high))
    return found


def decoded(fields: list[list[Any]], packet: bytes) -> dict[str, int]:
    bits = int.from_bytes(packet, "big")
    found, left = {}, 8 * len(packet)
    for name, width, signed, *_ in fields:
        left -= width
        value = bits >> left & ((1 << width) - 1)
        found[name] = value - (1 << width) if signed and value >> (width - 1) else value
    return found


def packets(count: int) -> list[bytes]:
    rng = random.Random(7)

    def number(bits: int, signed: bool = False) -> int:
        value = rng.choice([0, 1, (1 << bits) - 1, 1 << bits - 1, (1 << bits - 1) - 1, rng.getrandbits(bits)])
        return value - (1 << bits) if signed and value >> (bits - 1) else value

    return [
        IN.pack(number(8), 1, number(32), number(32), number(32, True), number(32, True), number(64), number(64),
                number(16, True), number(16, True), bytes(6), bytes(6))
        for _ in range(count)
    ]  # fmt: skip


@pytest.mark.supports("numbers: saturating fields")
def test_what_does_not_fit_becomes_the_nearest_that_does() -> None:
    root = program()
    fields = next(kind for kind in root["header_types"] if kind["name"] == "out_t")["fields"]
    pipeline = Pipeline.load(root, compiled=False)
    for packet in packets(300):
        ((_, out),) = pipeline.process(0, packet)
        found = decoded(fields, out[-sum(bits for _, bits, *_ in fields) // 8 :])
        wanted = expected(fields, packet)
        assert {name: found[name] for name in wanted} == wanted, packet.hex()


@pytest.mark.bmv2
def test_saturating_fields_are_bmv2s(tmp_path: Path) -> None:
    path = tmp_path / "saturating.json"
    path.write_text(json.dumps(program()))
    sent = {0: packets(300)}
    same(bmv2_files.run(path, sent), ours(Pipeline.load(path.read_text()), sent))


@pytest.mark.refuses("numbers: saturating fields of the standard metadata")
def test_those_that_the_target_itself_writes_are_refused() -> None:
    root = program()
    for kind in root["header_types"]:
        if kind["name"] == "standard_metadata":
            kind["fields"] = [[name, bits, False, True] for name, bits, *_ in kind["fields"]]
    with pytest.raises(UnsupportedError, match=r"standard_metadata\.ingress_port is a saturating field"):
        Pipeline.load(root, compiled=False)
