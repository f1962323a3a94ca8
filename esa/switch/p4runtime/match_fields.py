"""Match fields of table entries: P4Runtime's messages to keys, and back (P4Runtime 1.4, section 9.1)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
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
    """What turns a message's match of one field into the two numbers of a key (`runtime.keys.Key`).

    It raises INVALID_ARGUMENT where that breaks a rule; `what`: how it then calls the field.
    """
    return _READERS[field.match](what, field)


def left_out(what: str, field: FieldInfo) -> tuple[int, int]:
    """The two numbers of a field that a message leaves out. INVALID_ARGUMENT where it cannot be."""
    if field.match == "exact":
        raise _invalid(what, "an exact field cannot be left out")
    return 0, (1 << field.bits) - 1 if field.match == "range" else 0


def _invalid(what: str, reason: str) -> P4RuntimeError:
    return P4RuntimeError(Code.INVALID_ARGUMENT, f"{what}: {reason}")


def _of_other_kind(what: str, kind: str, match: Any) -> P4RuntimeError:
    return _invalid(what, f"it is matched {kind}, the entry has {match.WhichOneof('field_match_type')}")


def _value_reader(kind: str, what: str, field: FieldInfo) -> Read:
    """Of an exact or optional field."""
    bits, full, strings = field.bits, (1 << field.bits) - 1, field.strings

    def read(match: Any) -> tuple[int, int]:
        if match.WhichOneof("field_match_type") != kind:
            raise _of_other_kind(what, kind, match)
        data = match.exact.value if kind == "exact" else match.optional.value
        return decode(data, bits, what) if strings is None else strings.number(data, what), full

    return read


def _lpm_reader(what: str, field: FieldInfo) -> Read:
    bits = field.bits

    def read(match: Any) -> tuple[int, int]:
        if match.WhichOneof("field_match_type") != "lpm":
            raise _of_other_kind(what, "lpm", match)
        lpm = match.lpm
        value, length = decode(lpm.value, bits, what), lpm.prefix_len
        if not 0 < length <= bits:
            hint = "leave out a field that matches anything" if length == 0 else f"the field has {bits} bits"
            raise _invalid(what, f"prefix length {length}: {hint}")
        if value & ((1 << (bits - length)) - 1):
            raise _invalid(what, "value bits outside the prefix")
        return value, length

    return read


def _ternary_reader(what: str, field: FieldInfo) -> Read:
    bits = field.bits

    def read(match: Any) -> tuple[int, int]:
        if match.WhichOneof("field_match_type") != "ternary":
            raise _of_other_kind(what, "ternary", match)
        both = match.ternary
        value, mask = decode(both.value, bits, what), decode(both.mask, bits, what)
        if mask == 0 or value & ~mask:
            hint = "leave out a field that matches anything" if mask == 0 else "value bits outside the mask"
            raise _invalid(what, hint)
        return value, mask

    return read


def _range_reader(what: str, field: FieldInfo) -> Read:
    bits, full = field.bits, (1 << field.bits) - 1

    def read(match: Any) -> tuple[int, int]:
        if match.WhichOneof("field_match_type") != "range":
            raise _of_other_kind(what, "range", match)
        ends = match.range
        low, high = decode(ends.low, bits, what), decode(ends.high, bits, what)
        if low > high or (low == 0 and high == full):
            raise _invalid(what, "low is above high" if low > high else "leave out a field that matches anything")
        return low, high

    return read


_READERS: dict[str, Callable[[str, FieldInfo], Read]] = {
    "exact": partial(_value_reader, "exact"),
    "optional": partial(_value_reader, "optional"),
    "lpm": _lpm_reader,
    "ternary": _ternary_reader,
    "range": _range_reader,
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
