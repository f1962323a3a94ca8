"""Large tables with priorities find by hash what a list of all entries, tried one by one, finds; ranges, IPv6, too."""

from __future__ import annotations

import json
import random
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esa.switch import Pipeline, Table
from esa.switch.compiler import build, lay_out
from esa.switch.compiler.layout import identifier
from esa.switch.compiler.program import TableNode, words_of
from esa.switch.runtime import tuple_space
from tests.effort import tries

PROGRAMS = Path(__file__).parent / "programs"
SIZE = 60
TABLES = [("matches", "I.t_masked"), ("matches", "I.t_within"), ("matches", "I.t_perhaps"), ("matches", "I.t_every"),
          ("ipv6", "acl"), ("ipv6", "spans"), ("ipv6", "opt")]  # fmt: skip
Item = tuple[int, int] | int | None


class Switch:
    """A program with tables of SIZE entries in blocks of 4, a hash from `many` on; its look-ups as plain Python."""

    def __init__(self, program: str, table: str, many: int, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(lay_out, "BLOCK", 4)
        monkeypatch.setattr(lay_out, "SAME_MASKS", many)
        monkeypatch.setattr(tuple_space, "SAME_MASKS", many)
        root = json.loads((PROGRAMS / f"{program}.json").read_text())
        for pipeline in root["pipelines"]:
            for each in pipeline["tables"]:
                each["max_size"] = SIZE
        self.pipeline = Pipeline.load(root, compiled=False)
        self.module: ModuleType = build.plain_module(self.pipeline.source)
        (name,) = (each for each in self.pipeline.tables if each == table or each.endswith(f".{table}"))
        self.table: Table = self.pipeline.tables[name]
        controls = (self.pipeline.program.ingress, self.pipeline.program.egress)
        nodes = [node for control in controls for node in control.nodes.values()]
        (self.node,) = (node for node in nodes if isinstance(node, TableNode) and node.name == name)

    def find(self, keys: list[int]) -> int:
        state, cells = self.pipeline.state, self.pipeline.layout.cells
        state.f[:] = 0
        for field, at in cells.items():
            if field.name == "$valid$":
                state.f[at] = 1
        for key, value in zip(self.node.key, keys, strict=True):
            words = np.array(words_of(value, key.bits), np.uint64).view(np.int64)
            state.f[cells[key.field] : cells[key.field] + len(words)] = words
        with np.errstate(over="ignore"):
            return int(getattr(self.module, f"table_{identifier(self.table.name)}")(state.f, state.m32, state.m64))


def _value(rng: random.Random, bits: int) -> int:
    """Few values, which differ in their highest and lowest bits."""
    return rng.choice([0, 1, 2, 3, 1 << (bits - 1), (1 << bits) - 1, (1 << bits) - 2, rng.getrandbits(bits)])


def _item(rng: random.Random, kind: str, bits: int) -> Item:
    full, value = (1 << bits) - 1, _value(rng, bits)
    if kind == "ternary":
        return value, rng.choice([full, full, 0, 1, full - 1, 1 << (bits - 1)])
    if kind == "range":
        other = rng.choice([value, min(value + rng.randrange(5), full), _value(rng, bits)])
        return (value, other) if value <= other else (other, value)
    if kind == "lpm":
        return value, rng.choice([0, 1, bits - 1, bits])
    return rng.choice([None, value]) if kind == "optional" else value


def _fits(kind: str, bits: int, item: Item, key: int) -> bool:
    if item is None or isinstance(item, int):
        return item is None or item == key
    first, second = item
    if kind == "range":
        return first <= key <= second
    full = (1 << bits) - 1
    mask = second if kind == "ternary" else full ^ ((1 << (bits - second)) - 1)
    return first & mask == key & mask


@pytest.mark.supports("tables: entries with priorities found by a hash for each set of masks")
@pytest.mark.parametrize("many", [2, *(pytest.param(many, marks=pytest.mark.slow) for many in (5, 16))])
@pytest.mark.parametrize(("program", "name"), TABLES)
def test_hashes_find_what_a_list_finds(program: str, name: str, many: int, monkeypatch: pytest.MonkeyPatch) -> None:
    switch = Switch(program, name, many, monkeypatch)
    table, action = switch.table, switch.table.actions[0]
    assert table.needs_priority
    params = (1,) * table.parameters(action)
    hashed = []

    @settings(max_examples=tries(12, least=4), deadline=None)
    @given(st.integers(0, 2**32))
    def changes(seed: int) -> None:
        rng = random.Random(seed)
        table.clear()
        entries: dict[int, tuple[tuple[Any, ...], int]] = {}
        growing = 0.5
        shapes = [[_item(rng, key.match_type, key.bits) for key in table.key] for _ in range(3)]
        for step in range(150):
            if step % 30 == 0:
                growing = rng.choice([0.3, 0.6, 0.9])
            if rng.random() < growing and len(entries) < SIZE:
                # Often the masks, or all, of one of few: tuples grow, and entries that differ in priority alone.
                near = rng.random() < 0.7
                match = tuple(
                    _like(rng, key.match_type, key.bits, shape) if near else _item(rng, key.match_type, key.bits)
                    for key, shape in zip(table.key, rng.choice(shapes), strict=True)
                )
                priority = rng.randrange(1, 6)
                identity = table.key_of(match, priority)
                if all(table.key_of(*old) != identity for old in entries.values()):
                    table.add(match, action, params, priority)
                    entries[min({*range(SIZE)} - {*entries})] = match, priority
            elif entries:
                table.delete(*entries.pop(rng.choice(list(entries))))
            hashed.append(int(table._m64[table._place.tuples.count]))
            for _ in range(2):
                keys = [_value(rng, key.bits) for key in table.key]
                if entries and rng.random() < 0.6:
                    match, _ = rng.choice(list(entries.values()))
                    keys = [_met(item, key) for item, key in zip(match, keys, strict=True)]
                found = [
                    (-priority, number)
                    for number, (match, priority) in entries.items()
                    if all(_fits(k.match_type, k.bits, m, v) for k, m, v in zip(table.key, match, keys, strict=True))
                ]
                best = min(found)[1] if found else table.size
                assert switch.find(keys) == best, (seed, step, keys)
        for match, priority in entries.values():
            table.delete(match, priority)
        assert switch.find([_value(rng, key.bits) for key in table.key]) == table.size
        assert int(table._m64[table._place.tuples.count]) == 0, "no tuple keeps a hash"

    changes()
    assert max(hashed) > (0 if many > 5 else 1), "hashes were used"


def _like(rng: random.Random, kind: str, bits: int, item: Item) -> Item:
    """An item with the mask of another."""
    if isinstance(item, tuple) and kind != "range":
        return _value(rng, bits), item[1]
    return item if kind == "range" or item is None else _value(rng, bits)


def _met(item: Item, otherwise: int) -> int:
    """A key that an item matches."""
    return otherwise if item is None else item if isinstance(item, int) else item[0]
