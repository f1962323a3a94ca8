"""Translated strings: names that a controller gives to ports, addresses and kinds, as numbers of the program."""

from __future__ import annotations

import grpc
import pytest

from esa.p4runtime import p4info_pb2
from esa.switch.p4runtime.status import P4RuntimeError
from esa.switch.p4runtime.translation import Strings
from tests.switch.control import config, delete, entry, exact, group, insert, item_codes, p4
from tests.switch.served import inject, primary_client

PORTS = {1: "Ethernet1", 2: "Ethernet2", 5: "Ethernet5"}
HOST = (0xAB).to_bytes(6, "big")


def translated() -> p4.ForwardingPipelineConfig:
    """The control-plane program with ports, addresses and kinds that a controller names."""
    message = config("control_plane")
    info = message.p4info
    for name in ("port_t", "host_t", "kind_t"):
        info.type_info.new_types[name].translated_type.sdn_string.SetInParent()

    def name(part: p4info_pb2.MatchField | p4info_pb2.Action.Param, type_: str) -> None:
        part.type_name.name, part.bitwidth = type_, 0

    for table in info.tables:
        if table.preamble.alias == "exact_dst":
            name(table.match_fields[0], "host_t")
        if table.preamble.alias == "optional_type":
            name(table.match_fields[0], "kind_t")
    for action in info.actions:
        if action.preamble.alias in ("forward", "mirror"):
            name(action.params[0], "port_t")
    for header in info.controller_packet_metadata:
        name(header.metadata[0], "port_t")
    return message


def forward(host: bytes, port: bytes) -> p4.Entity:
    return entry("exact_dst", {1: exact(host)}, "forward", port)


@pytest.mark.supports("P4Runtime: translated types: strings that name values")
def test_names_are_the_same_value_wherever_they_stand() -> None:
    with primary_client(push=False, ports=PORTS) as (client, device):
        client.push(message=translated())
        kind = entry("optional_type", {1: {"optional": {"value": b"arp"}}}, "count_type", b"\x03", priority=1)
        client.write(insert(forward(b"alice", b"Ethernet5")), insert(forward(b"171", b"3")), insert(kind))
        assert client.read(entry("exact_dst")) == [forward(b"alice", b"Ethernet5"), forward(b"171", b"3")]
        assert client.read(forward(b"alice", b"")) == [forward(b"alice", b"Ethernet5")]
        assert client.read(entry("optional_type", priority=1)) == [kind]
        assert inject(device, 1, HOST + bytes(8))[0][0] == 3  # 171 is itself
        alice = ((1 << 48) - 3).to_bytes(6, "big")  # a name of no number has the highest that is free
        assert inject(device, 1, alice + bytes(8))[0][0] == 5
        again = client.codes(insert(forward(b"alice", b"1")), insert(forward(b"bob", b"Ethernet2")))
        assert again == [grpc.StatusCode.ALREADY_EXISTS, grpc.StatusCode.OK]
        client.write(delete(forward(b"alice", b"1")), insert(group(1, (b"Ethernet2", 1), (b"5", 1))))
        assert [port for port, _ in device.pipeline.multicast.get(1)] == [2, 5]


def test_packets_tell_their_ports_by_name() -> None:
    with primary_client(push=False, ports=PORTS) as (client, device):
        client.push(message=translated())
        sent: list[bytes] = []
        device.on_packet_out = sent.append
        request = p4.StreamMessageRequest()
        request.packet.payload = HOST
        for metadata, value in ((1, b"Ethernet5"), (2, b"\x00")):
            request.packet.metadata.add(metadata_id=metadata, value=value)
        client.send(request)
        client.write(insert(entry("exact_dst", {1: exact(b"171")}, "to_cpu", b"\x04")))  # by then it has come
        while not sent:
            pass
        assert sent == [(5 << 7).to_bytes(2, "big") + HOST]
        ((_, packet),) = inject(device, 5, HOST + bytes(8))
        device.on_packet_in(packet)
        assert [each.value for each in client.receive().packet.metadata] == [b"Ethernet5", b"\x04"]


@pytest.mark.refuses("P4Runtime: translated strings as ternary, lpm and range keys")
def test_a_string_is_matched_whole() -> None:
    message = translated()
    for table in message.p4info.tables:
        if table.preamble.alias == "lpm_src":
            table.match_fields[0].type_name.name = "host_t"
    with primary_client(push=False) as (client, _), pytest.raises(grpc.RpcError) as caught:
        client.push(message=message)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "a string is matched lpm; exact and optional are allowed" in caught.value.details()


def test_an_empty_name_and_one_that_is_too_many() -> None:
    with primary_client(push=False) as (client, _):
        client.push(message=translated())
        with pytest.raises(grpc.RpcError) as caught:
            client.write(insert(forward(b"", b"1")))
        assert item_codes(caught.value) == [grpc.StatusCode.INVALID_ARGUMENT]
    strings = Strings("small_t", 2, {})
    assert [strings.number(text, "x") for text in (b"a", b"0", b"a")] == [1, 0, 1]
    with pytest.raises(P4RuntimeError, match="no number is left for 'b', after 1"):
        strings.number(b"b", "x")
    assert strings.number(b"3", "x") == 3
    assert [strings.text(number) for number in range(4)] == [b"0", b"a", b"2", b"3"]


def test_numbers_that_a_name_has_are_not_given_twice() -> None:
    strings = Strings("port_t", 9, {"eth1": 1, "eth510": 509})
    assert strings.number(b"509", "x") == 509
    assert strings.number(b"spare", "x") == 508
    assert strings.number(b"508", "x") == 507  # that number is a name's already: this is a name as any other
    assert strings.text(508) == b"spare"
    assert strings.number(b"0", "x") == 0
    assert strings.number(b"007", "x") == 506
