"""What generated code calls to move bytes and cells: copied into the generated module as those of helpers.py are.

This is what they mean. Most have machine code of their own (machine.py) where the module is compiled.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = Any  # int64, uint32 or uint8, by the caller
# Which have machine code.
MACHINE = frozenset(
    {*(f"{name}{bits}" for name in ("be", "put") for bits in (8, 16, 32, 48, 64)),
     "int32s", "uint32s", "load_be32s", "store_be32s", "copy_bytes", "copy_cells", "ask_for", "lanes"}
)  # fmt: skip


def be8(pkt: Array, at: int) -> Any:
    return np.int64(pkt[at])


def be16(pkt: Array, at: int) -> Any:
    return (np.int64(pkt[at]) << 8) | np.int64(pkt[at + 1])


def be32(pkt: Array, at: int) -> Any:
    return (
        (np.int64(pkt[at]) << 24) | (np.int64(pkt[at + 1]) << 16) | (np.int64(pkt[at + 2]) << 8) | np.int64(pkt[at + 3])
    )


def be48(pkt: Array, at: int) -> Any:
    return (be16(pkt, at) << 32) | be32(pkt, at + 2)


def be64(pkt: Array, at: int) -> Any:
    return (be32(pkt, at) << 32) | be32(pkt, at + 4)


def be_n(pkt: Array, at: int, size: int) -> Any:
    value = np.int64(0)
    for k in range(size):
        value = (value << 8) | np.int64(pkt[at + k])
    return value


def put8(out: Array, at: int, value: Any) -> None:
    out[at] = value & 255


def put16(out: Array, at: int, value: Any) -> None:
    out[at] = (value >> 8) & 255
    out[at + 1] = value & 255


def put32(out: Array, at: int, value: Any) -> None:
    out[at] = (value >> 24) & 255
    out[at + 1] = (value >> 16) & 255
    out[at + 2] = (value >> 8) & 255
    out[at + 3] = value & 255


def put48(out: Array, at: int, value: Any) -> None:
    put16(out, at, value >> 32)
    put32(out, at + 2, value)


def put64(out: Array, at: int, value: Any) -> None:
    put32(out, at, value >> 32)
    put32(out, at + 4, value)


def put_n(out: Array, at: int, value: Any, size: int) -> None:
    for k in range(size):
        out[at + k] = (value >> (8 * (size - 1 - k))) & 255


def int32s(f: Array) -> Any:
    """The halves of the cells."""
    return f.view(np.int32)


def uint32s(f: Array) -> Any:
    """The same, unsigned."""
    return f.view(np.uint32)


def load_be32s(f: Array, first: int, pkt: Array, at: int, count: int) -> None:
    """Numbers of 32 bits from the packet into halves of cells."""
    for k in range(count):
        f.view(np.uint32)[first + k] = be32(pkt, at + 4 * k)


def store_be32s(out: Array, at: int, f: Array, first: int, count: int) -> None:
    """Halves of cells as numbers of 32 bits on the wire."""
    for k in range(count):
        put32(out, at + 4 * k, np.int64(f.view(np.uint32)[first + k]))


def ask_for(rows: Array, row: int, count: int) -> None:
    """Have the processor fetch the first `count` bytes of a row, which will be needed soon, if there is one."""


def lanes(count: int) -> Any:
    """How often a loop over lanes goes round.

    LLVM does not know: it would write the passes of a loop of known length out before it looks for vectors in it.
    """
    return count


def clear_cells(f: Array, first: int, count: int) -> None:
    for k in range(count):
        f[first + k] = 0


def copy_cells(target: Array, source: Array, count: int) -> None:
    for k in range(count):
        target[k] = source[k]


def copy_bytes(out: Array, at: int, pkt: Array, start: int, count: int) -> None:
    for k in range(count):
        out[at + k] = pkt[start + k]
