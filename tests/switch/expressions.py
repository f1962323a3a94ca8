"""Expressions as p4c writes them: what BMv2 makes of one, and strategies that grow them from leaves."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hypothesis import strategies as st

from esa.switch.compiler.program import Bool, Const, Expr, Field, Op

COMPARISONS = ["==", "!=", "<", "<=", ">", ">="]


def meaning(expr: Expr | None, fields: Mapping[Field, int]) -> Any:
    """What BMv2 computes (expressions.cpp, data.h)."""
    if isinstance(expr, (Const, Bool)):
        return expr.value
    if isinstance(expr, Field):
        return fields[expr]
    assert isinstance(expr, Op)
    if expr.op == "?":
        return meaning(expr.left if meaning(expr.condition, fields) else expr.right, fields)
    left = None if expr.left is None else meaning(expr.left, fields)
    right = meaning(expr.right, fields)
    match expr.op:
        case "+":
            return left + right
        case "-":
            return left - right
        case "*":
            return left * right
        case "&":
            return left & right
        case "|":
            return left | right
        case "^":
            return left ^ right
        case "~":
            return ~right
        case "<<":
            return left << right
        case ">>":
            return left >> right
        case "two_comp_mod":
            return (left + (1 << right - 1)) % (1 << right) - (1 << right - 1)
        case "sat_cast":
            return max(-(1 << right - 1), min(left, (1 << right - 1) - 1))
        case "usat_cast":
            return max(0, min(left, (1 << right) - 1))
        case "b2d":
            return int(right)
        case "d2b":
            return right != 0
        case "not":
            return not right
        case "and":
            return left and right
        case "or":
            return left or right
    return {"==": left == right, "!=": left != right, "<": left < right, "<=": left <= right, ">": left > right,
            ">=": left >= right}[expr.op]  # fmt: skip


class Words(ast.NodeTransformer):
    """Constants are words, as where the code is compiled: Python's integers would not wrap."""

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        if type(node.value) is not int:
            return node
        return ast.Call(ast.Attribute(ast.Name("np", ast.Load()), "int64", ast.Load()), [node], [])


def word(number: int) -> int:
    number &= (1 << 64) - 1
    return number - (1 << 64) if number >> 63 else number


def number(bits: int, signed: bool) -> st.SearchStrategy[int]:
    # Signed fields hold up to 2**bits - 1: BMv2 does not wrap what lies between.
    lo, hi = (-(1 << bits - 1) if signed else 0), (1 << bits) - 1
    return st.one_of(st.sampled_from([lo, hi, 0, 1, (1 << bits - 1) - 1, (1 << bits - 1)]), st.integers(lo, hi))


def grower(
    shift: st.SearchStrategy[Expr], widths: Sequence[int], masks: Sequence[int]
) -> Callable[[st.SearchStrategy[Expr]], st.SearchStrategy[Expr]]:
    """How `st.recursive` makes expressions larger: shifts by `shift`, casts to `widths` bits, ands with `masks`."""
    width, mask = st.sampled_from(widths).map(Const), st.sampled_from(masks).map(Const)

    def grow(inner: st.SearchStrategy[Expr]) -> st.SearchStrategy[Expr]:
        compare = st.builds(Op, st.sampled_from(COMPARISONS), inner, inner)
        truth = st.one_of(
            compare,
            st.builds(lambda a: Op("d2b", None, a), inner),
            st.builds(lambda op, a, b: Op(op, a, b), st.sampled_from(["and", "or"]), compare, compare),
            st.builds(lambda a: Op("not", None, a), compare),
        )
        return st.one_of(
            st.builds(Op, st.sampled_from(["+", "-", "*", "&", "|", "^"]), inner, inner),
            st.builds(lambda a: Op("~", None, a), inner),
            st.builds(Op, st.sampled_from(["<<", ">>"]), inner, shift),
            st.builds(Op, st.sampled_from(["two_comp_mod", "sat_cast", "usat_cast"]), inner, width),
            st.builds(lambda a, m: Op("&", a, m), inner, mask),
            st.builds(lambda a, by, m: Op("&", Op(">>", a, by), m), inner, shift, mask),
            st.builds(lambda c, a, b: Op("?", a, b, c), truth, inner, inner),
            st.builds(lambda c: Op("b2d", None, c), truth),
        )

    return grow
