"""How Numba compiles parts: functions as native code calls them, not Python.

Numba makes every function ready to be called by itself: it optimizes it, writes its machine code and loads that; then
does so once more with each of its callers, which have it inlined. The simulator's loop has two hundred functions, a P4
program a hundred, of which one is called. So a part is kept as what its callers link in, and is optimized and written
once, as a piece of the entry, which Python calls.

Numba also asks anew, for each `a + b`, which of its dozens of rules for + fits; parts ask once for each pair of types.
And Python goes through all that is compiled so far for garbage, again and again, though nearly all of it is in use.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from llvmlite.binding import Linkage
from numba.core import types
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder

WITHOUT_WRAPPERS = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}


class Remembering(CompilerBase):  # type: ignore[misc]
    """What entries and parts have in common: see `_remembering`."""

    def define_pipelines(self) -> list[Any]:
        return [DefaultPassBuilder.define_nopython_pipeline(self.state)]

    def _compile_core(self) -> Any:
        with _remembering(self.state.typingctx), _uncollected():
            return super()._compile_core()


class Part(Remembering):
    """`njit(pipeline_class=Part)`: for functions without wrappers."""

    def define_pipelines(self) -> list[Any]:
        """Numba's own passes, with a library of ours."""
        state = self.state
        state.library = _PartLibrary(state.targetctx.codegen(), state.func_id.func_qualname)
        return super().define_pipelines()


class Entry(Remembering):
    """`njit(pipeline_class=Entry)`: for a function that is called from Python, and calls parts."""

    def define_pipelines(self) -> list[Any]:
        """Numba's own passes, with a library of ours."""
        state = self.state
        state.library = _EntryLibrary(state.targetctx.codegen(), state.func_id.func_qualname)
        state.library.enable_object_caching()
        return super().define_pipelines()


class _EntryLibrary(JITCodeLibrary):  # type: ignore[misc]
    """Code in which nobody else calls the parts: LLVM is told so.

    Then it may leave out arguments that a part does not read (of each array six words of seven) and makes part of its
    caller what is called in one place.
    """

    def _optimize_final_module(self) -> None:
        for function in self._final_module.functions:
            if not function.is_declaration and function.linkage == Linkage.linkonce_odr:
                function.linkage = Linkage.internal
        super()._optimize_final_module()


class _PartLibrary(JITCodeLibrary):  # type: ignore[misc]
    """Code that is linked into its callers' and has no address."""

    def _optimize_final_module(self) -> None:
        """The entry's library optimizes all of it."""

    def _finalize_final_module(self) -> None:
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        """None: as Numba says it of a wrapper that there is not."""
        self._ensure_finalized()
        return 0

    @property
    def codegen(self) -> _PartLibrary:
        """What is asked to `set_env`; a part without an address has no variable for it."""
        return self

    def set_env(self, name: str, env: object) -> None:
        """An environment serves exceptions and Python objects, of which parts have none."""


@contextmanager
def _uncollected() -> Iterator[None]:
    """No search for garbage until the outermost block ends."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@contextmanager
def _remembering(context: Any) -> Iterator[None]:
    """Numba's own functions remember which signature fits which types, until the outermost block ends.

    Type inference and code generation ask the functions themselves, so it is these that remember.
    """
    functions: Any = types.Function
    if "get_call_type" in vars(functions):
        yield
        return
    ask = functions.get_call_type
    found: dict[tuple[int, tuple[types.Type, ...]], tuple[types.Function, Any]] = {}

    def get_call_type(self: types.Function, asking: Any, args: tuple[types.Type, ...], kws: dict[str, Any]) -> Any:
        if kws or asking is not context:
            return ask(self, asking, args, kws)
        # By identity: the function itself keeps what belongs to a signature, and the memory keeps the function.
        key = (id(self), tuple(args))
        if key not in found:
            found[key] = (self, ask(self, asking, args, kws))
        return found[key][1]

    functions.get_call_type = get_call_type
    try:
        yield
    finally:
        del functions.get_call_type
