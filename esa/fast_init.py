"""Frozen dataclasses that are made in a third of the time: what a frozen one's own `__init__` does is most of it.

    @fast_init
    @dataclass(frozen=True)
    class Start: ...

It calls `object.__setattr__` for each field; this one writes the instance's dictionary. The rest is the dataclass's:
fields, defaults, comparison, `__post_init__`, `replace`, and that nothing can be assigned afterwards.
"""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Any, TypeVar

Made = TypeVar("Made")


def fast_init(cls: type[Made]) -> type[Made]:
    """The class with another `__init__`. TypeError for one with slots, or fields that are no arguments by place."""
    where: dict[str, Any] = {"missing": MISSING}
    arguments, lines = ["self"], ["into = self.__dict__"]
    for one in fields(cls):  # type: ignore[arg-type]
        name, value = one.name, one.name
        if not one.init or one.kw_only or "__slots__" in vars(cls):
            text = "allowed: an argument of __init__, by its place, too, and a class without slots"
            raise TypeError(f"{cls.__name__}.{name}: {text}")
        if one.default_factory is not MISSING:
            where[f"make_{name}"] = one.default_factory
            arguments.append(f"{name}=missing")
            value = f"make_{name}() if {name} is missing else {name}"
        elif one.default is not MISSING:
            where[f"default_{name}"] = one.default
            arguments.append(f"{name}=default_{name}")
        else:
            arguments.append(name)
        lines.append(f"into[{name!r}] = {value}")
    if hasattr(cls, "__post_init__"):
        lines.append("self.__post_init__()")
    exec("\n    ".join([f"def __init__({', '.join(arguments)}):", *lines]), where)
    where["__init__"].__qualname__ = f"{cls.__qualname__}.__init__"
    setattr(cls, "__init__", where["__init__"])  # noqa: B010 - to a type checker it is the dataclass's own
    return cls
