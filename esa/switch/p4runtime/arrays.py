"""Counters and registers over P4Runtime: cells of arrays, one, all of one array, or all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from esa.p4runtime import p4runtime_pb2
from esa.switch.p4runtime.bytestrings import decode, encode
from esa.switch.p4runtime.infos import ArrayInfo
from esa.switch.p4runtime.status import Code, P4RuntimeError

Freeze = Callable[[], AbstractContextManager[None]]
"""Holds the data plane still: values of one array are copied together, and turned into messages afterwards."""

MODIFY = p4runtime_pb2.Update.MODIFY
_COUNTER_MODULUS = 1 << 64
_SIGN = 1 << 63


def require_modify(update_type: int, what: str) -> None:
    """Only MODIFY makes sense for cells that are always there."""
    if update_type != MODIFY:
        raise P4RuntimeError(Code.INVALID_ARGUMENT, f"{what} can only be modified, neither inserted nor deleted")


def indices_of(info: ArrayInfo, entry: Any) -> range:
    """Return the cells that the entry speaks of: one, or all where the index is unset."""
    size = info.size
    if not entry.HasField("index"):
        return range(size)
    index = entry.index.index
    if index < 0:
        raise P4RuntimeError(Code.INVALID_ARGUMENT, f"{info.name}: index {index} is negative")
    if index >= size:
        raise P4RuntimeError(Code.OUT_OF_RANGE, f"{info.name}: index {index} is beyond its {size} cells")
    return range(index, index + 1)


def wrapped_int64(value: int) -> int:
    """Return an unsigned 64-bit count as the signed number that P4Runtime's messages hold."""
    return (int(value) + _SIGN) % _COUNTER_MODULUS - _SIGN


def write_counter(info: ArrayInfo, update_type: int, entry: Any) -> None:
    require_modify(update_type, f"counter {info.name}")
    indices = indices_of(info, entry)
    if not entry.HasField("data"):
        return
    cells = slice(indices.start, indices.stop)
    info.array.packets[cells] = entry.data.packet_count % _COUNTER_MODULUS
    info.array.bytes[cells] = entry.data.byte_count % _COUNTER_MODULUS


def read_counter(info: ArrayInfo, entry: Any, frozen: Freeze) -> Iterator[Any]:
    """Copy the cells now; return an iterator over their entities."""
    indices = indices_of(info, entry)
    cells = slice(indices.start, indices.stop)
    with frozen():
        packets, octets = info.array.packets[cells].copy(), info.array.bytes[cells].copy()
    return _counter_entities(info.id, zip(indices, packets.tolist(), octets.tolist(), strict=True))


def _counter_entities(counter_id: int, cells: Iterable[tuple[int, int, int]]) -> Iterator[Any]:
    for index, packets, octets in cells:
        entity = p4runtime_pb2.Entity()
        entry = entity.counter_entry
        entry.counter_id, entry.index.index = counter_id, index
        entry.data.packet_count, entry.data.byte_count = wrapped_int64(packets), wrapped_int64(octets)
        yield entity


def write_register(info: ArrayInfo, update_type: int, entry: Any) -> None:
    require_modify(update_type, f"register {info.name}")
    indices = indices_of(info, entry)
    value = _register_value(info, entry.data)
    for index in indices:
        info.array.write(index, value)


def _register_value(info: ArrayInfo, data: Any) -> int:
    wanted = "bool" if info.kind == "bool" else "bitstring"
    given = data.WhichOneof("data")
    if given != wanted:
        raise P4RuntimeError(
            Code.INVALID_ARGUMENT, f"register {info.name} holds {wanted} data; the request has {given or 'none'}"
        )
    if wanted == "bool":
        return int(data.bool)
    return decode(
        data.bitstring, info.array.width, f"register {info.name}", signed=info.kind == "int", code=Code.OUT_OF_RANGE
    )


def read_register(info: ArrayInfo, entry: Any, frozen: Freeze) -> Iterator[Any]:
    """Copy the cells now; return an iterator over their entities."""
    indices = indices_of(info, entry)
    with frozen():
        # No more than a copy: packets wait for as long as this takes.
        cells = info.array.part(indices)
    return _register_entities(info, zip(indices, cells.read_all().tolist(), strict=True))


def _register_entities(info: ArrayInfo, cells: Iterable[tuple[int, int]]) -> Iterator[Any]:
    signed, negative = info.kind == "int", 1 << (info.array.width - 1)
    for index, pattern in cells:
        entity = p4runtime_pb2.Entity()
        entry = entity.register_entry
        entry.register_id, entry.index.index = info.id, index
        if info.kind == "bool":
            entry.data.bool = bool(pattern)
        else:
            value = pattern - 2 * negative if signed and pattern & negative else pattern
            entry.data.bitstring = encode(value, signed=signed)
        yield entity


def copy_counters(source: Mapping[str, Any], target: Mapping[str, Any]) -> None:
    """Copy the counters that both programs have, with as many cells."""
    for name in source.keys() & target.keys():
        if source[name].packets.shape == target[name].packets.shape:
            target[name].packets[:] = source[name].packets
            target[name].bytes[:] = source[name].bytes


def copy_registers(source: Mapping[str, Any], target: Mapping[str, Any]) -> None:
    """Copy the registers that both programs have, with as many cells of as many bits."""
    for name in source.keys() & target.keys():
        if (source[name].size, source[name].width) == (target[name].size, target[name].width):
            values = source[name].read_all()
            for index in np.flatnonzero(values).tolist():
                target[name].write(index, int(values[index]))
