"""Machine code for memory_helpers.py: what Numba makes of their Python is several times as many instructions.

A number on the wire is one load and one exchange of its bytes, which LLVM turns into shuffles of whole vectors where a
loop does the same for many lanes. No index is negative here, so none is looked at for that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array

_OCTET, _INT64 = ir.IntType(8), ir.IntType(64)
_LINE = 64  # bytes of a cache line
_LANES = 8  # words of 32 bits that are moved together; a processor with narrower registers takes several


def machine(function: Callable[..., Any]) -> Any:
    """The machine code of a function of memory_helpers.py, in its place."""
    return MACHINE[function.__name__]


def _address(context: Any, builder: Any, kind: Any, value: Any, at: Any, unit: int = 1) -> Any:
    """The address of byte `at` (times `unit`) of an array."""
    octets = builder.bitcast(context.make_array(kind)(context, builder, value=value).data, _OCTET.as_pointer())
    return builder.gep(octets, [builder.mul(at, _INT64(unit)) if unit > 1 else at])


def _exchanged(builder: Any, number: Any) -> Any:
    """The bytes of a number in the other order."""
    if number.type.width == 8:
        return number
    function = ir.FunctionType(number.type, [number.type])
    name = f"llvm.bswap.i{number.type.width}"
    return builder.call(cgutils.get_or_insert_function(builder.module, function, name), [number])


def _parts(bits: int) -> list[tuple[int, int]]:
    """(bits of a load or store, how far on in bytes): the powers of two that a number on the wire is made of."""
    return [(16, 0), (32, 2)] if bits == 48 else [(bits, 0)]


def _load(bits: int) -> Any:
    @intrinsic  # type: ignore[untyped-decorator]
    def load(typing: Any, pkt: Any, at: Any) -> tuple[Any, Callable[..., Any]]:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            at = context.cast(builder, arguments[1], signature.args[1], types.int64)
            start = _address(context, builder, signature.args[0], arguments[0], at)
            total = _INT64(0)
            for width, offset in _parts(bits):
                place = builder.bitcast(builder.gep(start, [_INT64(offset)]), ir.IntType(width).as_pointer())
                number = _exchanged(builder, builder.load(place, align=1))
                number = builder.zext(number, _INT64) if width < 64 else number
                total = builder.or_(builder.shl(total, _INT64(width)), number) if offset else number
            return total

        return types.int64(pkt, at), generate

    return load


def _store(bits: int) -> Any:
    @intrinsic  # type: ignore[untyped-decorator]
    def store(typing: Any, out: Any, at: Any, value: Any) -> tuple[Any, Callable[..., Any]]:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            at, value = (context.cast(builder, arguments[k], signature.args[k], types.int64) for k in (1, 2))
            start = _address(context, builder, signature.args[0], arguments[0], at)
            for width, offset in _parts(bits):
                kind = ir.IntType(width)
                number = builder.lshr(value, _INT64(bits - width - 8 * offset))
                number = builder.trunc(number, kind) if width < 64 else number
                place = builder.bitcast(builder.gep(start, [_INT64(offset)]), kind.as_pointer())
                builder.store(_exchanged(builder, number), place, align=1)
            return context.get_dummy_value()

        return types.void(out, at, value), generate

    return store


def _view(dtype: Any) -> Any:
    @intrinsic  # type: ignore[untyped-decorator]
    def view(typing: Any, f: Any) -> tuple[Any, Callable[..., Any]]:
        kind = types.Array(dtype, 1, "C")

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            cells = context.make_array(signature.args[0])(context, builder, value=arguments[0])
            halves = context.make_array(kind)(context, builder)
            count = builder.shl(builder.extract_value(cells.shape, 0), _INT64(1))
            data = builder.bitcast(cells.data, ir.IntType(32).as_pointer())
            populate_array(halves, data, [count], [_INT64(4)], _INT64(4), None)
            return halves._getvalue()

        return kind(f), generate

    return view


def _exchange_all(builder: Any, to: Any, source: Any, count: Any) -> None:
    """Words of 32 bits from one address to another, each with its bytes in the other order; eight at a time."""

    def move(kind: Any, start: Any) -> None:
        begin, end = (builder.bitcast(builder.gep(at, [start]), kind.as_pointer()) for at in (source, to))
        name = f"llvm.bswap.v{_LANES}i32" if isinstance(kind, ir.VectorType) else "llvm.bswap.i32"
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind]), name)
        builder.store(builder.call(function, [builder.load(begin, align=1)]), end, align=1)

    whole = builder.and_(count, _INT64(-_LANES))
    with cgutils.for_range_slice(builder, _INT64(0), whole, _INT64(_LANES), _INT64) as (index, _):
        move(ir.VectorType(ir.IntType(32), _LANES), builder.mul(index, _INT64(4)))
    with cgutils.for_range_slice(builder, whole, count, _INT64(1), _INT64) as (index, _):
        move(ir.IntType(32), builder.mul(index, _INT64(4)))


@intrinsic  # type: ignore[untyped-decorator]
def _load_be32s(typing: Any, f: Any, first: Any, pkt: Any, at: Any, count: Any) -> tuple[Any, Callable[..., Any]]:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        numbers = [context.cast(builder, arguments[k], signature.args[k], types.int64) for k in (1, 3, 4)]
        to = _address(context, builder, signature.args[0], arguments[0], numbers[0], 4)
        source = _address(context, builder, signature.args[2], arguments[2], numbers[1])
        _exchange_all(builder, to, source, numbers[2])
        return context.get_dummy_value()

    return types.void(f, first, pkt, at, count), generate


@intrinsic  # type: ignore[untyped-decorator]
def _store_be32s(typing: Any, out: Any, at: Any, f: Any, first: Any, count: Any) -> tuple[Any, Callable[..., Any]]:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        numbers = [context.cast(builder, arguments[k], signature.args[k], types.int64) for k in (1, 3, 4)]
        to = _address(context, builder, signature.args[0], arguments[0], numbers[0])
        source = _address(context, builder, signature.args[2], arguments[2], numbers[1], 4)
        _exchange_all(builder, to, source, numbers[2])
        return context.get_dummy_value()

    return types.void(out, at, f, first, count), generate


def _copy(unit: int) -> Callable[..., Any]:
    """What makes the code that copies some units of `unit` bytes, if any, between arrays that do not overlap."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        to, to_at, source, at, count = range(5) if unit == 1 else (0, None, 1, None, 2)

        def number(k: int | None) -> Any:
            return _INT64(0) if k is None else context.cast(builder, arguments[k], signature.args[k], types.int64)

        begin = _address(context, builder, signature.args[to], arguments[to], number(to_at), unit)
        end = _address(context, builder, signature.args[source], arguments[source], number(at), unit)
        octets = builder.mul(number(count), _INT64(unit))
        with builder.if_then(builder.icmp_signed(">", octets, _INT64(0))):
            cgutils.raw_memcpy(builder, begin, end, octets, 1)
        return context.get_dummy_value()

    return generate


@intrinsic  # type: ignore[untyped-decorator]
def _copy_bytes(typing: Any, out: Any, at: Any, pkt: Any, start: Any, count: Any) -> tuple[Any, Callable[..., Any]]:
    return types.void(out, at, pkt, start, count), _copy(1)


@intrinsic  # type: ignore[untyped-decorator]
def _copy_cells(typing: Any, target: Any, source: Any, count: Any) -> tuple[Any, Callable[..., Any]]:
    return types.void(target, source, count), _copy(8)


@intrinsic  # type: ignore[untyped-decorator]
def _ask_for(typing: Any, rows: Any, row: Any, count: Any) -> tuple[Any, Callable[..., Any]]:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, value=arguments[0])
        row, count = (context.cast(builder, arguments[k], signature.args[k], types.int64) for k in (1, 2))
        with builder.if_then(builder.icmp_signed("<", row, builder.extract_value(array.shape, 0))):
            length = builder.extract_value(array.shape, 1)
            octets = builder.select(builder.icmp_signed("<", count, length), count, length)
            start = builder.mul(row, builder.extract_value(array.strides, 0))
            kind = ir.FunctionType(ir.VoidType(), [_OCTET.as_pointer(), *[ir.IntType(32)] * 3])
            ask = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
            with cgutils.for_range_slice(builder, _INT64(0), octets, _INT64(_LINE), _INT64) as (index, _):
                at = builder.gep(builder.bitcast(array.data, _OCTET.as_pointer()), [builder.add(start, index)])
                builder.call(ask, [at, *(ir.IntType(32)(what) for what in (1, 3, 1))])  # to write, all caches, data
        return context.get_dummy_value()

    return types.void(rows, row, count), generate


@intrinsic  # type: ignore[untyped-decorator]
def _lanes(typing: Any, count: Any) -> tuple[Any, Callable[..., Any]]:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        count = context.cast(builder, arguments[0], signature.args[0], types.int64)
        return builder.asm(ir.FunctionType(_INT64, [_INT64]), "", "=r,0", [count], side_effect=False)

    return types.int64(count), generate


MACHINE: dict[str, Any] = {
    **{f"be{bits}": _load(bits) for bits in (8, 16, 32, 48, 64)},
    **{f"put{bits}": _store(bits) for bits in (8, 16, 32, 48, 64)},
    "int32s": _view(types.int32),
    "uint32s": _view(types.uint32),
    "load_be32s": _load_be32s,
    "store_be32s": _store_be32s,
    "ask_for": _ask_for,
    "lanes": _lanes,
    "copy_bytes": _copy_bytes,
    "copy_cells": _copy_cells,
}
