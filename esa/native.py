"""How this package's functions become machine code: typed decorators.

Numba keeps compiled code on disk per source file, but a function's code contains the functions and constants of other
files. After a change in one of them it would load what was compiled before. So the code is kept in a folder named
after the hash of all sources, and of the compiled P4 programs, which are a part of the simulator's event loop.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar, cast

import numba

_F = TypeVar("_F", bound=Callable[..., Any])


def cache_directory(name: str) -> Path:
    """$XDG_CACHE_HOME/name, or ~/.cache/name."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / name


@lru_cache
def native_folder() -> Path:
    """Where the machine code of these sources is kept."""
    digest = hashlib.sha256()
    root = Path(__file__).parent
    for path in (*sorted(root.rglob("*.py")), *sorted(root.parent.glob("p4src/build/*.json"))):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return cache_directory("esa-native") / digest.hexdigest()[:24]


def native(function: _F) -> _F:
    """Compile `function` on first call, cached on disk, running without the interpreter lock.

    The original stays reachable as `.py_func`. Functions that call libc run compiled only.
    """
    return _compiled(function)


def native_uncounted(function: _F) -> _F:
    """As `native`, for functions that make no array: they do not count references, which costs more than the work.

    Their arguments must outlive the call, as those of a call from Python do.
    """
    return _compiled(function, _nrt=False)


def native_inlined(function: _F) -> _F:
    """As `native_uncounted`, and made part of every caller: for what takes many arrays and is called often."""
    return _compiled(function, _nrt=False, forceinline=True)


def _compiled(function: _F, **options: Any) -> _F:
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(native_folder())  # read when a function is decorated
    try:
        return cast(_F, numba.njit(nogil=True, cache=True, **options)(function))
    finally:
        numba.config.CACHE_DIR = before
