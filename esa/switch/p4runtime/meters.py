"""Meters over P4Runtime: their rates, and the cells of indirect ones (P4Runtime 1.4, section 9.3)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from esa.p4runtime import p4runtime_pb2
from esa.switch.p4runtime.arrays import indices_of, require_modify, wrapped_int64
from esa.switch.p4runtime.infos import ArrayInfo
from esa.switch.p4runtime.status import Code, P4RuntimeError
from esa.switch.runtime.meters import Counts, Meter, MeterRates, check_rates

EXCESS = "one rate, and an excess burst"  # a kind of meter: RFC 2697


def rates_of(info: ArrayInfo, message: Any, field: str = "config") -> MeterRates | None:
    """The rates in a message's MeterConfig; None where it is unset. INVALID_ARGUMENT where it breaks a rule."""
    if not message.HasField(field):
        return None
    config = getattr(message, field)
    excess = config.eburst if info.kind == EXCESS else None
    rates = MeterRates(config.cir, config.cburst, config.pir, config.pburst, excess)
    try:
        check_rates(rates)
    except ValueError as error:
        raise P4RuntimeError(Code.INVALID_ARGUMENT, f"meter {info.name}: {error}") from None
    if config.eburst and excess is None:
        raise P4RuntimeError(Code.INVALID_ARGUMENT, f"meter {info.name}: eburst is that of another kind of meter")
    if info.kind == "one rate" and (config.pir, config.pburst) != (config.cir, config.cburst):
        raise P4RuntimeError(
            Code.INVALID_ARGUMENT, f"meter {info.name} has one rate: pir and pburst must be cir and cburst"
        )
    return rates


def set_rates(meter: Meter, row: int, rates: MeterRates | None) -> None:
    """Give a cell its rates, or none."""
    if rates is None:
        meter.reset(row)
    else:
        meter.set(row, rates)


def format_rates(rates: MeterRates, config: Any) -> None:
    """Write rates into a MeterConfig."""
    config.cir, config.cburst = int(rates.cir), rates.cburst
    config.pir, config.pburst = int(rates.pir), rates.pburst
    config.eburst = rates.eburst or 0


def check_counts(name: str, message: Any, field: str = "counter_data") -> bool:
    """Whether a write asks for counts of colours to be 0. INVALID_ARGUMENT where it asks for another number."""
    if not message.HasField(field):
        return False
    data = getattr(message, field)
    if any(each.packet_count or each.byte_count for each in (data.green, data.yellow, data.red)):
        raise P4RuntimeError(
            Code.INVALID_ARGUMENT, f"meter {name}: counters of colours can be set to nothing but 0 (P4Runtime 1.4)"
        )
    return True


def format_counts(counts: Counts, data: Any) -> None:
    """Write what was counted of each colour into a MeterCounterData."""
    for (packets, octets), each in zip(counts, (data.green, data.yellow, data.red), strict=True):
        each.packet_count, each.byte_count = wrapped_int64(packets), wrapped_int64(octets)


def write_meter(info: ArrayInfo, update_type: int, entry: Any) -> None:
    """Set one cell, or all where the index is unset; the caller holds the data plane still."""
    require_modify(update_type, f"meter {info.name}")
    indices = indices_of(info, entry)
    forget = check_counts(info.name, entry)
    rates = rates_of(info, entry)
    for index in indices:
        set_rates(info.array, index, rates)
        if forget:
            info.array.forget(index)


def read_meter(info: ArrayInfo, entry: Any) -> Iterator[Any]:
    """Copy the cells' rates now, and their counts if these are asked for; return an iterator over their entities."""
    indices = indices_of(info, entry)
    counts = {index: info.array.counts(index) for index in indices} if entry.HasField("counter_data") else {}
    return _meter_entities(info, indices, info.array.configured(), counts)


def _meter_entities(
    info: ArrayInfo, indices: Iterable[int], configured: dict[int, MeterRates], counts: dict[int, Counts]
) -> Iterator[Any]:
    for index in indices:
        entity = p4runtime_pb2.Entity()
        entity.meter_entry.meter_id, entity.meter_entry.index.index = info.id, index
        if index in configured:
            format_rates(configured[index], entity.meter_entry.config)
        if index in counts:
            format_counts(counts[index], entity.meter_entry.counter_data)
        yield entity


def copy_meters(source: Any, target: Any) -> None:
    """Copy configuration and counts of the meters that both programs have, of one unit and with as many cells."""
    for name in source.keys() & target.keys():
        if (source[name].size, source[name].unit) == (target[name].size, target[name].unit):
            for index, rates in source[name].configured().items():
                target[name].set(index, rates)
            target[name].take_counts(source[name])
