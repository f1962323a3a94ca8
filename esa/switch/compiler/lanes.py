"""Find runs: stretches of primitives that repeat with nothing but the lane number changed, so that they become loops.

A run of period p and count n is n * p primitives in which primitive i + p differs from primitive i only in which field
and which register array it names, each by a constant distance. The loop executes them in the original order, so no
dependence between lanes can be broken.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from esa.switch.compiler.program import Const, Expr, Field, Object, Op, Primitive, Program

MAX_PERIOD = 24
MIN_COUNT = 4

Leaf = Field | Object
Shape = tuple[object, ...]


@dataclass(frozen=True)
class Run:
    """Primitives start .. start + period * count; strides: how far each leaf of the first pass moves per lane."""

    start: int
    period: int
    count: int
    strides: Mapping[Leaf, int]

    @property
    def end(self) -> int:
        """The first primitive after the run."""
        return self.start + self.period * self.count


def _shape(expr: Expr | None, program: Program, leaves: list[Leaf]) -> Shape:
    """What stays the same from lane to lane; what may change is appended to `leaves`."""
    if expr is None:
        return ()
    if isinstance(expr, Field) and expr.name != "$valid$" and program.field_type(expr).words == 1:
        leaves.append(expr)
        kind = program.field_type(expr)
        return ("field", kind.bits, kind.signed, kind.saturating, program.headers[expr.header].metadata)
    if isinstance(expr, Object) and expr.kind == "register_array" and program.registers[expr.name].bits <= 64:
        leaves.append(expr)
        register = program.registers[expr.name]
        return ("register", register.bits, register.size)
    if isinstance(expr, Op):
        return (
            expr.op,
            _shape(expr.left, program, leaves),
            _shape(expr.right, program, leaves),
            _shape(expr.condition, program, leaves),
        )
    return (expr,)


def _signatures(primitives: Sequence[Primitive], program: Program) -> list[tuple[Shape, list[Leaf]]]:
    out: list[tuple[Shape, list[Leaf]]] = []
    for at, primitive in enumerate(primitives):
        leaves: list[Leaf] = []
        args = list(primitive.args)
        if primitive.op in ("_jump", "_jump_if_zero"):
            # Targets are absolute; what repeats is the distance.
            target = args[-1]
            assert isinstance(target, Const)
            args[-1] = Const(target.value - at)
        shape: Shape = (primitive.op, *(_shape(arg, program, leaves) for arg in args))
        out.append((shape, leaves))
    return out


def _count_same_shape(shapes: list[Shape], start: int, period: int) -> int:
    count = 1
    while shapes[start + count * period : start + (count + 1) * period] == shapes[start : start + period]:
        count += 1
    return count


def _count_affine(
    leaves: list[list[Leaf]], start: int, period: int, limit: int, position: Callable[[Leaf], int]
) -> tuple[int, dict[Leaf, int]]:
    """How many passes have every leaf at a constant distance from the pass before, and the distances."""

    def at(number: int) -> list[int]:
        first = start + number * period
        return [position(leaf) for row in leaves[first : first + period] for leaf in row]

    base = at(0)
    names = [leaf for row in leaves[start : start + period] for leaf in row]
    previous, steps, count = base, [b - a for a, b in zip(base, at(1), strict=True)], 1
    strides: dict[Leaf, int] = {}
    for name, step in zip(names, steps, strict=True):
        if strides.setdefault(name, step) != step:  # one name, moving in one place and fixed in another
            return 1, {}
    while count < limit:
        here = at(count)
        if any(b - a != step for a, b, step in zip(previous, here, steps, strict=True)):
            break
        previous, count = here, count + 1
    return count, strides


def find_runs(primitives: Sequence[Primitive], program: Program, position: Callable[[Leaf], int]) -> list[Run]:
    """The runs of an action, longest first at each place, none overlapping; `position` numbers fields and registers."""
    if len(primitives) < MIN_COUNT:
        return []
    signatures = _signatures(primitives, program)
    shapes, leaves = [s for s, _ in signatures], [names for _, names in signatures]
    runs, start = [], 0
    while start < len(primitives):
        best: Run | None = None
        for period in range(1, MAX_PERIOD + 1):
            limit = _count_same_shape(shapes, start, period)
            if limit < MIN_COUNT:
                continue
            count, strides = _count_affine(leaves, start, period, limit, position)
            if count >= MIN_COUNT and (best is None or count * period > best.period * best.count):
                best = Run(start, period, count, strides)
        if best is not None and _closed(primitives, best) and any(best.strides.values()):
            runs.append(best)
            start = best.end
        else:
            start += 1
    return runs


def _closed(primitives: Sequence[Primitive], run: Run) -> bool:
    """Whether no jump leaves a pass of the run, and none from outside lands in it."""
    for at, primitive in enumerate(primitives):
        if primitive.op not in ("_jump", "_jump_if_zero"):
            continue
        target = primitive.args[-1]
        assert isinstance(target, Const)
        inside = run.start <= at < run.end
        if inside:
            first = at - (at - run.start) % run.period
            if not at < target.value <= first + run.period:
                return False
        elif run.start < target.value < run.end:
            return False
    return True


def families(programs: Sequence[Sequence[Primitive]], program: Program) -> list[list[Leaf]]:
    """Metadata fields and registers that take each other's place from lane to lane, in lane order.

    Laid out side by side they make the runs affine, whatever order the compiler declared them in.
    """
    out: list[list[Leaf]] = []
    for primitives in programs:
        signatures = _signatures(primitives, program)
        shapes, leaves = [s for s, _ in signatures], [names for _, names in signatures]
        start = 0
        while start < len(primitives):
            count, period = max(
                ((_count_same_shape(shapes, start, p) * p >= MIN_COUNT * p and _count_same_shape(shapes, start, p), p)
                 for p in range(1, MAX_PERIOD + 1)),
                key=lambda found: (found[0] * found[1], -found[1]),
            )  # fmt: skip
            if count < MIN_COUNT:
                start += 1
                continue
            for row in range(period):
                passes = [leaves[start + number * period + row] for number in range(count)]
                for column in zip(*passes, strict=True):
                    moves = isinstance(column[0], Object) or program.headers[column[0].header].metadata
                    if moves and len(set(column)) == count:
                        out.append(list(column))
            start += count * period
    return out


def leaves_of(expr: Expr | None) -> list[Expr]:
    """Every leaf of an expression, in the order of evaluation."""
    if expr is None:
        return []
    if isinstance(expr, Op):
        return [*leaves_of(expr.condition), *leaves_of(expr.left), *leaves_of(expr.right)]
    return [expr]
