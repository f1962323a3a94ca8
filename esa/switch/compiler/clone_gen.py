"""Clones: what one keeps of the packet, and the lines that cut it to the length that its session says."""

from __future__ import annotations

from esa.switch.compiler.expressions import Scope
from esa.switch.compiler.program import ConditionNode, Control, Field, Node, Program, TableNode


def makes_clones(program: Program, control: Control) -> bool:
    """Whether a control makes clones; of which kind they are is said by where it is asked for, as in BMv2."""
    ids = {number for node in control.nodes.values() for number in _action_ids(node)}
    return any(p.op.startswith("clone_") for number in ids for p in program.actions[number].primitives)


def _action_ids(node: Node) -> tuple[int, ...]:
    if isinstance(node, ConditionNode):
        return ()
    return node.action_ids if isinstance(node, TableNode) else (node.action_id,)


def limit_lines(scope: Scope, vector: str) -> list[str]:
    """Lines that let the clone in `vector` have as many bytes as the limit of `session`, if there is one."""
    limit = f"m64[{scope.constant('CLONE_LIMITS', scope.layout.clone_limits)} + session]"
    return [f"if {limit} != 0:", f"    {vector}{scope.hidden('TRUNCATE')[1:]} = {limit}"]


def class_lines(scope: Scope, priority: str) -> list[str]:
    """Lines that give a clone the class of service of its session, if there is one, as its priority."""
    given = f"m64[{scope.constant('CLONE_CLASSES', scope.layout.clone_classes)} + session]"
    return [f"if {given} != 0:", f"    {priority} = {given}"]


def copy_list(scope: Scope) -> list[str]:
    """`preserve`: the fields that a program keeps, by the number of their list."""
    lines = [
        "def preserve(g, f, which):",
        '    """Copy the fields that the program keeps over a clone or another pass."""',
    ]
    for number, fields in scope.program.field_lists.items():
        if fields:
            lines.append(f"    if which == {number}:")
            lines += [f"        {line}" for x in fields for line in _copy(scope, x)]
    return [*lines, "    return"]


def _copy(scope: Scope, field: Field) -> list[str]:
    cell = scope.cell(field)
    words = scope.program.field_type(field).words
    rest = [f"g[{cell} + {k}] = f[{cell} + {k}]" for k in range(1, words)]
    return [f"g[{cell}] = f[{cell}]", *rest]
