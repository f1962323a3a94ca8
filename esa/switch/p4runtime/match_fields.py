"""Keys of table entries: P4Runtime's match fields to the loaded table's form, and back (P4Runtime 1.4, section 9.1)."""

from __future__ import annotations

from typing import Any

from esa.switch.p4runtime.bytestrings import decode, encode
from esa.switch.p4runtime.infos import FieldInfo, TableInfo
from esa.switch.p4runtime.status import Code, P4RuntimeError

Match = tuple[Any, ...]


def refuse(code: Any, info: TableInfo, reason: str) -> P4RuntimeError:
    """The error to raise for what a table refuses."""
    return P4RuntimeError(code, f"{info.owner}: {reason}")


def invalid(info: TableInfo, reason: str) -> P4RuntimeError:
    """The same with INVALID_ARGUMENT."""
    return refuse(Code.INVALID_ARGUMENT, info, reason)


def parse_key(info: TableInfo, entry: Any) -> tuple[Match, int]:
    """Return the loaded table's form of (match, priority); INVALID_ARGUMENT where it breaks a rule."""
    given: dict[int, Any] = {}
    for match in entry.match:
        field_id = match.field_id
        if field_id not in info.by_id:
            raise invalid(info, f"no key field has the id {field_id}")
        if field_id in given:
            raise invalid(info, f"field {info.by_id[field_id][0].name} occurs twice")
        given[field_id] = match
    priority = entry.priority
    if info.needs_priority and priority <= 0:
        raise invalid(info, "its entries need a priority above 0")
    if not info.needs_priority and priority:
        raise invalid(info, "its entries have no priority")
    return tuple([parse_field(what, field, given.get(id_)) for id_, (field, what) in info.by_id.items()]), priority


def parse_field(what: str, field: FieldInfo, match: Any | None) -> Any:
    """Return the loaded form of one field's match, None: left out; INVALID_ARGUMENT where it breaks a rule.

    `what`: how the message calls the field.
    """
    if match is None:
        if field.match == "exact":
            raise P4RuntimeError(Code.INVALID_ARGUMENT, f"{what}: an exact field cannot be left out")
        if field.match == "range":
            return (0, (1 << field.bits) - 1)
        return None if field.compiled == "optional" else (0, 0)
    kind, bits = match.WhichOneof("field_match_type"), field.bits
    if kind != field.match:
        raise P4RuntimeError(Code.INVALID_ARGUMENT, f"{what}: it is matched {field.match}, the entry has {kind}")
    if kind == "exact":
        return _value(field, match.exact.value, what)
    if kind == "lpm":
        return _parse_lpm(match.lpm, bits, what)
    if kind == "ternary":
        both = match.ternary
        value, mask = decode(both.value, bits, what), decode(both.mask, bits, what)
        if mask == 0 or value & ~mask:
            raise P4RuntimeError(
                Code.INVALID_ARGUMENT,
                f"{what}: "
                + ("leave out a field that matches anything" if mask == 0 else "value bits outside the mask"),
            )
        return (value, mask)
    if kind == "range":
        ends = match.range
        low, high = decode(ends.low, bits, what), decode(ends.high, bits, what)
        if low > high or (low == 0 and high == (1 << bits) - 1):
            raise P4RuntimeError(
                Code.INVALID_ARGUMENT,
                f"{what}: " + ("low is above high" if low > high else "leave out a field that matches anything"),
            )
        return (low, high)
    value = _value(field, match.optional.value, what)
    return value if field.compiled == "optional" else (value, (1 << bits) - 1)


def _value(field: FieldInfo, data: bytes, what: str) -> int:
    return decode(data, field.bits, what) if field.strings is None else field.strings.number(data, what)


def _format(field: FieldInfo, value: int) -> bytes:
    return encode(value) if field.strings is None else field.strings.text(value)


def _parse_lpm(lpm: Any, bits: int, what: str) -> tuple[int, int]:
    value = decode(lpm.value, bits, what)
    length = lpm.prefix_len
    if not 0 < length <= bits:
        hint = "leave out a field that matches anything" if length == 0 else f"the field has {bits} bits"
        raise P4RuntimeError(Code.INVALID_ARGUMENT, f"{what}: prefix length {length}: {hint}")
    if value & ((1 << (bits - length)) - 1):
        raise P4RuntimeError(Code.INVALID_ARGUMENT, f"{what}: value bits outside the prefix")
    return (value, length)


def format_field(field: FieldInfo, value: Any, message: Any) -> None:
    """Add the field to a TableEntry, unless it matches anything."""
    all_ones = (1 << field.bits) - 1
    if field.match == "exact":
        message.match.add(field_id=field.id).exact.value = _format(field, value)
    elif field.match == "lpm":
        if value[1]:
            match = message.match.add(field_id=field.id)
            match.lpm.value, match.lpm.prefix_len = encode(value[0]), value[1]
    elif field.match == "ternary":
        if value[1]:
            match = message.match.add(field_id=field.id)
            match.ternary.value, match.ternary.mask = encode(value[0]), encode(value[1])
    elif field.match == "range":
        if value != (0, all_ones):
            match = message.match.add(field_id=field.id)
            match.range.low, match.range.high = encode(value[0]), encode(value[1])
    elif field.compiled == "optional":
        if value is not None:
            message.match.add(field_id=field.id).optional.value = _format(field, value)
    elif value[1]:
        message.match.add(field_id=field.id).optional.value = _format(field, value[0])


def normal_field(field: FieldInfo, value: Any) -> Any:
    """Return the form that `parse_key` gives; the program's own entries may say None for "anything"."""
    if value is not None or field.compiled == "optional":
        return value
    return (0, (1 << field.bits) - 1) if field.match == "range" else (0, 0)
