"""Match fields of table entries: P4Runtime's messages to keys, and back (P4Runtime 1.4, section 9.1)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from esa.switch.p4runtime.bytestrings import decode, encode
from esa.switch.p4runtime.status import Code, P4RuntimeError
from esa.switch.p4runtime.translation import Strings

Read = Callable[[Any], tuple[int, int]]


@dataclass(frozen=True)
class FieldInfo:
    """One field of a table's key; `match` is its kind as P4Runtime calls it."""

    id: int
    name: str
    match: str
    bits: int
    strings: Strings | None = None  # where its values have names


def reader(what: str, field: FieldInfo) -> Read:
    """What turns one field's match, None: left out, into the two numbers of a key (`runtime.keys.Key`).

    It raises INVALID_ARGUMENT where that breaks a rule; `what`: how it then calls the field.
    """
    parse, kind, bits = _PARSERS[field.match], field.match, field.bits
    anything = (0, (1 << bits) - 1) if kind == "range" else (0, 0)

    def read(match: Any) -> tuple[int, int]:
        if match is None:
            if kind == "exact":
                raise P4RuntimeError(Code.INVALID_ARGUMENT, f"{what}: an exact field cannot be left out")
            return anything
        given = match.WhichOneof("field_match_type")
        if given != kind:
            raise P4RuntimeError(Code.INVALID_ARGUMENT, f"{what}: it is matched {kind}, the entry has {given}")
        return parse(match, field, bits, what)

    return read


def _parse_exact(match: Any, field: FieldInfo, bits: int, what: str) -> tuple[int, int]:
    return _value(match.exact.value, field, bits, what), (1 << bits) - 1


def _parse_optional(match: Any, field: FieldInfo, bits: int, what: str) -> tuple[int, int]:
    return _value(match.optional.value, field, bits, what), (1 << bits) - 1


def _value(data: bytes, field: FieldInfo, bits: int, what: str) -> int:
    return decode(data, bits, what) if field.strings is None else field.strings.number(data, what)


def _parse_lpm(match: Any, _: FieldInfo, bits: int, what: str) -> tuple[int, int]:
    value, length = decode(match.lpm.value, bits, what), match.lpm.prefix_len
    if not 0 < length <= bits:
        hint = "leave out a field that matches anything" if length == 0 else f"the field has {bits} bits"
        raise P4RuntimeError(Code.INVALID_ARGUMENT, f"{what}: prefix length {length}: {hint}")
    if value & ((1 << (bits - length)) - 1):
        raise P4RuntimeError(Code.INVALID_ARGUMENT, f"{what}: value bits outside the prefix")
    return value, length


def _parse_ternary(match: Any, _: FieldInfo, bits: int, what: str) -> tuple[int, int]:
    both = match.ternary
    value, mask = decode(both.value, bits, what), decode(both.mask, bits, what)
    if mask == 0 or value & ~mask:
        hint = "leave out a field that matches anything" if mask == 0 else "value bits outside the mask"
        raise P4RuntimeError(Code.INVALID_ARGUMENT, f"{what}: {hint}")
    return value, mask


def _parse_range(match: Any, _: FieldInfo, bits: int, what: str) -> tuple[int, int]:
    ends = match.range
    low, high = decode(ends.low, bits, what), decode(ends.high, bits, what)
    if low > high or (low == 0 and high == (1 << bits) - 1):
        hint = "low is above high" if low > high else "leave out a field that matches anything"
        raise P4RuntimeError(Code.INVALID_ARGUMENT, f"{what}: {hint}")
    return low, high


_PARSERS = {
    "exact": _parse_exact,
    "lpm": _parse_lpm,
    "ternary": _parse_ternary,
    "range": _parse_range,
    "optional": _parse_optional,
}


def format_field(field: FieldInfo, first: int, second: int, message: Any) -> None:
    """Add a field, of which a key has these two numbers, to a TableEntry, unless it matches anything."""
    if field.match == "exact":
        message.match.add(field_id=field.id).exact.value = _format(field, first)
    elif field.match == "range":
        if (first, second) != (0, (1 << field.bits) - 1):
            match = message.match.add(field_id=field.id)
            match.range.low, match.range.high = encode(first), encode(second)
    elif second == 0:
        pass
    elif field.match == "lpm":
        match = message.match.add(field_id=field.id)
        match.lpm.value, match.lpm.prefix_len = encode(first), second
    elif field.match == "ternary":
        match = message.match.add(field_id=field.id)
        match.ternary.value, match.ternary.mask = encode(first), encode(second)
    else:
        message.match.add(field_id=field.id).optional.value = _format(field, first)


def _format(field: FieldInfo, value: int) -> bytes:
    return encode(value) if field.strings is None else field.strings.text(value)
