"""Values as text: a number's int64 pattern, and the interval that it can lie in; expressions of constants folded.

All numbers are int64 bit patterns. A value that may exceed 2**63 - 1 (bit<64>) is never negative, and comparisons,
shifts to the right and divisions read its pattern as unsigned.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from esa.switch.compiler.program import Const, Expr, Op
from esa.switch.errors import UnsupportedError

INDENT = "    "
MIN64, MAX64, MAXU64 = -(1 << 63), (1 << 63) - 1, (1 << 64) - 1
FOLDABLE: dict[str, Callable[[int, int], int]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "&": operator.and_,
    "|": operator.or_,
    "^": operator.xor,
    "<<": operator.lshift,
    ">>": operator.rshift,
    "~": lambda _, right: ~right,
    "usat_cast": lambda left, bits: max(0, min(left, (1 << bits) - 1)),
    "sat_cast": operator.add,
    "two_comp_mod": operator.add,
}
_WIDTHS = ("<<", ">>", "usat_cast", "sat_cast", "two_comp_mod")  # the right side counts bits
MAX_FOLDED_BITS = 8192


class TooWideError(Exception):
    """The value does not fit 64 bits; its low bits may still do."""


@dataclass(frozen=True)
class Value:
    """Text, and the interval of the number it stands for."""

    code: str
    lo: int
    hi: int

    @property
    def unsigned(self) -> bool:
        """Whether the pattern must be read as unsigned."""
        return self.hi > MAX64


def literal(number: int) -> str:
    """`number` as the text of its int64 pattern."""
    pattern = number & MAXU64
    if pattern > MAX64:
        pattern -= 1 << 64
    if pattern == MIN64:
        return "(-9223372036854775807 - 1)"  # Numba types the bare literal 2**63 as uint64
    return str(pattern) if -1024 < pattern < 1024 else hex(pattern)


def fit(code: str, lo: int, hi: int) -> Value:
    """A Value, if the interval fits 64 bits."""
    if (lo >= MIN64 and hi <= MAX64) or (lo >= 0 and hi <= MAXU64):
        return Value(code, lo, hi)
    raise TooWideError


_OF_NUMBERS = {"+", "-", "*", "&", "|", "^", "~", "<<", ">>"}


def folded(expr: Expr | None) -> int | None:
    """The number that an expression of constants stands for; None where it is none, or names a field."""
    if isinstance(expr, Const):
        return expr.value
    if not isinstance(expr, Op) or expr.op not in FOLDABLE:
        return None
    left, right = (0 if expr.left is None else folded(expr.left)), folded(expr.right)
    if left is None or right is None:
        return None
    if (expr.op in _WIDTHS and not 0 <= right <= MAX_FOLDED_BITS) or left.bit_length() > MAX_FOLDED_BITS:
        raise UnsupportedError(f"a constant of more than {MAX_FOLDED_BITS} bits")
    if expr.op in ("two_comp_mod", "sat_cast"):
        half = 1 << (right - 1)
        return (left + half) % (2 * half) - half if expr.op == "two_comp_mod" else max(-half, min(left, half - 1))
    return FOLDABLE[expr.op](left, right)


def word(expr: Expr | None, code: str) -> str:
    """`code` of 64 bits in plain Python too, whose numbers grow: one of several constants is no cell's."""
    return f"np.int64({code})" if isinstance(expr, Op) and _of_constants(expr) else code


def _of_constants(expr: Expr | None) -> bool:
    if not isinstance(expr, Op):
        return isinstance(expr, Const)
    if expr.op == "?":
        return _of_constants(expr.left) or _of_constants(expr.right)
    sides = [side for side in (expr.left, expr.right) if side is not None]
    return expr.op == "b2d" or (expr.op in _OF_NUMBERS and all(map(_of_constants, sides)))


def indented(lines: Sequence[str], by: int = 1) -> list[str]:
    """Lines of text, moved to the right."""
    return [INDENT * by + line for line in lines]
