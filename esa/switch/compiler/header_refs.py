"""Headers as expressions name them: one of the program's, an element of a stack at an index, the last, one of two."""

from __future__ import annotations

from dataclasses import dataclass

from esa.switch.compiler.expressions import Scope
from esa.switch.compiler.program import Const, Expr, Field, Header, LastField, Object, Op


@dataclass(frozen=True)
class HeaderRef:
    """Text of the cell of the first field, a header of its type, and its name where it is always the same header."""

    cell: str
    header: Header
    name: str | None

    @property
    def valid(self) -> str:
        """Text of the valid bit's cell."""
        return f"{self.cell} + {self.header.words}"


def header_ref(scope: Scope, expr: Expr) -> HeaderRef:
    """The header that an expression stands for. Raises UnsupportedError for what is none."""
    program = scope.program
    if isinstance(expr, Object) and expr.kind == "header":
        header = program.headers[expr.name]
        return HeaderRef(scope.cell(Field(header.name, _first(header))), header, header.name)
    if isinstance(expr, LastField):  # "last" is no field there, but all of the element
        header = program.headers[program.stacks[expr.stack][0]]
        return HeaderRef(f"({scope.last_cell(LastField(expr.stack, _first(header)))})", header, None)
    if isinstance(expr, Op) and expr.op == "dereference_header_stack" and isinstance(expr.left, Object):
        members = program.stacks[expr.left.name]
        if isinstance(expr.right, Const) and 0 <= expr.right.value < len(members):
            return header_ref(scope, Object("header", members[expr.right.value]))
        header = program.headers[members[0]]
        base, stride = scope.stack_cells(expr.left.name, _first(header))
        # BMv2 stops for an index beyond the stack; here that is a header which nothing else is
        nowhere = str(scope.layout.take_scratch(header.words + 1))
        index = scope.exact(expr.right).code
        cell = scope.call("element", index, str(len(members)), str(base), str(stride), nowhere)
        return HeaderRef(cell, header, None)
    if isinstance(expr, Op) and expr.op == "?" and expr.left is not None and expr.right is not None:
        yes, no = header_ref(scope, expr.left), header_ref(scope, expr.right)
        if yes.header.type_name != no.header.type_name:
            raise scope.refuse(f"one of two headers of different types: {yes.header.name}, {no.header.name}")
        if yes.header.metadata or no.header.metadata:
            raise scope.refuse(f"one of two, of which one is metadata: {yes.header.name}, {no.header.name}")
        return HeaderRef(f"({yes.cell} if {scope.boolean(expr.condition)} else {no.cell})", yes.header, None)
    raise scope.refuse(f"{expr!r} is not a header")


def _first(header: Header) -> str:
    return header.fields[0].name if header.fields else "$valid$"
