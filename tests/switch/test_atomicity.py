"""Batches that are carried out whole or not at all."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import grpc
import pytest

from esa.switch.runtime.device import Device
from tests.switch import test_digests as digests
from tests.switch import test_idle as idle
from tests.switch import test_meters as meters
from tests.switch import test_p4runtime_profiles as profiles
from tests.switch import test_value_sets as value_sets
from tests.switch.control import (
    Client,
    config,
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
from tests.switch.served import inject, primary_client

OK, ABORTED = grpc.StatusCode.OK, grpc.StatusCode.ABORTED
KINDS = [p4.WriteRequest.ROLLBACK_ON_ERROR, p4.WriteRequest.DATAPLANE_ATOMIC]
DST = b"\x02\x00\x00\x00\x00\xa1"


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[Client, Device]]:
    with primary_client(push=False) as pair:
        yield pair


def forward(dst: bytes = DST, port: bytes = b"\x03", **fields) -> p4.Entity:
    return entry("exact_dst", {1: exact(dst)}, "forward", port, **fields)


def anything(priority: int) -> p4.Entity:
    """An entry of a key that matches anything but the port."""
    return entry("ternary_both", {1: exact(b"\x01")}, "count_type", b"\x01", priority=priority)


def default(table: str, action: str | None = None, *params: bytes) -> p4.Entity:
    return entry(table, None, action, *params, is_default_action=True)


def failed_codes(client: Client, kind: int, *updates: p4.Update) -> list[grpc.StatusCode]:
    with pytest.raises(grpc.RpcError) as caught:
        client.write(*updates, atomicity=kind)
    return item_codes(caught.value)


def direct(packets: int) -> p4.Entity:
    entity = p4.Entity()
    entity.direct_counter_entry.table_entry.CopyFrom(forward().table_entry)
    entity.direct_counter_entry.table_entry.ClearField("action")
    entity.direct_counter_entry.data.packet_count = packets
    return entity


PRESENT = {
    "control_plane": [
        insert(forward(counter_data={"packet_count": 5, "byte_count": 7}, metadata=b"note")),
        insert(anything(3)),
        insert(group(4, (1, 1))),
        insert(session(7, (2, 2), packet_length_bytes=9)),
        modify(register("words", 3, b"\x2a")),
        modify(counter("port_counter", 2, 11, 22)),
        modify(default("keyless", "count_type", b"\x05")),
    ],
    "meters": [insert(meters.entry(1, 1, 2, 3, 4)), modify(meters.meter("by_packet", 1, 1, 2, 3, 4))],
    "selectors": [
        insert(profiles.member(1, "flood", 1, profile="shared")),
        insert(profiles.one_shot(9, (profiles.action("flood", 1), 2))),
    ],
    "digests": [insert(digests.digest(digests.LEARNED, max_list_size=3))],
    "value_sets": [modify(value_sets.kinds(b"\x05"))],
    "ageing": [insert(idle.entry("exact_a", 1, 10**15))],
}
CHANGES = {
    "control_plane": [
        modify(forward(port=b"\x05")),
        delete(forward()),
        insert(forward(b"\x07")),
        insert(anything(9)),
        modify(anything(3)),
        delete(anything(3)),
        modify(group(4, (2, 2))),
        delete(group(4)),
        insert(group(5, (3, 3))),
        modify(session(7, (2, 3))),
        delete(session(7)),
        insert(session(8, (1, 1))),
        modify(register("words", 3, b"\x2b")),
        modify(register("words", None, b"\x01")),
        modify(counter("port_counter", None, 1, 2)),
        modify(direct(99)),
        modify(default("keyless")),
        modify(default("exact_dst", "forward", b"\x01")),
    ],
    "meters": [
        modify(meters.entry(1, 5, 6, 7, 8)),
        delete(meters.entry(1)),
        insert(meters.entry(2, 1, 1, 1, 1)),
        modify(meters.meter("by_packet", None)),
        modify(meters.direct(1)),
    ],
    "selectors": [
        modify(profiles.member(1, "drop", profile="shared")),
        insert(profiles.member(2, "drop", profile="shared")),
        modify(profiles.one_shot(9, (profiles.action("drop"), 1))),
        delete(profiles.entry(9)),
        insert(profiles.entry(3, table="plain", member=1)),
    ],
    "digests": [
        modify(digests.digest(digests.LEARNED)),
        delete(digests.digest(digests.LEARNED)),
        insert(digests.digest(digests.PAIR)),
    ],
    "value_sets": [modify(value_sets.kinds(b"\x01")), modify(value_sets.pairs((b"\x02", None, b"")))],
    "ageing": [modify(idle.entry("exact_a", 1)), delete(idle.entry("exact_a", 1)), insert(idle.entry("ternary_b", 3))],
}  # fmt: skip


def reads(name: str) -> list[p4.Entity]:
    """Requests for all state of a program that a control plane can read."""
    table, defaults, cells, values = p4.Entity(), p4.Entity(), p4.Entity(), p4.Entity()
    table.table_entry.counter_data.SetInParent()
    table.table_entry.meter_config.SetInParent()
    defaults.table_entry.is_default_action = True
    cells.meter_entry.SetInParent()
    values.value_set_entry.SetInParent()
    own = [profiles.member(0, profile=""), profiles.group(0, profile=""), digests.digest(0), cells, values]
    return [table, defaults, *own, group(0), session(0), register(""), counter("")]


def everything(client: Client, name: str) -> list[str]:
    return sorted(map(str, client.read(*reads(name))))


@pytest.mark.supports("P4Runtime: batches, CONTINUE_ON_ERROR, ROLLBACK_ON_ERROR, DATAPLANE_ATOMIC")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", list(PRESENT))
def test_a_batch_that_fails_leaves_no_trace(served: tuple[Client, Device], name: str, kind: int) -> None:
    client = served[0]
    client.push(message=config(name))
    client.write(*PRESENT[name])
    before = everything(client, name)
    broken = p4.Update(type=p4.Update.INSERT)
    rng = random.Random(name)
    for change in CHANGES[name]:
        assert failed_codes(client, kind, change, broken) == [ABORTED, grpc.StatusCode.INVALID_ARGUMENT]
        assert everything(client, name) == before, change
    for _ in range(20):
        changes = rng.sample(CHANGES[name], rng.randint(1, len(CHANGES[name])))
        codes = failed_codes(client, kind, *changes, broken)
        assert sum(code != ABORTED for code in codes) == 1
        assert everything(client, name) == before


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_that_does_not_fail_is_done(served: tuple[Client, Device], kind: int) -> None:
    client = served[0]
    client.push(message=config("control_plane"))
    client.write(insert(forward()), modify(register("words", 3, b"\x2a")), delete(forward()), atomicity=kind)
    assert client.read(entry("exact_dst"), register("words", 3)) == [register("words", 3, b"\x2a")]


@pytest.mark.supports("P4Runtime: batches, CONTINUE_ON_ERROR, ROLLBACK_ON_ERROR, DATAPLANE_ATOMIC")
def test_packets_meet_all_of_a_batch_or_nothing(served: tuple[Client, Device]) -> None:
    client, device = served
    client.push(message=config("control_plane"))
    frame = DST + bytes(50)
    seen: list[list[tuple[int, bytes]]] = []
    pipeline = device.pipeline
    table = next(table for name, table in pipeline.tables.items() if name.endswith("exact_dst"))
    put: Callable[..., int] = table.insert

    def watched(*args) -> int:
        seen.append([] if device.turns.held() else inject(device, 1, frame))
        return put(*args)

    table.insert = watched
    client.write(insert(forward(b"\x07")), insert(forward()), atomicity=p4.WriteRequest.DATAPLANE_ATOMIC)
    assert seen == [[], []]  # held still each time
    assert inject(device, 1, frame)[0][0] == 3


@pytest.mark.refuses("P4Runtime: in a batch that may be undone: to delete members, to change or delete groups")
def test_what_cannot_be_undone_is_refused_by_name(served: tuple[Client, Device]) -> None:
    client = served[0]
    client.push(message=config("selectors"))
    client.write(insert(profiles.member(1, "flood", 1)), insert(profiles.group(5, (1, 1))))
    for update in (delete(profiles.group(5)), modify(profiles.group(5)), delete(profiles.member(1))):
        assert failed_codes(client, KINDS[0], update) == [grpc.StatusCode.UNIMPLEMENTED]
    assert client.read(profiles.group(5)) == [profiles.group(5, (1, 1))]


def test_capabilities_are_those_of_this_device(served: tuple[Client, Device]) -> None:
    stub = served[0].stub
    for device_id in (0, 1):
        assert stub.Capabilities(p4.CapabilitiesRequest(device_id=device_id)).p4runtime_api_version == "1.4.1"
    with pytest.raises(grpc.RpcError) as caught:
        stub.Capabilities(p4.CapabilitiesRequest(device_id=2))
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND


def test_packets_wait_only_while_they_could_see_half_of_a_change(served: tuple[Client, Device]) -> None:
    client, device = served
    client.push(message=config("control_plane"))
    table = device.pipeline.tables["MyIngress.exact_dst"]
    index, held = table._index, []

    class Watched:
        def __getattr__(self, name: str) -> Callable[..., None]:
            return lambda *args: (held.append((name, device.turns.held())), getattr(index, name)(*args))[1]

    check: Callable[..., object] = table._check_action
    table._check_action = lambda *args: (held.append(("check", device.turns.held())), check(*args))[1]
    table._index = Watched()
    client.write(insert(forward()), delete(forward()))
    assert held == [("check", False), ("add", True), ("remove", True)]
    assert not device.turns.held()
