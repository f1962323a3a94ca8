"""Action bodies: each primitive as lines of Python, each run of primitives as one loop over the lanes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from esa.switch.compiler.expressions import Scope, TooWideError, Value, literal
from esa.switch.compiler.lanes import Run, leaves_of
from esa.switch.compiler.layout import identifier
from esa.switch.compiler.program import Const, Expr, Field, LastField, Object, Op, Param, Primitive
from esa.switch.errors import UnsupportedError

DROP_PORT = 511
INDENT = "    "
# Primitives whose first argument is written.
WRITERS = {"assign", "register_read", "modify_field_with_hash_based_offset", "modify_field_rng_uniform"}


def indented(lines: Sequence[str], by: int = 1) -> list[str]:
    """`lines`, moved to the right."""
    return [INDENT * by + line for line in lines]


def written(primitive: Primitive) -> Field | None:
    """The field that a primitive overwrites, if it overwrites exactly one."""
    if primitive.op in WRITERS and isinstance(primitive.args[0], Field):
        return primitive.args[0]
    return None


def reads(primitive: Primitive) -> list[Expr]:
    """The leaves that a primitive reads."""
    skip = 1 if written(primitive) is not None else 0
    return [leaf for arg in primitive.args[skip:] for leaf in leaves_of(arg)]


def body(
    scope: Scope, primitives: Sequence[Primitive], runs: Sequence[Run], locals_of: Callable[[Run], set[Field]]
) -> list[str]:
    """The lines of an action."""
    return _block(scope, primitives, runs, locals_of, 0, len(primitives))


def _block(
    scope: Scope,
    primitives: Sequence[Primitive],
    runs: Sequence[Run],
    locals_of: Callable[[Run], set[Field]],
    at: int,
    end: int,
) -> list[str]:
    lines: list[str] = []
    starts = {run.start: run for run in runs}
    while at < end:
        primitive = primitives[at]
        run = starts.get(at)
        if run is not None and run.end <= end:
            lines += _loop(scope, primitives, run, locals_of(run))
            at = run.end
        elif primitive.op == "_jump_if_zero":
            more, at = _branch(scope, primitives, runs, locals_of, at, end)
            lines += more
        elif primitive.op == "_jump":
            raise UnsupportedError(f"{primitive.where}: a jump that is no if statement")
        else:
            lines += emit(replace(scope, where=primitive.where or scope.where), primitive)
            at += 1
    return lines


def _target(primitive: Primitive) -> int:
    target = primitive.args[-1]
    assert isinstance(target, Const)
    return target.value


def _branch(
    scope: Scope,
    primitives: Sequence[Primitive],
    runs: Sequence[Run],
    locals_of: Callable[[Run], set[Field]],
    at: int,
    end: int,
) -> tuple[list[str], int]:
    """The if statement that p4c turned into jumps; where it ends."""
    condition, after = primitives[at].args[0], _target(primitives[at])
    scope = replace(scope, where=primitives[at].where or scope.where)
    test = scope.truth(condition)
    last = primitives[after - 1] if after - 1 > at else None
    if not at < after <= end:
        raise scope.refuse("a jump that is no if statement")
    otherwise: list[str] = []
    stop = after
    if last is not None and last.op == "_jump" and after <= _target(last) <= end:
        after -= 1
        otherwise = _block(scope, primitives, runs, locals_of, stop, _target(last))
        stop = _target(last)
    then = _block(scope, primitives, runs, locals_of, at + 1, after)
    lines = [f"if {test}:", *indented(then or ["pass"])]
    if otherwise:
        lines += ["else:", *indented(otherwise)]
    return lines, stop


# --- loops over lanes -----------------------------------------------------------------------------------------------


def _loop(scope: Scope, primitives: Sequence[Primitive], run: Run, local_fields: set[Field]) -> list[str]:
    """One run as a loop; the register row is looked up and checked once, before it."""
    passed = primitives[run.start : run.start + run.period]
    names = {target: _local_name(scope, target) for target in sorted(local_fields, key=str)}
    inner = replace(scope, strides=run.strides, locals=names)
    index = _common_index(scope, passed, run)
    head = f"for i in range({run.count}):"
    if index is None:
        lines = [f"{name} = 0" for name in names.values()]
        lines += _pass(inner, passed, run.start)
        return [head, *indented(lines)]
    value, size = index
    lines = [f"row = {value.code}"]
    rows: dict[str, str] = {}
    inside: list[str] = []
    for primitive in passed:
        if primitive.op in ("register_read", "register_write"):
            array = _register_of(primitive)
            if array not in rows:
                rows[array] = "at" if not rows else f"at_{len(rows)}"
                place = scope.layout.registers[array]
                offset = scope.constant(identifier(array).upper(), place.offset)
                lines.append(
                    f"{rows[array]} = {offset} + {place.stride} * row"
                    if place.stride != 1
                    else f"{rows[array]} = {offset} + row"
                )
            inside += _register_in_row(inner, primitive, rows[array])
        else:
            inside += _pass(inner, [primitive])
    if value.lo >= 0 and value.hi < size:
        return [*lines, head, *indented(inside)]
    outside = [f"{name} = 0" for name in names.values()]
    rest = [p for p in passed if p.op not in ("register_read", "register_write")]
    guarded = [lines[0], f"if 0 <= row < {size}:", *indented([*lines[1:], head]), *indented(inside, 2)]
    if rest:
        guarded += ["else:", *indented([head]), *indented([*outside, *_pass(inner, rest)], 2)]
    return guarded


def _pass(scope: Scope, primitives: Sequence[Primitive], start: int = 0) -> list[str]:
    """The lines of one pass of a run that began at primitive `start`, which jumps inside it refer to."""
    moved = [
        replace(p, args=(*p.args[:-1], Const(_target(p) - start))) if p.op.startswith("_jump") else p
        for p in primitives
    ]
    return _block(scope, moved, [], lambda run: set(), 0, len(moved))


def _local_name(scope: Scope, target: Field) -> str:
    return "_" + identifier(scope.layout.cell_names[scope.layout.cells[target]]).lower()


def _register_of(primitive: Primitive) -> str:
    array = primitive.args[1 if primitive.op == "register_read" else 0]
    assert isinstance(array, Object)
    return array.name


def _index_of(primitive: Primitive) -> Expr:
    return primitive.args[2 if primitive.op == "register_read" else 1]


def _common_index(scope: Scope, passed: Sequence[Primitive], run: Run) -> tuple[Value, int] | None:
    """The one row that every register access of the run names, and the number of rows; None if there is no such."""
    accesses = [p for p in passed if p.op in ("register_read", "register_write")]
    if not accesses or any(p.op.startswith("_jump") for p in passed):
        return None
    index = _index_of(accesses[0])
    sizes = {scope.program.registers[_register_of(p)].size for p in accesses}
    changed = {written(p) for p in passed}
    for leaf in leaves_of(index):
        if not isinstance(leaf, (Field, Const, Param)):
            return None
        if isinstance(leaf, Field) and (leaf in changed or run.strides.get(leaf, 0) != 0):
            return None
    if any(_index_of(p) != index for p in accesses) or len(sizes) != 1:
        return None
    try:
        return scope.exact(index), sizes.pop()
    except TooWideError:
        return None


def _register_in_row(scope: Scope, primitive: Primitive, at: str) -> list[str]:
    array = _register_of(primitive)
    place, register = scope.layout.registers[array], scope.program.registers[array]
    stride = scope.strides.get(Object("register_array", array), 0)
    cell = at if stride == 0 else f"{at} + i" if stride == 1 else f"{at} + {stride} * i"
    memory = "m64" if place.wide else "m32"
    if primitive.op == "register_read":
        return _store(scope, primitive.args[0], _register_value(f"{memory}[{cell}]", register.bits, place.wide))
    return [f"{memory}[{cell}] = {scope.cut(primitive.args[2], register.bits, False)}"]


# --- single primitives ----------------------------------------------------------------------------------------------


def _register_value(code: str, bits: int, wide: bool) -> Value:
    return Value(code if wide else f"np.int64({code})", 0, (1 << bits) - 1)


def _destination(scope: Scope, target: Expr) -> tuple[str, int, bool]:
    """The text of an lvalue, its bits, whether it is signed."""
    if isinstance(target, Field):
        kind = scope.program.field_type(target)
        return scope.place(target), kind.bits, kind.signed
    if isinstance(target, LastField):
        kind = scope.program.field_type(Field(scope.program.stacks[target.stack][0], target.name))
        return f"f[{scope.last_cell(target)}]", kind.bits, kind.signed
    if isinstance(target, Op) and target.op == "access_field":
        cell, bits, signed = scope.element_cell(target)
        return f"f[{cell}]", bits, signed
    raise scope.refuse(f"{target!r} cannot be assigned to")


def _store(scope: Scope, target: Expr, value: Value) -> list[str]:
    """Lines that store a ready value."""
    place, bits, signed = _destination(scope, target)
    lo, hi = (-(1 << (bits - 1)) if signed else 0), (1 << bits) - 1
    code = value.code
    if value.lo < lo or value.hi > hi:
        if signed:
            code = code if bits == 64 else scope.call("keep_signed", code, str(bits))
        elif bits < 64:
            code = f"{code} & {literal(hi)}"
    return [f"{place} = {code}"]


def _assign(scope: Scope, args: Sequence[Expr]) -> list[str]:
    place, bits, signed = _destination(scope, args[0])
    if scope.is_boolean(args[1]):
        return [f"{place} = 1 if {scope.boolean(args[1])} else 0"]
    return [f"{place} = {scope.cut(args[1], bits, signed)}"]


def _header(scope: Scope, expr: Expr) -> str:
    if isinstance(expr, Object) and expr.kind == "header":
        return expr.name
    if isinstance(expr, Op) and expr.op == "dereference_header_stack":
        assert isinstance(expr.left, Object)
        if isinstance(expr.right, Const):
            return scope.program.stacks[expr.left.name][expr.right.value]
        raise scope.refuse(f"header stack {expr.left.name} with an index known only at run time")
    raise scope.refuse(f"{expr!r} is not a header")


def _first_cell(scope: Scope, header: str) -> str:
    return scope.cell(Field(header, scope.program.headers[header].fields[0].name))


def _valid(scope: Scope, header: str) -> str:
    return scope.place(Field(header, "$valid$"))


def _copy_header(scope: Scope, target: str, source: str) -> list[str]:
    fields = len(scope.program.headers[target].fields)
    return [scope.call("copy_header", "f", _first_cell(scope, target), _first_cell(scope, source), str(fields))]


def _header_primitive(scope: Scope, op: str, args: Sequence[Expr]) -> list[str]:
    name = _header(scope, args[0])
    header = scope.program.headers[name]
    if op == "assign_header":
        return _copy_header(scope, name, _header(scope, args[1]))
    length = scope.hidden("LENGTH")
    if op == "add_header":
        clear = scope.call("clear_cells", "f", _first_cell(scope, name), str(len(header.fields)))
        return [f"if {_valid(scope, name)} == 0:",
                *indented([clear, f"{_valid(scope, name)} = 1", f"{length} = {length} + {header.bytes}"])]  # fmt: skip
    return [f"if {_valid(scope, name)} != 0:",
            *indented([f"{_valid(scope, name)} = 0", f"{length} = {length} - {header.bytes}"])]  # fmt: skip


def _stack_primitive(scope: Scope, op: str, args: Sequence[Expr]) -> list[str]:
    stack = args[0]
    assert isinstance(stack, Object)
    members = scope.program.stacks[stack.name]
    first = _first_cell(scope, members[0])
    width = len(scope.program.headers[members[0]].fields) + 1
    following = scope.constant(
        scope.layout.cell_names[scope.layout.stack_next[stack.name]], scope.layout.stack_next[stack.name]
    )
    if op == "assign_header_stack":
        source = args[1]
        assert isinstance(source, Object)
        lines: list[str] = []
        for one, other in zip(members, scope.program.stacks[source.name], strict=True):
            lines += _copy_header(scope, one, other)
        return [*lines, f"f[{following}] = f[{scope.layout.stack_next[source.name]}]"]
    helper = "push_stack" if op == "push" else "pop_stack"
    count = scope.exact(args[1])
    if count.lo < 0 or count.hi > 1 << 32:
        raise scope.refuse(f"{op} by a number that may be negative or huge")
    return [scope.call(helper, "f", first, str(width), str(len(members)), following, count.code)]


def _register_primitive(scope: Scope, primitive: Primitive) -> list[str]:
    array = _register_of(primitive)
    place, register = scope.layout.registers[array], scope.program.registers[array]
    index = scope.exact(_index_of(primitive))
    offset = scope.constant(identifier(array).upper(), place.offset)
    lane = scope.strides.get(Object("register_array", array), 0)
    lane_text = "" if lane == 0 else f" + {lane} * i"
    memory = "m64" if place.wide else "m32"
    checked = not (index.lo >= 0 and index.hi < register.size)
    name = "index" if checked else index.code
    cell = f"{memory}[{offset} + {f'{place.stride} * ' if place.stride != 1 else ''}{name}{lane_text}]"
    if primitive.op == "register_read":
        lines = _store(scope, primitive.args[0], _register_value(cell, register.bits, place.wide))
    else:
        lines = [f"{cell} = {scope.cut(primitive.args[2], register.bits, False)}"]
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


def _hash(scope: Scope, args: Sequence[Expr]) -> list[str]:
    calculation = args[2]
    assert isinstance(calculation, Object)
    base, size = scope.exact(args[1]).code, scope.exact(args[3]).code
    if scope.program.calculations[calculation.name].payload:
        raise scope.refuse(f"a hash over the payload ({calculation.name}) inside an action")
    function = f"hash_{identifier(calculation.name)}(f)"
    value = Value(scope.call("hash_offset", function, base, size), 0, (1 << 64) - 1)
    return _store(scope, args[0], value)


def _random(scope: Scope, args: Sequence[Expr]) -> list[str]:
    place = _destination(scope, args[0])[0]
    low, high = scope.exact(args[1]).code, scope.exact(args[2]).code
    state = scope.constant("RANDOM", scope.layout.random)
    value = scope.call("random_between", "m64", state, low, high, place)
    return _store(scope, args[0], Value(value, 0, (1 << 64) - 1))


def _drop(scope: Scope) -> list[str]:
    lines = [f"{scope.place(Field('standard_metadata', 'egress_spec'))} = {DROP_PORT}"]
    group = Field("standard_metadata", "mcast_grp")
    if group in scope.layout.cells:
        lines.append(f"{scope.place(group)} = 0")
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
    if op in ("register_read", "register_write"):
        return _register_primitive(scope, primitive)
    if op == "count":
        return _count(scope, args)
    if op in ("mark_to_drop", "drop"):
        return _drop(scope)
    if op in ("assign_header", "add_header", "remove_header"):
        return _header_primitive(scope, op, args)
    if op in ("push", "pop", "assign_header_stack"):
        return _stack_primitive(scope, op, args)
    if op == "modify_field_with_hash_based_offset":
        return _hash(scope, args)
    if op == "modify_field_rng_uniform":
        return _random(scope, args)
    if op == "exit":
        return [f"{scope.hidden('EXIT')} = 1"]
    if op in ("assert", "assume"):
        test = scope.truth(args[0])
        return [f"if not {test}:", *indented([f"{scope.hidden('FAILED')} = 1"])]
    if op in ("log_msg", "no_op"):
        return []
    if op == "truncate":
        limit = scope.hidden("TRUNCATE")
        return [f"{limit} = min({limit}, {scope.exact(args[0]).code})"]
    if op in ("clone_ingress_pkt_to_egress", "clone_egress_pkt_to_egress"):
        session = f"({scope.exact(args[0]).code} & 0x7fff) | 0x8000"
        return [f"{scope.hidden('CLONE')} = {session}", f"{scope.hidden('CLONE_LIST')} = {_field_list(scope, args[1])}"]
    if op in ("resubmit", "recirculate"):
        return [f"{scope.hidden(op.upper())} = {_field_list(scope, args[0])}"]
    raise scope.refuse(f"primitive {op!r} is not supported")


__all__ = ["body", "emit", "indented", "reads", "written"]
