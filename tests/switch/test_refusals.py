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
    next(h for h in root["header_types"] if h["name"] == "eth_t")["fields"][0][1] = 128


def union(root: Root) -> None:
    root["header_unions"].append({"name": "u", "id": 0, "union_type": "u_t", "header_ids": []})


def primitive(root: Root) -> None:
    root["actions"][0]["primitives"].append({"op": "levitate", "parameters": []})


def algorithm(root: Root) -> None:
    root["calculations"][0]["algo"] = "xxh64"


def wide_register(root: Root) -> None:
    root["register_arrays"].append({"name": "I.r", "id": 9, "size": 4, "bitwidth": 65})


def extern(root: Root) -> None:
    root["extern_instances"].append({"name": "I.e", "id": 0, "type": "mystery"})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (varbit, "eth_t: field options is a varbit"),
        (wide, "eth.dst has 128 bits"),
        (union, "header union u"),
        (primitive, "levitate"),
        (algorithm, "xxh64"),
        (wide_register, "I.r has 65 bits"),
        (extern, "I.e: extern instances"),
    ],
)
def test_refused_by_name(change: Callable[[Root], None], says: str) -> None:
    root = json.loads((PROGRAMS / "features.json").read_text())
    change(root)
    with pytest.raises(UnsupportedError, match=says):
        Pipeline.load(root, compiled=False)


def test_not_a_program() -> None:
    with pytest.raises(UnsupportedError, match="not a BMv2 JSON program"):
        Pipeline.load("{}")
