"""Entries come and go in any order: generated code finds what a list of all entries, tried one by one, finds."""

from __future__ import annotations

import json
import random
import time
from bisect import bisect_left
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esa.switch import Entry, Pipeline, Table
from esa.switch.compiler import build, lay_out
from esa.switch.compiler.program import Field
from esa.switch.runtime.growing import Ranks, Shards, rank_of
from tests.effort import tries

PROGRAM = Path(__file__).parent / "programs" / "control_plane.json"
SIZE = 40
KEYS = {
    "exact_dst": [Field("ethernet", "dst")],
    "lpm_src": [Field("ethernet", "src")],
    "ternary_both": [Field("standard_metadata", "ingress_port"), Field("ethernet", "dst"), Field("ethernet", "type")],
    "optional_type": [Field("ethernet", "type")],
}
ACTION = {"exact_dst": "MyIngress.forward"}
# Few values, so that entries overlap, and values that differ in their highest and lowest bits.
POOL = [0, 1, 2, 3, 1 << 47, (1 << 47) + 1, (1 << 48) - 1]


class Switch:
    """The program with tables of SIZE entries in blocks of `block`, and its generated look-ups as plain Python."""

    def __init__(self, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(lay_out, "BLOCK", block)
        root = json.loads(PROGRAM.read_text())
        for pipeline in root["pipelines"]:
            for table in pipeline["tables"]:
                table["max_size"] = SIZE
        self.pipeline = Pipeline.load(root, compiled=False)
        self.module: ModuleType = build.plain_module(self.pipeline.source)

    def table(self, name: str) -> Table:
        return self.pipeline.tables[f"MyIngress.{name}"]

    def find(self, name: str, keys: tuple[int, ...]) -> int:
        state = self.pipeline.state
        state.f[:] = 0
        for field, value in zip(KEYS[name], keys, strict=True):
            state.f[self.pipeline.layout.cells[field]] = value
        state.f[self.pipeline.layout.cells[Field("ethernet", "$valid$")]] = 1
        with np.errstate(over="ignore"):
            return int(getattr(self.module, f"table_MyIngress_{name}")(state.f, state.m32, state.m64))


def _matches(kind: str, bits: int, item: Any, key: int) -> bool:
    if item is None:
        return True
    if isinstance(item, int):
        return item == key
    first, second = item
    if kind == "range":
        return bool(first <= key <= second)
    mask = second if kind == "ternary" else ((1 << bits) - 1) ^ ((1 << (bits - second)) - 1)
    return bool(first & mask == key & mask)


def _best(table: Table, entries: dict[int, Entry], keys: tuple[int, ...]) -> int | None:
    """The number of the entry that wins: by prefix length, or by priority, and of several the lowest number."""

    def fits(entry: Entry) -> bool:
        return all(_matches(k.match_type, k.bits, m, v) for k, m, v in zip(table.key, entry.match, keys, strict=True))

    found = {number: entry for number, entry in entries.items() if fits(entry)}
    if table.needs_priority:
        return max(found, key=lambda number: (found[number].priority, -number), default=None)
    return max(found, key=lambda n: sum(m[1] for m in found[n].match if isinstance(m, tuple)), default=None)


def _match(name: str, rng: random.Random) -> tuple[Any, ...]:
    value = rng.choice(POOL)
    if name == "exact_dst":
        return (value,)
    if name == "lpm_src":
        return ((value, rng.choice([0, 1, 16, 46, 47, 48])),)
    if name == "optional_type":
        return (rng.choice([None, 0, 1, 2, 3]),)
    low, mask = rng.choice([0, 1, 2, 3]), rng.choice([0, 1, 2, 1 << 47, (1 << 48) - 1])
    return (rng.randrange(3), (value, mask), (low, rng.choice([low, 3, 65535])))


def _keys(name: str, rng: random.Random) -> tuple[int, ...]:
    if name == "optional_type":
        return (rng.randrange(5),)
    if name == "ternary_both":
        return (rng.randrange(3), rng.choice(POOL), rng.randrange(5))
    return (rng.choice(POOL),)


def _identity(table: Table, entry: Entry) -> tuple[Any, ...]:
    return table.key_of(entry.match, entry.priority)


@pytest.mark.parametrize("block", [2, 3, 8, 1000])
@pytest.mark.parametrize("name", list(KEYS))
def test_look_ups_are_those_of_a_list(name: str, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    switch = Switch(block, monkeypatch)
    table, action = switch.table(name), ACTION.get(name, "MyIngress.count_type")

    @settings(max_examples=tries(20), deadline=None)
    @given(st.integers(0, 2**32))
    def changes(seed: int) -> None:
        rng = random.Random(seed)
        table.clear()
        entries: dict[int, Entry] = {}  # by number, in the order of adding
        for _ in range(rng.choice([10, 60, 150])):
            growing = rng.random() < 0.7
            if growing and len(entries) < SIZE:
                new = Entry(_match(name, rng), action, (1,), rng.randrange(1, 4) if table.needs_priority else 0)
                if all(_identity(table, new) != _identity(table, old) for old in entries.values()):
                    table.add(new.match, new.action, new.params, new.priority)
                    entries[min({*range(SIZE)} - {*entries})] = new  # as BMv2 numbers them
            elif entries:
                gone = entries.pop(rng.choice(list(entries)))
                table.delete(gone.match, gone.priority)
            for _ in range(3):
                keys = _keys(name, rng)
                best = _best(table, entries, keys)
                assert switch.find(name, keys) == (table.size if best is None else best), (seed, keys)
        assert list(table.entries()) == list(entries.values())
        assert len(table) == len(entries)

    changes()


def test_a_table_that_was_full_is_full_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks are never used up, whatever came and went before."""
    switch = Switch(4, monkeypatch)
    table, rng = switch.table("ternary_both"), random.Random(1)
    keys = [(0, (value, (1 << 48) - 1), (0, 65535)) for value in range(SIZE)]
    for _ in range(30):
        rng.shuffle(keys)
        for match in keys:
            table.add(match, "MyIngress.count_type", (1,), rng.randrange(1, 1000))
        assert all(switch.find("ternary_both", (0, value, 7)) != table.size for value in range(SIZE))
        for entry in list(table.entries()):
            if rng.random() < 0.9:
                table.delete(entry.match, entry.priority)
        for entry in list(table.entries()):
            table.delete(entry.match, entry.priority)
    assert switch.find("ternary_both", (0, 1, 7)) == table.size


def _cpu_s(change: Callable[[int], None], count: int) -> float:
    start = time.thread_time()
    for number in range(count):
        change(number)
    return (time.thread_time() - start) / count


@pytest.mark.slow
@pytest.mark.supports("tables: changes that take no longer in a large table")
@pytest.mark.parametrize("name", ["exact_dst", "lpm_src", "ternary_both"])
def test_a_change_takes_no_longer_in_a_large_table(name: str) -> None:
    root = json.loads(PROGRAM.read_text())
    for pipeline in root["pipelines"]:
        for each in pipeline["tables"]:
            each["max_size"] = 1 << 15
    table = Pipeline.load(root, compiled=False).tables[f"MyIngress.{name}"]
    action = ACTION.get(name, "MyIngress.count_type")

    def entry(number: int) -> tuple[tuple[Any, ...], int]:
        value = number * 0x9E3779B97F4A7C15 >> 16 & (1 << 48) - 1
        if name == "exact_dst":
            return (value,), 0
        if name == "lpm_src":
            return ((value, 48 - number % 3),), 0
        return (0, (value, (1 << 48) - 1), (0, 65535)), 1 + value % 5000

    def add(number: int) -> None:
        match, priority = entry(number)
        table.add(match, action, (1,), priority)

    def delete(number: int) -> None:
        match, priority = entry(number)
        table.delete(match, priority)

    few = [_cpu_s(add, 1000), _cpu_s(delete, 1000)]
    _cpu_s(add, 29000)
    many = [_cpu_s(lambda number: add(29000 + number), 1000), _cpu_s(lambda number: delete(28 * number), 1000)]
    for now, before in zip(many, few, strict=True):
        # linear work would make it thirty times as long
        assert now < 8 * before + 20e-6


def test_shards_are_a_dict() -> None:
    shards: Shards[int] = Shards(1 << 20)
    for number in range(5000):
        shards[number, str(number)] = number
    del shards[17, "17"]
    assert shards.get((17, "17")) is None
    assert shards.part((18, "18"))[18, "18"] == 18
    assert shards[4999, "4999"] == 4999


def test_ranks_are_a_sorted_list() -> None:
    rng = random.Random(1)
    pool = [rank_of(rng.randrange(50), number) for number in range(4000)]
    for order in (pool, sorted(pool), sorted(pool, reverse=True)):
        ranks = Ranks()
        there: list[int] = []
        for rank in order:
            near = ranks.add(rank)
            position = bisect_left(there, rank)
            there.insert(position, rank)
            assert near == _beside(there, position)
        assert (list(ranks), ranks.count) == (there, 4000)
        for rank in rng.sample(order, 3990):
            position = bisect_left(there, rank)
            assert ranks.remove(rank) == _beside(there, position)
            del there[position]
            assert (ranks.first, ranks.count) == (there[0], len(there))
        assert list(ranks) == there


def _beside(ranks: list[int], at: int) -> tuple[int | None, int | None]:
    return ranks[at - 1] if at else None, ranks[at + 1] if at + 1 < len(ranks) else None
