"""Numbers of more than 64 bits as text.

Such a number lies in words of the packet's vector, the lowest first, and its text is that of the cell of its first
word: a field's own, or that of an intermediate result, which has cells that nothing else uses. So texts nest as those
of narrow numbers do (wide_helpers.py is what they call), and neither order nor conditions of evaluation matter.

`wide` is the value itself, by the interval that it can lie in, as `Scope.exact` is in 64 bits; `modular` only its low
words, which is all that is needed where it is stored or masked, and is less work.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from esa.switch.compiler.places import Places
from esa.switch.compiler.program import (
    MAX_BITS,
    Const,
    Expr,
    Field,
    FieldType,
    LastField,
    Lookahead,
    Op,
    Param,
    cells_of,
)
from esa.switch.compiler.values import TooWideError, Value, folded, literal

MAX_WORDS = 2 * MAX_BITS // 64 + 2  # of an intermediate result: that of a product of two of the widest fields
_PLAIN_CELL = re.compile(r"f\[([A-Z_][A-Z0-9_]*)\]")
_LITERAL = re.compile(r"-?(0x[0-9a-f]+|[0-9]+)|\(-[0-9]+ - 1\)")
_HELPERS = {"+": "wide_add", "-": "wide_subtract", "*": "wide_multiply", "&": "wide_and", "|": "wide_or",
            "^": "wide_xor"}  # fmt: skip


@dataclass(frozen=True)
class Wide:
    """Text of the first cell, how many words, and the interval; a number that may be negative is sign-extended."""

    code: str
    count: int
    lo: int
    hi: int

    @property
    def arguments(self) -> tuple[str, int]:
        """The two arguments that helpers take."""
        return self.code, -self.count if self.lo < 0 else self.count


Argument = str | int | Wide
_NOTHING = Wide("0", 0, 0, 0)


def _count(lo: int, hi: int) -> int:
    """Words that hold every number of an interval. Raises TooWideError beyond MAX_WORDS."""
    bits = hi.bit_length() if lo >= 0 else max(hi.bit_length(), (~lo).bit_length()) + 1
    if bits > 64 * MAX_WORDS:
        raise TooWideError
    return max(1, (bits + 63) // 64)


def _ones(number: int) -> int | None:
    """How many bits a mask of the lowest bits has; None where it is none."""
    return number.bit_length() if number > 0 and number & (number + 1) == 0 else None


@dataclass
class WideNumbers(Places):
    """The part of a Scope that writes wide numbers."""

    _known: dict[int, tuple[Expr, Wide]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def exact(self, expr: Expr | None) -> Value:
        raise NotImplementedError

    def boolean(self, expr: Expr | None) -> str:
        raise NotImplementedError

    def element_cell(self, expr: Op) -> tuple[str, FieldType]:
        raise NotImplementedError

    def wide_call(self, helper: str, *args: Argument) -> str:
        """A call of a function in wide_helpers.py.

        Numba compiles a function anew for each literal that it is called with; constants of type int64 are none.
        """
        parts = [part for arg in args for part in (arg.arguments if isinstance(arg, Wide) else (arg,))]
        return self.call(helper, *(self._int64(str(part)) for part in parts))

    def _int64(self, text: str) -> str:
        if text in self.constants:
            return self.constant(f"w_{text}", self.constants[text])
        if not _LITERAL.fullmatch(text):
            return text
        if len(text) > 6:
            return f"np.int64({text})"
        return self.constant(f"w{text}".replace("-", "_minus_"), int(text, 0))

    # --- values -------------------------------------------------------------------------------------------------

    def wide(self, expr: Expr | None) -> Wide:
        """The value of a numeric expression. Raises TooWideError if it may not fit MAX_WORDS words."""
        known = self._known.get(id(expr))
        if known is not None and known[0] is expr:
            return known[1]
        value = self._wide(expr)
        assert expr is not None
        self._known[id(expr)] = (expr, value)
        return value

    def _wide(self, expr: Expr | None) -> Wide:
        constant = folded(expr)
        if constant is not None:
            return self._constant(constant)
        try:
            return self._narrow(self.exact(expr))
        except TooWideError:
            pass
        if isinstance(expr, Op) and expr.op != "access_field":
            return self._wide_operation(expr)
        code, bits, signed = self.wide_place(expr)
        lo = -(1 << (bits - 1)) if signed else 0
        return Wide(code, cells_of(bits, signed), lo, (1 << bits) - 1)

    def wide_place(self, expr: Expr | None) -> tuple[str, int, bool]:
        """The first cell of a wide field, parameter or lookahead; its bits; whether it is signed."""
        if isinstance(expr, Field):
            kind = self.program.field_type(expr)
            return self.cell(expr), kind.bits, kind.signed
        if isinstance(expr, LastField):
            kind = self.program.field_type(Field(self.program.stacks[expr.stack][0], expr.name))
            return self.last_cell(expr), kind.bits, kind.signed
        if isinstance(expr, Op) and expr.op == "access_field":
            cell, kind = self.element_cell(expr)
            return cell, kind.bits, kind.signed
        if isinstance(expr, Param):
            assert self.action is not None
            bits = self.action.params[expr.index][1]
            words = cells_of(bits)
            at = f"p + {self.action.word(expr.index)}"
            return self.wide_call("wide_fetch", "f", self._scratch(words), words, "m64", at), bits, False
        if isinstance(expr, Lookahead):
            at = f"8 * {self.hidden('CURSOR')} + {expr.offset}"
            to, length = self._scratch(cells_of(expr.bits)), self.hidden("INGRESS_LENGTH")
            return self.wide_call("wide_peek", "f", to, "pkt", length, at, str(expr.bits)), expr.bits, False
        raise self.refuse(f"{expr!r} is not a number")

    def _scratch(self, words: int) -> str:
        return str(self.layout.take_scratch(words))

    def _constant(self, number: int) -> Wide:
        count = _count(number, number)
        code = self._scratch(count)
        for k in range(count):
            code = self.wide_call("wide_put", "f", code, k, literal(number >> 64 * k))
        return Wide(code, count, number, number)

    def _narrow(self, value: Value) -> Wide:
        """A number of 64 bits as one word of the vector."""
        found = _PLAIN_CELL.fullmatch(value.code)
        code = found[1] if found else self.wide_call("wide_put", "f", self._scratch(1), "0", value.code)
        return Wide(code, 1, value.lo, value.hi)

    def _result(self, helper: str, lo: int, hi: int, *operands: Wide) -> Wide:
        count = _count(lo, hi)
        return self._made(helper, count, lo, hi, *operands)

    def _made(self, helper: str, count: int, lo: int, hi: int, *rest: Argument) -> Wide:
        return Wide(self.wide_call(helper, "f", self._scratch(count), count, *rest), count, lo, hi)

    def _wide_operation(self, expr: Op) -> Wide:
        op = expr.op
        if op == "&":
            return self._wide_and(expr)
        if op in _HELPERS:
            left = _NOTHING if expr.left is None else self.wide(expr.left)
            right = self.wide(expr.right)
            return self._result(_HELPERS[op], *_interval(op, left, right), left, right)
        if op in ("/", "%"):
            return self._wide_divide(op, self.wide(expr.left), self.wide(expr.right))
        if op == "~":
            value = self.wide(expr.right)
            return self._result("wide_invert", ~value.hi, ~value.lo, value)
        if op in ("<<", ">>"):
            by, least, most = self._amount(expr.right)
            value = self.wide(expr.left)
            if op == ">>":
                lo, hi = min(value.lo >> least, 0) if value.lo < 0 else 0, max(value.hi >> least, 0)
                return self._made("wide_shift_right", _count(lo, hi), lo, hi, value, by)
            if most > 64 * MAX_WORDS:
                raise TooWideError
            lo, hi = min(value.lo, value.lo << most), max(value.hi, value.hi << most)
            return self._made("wide_shift_left", _count(lo, hi), lo, hi, value, by)
        if op == "two_comp_mod":
            return self._wide_two_comp_mod(expr)
        if op in ("sat_cast", "usat_cast"):
            return self._wide_saturate(expr)
        if op == "?":
            yes, no = self.wide(expr.left), self.wide(expr.right)
            lo, hi = min(yes.lo, no.lo), max(yes.hi, no.hi)
            count = _count(lo, hi)
            texts = [self._extended(side, count).code for side in (yes, no)]
            return Wide(f"({texts[0]} if {self.boolean(expr.condition)} else {texts[1]})", count, lo, hi)
        raise self.refuse(f"operation {op!r} is not supported")

    def _extended(self, value: Wide, count: int) -> Wide:
        """The number in exactly `count` words."""
        if value.count == count:
            return value
        return self._made("wide_extend", count, value.lo, value.hi, value)

    def _amount(self, expr: Expr | None) -> tuple[str, int, int]:
        """How far to shift, as text, at least and at most."""
        try:
            by = self.exact(expr)
        except TooWideError:
            value = self.wide(expr)
            return self.wide_call("wide_amount", "f", value), 0, value.hi
        return by.code, max(by.lo, 0), by.hi

    def _wide_and(self, expr: Op) -> Wide:
        for side, mask in ((expr.left, folded(expr.right)), (expr.right, folded(expr.left))):
            bits = None if mask is None else _ones(mask)
            if mask is None or bits is None or bits > 64 * MAX_WORDS:
                continue
            try:
                value = self.wide(side)
                if value.lo >= 0 and value.hi <= mask:
                    return value  # the mask cuts nothing
            except TooWideError:
                pass
            words = (bits + 63) // 64
            low = self.modular(side, words)
            to = self._scratch(words)
            return Wide(self.wide_call("wide_cut", "f", to, bits, low), words, 0, mask)
        left, right = self.wide_or_none(expr.left), self.wide_or_none(expr.right)
        bounds = [value.hi for value in (left, right) if value is not None and value.lo >= 0]
        if bounds:
            count = _count(0, min(bounds))
            operands = [self.modular(side, count) for side in (expr.left, expr.right)]
            return self._made("wide_and", count, 0, min(bounds), *operands)
        if left is None or right is None:
            raise TooWideError
        return self._result("wide_and", *_interval("&", left, right), left, right)

    def wide_or_none(self, expr: Expr | None) -> Wide | None:
        """The value; None where it may be too wide even for that."""
        try:
            return self.wide(expr)
        except TooWideError:
            return None

    def _wide_divide(self, op: str, left: Wide, right: Wide) -> Wide:
        if left.lo < 0 or right.lo < 0:
            raise self.refuse(f"{op!r} of a number that may be negative")
        words = max(left.count, right.count) + 1  # the remainder is doubled before it is compared
        code = self.wide_call("wide_divide", "f", self._scratch(2 * words), words, left, right, int(op == "%"))
        hi = left.hi if op == "/" else max(right.hi - 1, 0)
        return Wide(code, _count(0, hi), 0, hi)

    def _width(self, expr: Op) -> int:
        if not isinstance(expr.right, Const):
            raise self.refuse(f"{expr.op} to a width that is not constant")
        if not 1 <= expr.right.value <= MAX_BITS:
            raise self.refuse(f"{expr.op} to {expr.right.value} bits, more than {MAX_BITS}")
        return expr.right.value

    def _wide_two_comp_mod(self, expr: Op) -> Wide:
        bits = self._width(expr)
        lo, hi = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
        value = self.wide_or_none(expr.left)
        if value is not None and value.lo >= lo and value.hi <= hi:
            return value
        count = _count(lo, hi)
        return self._made("wide_signed", count, lo, hi, bits, self.modular(expr.left, count))

    def _wide_saturate(self, expr: Op) -> Wide:
        return self.wide_saturated(self.wide(expr.left), self._width(expr), expr.op == "sat_cast")

    def wide_saturated(self, value: Wide, bits: int, signed: bool) -> Wide:
        """The nearest number of so many bits."""
        lo, hi = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
        if value.lo >= lo and value.hi <= hi:
            return value
        return self._made("wide_saturate", _count(lo, hi), lo, hi, bits, int(signed), value)

    # --- low words ----------------------------------------------------------------------------------------------

    def modular(self, expr: Expr | None, words: int) -> Wide:
        """A number whose low `words` words are those of the value, whatever its size; the interval says nothing."""
        try:
            return self._narrow(self.exact(expr)) if folded(expr) is None else self._low_constant(expr, words)
        except TooWideError:
            pass
        if not isinstance(expr, Op) or expr.op not in (*_HELPERS, "~", "<<", "?"):
            return self.wide(expr)
        if expr.op == "&":
            mask = next((m for m in (folded(expr.right), folded(expr.left)) if m is not None), None)
            if mask is not None and _ones(mask) is not None:
                ones = mask.bit_length()
                side = expr.left if folded(expr.right) == mask else expr.right
                return self.modular(side, words) if ones >= 64 * words else self.wide(expr)
        if expr.op in _HELPERS:
            left = _NOTHING if expr.left is None else self.modular(expr.left, words)
            return self._low(_HELPERS[expr.op], words, left, self.modular(expr.right, words))
        if expr.op == "~":
            return self._low("wide_invert", words, self.modular(expr.right, words))
        if expr.op == "<<":
            return self._low("wide_shift_left", words, self.modular(expr.left, words),
                             self._amount(expr.right)[0])  # fmt: skip
        sides = [self.modular(side, words) for side in (expr.left, expr.right)]
        yes, no = (self._extended(side, words).code if side.count < words else side.code for side in sides)
        return Wide(f"({yes} if {self.boolean(expr.condition)} else {no})", words, 0, (1 << 64 * words) - 1)

    def _low(self, helper: str, words: int, *operands: Argument) -> Wide:
        return self._made(helper, words, 0, (1 << 64 * words) - 1, *operands)

    def _low_constant(self, expr: Expr | None, words: int) -> Wide:
        number = folded(expr)
        assert number is not None
        return self._constant(number & ((1 << 64 * words) - 1) if number.bit_length() > 64 * words else number)

    def word_after(self, expr: Op) -> str:
        """Text of the lowest word of a shift to the right."""
        number, (by, least, most) = self.wide(expr.left), self._amount(expr.right)
        skip, rest = divmod(least, 64)
        if least == most and rest == 0 and skip < number.count and number.code.isidentifier():
            return f"f[{number.code} + {skip}]"
        return f"f[{self.wide_call('wide_shift_right', 'f', self._scratch(1), '1', number, by)}]"

    def wide_key(self, expr: Expr) -> tuple[str, int] | None:
        """The first cell of a parser's key field of more than 64 bits, and its bits; None for a narrow one."""
        if isinstance(expr, Lookahead) and expr.bits <= 64:
            return None
        code, bits, _ = self.wide_place(expr)
        return (code, bits) if bits > 64 else None

    # --- comparisons and stores ---------------------------------------------------------------------------------

    def wide_compare(self, op: str, left: Expr | None, right: Expr | None) -> str:
        """Text of a comparison."""
        try:
            one, other = self.wide(left), self.wide(right)
        except TooWideError:
            raise self.refuse(f"comparison of numbers of more than {64 * MAX_WORDS} bits") from None
        if op in ("==", "!="):
            text = self.wide_call("wide_equal", "f", one, other)
            return text if op == "==" else f"(not {text})"
        first, second = (one, other) if op in ("<", ">=") else (other, one)
        text = self.wide_call("wide_below", "f", first, second)
        return text if op in ("<", ">") else f"(not {text})"

    def fetched(self, cell: str, bits: int) -> Wide:
        """The number of a wide register's cell."""
        words = cells_of(bits)
        code = self.wide_call("wide_fetch", "f", self._scratch(words), words, "m64", cell)
        return Wide(code, words, 0, (1 << bits) - 1)

    def wide_store_value(self, cell: str, bits: int, signed: bool, value: Value | Wide) -> str:
        """The line that stores a ready number into a wide field."""
        number = self._narrow(value) if isinstance(value, Value) else value
        return self._stored_as(cell, bits, signed, number)

    def wide_store(self, cell: str, bits: int, signed: bool, expr: Expr | None) -> str:
        """The line that stores the value into a wide field, as the field keeps it."""
        words = cells_of(bits, signed)
        if not signed:
            value = self.modular(expr, words)
            if bits % 64 or value.lo < 0 or value.count < words:
                return self.wide_call("wide_cut", "f", cell, bits, value)
            return self.wide_call("wide_extend", "f", cell, words, value)
        exact = self.wide_or_none(expr)
        if exact is None:
            return self.wide_call("wide_signed", "f", cell, words, bits, self.modular(expr, words))
        return self._stored_as(cell, bits, signed, exact)

    def _stored_as(self, cell: str, bits: int, signed: bool, value: Wide) -> str:
        words = cells_of(bits, signed)
        if value.lo >= (-(1 << (bits - 1)) if signed else 0) and value.hi < 1 << bits:
            return self.wide_call("wide_extend", "f", cell, words, value)
        if signed:
            return self.wide_call("wide_keep_signed", "f", cell, words, bits, value)
        return self.wide_call("wide_cut", "f", cell, bits, value)


def _interval(op: str, left: Wide, right: Wide) -> tuple[int, int]:
    if op == "+":
        return left.lo + right.lo, left.hi + right.hi
    if op == "-":
        return left.lo - right.hi, left.hi - right.lo
    if op == "*":
        corners = [a * b for a in (left.lo, left.hi) for b in (right.lo, right.hi)]
        return min(corners), max(corners)
    if left.lo >= 0 and right.lo >= 0:
        return 0, (1 << max(left.hi, right.hi).bit_length()) - 1
    reach = max(-left.lo, -right.lo, left.hi + 1, right.hi + 1).bit_length()
    return -(1 << reach), (1 << reach) - 1
