"""Direct counters and direct meters over P4Runtime: those of one table entry, or of all (P4Runtime 1.4, 9.2, 9.3)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from esa.p4runtime import p4runtime_pb2
from esa.switch.p4runtime.arrays import Freeze, require_modify
from esa.switch.p4runtime.infos import ArrayInfo, TableInfo
from esa.switch.p4runtime.meters import check_counts, format_counts, format_rates, rates_of, set_rates
from esa.switch.p4runtime.status import Code
from esa.switch.p4runtime.table_entries import format_entry, row_of, select, set_counter


def write_direct_counter(info: TableInfo, update_type: int, entry: Any) -> None:
    """Set the counter of one entry; the caller holds the data plane still."""
    require_modify(update_type, f"table {info.name}: a direct counter")
    row = _counterrow_of(info, entry.table_entry)
    if entry.HasField("data"):
        set_counter(info, row, entry.data)


def _counterrow_of(info: TableInfo, table_entry: Any) -> int:
    if info.direct_counter is None:
        raise info.invalid("it has no direct counter")
    if table_entry.is_default_action:
        raise info.refuse(Code.UNIMPLEMENTED, "the default entry's direct counter is not supported by this target")
    return row_of(info, info.key_of(table_entry))


def read_direct_counters(info: TableInfo, request: Any, frozen: Freeze) -> Iterator[Any]:
    """Yield the counter of the entry that `request.table_entry` names, or of all where it names no match."""
    if request.table_entry.match:
        with frozen():
            _counterrow_of(info, request.table_entry)
    elif info.direct_counter is None:
        raise info.invalid("it has no direct counter")
    for key, entry, _, count in select(info, request.table_entry, frozen):
        if key is None or count is None:
            raise info.refuse(Code.UNIMPLEMENTED, "the default entry's direct counter is not supported by this target")
        result = p4runtime_pb2.Entity()
        message = result.direct_counter_entry
        format_entry(info, key, entry, message.table_entry)
        message.table_entry.ClearField("action")
        message.data.packet_count, message.data.byte_count = count
        yield result


def _meter_of(info: TableInfo, entry: Any) -> ArrayInfo:
    if info.direct_meter is None:
        raise info.invalid("it has no direct meter")
    if entry.table_entry.is_default_action:
        raise info.refuse(Code.UNIMPLEMENTED, "a miss executes no direct meter, as in BMv2: the default entry has none")
    return info.direct_meter


def write_direct_meter(info: TableInfo, update_type: int, entry: Any) -> None:
    """Set the meter of one entry; the caller holds the data plane still."""
    require_modify(update_type, f"table {info.name}: a direct meter")
    meter = _meter_of(info, entry)
    rates, forget = rates_of(meter, entry), check_counts(meter.name, entry)
    row = row_of(info, info.key_of(entry.table_entry))
    set_rates(meter.array, row, rates)
    if forget:
        meter.array.forget(row)


def read_direct_meters(info: TableInfo, request: Any, frozen: Freeze) -> Iterator[Any]:
    """Yield the meter of the entry that `request.table_entry` names, or of all where it names no match."""
    meter = _meter_of(info, request)
    if request.table_entry.match:
        row_of(info, info.key_of(request.table_entry))
    for found in select(info, request.table_entry, frozen):
        result = p4runtime_pb2.Entity()
        message = result.direct_meter_entry
        format_entry(info, found.key, found.entry, message.table_entry)
        message.table_entry.ClearField("action")
        rates = None if found.row is None else meter.array.get(found.row)
        if rates is not None:
            format_rates(rates, message.config)
        if found.row is not None and request.HasField("counter_data"):
            format_counts(meter.array.counts(found.row), message.counter_data)
        yield result
