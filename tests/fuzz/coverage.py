"""Branch coverage of native code: every branch of a module's source begins with a call that counts it.

Numba compiles the counted source like any other; a count is one increment in memory that native code knows by a symbol
(an address would keep the code out of the cache on disk).
"""

from __future__ import annotations

import ast
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import njit, types
from numba.extending import intrinsic

MAX_BRANCHES = 1 << 14

counts = np.zeros(MAX_BRANCHES, np.uint8)
_SYMBOL = "esa_fuzz_counts"
binding.add_symbol(_SYMBOL, counts.ctypes.data)
_places: list[str] = []  # of branch n: file:line

# As AFL counts: once, twice, ... a few classes, so that one more round of a long loop is nothing new.
_CLASS = np.zeros(256, np.uint8)
for _class, _least in enumerate((1, 2, 3, 4, 8, 16, 32, 128)):
    _CLASS[_least:] = 1 << _class


@intrinsic
def _increment(typing_context: Any, branch: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = ir.ArrayType(ir.IntType(8), MAX_BRANCHES)
        known = builder.module.globals.get(_SYMBOL)
        array = ir.GlobalVariable(builder.module, kind, _SYMBOL) if known is None else known
        place = builder.gep(array, [ir.Constant(ir.IntType(64), 0), arguments[0]])
        builder.store(builder.add(builder.load(place), ir.Constant(ir.IntType(8), 1)), place)
        return ir.Constant(ir.IntType(1), 1)

    return types.boolean(types.int64), generate


@njit(inline="never")
def hit(branch: int) -> bool:
    """Count a branch; True, so that it can stand in a condition."""
    return _increment(np.int64(branch))


def branches() -> int:
    """How many there are."""
    return len(_places)


def start() -> None:
    """Forget the counts of the last input."""
    counts[: len(_places)] = 0


def reached() -> np.ndarray:
    """(branches,) uint8: for each branch one bit for how often it was taken, 0 for never."""
    return _CLASS[counts[: len(_places)]]


def places(which: np.ndarray) -> list[str]:
    """Where branches are, for people."""
    return [_places[n] for n in np.flatnonzero(which)]


class _Count(ast.NodeTransformer):
    def __init__(self, file: str):
        self.file = file

    def _call(self, node: ast.AST) -> ast.Call:
        _places.append(f"{self.file}:{getattr(node, 'lineno', 0)}")
        if len(_places) > MAX_BRANCHES:
            raise ValueError(f"more than {MAX_BRANCHES} branches; raise MAX_BRANCHES")
        return ast.Call(ast.Name("hit", ast.Load()), [ast.Constant(len(_places) - 1)], [])

    def _block(self, body: list[ast.stmt], node: ast.AST) -> list[ast.stmt]:
        at = 1 if body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant) else 0
        return [*body[:at], ast.Expr(self._call(body[0] if body else node)), *body[at:]]

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:  # ast's name
        if not any(isinstance(d, ast.Name) and d.id in ("native", "compiled", "entry") for d in node.decorator_list):
            return node
        node.body = self._block([self.visit(s) for s in node.body], node)
        return node

    def visit_If(self, node: ast.If) -> ast.AST:
        self.generic_visit(node)
        node.body, node.orelse = self._block(node.body, node), self._block(node.orelse, node)
        return node

    def _loop(self, node: Any) -> ast.AST:
        self.generic_visit(node)
        node.body = self._block(node.body, node)
        return node

    visit_For = visit_While = _loop  # noqa: N815

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
        self.generic_visit(node)
        first, *rest = node.values
        node.values = [first, *(ast.BoolOp(ast.And(), [self._call(v), v]) for v in rest)]
        return node


def counted(source: str, file: str) -> str:
    """The module's source with its branches counted; it needs `hit` among its names."""
    return ast.unparse(ast.fix_missing_locations(_Count(file).visit(ast.parse(source))))
