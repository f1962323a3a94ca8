"""Stacks of header unions: as on BMv2, whose pushes and pops let elements change places; what is none is refused."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from esa.switch import Pipeline, UnsupportedError
from tests.switch import bmv2_files
from tests.switch.test_differential import ours, same

PROGRAM = Path(__file__).parent / "programs" / "unions.json"
Root = dict[str, Any]


def small(value: int, kind: int = 1) -> bytes:
    return bytes([kind, value])


def large(value: int, kind: int = 2) -> bytes:
    return bytes([kind]) + value.to_bytes(11, "big")


def opened(value: bytes) -> bytes:
    return bytes([3, 8 * len(value)]) + value


def union_packets(rng: random.Random, count: int) -> list[bytes]:
    out = []
    for _ in range(count):
        packet = bytes([rng.randrange(13), 0, 0, 0])
        for _ in range(rng.randrange(5)):
            number = rng.choice([5, 6, (1 << 88) - 1])
            packet += rng.choice([small(number & 255), large(number), opened(rng.randbytes(rng.choice([0, 1, 10])))])
        for _ in range(rng.randrange(3)):
            packet += rng.choice([small(rng.choice([5, 6]), 4), large(rng.choice([5, 6]), 5)])
        packet += rng.choice([b"", b"\0", b"\1", b"\3\x0c\0\0", b"\3\x58" + bytes(11)]) + bytes(rng.randrange(9))
        out.append(packet if rng.random() < 0.9 else packet[: rng.randint(4, len(packet))])
    return out


def _edit(root: Root, what: str) -> None:
    """What p4c does not write, but BMv2 reads: the last element's field in a select, unions assigned as a whole."""
    if what == "last":
        state = next(s for s in root["parsers"][0]["parse_states"] if s["name"] == "small")
        state["transition_key"] = [{"type": "union_stack_field", "value": ["items", "small", "value"]}]
        to = state["transitions"][0]["next_state"]
        state["transitions"] = [
            {"type": "hexstr", "value": "0x05", "mask": None, "next_state": to},
            {"type": "default", "value": None, "mask": None, "next_state": None},
        ]
    for action in root["actions"] if what in ("assign_union", "assign_union_stack") else ():
        copies = [p for p in action["primitives"] if p["op"] == "assign_header"]
        if len(copies) == (9 if what == "assign_union_stack" else 3):
            names = ("others", "items") if what == "assign_union_stack" else ("items[1]", "others[0]")
            kind = "header_union_stack" if what == "assign_union_stack" else "header_union"
            action["primitives"] = [{"op": what, "parameters": [{"type": kind, "value": name} for name in names]}]


@pytest.mark.bmv2
@pytest.mark.supports("headers: stacks of unions, with next, push_front, pop_front")
@pytest.mark.parametrize("what", ["nothing", "last", "assign_union", "assign_union_stack"])
def test_stacks_of_unions_are_bmv2s(what: str, tmp_path: Path) -> None:
    root = json.loads(PROGRAM.read_text())
    _edit(root, what)
    assert (root == json.loads(PROGRAM.read_text())) == (what == "nothing")
    path = tmp_path / "program.json"
    path.write_text(json.dumps(root))
    packets = {0: union_packets(random.Random(41), 600)}
    same(bmv2_files.run(path, packets), ours(Pipeline.load(root, compiled=what == "nothing"), packets))


@pytest.mark.parametrize(
    ("what", "items"),
    [
        (1, [large(9), small(1), large(4)]),  # the one that is pushed out comes in at the front
        (2, [large(9), large(4), small(1)]),
        (3, [small(1), large(4), large(9)]),
        (4, [large(4), large(9), small(1)]),
        (5, [large(9), large(4), small(1)]),
        (6, [small(1), large(4), large(9)]),
        (9, [small(1), large(4), small(0)]),
        (10, [large(7), large(4), large(9)]),
    ],
)
def test_elements_change_places(what: int, items: list[bytes]) -> None:
    pipeline = Pipeline.load(PROGRAM.read_text(), compiled=False)
    head, before = bytes([what, 0, 0, 0]), [small(1), large(4), large(9)]
    ((port, packet),) = pipeline.process(0, head + b"".join(before) + b"\0end")
    if items[0][0] == 2:  # the program adds 1 to it
        items = [large(int.from_bytes(items[0][1:], "big") + 1), *items[1:]]
    assert (port, packet[:2], packet[4:]) == (1, bytes([what, 2]), b"".join(items) + b"\0end")


def test_an_element_too_many_ends_the_parser() -> None:
    pipeline = Pipeline.load(PROGRAM.read_text(), compiled=False)
    packet = bytes(4) + small(1) * 3 + small(9) + large(9) + b"\0"
    assert [sent[4:] for _, sent in pipeline.process(0, packet)] == [packet[4:]]


def short(root: Root) -> None:
    root["header_unions"][0]["header_ids"].pop()


def no_elements(root: Root) -> None:
    root["header_union_stacks"][0]["header_union_ids"] = []


def no_members(root: Root) -> None:
    root["header_union_types"][0]["headers"] = []
    for union in root["header_unions"]:
        union["header_ids"] = []


def twice(root: Root) -> None:
    ids = root["header_union_stacks"][0]["header_union_ids"]
    ids[1] = ids[0]


def two_types(root: Root) -> None:
    root["header_unions"][1]["header_ids"].reverse()


def one_name(root: Root) -> None:
    root["header_union_stacks"][1]["name"] = root["header_union_stacks"][0]["name"]


def a_stacks_name(root: Root) -> None:
    root["header_stacks"].append({"name": "items", "id": 0, "header_type": "small_t", "size": 1, "header_ids": [2]})


def no_union(root: Root) -> None:
    names = [{"type": "header_union", "value": name} for name in ("items[1]", "pick")]
    root["actions"][0]["primitives"].append({"op": "assign_union", "parameters": names})


def no_stack(root: Root) -> None:
    by = {"type": "hexstr", "value": "0x1"}
    stack = {"type": "header_union_stack", "value": "items[0]"}
    root["actions"][0]["primitives"].append({"op": "push", "parameters": [stack, by]})


def negative(root: Root) -> None:
    by = {"type": "hexstr", "value": "-0x1"}
    stack = {"type": "header_union_stack", "value": "items"}
    root["actions"][0]["primitives"].append({"op": "push", "parameters": [stack, by]})


def chosen(root: Root) -> None:
    items, index = {"type": "header_union_stack", "value": "items"}, {"type": "field", "value": ["pick", "what"]}
    union = {"type": "expression", "value": {"op": "dereference_union_stack", "left": items, "right": index}}
    into = {"type": "field", "value": ["pick", "found"]}
    root["actions"][0]["primitives"].append({"op": "assign", "parameters": [into, union]})


def unlike(root: Root) -> None:
    root["header_union_stacks"][1]["header_union_ids"].pop()
    names = [{"type": "header_union_stack", "value": name} for name in ("items", "others")]
    root["actions"][0]["primitives"].append({"op": "assign_union_stack", "parameters": names})


@pytest.mark.refuses("headers: an index from the packet into a stack of unions, as by p4c")
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (short, "stack of header unions items: not every element has a header for each member"),
        (no_elements, r"header stack items\[\]\.small: its elements are not of one header type"),
        (no_members, "stack of header unions items: not every element has a header for each member"),
        (twice, r"header stack items\[\]\.small: .* is an element elsewhere too"),
        (two_types, r"header stack items\[\]\.small: its elements are not of one header type"),
        (one_name, "stack of header unions items: a stack or a member has the same name"),
        (a_stacks_name, "stack of header unions items: a stack or a member has the same name"),
        (no_union, "is no header union"),
        (no_stack, "is no stack of header unions"),
        (negative, "push by a number that may be negative"),
        (chosen, "operation 'dereference_union_stack' is not supported"),
        (unlike, "stacks of header unions of different types are assigned"),
    ],
)
def test_refused_by_name(change: Callable[[Root], None], says: str) -> None:
    root = json.loads(PROGRAM.read_text())
    change(root)
    with pytest.raises(UnsupportedError, match=says):
        Pipeline.load(root, compiled=False)
