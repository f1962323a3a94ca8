"""The tracer: what a traced program calls at each step, and the words in which the step is told.

A traced text calls trace_NAME(n, ...) where this class has a method NAME; sites[n] is what the step is one of (a
primitive, a table, a parser state), the rest is the packet's. What a primitive changes is found by looking at the
packet's vector before and after it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from esa.switch.compiler import describe
from esa.switch.compiler.layout import Layout
from esa.switch.compiler.log_text import fill
from esa.switch.compiler.parser_gen import CORE_ERRORS, ERROR
from esa.switch.compiler.primitives import register_of, written
from esa.switch.compiler.profile_gen import action_numbers
from esa.switch.compiler.program import Action, Field, Object, Primitive, TableNode, cells_of
from esa.switch.compiler.trace_gen import HOOKS
from esa.switch.runtime.trace import Step
from esa.switch.runtime.trace_values import Cells, match_text, shown_bytes

_COLORS = ("green", "yellow", "red")
# How deep steps lie inside their packet.
_PART, _STEP, _INNER = 1, 2, 3


class Tracer:
    """Turns the calls of one traced text into steps for `listener`. Packets are numbered from 1."""

    def __init__(self, pipeline: Any, layout: Layout, sites: Sequence[Any], listener: Callable[[Step], object]) -> None:
        self._pipeline = pipeline
        self._program = pipeline.program
        self._layout = layout
        self._sites = sites
        self._listener = listener
        self._cells = Cells(self._program, layout)
        self._number = 0
        self._passes = 1
        self._waiting: dict[int, int] = {}  # the packet that each place between ingress and egress holds
        self._depth = _STEP
        self._before: npt.NDArray[np.int64] = np.zeros(0, np.int64)
        self._index = -1
        self._array_before: Any = None
        self._statement = ""

    def hooks(self) -> dict[str, Callable[..., Any]]:
        """The functions that the traced text calls, by name."""
        return {f"trace_{name}": getattr(self, name) for name in HOOKS}

    def _tell(self, kind: str, depth: int, text: str) -> None:
        self._listener(Step(kind, depth, "".join(sign if sign.isprintable() else "?" for sign in text)))

    # --- the packet's way through the switch --------------------------------------------------------------------

    def packet(self, _: int, now: Any, port: Any, data: Any, length: Any) -> None:
        self._number += 1
        self._passes = 1
        self._tell("packet", 0, f"packet {self._number} at {_seconds(now)}: {length} bytes on port {port}")
        self._tell("bytes", _PART, shown_bytes(data, length))

    def again(self, _: int, port: Any, data: Any, length: Any) -> None:
        if port >= 0:
            self._tell("packet", 0, f"packet {self._number}: its clone, {length} bytes")
            return
        self._passes += 1
        self._tell("packet", 0, f"packet {self._number}, pass {self._passes}: {length} bytes")
        self._tell("bytes", _PART, shown_bytes(data, length))

    def part(self, site: int) -> None:
        self._depth = _STEP
        self._tell("part", _PART, self._sites[site])

    def hold(self, _: int, slot: Any, port: Any) -> None:
        self._waiting[int(slot)] = self._number
        self._tell("queue", _PART, f"to the queue of port {port}")

    def queue_full(self, slot: int) -> None:
        number = self._waiting.pop(slot, 0)
        self._tell("packet", 0, f"packet {number}: dropped, no queue of its port has its priority, or room")

    def leave(self, _: int, now: Any, slot: Any, depth: Any, enqueued_us: Any) -> None:
        number = self._waiting.pop(int(slot), 0)
        waited = f"waited {now - enqueued_us} us, {depth} before it"
        self._tell("packet", 0, f"packet {number} at {_seconds(now)}: {waited}")

    def egress(self, _: int, f: Any, port: Any) -> None:
        self._depth = _STEP
        self._tell("part", _PART, f"egress, port {port}")

    # `copies` 0: nobody has said where they go.

    def clone(self, site: int, session: Any, copies: Any) -> None:
        known = _copies(copies) if copies else "which has none"
        self._tell("clone", _PART, f"cloned at the end of the {self._sites[site]}: session {session}, {known}")

    def group(self, _: int, group: Any, copies: Any) -> None:
        known = _copies(copies) if copies else "which has none: dropped"
        self._tell("multicast", _PART, f"multicast group {group}, {known}")

    def copy(self, site: int, port: Any, instance: Any) -> None:
        after = ", once this one is done" if self._sites[site] else ""
        self._tell("copy", _PART, f"copy to port {port}, instance {instance}{after}")

    def digest(self, _: int, f: Any, number: Any) -> None:
        digest = self._program.digests[int(number)]
        values = ", ".join(self._cells.named(f, field) for field in digest.fields)
        self._tell("digest", _PART, f"digest {digest.name}: {values}")

    def end(self, site: int) -> None:
        self._tell("end", _PART, self._sites[site])

    def deparse(self, _: int, f: Any, payload: Any) -> None:
        self._tell("part", _PART, "deparser")
        for name in self._program.deparse_order:
            if f[self._layout.cells[Field(name, "$valid$")]]:
                self._tell("emit", _STEP, f"emit {self._header(f, name)}")
        self._tell("emit", _STEP, f"payload {payload} bytes")

    def out(self, _: int, port: Any, data: Any, length: Any) -> None:
        self._tell("out", _PART, f"out: {length} bytes to port {port}")
        self._tell("bytes", _PART, shown_bytes(data, length))

    # --- parser -------------------------------------------------------------------------------------------------

    def state(self, site: int) -> None:
        self._statement = ""
        self._depth = _INNER
        self._tell("state", _STEP, f"state {self._sites[site].name}")

    def select(self, site: int, f: Any, *keys: Any) -> None:
        state, widths = self._sites[site]
        texts = []
        for expr, bits, key in zip(state.key, widths, keys, strict=True):
            value = self._cells.words(f, int(key), bits) if bits > 64 else int(key) & ((1 << bits) - 1)
            texts.append(f"{describe.expression(expr, self._program)} = {describe.number(value)}")
        self._tell("select", _INNER, f"select {', '.join(texts)}")

    def next(self, site: int, f: Any, state: Any) -> None:
        if state == ERROR:
            code = int(f[self._cells.hidden["ERROR"]])
            names = {number: name for name, number in (CORE_ERRORS | dict(self._program.errors)).items()}
            said = f" in {self._statement}" if self._statement else ""
            self._tell("next", _INNER, f"error {names.get(code, code)}{said}")
        elif state < 0:
            self._tell("next", _INNER, "accept")
        else:
            self._tell("next", _INNER, f"next {self._sites[site][state]}")

    def checked(self, _: int, wrong: Any) -> None:
        self._tell("checksum", _PART, f"checksums: {'one is wrong' if wrong else 'none is wrong'}")

    def _header(self, f: Any, name: str) -> str:
        header = self._program.headers[name]
        texts = [f"{each.name} = {self._cells.text(f, Field(name, each.name))}" for each in header.fields]
        return f"{name}: {', '.join(texts)}" if texts else name

    def _extracted(self, f: Any, primitive: Primitive) -> str:
        target = primitive.args[0]
        assert isinstance(target, Object)
        name = target.name
        if "stack" in primitive.op:
            name = self._program.stacks[name][int(f[self._layout.stack_next[name]]) - 1]
        return f"extract {self._header(f, name)}"

    # --- primitives ---------------------------------------------------------------------------------------------

    def before(self, site: int, f: Any, index: Any) -> None:
        primitive, action = self._sites[site]
        self._statement = describe.statement(primitive, self._program, action)
        self._before, self._index = f[: self._cells.count].copy(), int(index)
        self._array_before = self._element(primitive)

    def after(self, site: int, f: Any) -> None:
        primitive = self._sites[site]
        if primitive.op.startswith("extract"):
            self._tell("extract", _INNER, self._extracted(f, primitive))
            return
        effects = [*self._array_effect(primitive), *self._effects(f, primitive)]
        if not effects and primitive.op == "update checksums":
            return
        where = describe.place(primitive.where)
        text = self._statement + (f" | {', '.join(effects)}" if effects else "") + (f"  [{where}]" if where else "")
        self._tell("primitive", self._depth, text)

    def _effects(self, f: Any, primitive: Primitive) -> list[str]:
        changed = self._cells.changed(self._before, f)
        target = written(primitive) or (primitive.args[0] if primitive.op in ("set", "assign_VL") else None)
        if not changed and isinstance(target, Field):
            return [f"{describe.field_name(target)} stays {self._cells.text(f, target)}"]
        return [
            f"{self._cells.label(field)} {self._cells.text(self._before, field)} -> {self._cells.text(f, field)}"
            for field in changed
        ]

    def _element(self, primitive: Primitive) -> Any:
        """What the element of a register or counter that a primitive names holds; None where it names none."""
        try:
            if primitive.op in ("register_read", "register_write"):
                return self._pipeline.registers[register_of(primitive)].read(self._index)
            if primitive.op == "count":
                counter = self._pipeline.counters[_array(primitive)]
                return (
                    (int(counter.packets[self._index]), int(counter.bytes[self._index])) if self._index >= 0 else None
                )
        except (IndexError, KeyError):  # beyond the array, or a direct counter: its table counts
            pass
        return None

    def _array_effect(self, primitive: Primitive) -> list[str]:
        if primitive.op in ("register_read", "register_write"):
            name = f"{register_of(primitive)}[{self._index}]"
        elif primitive.op in ("count", "execute_meter"):
            name = f"{_array(primitive)}[{self._index}]"
        else:
            return []
        before, after = self._array_before, self._element(primitive)
        if primitive.op == "execute_meter":
            return [name]
        if after is None:
            return [f"{name} does not exist"] if primitive.op != "count" or not self._is_direct(primitive) else []
        if primitive.op == "register_read":
            return [f"{name} = {describe.number(after)}"]
        if primitive.op == "register_write":
            return [f"{name} {describe.number(before)} -> {describe.number(after)}"]
        return [f"{name} {before[0]} -> {after[0]} packets, {before[1]} -> {after[1]} bytes"]

    def _is_direct(self, primitive: Primitive) -> bool:
        return bool(self._program.counters[_array(primitive)].direct)

    def log(self, site: int, *values: Any) -> None:
        text, unsigned = self._sites[site]
        numbers = [int(v) % (1 << 64) if u else int(v) for v, u in zip(values, unsigned, strict=True)]
        message = fill(text, numbers)
        self._tell("log", self._depth, f"log {message}")
        self._pipeline.messages.say(message)

    # --- controls -----------------------------------------------------------------------------------------------

    def test(self, site: int, f: Any, result: Any) -> Any:
        node, action = self._sites[site]
        text = describe.condition(node, self._program, action)
        values = self._cells.named_leaves(f, node)
        where = describe.place(node.where)
        self._tell(
            "condition",
            self._depth if isinstance(node, Primitive) else _STEP,
            f"if {text}: {'true' if result else 'false'}"
            + (f" | {', '.join(values)}" if values else "")
            + (f"  [{where}]" if where else ""),
        )
        return result

    def statements(self, _: int) -> None:
        """Statements of a control follow."""
        self._depth = _STEP

    def call(self, site: int) -> None:
        self._depth = _INNER
        self._tell("action", _STEP, f"action {self._sites[site].name}")

    def table(self, site: int, m64: Any, entry: Any, *words: Any) -> None:
        node: TableNode = self._sites[site]
        table, place = self._pipeline.tables[node.name], self._layout.tables[node.name]
        row, rest, keys = int(entry), list(words), []
        for key in node.key:
            taken, rest = rest[: cells_of(key.bits)], rest[cells_of(key.bits) :]
            value = sum((int(word) & ((1 << 64) - 1)) << 64 * at for at, word in enumerate(taken))
            keys.append(f"{key.name} = {describe.number(value)}")
        hit = row != place.size
        found = "miss"
        if hit:
            stored = table.entry(row)
            found = f"hit {match_text(table.key, stored.match)}"
            found += f", priority {stored.priority}" if table.needs_priority and not table.const else ""
        self._tell("table", _STEP, f"table {node.name}: {found}" + (f" | key {', '.join(keys)}" if keys else ""))
        self._depth = _INNER
        word = int(m64[place.actions + row])
        if node.profile is not None:
            if word < -1:
                self._tell("group", _INNER, f"group {-2 - word} of {node.profile}")
            return
        self._chosen(node, word, m64, place.parameters + place.params * row, "" if hit else " (the default action)")

    def member(self, site: int, m64: Any, member: Any, action: Any, parameters: Any) -> None:
        node: TableNode = self._sites[site]
        self._chosen(node, int(action), m64, int(parameters), f" (member {member})" if member >= 0 else "")

    def _chosen(self, node: TableNode, number: int, m64: Any, at: int, which: str) -> None:
        by_number = {value: action for action, value in action_numbers(self._program, node).items()}
        if number not in by_number:
            self._tell("action", _STEP, "no action")
            return
        action = self._program.actions[by_number[number]]
        self._tell("action", _STEP, f"action {action.name}({_arguments(action, m64, at)}){which}")


def _array(primitive: Primitive) -> str:
    array = primitive.args[0]
    assert isinstance(array, Object)
    return array.name


def _arguments(action: Action, m64: Any, at: int) -> str:
    texts = []
    for index, (name, bits) in enumerate(action.params):
        first, value = at + action.word(index), 0
        for word in range(cells_of(bits)):
            value |= (int(m64[first + word]) & ((1 << 64) - 1)) << 64 * word
        texts.append(f"{name} = {describe.number(value)}")
    return ", ".join(texts)


def _copies(count: Any) -> str:
    return "1 copy" if count == 1 else f"{count} copies"


def _seconds(now_us: Any) -> str:
    return f"{int(now_us) // 1_000_000}.{int(now_us) % 1_000_000:06d} s"
