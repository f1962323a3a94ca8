"""Packet-in and packet-out: the `@controller_header` in front of a packet <-> P4Runtime metadata fields."""

from __future__ import annotations

from typing import Any

from esa.p4runtime import p4runtime_pb2
from esa.switch.compiler.program import Program
from esa.switch.p4runtime.bytestrings import decode, encode
from esa.switch.p4runtime.status import Code, P4RuntimeError
from esa.switch.p4runtime.translation import Strings, Translation


class ControllerHeader:
    """The fields of `packet_in` or `packet_out` in the order in which they lie on the wire."""

    def __init__(self, info: Any, translation: Translation, program: Program) -> None:
        self.name: str = info.preamble.name
        widths = _widths(info, program)
        self.fields: list[tuple[int, str, int, Strings | None]] = [
            (field.id, field.name, bits, translation.strings(field.type_name.name, bits))
            for field, bits in zip(info.metadata, widths, strict=True)
        ]
        self.bits = sum(widths)
        self.bytes = (self.bits + 7) // 8

    def pack(self, packet_out: Any) -> bytes:
        """Return the packet to inject; INVALID_ARGUMENT unless every field is there exactly once and fits."""
        given: dict[int, bytes] = {}
        for metadata in packet_out.metadata:
            if metadata.metadata_id in given:
                raise P4RuntimeError(Code.INVALID_ARGUMENT, f"{self.name}: metadata {metadata.metadata_id} given twice")
            given[metadata.metadata_id] = metadata.value
        value = 0
        for id_, name, bits, strings in self.fields:
            if id_ not in given:
                raise P4RuntimeError(Code.INVALID_ARGUMENT, f"{self.name}: metadata {name} ({id_}) is missing")
            what, data = f"{self.name}.{name}", given.pop(id_)
            value = value << bits | (decode(data, bits, what) if strings is None else strings.number(data, what))
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
        for id_, _, bits, strings in self.fields:
            remaining -= bits
            field = value >> remaining & ((1 << bits) - 1)
            message.metadata.add(metadata_id=id_, value=encode(field) if strings is None else strings.text(field))
        return message


def _widths(info: Any, program: Program) -> list[int]:
    """How wide the fields of a controller header are; a string has no width in P4Info, but in the program's header."""
    widths = [field.bitwidth for field in info.metadata]
    if min(widths, default=0) < 0:
        raise P4RuntimeError(Code.INVALID_ARGUMENT, f"P4Info: {info.preamble.name}: a field of {min(widths)} bits")
    if all(widths):
        return widths
    names = [field.name for field in info.metadata]
    for header in program.headers.values():
        if [field.name for field in header.fields] == names:
            return [field.bits for field in header.fields]
    raise P4RuntimeError(
        Code.INVALID_ARGUMENT, f"P4Info and device config differ: no header has the fields of {info.preamble.name}"
    )


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
