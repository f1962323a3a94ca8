"""Tables and controls: a function per table (look up, run the action), one per control (its graph as if statements)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from esa.switch.compiler.expressions import Scope
from esa.switch.compiler.graph import END, joins
from esa.switch.compiler.layout import METER_WORDS, TablePlace, identifier, remark
from esa.switch.compiler.lookup_gen import key_names, look_up
from esa.switch.compiler.primitives import meter_call, store
from esa.switch.compiler.profile_gen import action_numbers, member_lines
from esa.switch.compiler.program import (
    Action,
    CallNode,
    ConditionNode,
    Control,
    Object,
    Primitive,
    Program,
    TableKey,
    TableNode,
    words_of,
)
from esa.switch.compiler.trace_gen import traced
from esa.switch.compiler.values import indented, literal
from esa.switch.errors import UnsupportedError

MAX_COPIES = 2000  # nodes written out for one control; a graph that is no nest of if statements repeats some


def _may_exit(action: Action) -> bool:
    return any(primitive.op == "exit" for primitive in action.primitives)


def is_direct(table: TableNode, program: Program) -> bool:
    """Whether the table is no more than a call of its default action."""
    if table.key or not table.const_default or table.default_action is None:
        return False
    return not program.actions[table.default_action].params


class ControlWriter:
    """Writes the functions of one control.

    `action_names` are the functions of the actions, by action id; `inlined` the lines of those that have none, because
    the compiler made them from statements in the control.
    """

    def __init__(
        self,
        scope: Scope,
        control: Control,
        action_names: Mapping[int, str],
        inlined: Mapping[int, list[str]],
    ) -> None:
        self.inlined = inlined
        self.scope = replace(scope, where=f"control {control.name}")
        self.control = control
        self.action_names = action_names
        self.joins = joins(control)
        self.copies = 0

    def functions(self) -> list[list[str]]:
        """One function per table with a key or a choice of action, and the control's own."""
        tables = [
            self._table(node)
            for node in self.control.nodes.values()
            if isinstance(node, TableNode) and not self._direct(node)
        ]
        lines = self._walk(self.control.first, END)
        own = [f"def {self.control.name}(f, m32, m64):", f'    """The {self.control.name} control."""',
               *indented(lines or ["pass"])]  # fmt: skip
        return [*tables, own]

    def _direct(self, table: TableNode) -> bool:
        return is_direct(table, self.scope.program)

    # --- the graph ----------------------------------------------------------------------------------------------

    def _walk(self, name: str | None, stop: str | None) -> list[str]:
        lines: list[str] = []
        while name != stop and name is not END:
            self.copies += 1
            if self.copies > MAX_COPIES:
                raise UnsupportedError(f"control {self.control.name}: the control flow is too tangled")
            node, join = self.control.nodes[name], self.joins[name]
            if isinstance(node, ConditionNode):
                lines += self._condition(node, join)
            elif isinstance(node, CallNode):
                lines += self._call(node.action_id)
            else:
                lines += self._apply(node, join)
            name = join
        return lines

    def _condition(self, node: ConditionNode, join: str | None) -> list[str]:
        scope = replace(self.scope, where=node.where or self.scope.where)
        test = scope.told(node, scope.boolean(node.expression))
        then, otherwise = self._walk(node.next_true, join), self._walk(node.next_false, join)
        return self._if(test, then or ["pass"] * (scope.sites is not None), otherwise)

    def _if(self, test: str, then: list[str], otherwise: list[str]) -> list[str]:
        if not then and not otherwise:
            return []
        if not then:
            return [f"if not {test}:", *indented(otherwise)]
        lines = [f"if {test}:", *indented(then)]
        if otherwise:
            nested = otherwise[0].startswith("if ") and all(
                line.startswith((" ", "elif ", "else:")) for line in otherwise[1:]
            )
            lines += ["el" + otherwise[0], *otherwise[1:]] if nested else ["else:", *indented(otherwise)]
        return lines

    def _call(self, action_id: int) -> list[str]:
        action = self.scope.program.actions[action_id]
        if not action.primitives:
            return self.scope.tell("call", action)
        called = [*self.scope.tell("call", action), f"{self.action_names[action_id]}(f, m32, m64, 0)"]
        lines = called
        if action_id in self.inlined:
            lines = [*self.scope.tell("statements", action), *self.inlined[action_id]]
        if _may_exit(action):
            lines = [*lines, f"if {self.scope.hidden('EXIT')} != 0:", "    return"]
        return lines

    def _apply(self, table: TableNode, join: str | None) -> list[str]:
        if self._direct(table):
            assert table.default_action is not None
            goals = dict(table.next_by_action)
            goal = table.next_miss if table.by_hit else goals.get(table.default_action, table.base_next)
            return [*self._call(table.default_action), *self._walk(goal, join)]
        place = self.scope.layout.tables[table.name]
        call = f"table_{identifier(table.name)}(f, m32, m64)"
        exits = any(_may_exit(self.scope.program.actions[a]) for a in table.action_ids)
        leave = [f"if {self.scope.hidden('EXIT')} != 0:", "    return"] if exits else []
        if table.by_hit:
            hit, miss = self._walk(table.next_hit, join), self._walk(table.next_miss, join)
            if not hit and not miss:
                return [call, *leave]
            return [f"entry = {call}", *leave, *self._if(f"entry != {place.size}", hit, miss)]
        goals = dict(table.next_by_action)
        ways = {a: self._walk(goals.get(a, table.base_next), join) for a in table.action_ids}
        none = self._walk(table.base_next, join) if table.default_action is None else []
        if not any(ways.values()) and not none:
            return [call, *leave]
        numbers = action_numbers(self.scope.program, table)
        if table.profile is not None:
            lines = [call, *leave, f"action = m64[{place.chosen}]"]
        else:
            offset = self.scope.constant(f"{identifier(table.name).upper()}_ACTIONS", place.actions)
            lines = [f"entry = {call}", *leave, f"action = m64[{offset} + entry]"]
        choices = [(f"action == {numbers[a]}", way) for a, way in ways.items() if way]
        if none:
            choices.append(("action == -1", none))
        for at, (test, way) in enumerate(choices):
            lines += [f"{'if' if at == 0 else 'elif'} {test}:", *indented(way)]
        return lines

    # --- tables -------------------------------------------------------------------------------------------------

    def _table(self, table: TableNode) -> list[str]:
        place = self.scope.layout.tables[table.name]
        kinds = ", ".join(f"{key.name} ({key.match_type})" for key in table.key) or "no key"
        lines = self._keys(table)
        lines += look_up(self.scope, table, place)
        words = [name for at, key in enumerate(table.key) for name in key_names(at, key)]
        lines += self.scope.tell("table", table, "m64", "entry", *words)
        if table.counters:
            lines += [
                f"if entry != {place.size}:",
                f"    m64[{place.packets} + entry] += 1",
                f"    m64[{place.bytes} + entry] += {self.scope.hidden('INGRESS_LENGTH')}",
            ]
        if table.ages:
            lines += [f"if entry != {place.size}:", f"    m64[{place.hits} + entry] += 1"]
        if table.meter is not None:
            lines += self._meter(table, place)
        lines += self._dispatch(table, place)
        return [f"def table_{identifier(table.name)}(f, m32, m64):",
                f'    """Table {remark(table.name)}: {remark(kinds)}. Returns the entry; {place.size} is a miss."""',
                *indented([*lines, "return entry"])]  # fmt: skip

    def _keys(self, table: TableNode) -> list[str]:
        lines = []
        for at, key in enumerate(table.key):
            kind = self.scope.program.field_type(key.field)
            code = self.scope.place(key.field)
            header = self.scope.program.headers[key.field.header]
            if not header.metadata and key.field.name != "$valid$":
                # a field of an invalid header matches as 0
                code = f"{code} * {self.scope.place(replace(key.field, name='$valid$'))}"
            mask = (1 << kind.bits) - 1
            if kind.bits > 64:
                lines += self._wide_key(at, key, code)
                continue
            if key.mask is not None and key.mask & mask != mask:
                code = f"({code}) & {literal(key.mask & mask)}"
            elif kind.signed and kind.bits < 64:
                code = f"({code}) & {literal(mask)}"
            lines.append(f"k{at} = {code}")
        return lines

    def _wide_key(self, at: int, key: TableKey, code: str) -> list[str]:
        """The words of one field of the key, from the text of the first."""
        cell, _, rest = code[2:].partition("]")
        full = (1 << key.bits) - 1
        masks = words_of(full if key.mask is None else key.mask, key.bits)
        lines = []
        for k, (name, mask) in enumerate(zip(key_names(at, key), masks, strict=True)):
            text = f"f[{cell} + {k}]{rest}" if k else code
            if mask != (1 << 64) - 1:
                text = f"({text}) & {literal(mask)}"
            lines.append(f"{name} = {text}")
        return lines

    def _meter(self, table: TableNode, place: TablePlace) -> list[str]:
        """The direct meter: of the entry that was hit, before its action."""
        assert table.meter is not None
        meter = self.scope.program.meters[table.meter]
        assert meter.target is not None
        offset = self.scope.constant(identifier(meter.name).upper(), self.scope.layout.meters[meter.name])
        color = meter_call(self.scope, meter, f"{offset} + {METER_WORDS} * entry")
        executed = Primitive("execute_meter", (Object("meter_array", meter.name), meter.target))
        lines = traced(self.scope, executed, store(self.scope, meter.target, color), "entry")
        return [f"if entry != {place.size}:", *indented(lines)]

    def _dispatch(self, table: TableNode, place: TablePlace) -> list[str]:
        name = identifier(table.name).upper()
        actions = self.scope.constant(f"{name}_ACTIONS", place.actions)
        numbers = action_numbers(self.scope.program, table)
        lines = [f"action = m64[{actions} + entry]"]
        if table.profile is not None:
            lines = member_lines(self.scope, self.scope.program.profiles[table.profile], f"m64[{actions} + entry]")
            lines.append(f"m64[{place.chosen}] = action")
            lines += self.scope.tell("member", table, "m64", "member", "action", "p")
        elif place.params:
            parameters = self.scope.constant(f"{name}_PARAMETERS", place.parameters)
            lines.append(
                f"p = {parameters} + {place.params} * entry" if place.params > 1 else f"p = {parameters} + entry"
            )
        else:
            lines.append("p = 0")
        choices = [a for a in table.action_ids if self.scope.program.actions[a].primitives]
        for number, action_id in enumerate(choices):
            lines.append(f"{'if' if number == 0 else 'elif'} action == {numbers[action_id]}:")
            lines.append(f"    {self.action_names[action_id]}(f, m32, m64, p)")
        return lines if choices or table.profile is not None else []
