"""Entries that a program states, const and not, and keys of type `error`, over P4Runtime: `programs/initial.p4`."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest

from esa.switch.runtime.device import Device
from tests.switch.control import Client, Ids, config, delete, insert, p4, p4info
from tests.switch.served import inject, primary_client

IDS = Ids(p4info("initial"))


@pytest.fixture
def served() -> Iterator[tuple[Client, Device]]:
    with primary_client(push=False) as (client, device):
        client.push(message=config("initial"))
        yield client, device


def table_entry(table: str, key: bytes | None = None, action: str = "", param: bytes = b"") -> p4.Entity:
    entity = p4.Entity()
    entity.table_entry.table_id = IDS.table(table)
    if key is not None:
        entity.table_entry.match.add(field_id=1).exact.value = key
    if action:
        entity.table_entry.action.action.action_id = IDS.action(action)
        entity.table_entry.action.action.params.add(param_id=1, value=param)
    return entity


@pytest.mark.supports("tables: initial entries")
def test_only_entries_of_a_constant_table_are_const(served) -> None:
    client, device = served
    assert [e.table_entry.is_const for e in client.read(table_entry("constant"))] == [True]
    assert [e.table_entry.is_const for e in client.read(table_entry("initial"))] == [False, False]
    assert [packet[1] for op in range(4) for _, packet in inject(device, 1, bytes([op, 9, 0, 0]))] == [9, 1, 2, 3]


def test_an_error_is_a_key_of_32_bits(served) -> None:
    client, device = served
    too_short = table_entry("by_error", b"\x01", "forward", b"\x05")
    client.write(insert(too_short))
    assert client.read(table_entry("by_error")) == [too_short]
    assert [port for port, _ in inject(device, 1, b"\x00")] == [5]
    assert [port for port, _ in inject(device, 1, bytes(8))] == [3]
    client.write(delete(table_entry("by_error", b"\x01")))
    assert [port for port, _ in inject(device, 1, b"\x00")] == [3]
    wide = table_entry("by_error", b"\x01" + bytes(4), "forward", b"\x05")
    assert client.codes(insert(wide)) == [grpc.StatusCode.INVALID_ARGUMENT]
