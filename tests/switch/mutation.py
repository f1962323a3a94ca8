"""Random edits of protobuf messages and JSON documents: what a broken or hostile client could send."""

from __future__ import annotations

import random
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

_INTEGERS = (0, 1, -1, 2, 255, 2**16, 2**31 - 1, -(2**31), 2**32 - 1, 2**63 - 1, -(2**63), 2**64 - 1)
_BYTES = (b"", b"\0", b"\x01", b"\xff" * 6, b"\0" * 9, b"\xff" * 40, b"\x02\0\0\0\0\xa1")
_JUNK = (None, True, -1, 0, 1 << 40, 1.5, "", "x", "0x", "0xffffffffffffffffffff", [], {}, [[]], {"type": "field"})


def _value(field: FieldDescriptor, rng: random.Random) -> Any:
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        data = rng.choice(_BYTES)
        return data if field.type == FieldDescriptor.TYPE_BYTES else data.hex()
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return rng.random() < 0.5
    if field.cpp_type in (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT):
        return rng.choice((0.0, -1.0, float("nan")))
    limits = {
        FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31),
        FieldDescriptor.CPPTYPE_UINT32: (0, 2**32),
        FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63),
        FieldDescriptor.CPPTYPE_UINT64: (0, 2**64),
    }
    low, high = limits.get(field.cpp_type, (0, 8))
    return rng.choice([number for number in _INTEGERS if low <= number < high])


def _messages(message: Message) -> list[Message]:
    found = [message]
    for field, value in message.ListFields():
        if field.cpp_type != FieldDescriptor.CPPTYPE_MESSAGE or _is_map(field):
            continue
        for part in value if field.is_repeated else (value,):
            found += _messages(part)
    return found


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def mutate_message(message: Message, rng: random.Random) -> None:
    """Change, clear, add or repeat one field somewhere in `message`, set or not."""
    target = rng.choice(_messages(message))
    fields = [field for field in target.DESCRIPTOR.fields if not _is_map(field)]
    if not fields:
        return
    there = [field for field, _ in target.ListFields() if not _is_map(field)]
    field = rng.choice(there if there and rng.random() < 0.7 else fields)
    if rng.random() < 0.15:
        target.ClearField(field.name)
    elif field.is_repeated:
        values = getattr(target, field.name)
        if len(values) and rng.random() < 0.3:
            del values[rng.randrange(len(values))]
        elif field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
            values.add().CopyFrom(rng.choice(list(values))) if len(values) and rng.random() < 0.7 else values.add()
        else:
            values.append(_value(field, rng))
    elif field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
        getattr(target, field.name).SetInParent()
    else:
        setattr(target, field.name, _value(field, rng))


def mutate_json(root: Any, rng: random.Random) -> None:
    """Replace, remove or repeat one value somewhere in a parsed JSON document."""
    places: list[tuple[Any, Any]] = []
    todo = [root]
    while todo:
        node = todo.pop()
        keys = list(node) if isinstance(node, dict) else range(len(node))
        for key in keys:
            places.append((node, key))
            if isinstance(node[key], (dict, list)):
                todo.append(node[key])
    node, key = rng.choice(places)
    how = rng.random()
    if how < 0.2:
        del node[key]
    elif how < 0.4 and isinstance(node, list):
        node.append(node[key])
    elif how < 0.7:
        other, place = rng.choice(places)
        node[key] = other[place] if not isinstance(other[place], (dict, list)) else rng.choice(_JUNK)
    else:
        node[key] = rng.choice(_JUNK)
