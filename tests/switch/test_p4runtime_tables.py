"""Table entries: P4Runtime 1.4, sections 9.1 and 9.3."""

from __future__ import annotations

import grpc
import pytest

from tests.switch.control import IDS, Client, delete, entry, exact, insert, item_codes, modify, p4, register
from tests.switch.served import inject

OK = grpc.StatusCode.OK
INVALID = grpc.StatusCode.INVALID_ARGUMENT
DENIED = grpc.StatusCode.PERMISSION_DENIED
DST = b"\x02\x00\x00\x00\x00\xa1"


SERVED = "control_plane"


@pytest.fixture
def client(served) -> Client:
    return served[0]


def forward(dst: bytes = DST, port: bytes = b"\x03", **fields) -> p4.Entity:
    return entry("exact_dst", {1: exact(dst)}, "forward", port, **fields)


def ternary(match: dict, priority: int = 5, **fields) -> p4.Entity:
    return entry("ternary_both", {1: exact(b"\x01"), **match}, "count_type", b"\x01", priority=priority, **fields)


MASKED = {2: {"ternary": {"value": b"\x10", "mask": b"\xf0"}}}
RANGED = {3: {"range": {"low": b"\x08\x00", "high": b"\x08\xff"}}}
LPM = {1: {"lpm": {"value": b"\x02\x00\x00\x00\x00\x00", "prefix_len": 16}}}
OPTIONAL = {1: {"optional": {"value": b"\x08\x06"}}}


@pytest.mark.supports("P4Runtime: tables")
@pytest.mark.parametrize(
    "entity",
    [
        forward(metadata=b"note", controller_metadata=9),
        entry("lpm_src", LPM, "count_type", b"\x01"),
        entry("lpm_src", {}, "count_type", b"\x01"),
        ternary(MASKED),
        ternary(RANGED, metadata=b"range"),
        ternary({**MASKED, **RANGED}),
        ternary({}),
        entry("optional_type", OPTIONAL, "count_type", b"\x01", priority=1),
        entry("optional_type", {}, "count_type", b"\x01", priority=1),
    ],
    ids=["exact", "lpm", "lpm-any", "ternary", "range", "both", "any", "optional", "optional-any"],
)
def test_an_entry_is_inserted_read_modified_and_deleted(client: Client, entity: p4.Entity) -> None:
    name = entity.table_entry.table_id
    assert client.codes(insert(entity)) == [OK]
    assert client.codes(insert(entity)) == [grpc.StatusCode.ALREADY_EXISTS]
    assert client.read(entity) == [entity]
    everything = p4.Entity()
    everything.table_entry.table_id = name
    assert client.read(everything) == [entity]
    changed = p4.Entity()
    changed.CopyFrom(entity)
    changed.table_entry.action.action.params[0].value = b"\x07"
    changed.table_entry.metadata = b"changed"
    assert client.codes(modify(changed)) == [OK]
    assert client.read(everything) == [changed]
    changed.table_entry.ClearField("action")
    assert client.codes(delete(changed)) == [OK]
    assert client.read(everything) == []
    assert client.codes(delete(changed)) == [grpc.StatusCode.NOT_FOUND]
    assert client.codes(modify(entity)) == [grpc.StatusCode.NOT_FOUND]


def test_entries_steer_packets(served) -> None:
    client, device = served
    frame = DST + bytes(6) + b"\x12\x34" + bytes(46)
    assert inject(device, 1, frame) == []
    client.write(insert(forward(port=b"\x04")))
    assert inject(device, 1, frame) == [(4, frame)]
    client.write(delete(forward()))
    assert inject(device, 1, frame) == []


def test_the_higher_priority_wins(served) -> None:
    client, device = served
    low, high = ternary({}, 5), ternary(MASKED, 9)
    high.table_entry.action.action.params[0].value = b"\x02"
    client.write(insert(low), insert(high))
    inject(device, 1, b"\x00\x00\x00\x00\x00\x15" + bytes(6) + b"\x77\x77")
    assert [e.register_entry.data.bitstring for e in client.read(register("words"))][:4] == [
        b"\x00",
        b"\x00",
        b"\x77\x77",
        b"\x00",
    ]
    inject(device, 1, b"\x00\x00\x00\x00\x00\x25" + bytes(6) + b"\x66\x66")
    assert client.read(register("words", 1))[0].register_entry.data.bitstring == b"\x66\x66"


def with_match(entity: p4.Entity, **fields) -> p4.Entity:
    for name, value in fields.items():
        setattr(entity.table_entry, name, value)
    return entity


@pytest.mark.parametrize(
    ("entity", "code"),
    [
        (forward(dst=b""), INVALID),
        (forward(dst=b"\x01" + bytes(6)), INVALID),
        (forward(port=b"\x02\x00"), INVALID),
        (forward(port=b""), INVALID),
        (forward(priority=1), INVALID),
        (forward(is_const=True), INVALID),
        (forward(idle_timeout_ns=1), INVALID),
        (forward(meter_config={"cir": 1}), INVALID),
        (entry("lpm_src", LPM, "count_type", b"\x01", counter_data={"packet_count": 1}), INVALID),
        (entry("exact_dst", {}, "forward", b"\x03"), INVALID),
        (entry("exact_dst", {2: exact(DST)}, "forward", b"\x03"), INVALID),
        (entry("exact_dst", {1: OPTIONAL[1]}, "forward", b"\x03"), INVALID),
        (entry("exact_dst", {1: exact(DST)}, "forward"), INVALID),
        (entry("exact_dst", {1: exact(DST)}, "forward", b"\x03", b"\x03"), INVALID),
        (entry("exact_dst", {1: exact(DST)}), INVALID),
        (entry("exact_dst", {1: exact(DST)}, "NoAction"), DENIED),
        (entry("lpm_src", LPM, "forward", b"\x01"), INVALID),
        (entry("lpm_src", {1: {"lpm": {"value": DST, "prefix_len": 16}}}, "count_type", b"\x01"), INVALID),
        (entry("lpm_src", {1: {"lpm": {"value": b"\x00", "prefix_len": 0}}}, "count_type", b"\x01"), INVALID),
        (entry("lpm_src", {1: {"lpm": {"value": b"\x00", "prefix_len": 49}}}, "count_type", b"\x01"), INVALID),
        (ternary({}, priority=0), INVALID),
        (ternary({}, priority=-1), INVALID),
        (ternary({2: {"ternary": {"value": b"\x11", "mask": b"\x10"}}}), INVALID),
        (ternary({2: {"ternary": {"value": b"\x00", "mask": b"\x00"}}}), INVALID),
        (ternary({3: {"range": {"low": b"\x02", "high": b"\x01"}}}), INVALID),
        (ternary({3: {"range": {"low": b"\x00", "high": b"\xff\xff"}}}), INVALID),
        (entry("constant", {1: exact(b"\x01")}, "count_type", b"\x01"), DENIED),
        (entry("keyless", {}, "count_type", b"\x01"), INVALID),
        (entry("exact_dst", None, "drop", is_default_action=True), INVALID),
        (entry("", {1: exact(DST)}, "forward", b"\x03"), INVALID),
    ],
)
def test_inserts_that_break_a_rule_are_refused(client: Client, entity: p4.Entity, code: grpc.StatusCode) -> None:
    assert client.codes(insert(entity)) == [code]
    assert client.read(entry("exact_dst")) == []


def test_a_table_takes_as_many_entries_as_it_says(client: Client) -> None:
    updates = [insert(forward(bytes([i + 1]))) for i in range(5)]
    assert client.codes(*updates) == [OK] * 4 + [grpc.StatusCode.RESOURCE_EXHAUSTED]
    assert client.codes(delete(forward(b"\x01")), updates[4]) == [OK, OK]


def test_a_batch_goes_on_after_an_error_and_reports_each_update(client: Client) -> None:
    codes = client.codes(
        insert(forward(b"\x01")),
        insert(forward(b"\x01")),
        modify(forward(b"\x09")),
        p4.Update(entity=forward(b"\x0a")),
        p4.Update(type=p4.Update.INSERT),
        insert(forward(b"\x02")),
    )
    assert codes == [OK, grpc.StatusCode.ALREADY_EXISTS, grpc.StatusCode.NOT_FOUND, INVALID, INVALID, OK]
    assert len(client.read(entry("exact_dst"))) == 2


def default(table: str, action: str | None = None, *params: bytes) -> p4.Entity:
    return entry(table, None, action, *params, is_default_action=True)


def test_default_entries_are_modified_and_reset(served) -> None:
    client, device = served
    frame = DST + bytes(8)
    assert client.read(default("exact_dst")) == [default("exact_dst", "drop")]
    assert client.codes(modify(default("exact_dst", "forward", b"\x05"))) == [OK]
    assert client.read(default("exact_dst")) == [default("exact_dst", "forward", b"\x05")]
    assert inject(device, 1, frame) == [(5, frame)]
    assert client.codes(modify(default("exact_dst"))) == [OK]
    assert client.read(default("exact_dst")) == [default("exact_dst", "drop")]
    assert client.codes(modify(default("constant", "count_type", b"\x01"))) == [OK]
    assert client.codes(modify(default("keyless", "count_type", b"\x01"))) == [OK]
    constant = default("lpm_src", "NoAction")
    constant.table_entry.is_const = True
    assert client.read(default("lpm_src")) == [constant]


@pytest.mark.parametrize(
    ("entity", "code"),
    [
        (default("lpm_src", "NoAction"), DENIED),
        (default("exact_dst", "count_type", b"\x01"), DENIED),
        (with_match(default("exact_dst", "drop"), priority=1), INVALID),
        (entry("exact_dst", {1: exact(DST)}, "drop", is_default_action=True), INVALID),
    ],
)
def test_default_entries_that_break_a_rule_are_refused(client: Client, entity: p4.Entity, code) -> None:
    assert client.codes(modify(entity)) == [code]
    assert client.codes(insert(entity), delete(entity)) == [INVALID, INVALID]


def test_constant_tables_are_read_and_nothing_else(client: Client) -> None:
    entries = client.read(entry("constant"))
    assert sorted(e.table_entry.match[0].exact.value for e in entries) == [b"\x08\x00", b"\x08\x06"]
    assert all(e.table_entry.is_const for e in entries)
    for entity in entries:
        entity.table_entry.is_const = False
        assert client.codes(modify(entity), delete(entity)) == [DENIED, DENIED]
    assert len(client.read(entry("constant"))) == 2


@pytest.mark.supports("P4Runtime: reads with wildcards")
def test_wildcard_reads_filter_by_what_is_set(client: Client) -> None:
    a, b = ternary(MASKED, 5, metadata=b"a"), ternary(RANGED, 6, metadata=b"b")
    client.write(insert(a), insert(b), insert(forward()))
    assert client.read(entry("ternary_both")) == [a, b]
    assert client.read(entry("ternary_both", priority=6)) == [b]
    assert client.read(entry("ternary_both", metadata=b"a")) == [a]
    assert client.read(entry("ternary_both", None, "NoAction")) == []
    assert client.read(entry("ternary_both", None, "count_type")) == [a, b]
    everywhere = client.read(entry(""))
    assert {e.table_entry.table_id for e in everywhere} == {
        IDS.table(name) for name in ("ternary_both", "exact_dst", "constant")
    }
    assert len(everywhere) == 5
    assert client.read(entry("ternary_both", {1: exact(b"\x02")}, priority=5)) == []


def test_reads_in_error_are_reported_one_by_one_after_the_others_entities(client: Client) -> None:
    client.write(insert(forward()))
    unknown = p4.Entity()
    unknown.table_entry.table_id = 123
    extern = p4.Entity()
    extern.extern_entry.extern_id = 1
    request = p4.ReadRequest(device_id=1, entities=[forward(), unknown, p4.Entity(), extern])
    stream = client.stub.Read(request, timeout=10)
    assert list(next(stream).entities) == [forward()]
    with pytest.raises(grpc.RpcError) as caught:
        next(stream)
    assert item_codes(caught.value) == [OK, INVALID, INVALID, grpc.StatusCode.UNIMPLEMENTED]


@pytest.mark.supports("externs: counters, indirect and direct", "P4Runtime: counters, indirect and direct")
def test_direct_counters_count_and_can_be_set(served) -> None:
    client, device = served
    client.write(insert(forward(counter_data={"packet_count": 10, "byte_count": 1000})))
    frame = DST + bytes(86)
    inject(device, 1, frame)
    inject(device, 1, frame)
    asked = entry("exact_dst", {1: exact(DST)}, counter_data={})
    (read,) = client.read(asked)
    assert (read.table_entry.counter_data.packet_count, read.table_entry.counter_data.byte_count) == (12, 1184)
    (read,) = client.read(forward())
    assert not read.table_entry.HasField("counter_data")

    direct = p4.Entity()
    direct.direct_counter_entry.table_entry.CopyFrom(entry("exact_dst", {1: exact(DST)}).table_entry)
    (read,) = client.read(direct)
    assert read.direct_counter_entry.data.packet_count == 12
    direct.direct_counter_entry.data.packet_count = 3
    client.write(modify(direct))
    assert client.codes(insert(direct), delete(direct)) == [INVALID, INVALID]
    inject(device, 1, frame)
    (read,) = client.read(direct)
    assert (read.direct_counter_entry.data.packet_count, read.direct_counter_entry.data.byte_count) == (4, 92)
    wildcard = p4.Entity()
    wildcard.direct_counter_entry.table_entry.table_id = IDS.table("exact_dst")
    assert client.read(wildcard) == [read]
    everywhere = p4.Entity()
    everywhere.direct_counter_entry.table_entry.SetInParent()
    assert client.read(everywhere) == [read]

    client.write(modify(forward(port=b"\x06")))
    assert client.read(direct) == [read]
    client.write(delete(forward()), insert(forward()))
    assert client.read(direct)[0].direct_counter_entry.data.packet_count == 0


def test_a_direct_counter_of_no_entry_is_not_found(client: Client) -> None:
    direct = p4.Entity()
    direct.direct_counter_entry.table_entry.CopyFrom(entry("exact_dst", {1: exact(DST)}).table_entry)
    direct.direct_counter_entry.data.packet_count = 3
    assert client.codes(modify(direct)) == [grpc.StatusCode.NOT_FOUND]
    with pytest.raises(grpc.RpcError) as caught:
        client.read(direct)
    assert item_codes(caught.value) == [grpc.StatusCode.NOT_FOUND]
    direct.direct_counter_entry.table_entry.table_id = IDS.table("lpm_src")
    assert client.codes(modify(direct)) == [INVALID]
