"""BMv2 JSON as older compilers and people write it: the same program as in today's form."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from esa.switch import Pipeline, UnsupportedError
from esa.switch.compiler.bmv2json import load_program
from esa.switch.compiler.codegen import generate

PROGRAMS = Path(__file__).parent / "programs"


def _program(name: str) -> dict[str, Any]:
    """A program whose actions have names of their own, as those of older compilers."""
    root: dict[str, Any] = json.loads((PROGRAMS / f"{name}.json").read_text())
    names = {}
    for action in root["actions"]:
        names[action["id"]] = f"{action['name']}_{action['id']}"
        action["name"] = names[action["id"]]
    for pipeline in root["pipelines"]:
        for table in pipeline["tables"]:
            renamed = dict(zip(table["actions"], table["action_ids"], strict=True))
            table["actions"] = [names[number] for number in table["action_ids"]]
            table["next_tables"] = {
                names[renamed[name]] if name in renamed else name: goal for name, goal in table["next_tables"].items()
            }
    return root


def _older(root: dict[str, Any]) -> dict[str, Any]:
    root = copy.deepcopy(root)
    for parser in root["parsers"]:
        for state in parser["parse_states"]:
            for transition in state["transitions"]:
                if transition["type"] == "default":
                    transition["value"] = "default"
                del transition["type"]
    for pipeline in root["pipelines"]:
        for table in pipeline["tables"]:
            del table["action_ids"], table["type"]
    for action in root["actions"]:
        for primitive in action["primitives"]:
            if primitive["op"] == "assign":
                primitive["op"] = "modify_field"
            elif primitive["op"] == "assign_header":
                primitive["op"] = "copy_header"
    for name in ("checksums", "calculations", "register_arrays"):
        if not root[name]:
            del root[name]
    return root


@pytest.mark.supports("programs: JSON of older compilers, and by hand")
@pytest.mark.parametrize("name", ["control_plane", "features", "idioms", "passes"])
def test_the_older_form_is_the_same_program(name: str) -> None:
    today = _program(name)
    assert generate(load_program(_older(today)))[0] == generate(load_program(today))[0]


@pytest.mark.parametrize(
    ("op", "wanted"),
    [("add", 17), ("subtract", 7), ("bit_xor", 9), ("bit_or", 13), ("bit_and", 4), ("shift_left", 128)],
)
def test_primitives_of_p4_14_are_operations(op: str, wanted: int) -> None:
    target = {"type": "field", "value": ["h", "v"]}
    values = [_number("0xc"), _number("0x5")]
    assert _said(op, [target, *values]) == wanted


@pytest.mark.supports("programs: P4_14, as p4c-bm2-ss compiles it")
@pytest.mark.parametrize(("op", "wanted"), [("add_to_field", 104), ("subtract_from_field", 96)])
def test_primitives_of_p4_14_change_a_field(op: str, wanted: int) -> None:
    target = {"type": "field", "value": ["h", "v"]}
    assert _said(op, [target, {"type": "hexstr", "value": "0x4"}]) == wanted


def _said(op: str, parameters: list[dict[str, Any]]) -> int:
    """What is in field `v`, which was 100, after a primitive in the place of the message of `say`."""
    root = json.loads((PROGRAMS / "idioms.json").read_text())
    (action,) = [action for action in root["actions"] if action["name"] == "I.say"]
    action["primitives"] = [
        {"op": op, "parameters": parameters},
        {"op": "modify_field", "parameters": [_field("standard_metadata", "egress_spec"), _number("0x1")]},
    ]
    ((_, packet),) = Pipeline.load(root, compiled=False).process(0, bytes([3, 100, *bytes(13)]))
    return packet[1]


def _field(header: str, name: str) -> dict[str, Any]:
    return {"type": "field", "value": [header, name]}


def _number(text: str) -> dict[str, Any]:
    return {"type": "hexstr", "value": text}


def test_an_action_that_two_have_the_name_of_is_refused() -> None:
    root = json.loads((PROGRAMS / "control_plane.json").read_text())
    for table in root["pipelines"][0]["tables"]:
        del table["action_ids"]
    with pytest.raises(UnsupportedError, match="actions are named"):
        Pipeline.load(root, compiled=False)


@pytest.mark.supports("programs: P4_14, as p4c-bm2-ss compiles it")
def test_metadata_of_p4_14_is_the_targets() -> None:
    """Queueing and multicast in headers of their own, as P4_14 has them."""
    root = json.loads((PROGRAMS / "control_plane.json").read_text())
    root["field_aliases"] = []
    (kind,) = [item for item in root["header_types"] if item["name"] == "standard_metadata"]
    moved = [field for field in kind["fields"] if field[0] in ("mcast_grp", "egress_rid")]
    kind["fields"] = [field for field in kind["fields"] if field not in moved]
    root["header_types"].append({"name": "intrinsic", "id": 90, "fields": moved})
    root["headers"].append(
        {"name": "intrinsic_metadata", "id": 90, "header_type": "intrinsic", "metadata": True, "pi_omit": True}
    )
    text = json.dumps(root)
    for name in ("mcast_grp", "egress_rid"):
        text = text.replace(f'["standard_metadata", "{name}"]', f'["intrinsic_metadata", "{name}"]')
    pipeline = Pipeline.load(text, compiled=False)
    pipeline.multicast.set(1, [(2, 0), (3, 7)])
    pipeline.tables["MyIngress.exact_dst"].add((5,), "MyIngress.multicast", (1,))
    copies = pipeline.process(1, bytes([0, 0, 0, 0, 0, 5, *bytes(8)]))
    assert [(port, packet[11]) for port, packet in copies] == [(2, 0), (3, 7)]
