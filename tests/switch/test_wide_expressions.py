"""Generated expressions of more than 64 bits against BMv2's unbounded integers."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from esa.switch import UnsupportedError
from esa.switch.compiler import helpers, wide_helpers
from esa.switch.compiler.expressions import Scope
from esa.switch.compiler.layout import Layout
from esa.switch.compiler.program import (
    Action,
    Const,
    Control,
    Expr,
    Field,
    FieldType,
    Header,
    Op,
    Param,
    Program,
    cells_of,
    words_of,
)
from esa.switch.compiler.values import TooWideError
from tests.effort import tries
from tests.switch.expressions import COMPARISONS, Words, grower, meaning, number, word

WIDTHS = [("a8", 8, False), ("a32", 32, False), ("a64", 64, False), ("a65", 65, False), ("a72", 72, False),
          ("a128", 128, False), ("b128", 128, False), ("a200", 200, False), ("a512", 512, False), ("s16", 16, True),
          ("s64", 64, True), ("s65", 65, True), ("s128", 128, True), ("t128", 128, True)]  # fmt: skip
FIELDS = {Field("h", name): (bits, signed) for name, bits, signed in WIDTHS}
STORED = [("to8", 8, False), ("to64", 64, False), ("to65", 65, False), ("to128", 128, False), ("to192", 192, False),
          ("to512", 512, False), ("to_s64", 64, True), ("to_s72", 72, True), ("to_s128", 128, True)]  # fmt: skip
PARAMS = (("p", 48), ("q", 128), ("r", 65))
PHASES = (Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink)  # explaining a failure takes minutes
EMPTY = Control("none", None, {})
HEADER = Header("h", "h_t", tuple(FieldType(*w) for w in [*WIDTHS, *STORED]), True)
PROGRAM = Program(
    headers={"h": HEADER}, stacks={}, states=(), first_state="", deparse_order=(), deparse_primitives=(), actions={},
    ingress=EMPTY, egress=EMPTY, calculations={}, checksums=(), registers={}, counters={}, field_lists={}, errors={},
    aliases={},
)  # fmt: skip


def scope() -> Scope:
    layout = Layout()
    for kind in HEADER.fields:
        layout.cells[Field("h", kind.name)] = layout.n_cells
        layout.cell_names[layout.n_cells] = kind.name.upper()
        layout.n_cells += kind.words
    return Scope(PROGRAM, layout, "test", Action(0, "x", PARAMS, ()))


def value_of(expr: Expr | None, fields: Mapping[Any, int]) -> int:
    """What BMv2 computes; parameters are looked up as fields are."""

    def plain(node: Expr | None) -> Expr | None:
        if isinstance(node, Param):
            return Const(fields[node])
        if isinstance(node, Op):
            return Op(node.op, plain(node.left), plain(node.right), plain(node.condition))
        return node

    return int(meaning(plain(expr), fields))


def run(code: str, at: Scope, fields: Mapping[Any, int]) -> tuple[Any, np.ndarray]:
    """Evaluate generated text over a vector that holds the fields; returns the value and the vector."""
    names = {name: getattr(helpers, name, None) or getattr(wide_helpers, name) for name in at.helpers}
    f = np.full(at.layout.n_cells + at.layout.scratch, 0x5A5A5A5A5A5A5A5A, np.int64)  # results never count on zeros
    for name, (bits, signed) in FIELDS.items():
        for k in range(cells_of(bits, signed)):
            f[at.layout.cells[name] + k] = word(fields[name] >> 64 * k)
    m64 = np.array([0, *(word(w) for k, (_, bits) in enumerate(PARAMS) for w in words_of(fields[Param(k)], bits))])
    tree = ast.fix_missing_locations(Words().visit(ast.parse(code, mode="eval")))
    with np.errstate(all="ignore"):
        return eval(compile(tree, "", "eval"), {**names, **at.constants, "f": f, "m64": m64, "p": 1, "np": np}), f


def read(f: np.ndarray, at: int, words: int, signed: bool) -> int:
    return int.from_bytes(f[at : at + words].tobytes(), "little", signed=signed)


VALUES = st.fixed_dictionaries(
    {
        # a cell of 64 bits has no room for what a signed field of 64 bits can keep beyond its range
        **{field: number(bits - (bits == 64 and signed), signed) for field, (bits, signed) in FIELDS.items()},
        **{Param(k): number(bits, False) for k, (_, bits) in enumerate(PARAMS)},
    }
)
LEAVES = st.one_of(
    st.sampled_from([field for field in FIELDS if field.name != "a8"]),
    st.sampled_from([Param(k) for k in range(len(PARAMS))]),
    st.builds(Const, st.one_of(st.integers(-300, 300), st.integers(0, (1 << 130) - 1))),
)
GROW = grower(
    st.one_of(st.sampled_from([0, 1, 63, 64, 65, 100, 128, 300]).map(Const), st.just(Field("h", "a8"))),
    widths=[8, 63, 64, 65, 72, 127, 128, 129, 256],
    masks=[(1 << bits) - 1 for bits in (1, 8, 63, 64, 65, 72, 128, 130, 512)],
)


@settings(max_examples=tries(300), deadline=None, phases=PHASES)
@given(st.recursive(LEAVES, GROW, max_leaves=6), VALUES)
def test_wide_values_and_stores(expr: Expr, fields: dict[Any, int]) -> None:
    at = scope()
    want = value_of(expr, fields)
    try:
        value = at.wide(expr)
    except TooWideError:
        pass
    else:
        assert value.lo <= want <= value.hi
        place, f = run(value.code, at, fields)
        assert read(f, int(place), value.count, value.lo < 0) == want, value
    for words in (1, 2, 5):
        low = at.modular(expr, words)
        place, f = run(low.code, at, fields)
        got = read(f, int(place), low.count, low.lo < 0)
        assert (got - want) % (1 << 64 * words) == 0, low
    for name, bits, signed in STORED:
        check_store(at, Field("h", name), bits, signed, expr, fields, want)


def check_store(
    at: Scope, target: Field, bits: int, signed: bool, expr: Expr, fields: Mapping[Any, int], want: int
) -> None:
    lo, hi = (-(1 << bits - 1) if signed else 0), (1 << bits) - 1
    kept = want if lo <= want <= hi else want & hi
    if signed and not lo <= want <= hi and kept > hi >> 1:
        kept -= 1 << bits
    if bits <= 64:
        got, _ = run(at.cut(expr, bits, signed), at, fields)
        assert (int(got) - kept) % (1 << bits) == 0
        return
    line = at.wide_store(at.cell(target), bits, signed, expr)
    _, f = run(line, at, fields)
    got = read(f, at.layout.cells[target], cells_of(bits, signed), signed)
    if signed and got != kept and at.wide_or_none(expr) is None:
        kept -= 1 << bits  # of a number that has no bounds only the low bits are kept
    assert got == kept, line


@settings(max_examples=tries(100), deadline=None, phases=PHASES)
@given(st.sampled_from(COMPARISONS), LEAVES, LEAVES, VALUES, st.booleans())
def test_comparisons(op: str, left: Expr, right: Expr, fields: dict[Any, int], same: bool) -> None:
    at = scope()
    expr = Op(op, left, left if same else right)
    got, _ = run(at.boolean(expr), at, fields)
    assert bool(got) is bool(value_of(expr, fields))


@settings(max_examples=tries(100), deadline=None, phases=PHASES)
@given(st.sampled_from(["/", "%"]), number(128, False), number(200, False))
def test_division(op: str, left: int, right: int) -> None:
    at = scope()
    fields = {**dict.fromkeys(FIELDS, 0), **dict.fromkeys([Param(0), Param(1), Param(2)], 0)}
    fields[Field("h", "a128")], fields[Field("h", "a200")] = left, right
    for one, other in (("a128", "a200"), ("a200", "a128"), ("a200", "a64"), ("a128", "b128")):
        value = at.wide(Op(op, Field("h", one), Field("h", other)))
        place, f = run(value.code, at, fields)
        a, b = fields[Field("h", one)], fields[Field("h", other)]
        want = 0 if b == 0 else a // b if op == "/" else a % b
        assert read(f, int(place), value.count, False) == want


@pytest.mark.refuses("numbers: a value of any size where all of it is asked for")
def test_what_can_be_of_any_size_is_refused_where_all_of_it_is_asked_for() -> None:
    at = scope()
    with pytest.raises(UnsupportedError, match="test: comparison of numbers of more than 4224 bits"):
        at.boolean(Op("<", Op("<<", Field("h", "a128"), Field("h", "a32")), Const(3)))


def test_a_word_of_a_field_is_read_where_it_lies() -> None:
    at = scope()
    upper = Op("&", Op(">>", Field("h", "a128"), Const(64)), Const((1 << 64) - 1))
    assert at.exact(upper).code == "f[A128 + 1]"
    assert at.exact(Op("&", Field("h", "a128"), Const(0xFFFF))).code == "(f[A128] & 0xffff)"
