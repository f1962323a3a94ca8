"""A loaded P4 program: packets in, packets out, and the state that a control plane works on."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from functools import cached_property, lru_cache, partial
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from esa.switch.compiler import build
from esa.switch.compiler.bmv2json import load_program
from esa.switch.compiler.codegen import generate
from esa.switch.compiler.layout import METER_WORDS, PORTS, Layout
from esa.switch.compiler.program import Program, TableNode
from esa.switch.errors import AssertionFailed, UnsupportedError
from esa.switch.runtime.batch import PacketBatch
from esa.switch.runtime.digests import Digests
from esa.switch.runtime.messages import Messages
from esa.switch.runtime.meters import Meter
from esa.switch.runtime.profiles import ActionProfile, IndirectTable
from esa.switch.runtime.state import new_state
from esa.switch.runtime.stateful import (
    CloneSessions,
    Counter,
    MulticastGroups,
    Register,
    WideRegister,
    groups_and_sessions,
)
from esa.switch.runtime.tables import Table, Tables
from esa.switch.runtime.trace import PacketTrace, Step
from esa.switch.runtime.traced import Traced
from esa.switch.runtime.value_sets import ValueSet

MTU = 10240
MAX_STATE_BYTES = 2 << 30
COPIES = 4096  # room for the copies of one packet in process()


@lru_cache(maxsize=4)  # each controller that starts loads the program anew, a network loads it for every switch
def _generated(
    program: str | bytes | Mapping[str, Any], queues: bool, priorities: int
) -> tuple[Program, str, str, Layout]:
    """The program that BMv2 JSON has, its title, its text as a module and where that has its memory."""
    root = json.loads(program) if isinstance(program, (str, bytes)) else program
    typed = load_program(root)
    title = str(root.get("program", "P4 program"))
    return typed, title, *generate(typed, title, queues=queues, priorities=priorities)


class Pipeline:
    """One v1model switch in memory, as simple_switch runs it, without ports and threads.

    >>> pipeline = Pipeline.load(Path("esa/compiled/esa-64.json").read_text())
    >>> _ = pipeline.tables["EsaIngress.forwarding.destination"].add((0x02,), "EsaIngress.forwarding.forward", (3,))
    >>> [(port, len(packet)) for port, packet in pipeline.process(1, bytes([0, 0, 0, 0, 0, 2, *bytes(54)]))]
    [(3, 60)]

    `process` and `process_batch` do not take `lock`; whoever runs packets in one thread and changes tables in another
    takes it around both.
    """

    def __init__(self, program: Program, source: str, layout: Layout, step: Any, state: Any) -> None:
        self.program = program
        self.source = source
        self.layout = layout
        self.step = step
        self.state = state
        self.lock = threading.Lock()
        self.halves: tuple[Any, Any] | None = None  # in the place of `step`, where ports have queues
        self.halves_state = state
        self.title, self.compiled, self.priorities = "P4 program", False, 1
        m64 = state.m64
        self.action_profiles = {
            name: ActionProfile(
                name,
                [program.actions[number] for number in profile.action_ids],
                layout.profiles[name],
                m64,
                profile.selector is not None,
            )
            for name, profile in program.profiles.items()
        }
        self.tables = Tables()
        self.direct_counters: dict[str, Counter] = {}
        self.direct_meters: dict[str, Meter] = {}  # by table
        self.hits: dict[str, npt.NDArray[np.int64]] = {}  # by table with idle time-outs, then by row; a live view
        for control in (program.ingress, program.egress):
            for node in control.nodes.values():
                if isinstance(node, TableNode):
                    self._add_table(node)
        unsigned = m64.view(np.uint64)
        self.counters = {
            name: Counter(name, unsigned[at : at + size], unsigned[at + size : at + 2 * size])
            for name, at in layout.counters.items()
            for size in [program.counters[name].size]
        }
        self.registers = {}
        for name, place in layout.registers.items():
            array = program.registers[name]
            memory = m64 if place.wide else state.m32
            last = place.offset + (array.size - 1) * place.stride + 1
            if place.words == 1:
                self.registers[name] = Register(name, array.bits, memory[place.offset : last : place.stride])
            else:
                words = memory[place.offset : place.offset + array.size * place.words]
                self.registers[name] = WideRegister(name, array.bits, words.reshape(array.size, place.words))
        self.meters = {name: self._meter(name, m.size) for name, m in program.meters.items() if not m.direct}
        clones = any(p.op.startswith("clone_") for action in program.actions.values() for p in action.primitives)
        self.multicast: MulticastGroups
        self.clone_sessions: CloneSessions | None
        self.multicast, self.clone_sessions = groups_and_sessions(layout, m64, clones)
        self.digests = None if layout.digests is None else Digests(program, layout.digests, m64)
        self.value_sets = {name: self._value_set(name) for name in layout.value_sets}
        # Packets waiting at each egress port, written by whoever owns the queues; read into enq_qdepth and deq_qdepth.
        self.queue_depth: npt.NDArray[np.int64] = m64[layout.queue_depth : layout.queue_depth + PORTS]
        self.messages = Messages(layout, m64) if layout.messages else None
        self._traced: dict[bool, Traced] = {}  # by whether it is in halves
        self._untraced: tuple[Any, Any] | None = None  # step and halves, while every packet is traced
        self.trace_writer: Callable[[str], object] | None = None
        # Told, once a batch, of packets that fail an assert() or assume(), where that is not to raise AssertionFailed.
        self.on_failed: Callable[[str], object] | None = None
        self.seed(1)

    @cached_property
    def _one(self) -> PacketBatch:
        return PacketBatch(1, MTU)

    @cached_property
    def _out(self) -> PacketBatch:
        return PacketBatch(COPIES, MTU)

    @classmethod
    def load(
        cls,
        program: str | bytes | Mapping[str, Any],
        *,
        compiled: bool = True,
        progress: Callable[[str], None] | None = None,
        queues: bool = False,
        priorities: int = 1,
        apart: Callable[[], None] | None = None,
    ) -> Pipeline:
        """Load BMv2 JSON (text or parsed). Raises UnsupportedError for what this target does not do, or cannot read.

        `compiled` False runs the same generated text as plain Python. `progress` is told when compiling takes time.
        `queues`: for ports with queues (`queues.py`), which take `ingress` and `egress` in the place of `process`;
        `priorities`: how many a port has. `apart` may put machine code on the disk, where there is none (`warm_up`).
        """
        try:
            return cls._load(program, compiled, progress, queues, priorities, apart)
        except (UnsupportedError, OSError):
            raise
        except json.JSONDecodeError as error:
            raise UnsupportedError(f"not JSON: {error}") from None
        except Exception as error:
            # A stranger's JSON can be wrong in any place and way; what it trips over is as good a name as any.
            raise UnsupportedError(f"not a program as p4c writes it: {type(error).__name__}: {error}") from error

    @classmethod
    def _load(
        cls,
        program: str | bytes | Mapping[str, Any],
        compiled: bool,
        progress: Callable[[str], None] | None,
        queues: bool,
        priorities: int,
        apart: Callable[[], None] | None,
    ) -> Pipeline:
        made = _generated if isinstance(program, (str, bytes)) else _generated.__wrapped__
        typed, title, source, layout = made(program, queues, priorities)
        state_bytes = 4 * layout.words32 + 8 * layout.words64
        if state_bytes > MAX_STATE_BYTES:
            size, allowed = state_bytes / 2**30, MAX_STATE_BYTES >> 30
            raise UnsupportedError(f"registers, counters and tables take {size:.1f} GiB; {allowed} are allowed")
        module = build.compiled_module(source) if compiled else build.plain_module(source)
        state = new_state(module, layout, "later[slot]" in source)
        pipeline = cls(typed, source, layout, None if queues else module.step, state)
        pipeline.tables.make_all()  # what they have from the beginning is in the memory now
        pipeline.title, pipeline.compiled, pipeline.priorities = title, compiled, priorities
        if queues:
            pipeline.use_halves(module)
        elif compiled:
            one, out = pipeline._one, pipeline._out
            arrays = (one.data, one.length, one.port, 0, 0, 0, out.data, out.length, out.port)
            build.warm_up(module.step, (state, *arrays), progress, apart)
        return pipeline

    def process(self, port: int, packet: bytes, timestamp_us: int = 0) -> list[tuple[int, bytes]]:
        """Run one packet that arrived on `port`; returns (egress port, packet) of each copy, in order.

        Raises AssertionFailed where an assert() or assume() of the program does not hold.
        """
        self._one.count = 0
        self._one.append(port, packet)
        self.process_batch(self._one, timestamp_us, self._out)
        return [self._out.packet(at) for at in range(self._out.count)]

    def process_batch(self, batch_in: PacketBatch, timestamp_us: int, batch_out: PacketBatch, first: int = 0) -> int:
        """Run packets `first` .. `count` of a batch; returns how many packets are now in `batch_out`.

        `batch_in.done` is how many were taken: fewer than `count` if `batch_out` might not have held the next one's
        copies; call again with first=batch_in.done. Does not hold the interpreter lock while it works.
        """
        failed = self.layout.lost + 2
        before = self.state.m64[failed]
        with np.errstate(over="ignore"):
            batch_out.count = int(
                self.step(
                    self.state,
                    batch_in.data,
                    batch_in.length,
                    batch_in.port,
                    first,
                    batch_in.count,
                    int(timestamp_us),
                    batch_out.data,
                    batch_out.length,
                    batch_out.port,
                )
            )
        batch_in.done = int(self.state.m64[self.layout.lost + 3])
        self._check(before)
        return batch_out.count

    def ingress(self, held: Any, batch_in: PacketBatch, first: int, timestamp_us: int) -> int:
        """Run packets `first` .. `count` up to the egress, into `queues.Held`; `batch_in.done` is how many."""
        assert self.halves is not None, "Pipeline.load(..., queues=True) has ingress and egress"
        before = self.state.m64[self.layout.lost + 2]
        arrays = (batch_in.data, batch_in.length, batch_in.port)
        copies = int(self.halves[0](self.halves_state, held, *arrays, first, batch_in.count, int(timestamp_us)))
        batch_in.done = int(self.state.m64[self.layout.lost + 3])
        self._check(before)
        return copies

    def egress(
        self, held: Any, rows: npt.NDArray[np.int64], count: int, timestamp_us: int, batch_out: PacketBatch
    ) -> int:
        """Run the egress on the copies in places rows[:count] of `held`; returns how many packets left."""
        assert self.halves is not None, "Pipeline.load(..., queues=True) has ingress and egress"
        before = self.state.m64[self.layout.lost + 2]
        out = (batch_out.data, batch_out.length, batch_out.port)
        sent = int(self.halves[1](self.halves_state, held, rows, count, int(timestamp_us), *out))
        self._check(before)
        return sent

    def new_halves(self) -> ModuleType:
        """The module of the program's two halves, for ports with queues; `use_halves` puts them to use."""
        source, _ = generate(self.program, self.title, queues=True, priorities=self.priorities)
        return build.compiled_module(source) if self.compiled else build.plain_module(source)

    def use_halves(self, module: ModuleType) -> None:
        """Let `ingress` and `egress` work, on the state that `process` has."""
        write = self.trace_writer
        self.trace_to(None)
        self.halves_state = module.State(*self.state)
        self.halves = (module.ingress_step, module.egress_step)
        self.trace_to(write)

    def dropped_from_queue(self, place: int) -> None:
        """Tell a trace that the copy in a place of `queues.Held` found no queue, or a full one."""
        if self.trace_writer is not None:
            self._traced_text(True).tracer.queue_full(place)

    def _check(self, before: int) -> None:
        if self.messages is not None:
            self.messages.tell()
        if self.state.m64[self.layout.lost + 2] != before:
            self.tell_failed()

    def tell_failed(self) -> None:
        """Tell of a packet that failed an assert() or assume(). Raises AssertionFailed if nobody wants to be told."""
        text = "an assert() or assume() of the P4 program does not hold; the packet was dropped"
        if self.on_failed is None:
            raise AssertionFailed(text)
        self.on_failed(text)

    @property
    def lost(self) -> int:
        """Copies that found no room in an output batch, or were longer than its rows."""
        return int(self.state.m64[self.layout.lost])

    @property
    def given_up(self) -> int:
        """Packets that were to pass through the switch again after their `target.PASSES` passes, and were dropped."""
        return int(self.state.m64[self.layout.lost + 4])

    def on_message(self, listener: Callable[[str], None] | None) -> None:
        """Call `listener` with each text of the program's log_msg, after the batch it came from; None: with none."""
        if self.messages is not None:
            self.messages.listen(listener)

    def trace(self, port: int, packet: bytes, timestamp_us: int = 0) -> PacketTrace:
        """Run one packet as `process` does, state and all, and tell each step: what it is, and what it changes.

        The same generator writes the text that runs, with calls of a tracer between its lines, as plain Python: it is
        thousands of times slower. No queue holds the packet up. A failed assert() is a step, and raises nothing.
        """
        self._one.count = 0
        self._one.append(port, packet)
        arrays = (self._one.data, self._one.length, self._one.port, 0, 1, int(timestamp_us))
        traced = self._traced_text(False)
        steps: list[Step] = []
        with traced.heard_by(steps.append):
            count = traced.step(self.state, *arrays, self._out.data, self._out.length, self._out.port)
        return PacketTrace(tuple(steps), tuple(self._out.packet(at) for at in range(count)))

    def trace_to(self, write: Callable[[str], object] | None) -> None:
        """Run every packet as `trace` does from now on, and give `write` each line of its steps; None: no longer."""
        if self._untraced is not None:
            self.step, self.halves = self._untraced
            self._untraced = None
        self.trace_writer = write
        if write is not None:
            self._untraced = self.step, self.halves
            if self.step is not None:
                self.step = self._listened(False, write).step
            if self.halves is not None:
                self.halves = self._listened(True, write).halves

    def _listened(self, halves: bool, write: Callable[[str], object]) -> Traced:
        traced = self._traced_text(halves)
        traced.listen(lambda step: write(f"{step}\n"))
        return traced

    def _traced_text(self, halves: bool) -> Traced:
        if halves not in self._traced:
            self._traced[halves] = Traced(self, halves)
        return self._traced[halves]

    def seed(self, seed: int) -> None:
        """Seed the program's random()."""
        # xorshift must not start at 0; the constant spreads small seeds
        mixed = (seed * 0x9E3779B97F4A7C15 + 0x2545F4914F6CDD1D) & ((1 << 64) - 1) or 1
        self.state.m64[self.layout.random] = np.uint64(mixed).astype(np.int64)

    def reset(self) -> None:
        """Back to the state after loading: no entries, groups, sessions; registers and counters zero."""
        for table in self.tables.values():
            table.clear()
            table.reset_default()
        for profile in self.action_profiles.values():
            profile.clear()
        self.multicast.clear()
        if self.clone_sessions is not None:
            self.clone_sessions.clear()
        for register in self.registers.values():
            register.clear()
        for counter in [*self.counters.values(), *self.direct_counters.values()]:
            counter.clear()
        for value_set in self.value_sets.values():
            value_set.clear()
        if self.digests is not None:
            self.digests.take()
        for meter in [*self.meters.values(), *self.direct_meters.values()]:
            meter.clear()

    def _add_table(self, node: TableNode) -> None:
        place = self.layout.tables[node.name]
        self.tables.add(node.name, partial(self._table, node))
        if node.ages:
            self.hits[node.name] = self.state.m64[place.hits : place.hits + place.size]
        if node.meter is not None:
            self.direct_meters[node.name] = self._meter(node.meter, place.size)
        if node.counters:
            words = self.state.m64.view(np.uint64)
            self.direct_counters[node.name] = Counter(
                node.name,
                words[place.packets : place.packets + place.size],
                words[place.bytes : place.bytes + place.size],
            )

    def _table(self, node: TableNode) -> Table:
        place, m64 = self.layout.tables[node.name], self.state.m64
        actions = [self.program.actions[number] for number in node.action_ids]
        table = (
            Table(node, actions, place, m64)
            if node.profile is None
            else IndirectTable(node, actions, place, m64, self.action_profiles[node.profile])
        )
        if node.meter is not None:
            table.row_resets.append(self.direct_meters[node.name].renew)
        return table

    def _value_set(self, name: str) -> ValueSet:
        values, at = self.program.value_sets[name], self.layout.value_sets[name]
        words = self.state.m64[at : at + 1 + 2 * len(values.bits) * values.size]
        return ValueSet(name, values.size, values.bits, words)

    def _meter(self, name: str, size: int) -> Meter:
        at = self.layout.meters[name]
        return Meter(name, self.program.meters[name].unit, self.state.m64[at : at + METER_WORDS * size])
