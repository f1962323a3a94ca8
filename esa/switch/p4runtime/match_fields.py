"""Keys of table entries: P4Runtime's match fields to the loaded table's form, and back (P4Runtime 1.4, section 9.1)."""

from __future__ import annotations

from typing import Any

from esa.switch.p4runtime.bytestrings import decode, encode
from esa.switch.p4runtime.p4info import FieldInfo, TableInfo
from esa.switch.p4runtime.status import Code, P4RuntimeError

Match = tuple[Any, ...]


def refuse(code: Any, info: TableInfo, reason: str) -> P4RuntimeError:
    """The error to raise for what a table refuses."""
    return P4RuntimeError(code, f"table {info.name}: {reason}")


def invalid(info: TableInfo, reason: str) -> P4RuntimeError:
    """The same with INVALID_ARGUMENT."""
    return refuse(Code.INVALID_ARGUMENT, info, reason)


def parse_key(info: TableInfo, entry: Any) -> tuple[Match, int]:
    """Return the loaded table's form of (match, priority); INVALID_ARGUMENT where it breaks a rule."""
    given: dict[int, Any] = {}
    names = {field.id: field.name for field in info.fields}
    for match in entry.match:
        if match.field_id not in names:
            raise invalid(info, f"no key field has the id {match.field_id}")
        if match.field_id in given:
            raise invalid(info, f"field {names[match.field_id]} occurs twice")
        given[match.field_id] = match
    if info.needs_priority and entry.priority <= 0:
        raise invalid(info, "its entries need a priority above 0")
    if not info.needs_priority and entry.priority:
        raise invalid(info, "its entries have no priority")
    return tuple(parse_field(f"table {info.name}", field, given.get(field.id)) for field in info.fields), entry.priority


def parse_field(owner: str, field: FieldInfo, match: Any | None) -> Any:
    """Return the loaded form of one field's match, None: left out; INVALID_ARGUMENT where it breaks a rule."""
    what = f"{owner}, field {field.name}"
    all_ones = (1 << field.bits) - 1
    if match is None:
        if field.match == "exact":
            raise P4RuntimeError(Code.INVALID_ARGUMENT, f"{what}: an exact field cannot be left out")
        if field.match == "range":
            return (0, all_ones)
        return None if field.compiled == "optional" else (0, 0)
    kind = match.WhichOneof("field_match_type")
    if kind != field.match:
        raise P4RuntimeError(Code.INVALID_ARGUMENT, f"{what}: it is matched {field.match}, the entry has {kind}")
    if field.match == "exact":
        return decode(match.exact.value, field.bits, what)
    if field.match == "lpm":
        return _parse_lpm(match.lpm, field.bits, what)
    if field.match == "ternary":
        value, mask = decode(match.ternary.value, field.bits, what), decode(match.ternary.mask, field.bits, what)
        if mask == 0 or value & ~mask:
            raise P4RuntimeError(
                Code.INVALID_ARGUMENT,
                f"{what}: "
                + ("leave out a field that matches anything" if mask == 0 else "value bits outside the mask"),
            )
        return (value, mask)
    if field.match == "range":
        low, high = decode(match.range.low, field.bits, what), decode(match.range.high, field.bits, what)
        if low > high or (low == 0 and high == all_ones):
            raise P4RuntimeError(
                Code.INVALID_ARGUMENT,
                f"{what}: " + ("low is above high" if low > high else "leave out a field that matches anything"),
            )
        return (low, high)
    value = decode(match.optional.value, field.bits, what)
    return value if field.compiled == "optional" else (value, all_ones)


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
        message.match.add(field_id=field.id).exact.value = encode(value)
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
            message.match.add(field_id=field.id).optional.value = encode(value)
    elif value[1]:
        message.match.add(field_id=field.id).optional.value = encode(value[0])


def normal_field(field: FieldInfo, value: Any) -> Any:
    """Return the form that `parse_key` gives; the program's own entries may say None for "anything"."""
    if value is not None or field.compiled == "optional":
        return value
    return (0, (1 << field.bits) - 1) if field.match == "range" else (0, 0)
