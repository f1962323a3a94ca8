"""The deparser: what the valid headers take, and what they are on the wire."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from esa.switch.compiler.expressions import Scope
from esa.switch.compiler.parser_gen import runs_of_fields
from esa.switch.compiler.program import Field, FieldType, Header
from esa.switch.compiler.values import indented, literal
from esa.switch.errors import UnsupportedError


def _store_wide(scope: Scope, offset: int, kind: FieldType, cell: str) -> str:
    if offset % 8 or kind.bits % 8:
        return scope.wide_call("wide_poke", "out", f"8 * n + {offset}", "f", cell, str(kind.bits))
    at = f"n + {offset // 8}" if offset else "n"
    return scope.wide_call("wide_store", "out", at, "f", cell, str(kind.bits // 8))


def _emit_header(scope: Scope, header: Header) -> list[str]:
    """Lines that write a header from byte n on, and move n behind it."""
    at = header.varbit
    if at is None:
        return [*_emit_fields(scope, header.name, header.fields), f"n += {header.bytes}"]
    before, rest = header.fields[:at], header.fields[at + 1 :]
    start = sum(kind.bits for kind in before) // 8
    cell, width = scope.cell(Field(header.name, header.fields[at].name)), scope.varbit_width(header)
    return [
        *_emit_fields(scope, header.name, before),
        scope.wide_call("wide_poke", "out", f"8 * (n + {start})", "f", cell, width),
        f"n += {start} + ({width} >> 3)",
        *_emit_fields(scope, header.name, rest),
        f"n += {header.bytes - start}",
    ]


def _emit_fields(scope: Scope, name: str, fields: Sequence[FieldType]) -> list[str]:
    lines: list[str] = []
    if (first := scope.words_of_lanes(scope.program.headers[name])) is not None:
        return [scope.call("store_be32s", "out", "n", "f", first, str(len(fields)))]
    chunk: list[tuple[str, FieldType]] = []
    start = 0

    def flush(end: int) -> None:
        bits = end - start
        at = f"n + {start // 8}" if start else "n"
        if bits > 64:
            cell = start
            for code, kind in chunk:
                if kind.bits > 64:
                    lines.append(_store_wide(scope, cell, kind, code[2:-1]))
                    cell += kind.bits
                    continue
                lines.append(scope.call("poke", "out", f"8 * n + {cell}", code, str(kind.bits)))
                cell += kind.bits
            return
        parts, left = [], bits
        for code, kind in chunk:
            left -= kind.bits
            text = f"({code} & {literal((1 << kind.bits) - 1)})" if kind.signed and len(chunk) > 1 else code
            parts.append(f"({text} << {left})" if left else text)
        value = " | ".join(parts)
        size = bits // 8
        if size == 1:
            lines.append(scope.call("put8", "out", at, value))
        elif size in (2, 4, 6, 8):
            lines.append(scope.call(f"put{bits}", "out", at, value))
        else:
            lines.append(scope.call("put_n", "out", at, value, str(size)))

    for at, number, offset in runs_of_fields(fields):
        kind = fields[at]
        place = scope.place_or_half(Field(name, kind.name))
        if number > 1:
            size = kind.bits // 8
            target = f"n + {offset // 8} + {f'{size} * ' if size > 1 else ''}i"
            store = scope.call(f"put{kind.bits}", "out", target, f"np.int64({place[:-1]} + i])")
            lines += [f"for i in range({number}):", *indented([store])]
            continue
        if not chunk:
            start = offset
        chunk.append((place, kind))
        if (offset + kind.bits) % 8 == 0:
            flush(offset + kind.bits)
            chunk = []
    if chunk:
        raise UnsupportedError(f"header {name} is not a whole number of bytes")
    return lines


def deparser_functions(scope: Scope) -> list[list[str]]:
    """`headers_size`, and `deparse`, which writes every valid header to `out`."""
    scope = replace(scope, where="deparser")
    size = ["def headers_size(f):", '    """Bytes that the valid headers take."""', "    n = 0"]
    write = [
        "def deparse(f, out):",
        '    """Write the valid headers to out; returns their size in bytes."""',
        "    n = 0",
    ]
    for name in scope.program.deparse_order:
        header = scope.program.headers[name]
        valid = scope.place(Field(name, "$valid$"))
        size += [f"    if {valid} != 0:", f"        n += {scope.header_bytes(header)}"]
        write += [f"    if {valid} != 0:", *indented(_emit_header(scope, header), 2)]
    return [[*size, "    return n"], [*write, "    return n"]]
