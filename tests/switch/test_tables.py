"""Tables: what the control plane puts in is what packets find."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esa.switch import BadEntry, DuplicateEntry, NoSuchEntry, Pipeline, Table, TableFull
from esa.switch.compiler.layout import TablePlace
from esa.switch.compiler.program import Action, Field, TableKey, TableNode
from esa.switch.runtime.hash_index import scatter
from tests.effort import tries

PROGRAMS = Path(__file__).parent / "programs"
ACTIONS = (Action(0, "I.set", (("port", 9), ("tag", 64)), ()), Action(1, "I.drop", (), ()))


def table(*keys: tuple[str, int], size: int = 8) -> tuple[Table, np.ndarray]:
    fields = tuple(TableKey(f"k{at}", kind, Field("h", f"f{at}"), bits, None) for at, (kind, bits) in enumerate(keys))
    linear = any(kind in ("ternary", "range", "optional") for kind, _ in keys)
    lpm = not linear and any(kind == "lpm" for kind, _ in keys)
    words = 2 * len(keys) if linear else len(keys) + lpm
    mask = 0 if linear else 4 * size - 1
    place = TablePlace(size, words, 2, mask, 0, 1000, 2000, 3000, 0, 0, 4000, 4001)
    node = TableNode("I.t", fields, "exact", size, (0, 1), 1, (), False, False, None, (), None, None, False, None)
    memory = np.zeros(8000, np.int64)
    return Table(node, ACTIONS, place, memory), memory


def test_entries_come_and_go() -> None:
    t, _ = table(("exact", 16), ("exact", 9))
    t.add((1, 2), "I.set", (3, 2**64 - 1))
    t.add((1, 3), "I.drop")
    with pytest.raises(DuplicateEntry, match=r"I\.t"):
        t.add((1, 2), "I.drop")
    assert [e.match for e in t.entries()] == [(1, 2), (1, 3)]
    t.modify((1, 2), "I.drop")
    assert t.get((1, 2)).action == "I.drop"
    t.delete((1, 2))
    with pytest.raises(NoSuchEntry):
        t.delete((1, 2))
    with pytest.raises(NoSuchEntry):
        t.modify((9, 9), "I.drop")
    t.clear()
    assert len(t) == 0


def test_a_full_table_says_so_and_rows_are_used_again() -> None:
    t, _ = table(("exact", 16), size=3)
    for key in range(3):
        t.add((key,), "I.drop")
    with pytest.raises(TableFull, match="all 3 entries"):
        t.add((3,), "I.drop")
    t.delete((1,))
    t.add((3,), "I.drop")


@pytest.mark.parametrize(
    ("match", "action", "params", "says"),
    [
        ((1,), "I.drop", (), "its key has 2 fields"),
        ((1, 1 << 9), "I.drop", (), "9 bits"),
        ((1, None), "I.drop", (), "exact"),
        ((1, 2), "I.nothing", (), "no action"),
        ((1, 2), "I.set", (1,), "takes 2 parameters"),
        ((1, 2), "I.set", (512, 0), "does not fit 9 bits"),
    ],
)
def test_bad_entries_are_named(match: tuple[int, ...], action: str, params: tuple[int, ...], says: str) -> None:
    t, _ = table(("exact", 16), ("exact", 9))
    with pytest.raises(BadEntry, match=says):
        t.add(match, action, params)


def test_const_entries_and_defaults_stay() -> None:
    pipeline = Pipeline.load((PROGRAMS / "features.json").read_text(), compiled=False)
    acl = pipeline.tables["I.acl"]
    assert acl.const
    assert len(acl) == 4
    with pytest.raises(BadEntry, match="const"):
        acl.add((0, 0, 0), "I.deny")
    assert acl.default == ("I.permit", (99,))
    acl.set_default("NoAction")
    acl.reset_default()
    assert acl.default == ("I.permit", (99,))


def lookup(t: Table, memory: np.ndarray, keys: tuple[int, ...]) -> int:
    """The generated look-up, by way of the features program's text, is tested in test_pipeline; this is the index."""
    place = t._place
    slot = scatter(keys) & place.hash_mask
    while memory[place.index + slot] != 0:
        number = int(memory[place.index + slot])
        first = place.keys + (number - 1) * place.words
        if tuple(memory[first : first + place.words]) == keys:
            return number - 1
        slot = (slot + 1) & place.hash_mask
    return t.size


@settings(max_examples=tries(60), deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5), st.integers(0, 5)), max_size=120))
def test_the_hash_index_survives_any_order_of_changes(changes: list[tuple[bool, int, int]]) -> None:
    t, memory = table(("exact", 16), ("exact", 9), size=12)
    known: set[tuple[int, int]] = set()
    for add, a, b in changes:
        if add and (a, b) not in known and len(known) < 12:
            t.add((a, b), "I.drop")
            known.add((a, b))
        elif not add and (a, b) in known:
            t.delete((a, b))
            known.remove((a, b))
    for a in range(6):
        for b in range(6):
            assert (lookup(t, memory, (a, b)) != t.size) == ((a, b) in known)


PROGRAM = (PROGRAMS / "features.json").read_text()


def unlocked() -> Pipeline:
    """The features program with its const entries taken out, so that tables can be filled at will."""
    import json

    root = json.loads(PROGRAM)
    for pipeline in root["pipelines"]:
        for item in pipeline["tables"]:
            item.pop("entries", None)
            if item["key"]:
                item["max_size"] = 64
    return Pipeline.load(root)


def ip_packet(src: int, dst: int, dport: int, proto: int = 6) -> bytes:
    head = bytes.fromhex("4500002800004001") + bytes([9, proto]) + b"\0\0"
    return (
        b"\1" * 12
        + b"\x08\x00"
        + head
        + src.to_bytes(4, "big")
        + dst.to_bytes(4, "big")
        + bytes(2)
        + (dport.to_bytes(2, "big") + bytes(4))
    )


@pytest.mark.supports("tables: exact, lpm, ternary and range keys; constant entries")
def test_longest_prefix_wins() -> None:
    rng = random.Random(4)
    pipeline = unlocked()
    table = pipeline.tables["I.route"]
    prefixes: dict[tuple[int, int], int] = {}
    while len(prefixes) < 40:
        bits = rng.choice([0, 1, 8, 9, 16, 24, 31, 32])
        value = (0x0A0B0000 | rng.getrandbits(16)) >> (32 - bits) << (32 - bits) if bits else 0
        if (value, bits) not in prefixes:
            prefixes[value, bits] = len(prefixes)
            table.add(((value, bits),), "I.count_via", (prefixes[value, bits], 1))
    for key in rng.sample(sorted(prefixes), 10):
        table.delete((key,))
        del prefixes[key]
    for _ in range(200):
        dst = rng.choice([0x0A0B0000 | rng.getrandbits(16), rng.getrandbits(32), *[v for v, _ in prefixes]])
        fitting = [(b, tag) for (v, b), tag in prefixes.items() if b == 0 or dst >> (32 - b) == v >> (32 - b)]
        want = max(fitting)[1] if fitting else 0
        ((_, packet),) = pipeline.process(0, ip_packet(0, dst, 1)) or [(0, b"")]
        at = 14 + 20 + 8
        assert int.from_bytes(packet[at + 14 : at + 16], "big") == want if fitting else True
    assert int(pipeline.direct_counters["I.route"].packets.sum()) > 0


@pytest.mark.supports("tables: exact, lpm, ternary and range keys; constant entries")
def test_ternary_and_range_by_priority() -> None:
    rng = random.Random(6)
    pipeline = unlocked()
    table = pipeline.tables["I.acl"]
    assert table.needs_priority
    rules: list[tuple[int, ...]] = []
    for priority in rng.sample(range(1, 1000), 50):
        mask = rng.choice([0, 0xFF, 0xF0, 0xFFFFFFFF])
        low, high = sorted(rng.choices(range(16), k=2))
        rule = (priority, rng.getrandbits(8) & mask, mask, low, high, rng.choice([6, 17]), len(rules))
        rules.append(rule)
        table.add(((rule[1], mask), (low, high), rule[5]), "I.permit", (rule[6],), priority)
    gone = rules.pop(7)
    table.delete(((gone[1], gone[2]), (gone[3], gone[4]), gone[5]), gone[0])
    pipeline.tables["I.route"].set_default("I.count_via", (5, 2))
    for _ in range(200):
        src, port = rng.getrandbits(8), rng.randrange(16)
        fitting = [r for r in rules if src & r[2] == r[1] and r[3] <= port <= r[4] and r[5] == 6]
        want = max(fitting)[6] if fitting else 99
        ((_, packet),) = pipeline.process(0, ip_packet(src, 1, port))
        at = 14 + 20 + 8
        assert packet[at + 19] == want
