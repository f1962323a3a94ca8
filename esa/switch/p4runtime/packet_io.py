"""Packet-in and packet-out: the `@controller_header` in front of a packet <-> P4Runtime metadata fields."""

from __future__ import annotations

from typing import Any

from esa.p4runtime import p4runtime_pb2
from esa.switch.p4runtime.bytestrings import decode, encode
from esa.switch.p4runtime.status import Code, P4RuntimeError


class ControllerHeader:
    """The fields of `packet_in` or `packet_out` in the order in which they lie on the wire."""

    def __init__(self, info: Any) -> None:
        self.name: str = info.preamble.name
        self.fields: list[tuple[int, str, int]] = [(field.id, field.name, field.bitwidth) for field in info.metadata]
        self.bits = sum(bits for _, _, bits in self.fields)
        self.bytes = (self.bits + 7) // 8

    def pack(self, packet_out: Any) -> bytes:
        """Return the packet to inject; INVALID_ARGUMENT unless every field is there exactly once and fits."""
        given: dict[int, bytes] = {}
        for metadata in packet_out.metadata:
            if metadata.metadata_id in given:
                raise P4RuntimeError(Code.INVALID_ARGUMENT, f"{self.name}: metadata {metadata.metadata_id} given twice")
            given[metadata.metadata_id] = metadata.value
        value = 0
        for id_, name, bits in self.fields:
            if id_ not in given:
                raise P4RuntimeError(Code.INVALID_ARGUMENT, f"{self.name}: metadata {name} ({id_}) is missing")
            value = value << bits | decode(given.pop(id_), bits, f"{self.name}.{name}")
        if given:
            raise P4RuntimeError(Code.INVALID_ARGUMENT, f"{self.name}: no metadata with id {min(given)}")
        header = (value << (self.bytes * 8 - self.bits)).to_bytes(self.bytes, "big")
        payload: bytes = packet_out.payload
        return header + payload

    def unpack(self, packet: bytes) -> Any | None:
        """Return the PacketIn message; None for a packet shorter than its header."""
        if len(packet) < self.bytes:
            return None
        value = int.from_bytes(packet[: self.bytes], "big") >> (self.bytes * 8 - self.bits)
        message = p4runtime_pb2.PacketIn(payload=packet[self.bytes :])
        remaining = self.bits
        for id_, _, bits in self.fields:
            remaining -= bits
            field = value >> remaining & ((1 << bits) - 1)
            message.metadata.add(metadata_id=id_, value=encode(field))
        return message


def pack_packet_out(header: ControllerHeader | None, packet_out: Any) -> bytes:
    """Return the bytes to inject at the CPU port; a program without a `packet_out` header takes payloads only."""
    if header is not None:
        return header.pack(packet_out)
    if packet_out.metadata:
        raise P4RuntimeError(Code.INVALID_ARGUMENT, "this program has no packet_out header: send no metadata")
    payload: bytes = packet_out.payload
    return payload


def unpack_packet_in(header: ControllerHeader | None, packet: bytes) -> Any | None:
    """Return the PacketIn message for what left at the CPU port; None if it cannot hold its header."""
    if header is None:
        return p4runtime_pb2.PacketIn(payload=packet)
    return header.unpack(packet)
