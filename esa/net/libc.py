"""libc's functions by name, for use inside native functions.

They are reached through symbols that the linker resolves, not through ctypes function pointers: a pointer is a number
that differs in every process, and Numba refuses to keep code that contains one in its cache on disk.
"""

from __future__ import annotations

from typing import Any

from numba import types

from esa.native import native


def libc_function(name: str, result: Any, *arguments: Any) -> Any:
    """Return libc's `name` for use inside a `native` function; pointers are passed as uintp."""
    return types.ExternalFunction(name, result(*arguments))


_errno_location = libc_function("__errno_location", types.CPointer(types.int32))


@native
def errno() -> int:
    """Return this thread's errno; read it right after the call that failed."""
    return int(_errno_location()[0])
