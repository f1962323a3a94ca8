"""Counters, registers, multicast groups and clone sessions over P4Runtime."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import grpc
import numpy as np
import pytest

from esa.switch.p4runtime.arrays import read_register
from esa.switch.p4runtime.p4info import ArrayInfo
from esa.switch.runtime.stateful import Register
from tests.switch.control import (
    Client,
    counter,
    delete,
    entry,
    exact,
    group,
    insert,
    item_codes,
    modify,
    p4,
    register,
    session,
)
from tests.switch.served import inject

OK = grpc.StatusCode.OK
INVALID = grpc.StatusCode.INVALID_ARGUMENT
OUT_OF_RANGE = grpc.StatusCode.OUT_OF_RANGE
NOT_FOUND = grpc.StatusCode.NOT_FOUND
DST = b"\x02\x00\x00\x00\x00\xa1"
FRAME = DST + bytes(6) + b"\x12\x34" + bytes(86)


SERVED = "control_plane"


@pytest.fixture
def client(served) -> Client:
    return served[0]


def read_codes(client: Client, *entities: p4.Entity) -> list[grpc.StatusCode]:
    with pytest.raises(grpc.RpcError) as caught:
        client.read(*entities)
    return item_codes(caught.value)


@pytest.mark.supports("externs: counters, indirect and direct", "P4Runtime: counters, indirect and direct")
def test_counters_are_read_one_all_of_one_and_all(served) -> None:
    client, device = served
    inject(device, 2, FRAME)
    inject(device, 2, FRAME)
    inject(device, 9, FRAME)
    assert client.read(counter("port_counter", 2)) == [counter("port_counter", 2, 2, 200)]
    expected = [counter("port_counter", i, *{1: (1, 100), 2: (2, 200)}.get(i, (0, 0))) for i in range(8)]
    assert client.read(counter("port_counter")) == expected
    assert client.read(counter("")) == expected


def test_counters_are_written_one_or_all(client: Client) -> None:
    client.write(modify(counter("port_counter", None, 7, 70)))
    client.write(modify(counter("port_counter", 3, 1, 2)))
    client.write(modify(counter("port_counter", 4)))
    read = client.read(counter("port_counter"))
    assert read == [counter("port_counter", i, *((1, 2) if i == 3 else (7, 70))) for i in range(8)]


def test_counts_beyond_a_signed_number_wrap(served) -> None:
    client, device = served
    array = next(array for name, array in device.pipeline.counters.items() if name.endswith("port_counter"))
    array.packets[1] = 2**64 - 1  # P4Runtime has an int64
    assert client.read(counter("port_counter", 1)) == [counter("port_counter", 1, -1, 0)]


def test_registers_hold_what_the_program_wrote(served) -> None:
    client, device = served
    inject(device, 1, FRAME)
    assert client.read(register("narrow", 0)) == [register("narrow", 0, b"\x21")]
    assert client.read(register("wide", 0)) == [register("wide", 0, DST)]


@pytest.mark.parametrize(
    ("kind", "read"),
    [
        ("bit", {"bitstring": b"\xff"}),
        ("int", {"bitstring": b"\xff"}),  # -1
        ("bool", {"bool": True}),
    ],
)
def test_a_cell_is_read_as_what_it_holds(kind: str, read: dict[str, Any]) -> None:
    info = ArrayInfo(7, "r", 2, kind, Register("r", 8, np.zeros(2, np.uint32)))
    info.array.write(1, 255)
    found = list(read_register(info, p4.RegisterEntry(), nullcontext))
    zero = {"bool": False} if kind == "bool" else {"bitstring": b"\0"}
    assert [cell.register_entry for cell in found] == [
        p4.RegisterEntry(register_id=7, index=p4.Index(index=index), data=data)
        for index, data in enumerate((zero, read))
    ]


@pytest.mark.supports("P4Runtime: registers, which BMv2 does not read")
def test_registers_are_written_one_or_all_and_read_back(client: Client) -> None:
    client.write(modify(register("words", None, b"\x11")), modify(register("words", 5, b"\xff\xff\xff\xff")))
    expected = [register("words", i, b"\xff\xff\xff\xff" if i == 5 else b"\x11") for i in range(16)]
    assert client.read(register("words")) == expected
    client.write(modify(register("wide", 3, b"\xff" * 8)))
    assert client.read(register("wide", 3)) == [register("wide", 3, b"\xff" * 8)]
    assert len(client.read(register(""))) == 16 + 4 + 4


@pytest.mark.parametrize(
    ("entity", "code"),
    [
        (register("words", -1, b"\x01"), INVALID),
        (register("words", 16, b"\x01"), OUT_OF_RANGE),
        (register("words", 0, b"\x01" + bytes(4)), OUT_OF_RANGE),
        (register("narrow", 0, b"\x80"), OUT_OF_RANGE),
        (register("words", 0), INVALID),
        (register("", 0, b"\x01"), INVALID),
        (counter("port_counter", -1, 1), INVALID),
        (counter("port_counter", 8, 1), OUT_OF_RANGE),
        (counter("", 0, 1), INVALID),
    ],
)
def test_cells_that_are_not_there_are_refused(client: Client, entity: p4.Entity, code: grpc.StatusCode) -> None:
    assert client.codes(modify(entity)) == [code]
    assert client.codes(insert(entity), delete(entity)) == [INVALID, INVALID]


def test_reads_beyond_the_array_are_refused(client: Client) -> None:
    codes = read_codes(client, register("words", 16), counter("port_counter", -1), register("words", 0))
    assert codes == [OUT_OF_RANGE, INVALID, OK]


def test_multicast_groups_replicate(served) -> None:
    client, device = served
    client.write(
        insert(group(5, (b"\x01", 11), (2, 12), (b"\x02", 13))),
        insert(entry("exact_dst", {1: exact(DST)}, "multicast", b"\x05")),
    )
    out = inject(device, 3, FRAME)
    assert sorted((port, int.from_bytes(packet[6:12], "big")) for port, packet in out) == [(1, 11), (2, 12), (2, 13)]
    client.write(modify(group(5, (b"\x04", 1))))
    assert [port for port, _ in inject(device, 3, FRAME)] == [4]
    client.write(delete(group(5)))
    assert inject(device, 3, FRAME) == []


def test_copies_to_ports_that_no_interface_can_have_go_nowhere_else(served) -> None:
    client, device = served
    entity = group(5, (600, 11), (2, 12), (b"\x02\x01", 13))
    client.write(insert(entity), insert(entry("exact_dst", {1: exact(DST)}, "multicast", b"\x05")))
    assert client.read(group(5)) == [entity]
    assert sorted(port for port, _ in inject(device, 3, FRAME)) == [2, 513, 600]


@pytest.mark.supports("P4Runtime: multicast groups and clone sessions")
def test_groups_are_read_as_they_were_written(client: Client) -> None:
    a, b = group(1, (b"\x01", 0), (b"\x00\x02", 3)), group(2, (7, 1))
    a.packet_replication_engine_entry.multicast_group_entry.metadata = b"note"
    assert client.codes(insert(a), insert(b), insert(a)) == [OK, OK, grpc.StatusCode.ALREADY_EXISTS]
    assert client.read(group(1)) == [a]
    assert client.read(group(0)) == [a, b]
    assert read_codes(client, group(3)) == [NOT_FOUND]
    assert client.codes(delete(group(2)), delete(group(2)), modify(group(2))) == [OK, NOT_FOUND, NOT_FOUND]


@pytest.mark.parametrize(
    ("entity", "code"),
    [
        (group(0, (1, 1)), INVALID),
        (group(1 << 16, (1, 1)), OUT_OF_RANGE),
        (group(1, (b"\x01\x00\x00", 1)), INVALID),
        (group(1, (1 << 16, 1)), INVALID),
        (group(1, (b"", 1)), INVALID),
        (group(1, (1, 1 << 16)), INVALID),
        (group(1, (1, 1), (b"\x01", 1)), INVALID),
    ],
)
def test_groups_that_break_a_rule_are_refused(client: Client, entity: p4.Entity, code: grpc.StatusCode) -> None:
    assert client.codes(insert(entity)) == [code]
    assert client.read(group(0)) == []


@pytest.mark.refuses("P4Runtime: a class of service of clones that no queue of a port has")
def test_clone_sessions_copy(served) -> None:
    client, device = served
    client.write(
        insert(session(7, (b"\x06", 9))),
        insert(entry("exact_dst", {1: exact(DST)}, "mirror", b"\x03")),
    )
    out = dict(inject(device, 1, FRAME))
    assert out[3] == FRAME
    assert out[6] == DST + (9).to_bytes(6, "big") + FRAME[12:]
    assert client.read(session(0)) == [session(7, (b"\x06", 9))]
    client.write(delete(session(7)))
    assert inject(device, 1, FRAME) == [(3, FRAME)]
    assert read_codes(client, session(7)) == [NOT_FOUND]
    assert client.codes(insert(session(0, (1, 1))), insert(session(1 << 15, (1, 1)))) == [INVALID, INVALID]
    refused = [insert(session(1, (1, 1), class_of_service=1)), insert(session(1, (1, 1), packet_length_bytes=-1))]
    assert client.codes(*refused) == [grpc.StatusCode.UNIMPLEMENTED, INVALID]


@pytest.mark.supports("P4Runtime: multicast groups and clone sessions")
def test_clones_are_truncated_as_their_session_says(served) -> None:
    client, device = served
    client.write(
        insert(session(7, (b"\x06", 9), packet_length_bytes=20)),
        insert(entry("exact_dst", {1: exact(DST)}, "mirror", b"\x03")),
    )
    clone = DST + (9).to_bytes(6, "big") + FRAME[12:]
    assert sorted(inject(device, 1, FRAME)) == [(3, FRAME), (6, clone[:20])]
    assert client.read(session(7)) == [session(7, (b"\x06", 9), packet_length_bytes=20)]
    client.write(modify(session(7, (b"\x06", 9), packet_length_bytes=4096)))
    assert sorted(inject(device, 1, FRAME)) == [(3, FRAME), (6, clone)]
    client.write(modify(session(7, (b"\x06", 9), packet_length_bytes=30)), delete(session(7)))
    client.write(insert(session(7, (b"\x06", 9))))
    assert sorted(inject(device, 1, FRAME)) == [(3, FRAME), (6, clone)]


@pytest.mark.refuses("P4Runtime: extern entries")
def test_what_this_target_lacks_is_refused_by_name(client: Client) -> None:
    for kind in ("extern_entry",):
        entity = p4.Entity()
        getattr(entity, kind).SetInParent()
        assert client.codes(insert(entity)) == [grpc.StatusCode.UNIMPLEMENTED]
