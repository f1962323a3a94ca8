"""Headers of lanes: two of their fields share a cell of the packet's vector, as words of 32 bits.

Loops over 32 bits do twice as many lanes with each instruction as loops over 64, and there are half as many bytes to
clear and to copy. Such a header is many fields of one type of up to 32 bits, which actions move to and from registers
and compute with, one by one. Where the program does anything else with one of them, the generator meets
`NotHalvedError` and begins again with cells of 64 bits for that header.
"""

from __future__ import annotations

from esa.switch.compiler.lanes import leaves_of
from esa.switch.compiler.program import Field, FieldType, Header, Program, primitives_of

MIN_FIELDS = 8
_BITS = (8, 16, 32)
# What is written into such a field is an expression's value or a register's cell.
_PRIMITIVES = {"assign", "set", "modify_field", "register_read", "register_write", "_jump_if_zero"}


class NotHalvedError(Exception):
    """A header's fields need cells of 64 bits."""

    def __init__(self, header: str) -> None:
        super().__init__(header)
        self.header = header


def _is_lanes(header: Header) -> bool:
    kinds = {(kind.bits, kind.signed) for kind in header.fields}
    if header.metadata or header.stack is not None or len(kinds) != 1 or len(header.fields) < MIN_FIELDS:
        return False
    first: FieldType = header.fields[0]
    return first.bits in _BITS and not any(kind.varbit or kind.saturating for kind in header.fields)


def halved_headers(program: Program) -> frozenset[str]:
    """The headers that may be such: those of that shape which only such primitives name."""
    found = {name for name, header in program.headers.items() if _is_lanes(header)}
    found -= {member for members in program.unions.values() for member in members}
    for primitive in primitives_of(program):
        if primitive.op not in _PRIMITIVES:
            leaves = (leaf for arg in primitive.args for leaf in leaves_of(arg))
            found -= {leaf.header for leaf in leaves if isinstance(leaf, Field) and leaf.name != "$valid$"}
    return frozenset(found)


def fits(kind: FieldType, lo: int, hi: int) -> bool:
    """Whether half a cell holds all that BMv2 keeps in such a field, which for signed ones may be 2**bits - 1."""
    return not kind.signed or (lo >= -(1 << 31) and hi < 1 << 31) or kind.bits < 32
