"""Hundreds of entries with few masks and few priorities come and go on BMv2 and here: packets meet the same ones."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from tests.switch import bmv2_served
from tests.switch.control import Client, Ids, config, delete, insert, modify, p4, p4info
from tests.switch.served import inject, primary_client

INFO = p4info("ranked")
IDS = Ids(INFO)
TABLES = {table.preamble.alias: table for table in INFO.tables}
BITS = {"a": 16, "b": 32, "c": 128, "d": 16, "e": 8}
PRIORITIES = 6  # few: which of two with the same one wins is the same on both
UPDATES = 900  # of each table


def number(value: int) -> bytes:
    return value.to_bytes(max(1, (value.bit_length() + 7) // 8), "big")


class Entries:
    """Updates of one table: inserts at first, of each shape with its own masks, then as many deletes and changes."""

    def __init__(self, alias: str, rng: random.Random) -> None:
        self.table, self.action, self.rng = TABLES[alias], IDS.action(alias.removeprefix("t_")), rng
        self.there: dict[bytes, p4.Entity] = {}
        self.shapes = [
            {field.id: self._shape(field.match_type, field.bitwidth) for field in self.table.match_fields}
            for _ in range(12)
        ]

    def _shape(self, kind: int, bits: int) -> int:
        if kind == self.table.match_fields[0].LPM:
            return self.rng.choice([0, 8, 64, 65, 120, 128])
        if kind == self.table.match_fields[0].RANGE:
            return self.rng.choice([0, 1, 40, 5000])
        return self.rng.choice([0, 0xFF, (1 << bits) - 256, (1 << bits) - 1])

    def updates(self) -> list[p4.Update]:
        return [self._one(0.95 if at < UPDATES // 2 else 0.4) for at in range(UPDATES)]

    def _one(self, growing: float) -> p4.Update:
        if not self.there or self.rng.random() < growing:
            entity = p4.Entity()
            entry, shape = entity.table_entry, self.rng.choice(self.shapes)
            entry.table_id, entry.priority = self.table.preamble.id, self.rng.randrange(1, PRIORITIES)
            for field in self.table.match_fields:
                self._match(entry, field, shape[field.id])
            new = entry.SerializeToString(deterministic=True) not in self.there
            if new:
                self.there[entry.SerializeToString(deterministic=True)] = entity
            how = insert if new else modify
        else:
            key = self.rng.choice(list(self.there))
            entity = self.there[key]
            how = self.rng.choice([delete, delete, modify])
            if how is delete:
                del self.there[key]
        update = how(entity)
        if how is not delete:
            action = update.entity.table_entry.action.action
            action.action_id = self.action
            action.params.add(param_id=1, value=number(self.rng.randrange(1, 1 << 16)))
        return update

    def _match(self, entry: p4.TableEntry, field, shape: int) -> None:
        value, full = some(self.rng, field.bitwidth), (1 << field.bitwidth) - 1
        if field.match_type == field.EXACT:
            entry.match.add(field_id=field.id).exact.value = number(value)
        elif field.match_type == field.LPM and shape:
            match = entry.match.add(field_id=field.id).lpm
            match.value, match.prefix_len = number(value >> (128 - shape) << (128 - shape)), shape
        elif field.match_type == field.TERNARY and shape:
            match = entry.match.add(field_id=field.id).ternary
            match.value, match.mask = number(value & shape), number(shape)
        elif field.match_type == field.RANGE and min(value + shape, full) - value < full:
            match = entry.match.add(field_id=field.id).range
            match.low, match.high = number(value), number(min(value + shape, full))
        elif field.match_type == field.OPTIONAL and shape:
            entry.match.add(field_id=field.id).optional.value = number(value)


def some(rng: random.Random, bits: int) -> int:
    """Few values, so that entries overlap: the low byte and the high one differ."""
    return rng.randrange(6) | rng.choice([0, 1, 0x80]) << (bits - 8)


def written(seed: int) -> tuple[Callable[[Client], None], list]:
    codes: list = []

    def write(client: Client) -> None:
        for alias in TABLES:
            updates = Entries(alias, random.Random(f"{seed} {alias}")).updates()
            for at in range(0, len(updates), 100):
                codes.extend(client.codes(*updates[at : at + 100]))

    return write, codes


@pytest.mark.bmv2
@pytest.mark.supports("tables: entries with priorities found by a hash for each set of masks")
@pytest.mark.parametrize("seed", [1, 2])
def test_many_entries_with_priorities_are_met_as_on_bmv2(seed: int) -> None:
    rng = random.Random(seed)
    packets = [b"".join(some(rng, bits).to_bytes(bits // 8, "big") for bits in BITS.values()) for _ in range(500)]
    write, codes = written(seed)
    with primary_client(push=False) as (client, device):
        client.push(message=config("ranked"))
        write(client)
        mine = [copy for packet in packets for _, copy in inject(device, 0, packet)]
        tables = {name: table for name, table in device.pipeline.tables.items() if table.needs_priority}
        hashed = {name: int(t._m64[t._place.tuples.count]) for name, t in tables.items()}
        left = {name: len(t) for name, t in tables.items()}
    write, their_codes = written(seed)
    theirs = bmv2_served.run(config("ranked"), write, {0: packets})
    assert codes == their_codes
    assert {code.name for code in codes} == {"OK"}
    assert all(count > 5 for count in hashed.values()), hashed
    assert all(100 < count < 700 for count in left.values()), left
    assert mine == theirs[1]
    met = [{packet[25 + 2 * at : 27 + 2 * at] for packet in mine} for at in range(3)]
    assert all(len(each) > 20 for each in met), [len(each) for each in met]
