"""A text that is traced: what its calls of the tracer are named, and those around a primitive."""

from __future__ import annotations

from esa.switch.compiler.expressions import Scope
from esa.switch.compiler.primitives import index_of
from esa.switch.compiler.program import Primitive
from esa.switch.compiler.values import indented

# Called as trace_NAME(place in the sites, ...); runtime/tracer.py has a method for each.
HOOKS = (
    "packet", "again", "part", "state", "select", "next", "before", "after", "checked", "test", "table", "member",
    "call", "statements", "log", "digest", "clone", "copy", "group", "end", "hold", "leave", "egress", "deparse", "out",
)  # fmt: skip
NAMES = frozenset(f"trace_{hook}" for hook in HOOKS)


def traced(scope: Scope, primitive: Primitive, lines: list[str], index: str = "-1") -> list[str]:
    """The lines of a primitive; in a text that is traced, between calls that see what they change."""
    if scope.sites is None or primitive.op == "log_msg":
        return lines
    if primitive.op in ("register_read", "register_write"):
        index = scope.exact(index_of(primitive)).code
    elif primitive.op in ("count", "execute_meter") and index == "-1":
        index = scope.exact(primitive.args[1]).code
    before = scope.tell("before", (primitive, scope.action), "f", index)
    return [*before, *lines, *scope.tell("after", primitive, "f")]


def leave(scope: Scope, why: str) -> list[str]:
    """What stands behind an `if` that ends a packet's or a copy's way."""
    return indented([*scope.tell("end", why), "return produced"])
