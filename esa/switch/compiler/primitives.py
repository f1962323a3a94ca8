"""Primitives: each as lines of Python."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from esa.switch.compiler.expressions import Scope
from esa.switch.compiler.halves import NotHalvedError, fits
from esa.switch.compiler.header_primitives import HEADER_PRIMITIVES, header_primitive
from esa.switch.compiler.header_refs import header_ref
from esa.switch.compiler.lanes import leaves_of
from esa.switch.compiler.layout import METER_WORDS, identifier
from esa.switch.compiler.log_gen import log_lines
from esa.switch.compiler.program import (
    STANDARD,
    Const,
    Expr,
    Field,
    FieldType,
    LastField,
    MeterArray,
    Object,
    Op,
    Primitive,
    cells_of,
    standard_field,
)
from esa.switch.compiler.values import TooWideError, Value, indented, literal

DROP_PORT = 511
# Primitives whose first argument is written.
WRITERS = {"assign", "register_read", "modify_field_with_hash_based_offset", "modify_field_rng_uniform"}


def written(primitive: Primitive) -> Field | None:
    """The field that a primitive overwrites, if it overwrites exactly one."""
    if primitive.op in WRITERS and isinstance(primitive.args[0], Field):
        return primitive.args[0]
    return None


def reads(primitive: Primitive) -> list[Expr]:
    """The leaves that a primitive reads."""
    skip = 1 if written(primitive) is not None else 0
    return [leaf for arg in primitive.args[skip:] for leaf in leaves_of(arg)]


def register_of(primitive: Primitive) -> str:
    """The register array that a register_read or register_write names."""
    array = primitive.args[1 if primitive.op == "register_read" else 0]
    assert isinstance(array, Object)
    return array.name


def index_of(primitive: Primitive) -> Expr:
    """The index that it names."""
    return primitive.args[2 if primitive.op == "register_read" else 1]


def register_value(code: str, bits: int, wide: bool) -> Value:
    """What the memory cell `code` of a register of this width holds."""
    return Value(code if wide else f"np.int64({code})", 0, (1 << bits) - 1)


def _destination(scope: Scope, target: Expr) -> tuple[str, FieldType]:
    """The text of an lvalue, and its type."""
    if isinstance(target, Field):
        kind = scope.program.field_type(target)
        if kind.varbit:
            raise scope.refuse(f"{target.header}.{target.name} is a varbit, which takes the value of a varbit alone")
        return scope.place_or_half(target), kind
    if isinstance(target, LastField):
        kind = scope.program.field_type(Field(scope.program.stacks[target.stack][0], target.name))
        return f"f[{scope.last_cell(target)}]", kind
    if isinstance(target, Op) and target.op == "access_field":
        cell, kind = scope.element_cell(target)
        return f"f[{cell}]", kind
    raise scope.refuse(f"{target!r} cannot be assigned to")


def store(scope: Scope, target: Expr, value: Value) -> list[str]:
    """Lines that store a ready value."""
    place, kind = _destination(scope, target)
    bits, signed = kind.bits, kind.signed
    if bits > 64:
        return [scope.wide_store_value(place[2:-1], bits, signed, value)]
    _check_half(scope, target, value)
    lo, hi = (-(1 << (bits - 1)) if signed else 0), (1 << bits) - 1
    if kind.saturating:
        value = scope.saturated(value, lo, (1 << (bits - signed)) - 1)
    code = value.code
    if value.lo < lo or value.hi > hi:
        if signed:
            code = code if bits == 64 else scope.call("keep_signed", code, str(bits))
        elif bits < 64:
            code = f"{code} & {literal(hi)}"
    return [f"{place} = {code}"]


def _check_half(scope: Scope, target: Expr, value: Value) -> None:
    if isinstance(target, Field) and target in scope.layout.halves:
        kind = scope.program.field_type(target)
        if not fits(kind, value.lo, value.hi):
            raise NotHalvedError(target.header)


def _assign(scope: Scope, args: Sequence[Expr]) -> list[str]:
    target = args[0]
    place, kind = _destination(scope, target)
    value: Expr = args[1]
    if scope.is_boolean(value) and kind.bits <= 64:
        return [f"{place} = 1 if {scope.boolean(value)} else 0"]
    if kind.saturating and not scope.is_boolean(value):
        value = Op("sat_cast" if kind.signed else "usat_cast", value, Const(kind.bits))
    if kind.bits > 64:
        return [scope.wide_store(place[2:-1], kind.bits, kind.signed, value)]
    if target in scope.layout.halves:
        with suppress(TooWideError):  # of a wider number, as many bits as the field has are kept
            _check_half(scope, target, scope.exact(value))
    return [f"{place} = {scope.cut(value, kind.bits, kind.signed)}"]


def _assign_varbit(scope: Scope, args: Sequence[Expr]) -> list[str]:
    """A varbit takes value and width of another."""
    target, source = args
    if not isinstance(target, Field) or not isinstance(source, Field):
        raise scope.refuse("a varbit is assigned, and not one of a header to one of a header")
    kinds = [scope.program.field_type(field) for field in (target, source)]
    if not kinds[0].varbit or not kinds[1].varbit or kinds[0].bits != kinds[1].bits:
        raise scope.refuse(f"{target.header}.{target.name} is no varbit of the kind of {source.header}.{source.name}")
    to, of = scope.cell(target), scope.cell(source)
    return [f"f[{to} + {k}] = f[{of} + {k}]" for k in range(kinds[0].words)]


def register_lines(scope: Scope, primitive: Primitive, memory: str, cell: str) -> list[str]:
    """Lines that read or write the register cell that lies at word `cell` of `memory`."""
    array = register_of(primitive)
    place, bits = scope.layout.registers[array], scope.program.registers[array].bits
    if bits > 64:
        return _wide_register(scope, primitive, bits, cell)
    if primitive.op == "register_read":
        return store(scope, primitive.args[0], register_value(f"{memory}[{cell}]", bits, place.wide))
    return [f"{memory}[{cell}] = {scope.cut(primitive.args[2], bits, False)}"]


def _wide_register(scope: Scope, primitive: Primitive, bits: int, cell: str) -> list[str]:
    if primitive.op == "register_write":
        value = scope.modular(primitive.args[2], cells_of(bits))
        return [scope.wide_call("wide_keep", "m64", cell, str(bits), "f", value)]
    value = scope.fetched(cell, bits)
    place, kind = _destination(scope, primitive.args[0])
    if kind.saturating:
        value = scope.wide_saturated(value, kind.bits, kind.signed)
    if kind.bits > 64:
        return [scope.wide_store_value(place[2:-1], kind.bits, kind.signed, value)]
    return store(scope, primitive.args[0], Value(f"f[{value.code}]", 0, min(value.hi, (1 << 64) - 1)))


def _register_primitive(scope: Scope, primitive: Primitive) -> list[str]:
    array = register_of(primitive)
    place, register = scope.layout.registers[array], scope.program.registers[array]
    index = scope.exact(index_of(primitive))
    offset = scope.constant(identifier(array).upper(), place.offset)
    lane = scope.strides.get(Object("register_array", array), 0)
    lane_text = "" if lane == 0 else f" + {lane} * i"
    memory = "m64" if place.wide else "m32"
    checked = not (index.lo >= 0 and index.hi < register.size)
    name = "index" if checked else index.code
    cell = f"{memory}[{offset} + {f'{place.stride} * ' if place.stride != 1 else ''}{name}{lane_text}]"
    lines = register_lines(scope, primitive, memory, cell[len(memory) + 1 : -1])
    if not checked:
        return lines
    return [f"index = {index.code}", f"if 0 <= index < {register.size}:", *indented(lines)]


def _count(scope: Scope, args: Sequence[Expr]) -> list[str]:
    array = args[0]
    assert isinstance(array, Object)
    counter = scope.program.counters[array.name]
    if counter.direct:
        return []
    offset = scope.constant(identifier(array.name).upper(), scope.layout.counters[array.name])
    index = scope.exact(args[1])
    name = index.code if index.lo == index.hi else "index"
    add = [
        f"m64[{offset} + {name}] += 1",
        f"m64[{offset} + {counter.size} + {name}] += {scope.hidden('INGRESS_LENGTH')}",
    ]
    if index.lo == index.hi:
        return add if 0 <= index.lo < counter.size else []
    if index.lo >= 0 and index.hi < counter.size:
        return [f"index = {index.code}", *add]
    return [f"index = {index.code}", f"if 0 <= index < {counter.size}:", *indented(add)]


def meter_call(scope: Scope, meter: MeterArray, cell: str) -> Value:
    """The colour that the meter whose words start at `cell` gives the packet in hand."""
    size = scope.hidden("INGRESS_LENGTH")
    amount = "1" if meter.unit == "packets" else size
    assert scope.layout.clock is not None
    now = f"m64[{scope.constant('CLOCK', scope.layout.clock)}]"
    return Value(scope.call("meter", "m64", cell, now, size, amount), 0, 2)


def _execute_meter(scope: Scope, args: Sequence[Expr]) -> list[str]:
    array = args[0]
    assert isinstance(array, Object)
    meter = scope.program.meters[array.name]
    if meter.direct:
        raise scope.refuse(f"execute_meter of the direct meter {meter.name}")
    offset = scope.constant(identifier(meter.name).upper(), scope.layout.meters[meter.name])
    index = scope.exact(args[1])
    lines = store(scope, args[2], meter_call(scope, meter, f"{offset} + {METER_WORDS} * index"))
    return [f"index = {index.code}", f"if 0 <= index < {meter.size}:", *indented(lines)]


def _hash(scope: Scope, args: Sequence[Expr]) -> list[str]:
    calculation = args[2]
    assert isinstance(calculation, Object)
    base, size = scope.exact(args[1]).code, scope.exact(args[3]).code
    if scope.program.calculations[calculation.name].payload:
        raise scope.refuse(f"a hash over the payload ({calculation.name}) inside an action")
    function = f"hash_{identifier(calculation.name)}(f)"
    value = Value(scope.call("hash_offset", function, base, size), 0, (1 << 64) - 1)
    return store(scope, args[0], value)


def _random(scope: Scope, args: Sequence[Expr]) -> list[str]:
    place, kind = _destination(scope, args[0])
    if kind.bits > 64:
        raise TooWideError
    low, high = scope.exact(args[1]).code, scope.exact(args[2]).code
    state = scope.constant("RANDOM", scope.layout.random)
    value = scope.call("random_between", "m64", state, low, high, place)
    return store(scope, args[0], Value(value, 0, (1 << 64) - 1))


def _drop(scope: Scope, args: Sequence[Expr]) -> list[str]:
    """In the header that is given, which may be a copy of the standard metadata; P4_14's drop() is given none."""
    header = header_ref(scope, args[0]).name if args else STANDARD
    if header is None:
        raise scope.refuse("mark_to_drop of metadata chosen at run time")
    port = Field(header, "egress_spec")
    if port not in scope.layout.cells:
        raise scope.refuse(f"mark_to_drop of {header}, which has no field egress_spec")
    lines = store(scope, port, Value(str(DROP_PORT), DROP_PORT, DROP_PORT))
    group = standard_field(scope.program, "mcast_grp") if header == STANDARD else Field(header, "mcast_grp")
    if group in scope.layout.cells:
        lines += store(scope, group, Value("0", 0, 0))
    return lines


def _field_list(scope: Scope, expr: Expr) -> str:
    assert isinstance(expr, Const)
    if expr.value not in scope.program.field_lists and expr.value != 0:
        raise scope.refuse(f"field list {expr.value} is not declared")
    return str(expr.value)


def emit(scope: Scope, primitive: Primitive) -> list[str]:
    """The lines of one primitive. Raises UnsupportedError with its place in the source."""
    op, args = primitive.op, primitive.args
    try:
        return _emit(scope, primitive, op, args)
    except TooWideError:
        raise scope.refuse(f"{op} of a number of more than 64 bits") from None


def _emit(scope: Scope, primitive: Primitive, op: str, args: Sequence[Expr]) -> list[str]:
    if op in ("assign", "set", "modify_field"):
        return _assign(scope, args)
    if op == "assign_VL":
        return _assign_varbit(scope, args)
    if op in ("register_read", "register_write"):
        return _register_primitive(scope, primitive)
    if op == "count":
        return _count(scope, args)
    if op == "generate_digest":
        number = args[1]
        if not isinstance(number, Const) or number.value not in scope.program.digests:
            raise scope.refuse(f"generate_digest of {number!r}, which is no digest")
        return [f"{scope.hidden('DIGEST')} = {number.value}"]
    if op == "execute_meter":
        return _execute_meter(scope, args)
    if op in ("mark_to_drop", "drop"):
        return _drop(scope, args)
    if op in HEADER_PRIMITIVES:
        return header_primitive(scope, op, args)
    if op == "modify_field_with_hash_based_offset":
        return _hash(scope, args)
    if op == "modify_field_rng_uniform":
        return _random(scope, args)
    if op == "exit":
        return [f"{scope.hidden('EXIT')} = 1"]
    if op in ("assert", "assume"):
        test = scope.truth(args[0])
        return [f"if not {test}:", *indented([f"{scope.hidden('FAILED')} = 1"])]
    if op == "log_msg":
        return log_lines(scope, args)
    if op == "no_op":
        return []
    if op == "truncate":
        limit, length = scope.hidden("TRUNCATE"), scope.exact(args[0])
        if length.lo < 0 or length.unsigned:
            raise scope.refuse("truncate to a length that may be negative or huge")
        return [f"{limit} = min({limit}, {length.code})"]
    if op in ("clone_ingress_pkt_to_egress", "clone_egress_pkt_to_egress"):
        session = f"({scope.exact(args[0]).code} & 0x7fff) | 0x8000"
        return [f"{scope.hidden('CLONE')} = {session}", f"{scope.hidden('CLONE_LIST')} = {_field_list(scope, args[1])}"]
    if op in ("resubmit", "recirculate"):
        return [f"{scope.hidden(op.upper())} = {_field_list(scope, args[0])}"]
    raise scope.refuse(f"primitive {op!r} is not supported")
