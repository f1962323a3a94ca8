"""How this package's functions become machine code: typed decorators.

Numba keeps compiled code on disk per source file, but a function's code contains the functions and constants of other
files. After a change in one of them it would load what was compiled before. So a module's code is kept in a folder
named after the hash of the module and of all that it imports, and of the compiled P4 programs where it calls those.
Where the file lies and when it was written play no part: checkouts and installed wheels of the same code share it.

A function is compiled by itself for Python alone, and kept; what native code calls becomes a part of it, optimized and
written once (`native_parts.py`), which no other code calls. Every function says whether it counts references and
whether it is inlined: Numba's options are inherited else, and what is compiled would depend on who compiles first.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from numba.core import types
from numba.core.caching import _CacheLocator
from numba.core.registry import CPUDispatcher

from esa.native_cache import native_folder
from esa.native_parts import WITHOUT_WRAPPERS, Entry, Part, Remembering

_F = TypeVar("_F", bound=Callable[..., Any])


class ByContent(_CacheLocator):  # type: ignore[misc]
    """Tells Numba (NUMBA_CACHE_LOCATOR_CLASSES) where a function's machine code is: in its file's `native_folder`."""

    def __init__(self, function: Callable[..., Any], file: str) -> None:
        self._line = function.__code__.co_firstlineno
        self._folder = native_folder(Path(file).resolve())

    @classmethod
    def from_function(cls, function: Callable[..., Any], file: str) -> ByContent:
        return cls(function, file)

    def get_cache_path(self) -> str:
        return str(self._folder)

    def get_source_stamp(self) -> str:
        """What must not have changed: the folder's name says it."""
        return self._folder.name

    def get_disambiguator(self) -> str:
        return str(self._line)


class _Entry(CPUDispatcher):  # type: ignore[misc]
    """What Python calls. Native code that names it calls its part instead."""

    def __init__(
        self,
        function: Callable[..., Any],
        names: dict[str, Any] | None = None,
        options: dict[str, Any] | None = None,
        pipeline: type[Remembering] = Entry,
    ) -> None:
        """As a dispatcher is made, also from a pickle."""
        super().__init__(function, names, options, pipeline)
        self.part = CPUDispatcher(function, names, (options or {}) | WITHOUT_WRAPPERS, Part)
        self.typingctx._remove_global(self)  # as what Numba takes every dispatcher for
        self.typingctx.insert_global(self, self._numba_type_)

    @property
    def _numba_type_(self) -> types.Dispatcher:
        return types.Dispatcher(self.part)


def native(function: _F) -> _F:
    """Compile `function` on first call, cached on disk, running without the interpreter lock.

    The original stays reachable as `.py_func`. Functions that call libc run compiled only.
    """
    return _compiled(function, counted=True)


def native_uncounted(function: _F) -> _F:
    """As `native`, for functions that make no array: they do not count references, which costs more than the work.

    Their arguments must outlive the call, as those of a call from Python do.
    """
    return _compiled(function, counted=False)


def native_inlined(function: _F) -> _F:
    """As `native_uncounted`, and made part of every caller: for what takes many arrays and is called often."""
    return _compiled(function, counted=False, inlined=True)


def _compiled(function: _F, *, counted: bool, inlined: bool = False) -> _F:
    options = {"nopython": True, "nogil": True, "_nrt": counted, "forceinline": inlined}
    before = numba.config.CACHE_LOCATOR_CLASSES
    numba.config.CACHE_LOCATOR_CLASSES = f"{__name__}.{ByContent.__name__}"  # read when a function is decorated
    try:
        entry = _Entry(function, options=options)
        entry.enable_caching()
        return cast(_F, entry)
    finally:
        numba.config.CACHE_LOCATOR_CLASSES = before
