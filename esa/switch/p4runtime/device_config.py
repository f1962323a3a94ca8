"""The program inside a ForwardingPipelineConfig: BMv2 JSON, bare or in the wrapper that older clients use."""

from __future__ import annotations

_VARINT, _LENGTH_DELIMITED = 0, 2
_DEVICE_DATA = 3


def program_json(p4_device_config: bytes) -> bytes:
    """Return the JSON text; ValueError where there is none.

    The wrapper is `p4.tmp.P4DeviceConfig` (reassign = 1, extras = 2, device_data = 3), which BMv2 accepts as well.
    """
    if p4_device_config.lstrip()[:1] == b"{":
        return p4_device_config
    try:
        return _device_data(p4_device_config)
    except (IndexError, ValueError):
        raise ValueError("p4_device_config is not BMv2 JSON") from None


def _device_data(message: bytes) -> bytes:
    position = 0
    data = b""
    while position < len(message):
        tag, position = _varint(message, position)
        number, wire_type = tag >> 3, tag & 7
        value, position = _varint(message, position)
        if wire_type == _LENGTH_DELIMITED:
            if position + value > len(message):
                raise ValueError("truncated")
            if number == _DEVICE_DATA:
                data = message[position : position + value]
            position += value
        elif wire_type != _VARINT:
            raise ValueError("no field of this message has this wire type")
    if data.lstrip()[:1] != b"{":
        raise ValueError("no device_data")
    return data


def _varint(message: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
        if shift > 63:
            raise ValueError("a number of more than 64 bits")
