"""Primitives on whole headers, unions, and stacks of both: each as lines of Python."""

from __future__ import annotations

from collections.abc import Sequence

from esa.switch.compiler.expressions import Scope
from esa.switch.compiler.header_refs import HeaderRef, header_ref
from esa.switch.compiler.program import Expr, Field, Object
from esa.switch.compiler.values import Value, indented

_OF_HEADERS = {"assign_header", "add_header", "remove_header"}
_OF_UNIONS = {"assign_union", "assign_union_stack"}
HEADER_PRIMITIVES = {*_OF_HEADERS, *_OF_UNIONS, "push", "pop", "assign_header_stack"}


def header_primitive(scope: Scope, op: str, args: Sequence[Expr]) -> list[str]:
    """The lines of one of HEADER_PRIMITIVES. Raises UnsupportedError for what its operands cannot be."""
    if op in _OF_HEADERS:
        return _one_header(scope, op, args)
    if op == "assign_union":
        return _assign_unions(scope, *(_members_of(scope, arg) for arg in args))
    if op == "assign_union_stack":
        return _assign_union_stack(scope, *(_parts_of(scope, arg) for arg in args))
    stack = args[0]
    assert isinstance(stack, Object)
    if op != "assign_header_stack" and stack.kind == "header_union_stack":
        return _shift_unions(scope, op, _parts_of(scope, stack), args[1])
    return _one_stack(scope, op, stack, args)


def _first_cell(scope: Scope, header: str) -> str:
    return header_ref(scope, Object("header", header)).cell


def _valid(scope: Scope, header: str) -> str:
    return scope.place(Field(header, "$valid$"))


def _copy_header(scope: Scope, target: str, source: str) -> list[str]:
    headers = scope.program.headers
    if headers[target].metadata != headers[source].metadata:
        raise scope.refuse(f"{source} is assigned to {target}: one is metadata, the other a header of the packet")
    if headers[target].metadata:  # always valid, and its fields may lie in another order
        names = [each.name for each in headers[target].fields]
        return [line for name in names for line in scope.copied(Field(target, name), Field(source, name))]
    fields = headers[target].words
    return [scope.call("copy_header", "f", _first_cell(scope, target), _first_cell(scope, source), str(fields))]


def _others_invalid(scope: Scope, name: str) -> list[str]:
    return [f"{_valid(scope, other)} = 0" for other in scope.program.beside(name)]


def _one_header(scope: Scope, op: str, args: Sequence[Expr]) -> list[str]:
    target = header_ref(scope, args[0])
    if target.name is None:
        return _chosen_header(scope, op, target, args)
    name, header = target.name, target.header
    if op == "assign_header":
        source = header_ref(scope, args[1])
        if source.header.type_name != header.type_name:
            raise scope.refuse(f"headers of different types are assigned: {name}, {source.header.name}")
        if source.name is not None and (header.metadata or source.header.metadata):
            return _copy_header(scope, name, source.name)
        copied = scope.call("copy_header", "f", target.cell, source.cell, str(header.words))
        others = _others_invalid(scope, name)
        return [copied, *([f"if {_valid(scope, name)} != 0:", *indented(others)] if others else [])]
    if header.metadata:  # always valid, and never in a packet
        if op == "remove_header":
            raise scope.refuse(f"remove_header of {name}, which is metadata")
        return []
    length, size = scope.hidden("LENGTH"), scope.header_bytes(header)
    if op == "add_header":
        clear = scope.call("clear_cells", "f", target.cell, str(header.words))
        done = [clear, f"{_valid(scope, name)} = 1", f"{length} = {length} + {header.bytes}"]
        return [f"if {_valid(scope, name)} == 0:", *indented([*done, *_others_invalid(scope, name)])]
    return [f"if {_valid(scope, name)} != 0:",
            *indented([f"{_valid(scope, name)} = 0", f"{length} = {length} - {size}"])]  # fmt: skip


def _chosen_header(scope: Scope, op: str, target: HeaderRef, args: Sequence[Expr]) -> list[str]:
    """What is done to an element of a stack that the packet chooses."""
    header = target.header
    if op == "assign_header":
        source = header_ref(scope, args[1])
        if source.header.type_name != header.type_name:
            raise scope.refuse(f"headers of different types are assigned: {header.name}, {source.header.name}")
        return [scope.call("copy_header", "f", target.cell, source.cell, str(header.words))]
    if header.varbit is not None:
        raise scope.refuse(f"{op} of an element of a stack with varbits ({header.name}) chosen at run time")
    length, valid, adds = scope.hidden("LENGTH"), f"f[b + {header.words}]", op == "add_header"
    done = [scope.call("clear_cells", "f", "b", str(header.words))] if adds else []
    done += [f"{valid} = {int(adds)}", f"{length} = {length} {'+' if adds else '-'} {header.bytes}"]
    return [f"b = {target.cell}", f"if {valid} {'==' if adds else '!='} 0:", *indented(done)]


# --- stacks ---------------------------------------------------------------------------------------------------------


def _one_stack(scope: Scope, op: str, stack: Object, args: Sequence[Expr]) -> list[str]:
    members = scope.program.stacks[stack.name]
    following = scope.following(stack.name)[2:-1]
    if op == "assign_header_stack":
        source = args[1]
        assert isinstance(source, Object)
        pairs = zip(members, scope.program.stacks[source.name], strict=True)
        lines = [line for one, other in pairs for line in _copy_header(scope, one, other)]
        return [*lines, f"f[{following}] = f[{scope.layout.stack_next[source.name]}]"]
    helper = "push_stack" if op == "push" else "pop_stack"
    return [scope.call(helper, "f", *_words(scope, stack.name), following, _count(scope, op, args[1]).code)]


def _words(scope: Scope, stack: str) -> tuple[str, str, str]:
    """Where a stack's words begin, words of an element, elements."""
    members = scope.program.stacks[stack]
    return _first_cell(scope, members[0]), str(scope.program.headers[members[0]].words + 1), str(len(members))


def _count(scope: Scope, op: str, expr: Expr) -> Value:
    count = scope.exact(expr)
    if count.lo < 0 or count.hi > 1 << 32:
        raise scope.refuse(f"{op} by a number that may be negative or huge")
    return count


# --- unions ---------------------------------------------------------------------------------------------------------


def _members_of(scope: Scope, union: Expr) -> Sequence[str]:
    if not isinstance(union, Object) or union.name not in scope.program.unions:
        raise scope.refuse(f"{union!r} is no header union")
    return scope.program.unions[union.name]


def _parts_of(scope: Scope, stack: Expr) -> Sequence[str]:
    """The stacks of one member each that a stack of unions is."""
    if not isinstance(stack, Object) or stack.name not in scope.program.union_stacks:
        raise scope.refuse(f"{stack!r} is no stack of header unions")
    return scope.program.union_stacks[stack.name]


def _assign_unions(scope: Scope, target: Sequence[str], source: Sequence[str]) -> list[str]:
    if len(target) != len(source):
        raise scope.refuse("header unions of different types are assigned")
    pairs = zip(target, source, strict=True)
    each = [_one_header(scope, "assign_header", [Object("header", name) for name in pair]) for pair in pairs]
    return [line for lines in each for line in lines]


def _assign_union_stack(scope: Scope, target: Sequence[str], source: Sequence[str]) -> list[str]:
    stacks = scope.program.stacks
    if len(target) != len(source) or len(stacks[target[0]]) != len(stacks[source[0]]):
        raise scope.refuse("stacks of header unions of different types are assigned")
    elements = [zip(*(stacks[part] for part in parts), strict=True) for parts in (target, source)]
    lines = [line for pair in zip(*elements, strict=True) for line in _assign_unions(scope, *pair)]
    return [*lines, f"{scope.following(target[0])} = {scope.following(source[0])}"]


def _shift_unions(scope: Scope, op: str, parts: Sequence[str], by: Expr) -> list[str]:
    """As BMv2 does: elements change places, and none becomes invalid: what is pushed out comes in at the other end."""
    following, depth = scope.following(parts[0]), len(scope.program.stacks[parts[0]])
    after = f"min({depth}, {following} + count)" if op == "push" else f"max(0, {following} - count)"
    helper = "push_swapped" if op == "push" else "pop_swapped"
    swaps = [scope.call(helper, "f", *_words(scope, part), "count") for part in parts]
    return [f"count = {_count(scope, op, by).code}", f"{following} = {after}", *swaps]
