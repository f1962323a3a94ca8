"""Digests: what packets leave for the control plane, and the lists in which it comes."""

from __future__ import annotations

import contextlib
import json
import queue
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from esa.switch import DigestRecord, Pipeline, UnsupportedError
from esa.switch.p4runtime.digests import MAX_UNACKNOWLEDGED, DigestLists
from esa.switch.runtime.device import Device
from tests.switch import bmv2_served
from tests.switch.control import Client, Ids, config, delete, insert, item_codes, modify, p4, p4info
from tests.switch.served import inject, primary_client

SOURCE = (Path(__file__).parent / "programs" / "digests.json").read_text()
IDS = Ids(p4info("digests"))
LEARNED, PAIR = IDS.digest("learned_t"), IDS.digest("digest_0")
OK, INVALID, NOT_FOUND = grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND
MS = 10**6


def packet(kind: int, mac: int, change: int = 0, small: int = 0) -> bytes:
    return bytes([kind, *mac.to_bytes(6, "big"), change & 255, small << 5])


@pytest.mark.supports("externs: digests")
@pytest.mark.parametrize("compiled", [False, True])
def test_packets_leave_the_last_digest_that_they_ask_for(compiled: bool) -> None:
    pipeline = Pipeline.load(SOURCE, compiled=compiled)
    assert pipeline.digests is not None
    for kind in (0, 1, 2, 3):
        pipeline.process(7, packet(kind, 0xA0 + kind, -3, 5))
    assert pipeline.digests.take() == [
        DigestRecord("learned_t", (0xA1, 7, 253, 5)),
        DigestRecord("tuple_0", (0xA2, 2)),
        DigestRecord("tuple_0", (0xA3, 3)),
    ]
    assert pipeline.digests.take() == []


def test_digests_that_find_no_room_are_counted() -> None:
    pipeline = Pipeline.load(SOURCE, compiled=False)
    assert pipeline.digests is not None
    for mac in range(4099):
        pipeline.process(7, packet(1, mac))
    assert [record.values[0] for record in pipeline.digests.take()] == list(range(4096))
    assert pipeline.digests.lost == 3


@pytest.mark.refuses("externs: digests of anything but fields")
def test_programs_that_cannot_be_are_refused_by_name() -> None:
    for change, says in (("id", "number 0"), ("element", "element of type 'hexstr'"), ("call", "generate_digest")):
        root = json.loads(SOURCE)
        if change == "id":
            root["learn_lists"][0]["id"] = 0
        elif change == "element":
            root["learn_lists"][0]["elements"][0]["type"] = "hexstr"
        else:
            root["learn_lists"][0]["id"] = 9
        with pytest.raises(UnsupportedError, match=says):
            Pipeline.load(root, compiled=False)


# --- lists, by a given clock ----------------------------------------------------------------------------------------


def lists(**options: int) -> DigestLists:
    """Lists of digests of one field."""

    def fill(values: tuple[int, ...], data: p4.P4Data) -> None:
        data.bitstring = bytes(values)

    made = DigestLists(7, "d", fill)
    made.write(p4.Update.INSERT, p4.DigestEntry(digest_id=7, config=p4.DigestEntry.Config(**options)))
    return made


def seen(messages: Iterator[p4.StreamMessageResponse]) -> list[tuple[int, bytes]]:
    """(list id, digests) of each list."""
    return [(each.digest.list_id, b"".join(one.bitstring for one in each.digest.data)) for each in messages]


def learn(made: DigestLists, digests: bytes, now_ns: int) -> list[tuple[int, bytes]]:
    return seen(made.learn([(each,) for each in digests], now_ns))


def test_a_list_goes_when_it_is_full_or_old() -> None:
    made = lists(max_timeout_ns=10, max_list_size=3)
    assert learn(made, b"\x01\x02", 5) == []
    assert seen(made.due(14)) == []
    assert seen(made.due(15)) == [(1, b"\x01\x02")]
    assert learn(made, b"\x01\x01\x02\x03\x04", 16) == [(2, b"\x01\x02\x03")]  # distinct ones
    assert seen(made.due(26)) == [(3, b"\x04")]
    assert seen(made.due(99)) == []


def test_lists_have_no_more_than_is_allowed_now() -> None:
    made = lists(max_timeout_ns=100, max_list_size=9)
    assert learn(made, b"\x01\x02\x03", 0) == []
    config = p4.DigestEntry.Config(max_timeout_ns=100, max_list_size=2)
    made.write(p4.Update.MODIFY, p4.DigestEntry(digest_id=7, config=config))
    assert seen(made.due(1)) == [(1, b"\x01\x02")]
    assert seen(made.due(100)) == [(2, b"\x03")]


def test_without_a_delay_each_digest_is_a_list() -> None:
    assert learn(lists(max_list_size=9), b"\x01\x02", 0) == [(1, b"\x01"), (2, b"\x02")]
    assert learn(lists(max_timeout_ns=9, max_list_size=1), b"\x01\x02", 0) == [(1, b"\x01"), (2, b"\x02")]


def test_what_is_not_acknowledged_does_not_come_again_for_a_while() -> None:
    made = lists(ack_timeout_ns=100)
    assert learn(made, b"\x01\x02", 0) == [(1, b"\x01"), (2, b"\x02")]
    assert learn(made, b"\x01\x02", 50) == []
    made.acknowledge(1)
    made.acknowledge(9)  # of none
    assert learn(made, b"\x01\x02", 60) == [(3, b"\x01")]
    assert learn(made, b"\x01\x02", 100) == [(4, b"\x02")]
    assert learn(made, b"\x01\x02", 160) == [(5, b"\x01")]


def test_without_an_acknowledgement_time_all_comes_again() -> None:
    made = lists()
    assert [learn(made, b"\x01", now) for now in (0, 1)] == [[(1, b"\x01")], [(2, b"\x01")]]


def test_what_is_remembered_has_an_end() -> None:
    made = DigestLists(7, "d", lambda values, data: None)
    entry = p4.DigestEntry(digest_id=7, config=p4.DigestEntry.Config(ack_timeout_ns=1 << 60, max_timeout_ns=1 << 60))
    made.write(p4.Update.INSERT, entry)
    sent = 0
    for first in range(0, 2 * MAX_UNACKNOWLEDGED, 4096):
        sent += len(list(made.learn([(number,) for number in range(first, first + 4096)], 0)))
    assert sent == 2 * MAX_UNACKNOWLEDGED // 4096
    assert len(list(made.learn([(number,) for number in range(4096)], 0))) == 1  # the oldest are forgotten


# --- over P4Runtime -------------------------------------------------------------------------------------------------


SERVED = "digests"


def digest(id_: int, **options: int) -> p4.Entity:
    entity = p4.Entity()
    entity.digest_entry.digest_id = id_
    if options:
        entity.digest_entry.config.CopyFrom(p4.DigestEntry.Config(**options))
    return entity


def acknowledge(client: Client, id_: int, list_id: int) -> None:
    request = p4.StreamMessageRequest()
    request.digest_ack.digest_id, request.digest_ack.list_id = id_, list_id
    client.send(request)


@pytest.mark.supports("P4Runtime: digest lists and acknowledgements")
def test_lists_reach_the_primary_client(served: tuple[Client, Device]) -> None:
    client, device = served
    client.write(insert(digest(LEARNED, max_list_size=2, max_timeout_ns=10**12, ack_timeout_ns=10**12)))
    inject(device, 3, packet(1, 0xA1, -3, 5))
    inject(device, 3, packet(2, 0xA2))  # not configured
    inject(device, 3, packet(1, 0x00, 4, 0))
    message = client.receive().digest
    assert (message.digest_id, len(message.data)) == (LEARNED, 2)
    assert message.timestamp > 1.6e18
    members = [[member.bitstring for member in each.struct.members] for each in message.data]
    assert members == [[b"\xa1", b"\x03", b"\xfd", b"\x05"], [b"\0", b"\x03", b"\x04", b"\0"]]
    inject(device, 3, packet(1, 0xA1, -3, 5))
    inject(device, 3, packet(1, 0xA4))
    assert client.nothing()
    acknowledge(client, LEARNED, message.list_id)
    client.write(insert(digest(PAIR)))
    again = None
    for _ in range(50):  # the acknowledgement is read by a thread of its own, sooner or later
        inject(device, 3, packet(1, 0xA1, -3, 5))
        with contextlib.suppress(queue.Empty):
            again = client.receive(timeout=0.1).digest
            break
    assert again is not None
    assert len(again.data) == 2
    inject(device, 3, packet(2, 0xA2))
    pair = client.receive().digest
    assert pair.digest_id == PAIR
    assert [member.bitstring for member in pair.data[0].tuple.members] == [b"\xa2", b"\x02"]


def test_a_list_that_is_not_full_comes_in_time(served: tuple[Client, Device]) -> None:
    client, device = served
    client.write(insert(digest(LEARNED, max_list_size=9, max_timeout_ns=50 * MS)))
    inject(device, 3, packet(1, 0xA1))
    assert len(client.receive().digest.data) == 1


def test_configurations_are_kept_read_and_refused(served: tuple[Client, Device]) -> None:
    client, device = served
    first, second = digest(LEARNED, max_list_size=5), digest(PAIR, ack_timeout_ns=6)
    assert client.codes(modify(first), delete(first), insert(first), insert(first)) == [
        NOT_FOUND,
        NOT_FOUND,
        OK,
        grpc.StatusCode.ALREADY_EXISTS,
    ]
    with pytest.raises(grpc.RpcError) as caught:
        client.read(second)
    assert item_codes(caught.value) == [NOT_FOUND]
    client.write(insert(second))
    assert sorted(client.read(digest(0)), key=str) == sorted([first, second], key=str)
    assert client.codes(modify(digest(LEARNED, max_list_size=-1)), insert(digest(5))) == [INVALID, INVALID]
    client.push(p4.SetForwardingPipelineConfigRequest.RECONCILE_AND_COMMIT, config("digests"))
    assert client.read(digest(LEARNED)) == [first]
    client.write(delete(first), modify(digest(PAIR)))
    inject(device, 3, packet(1, 0xA1))
    inject(device, 3, packet(2, 0xA1))
    assert client.receive().digest.digest_id == PAIR
    assert client.nothing()
    acknowledge(client, 5, 1)
    assert client.receive().error.canonical_code == INVALID.value[0]


def test_p4info_and_program_must_agree(served: tuple[Client, Device]) -> None:
    client, message = served[0], config("digests")
    del message.p4info.type_info.structs["learned_t"].members[0]
    with pytest.raises(grpc.RpcError) as caught:
        client.push(message=message)
    assert caught.value.code() == INVALID
    message = config("digests")
    message.p4info.digests[0].type_spec.header.name = "h_t"
    client.push(message=message)
    assert client.codes(insert(digest(LEARNED))) == [grpc.StatusCode.UNIMPLEMENTED]


@pytest.mark.supports("externs: digests", "P4Runtime: digest lists and acknowledgements")
@pytest.mark.bmv2
def test_lists_are_bmv2s() -> None:
    packets = [packet(kind, mac % 7, 0, mac % 5) for mac in range(40) for kind in (0, 1)]
    configured = digest(LEARNED, max_list_size=4, max_timeout_ns=200 * MS, ack_timeout_ns=10**12)
    found: list[list[p4.P4Data]] = []

    def read(client: Client) -> None:
        found.append([])
        while True:
            try:
                message = client.receive(timeout=1)
            except queue.Empty:
                return
            if message.WhichOneof("update") == "digest":
                found[-1].append(list(message.digest.data))

    message = config("digests")  # its server takes neither tuples nor int<8>
    names = [each.preamble.name for each in message.p4info.digests]
    del message.p4info.digests[names.index("digest_0")]
    for each in message.p4info.type_info.structs["learned_t"].members:
        each.type_spec.bitstring.bit.bitwidth = each.type_spec.bitstring.bit.bitwidth or 8
    bmv2_served.run(message, lambda client: client.write(insert(configured)), {0: packets}, read)
    with primary_client(push=False) as (client, device):
        client.push(message=config("digests"))
        client.write(insert(configured))
        for each in packets:
            inject(device, 0, each)
        read(client)
    theirs, mine = ([data for each in lists for data in each] for lists in found)
    assert len(theirs) == 35  # distinct ones
    assert theirs == mine
