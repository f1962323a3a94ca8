"""The traffic manager: a queue for each port that has a rate, between the two halves of a program.

    limits = {1: QueueLimit(rate_bps=20e6, depth=64), 2: QueueLimit(rate_pps=1000)}
    queues = Queues(pipeline, limits, frame_bytes=1518, batch=1024)     # Pipeline.load(..., queues=True)
    sent = queues.turn(batch, first, now_ns, out)                       # in: packets first ..; out: what leaves now
    wake_ns = queues.next_due_ns()

As in simple_switch (`set_queue_rate`, `set_queue_depth`): what finds `depth` packets waiting is lost; a packet leaves
as soon as the one before it has had its time, so the one that is being sent does not wait, and counts for no depth; the
egress runs when it leaves. A port has one queue, or as many as `Pipeline.priorities` says, each with a rate and a depth
of its own: a packet waits in the one that its standard_metadata.priority names as the ingress ends, the highest leaves
first, and what names none is lost.

enq_timestamp and deq_timedelta are microseconds, enq_qdepth what waited in its queue when it came, deq_qdepth what
waits when it leaves. A rate in bits counts frames as they came in, without preamble, FCS and gap. A port that is served
late catches up: its rate holds on average. A queue without a rate holds nothing, and has no depths but those that the
caller notes in `Pipeline.queue_depth`. Rates and depths may change while packets wait. Times are nanoseconds of the
caller's clock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from esa.native import native
from esa.switch.compiler import build
from esa.switch.compiler.layout import PORTS
from esa.switch.compiler.program import standard_field
from esa.switch.runtime.batch import PacketBatch
from esa.switch.runtime.pipeline import Pipeline
from esa.switch.runtime.queue_limits import QueueLimit

NEVER = 2**62
_NONE = -1
_QUEUE = np.dtype(
    [
        ("limited", np.int64),
        ("packet_ns", np.float64),  # a packet's time; and for each of its bytes:
        ("byte_ns", np.float64),
        ("depth", np.int64),
        ("waiting", np.int64),
        ("head", np.int64),  # places of `Held`, linked
        ("tail", np.int64),
        ("free_ns", np.float64),  # when the packet before has had its time
        ("dropped", np.int64),
    ]
)


class Held(NamedTuple):
    """Copies between ingress and egress. A place is free, fresh (the ingress has just filled it) or in a queue."""

    cells: npt.NDArray[np.int64]  # (places, cells): the packet's vector, as the ingress has left it
    data: npt.NDArray[np.uint8]  # (places, bytes): the packet, as it came
    length: npt.NDArray[np.int64]
    port: npt.NDArray[np.int64]
    enqueued_ns: npt.NDArray[np.int64]
    enqueued_us: npt.NDArray[np.int64]
    depth_in: npt.NDArray[np.int64]
    depth_out: npt.NDArray[np.int64]
    next: npt.NDArray[np.int64]
    free: npt.NDArray[np.int64]  # (places,); the first fill[0] are free
    fresh: npt.NDArray[np.int64]  # (places,); the first fill[1]
    fill: npt.NDArray[np.int64]  # (2,)


def split(pipeline: Pipeline, progress: Callable[[str], None] | None = None) -> None:
    """Make a pipeline fit for queues, if it is not; `progress` is told when compiling takes time.

    Packets may be running meanwhile, as they did before.
    """
    if pipeline.halves is None:
        module = pipeline.new_halves()
        warm(pipeline, (module.ingress_step, module.egress_step), module.State, progress)
        pipeline.use_halves(module)


def warm(
    pipeline: Pipeline,
    halves: tuple[Any, Any],
    state_type: Callable[..., Any],
    progress: Callable[[str], None] | None = None,
    apart: Callable[[], None] | None = None,
) -> None:
    """Make the machine code of a pipeline's two halves ready; `apart`: as `build.warm_up` has it."""
    if not pipeline.compiled or pipeline.trace_writer is not None:
        return
    batch, out, places = PacketBatch(1, 64), PacketBatch(1, 64), _places(pipeline, 1, 64)
    # Not the pipeline's own state: this writes the time, which packets that are running read.
    blank = state_type(*(np.zeros(array.shape, array.dtype) for array in pipeline.state))
    build.warm_up(halves[0], (blank, places, batch.data, batch.length, batch.port, 0, 0, 0), progress, apart)
    halves[1](blank, places, np.zeros(1, np.int64), 0, 0, out.data, out.length, out.port)


def _places(pipeline: Pipeline, count: int, frame_bytes: int) -> Held:
    return Held(
        np.zeros((count, pipeline.layout.n_cells), np.int64),
        np.zeros((count, frame_bytes), np.uint8),
        **{name: np.zeros(count, np.int64) for name in Held._fields[2:-3]},
        free=np.arange(count),
        fresh=np.zeros(count, np.int64),
        fill=np.array([count, 0]),
    )


Limits = Mapping[int, QueueLimit] | Mapping[tuple[int, int], QueueLimit]


class Queues:
    """The queues of one pipeline, and what waits in them.

    batch: how many packets may leave in a turn; ports without a rate need no more room than that.
    """

    def __init__(self, pipeline: Pipeline, limits: Limits, *, frame_bytes: int, batch: int) -> None:
        self.pipeline = pipeline
        self._priorities = pipeline.priorities
        self._priority_cell = pipeline.layout.cells.get(standard_field(pipeline.program, "priority"), _NONE)
        self._queues = np.zeros(PORTS * self._priorities, _QUEUE)
        self._queues["head"] = self._queues["tail"] = _NONE
        self._limited = np.zeros(0, np.int64)
        self._batch = batch
        self.held = _places(pipeline, batch, frame_bytes)
        self._rows = np.zeros(batch, np.int64)
        self.set_limits(limits)
        # Compiled before the first packet waits for it.
        self.turn(PacketBatch(1, frame_bytes), 0, 0, PacketBatch(batch, frame_bytes))

    def set_limits(self, limits: Limits) -> None:
        """Give queues their rates and depths: by (port, priority), or by port, of all its queues; others have no rate.

        What waits stays, and leaves by the new rates. Needs `Pipeline.lock` where packets may be running.
        """
        by_queue = {
            port * self._priorities + priority: limit
            for key, limit in limits.items()
            for port, priorities in [key if isinstance(key, tuple) else (key, None)]
            for priority in (range(self._priorities) if priorities is None else [priorities])
        }
        for row in self._limited.tolist():
            by_queue.setdefault(row, QueueLimit(depth=int(self._queues[row]["depth"])))
        for row, limit in by_queue.items():
            queue = self._queues[row]
            queue["limited"] = limit.rate_pps is not None or limit.rate_bps is not None
            queue["depth"] = limit.depth
            queue["packet_ns"] = 0.0 if limit.rate_pps is None else 1e9 / limit.rate_pps
            queue["byte_ns"] = 0.0 if limit.rate_bps is None else 8e9 / limit.rate_bps
            if not queue["limited"]:
                queue["free_ns"] = 0.0
        # A queue that has lost its rate is served as long as something waits in it.
        served = [row for row in by_queue if self._queues[row]["limited"] or self._queues[row]["waiting"]]
        n = self._priorities
        self._limited = np.array(sorted(served, key=lambda row: (row // n, -row)), np.int64)
        waiting = int(self._queues[self._limited]["waiting"].sum()) if served else 0
        room = sum(int(self._queues[row]["depth"]) for row in served)
        self._make_room(self._batch + max(room, waiting) + waiting)

    def _make_room(self, places: int) -> None:
        old, count = self.held, len(self.held.port)
        if places <= count:
            return
        new = _places(self.pipeline, places, old.data.shape[1])
        for name in Held._fields[:-3]:
            getattr(new, name)[:count] = getattr(old, name)
        free, fresh = (int(number) for number in old.fill)
        new.free[:free] = old.free[:free]
        new.free[free : free + places - count] = np.arange(count, places)
        new.fresh[:fresh] = old.fresh[:fresh]
        new.fill[:] = free + places - count, fresh
        self.held = new

    def turn(self, batch_in: PacketBatch, first: int, now_ns: int, batch_out: PacketBatch) -> int:
        """Take packets `first` .. `count` in, and let out what is due; returns how many packets are in `batch_out`.

        `batch_in.done` is how many were taken, as of `Pipeline.process_batch`, whose lock it needs, too.
        """
        pipeline, held, now_us = self.pipeline, self.held, now_ns // 1000
        depths, rows = pipeline.queue_depth, self._rows
        count = take_due(self._queues, self._limited, held, rows, 0, now_ns)
        count = self._enqueue(depths, count, now_ns)  # what the last egress has made
        with np.errstate(over="ignore"):
            if count == 0 or len(rows) - count >= len(rows) // 2:
                pipeline.ingress(held, batch_in, first, now_us)
                count = self._enqueue(depths, count, now_ns)
                count = take_due(self._queues, self._limited, held, rows, count, now_ns)
            else:
                batch_in.done = first
            batch_out.count = pipeline.egress(held, rows, count, now_us, batch_out)
        return batch_out.count

    def _enqueue(self, depths: npt.NDArray[np.int64], count: int, now_ns: int) -> int:
        free = int(self.held.fill[0])
        which = (self._priorities, self._priority_cell)
        count = int(enqueue(self._queues, self.held, depths, self._rows, count, now_ns, *which))
        for place in self.held.free[free : self.held.fill[0]]:
            self.pipeline.dropped_from_queue(int(place))
        return count

    def next_due_ns(self) -> int:
        """When the next packet leaves; NEVER if none waits; a time that is over if some may leave at once."""
        return 0 if self.held.fill[1] else int(next_due(self._queues, self._limited, self.held))

    def waiting(self, port: int, priority: int = 0) -> int:
        """Packets that wait in a queue."""
        return int(self._queues[port * self._priorities + priority]["waiting"])

    def dropped(self, port: int) -> int:
        """Packets that found their queue at the port full, or none of their priority."""
        first = port * self._priorities
        return int(self._queues["dropped"][first : first + self._priorities].sum())


@native
def _take_due_of(
    queues: npt.NDArray[np.void], number: int, held: Held, rows: npt.NDArray[np.int64], count: int, now_ns: int
) -> int:
    queue = queues[number]
    while queue["waiting"] > 0 and count < len(rows):
        slot = queue["head"]
        due_ns = max(float(held.enqueued_ns[slot]), queue["free_ns"])
        if due_ns > now_ns:
            break
        queue["head"] = held.next[slot]
        queue["waiting"] -= 1
        queue["free_ns"] = due_ns + queue["packet_ns"] + queue["byte_ns"] * held.length[slot]
        held.depth_out[slot] = queue["waiting"]
        rows[count] = slot
        count += 1
    return count


@native
def enqueue(
    queues: npt.NDArray[np.void],
    held: Held,
    depths: npt.NDArray[np.int64],
    rows: npt.NDArray[np.int64],
    count: int,
    now_ns: int,
    priorities: int,
    priority_cell: int,
) -> int:
    """Put what is fresh into its queues; what has none with a rate into `rows`, as far as there is room."""
    kept = 0
    for k in range(held.fill[1]):
        slot = held.fresh[k]
        port = held.port[slot] & (len(queues) // priorities - 1)
        priority = held.cells[slot, priority_cell] if priority_cell >= 0 else 0
        queue = queues[port * priorities + (priority if 0 <= priority < priorities else 0)]
        held.enqueued_ns[slot], held.enqueued_us[slot] = now_ns, now_ns // 1000
        if priority < 0 or priority >= priorities:
            queue["dropped"] += 1
            held.free[held.fill[0]] = slot
            held.fill[0] += 1
            continue
        if queue["limited"] == 0 and queue["waiting"] == 0:
            held.depth_in[slot] = held.depth_out[slot] = depths[port]
            if count < len(rows):
                rows[count] = slot
                count += 1
            else:
                held.fresh[kept] = slot
                kept += 1
            continue
        count = _take_due_of(queues, port * priorities + priority, held, rows, count, now_ns)
        if queue["waiting"] >= queue["depth"]:
            queue["dropped"] += 1
            held.free[held.fill[0]] = slot
            held.fill[0] += 1
        else:
            held.depth_in[slot] = queue["waiting"]
            held.next[slot] = _NONE
            if queue["waiting"] == 0:
                queue["head"] = slot
            else:
                held.next[queue["tail"]] = slot
            queue["tail"] = slot
            queue["waiting"] += 1
    held.fill[1] = kept
    return count


@native
def take_due(
    queues: npt.NDArray[np.void],
    limited: npt.NDArray[np.int64],
    held: Held,
    rows: npt.NDArray[np.int64],
    count: int,
    now_ns: int,
) -> int:
    """Take out of the queues what leaves by now, port by port, the highest priority first, as far as there is room."""
    for number in limited:
        count = _take_due_of(queues, number, held, rows, count, now_ns)
    return count


@native
def next_due(queues: npt.NDArray[np.void], limited: npt.NDArray[np.int64], held: Held) -> int:
    """When the next packet leaves; NEVER if none waits."""
    due_ns = NEVER
    for number in limited:
        queue = queues[number]
        if queue["waiting"] > 0:
            due_ns = min(due_ns, int(np.ceil(max(float(held.enqueued_ns[queue["head"]]), queue["free_ns"]))))
    return due_ns
