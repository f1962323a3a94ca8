"""What a package exports and imports only when it is asked for: to import the package takes no time.

__getattr__, __dir__ = lazy(__name__, {"esa.job": ("Job",), "esa.policy": ("POLICIES", "Policy")})    # in its __init__
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def lazy(package: str, names_of: Mapping[str, Sequence[str]]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The package's `__getattr__` and `__dir__`; names_of: by module, what the package has from there."""
    module_of = {name: module for module, names in names_of.items() for name in names}

    def find(name: str) -> Any:
        if name not in module_of:
            raise AttributeError(f"module '{package}' has no attribute '{name}'")
        return getattr(importlib.import_module(module_of[name]), name)

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *module_of})

    return find, names
