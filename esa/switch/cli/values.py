"""Numbers and match fields as simple_switch_CLI writes them, to P4Runtime's and back."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Any

from esa.p4runtime import p4runtime_pb2
from esa.switch.cli.client import CommandError
from esa.switch.cli.names import MATCH_NAMES

_MAX_PRIORITY = (1 << 31) - 1
_SYNTAX = {"lpm": ("/", "VALUE/LENGTH"), "ternary": ("&&&", "VALUE&&&MASK"), "range": ("->", "LOW->HIGH")}
_SYNTAX["optional"] = _SYNTAX["ternary"]  # as the compiler makes it of one


def integer(text: str, what: str, low: int = 0, high: int = (1 << 31) - 1) -> int:
    """A number, decimal or with 0x, 0o, 0b; CommandError outside low .. high."""
    try:
        value = int(text, 0) if not text.isdigit() else int(text)
    except ValueError:
        value = low - 1
    if not low <= value <= high:
        raise CommandError(f"{what} {text}: a number from {low} to {high} is allowed")
    return value


def number(text: str, bits: int, what: str) -> int:
    """The value of a field or parameter of so many bits: a number; 10.0.0.1, 00:00:00:00:00:01, ::1 by its width."""
    parsed = _address(text, bits)
    if parsed is None:
        try:
            parsed = int(text, 0) if not text.isdigit() else int(text)
        except ValueError:
            also = {32: " or an IPv4 address", 48: " or a MAC address", 128: " or an IPv6 address"}.get(bits, "")
            raise CommandError(f"{what}: '{text}'; a number{also} is allowed") from None
    if parsed < 0 or (bits and parsed >> bits):
        raise CommandError(f"{what}: {text} does not fit; 0 to {(1 << bits) - 1:#x} is allowed")
    return parsed


def _address(text: str, bits: int) -> int | None:
    try:
        if bits == 32 and "." in text:
            return int(IPv4Address(text))
        if bits == 128 and ":" in text:
            return int(IPv6Address(text))
        if bits == 48 and ":" in text:
            parts = [int(part, 16) for part in text.split(":")]
            if len(parts) == 6 and all(0 <= part < 256 for part in parts):
                return int.from_bytes(bytes(parts), "big")
    except (AddressValueError, ValueError):
        return None
    return None


def encode(value: int) -> bytes:
    """P4Runtime's shortest bytes."""
    return value.to_bytes(max(1, (value.bit_length() + 7) // 8), "big")


def content(part: Any, text: str, what: str) -> bytes:
    """The bytes of a value of a field or parameter: of its name, where P4Info gives it no width but a type."""
    if not part.bitwidth and part.HasField("type_name"):
        return text.encode()
    return encode(number(text, part.bitwidth, what))


def decode(data: bytes) -> int:
    return int.from_bytes(data, "big")


def fill_key(table: Any, texts: Sequence[str], message: Any) -> None:
    """Write a key, one text per field, into a TableEntry."""
    fields = table.match_fields
    if len(texts) != len(fields):
        wanted = " ".join(f"{field.name}({MATCH_NAMES[field.match_type]})" for field in fields) or "none"
        raise CommandError(f"{len(texts)} match fields before =>; allowed: {wanted}")
    for field, text in zip(fields, texts, strict=True):
        match = field_match(field, text)
        if match is not None:
            message.match.append(match)


def field_match(field: Any, text: str) -> Any | None:
    """One field's match; None where it matches anything, which P4Runtime leaves out."""
    kind, bits, what = MATCH_NAMES[field.match_type], field.bitwidth, f"field {field.name}"
    match = p4runtime_pb2.FieldMatch(field_id=field.id)
    if kind == "exact":
        match.exact.value = content(field, text, what)
        return match
    separator, syntax = _SYNTAX[kind]
    first, found, second = text.partition(separator)
    if not found:
        raise CommandError(f"{what}: '{text}'; {syntax} is allowed")
    value, all_ones = number(first, bits, what), (1 << bits) - 1
    if kind == "lpm":
        length = integer(second, f"{what}: prefix length", 0, bits)
        match.lpm.value = encode(value & (all_ones ^ (all_ones >> length)))
        match.lpm.prefix_len = length
        return match if length else None
    limit = number(second, bits, what)
    if kind == "range":
        if limit < value:
            raise CommandError(f"{what}: {text}: the lower end is above the upper one")
        match.range.low, match.range.high = encode(value), encode(limit)
        return match if (value, limit) != (0, all_ones) else None
    if kind == "ternary":
        match.ternary.value, match.ternary.mask = encode(value & limit), encode(limit)
        return match if limit else None
    if limit not in (0, all_ones):
        raise CommandError(f"{what}: mask {second}; an optional field's is 0 or {all_ones:#x}")
    match.optional.value = encode(value)
    return match if limit else None


def needs_priority(table: Any) -> bool:
    return any(MATCH_NAMES[field.match_type] in ("ternary", "range", "optional") for field in table.match_fields)


def priority(text: str) -> int:
    """P4Runtime's priority, where the highest wins, of one where the lowest does."""
    return _MAX_PRIORITY - integer(text, "priority", 0, _MAX_PRIORITY - 1)


def shown_priority(given: int) -> int:
    """The other way round."""
    return _MAX_PRIORITY - given


def fill_action(action: Any, texts: Sequence[str], message: Any) -> None:
    """Write an action and its parameters into an Action."""
    if len(texts) != len(action.params):
        wanted = " ".join(f"{param.name}({param.bitwidth})" for param in action.params) or "none"
        raise CommandError(f"{len(texts)} parameters of {action.preamble.name}; allowed: {wanted}")
    message.action_id = action.preamble.id
    for param, text in zip(action.params, texts, strict=True):
        message.params.add(param_id=param.id, value=content(param, text, f"parameter {param.name}"))
