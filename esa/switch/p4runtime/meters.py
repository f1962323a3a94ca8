"""Meters over P4Runtime: their rates, and the cells of indirect ones (P4Runtime 1.4, section 9.3)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from esa.p4runtime import p4runtime_pb2
from esa.switch.p4runtime.arrays import indices_of, require_modify
from esa.switch.p4runtime.infos import ArrayInfo
from esa.switch.p4runtime.status import Code, P4RuntimeError
from esa.switch.runtime.meters import Meter, MeterRates, check_rates


def rates_of(info: ArrayInfo, message: Any, field: str = "config") -> MeterRates | None:
    """The rates in a message's MeterConfig; None where it is unset. INVALID_ARGUMENT where it breaks a rule."""
    if not message.HasField(field):
        return None
    config = getattr(message, field)
    rates = MeterRates(config.cir, config.cburst, config.pir, config.pburst)
    try:
        check_rates(rates)
    except ValueError as error:
        raise P4RuntimeError(Code.INVALID_ARGUMENT, f"meter {info.name}: {error}") from None
    if config.eburst:
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


def no_colour_counters(name: str, entry: Any) -> None:
    """Refuse a message that asks for counters per colour."""
    if entry.HasField("counter_data"):
        raise P4RuntimeError(Code.UNIMPLEMENTED, f"meter {name}: counters per colour are not supported by this target")


def write_meter(info: ArrayInfo, update_type: int, entry: Any) -> None:
    """Set one cell, or all where the index is unset; the caller holds the data plane still."""
    require_modify(update_type, f"meter {info.name}")
    indices = indices_of(info, entry)
    no_colour_counters(info.name, entry)
    rates = rates_of(info, entry)
    if rates is None and len(indices) == info.size:
        info.array.clear()
        return
    for index in indices:
        set_rates(info.array, index, rates)


def read_meter(info: ArrayInfo, entry: Any) -> Iterator[Any]:
    """Copy the cells' rates now; return an iterator over their entities."""
    indices = indices_of(info, entry)
    no_colour_counters(info.name, entry)
    return _meter_entities(info, indices, info.array.configured())


def _meter_entities(info: ArrayInfo, indices: Iterable[int], configured: dict[int, MeterRates]) -> Iterator[Any]:
    for index in indices:
        entity = p4runtime_pb2.Entity()
        entity.meter_entry.meter_id, entity.meter_entry.index.index = info.id, index
        if index in configured:
            format_rates(configured[index], entity.meter_entry.config)
        yield entity


def copy_meters(source: Any, target: Any) -> None:
    """Copy the configuration of the meters that both programs have, of one unit and with as many cells."""
    for name in source.keys() & target.keys():
        if (source[name].size, source[name].unit) == (target[name].size, target[name].unit):
            for index, rates in source[name].configured().items():
                target[name].set(index, rates)
