"""Memory, where Numba has no words for it: ask for what will be needed soon; copy octets as libc does.

Neither checks an index. In functions that run as plain Python, as the fuzzers' do, they are what they say in NumPy.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic, overload

_OCTET, _INT32 = ir.IntType(8), ir.IntType(32)
_TO_WRITE, _KEEP_IN_ALL_CACHES, _DATA = 1, 3, 1  # what llvm.prefetch is told


def prefetch(array: Any, row: int) -> None:
    """Ask the processor for the first bytes of row `row` of an array of any shape and dtype; nothing else happens.

    A row that there is not costs a request in vain.
    """


def copy_octets(to: Any, to_row: int, to_at: int, source: Any, row: int, at: int, count: int) -> None:
    """to[to_row, to_at : to_at + count] = source[row, at : at + count], of uint8 arrays that do not overlap."""
    to[to_row, to_at : to_at + count] = source[row, at : at + count]


@overload(prefetch, inline="always", jit_options={"nogil": True, "_nrt": False})  # type: ignore[untyped-decorator]
def _prefetch(array: Any, row: Any) -> Callable[..., None]:
    def ask(array: Any, row: Any) -> None:
        _prefetched(array, row)

    return ask


@overload(copy_octets, inline="always", jit_options={"nogil": True, "_nrt": False})  # type: ignore[untyped-decorator]
def _copy_octets(to: Any, to_row: Any, to_at: Any, source: Any, row: Any, at: Any, count: Any) -> Callable[..., None]:
    def copy(to: Any, to_row: Any, to_at: Any, source: Any, row: Any, at: Any, count: Any) -> None:
        _copied(to, to_row, to_at, source, row, at, count)

    return copy


@intrinsic  # type: ignore[untyped-decorator]
def _prefetched(typing: Any, array: Any, row: Any) -> tuple[Any, Callable[..., Any]]:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        at = _place(context, builder, signature.args, arguments, 0)
        kind = ir.FunctionType(ir.VoidType(), [at.type] + [_INT32] * 3)
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(function, [at, *(_INT32(value) for value in (_TO_WRITE, _KEEP_IN_ALL_CACHES, _DATA))])
        return context.get_dummy_value()

    return types.void(array, row), generate


@intrinsic  # type: ignore[untyped-decorator]
def _copied(
    typing: Any, to: Any, to_row: Any, to_at: Any, source: Any, row: Any, at: Any, count: Any
) -> tuple[Any, Callable[..., Any]]:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        begin, end = (
            builder.gep(
                _place(context, builder, signature.args, arguments, k),
                [context.cast(builder, arguments[k + 2], signature.args[k + 2], types.intp)],
            )
            for k in (0, 3)
        )
        cgutils.raw_memcpy(builder, begin, end, context.cast(builder, arguments[6], signature.args[6], types.intp), 1)
        return context.get_dummy_value()

    return types.void(to, to_row, to_at, source, row, at, count), generate


def _place(context: Any, builder: Any, kinds: Any, arguments: Any, k: int) -> Any:
    """The address of the row that argument k + 1 says, of the array that is argument k."""
    array = context.make_array(kinds[k])(context, builder, value=arguments[k])
    row = context.cast(builder, arguments[k + 1], kinds[k + 1], types.intp)
    octets = builder.bitcast(array.data, _OCTET.as_pointer())
    return builder.gep(octets, [builder.mul(row, builder.extract_value(array.strides, 0))])
