"""Values of more than 64 bits over P4Runtime: what is written is read back, and is what packets meet."""

from __future__ import annotations

import grpc
import pytest

from esa.switch.runtime.device import Device
from tests.switch.control import Client, Ids, config, delete, exact, insert, item_codes, modify, p4, p4info
from tests.switch.served import inject

IPV6, WIDE = Ids(p4info("ipv6")), Ids(p4info("wide"))
ALL_ONES = b"\xff" * 16
PREFIX = bytes.fromhex("20010db8") + bytes(12)
HOST = PREFIX[:-1] + b"\x01"


SERVED = "ipv6"


def entry(table: str, match: dict[int, dict], action: str, *params: bytes, priority: int = 0) -> p4.Entity:
    entity = p4.Entity()
    message = entity.table_entry
    message.table_id, message.priority = IPV6.table(table), priority
    for field, value in match.items():
        message.match.add(field_id=field, **value)
    message.action.action.action_id = IPV6.action(action)
    for at, value in enumerate(params, 1):
        message.action.action.params.add(param_id=at, value=value)
    return entity


ENTRIES = [
    entry("route", {1: {"lpm": {"value": PREFIX, "prefix_len": 33}}}, "forward", b"\x02", b"\x01"),
    entry("route", {1: {"lpm": {"value": HOST, "prefix_len": 128}}}, "forward", b"\x03", b"\x02"),
    entry("hosts", {1: exact(ALL_ONES), 2: exact(b"\x07"), 3: exact(HOST)}, "note", b"\x09", ALL_ONES),
    entry("acl", {1: {"ternary": {"value": PREFIX, "mask": b"\xff" * 4 + bytes(12)}}}, "rewrite", HOST, b"\x05",
          b"\x01", priority=9),
    entry("spans", {1: {"range": {"low": b"\x01", "high": HOST}}, 2: exact(b"\x40")}, "permit", b"\x04", priority=1),
    entry("pairs", {1: exact(b"\x80" + bytes(62) + b"\x01")}, "note", b"\x01", b"\x80" + bytes(15)),
    entry("opt", {1: {"optional": {"value": HOST}}}, "optional_hit", b"\x06", priority=3),
]  # fmt: skip


@pytest.mark.parametrize("entity", ENTRIES, ids=lambda entity: str(entity.table_entry.table_id))
def test_an_entry_is_read_back(served: tuple[Client, Device], entity: p4.Entity) -> None:
    client, _ = served
    client.write(insert(entity))
    everything = p4.Entity(table_entry=p4.TableEntry(table_id=entity.table_entry.table_id))
    assert client.read(everything) == [entity]
    with pytest.raises(grpc.RpcError) as caught:
        client.write(insert(entity))
    assert item_codes(caught.value) == [grpc.StatusCode.ALREADY_EXISTS]
    client.write(delete(entity))
    assert client.read(everything) == []


@pytest.mark.supports("P4Runtime: tables")
def test_packets_meet_what_was_written(served: tuple[Client, Device]) -> None:
    client, device = served
    client.write(*(insert(entity) for entity in ENTRIES))
    head = bytes(12) + b"\x86\xdd" + b"\x60\0\0\x07" + b"\0\0\x06\x40"
    ((port, packet),) = inject(device, 0, head + ALL_ONES + HOST)
    assert port == 3
    assert packet[54:] == bytes(16) + b"\0\x09" + bytes([200, 1]) + ALL_ONES + bytes([0, 6])
    ((port, packet),) = inject(device, 0, head + HOST + PREFIX)
    assert (port, packet[22:54]) == (1, HOST + bytes(15) + b"\x01")  # rewritten first, so no route is found
    client.write(delete(ENTRIES[3]))
    assert inject(device, 0, head + HOST + PREFIX)[0][0] == 2


@pytest.mark.parametrize(
    "entity",
    [
        entry("route", {1: {"lpm": {"value": b"\x01" + bytes(16), "prefix_len": 1}}}, "forward", b"\x02", b"\x01"),
        entry("route", {1: {"lpm": {"value": HOST, "prefix_len": 127}}}, "forward", b"\x02", b"\x01"),
        entry("route", {1: {"lpm": {"value": HOST, "prefix_len": 129}}}, "forward", b"\x02", b"\x01"),
        entry("pairs", {1: exact(b"\x01" + bytes(64))}, "note", b"\x01", b"\x01"),
        entry("pairs", {1: exact(b"\x01")}, "note", b"\x01", b"\x01" + bytes(16)),
    ],
)
def test_what_does_not_fit_is_refused(served: tuple[Client, Device], entity: p4.Entity) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        served[0].write(insert(entity))
    assert item_codes(caught.value) == [grpc.StatusCode.INVALID_ARGUMENT]


@pytest.mark.supports("P4Runtime: registers, which BMv2 does not read")
def test_a_wide_register_is_read_back(served: tuple[Client, Device]) -> None:
    client, _ = served
    client.push(message=config("wide"))
    cell = p4.Entity()
    cell.register_entry.register_id = WIDE.register("kept")
    cell.register_entry.index.index = 3
    cell.register_entry.data.bitstring = b"\x80" + bytes(14) + b"\x05"
    client.write(modify(cell))
    every = p4.Entity(register_entry=p4.RegisterEntry(register_id=WIDE.register("kept")))
    found = [entity.register_entry.data.bitstring for entity in client.read(every)]
    assert found == [b"\0"] * 3 + [b"\x80" + bytes(14) + b"\x05"] + [b"\0"] * 4
    client.push(p4.SetForwardingPipelineConfigRequest.RECONCILE_AND_COMMIT, config("wide"))
    assert client.read(cell) == [cell]
    cell.register_entry.data.bitstring = b"\x01" + bytes(16)
    with pytest.raises(grpc.RpcError) as caught:
        client.write(modify(cell))
    assert item_codes(caught.value) == [grpc.StatusCode.OUT_OF_RANGE]
