"""Action profiles: the lines that go from what an entry names, a member or a group, to an action and its parameters."""

from __future__ import annotations

from esa.switch.compiler.checksum_gen import hash_call
from esa.switch.compiler.expressions import Scope
from esa.switch.compiler.layout import identifier
from esa.switch.compiler.program import Profile, Program, TableNode
from esa.switch.compiler.values import indented


def action_numbers(program: Program, table: TableNode) -> dict[int, int]:
    """By action id, the number that stands for an action in the words of a table or of its action profile."""
    order = table.action_ids
    if table.profile is not None:
        order = program.profiles[table.profile].action_ids
    places = {program.actions[action].name: at for at, action in enumerate(order)}
    return {action: places[program.actions[action].name] for action in table.action_ids}


def member_lines(scope: Scope, profile: Profile, reference: str) -> list[str]:
    """Lines that set `action` (-1: none) and `p` to those of the member that `reference` leads this packet to."""
    place = scope.layout.profiles[profile.name]
    name = identifier(profile.name).upper()
    actions = scope.constant(f"{name}_MEMBERS", place.actions)
    lines = [f"member = {reference}"]
    if profile.selector is not None:
        groups = scope.constant(f"{name}_GROUPS", place.groups)
        value = hash_call(scope.program.calculations[profile.selector])
        chosen = scope.call("choose", "m64", f"{groups} - 2 * (member + 2)", value)
        lines += ["if member < -1:", f"    member = {chosen}"]
    parameters = scope.constant(f"{name}_PARAMETERS", place.parameters)
    found = [f"action = m64[{actions} + member]", f"p = {parameters} + {place.params} * member"]
    return [*lines, "action = -1", "p = 0", "if member >= 0:", *indented(found)]
