"""Commands for counters, meters and registers, and for those of table entries (direct ones, by entry handle)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from esa.p4runtime import p4info_pb2, p4runtime_pb2
from esa.switch.cli.client import MODIFY, CommandError
from esa.switch.cli.registry import command
from esa.switch.cli.session import Prepared, Session
from esa.switch.cli.values import encode, integer

_PER_MICROSECOND = 1_000_000
_MAX_64 = (1 << 63) - 1


def _is_direct(info: Any) -> bool:
    return "direct_table_id" in info.DESCRIPTOR.fields_by_name


def _index(info: Any, text: str) -> int:
    """The index of a cell, or the handle of an entry."""
    if _is_direct(info):
        return integer(text, "entry handle")
    return integer(text, f"index of {info.preamble.name}", 0, info.size - 1)


def _cell(session: Session, info: Any, kind: str, index: int | None) -> tuple[Any, Any]:
    """An Entity of one cell, or of all, and the message in it."""
    entity = p4runtime_pb2.Entity()
    if _is_direct(info):
        message = getattr(entity, f"direct_{kind}_entry")
        table = session.names.of_id(info.direct_table_id)
        message.table_entry.table_id = info.direct_table_id
        if index is not None:
            entry = session.handles(table).find(table.preamble.name, index)
            message.table_entry.match.extend(entry.match)
            message.table_entry.priority = entry.priority
        return entity, message
    message = getattr(entity, f"{kind}_entry")
    setattr(message, f"{kind}_id", info.preamble.id)
    if index is not None:
        message.index.index = index
    return entity, message


def _read_cell(session: Session, info: Any, kind: str, index: int) -> Any:
    entity, _ = _cell(session, info, kind, index)
    (found,) = session.client.read(entity)
    return getattr(found, f"direct_{kind}_entry" if _is_direct(info) else f"{kind}_entry")


@command("counter_read <counter> <index>", 2)
def _counter_read(session: Session, words: Sequence[str]) -> Prepared:
    info = session.names.find("counter", words[0])
    index = _index(info, words[1])

    def run() -> None:
        data = _read_cell(session, info, "counter", index).data
        packets, octets = data.packet_count % (1 << 64), data.byte_count % (1 << 64)
        session.say(f"{words[0]}[{index}]= ({octets} bytes, {packets} packets)")

    return run


@command("counter_write <counter> <index> <packets> <bytes>", 4)
def _counter_write(session: Session, words: Sequence[str]) -> Prepared:
    info = session.names.find("counter", words[0])
    index = _index(info, words[1])
    packets, octets = integer(words[2], "packets", 0, _MAX_64), integer(words[3], "bytes", 0, _MAX_64)

    def run() -> None:
        entity, message = _cell(session, info, "counter", index)
        message.data.packet_count, message.data.byte_count = packets, octets
        session.client.write(MODIFY, entity)
        session.say(f"{words[0]}[{index}] has been updated")

    return run


@command("counter_reset <counter>", 1)
def _counter_reset(session: Session, words: Sequence[str]) -> Prepared:
    info = session.names.find("counter", words[0])

    def run() -> None:
        handles: list[int | None] = [None]
        if _is_direct(info):
            handles = [handle for handle, _ in session.reread(session.names.of_id(info.direct_table_id)).items()]
        for handle in handles:
            entity, message = _cell(session, info, "counter", handle)
            message.data.SetInParent()
            session.client.write(MODIFY, entity)

    return run


# --- registers ------------------------------------------------------------------------------------------------------


def _value(session: Session, info: Any, message: Any) -> int:
    """What a cell holds, as simple_switch has it: without a sign."""
    kind, bits = session.names.register_type(info)
    if kind == "bool":
        return int(message.data.bool)
    return int.from_bytes(message.data.bitstring, "big", signed=kind == "int") % (1 << bits)


@command("register_read <register> [<index>]", 1, 2)
def _register_read(session: Session, words: Sequence[str]) -> Prepared:
    info = session.names.find("register", words[0])
    index = _index(info, words[1]) if len(words) > 1 else None

    def run() -> None:
        entity, _ = _cell(session, info, "register", index)
        cells = [each.register_entry for each in session.client.read(entity)]
        values = ", ".join(str(_value(session, info, cell)) for cell in cells)
        session.say(f"{words[0]}{'' if index is None else f'[{index}]'}= {values}")

    return run


def _register_entity(session: Session, info: Any, index: int | None, value: int) -> Any:
    entity, message = _cell(session, info, "register", index)
    kind, bits = session.names.register_type(info)
    if kind == "bool":
        message.data.bool = bool(value)
    elif kind == "int":
        negative = 1 << bits if value >> (bits - 1) else 0
        message.data.bitstring = (value - negative).to_bytes((bits + 7) // 8, "big", signed=True)
    else:
        message.data.bitstring = encode(value)
    return entity


@command("register_write <register> <index> <value>", 3)
def _register_write(session: Session, words: Sequence[str]) -> Prepared:
    info = session.names.find("register", words[0])
    _, bits = session.names.register_type(info)
    entity = _register_entity(session, info, _index(info, words[1]), integer(words[2], "value", 0, (1 << bits) - 1))
    return lambda: session.client.write(MODIFY, entity)


@command("register_reset <register>", 1)
def _register_reset(session: Session, words: Sequence[str]) -> Prepared:
    entity = _register_entity(session, session.names.find("register", words[0]), None, 0)
    return lambda: session.client.write(MODIFY, entity)


# --- meters ---------------------------------------------------------------------------------------------------------


def _rates(info: Any, texts: Sequence[str]) -> Any:
    """A MeterConfig of RATE:BURST in units per microsecond and units; the units are packets or bytes."""
    wanted = 1 if info.spec.type == p4info_pb2.MeterSpec.SINGLE_RATE_TWO_COLOR else 2
    if len(texts) != wanted:
        raise CommandError(f"{len(texts)} rates; {wanted} are allowed, each RATE:BURST, say 0.0001:10")
    rates = [_rate(text) for text in texts]
    config = p4runtime_pb2.MeterConfig()
    (config.cir, config.cburst), (config.pir, config.pburst) = rates[0], rates[-1]
    return config


def _rate(text: str) -> tuple[int, int]:
    rate, found, burst = text.partition(":")
    try:
        per_second = float(rate) * _PER_MICROSECOND
        if not found or not 0 <= per_second < 1 << 62:
            raise ValueError(text)
    except ValueError:
        raise CommandError(f"'{text}'; RATE:BURST is allowed, say 0.0001:10") from None
    whole = round(per_second)
    if abs(per_second - whole) > 1e-6 * max(1.0, per_second):
        raise CommandError(f"{text}: {per_second:g} a second; whole numbers a second are allowed: 0.000001 and so on")
    return whole, integer(burst, "burst")


@command("meter_set_rates <meter> <index> <rate>:<burst> <rate>:<burst>", 2, None)
def _meter_set_rates(session: Session, words: Sequence[str]) -> Prepared:
    info = session.names.find("meter", words[0])
    index, config = _index(info, words[1]), _rates(info, words[2:])

    def run() -> None:
        entity, message = _cell(session, info, "meter", index)
        message.config.CopyFrom(config)
        session.client.write(MODIFY, entity)

    return run


@command("meter_array_set_rates <meter> <rate>:<burst> <rate>:<burst>", 1, None)
def _meter_array_set_rates(session: Session, words: Sequence[str]) -> Prepared:
    info = session.names.find("meter", words[0])
    if _is_direct(info):
        raise CommandError(f"{info.preamble.name} is a table's: meter_set_rates by entry handle is allowed")
    entity, message = _cell(session, info, "meter", None)
    message.config.CopyFrom(_rates(info, words[1:]))
    return lambda: session.client.write(MODIFY, entity)


@command("meter_get_rates <meter> <index>", 2)
def _meter_get_rates(session: Session, words: Sequence[str]) -> Prepared:
    info = session.names.find("meter", words[0])
    index = _index(info, words[1])

    def run() -> None:
        message = _read_cell(session, info, "meter", index)
        if message.HasField("config"):
            config = message.config
            for at, (rate, burst) in enumerate(((config.cir, config.cburst), (config.pir, config.pburst))):
                session.say(f"{at}: info rate = {rate / _PER_MICROSECOND}, burst size = {burst}")

    return run
