"""P4Runtime's byte strings: integers as the shortest big-endian bytes that hold them (P4Runtime 1.4, section 8.4)."""

from __future__ import annotations

import grpc

from esa.switch.p4runtime.status import Code, P4RuntimeError

_from_bytes = int.from_bytes


def encode(value: int, *, signed: bool = False) -> bytes:
    """Return the canonical byte string of `value`; zero is one zero byte."""
    if not signed:
        return value.to_bytes(max(1, (value.bit_length() + 7) // 8), "big")
    bits = (value if value >= 0 else ~value).bit_length() + 1
    return value.to_bytes((bits + 7) // 8, "big", signed=True)


def decode(
    data: bytes, bits: int, what: str, *, signed: bool = False, code: grpc.StatusCode = Code.INVALID_ARGUMENT
) -> int:
    """Return the integer in `data`, which may be longer than it need be.

    Raises P4RuntimeError with `code` where it is empty or does not fit in `bits` bits. (The specification's section on
    byte strings asks for OUT_OF_RANGE, those on match fields and action parameters for INVALID_ARGUMENT.)
    """
    if not data:
        raise P4RuntimeError(code, f"{what}: empty byte string")
    if not signed and not (value := _from_bytes(data, "big")) >> bits:
        return value  # nearly always, and then at once
    value = int.from_bytes(data, "big", signed=signed)
    needed = (value if value >= 0 else ~value).bit_length() + (1 if signed else 0)
    if needed > bits:
        raise P4RuntimeError(code, f"{what}: 0x{data.hex()} does not fit in {bits} bits")
    return value
