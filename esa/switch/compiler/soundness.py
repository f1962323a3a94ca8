"""What must hold of a program before it becomes native code, which checks no bounds: no name of a part is enough.

A control plane sends programs over the network. One that would take all memory, read or write outside its own, or run
for ever is refused here by the name of its part.
"""

from __future__ import annotations

from collections.abc import Iterator

from esa.switch.compiler.lanes import leaves_of
from esa.switch.compiler.program import (
    MAX_BITS,
    Action,
    Const,
    Expr,
    Field,
    Lookahead,
    Object,
    Param,
    ParserState,
    Primitive,
    Program,
    TableNode,
)
from esa.switch.errors import UnsupportedError

MAX_CELLS = 1 << 26  # of one array or table
MAX_CONSTANT_BITS = 4096
MAX_VECTOR = 1 << 18  # cells of all headers together


def check(program: Program) -> None:
    """Raise UnsupportedError for the first part of `program` that cannot be run safely."""
    _check_headers(program)
    _check_sizes(program)
    for control in (program.ingress, program.egress):
        for node in control.nodes.values():
            if isinstance(node, TableNode):
                _check_table(program, node)
    for action in program.actions.values():
        _check_primitives(program, action.primitives, f"action {action.name}", action)
    for state in program.states:
        _check_primitives(program, state.ops, f"parser state {state.name}", None)
        for key in state.key:
            _check_leaf(key, f"parser state {state.name}", None)
    _check_primitives(program, program.deparse_primitives, "deparser", None)
    for calculation in program.calculations.values():
        for _, _, bits in calculation.inputs:
            if not 0 <= bits <= MAX_BITS:
                raise UnsupportedError(
                    f"calculation {calculation.name}: an input of {bits} bits; 0 to {MAX_BITS} are allowed"
                )
    _check_progress(program)


def _check_headers(program: Program) -> None:
    for header in program.headers.values():
        for field in header.fields:
            if field.bits < 1:
                raise UnsupportedError(f"field {header.name}.{field.name} has {field.bits} bits")
    if (cells := sum(header.words for header in program.headers.values())) > MAX_VECTOR:
        raise UnsupportedError(f"all headers together take {cells} words of 64 bits; {MAX_VECTOR} are allowed")
    for field in program.headers["standard_metadata"].fields:
        if field.bits > 64:
            raise UnsupportedError(f"standard_metadata.{field.name} has {field.bits} bits: this is no v1model program")
    owner: dict[str, str] = {}
    for stack, members in program.stacks.items():
        if not members or len({program.headers[member].type_name for member in members}) != 1:
            raise UnsupportedError(f"header stack {stack}: its elements are not of one header type")
        for member in members:
            if owner.setdefault(member, stack) != stack or members.count(member) != 1:
                raise UnsupportedError(f"header stack {stack}: {member} is an element elsewhere too")
    # the headers of a union in a stack of unions are elements of the stacks of their members
    parts = {part for each in program.union_stacks.values() for part in each}
    unions: dict[str, str] = {}
    for union, members in program.unions.items():
        if not members:
            raise UnsupportedError(f"header union {union}: it has no headers")
        for member in members:
            elsewhere = unions.setdefault(member, union) != union or (member in owner and owner[member] not in parts)
            if program.headers[member].metadata or elsewhere or members.count(member) != 1:
                raise UnsupportedError(f"header union {union}: {member} belongs elsewhere too")
    group = Field("standard_metadata", "mcast_grp")
    if any(field.name == group.name for field in program.headers["standard_metadata"].fields):
        kind = program.field_type(group)
        if kind.bits > 16 or kind.signed:
            raise UnsupportedError("standard_metadata.mcast_grp is no bit<16>: this is no v1model program")


def _check_sizes(program: Program) -> None:
    for register in program.registers.values():
        if not 1 <= register.bits <= MAX_BITS:
            raise UnsupportedError(f"register {register.name} has {register.bits} bits; 1 to {MAX_BITS} are allowed")
        _check_size(f"register {register.name}", register.size, least=1)
    for counter in program.counters.values():
        _check_size(f"counter {counter.name}", counter.size)
    for meter in program.meters.values():
        _check_size(f"meter {meter.name}", meter.size)
        if meter.target is not None:
            program.field_type(meter.target)
    _check_direct_meters(program)
    for values in program.value_sets.values():
        _check_size(f"value set {values.name}", values.size)
        if any(not 1 <= bits <= 64 for bits in values.bits):
            raise UnsupportedError(f"value set {values.name}: keys of {values.bits} bits; 1 to 64 are allowed")
    for digest in program.digests.values():
        for field in digest.fields:
            if program.field_type(field).bits > 64 or program.field_type(field).varbit:
                what = "is a varbit or has more than 64 bits"
                raise UnsupportedError(f"digest {digest.name}: {field.header}.{field.name} {what}")
    for profile in program.profiles.values():
        _check_size(f"action profile {profile.name}", profile.size)
        if profile.selector is not None and program.calculations[profile.selector].payload:
            raise UnsupportedError(f"action profile {profile.name}: a selector over the payload")


def _check_direct_meters(program: Program) -> None:
    """A direct meter is that of one table, and of no other."""
    owners: dict[str, str] = {}
    for control in (program.ingress, program.egress):
        for node in control.nodes.values():
            if not isinstance(node, TableNode) or node.meter is None:
                continue
            meter = program.meters.get(node.meter)
            if meter is None or not meter.direct or owners.setdefault(meter.name, node.name) != node.name:
                raise UnsupportedError(f"table {node.name}: {node.meter!r} is no direct meter of its own")


def _check_size(what: str, size: int, least: int = 0) -> None:
    if not least <= size <= MAX_CELLS:
        raise UnsupportedError(f"{what} has {size} cells; {least} to {MAX_CELLS} are allowed")


def _check_table(program: Program, table: TableNode) -> None:
    for key in table.key:
        if program.field_type(key.field).varbit:
            raise UnsupportedError(f"table {table.name}: key {key.name} is a varbit")
    _check_size(f"table {table.name}", table.size)
    if table.profile is not None and table.profile not in program.profiles:
        raise UnsupportedError(f"table {table.name}: there is no action profile {table.profile!r}")
    if table.default_action is not None:
        action = program.actions[table.default_action]
        if len(action.params) != len(table.default_params):
            raise UnsupportedError(
                f"table {table.name}: its default action {action.name} takes {len(action.params)} parameters,"
                f" {len(table.default_params)} given"
            )


def _check_primitives(program: Program, primitives: tuple[Primitive, ...], inside: str, action: Action | None) -> None:
    for primitive in primitives:
        where = primitive.where or inside
        for arg in primitive.args:
            for leaf in leaves_of(arg):
                _check_leaf(leaf, where, action)
        if primitive.op == "assign_header":
            _check_same_type(program, primitive, where)
        elif primitive.op == "assign_header_stack":
            to, source = (program.stacks[arg.name] for arg in primitive.args if isinstance(arg, Object))
            if program.headers[to[0]].type_name != program.headers[source[0]].type_name:
                raise UnsupportedError(f"{where}: header stacks of different types are assigned")


def _check_same_type(program: Program, primitive: Primitive, where: str) -> None:
    names = [arg.name for arg in primitive.args if isinstance(arg, Object)]
    if len({program.headers[name].type_name for name in names}) > 1:
        raise UnsupportedError(f"{where}: headers of different types are assigned")


def _check_leaf(leaf: Expr, where: str, action: Action | None) -> None:
    if isinstance(leaf, Const) and leaf.value.bit_length() > MAX_CONSTANT_BITS:
        raise UnsupportedError(f"{where}: a constant of more than {MAX_CONSTANT_BITS} bits")
    if isinstance(leaf, Param):
        count = len(action.params) if action is not None else 0
        if not isinstance(leaf.index, int) or not 0 <= leaf.index < count:
            raise UnsupportedError(f"{where}: there is no parameter {leaf.index!r}")
    if isinstance(leaf, Lookahead):
        numbers = isinstance(leaf.offset, int) and isinstance(leaf.bits, int)
        if not numbers or not (0 <= leaf.offset < 1 << 20 and 1 <= leaf.bits <= MAX_BITS):
            raise UnsupportedError(
                f"{where}: lookahead of {leaf.bits!r} bits at {leaf.offset!r}; 1 to {MAX_BITS} are allowed"
            )


def _check_progress(program: Program) -> None:
    """Refuse a parser that can go round without taking a byte off the packet: it would never end."""
    idle = {state.name: state for state in program.states if not _takes_bytes(program, state)}
    done: set[str] = set()
    for first in idle:
        path: list[str] = []
        todo: list[tuple[str, Iterator[str]]] = []

        def enter(name: str, path: list[str] = path, todo: list[tuple[str, Iterator[str]]] = todo) -> None:
            path.append(name)
            following = (transition.next for transition in idle[name].transitions)
            todo.append((name, iter([goal for goal in following if goal is not None and goal in idle])))

        if first not in done:
            enter(first)
        while todo:
            name, goals = todo[-1]
            goal = next(goals, None)
            if goal is None:
                done.add(name)
                path.pop()
                todo.pop()
            elif goal in path:
                raise UnsupportedError(f"parser state {goal}: the parser can come back to it without taking a byte")
            elif goal not in done:
                enter(goal)


def _takes_bytes(program: Program, state: ParserState) -> bool:
    for op in state.ops:
        if op.op.startswith(("extract_stack", "extract_union_stack")):
            return True  # a stack has an end
        if (
            op.op in ("extract", "extract_varbit")
            and isinstance(op.args[0], Object)
            and program.headers[op.args[0].name].bytes
        ):
            return True
        if op.op == "advance" and isinstance(op.args[0], Const) and op.args[0].value >= 8:
            return True
    return False
