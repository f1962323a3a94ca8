"""Sequence numbers: 32 bits that wrap on the wire, plain growing integers inside."""

from __future__ import annotations

from esa.native import native_uncounted as native

_BITS32 = 0xFFFFFFFF
_HALF = 0x80000000


@native
def unwrap(wire: int, near: int) -> int:
    """Return the number closest to `near` whose low 32 bits are `wire` (RFC 1982 order: at most 2**31 away)."""
    return near + ((wire - near + _HALF) & _BITS32) - _HALF


@native
def on_wire(seq: int) -> int:
    """Return the 32 bits of `seq` that a packet carries."""
    return seq & _BITS32
