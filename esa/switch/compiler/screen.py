"""The last look at generated text before it runs: arithmetic on the program's own arrays, and nothing else.

Names in a program come from whoever sent it. The generator turns them into plain identifiers and comments; should it
ever forget one, the text is refused here: it may import, name and call nothing that the generator itself did not write.
"""

from __future__ import annotations

import ast
from collections.abc import Set

from esa.switch.errors import UnsupportedError

_NODES = (
    ast.And, ast.Assign, ast.AugAssign, ast.Attribute, ast.BinOp, ast.BoolOp, ast.Break, ast.Call, ast.Compare,
    ast.Constant, ast.Expr, ast.For, ast.FunctionDef, ast.If, ast.IfExp, ast.Load, ast.Name, ast.Or, ast.Pass,
    ast.Return, ast.Store, ast.Subscript, ast.Tuple, ast.UnaryOp, ast.While, ast.arg, ast.arguments,
)  # fmt: skip
_OPERATORS = (ast.boolop, ast.cmpop, ast.operator, ast.unaryop)  # of any kind
_KINDS = {*_NODES, *(kind for each in _OPERATORS for kind in each.__subclasses__())}
_ARRAYS = ("f", "g", "m32", "m64", "later", "later_bytes", "later_port")
_HELD = ("cells", "data", "length", "port", "enqueued_us", "depth_in", "depth_out", "free", "fresh", "fill")
_ATTRIBUTES = {
    *(
        "np.int64",
        "np.uint64",
        "np.float64",
        "np.int32",
        "np.uint32",
        "f.view",
        "np.int64(pattern).view",
        "out_data.shape",
        "out_length.shape",
        "held.data.shape",
    ),
    *(f"state.{name}" for name in _ARRAYS),
    *(f"held.{name}" for name in _HELD),
}
_BUILTINS = {"abs", "min", "max", "range"}
_DECORATORS = {"compiled", "entry", "machine"}


def screen(text: str, hooks: frozenset[str] = frozenset()) -> None:
    """Raise UnsupportedError unless the constants and functions in `text` do no more than compute.

    `hooks`: what they may call besides.
    """
    tree = ast.parse(text)
    defined: set[str] = set()
    for statement in tree.body:
        name = _defined(statement)
        if name in defined:
            raise UnsupportedError(f"two parts of the program have names that become one: {name}")
        defined.add(name)
    functions = {statement.name for statement in tree.body if isinstance(statement, ast.FunctionDef)}
    callable_names = functions | _BUILTINS | hooks
    todo: list[ast.AST] = [*tree.body]
    while todo:  # half of the time that ast.walk takes
        node = todo.pop()
        _check(node, callable_names)
        for field in node._fields:
            child = getattr(node, field, None)
            if isinstance(child, list):
                todo += [each for each in child if isinstance(each, ast.AST)]
            elif isinstance(child, ast.AST):
                todo.append(child)


def _defined(statement: ast.stmt) -> str:
    if isinstance(statement, ast.FunctionDef):
        return statement.name
    if isinstance(statement, ast.Assign):
        (target,), value = statement.targets, statement.value
        if isinstance(value, ast.Call) and ast.unparse(value.func) == "np.int64" and len(value.args) == 1:
            value = value.args[0]
        try:
            number = ast.literal_eval(value)
        except ValueError:
            raise _refused(statement) from None
        if isinstance(target, ast.Name) and isinstance(number, int):
            return target.id
    raise _refused(statement)


def _check(node: ast.AST, callable_names: Set[str]) -> None:
    if type(node) not in _KINDS:
        raise _refused(node)
    if isinstance(node, ast.Attribute) and ast.unparse(node) not in _ATTRIBUTES:
        raise _refused(node)
    if isinstance(node, ast.Name) and node.id.startswith("__"):
        raise _refused(node)
    if isinstance(node, ast.Call):
        plain = isinstance(node.func, ast.Name) and node.func.id in callable_names
        if not (plain or isinstance(node.func, ast.Attribute)) or node.keywords:
            raise _refused(node)
    if isinstance(node, ast.FunctionDef):
        decorators = [decorator.id if isinstance(decorator, ast.Name) else "" for decorator in node.decorator_list]
        if len(decorators) != 1 or decorators[0] not in _DECORATORS:
            raise _refused(node)
    if isinstance(node, ast.Constant) and not isinstance(node.value, (int, str, type(None))):
        raise _refused(node)


def _refused(node: ast.AST) -> UnsupportedError:
    return UnsupportedError(f"the program would become more than arithmetic: {ast.unparse(node)[:60]!r}")
