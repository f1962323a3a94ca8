"""Expressions and primitives as a person reads them: in the words of P4, with the names of the BMv2 JSON."""

from __future__ import annotations

from pathlib import PurePath

from esa.switch.compiler.program import (
    Action,
    Bool,
    ConditionNode,
    Const,
    Expr,
    Field,
    FieldType,
    LastField,
    Lookahead,
    Object,
    Op,
    Param,
    Primitive,
    Program,
)

_ASSIGNMENTS = ("assign", "set", "modify_field", "assign_VL", "assign_header", "assign_header_stack")
_CASTS = ("b2d", "d2b", "two_comp_mod")  # what they do shows in the value


def number(value: int) -> str:
    """In hexadecimal, but for what is the same in both."""
    return str(value) if -10 < value < 10 else f"-{-value:#x}" if value < 0 else f"{value:#x}"


def field_name(field: Field) -> str:
    """As the JSON has it; the program's own metadata and variables without the header that the compiler gave them."""
    return field.name if field.header == "scalars" else f"{field.header}.{field.name}"


def expression(expr: Expr | None, program: Program, action: Action | None = None) -> str:
    """The text of an expression; of one inside an action with the names of its parameters."""
    if isinstance(expr, Const):
        return number(expr.value)
    if isinstance(expr, Bool):
        return str(expr.value).lower()
    if isinstance(expr, Field):
        return f"{expr.header}.isValid()" if expr.name == "$valid$" else field_name(expr)
    if isinstance(expr, Param):
        return "?" if action is None else action.params[expr.index][0]
    if isinstance(expr, LastField):
        return f"{expr.stack}.last.{expr.name}"
    if isinstance(expr, Lookahead):
        return f"lookahead({expr.offset}, {expr.bits} bits)"
    if isinstance(expr, Object):
        return repr(expr.name) if expr.kind == "string" else expr.name
    if expr is None:
        return ""
    return _operation(expr, program, action)


def _operation(expr: Op, program: Program, action: Action | None) -> str:
    left, right = (expression(side, program, action) for side in (expr.left, expr.right))
    if expr.op in _CASTS:
        return left or right
    if expr.op == "?":
        return f"({expression(expr.condition, program, action)} ? {left} : {right})"
    if expr.op in ("valid", "valid_union"):
        return f"{right}.isValid()"
    if expr.op == "dereference_header_stack":
        return f"{left}[{right}]"
    if expr.op == "access_field" and isinstance(expr.right, Const):
        return f"{left}.{_nth_field(expr.left, expr.right.value, program)}"
    if expr.op in ("size_stack", "last_stack_index"):
        return f"{left or right}.{'size' if expr.op == 'size_stack' else 'lastIndex'}"
    word = {"and": "&&", "or": "||", "not": "!"}.get(expr.op, expr.op)
    return f"{word}{right}" if expr.left is None else f"({left} {word} {right})"


def _nth_field(owner: Expr | None, at: int, program: Program) -> str:
    if isinstance(owner, Op) and isinstance(owner.left, Object):
        owner = Object("header", program.stacks[owner.left.name][0])
    assert isinstance(owner, Object)
    return program.headers[owner.name].fields[at].name


def _without_cut(expr: Expr, kind: FieldType | None) -> Expr:
    """What is assigned, without the mask that keeps it as wide as what it is assigned to."""
    if kind is None or not isinstance(expr, Op) or expr.op != "&" or expr.left is None:
        return expr
    return expr.left if expr.right == Const((1 << kind.bits) - 1) else expr


def statement(primitive: Primitive, program: Program, action: Action | None = None) -> str:
    """A primitive, in the words of the P4 source where these are known."""
    args, op = primitive.args, primitive.op
    if primitive.text and ("=" in primitive.text or op not in _ASSIGNMENTS):
        return primitive.text
    if op in _ASSIGNMENTS:
        kind = program.field_type(args[0]) if isinstance(args[0], Field) else None
        value = _bare(expression(_without_cut(args[1], kind), program, action))
        return f"{expression(args[0], program, action)} = {value}"
    return f"{op}({', '.join(expression(arg, program, action) for arg in args)})" if args else op


def condition(site: Primitive | ConditionNode, program: Program, action: Action | None = None) -> str:
    """What is asked, in the words of the P4 source where these are known."""
    if isinstance(site, Primitive):
        return _bare(expression(site.args[0], program, action))
    if site.text:
        return site.text
    return _bare(expression(site.expression, program, action))


def _bare(text: str) -> str:
    """The text without a pair of parentheses around all of it."""
    depth = 0
    for at, sign in enumerate(text):
        depth += (sign == "(") - (sign == ")")
        if depth == 0:
            return text[1:-1] if at == len(text) - 1 and text.startswith("(") else text
    return text


def place(where: str) -> str:
    """Where something stands in the P4 source, as "file(line)"; empty where the JSON does not say."""
    return PurePath(where).name if where.endswith(")") and "(" in where else ""


def value_text(value: int, kind: FieldType, width: int | None = None) -> str:
    """The number in a field; `width`: bits that a varbit has now."""
    if kind.name == "$valid$":
        return "valid" if value else "invalid"
    if kind.signed:
        return str(value)
    return number(value) if width is None else f"{number(value)} ({width} bits)"
