"""The program inside a ForwardingPipelineConfig: BMv2 JSON, bare or in the wrapper that older clients use."""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.internal import builder
from google.protobuf.message import DecodeError

_Field = descriptor_pb2.FieldDescriptorProto


def program_json(p4_device_config: bytes) -> bytes:
    """Return the JSON text; ValueError where there is none."""
    if p4_device_config.lstrip()[:1] == b"{":
        return p4_device_config
    try:
        wrapped: bytes = _Wrapper.FromString(p4_device_config).device_data
    except DecodeError:
        wrapped = b""
    if wrapped.lstrip()[:1] != b"{":
        raise ValueError("p4_device_config is not BMv2 JSON")
    return wrapped


def _wrapper() -> Any:
    """What of `p4.tmp.P4DeviceConfig`, which BMv2 accepts as well, concerns a switch. No package has its messages."""
    file = descriptor_pb2.FileDescriptorProto(name="esa/p4_device_config.proto", package="esa", syntax="proto3")
    message = file.message_type.add(name="P4DeviceConfig")
    message.field.add(name="device_data", number=3, type=_Field.TYPE_BYTES, label=_Field.LABEL_OPTIONAL)
    made: dict[str, Any] = {}
    described = descriptor_pool.Default().AddSerializedFile(file.SerializeToString())
    builder.BuildMessageAndEnumDescriptors(described, made)
    builder.BuildTopDescriptorsAndMessages(described, __name__, made)
    return made["P4DeviceConfig"]


_Wrapper = _wrapper()
