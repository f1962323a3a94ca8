"""A program's compiled `step`, called from machine code that was compiled for no program in particular.

Numba compiles a caller anew for each function that it is given; here it is given an address. What is called there is
what Numba makes of every entry for C (`cfunc`): its arguments are those of `step`, by value.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

_BYTES, _INT32S, _INT64S = types.uint8[:, ::1], types.int32[::1], types.int64[::1]
_NUMBERS = (types.int64,) * 3  # first, count, now_us
_STATE = (_INT64S, _INT64S, types.uint32[::1], _INT64S, types.int64[:, ::1], _BYTES, _INT64S)
_ARGUMENTS = (_BYTES, _INT32S, _INT32S, *_NUMBERS, _BYTES, _INT32S, _INT32S)


def step_address(step: Any) -> int:
    """Where the machine code of a program's `step` is, which has run once; 0 where it is plain Python."""
    overloads = getattr(step, "overloads", None)
    if overloads is None:
        return 0
    ((signature, compiled),) = overloads.items()
    if (tuple(signature[0].types), signature[1:]) != (_STATE, _ARGUMENTS):
        raise TypeError(f"the program was compiled for {signature}")
    return int(compiled.library.get_pointer_to_function(compiled.fndesc.llvm_cfunc_wrapper_name))


@intrinsic  # type: ignore[untyped-decorator]
def call_step(typing: Any, address: Any, state: Any, arguments: Any) -> tuple[Any, Callable[..., Any]]:
    """`step(state, *arguments)` at this address; `state` is a tuple of what the program's State has."""
    if (tuple(state.types), tuple(arguments.types)) != (_STATE, _ARGUMENTS):
        raise TypeError(f"step is called with {state} and {arguments}")

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        kinds = [context.get_value_type(kind) for kind in (state, *_ARGUMENTS)]
        rest = [builder.extract_value(values[2], at) for at in range(len(_ARGUMENTS))]
        function = ir.FunctionType(context.get_value_type(types.int64), kinds)
        return builder.call(builder.inttoptr(values[0], function.as_pointer()), [values[1], *rest])

    return types.int64(address, state, arguments), generate
