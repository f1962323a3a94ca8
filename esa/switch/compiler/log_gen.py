"""log_msg: the lines that leave a message's number and values where runtime/messages.py finds them."""

from __future__ import annotations

from collections.abc import Sequence

from esa.switch.compiler.expressions import Scope
from esa.switch.compiler.layout import LOG_HEAD
from esa.switch.compiler.log_text import places
from esa.switch.compiler.program import Expr, Object
from esa.switch.compiler.values import Value


def log_lines(scope: Scope, args: Sequence[Expr]) -> list[str]:
    """A message's number and its values, where somebody listens and there is room (runtime/messages.py)."""
    text = args[0]
    assert isinstance(text, Object)
    values = [Value(f"(1 if {scope.boolean(arg)} else 0)", 0, 1) if scope.is_boolean(arg) else scope.exact(arg)
              for arg in args[1:]]  # fmt: skip
    if places(text.name) != len(values):
        raise scope.refuse(f"log_msg({text.name!r}) has {places(text.name)} places for {len(values)} values")
    if scope.sites is not None:
        return scope.tell("log", (text.name, [value.unsigned for value in values]), *(value.code for value in values))
    number = scope.layout.note_message(text.name, [value.unsigned for value in values])
    room, first = scope.constant("LOG", scope.layout.log), scope.constant("LOG_RECORDS", scope.layout.log + LOG_HEAD)
    used, words = f"m64[{room} + 1]", 1 + len(values)
    stores = [f"m64[index + {k}] = {value.code}" for k, value in enumerate(values, 1)]
    return [
        f"if {used} + {words} <= m64[{room}]:",
        f"    index = {first} + {used}",
        f"    m64[index] = {number}",
        *(f"    {line}" for line in stores),
        f"    {used} += {words}",
        "else:",
        f"    m64[{room} + 2] += 1",
    ]
