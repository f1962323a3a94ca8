"""Calculations: one function per hash or checksum, and the verify and update steps of the checksums."""

from __future__ import annotations

from dataclasses import replace

from esa.switch.compiler.expressions import Scope
from esa.switch.compiler.layout import identifier, remark
from esa.switch.compiler.program import Calculation, Checksum, Field, Program, words_of
from esa.switch.compiler.values import indented, literal
from esa.switch.errors import UnsupportedError

# name in BMv2: (helper, further arguments)
ALGORITHMS: dict[str, tuple[str, tuple[str, ...]]] = {
    "csum16": ("csum16", ()),
    "cksum16": ("csum16", ()),
    "crc32": ("crc_reflected", ("0xEDB88320", "0xFFFFFFFF")),
    "crc32_custom": ("crc_reflected", ("0xEDB88320", "0xFFFFFFFF")),
    "crc16": ("crc_reflected", ("0xA001", "0")),
    "crc16_custom": ("crc_reflected", ("0xA001", "0")),
    "crcCCITT": ("crc_ccitt", ()),
    "xor16": ("xor_words", ("2",)),
    "xor32": ("xor_words", ("4",)),
    "identity": ("identity", ()),
}


def buffer_bytes(program: Program) -> int:
    """The most bytes that any calculation gathers from fields and constants."""
    sizes = [(sum(bits for *_, bits in c.inputs) + 7) // 8 for c in program.calculations.values()]
    return max(sizes, default=0)


def _sum_words(scope: Scope, calculation: Calculation) -> tuple[str, set[str]] | None:
    """The sum of the 16-bit words of the inputs as one expression, and the headers it takes to be valid."""
    terms, offset, headers = [], 0, set()
    for kind, what, bits in calculation.inputs:
        if kind == "field":
            found = scope.program.field_type(what)
            if found.varbit:
                return None
            code = scope.place(what)
            if bits > 64:
                texts = [f"f[{code[2:-1]} + {k}]" if k else code for k in range((bits + 63) // 64)]
            elif found.signed:
                code = f"({code} & {literal((1 << bits) - 1)})"
            if not scope.program.headers[what.header].metadata:
                headers.add(what.header)
        else:
            code = literal(what)
            texts = [literal(word) for word in words_of(what, bits)]
        first = offset % 16
        if first + bits <= 16:
            left = 16 - first - bits
            terms.append(f"({code} << {left})" if left else code)
        elif first == 0 and bits % 16 == 0 and bits > 64:
            for at in range(0, bits, 16):
                text = f"({texts[at // 64]} >> {at % 64})" if at % 64 else texts[at // 64]
                terms.append(f"({text} & 0xffff)")
        elif first == 0 and bits % 16 == 0:
            for word in range(bits // 16):
                right = bits - 16 * (word + 1)
                text = f"({code} >> {right})" if right else code
                terms.append(text if word == 0 and bits < 64 else f"({text} & 0xffff)")
        else:
            return None
        offset += bits
    return " + ".join(terms) or "0", headers


def calculation_function(scope: Scope, calculation: Calculation, buffer: int) -> list[str]:
    """The function hash_<name>(f, pkt). Fields of invalid headers are left out, as in BMv2."""
    scope = replace(scope, where=f"calculation {calculation.name}")
    if calculation.algorithm not in ALGORITHMS:
        raise UnsupportedError(f"calculation {calculation.name}: algorithm {calculation.algorithm!r} is not supported")
    helper, extra = ALGORITHMS[calculation.algorithm]
    lines: list[str] = []
    if helper == "csum16" and not calculation.payload:
        words = _sum_words(scope, calculation)
        if words is not None:
            code, headers = words
            direct = f"return {scope.call('complement16', code)}"
            if not headers:
                return _function(calculation, [direct])
            valid = " and ".join(f"{scope.place(Field(name, '$valid$'))} != 0" for name in sorted(headers))
            lines = [f"if {valid}:", *indented([direct])]
            if len(headers) == 1 and all(
                kind == "field" and what.header in headers for kind, what, _ in calculation.inputs
            ):
                return _function(calculation, [*lines, "return 0xffff"])
    size = (sum(bits for *_, bits in calculation.inputs) + 7) // 8
    start = scope.constant("BUFFER", buffer)
    lines += [scope.call("clear_cells", "f", start, str(size)), "n = 0"]
    for kind, what, bits in calculation.inputs:
        if kind == "const":
            for k, word in list(enumerate(words_of(what, bits)))[::-1]:  # the highest first, as on the wire
                size = min(64, bits - 64 * k)
                lines += [scope.call("poke", "f", f"8 * {start} + n", literal(word), str(size)), f"n += {size}"]
            continue
        add = [scope.call("poke", "f", f"8 * {start} + n", scope.place(what), str(bits)), f"n += {bits}"]
        if scope.program.field_type(what).varbit:
            width = scope.varbit_width(scope.program.headers[what.header])
            add = [scope.wide_call("wide_poke", "f", f"8 * {start} + n", "f", scope.cell(what), width), f"n += {width}"]
        elif bits > 64:
            cell = scope.place(what)[2:-1]
            add[0] = scope.wide_call("wide_poke", "f", f"8 * {start} + n", "f", cell, str(bits))
        if scope.program.headers[what.header].metadata:
            lines += add
        else:
            lines += [f"if {scope.place(Field(what.header, '$valid$'))} != 0:", *indented(add)]
    rest = ["pkt", scope.hidden("CURSOR"), scope.hidden("INGRESS_LENGTH")] if calculation.payload else ["f", "0", "0"]
    lines.append(f"return {scope.call(helper, 'f', start, '(n + 7) >> 3', *rest, *extra)}")
    return _function(calculation, lines)


def _function(calculation: Calculation, lines: list[str]) -> list[str]:
    return [f"def {hash_call(calculation)}:", f'    """{calculation.algorithm} ({remark(calculation.name)})."""',
            *indented(lines)]  # fmt: skip


def hash_call(calculation: Calculation) -> str:
    """The call of a calculation's function; only one that covers the payload needs the packet."""
    return f"hash_{identifier(calculation.name)}({'f, pkt' if calculation.payload else 'f'})"


def _condition(scope: Scope, checksum: Checksum) -> str:
    if checksum.condition is None:
        return "True"
    return scope.truth(checksum.condition)


def checksum_functions(scope: Scope) -> list[list[str]]:
    """`verify_checksums` and `update_checksums`."""
    scope = replace(scope, where="checksum")
    verify = ["def verify_checksums(f, pkt):", '    """Set CHECKSUM_ERROR where a checksum is wrong."""']
    update = ["def update_checksums(f, pkt):", '    """Compute the checksums of the headers that leave."""']
    for checksum in scope.program.checksums:
        call = hash_call(scope.program.calculations[checksum.calculation])
        target = scope.place(checksum.target)
        bits = scope.program.field_type(checksum.target).bits
        if bits > 64:
            name = f"{checksum.target.header}.{checksum.target.name}"
            raise scope.refuse(f"{name} has {bits} bits, more than the 64 that a checksum may have")
        test = _condition(scope, checksum)
        if checksum.verify:
            valid = scope.place(Field(checksum.target.header, "$valid$"))
            if scope.program.headers[checksum.target.header].metadata:
                valid = "1"
            verify += [
                f"    if {valid} != 0 and {test} and {call} != {target}:",
                f"        {scope.hidden('CHECKSUM_ERROR')} = 1",
            ]
        if checksum.update:
            cut = call if bits == 64 else f"{call} & {literal((1 << bits) - 1)}"
            update += [f"    if {test}:", f"        {target} = {cut}"]
    for lines in (verify, update):
        if len(lines) == 2:
            lines.append("    pass")
    return [verify, update]
