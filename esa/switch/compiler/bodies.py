"""Action bodies: primitives one after another, jumps as if statements, runs of primitives as loops over the lanes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from esa.switch.compiler.expressions import Scope
from esa.switch.compiler.lanes import Run, leaves_of
from esa.switch.compiler.layout import identifier
from esa.switch.compiler.primitives import emit, index_of, register_lines, register_of, written
from esa.switch.compiler.program import Const, Field, Object, Param, Primitive
from esa.switch.compiler.trace_gen import traced
from esa.switch.compiler.values import TooWideError, Value, indented
from esa.switch.errors import UnsupportedError

MIN_VECTORS = 16  # passes of a loop that LLVM shall not write out


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
            inner = replace(scope, where=primitive.where or scope.where)
            lines += traced(inner, primitive, emit(inner, primitive))
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
    test = scope.told(primitives[at], scope.truth(condition))
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
    count = str(run.count)
    head = f"for i in range({count if run.count < MIN_VECTORS else scope.call('lanes', count)}):"
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
            array = register_of(primitive)
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


def _common_index(scope: Scope, passed: Sequence[Primitive], run: Run) -> tuple[Value, int] | None:
    """The one row that every register access of the run names, and the number of rows; None if there is no such."""
    accesses = [p for p in passed if p.op in ("register_read", "register_write")]
    if not accesses or any(p.op.startswith("_jump") for p in passed):
        return None
    index = index_of(accesses[0])
    sizes = {scope.program.registers[register_of(p)].size for p in accesses}
    changed = {written(p) for p in passed}
    for leaf in leaves_of(index):
        if not isinstance(leaf, (Field, Const, Param)):
            return None
        if isinstance(leaf, Field) and (leaf in changed or run.strides.get(leaf, 0) != 0):
            return None
    if any(index_of(p) != index for p in accesses) or len(sizes) != 1:
        return None
    try:
        return scope.exact(index), sizes.pop()
    except TooWideError:
        return None


def _register_in_row(scope: Scope, primitive: Primitive, at: str) -> list[str]:
    array = register_of(primitive)
    place = scope.layout.registers[array]
    stride = scope.strides.get(Object("register_array", array), 0)
    cell = at if stride == 0 else f"{at} + i" if stride == 1 else f"{at} + {stride} * i"
    memory = "m64" if place.wide else "m32"
    return register_lines(scope, primitive, memory, cell)
