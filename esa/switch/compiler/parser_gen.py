"""The parser: one function per parser state."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from esa.switch.compiler.expressions import Scope
from esa.switch.compiler.layout import identifier, remark
from esa.switch.compiler.primitives import emit
from esa.switch.compiler.program import (
    Expr,
    Field,
    FieldType,
    Header,
    LastField,
    Lookahead,
    Object,
    ParserState,
    Primitive,
    words_of,
)
from esa.switch.compiler.trace_gen import traced
from esa.switch.compiler.values import TooWideError, indented, literal
from esa.switch.errors import UnsupportedError

ACCEPT, ERROR = -1, -2
MIN_LOOP = 4
MAX_NESTED = 16  # states that call one another
CORE_ERRORS = {"NoError": 0, "PacketTooShort": 1, "NoMatch": 2, "StackOutOfBounds": 3, "HeaderTooShort": 4,
               "ParserTimeout": 5, "ParserInvalidArgument": 6}  # fmt: skip


def runs_of_fields(fields: Sequence[FieldType]) -> Iterator[tuple[int, int, int]]:
    """(index of the first field, number of fields, bit offset); equal aligned neighbours come together."""
    at, offset = 0, 0
    while at < len(fields):
        kind, number = fields[at], 1
        if kind.bits in (8, 16, 32, 64) and offset % 8 == 0:
            while at + number < len(fields) and (fields[at + number].bits, fields[at + number].signed) == (
                kind.bits,
                kind.signed,
            ):
                number += 1
        if number < MIN_LOOP:
            number = 1
        yield at, number, offset
        at, offset = at + number, offset + number * kind.bits


def _load(scope: Scope, at: str, offset: int, kind: FieldType) -> str:
    """Text that reads one field `offset` bits past byte `at`."""
    first, last = offset // 8, (offset + kind.bits + 7) // 8
    start = at if first == 0 else f"{at} + {first}"
    size, right = last - first, last * 8 - offset - kind.bits
    if size > 8:
        return scope.call("peek", "pkt", scope.hidden("INGRESS_LENGTH"), f"8 * ({at}) + {offset}", str(kind.bits))
    if size == 1:
        code = scope.call("be8", "pkt", start)
    elif size in (2, 4, 6, 8):
        code = scope.call(f"be{8 * size}", "pkt", start)
    else:
        code = scope.call("be_n", "pkt", start, str(size))
    if right:
        code = f"({code} >> {right})"
    if kind.bits + right < size * 8:
        code = f"{code} & {literal((1 << kind.bits) - 1)}"
    if kind.signed and kind.bits < 64:
        code = scope.call("signed", code, str(kind.bits))
    return code


def _load_wide(scope: Scope, at: str, offset: int, kind: FieldType, cell: str) -> list[str]:
    """Lines that read one field of more than 64 bits, `offset` bits past byte `at`."""
    if offset % 8 or kind.bits % 8:
        bit = f"8 * ({at}) + {offset}"
        lines = [scope.wide_call("wide_peek", "f", cell, "pkt", scope.hidden("INGRESS_LENGTH"), bit, str(kind.bits))]
    else:
        start = f"{at} + {offset // 8}" if offset else at
        lines = [scope.wide_call("wide_load", "f", cell, "pkt", start, str(kind.bits // 8))]
    if kind.signed:
        words = str((kind.bits + 63) // 64)
        lines.append(scope.wide_call("wide_signed", "f", cell, str(kind.words), str(kind.bits), cell, words))
    return lines


def _fail(scope: Scope, name: str) -> list[str]:
    code = scope.program.errors.get(name, CORE_ERRORS[name])
    return [f"{scope.hidden('ERROR')} = {code}", f"return {ERROR}"]


def _extract(scope: Scope, header: Header, place: Callable[[int], str], length: Expr | None = None) -> list[str]:
    """Lines that fill the fields, which lie at place(0), place(1) .., from the packet; the valid bit comes last.

    `length`: bits of its varbit.
    """
    if sum(field.bits for field in header.fields if not field.varbit) % 8:
        raise UnsupportedError(f"header {header.name} is not a whole number of bytes")
    at = header.varbit
    if (at is None) != (length is None):
        raise scope.refuse(f"header {header.name} has {'no' if at is None else 'a'} varbit: its extract does not fit")
    cursor = scope.hidden("CURSOR")
    valid = f"{place(len(header.fields))} = 1"
    if at is None or length is None:
        return [
            f"c = {cursor}",
            f"if c + {header.bytes} > {scope.hidden('INGRESS_LENGTH')}:",
            *indented(_fail(scope, "PacketTooShort")),
            *_load_fields(scope, header, header.fields, place),
            valid,
            f"{cursor} = c + {header.bytes}",
        ]
    bits = scope.exact(length)
    if bits.lo < 0 or bits.hi >= 1 << 48:
        raise scope.refuse(f"the width of header {header.name}'s varbit may be negative or huge")
    before, rest = header.fields[:at], header.fields[at + 1 :]
    start = sum(kind.bits for kind in before) // 8
    cell, words = place(at)[2:-1], header.fields[at].words
    return [
        f"width = {bits.code}",
        f"c = {cursor}",
        "if width & 7 != 0:",
        *indented(_fail(scope, "ParserInvalidArgument")),
        f"if c + {header.bytes} + (width >> 3) > {scope.hidden('INGRESS_LENGTH')}:",
        *indented(_fail(scope, "PacketTooShort")),
        f"if width > {header.fields[at].bits}:",
        *indented(_fail(scope, "HeaderTooShort")),
        *_load_fields(scope, header, before, place),
        scope.call("clear_cells", "f", cell, str(words)),
        scope.wide_call("wide_peek", "f", cell, "pkt", scope.hidden("INGRESS_LENGTH"), f"8 * (c + {start})", "width"),
        f"f[{cell} + {words - 1}] = width",
        f"c = c + {start} + (width >> 3)",
        *_load_fields(scope, header, rest, lambda index: place(at + 1 + index)),
        valid,
        f"{cursor} = c + {header.bytes - start}",
    ]


def _load_fields(scope: Scope, header: Header, fields: Sequence[FieldType], place: Callable[[int], str]) -> list[str]:
    """Lines that fill fields from packet byte c on."""
    lines: list[str] = []
    if (first := scope.words_of_lanes(header)) is not None:
        return [scope.call("load_be32s", "f", first, "pkt", "c", str(len(fields)))]
    for at, number, offset in runs_of_fields(fields):
        kind = fields[at]
        if kind.bits > 64:
            lines += _load_wide(scope, "c", offset, kind, place(at)[2:-1])
            continue
        if number == 1:
            lines.append(f"{place(at)} = {_load(scope, 'c', offset, kind)}")
            continue
        step, size = place(at)[:-1] + " + i]", kind.bits // 8
        source = f"c + {offset // 8} + {f'{size} * ' if size > 1 else ''}i"
        load = _load(scope, source, 0, kind)
        lines += [f"for i in range({number}):", *indented([f"{step} = {load}"])]
    return lines


def _extract_header(scope: Scope, name: str, length: Expr | None = None) -> list[str]:
    header = scope.program.headers[name]
    names = [f.name for f in header.fields] + ["$valid$"]
    lines = _extract(scope, header, lambda at: scope.place_or_half(Field(name, names[at])), length)
    return [*lines, *(f"{scope.place(Field(other, '$valid$'))} = 0" for other in scope.program.beside(name))]


def _extract_stack(scope: Scope, stack: str, length: Expr | None = None) -> list[str]:
    members = scope.program.stacks[stack]
    header = scope.program.headers[members[0]]
    first = scope.cell(Field(members[0], header.fields[0].name))
    cell = scope.layout.stack_next[stack]
    following = f"f[{scope.constant(scope.layout.cell_names[cell], cell)}]"
    lines = [f"if {following} >= {len(members)}:", *indented(_fail(scope, "StackOutOfBounds"))]
    lines.append(f"b = {first} + {header.words + 1} * {following}")
    lines += _extract(scope, header, lambda at: f"f[b + {sum(kind.words for kind in header.fields[:at])}]", length)
    return [*lines, f"{following} += 1"]


def _extract_union_stack(scope: Scope, part: str, length: Expr | None = None) -> list[str]:
    """As `_extract_stack`, into one member of the stack's next union; the others become invalid."""
    members = scope.program.stacks[part]
    parts = next(parts for parts in scope.program.union_stacks.values() if part in parts)
    header, following = scope.program.headers[members[0]], scope.following(part)
    first = scope.layout.cells[Field(members[0], header.fields[0].name if header.fields else "$valid$")]
    others = [scope.stack_cells(other, "$valid$") for other in parts if other != part]
    return [
        f"if {following} >= {len(members)}:",
        *indented(_fail(scope, "StackOutOfBounds")),
        f"b = {first} + {header.words + 1} * {following}",
        *_extract(scope, header, lambda at: f"f[b + {sum(kind.words for kind in header.fields[:at])}]", length),
        *(f"f[{valid} + {stride} * {following}] = 0" for valid, stride in others),
        f"{following} += 1",
    ]


_WITH_VARBIT = {
    "extract_varbit": _extract_header,
    "extract_stack_varbit": _extract_stack,
    "extract_union_stack_varbit": _extract_union_stack,
}


def _operation(scope: Scope, op: Primitive) -> list[str]:
    if op.op == "extract":
        assert isinstance(op.args[0], Object)
        return _extract_header(scope, op.args[0].name)
    if op.op == "extract_stack":
        assert isinstance(op.args[0], Object)
        return _extract_stack(scope, op.args[0].name)
    if op.op == "extract_union_stack":
        assert isinstance(op.args[0], Object)
        return _extract_union_stack(scope, op.args[0].name)
    if op.op in _WITH_VARBIT:
        assert isinstance(op.args[0], Object)
        return _WITH_VARBIT[op.op](scope, op.args[0].name, op.args[1])
    if op.op == "verify":
        error = scope.exact(op.args[1]).code
        return [f"if not {scope.boolean(op.args[0])}:",
                *indented([f"{scope.hidden('ERROR')} = {error}", f"return {ERROR}"])]  # fmt: skip
    if op.op == "advance":
        distance = scope.exact(op.args[0])
        if distance.lo < 0:
            raise scope.refuse("advance by a number that may be negative")
        by = distance.code
        cursor = scope.hidden("CURSOR")
        return [
            f"by = {by}",
            "if by & 7 != 0:",
            *indented(_fail(scope, "ParserInvalidArgument")),
            f"if (by >> 3) > {scope.hidden('INGRESS_LENGTH')} - {cursor}:",
            *indented(_fail(scope, "PacketTooShort")),
            f"{cursor} += by >> 3",
        ]
    lines = []
    if op.op == "set" and isinstance(op.args[1], Lookahead):
        needed = (op.args[1].bits + 7) // 8
        lines = [
            f"if {scope.hidden('INGRESS_LENGTH')} - {scope.hidden('CURSOR')} < {needed}:",
            *indented(_fail(scope, "PacketTooShort")),
        ]
    return [*lines, *emit(scope, op)]


def _key(scope: Scope, state: ParserState) -> list[tuple[str, int]]:
    """Text and bits of each key field; the text of a wide one is its first cell."""
    out = []
    for expr in state.key:
        if (wide := scope.wide_key(expr)) is not None:
            out.append(wide)
            continue
        value = scope.exact(expr).code
        if isinstance(expr, Lookahead):
            out.append((value, expr.bits))
            continue
        kind = expr
        if isinstance(kind, LastField):
            kind = Field(scope.program.stacks[kind.stack][0], kind.name)
        assert isinstance(kind, Field)
        found = scope.program.field_type(kind)
        out.append((f"{value} & {literal((1 << found.bits) - 1)}" if found.signed else value, found.bits))
    return out


def _value_set(
    scope: Scope, name: str, mask: tuple[int, ...] | None, keys: Sequence[tuple[str, int]], goal: object
) -> list[str]:
    """Lines that go to `goal` if the control plane has put the key into a value set."""
    first = scope.layout.value_sets[name]
    tests = []
    for at, (_, bits) in enumerate(keys):
        value, care = f"m64[row + {2 * at}]", f"m64[row + {2 * at + 1}]"
        if mask is not None and mask[at] & ((1 << bits) - 1) != (1 << bits) - 1:
            care = f"{care} & {literal(mask[at])}"
        tests.append(f"(k{at} ^ {value}) & {care} == 0")
    return [
        f"for i in range(m64[{first}]):",
        f"    row = {first + 1} + {2 * len(keys)} * i",
        f"    if {' and '.join(tests)}:",
        f"        return {goal}",
    ]


def _wide_tests(cell: str, value: int, mask: int, bits: int) -> list[str]:
    """A test for each word that the mask leaves something of."""
    tests = []
    for k, (word, kept) in enumerate(zip(words_of(value & mask, bits), words_of(mask, bits), strict=True)):
        text = f"f[{cell} + {k}]" if k else f"f[{cell}]"
        if kept == (1 << 64) - 1:
            tests.append(f"{text} == {literal(word)}")
        elif kept:
            tests.append(f"{text} & {literal(kept)} == {literal(word)}")
    return tests


def state_function(scope: Scope, state: ParserState, numbers: dict[str, object]) -> list[str]:
    """The function of one parser state; it returns what `numbers` says of the next state, ACCEPT or ERROR."""
    scope = replace(scope, where=f"parser state {state.name}")
    try:
        return _state(scope, state, numbers)
    except TooWideError:
        raise scope.refuse("a number of more than 64 bits, where none is expected") from None


def _state(scope: Scope, state: ParserState, numbers: dict[str, object]) -> list[str]:
    lines = scope.tell("state", state)
    for op in state.ops:
        if not op.op.startswith("extract") and op.op not in ("set", "verify", "advance"):
            lines += traced(scope, op, emit(scope, op))
        else:
            lines += traced(scope, op, _operation(scope, op))
    after: list[str] = []
    keys = _key(scope, state)
    lines += [f"k{at} = {code}" for at, (code, _) in enumerate(keys)]
    if keys:
        lines += scope.tell("select", (state, [bits for _, bits in keys]), "f", *(f"k{at}" for at in range(len(keys))))
    default: object = ACCEPT
    for transition in state.transitions:
        goal: object = ACCEPT if transition.next is None else numbers[transition.next]
        if transition.value is None:
            default = goal
            continue
        if transition.value_set is not None:
            after += _value_set(scope, transition.value_set, transition.mask, keys, goal)
            continue
        tests = []
        for at, (value, (_, bits)) in enumerate(zip(transition.value, keys, strict=True)):
            full = (1 << bits) - 1
            mask = full if transition.mask is None else transition.mask[at] & full
            if bits > 64:
                tests += _wide_tests(f"k{at}", value, mask, bits)
            elif mask == full:
                tests.append(f"k{at} == {literal(value)}")
            elif mask:
                tests.append(f"k{at} & {literal(mask)} == {literal(value & mask)}")
        after += [f"if {' and '.join(tests) or 'True'}:", *indented([f"return {goal}"])]
    name = identifier(state.name)
    return [f"def state_{name}(f, pkt, m32, m64):", f'    """Parser state {remark(state.name)}."""',
            *indented([*lines, *after, f"return {default}"])]  # fmt: skip


def _comes_back(states: Sequence[ParserState]) -> bool:
    """Whether a parser can come to a state again."""
    left = {state.name: {transition.next for transition in state.transitions} for state in states}
    while left:
        ends = [name for name, following in left.items() if not following & left.keys()]
        if not ends:
            return True
        for name in ends:
            del left[name]
    return False


def parser_functions(scope: Scope) -> list[list[str]]:
    """One function per state, and `parse`, which goes from state to state.

    In a small parser without loops each state calls the next: so what it has read is still in registers there.
    """
    states = scope.program.states
    about = '    """Parse the packet into f; CURSOR ends where the payload begins."""'
    if scope.sites is None and len(states) <= MAX_NESTED and not _comes_back(states):
        calls: dict[str, object] = {s.name: f"state_{identifier(s.name)}(f, pkt, m32, m64)" for s in states}
        functions = [state_function(scope, state, calls) for state in states]
        return [*functions, ["def parse(f, pkt, m32, m64):", about, f"    {calls[scope.program.first_state]}"]]
    numbers: dict[str, object] = {state.name: at for at, state in enumerate(states)}
    functions = [state_function(scope, state, numbers) for state in states]
    lines = [
        "def parse(f, pkt, m32, m64):",
        about,
        f"    state = {numbers[scope.program.first_state]}",
        "    while state >= 0:",
    ]
    for at, state in enumerate(states):
        lines.append(f"        {'if' if at == 0 else 'elif'} state == {at}:")
        lines.append(f"            state = state_{identifier(state.name)}(f, pkt, m32, m64)")
    lines += indented(scope.tell("next", [state.name for state in states], "f", "state"), 2)
    return [*functions, lines]
