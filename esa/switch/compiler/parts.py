"""How Numba compiles the parts of a program: functions that only the program's entry calls, and nobody from Python.

Numba makes every function ready to be called by itself: it optimizes it, writes its machine code and loads that; then
does so once more with each of its callers, which have it inlined. A program has a hundred functions, of which one is
called. So a part is kept as what its callers link in, and is optimized and written once, as a piece of the entry.

Numba also asks anew, for each `a + b`, which of its dozens of rules for + fits; parts ask once for each pair of types.
"""

from __future__ import annotations

import copy
from typing import Any

from numba.core import types
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.typing import Context


class Part(CompilerBase):  # type: ignore[misc]
    """`njit(pipeline_class=Part)`: for functions without wrappers (no_cpython_wrapper, no_cfunc_wrapper)."""

    def define_pipelines(self) -> list[Any]:
        """Numba's own passes, with a library and a typing context of ours."""
        state = self.state
        state.library = _PartLibrary(state.targetctx.codegen(), state.func_id.func_qualname)
        state.typingctx = _RememberingContext.of(state.typingctx)
        return [DefaultPassBuilder.define_nopython_pipeline(state)]


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


class _RememberingContext(Context):  # type: ignore[misc]
    """The typing context, which remembers what it found for functions of Numba's own."""

    @classmethod
    def of(cls, context: Context) -> _RememberingContext:
        """This context with a memory, which lasts as long as the context does."""
        known: _RememberingContext | None = vars(context).get("_esa_remembering")
        if known is None:
            known = copy.copy(context)  # all that it holds is shared
            known.__class__ = cls
            known.found = {}
            context._esa_remembering = known
        return known

    found: dict[tuple[int, tuple[types.Type, ...]], tuple[types.Function, Any]]

    def resolve_function_type(self, func: Any, args: tuple[types.Type, ...], kws: dict[str, types.Type]) -> Any:
        """As the context, from memory where it can be."""
        if type(func) is not types.Function or kws:
            return super().resolve_function_type(func, args, kws)
        # By identity: the object itself keeps what belongs to a signature, and the memory keeps the object.
        key = (id(func), tuple(args))
        if key not in self.found:
            signature = super().resolve_function_type(func, args, kws)
            if signature is None:
                return None
            self.found[key] = (func, signature)
        return self.found[key][1]
