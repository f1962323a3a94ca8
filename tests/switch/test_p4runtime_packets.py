"""Packet-in and packet-out over the stream: P4Runtime 1.4, section 16.1."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from google.rpc import code_pb2

from esa.switch.runtime.device import Device
from tests.switch.control import Client, entry, exact, insert, p4
from tests.switch.served import CPU_PORT, inject, primary_client

DST = b"\x02\x00\x00\x00\x00\xa1"
FRAME = DST + bytes(6) + b"\x12\x34" + bytes(86)


@pytest.fixture
def served() -> Iterator[tuple[Client, Device]]:
    with primary_client() as (client, device):
        yield client, device


def packet_out(port: bytes | None, pad: bytes | None = b"\x00", **more: bytes) -> p4.StreamMessageRequest:
    request = p4.StreamMessageRequest()
    request.packet.payload = FRAME
    for id_, value in ((1, port), (2, pad)):
        if value is not None:
            request.packet.metadata.add(metadata_id=id_, value=value)
    for name, value in more.items():
        request.packet.metadata.add(metadata_id=int(name[1:]), value=value)
    return request


@pytest.mark.supports("P4Runtime: packet in and out")
def test_a_packet_out_enters_at_the_cpu_port_with_its_header(served) -> None:
    client, device = served
    injected: list[bytes] = []
    done = threading.Event()
    device.on_packet_out = lambda packet: (injected.append(packet), done.set())
    client.send(packet_out(b"\x01\x02", b"\x05"))
    assert done.wait(5)
    assert injected == [((0x102 << 7) | 5).to_bytes(2, "big") + FRAME]
    assert inject(device, CPU_PORT, injected[0]) == [(0x102, FRAME)]


@pytest.mark.supports("P4Runtime: packet in and out")
def test_what_leaves_at_the_cpu_port_is_a_packet_in(served) -> None:
    client, device = served
    client.write(insert(entry("exact_dst", {1: exact(DST)}, "to_cpu", b"\x2a")))
    ((port, packet),) = inject(device, 0x101, FRAME)
    assert port == CPU_PORT
    device.on_packet_in(packet)
    message = client.receive().packet
    assert message.payload == FRAME
    assert [(m.metadata_id, m.value) for m in message.metadata] == [(1, b"\x01\x01"), (2, b"\x2a")]


@pytest.mark.parametrize(
    "request_",
    [
        packet_out(None),
        packet_out(b"\x01", None),
        packet_out(b"\x02\x00"),
        packet_out(b""),
        packet_out(b"\x01", b"\x00", _7=b"\x01"),
        packet_out(b"\x01", b"\x00", _1=b"\x01"),
    ],
)
def test_metadata_that_does_not_fit_is_reported_and_the_packet_dropped(served, request_) -> None:
    client, device = served
    injected: list[bytes] = []
    device.on_packet_out = injected.append
    client.send(request_)
    error = client.receive().error
    assert error.canonical_code == code_pb2.INVALID_ARGUMENT
    assert error.packet_out.packet_out == request_.packet
    assert injected == []


def test_only_the_primary_sends_and_receives_packets(served) -> None:
    client, device = served
    backup = Client(client.where)
    try:
        backup.elect(0)
        backup.send(packet_out(b"\x01"))
        assert backup.receive().error.canonical_code == code_pb2.PERMISSION_DENIED
        device.on_packet_in(b"\x00\x80" + FRAME)
        assert client.receive().packet.payload == FRAME
        assert backup.nothing()
    finally:
        backup.close()


def test_other_stream_messages_are_refused_by_name(served) -> None:
    client, _ = served
    request = p4.StreamMessageRequest()
    request.digest_ack.digest_id = 5
    client.send(request)
    error = client.receive().error
    assert error.canonical_code == code_pb2.INVALID_ARGUMENT
    assert error.digest_list_ack.digest_list_ack.digest_id == 5


def test_a_switch_without_a_cpu_port_says_so(served) -> None:
    client, device = served
    device.cpu_port = None
    client.send(packet_out(b"\x01"))
    error = client.receive().error
    assert error.canonical_code == code_pb2.FAILED_PRECONDITION
    assert "--cpu-port" in error.message
