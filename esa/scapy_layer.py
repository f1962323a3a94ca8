"""The ESA packet as a Scapy layer, made from the table in `esa.wire`: to craft, dissect and show packets.

>>> from esa.scapy_layer import ESA
>>> packet = ESA(kind="GRADIENT", job=1, seq=7, bitmap0=1, lanes=[1, -2])
>>> packet.sprintf("%ESA.kind% %ESA.seq%"), len(packet)
('GRADIENT 7', 32)
"""

from __future__ import annotations

import struct
from typing import Any

from scapy.fields import (
    BitEnumField,
    BitField,
    ByteField,
    Field,
    FieldListField,
    FlagsField,
    IntField,
    ShortField,
    SignedByteField,
    SignedIntField,
)
from scapy.layers.inet import UDP
from scapy.packet import Packet, bind_layers

from esa import wire

_BY_BITS = {8: ByteField, 16: ShortField, 32: IntField}


def _field(field: wire.Field) -> Field[Any, Any]:
    if field.name == "version":
        return BitField("version", wire.VERSION, field.bits)
    if field.name == "kind":
        return BitEnumField("kind", wire.Kind.GRADIENT, field.bits, {kind.value: kind.name for kind in wire.Kind})
    if field.name == "flags":
        return FlagsField("flags", 0, field.bits, [flag.name for flag in wire.Flag])
    return SignedByteField(field.name, 0) if field.signed else _BY_BITS[field.bits](field.name, 0)


class _Lanes(FieldListField):  # type: ignore[misc]  # scapy is untyped
    """As many as there are: scapy's own list ends with an error at 100."""

    def getfield(self, packet: Packet, text: bytes) -> tuple[bytes, list[int]]:
        count = self.length_from(packet) // 4
        return text[4 * count :], list(struct.unpack_from(f">{count}i", text))


class ESA(Packet):  # type: ignore[misc]  # scapy is untyped
    """The ESA header and its lanes, as the payload of a UDP datagram to or from `wire.ESA_PORT`."""

    name = "ESA"
    fields_desc = [  # noqa: RUF012  # scapy's own form
        *(_field(field) for field in wire.FIELDS),
        _Lanes("lanes", [], SignedIntField("lane", 0), length_from=lambda packet: packet.lane_bytes()),
    ]

    def lane_bytes(self) -> int:
        """Bytes of lanes behind the header, by the UDP length of the datagram that is dissected."""
        if isinstance(self.underlayer, UDP) and self.underlayer.len:
            return max(0, int(self.underlayer.len) - 8 - wire.HEADER_BYTES)
        return len(self.original) - wire.HEADER_BYTES


bind_layers(UDP, ESA, dport=wire.ESA_PORT)
bind_layers(UDP, ESA, sport=wire.ESA_PORT)
