"""A control's graph: where control goes after each node, and where its ways meet again."""

from __future__ import annotations

from esa.switch.compiler.program import CallNode, ConditionNode, Control, Node

END = None


def successors(node: Node) -> list[str | None]:
    """Where control can go after a node."""
    if isinstance(node, ConditionNode):
        return [node.next_true, node.next_false]
    if isinstance(node, CallNode):
        return [node.next]
    if node.by_hit:
        return [node.next_hit, node.next_miss]
    out = [goal for _, goal in node.next_by_action]
    if not node.next_by_action or node.default_action is None:
        out.append(node.base_next)
    return out


def joins(control: Control) -> dict[str, str | None]:
    """For each node, the first node that every path from it passes (None: the end of the control)."""
    after: dict[str | None, frozenset[str | None]] = {END: frozenset({END})}

    def visit(name: str | None) -> frozenset[str | None]:
        if name not in after:
            assert name is not None
            after[name] = frozenset()  # a loop would show as an empty set
            sets = [visit(goal) for goal in successors(control.nodes[name])]
            after[name] = frozenset.intersection(*sets) | {name}
        return after[name]

    for name in control.nodes:
        visit(name)
    return {
        name: max((other for other in after[name] if other != name), key=lambda other: len(after[other]))
        for name in control.nodes
    }
