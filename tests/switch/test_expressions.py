"""Generated expressions against BMv2's unbounded integers."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esa.switch import UnsupportedError
from esa.switch.compiler import helpers, wide_helpers
from esa.switch.compiler.expressions import Scope
from esa.switch.compiler.layout import Layout
from esa.switch.compiler.program import Const, Control, Expr, Field, FieldType, Header, Op, Program
from esa.switch.compiler.values import TooWideError
from tests.effort import tries
from tests.switch.expressions import Words, grower, meaning, number, word

WIDTHS = [("a8", 8, False), ("a16", 16, False), ("a32", 32, False), ("b32", 32, False), ("a48", 48, False),
          ("a64", 64, False), ("b64", 64, False), ("s16", 16, True), ("s32", 32, True), ("t32", 32, True)]  # fmt: skip
FIELDS = {Field("h", name): (bits, signed) for name, bits, signed in WIDTHS}
EMPTY = Control("none", None, {})
PROGRAM = Program(
    headers={"h": Header("h", "h_t", tuple(FieldType(*w) for w in WIDTHS), True)},
    stacks={}, states=(), first_state="", deparse_order=(), deparse_primitives=(), actions={}, ingress=EMPTY,
    egress=EMPTY, calculations={}, checksums=(), registers={}, counters={}, field_lists={}, errors={}, aliases={},
)  # fmt: skip
LAYOUT = Layout(
    cells={f: at for at, f in enumerate(FIELDS)},
    cell_names={at: f.name for at, f in enumerate(FIELDS)},
    n_cells=len(FIELDS),
)


def evaluate(code: str, fields: Mapping[Field, int], scope: Scope) -> int:
    names = {name: getattr(helpers, name, None) or getattr(wide_helpers, name) for name in scope.helpers}
    f = np.zeros(scope.layout.n_cells + scope.layout.scratch, np.int64)
    f[: len(FIELDS)] = [word(fields[field]) for field in FIELDS]
    tree = ast.fix_missing_locations(Words().visit(ast.parse(code, mode="eval")))
    with np.errstate(all="ignore"):
        return word(int(eval(compile(tree, "", "eval"), {**names, **scope.constants, "f": f, "np": np})))


VALUES = st.fixed_dictionaries({field: number(*kind) for field, kind in FIELDS.items()})
LEAVES = st.one_of(
    st.sampled_from(list(FIELDS)),
    st.builds(Const, st.one_of(st.integers(-300, 300), st.integers(0, (1 << 64) - 1))),
)
GROW = grower(
    st.one_of(st.integers(0, 70).map(Const), st.just(Field("h", "a8"))),
    widths=[8, 16, 31, 32, 33, 48, 63, 64],
    masks=[0xFF, 0xFFFF, 0xFFFFFFFF, (1 << 48) - 1, (1 << 64) - 1, 0xF0],
)


@settings(max_examples=tries(500), deadline=None)
@given(st.recursive(LEAVES, GROW, max_leaves=6), VALUES)
def test_exact_values_and_stores(expr: Expr, fields: dict[Field, int]) -> None:
    scope = Scope(PROGRAM, replace(LAYOUT), "test")
    want = meaning(expr, fields)
    try:
        value = scope.exact(expr)
    except (TooWideError, UnsupportedError):
        pass
    else:
        assert value.lo <= want <= value.hi
        assert evaluate(value.code, fields, scope) == word(want)
    for bits, signed in [(8, False), (32, False), (64, False), (16, True), (32, True)]:
        try:
            code = scope.cut(expr, bits, signed)
        except UnsupportedError:
            continue
        lo, hi = (-(1 << bits - 1) if signed else 0), (1 << bits) - 1
        kept = want if lo <= want <= hi else want & hi
        if signed and not lo <= want <= hi and kept > hi >> 1:
            kept -= 1 << bits
        got = evaluate(code, fields, scope)
        if signed and kept > hi >> 1 and _wide(scope, expr):
            kept -= 1 << bits  # beyond 64 bits only the low bits are kept
        assert got == word(kept), (code, bits, signed)


def _wide(scope: Scope, expr: Expr) -> bool:
    try:
        scope.exact(expr)
    except TooWideError:
        return True
    return False


@pytest.mark.parametrize("op", ["<", "<=", "==", "!=", ">", ">="])
def test_64_bit_comparisons_are_unsigned(op: str) -> None:
    scope = Scope(PROGRAM, replace(LAYOUT), "test")
    expr = Op(op, Field("h", "a64"), Field("h", "b64"))
    for left in (0, 1, (1 << 63) - 1, 1 << 63, (1 << 64) - 1):
        for right in (0, 1, (1 << 63) - 1, 1 << 63, (1 << 64) - 1):
            fields = {**dict.fromkeys(FIELDS, 0), Field("h", "a64"): left, Field("h", "b64"): right}
            assert bool(evaluate(scope.boolean(expr), fields, scope)) is meaning(expr, fields)


@pytest.mark.supports("numbers: saturating addition and subtraction, up to 64 bits")
@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("op", ["+", "-"])
def test_saturation_at_64_bits(op: str, signed: bool) -> None:
    name = f"saturating_{'add' if op == '+' else 'subtract'}_{'signed' if signed else 'unsigned'}"
    edges = [0, 1, 2, (1 << 63) - 1, -(1 << 63), -1, 5] if signed else [0, 1, (1 << 63) - 1, 1 << 63, (1 << 64) - 1]
    for left in edges:
        for right in edges:
            exact = left + right if op == "+" else left - right
            lo, hi = (-(1 << 63), (1 << 63) - 1) if signed else (0, (1 << 64) - 1)
            with np.errstate(over="ignore"):
                got = getattr(helpers, name)(np.int64(word(left)), np.int64(word(right)))
            assert int(got) == word(max(lo, min(exact, hi))), (left, right)


def test_a_mask_that_cuts_nothing_is_left_out() -> None:
    scope = Scope(PROGRAM, replace(LAYOUT), "test")
    assert scope.exact(Op("&", Field("h", "a16"), Const(0xFFFFFFFF))).code == "f[a16]"
