"""Expressions as Python text, exact in 64 bits; wider numbers are words (wide.py).

BMv2 computes with unbounded integers and cuts when it stores. Here every expression carries the interval its value can
lie in: where that fits 64 bits the text is exact; where it does not, only its low bits may be asked for (`low`), which
wrapping arithmetic gives exactly for + - * & | ^ ~ <<, or the number is one of several words.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from esa.switch.compiler.program import (
    Bool,
    Const,
    Expr,
    Field,
    FieldType,
    LastField,
    Lookahead,
    Object,
    Op,
    Param,
)
from esa.switch.compiler.values import TooWideError, Value, fit, folded, literal, word
from esa.switch.compiler.wide import WideNumbers

COMPARISONS = {"==", "!=", "<", "<=", ">", ">="}
BOOLEAN = COMPARISONS | {"and", "or", "not", "valid", "valid_union", "d2b"}


def _mask_bits(number: int) -> bool:
    return number >= 0 and number & (number + 1) == 0


@dataclass
class Scope(WideNumbers):
    """Where an expression stands, and its text there."""

    _exact: dict[int, tuple[Op, Value | None]] = field(default_factory=dict, init=False, repr=False, compare=False)

    # --- exact values -------------------------------------------------------------------------------------------

    def exact(self, expr: Expr | None) -> Value:
        """The value of a numeric expression. Raises TooWideError if it may not fit 64 bits."""
        if (constant := folded(expr)) is not None:
            return fit(literal(constant), constant, constant)
        if isinstance(expr, Field):
            if expr in self.layout.halves:
                return self._half(expr)
            kind = self.program.field_type(expr)
            return self._stored(self.place(expr), kind.bits, kind.signed)
        if isinstance(expr, Param):
            return self._param(expr)
        if isinstance(expr, LastField):
            first = Field(self.program.stacks[expr.stack][0], expr.name)
            kind = self.program.field_type(first)
            return self._stored(f"f[{self.last_cell(expr)}]", kind.bits, kind.signed)
        if isinstance(expr, Lookahead):
            return self._lookahead(expr)
        if isinstance(expr, Op):
            return self._known_operation(expr)
        raise self.refuse(f"{expr!r} is not a number")

    def _known_operation(self, expr: Op) -> Value:
        # Whoever finds a number too wide asks again for its parts: without a memory that doubles at every level.
        known = self._exact.get(id(expr))
        if known is None or known[0] is not expr:
            try:
                value = self._operation(expr)
                found = value if value.lo != value.hi else Value(literal(value.lo), value.lo, value.lo)
            except TooWideError:
                found = None
            known = self._exact[id(expr)] = (expr, found)
        if known[1] is None:
            raise TooWideError
        return known[1]

    def _param(self, expr: Param) -> Value:
        assert self.action is not None
        bits = self.action.params[expr.index][1]
        return self._stored(self._param_word(expr), bits, False)

    def _param_word(self, expr: Param) -> str:
        assert self.action is not None
        word = self.action.word(expr.index)
        return f"m64[p + {word}]" if word else "m64[p]"

    def _lookahead(self, expr: Lookahead) -> Value:
        if expr.bits > 64:
            raise TooWideError
        cursor = f"8 * {self.hidden('CURSOR')} + {expr.offset}"
        return Value(self.call("peek", "pkt", self.hidden("INGRESS_LENGTH"), cursor, str(expr.bits)),
                     0, (1 << expr.bits) - 1)  # fmt: skip

    def element_cell(self, expr: Op) -> tuple[str, FieldType]:
        """access_field of a stack element chosen at run time: its first cell as text, and its type."""
        inner = expr.left
        assert isinstance(expr.right, Const)
        if isinstance(inner, Object) and inner.kind == "header":
            header = self.program.headers[inner.name]
            kind = header.fields[expr.right.value]
            return self.cell(Field(header.name, kind.name)), kind
        if not (isinstance(inner, Op) and inner.op == "dereference_header_stack" and isinstance(inner.left, Object)):
            raise self.refuse("access_field of something that is no stack element")
        stack = inner.left.name
        members = self.program.stacks[stack]
        kind = self.program.headers[members[0]].fields[expr.right.value]
        if kind.varbit:
            raise self.refuse(f"{kind.name} of an element of {stack} chosen at run time is a varbit")
        base, stride = self.stack_cells(stack, kind.name)
        index = self.exact(inner.right).code
        sink = self.hidden("SINK")[2:-1] if kind.words == 1 else str(self.layout.take_scratch(kind.words))
        cell = self.call("element", index, str(len(members)), str(base), str(stride), sink)
        return cell, kind

    def _operation(self, expr: Op) -> Value:
        op = expr.op
        if op == "&":
            return self._and(expr)
        if op in ("+", "-", "*", "|", "^", "/", "%"):
            left = Value("0", 0, 0) if expr.left is None else self.exact(expr.left)
            return self._arithmetic(op, left, self.exact(expr.right))
        if op == "~":
            value = self.exact(expr.right)
            return fit(f"(~{value.code})", ~value.hi, ~value.lo)
        if op == "<<":
            left = self.exact(expr.left)
            return self._shift_left(Value(word(expr.left, left.code), left.lo, left.hi), self.exact(expr.right))
        if op == ">>":
            return self._shift_right(expr)
        if op == "two_comp_mod":
            return self._two_comp_mod(expr)
        if op in ("sat_cast", "usat_cast"):
            return self._saturate(expr)
        if op == "?":
            yes, no = self.exact(expr.left), self.exact(expr.right)
            code = f"({yes.code} if {self.boolean(expr.condition)} else {no.code})"
            return fit(code, min(yes.lo, no.lo), max(yes.hi, no.hi))
        if op == "b2d":
            assert expr.right is not None
            if isinstance(expr.right, Bool):
                return Value(str(int(expr.right.value)), int(expr.right.value), int(expr.right.value))
            return Value(f"(1 if {self.boolean(expr.right)} else 0)", 0, 1)
        if op in ("size_stack", "last_stack_index"):
            stack = expr.right if isinstance(expr.right, Object) else expr.left
            assert isinstance(stack, Object)
            code = self.following(stack.name)
            count = self.program.depth(stack.name)
            return Value(code, 0, count) if op == "size_stack" else Value(f"({code} - 1)", -1, count - 1)
        if op == "access_field":
            place, kind = self.element_cell(expr)
            return self._stored(f"f[{place}]", kind.bits, kind.signed)
        raise self.refuse(f"operation {op!r} is not supported")

    def _and(self, expr: Op) -> Value:
        sides: list[Value | None] = []
        for side in (expr.left, expr.right):
            try:
                sides.append(self.exact(side))
            except TooWideError:
                sides.append(None)
        left, right = sides
        if left is not None and right is not None:
            for value, mask in ((left, right), (right, left)):
                covers = mask.lo == mask.hi and _mask_bits(mask.lo)
                if covers and value.lo >= 0 and value.hi <= mask.lo:
                    return value  # the mask cuts nothing
        masks = [value for value in (left, right) if value is not None and value.lo >= 0]
        if not masks and (left is None or right is None):
            raise TooWideError
        low = [
            self.low(side) if value is None else value.code
            for side, value in zip((expr.left, expr.right), sides, strict=True)
        ]
        code = f"({low[0]} & {low[1]})"
        if masks:
            return Value(code, 0, min(value.hi for value in masks))
        assert left is not None
        assert right is not None
        reach = max(-left.lo, -right.lo, left.hi + 1, right.hi + 1).bit_length()
        return fit(code, -(1 << reach), (1 << reach) - 1)

    def _arithmetic(self, op: str, left: Value, right: Value) -> Value:
        code = f"({left.code} {op} {right.code})"
        if op == "+":
            return fit(code, left.lo + right.lo, left.hi + right.hi)
        if op == "-":
            code = f"(-{right.code})" if left.code == "0" else code
            return fit(code, left.lo - right.hi, left.hi - right.lo)
        if op == "*":
            corners = [a * b for a in (left.lo, left.hi) for b in (right.lo, right.hi)]
            return fit(code, min(corners), max(corners))
        if op in ("|", "^"):
            if left.lo >= 0 and right.lo >= 0:
                return fit(code, 0, (1 << max(left.hi, right.hi).bit_length()) - 1)
            reach = max(-left.lo, -right.lo, left.hi + 1, right.hi + 1).bit_length()
            return fit(code, -(1 << reach), (1 << reach) - 1)
        if left.lo < 0 or right.lo < 0:
            raise self.refuse(f"{op!r} of a number that may be negative")
        helper = "divide" if op == "/" else "modulo"
        return Value(self.call(helper, left.code, right.code), 0, left.hi if op == "/" else max(right.hi - 1, 0))

    def _shift_left(self, left: Value, right: Value) -> Value:
        if right.lo < 0 or right.hi > 64:
            raise TooWideError
        code = f"({left.code} << {right.code})" if right.hi < 64 else self.call("shift_left", left.code, right.code)
        return fit(code, min(left.lo, left.lo << right.hi), max(left.hi, left.hi << right.hi))

    def _shift_right(self, expr: Op) -> Value:
        right = self.exact(expr.right)
        try:
            left = self.exact(expr.left)
        except TooWideError:
            return self._shift_wide_right(expr, right)
        least = min(max(right.lo, 0), 64)
        lo, hi = (left.lo if left.lo < 0 else 0), max(left.hi >> least, 0)
        if left.unsigned:
            if 1 <= right.lo == right.hi <= 63:
                return Value(f"(({left.code} >> {right.code}) & {literal((1 << 64 - right.lo) - 1)})", lo, hi)
            return Value(self.call("shift_right_unsigned", left.code, right.code), lo, hi)
        if right.lo >= 0 and right.hi < 64:
            if right.lo == right.hi:
                lo = left.lo >> right.lo
            return Value(f"({left.code} >> {right.code})", lo, hi)
        return Value(self.call("shift_right", left.code, right.code), lo, hi)

    def _shift_wide_right(self, expr: Op, by: Value) -> Value:
        """One word of a wide number, if no more can be left of it."""
        number, least = self.wide(expr.left), max(by.lo, 0)
        lo, hi = min(number.lo >> least, 0), max(number.hi >> least, 0)
        fit("", lo, hi)
        return Value(self.word_after(expr), lo, hi)

    def _two_comp_mod(self, expr: Op) -> Value:
        bits = self._width(expr)
        lo, hi = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
        try:
            value = self.exact(expr.left)
            if value.lo >= lo and value.hi <= hi:
                return value
            code = value.code
        except TooWideError:
            code = self.low(expr.left) if bits <= 64 else ""
        if bits > 64:
            raise TooWideError
        return Value(code if bits == 64 else self.call("signed", code, str(bits)), lo, hi)

    def _saturate(self, expr: Op) -> Value:
        bits = self._width(expr)
        signed = expr.op == "sat_cast"
        lo, hi = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
        try:
            value = self.exact(expr.left)
        except TooWideError:
            inner = expr.left
            if bits > 64:
                raise
            try:
                if bits != 64 or not isinstance(inner, Op) or inner.op not in ("+", "-"):
                    raise TooWideError
                left, right = self.exact(inner.left), self.exact(inner.right)
            except TooWideError:
                return Value(f"f[{self._wide_saturate(expr).code}]", lo, hi)
            name = f"saturating_{'add' if inner.op == '+' else 'subtract'}_{'signed' if signed else 'unsigned'}"
            return Value(self.call(name, left.code, right.code), lo, hi)
        if value.lo >= lo and value.hi <= hi:
            return value
        if bits > 64:
            raise TooWideError
        if value.unsigned and signed:
            return Value(f"f[{self._wide_saturate(expr).code}]", lo, hi)
        return self.saturated(value, lo, hi)

    # --- low bits -----------------------------------------------------------------------------------------------

    def low(self, expr: Expr | None) -> str:
        """Text whose low 64 bits are those of the value, whatever its size."""
        try:
            return self.exact(expr).code
        except TooWideError:
            pass
        constant = folded(expr)
        if constant is not None:
            return literal(constant)
        if isinstance(expr, Param):
            return self._param_word(expr)
        if not isinstance(expr, Op):
            return f"f[{self.wide(expr).code}]"
        if expr.op in ("+", "-", "*", "&", "|", "^"):
            return f"({'0' if expr.left is None else self.low(expr.left)} {expr.op} {self.low(expr.right)})"
        if expr.op == "~":
            return f"(~{self.low(expr.right)})"
        if expr.op == "<<":
            try:
                by = self.exact(expr.right)
            except TooWideError:
                return f"f[{self.modular(expr, 1).code}]"
            if by.lo == by.hi:
                return "0" if by.lo > 63 else f"({word(expr.left, self.low(expr.left))} << {by.lo})"
            return self.call("shift_left", self.low(expr.left), by.code)
        if expr.op == "?":
            return f"({self.low(expr.left)} if {self.boolean(expr.condition)} else {self.low(expr.right)})"
        return self.word_after(expr) if expr.op == ">>" else f"f[{self.wide(expr).code}]"

    # --- truth values -------------------------------------------------------------------------------------------

    def is_boolean(self, expr: Expr | None) -> bool:
        """Whether the expression is a truth value."""
        if isinstance(expr, Op):
            return expr.op in BOOLEAN or (expr.op == "?" and self.is_boolean(expr.left))
        return isinstance(expr, Bool)

    def truth(self, expr: Expr | None) -> str:
        """Text of a truth value, or of whether a number is not 0."""
        if self.is_boolean(expr):
            return self.boolean(expr)
        try:
            return f"({self.exact(expr).code} != 0)"
        except TooWideError:
            return self.wide_compare("!=", expr, Const(0))

    def boolean(self, expr: Expr | None) -> str:
        """Text of a truth value."""
        if isinstance(expr, Bool):
            return str(expr.value)
        if not isinstance(expr, Op):
            raise self.refuse(f"{expr!r} is not a truth value")
        if expr.op in ("and", "or"):
            return f"({self.boolean(expr.left)} {expr.op} {self.boolean(expr.right)})"
        if expr.op == "not":
            return f"(not {self.boolean(expr.right)})"
        if expr.op == "d2b":
            return self.truth(expr.right)
        if expr.op == "valid":
            assert isinstance(expr.right, Object)
            return f"({self.place(Field(expr.right.name, '$valid$'))} != 0)"
        if expr.op == "valid_union" and isinstance(expr.right, Object):
            members = self.program.unions[expr.right.name]
            tests = [f"{self.place(Field(member, '$valid$'))} != 0" for member in members]
            return f"({' or '.join(tests)})"
        if expr.op == "?":
            yes, no = self.boolean(expr.left), self.boolean(expr.right)
            return f"({yes} if {self.boolean(expr.condition)} else {no})"
        if expr.op in COMPARISONS:
            return self._compare(expr)
        raise self.refuse(f"operation {expr.op!r} is not a truth value")

    def _compare(self, expr: Op) -> str:
        if self.is_boolean(expr.left):
            return f"({self.boolean(expr.left)} {expr.op} {self.boolean(expr.right)})"
        if isinstance(expr.left, Object) and isinstance(expr.right, Object):
            return self._compare_headers(expr.op, expr.left.name, expr.right.name)
        try:
            left, right = self.exact(expr.left), self.exact(expr.right)
        except TooWideError:
            return self.wide_compare(expr.op, expr.left, expr.right)
        if left.unsigned or right.unsigned:
            if left.lo < 0 or right.lo < 0:
                return self.wide_compare(expr.op, expr.left, expr.right)
            if expr.op not in ("==", "!="):
                self.helpers.add("unsigned")
                return f"(unsigned({left.code}) {expr.op} unsigned({right.code}))"
        return f"({left.code} {expr.op} {right.code})"

    def _compare_headers(self, op: str, left: str, right: str) -> str:
        fields = self.program.headers[left].words
        if self.program.headers[left].type_name != self.program.headers[right].type_name:
            raise self.refuse(f"headers of different types are compared: {left}, {right}")
        first, second = (
            self.layout.cells[Field(name, self.program.headers[name].fields[0].name)] for name in (left, right)
        )
        equal = self.call("same_header", "f", str(first), str(second), str(fields))
        return equal if op == "==" else f"(not {equal})"

    # --- stores -------------------------------------------------------------------------------------------------

    def cut(self, expr: Expr | None, bits: int, signed: bool) -> str:
        """Text of the value as a field of this width keeps it."""
        lo, hi = (-(1 << (bits - 1)) if signed else 0), (1 << bits) - 1
        try:
            value = self.exact(expr)
            if (value.lo >= lo and value.hi <= hi) or (signed and bits == 64):
                return value.code
            if value.lo == value.hi:
                kept = value.lo & hi
                return literal(kept - (1 << bits) if signed and kept >> (bits - 1) else kept)
            if signed:
                return self.call("keep_signed", value.code, str(bits))
            code = value.code
        except TooWideError:
            code = self.low(expr)
            if signed and bits < 64:
                return self.call("signed", code, str(bits))
        return code if bits == 64 else f"{code} & {literal(hi)}"
