"""The traffic manager: a queue for each port that has a rate, between the two halves of a program.

    limits = {1: QueueLimit(rate_bps=20e6, depth=64), 2: QueueLimit(rate_pps=1000)}
    queues = Queues(pipeline, limits, frame_bytes=1518, batch=1024)     # Pipeline.load(..., queues=True)
    sent = queues.turn(batch, first, now_ns, out)                       # in: packets first ..; out: what leaves now
    wake_ns = queues.next_due_ns()

As in simple_switch (`set_queue_rate`, `set_queue_depth`): what finds `depth` packets waiting is lost; a packet leaves
as soon as the one before it has had its time, so the one that is being sent does not wait, and counts for no depth; the
egress runs when it leaves. enq_timestamp and deq_timedelta are microseconds, enq_qdepth what waited when it came,
deq_qdepth what waits when it leaves. A rate in bits counts frames as they came in, without preamble, FCS and gap. A
port that is served late catches up: its rate holds on average. A port without a rate has no queue, and no depths but
those that the caller notes in `Pipeline.queue_depth`. Times are nanoseconds of the caller's clock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from esa.native import native
from esa.switch.compiler import build
from esa.switch.compiler.layout import PORTS
from esa.switch.runtime.pipeline import PacketBatch, Pipeline

DEFAULT_DEPTH = 64  # packets: BMv2's
NEVER = 2**62
_NONE = -1
_PORT = np.dtype(
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


@dataclass(frozen=True)
class QueueLimit:
    """How fast a port sends, in one of two units, and how many packets may wait."""

    # ValueError at the door (`options.py`): one of the rates is above 0, the depth 1 or more.
    rate_pps: float | None = None
    rate_bps: float | None = None
    depth: int = DEFAULT_DEPTH


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


def warm(pipeline: Pipeline, progress: Callable[[str], None] | None = None) -> None:
    """Make a pipeline's two halves and the queues ready; `progress` is told when compiling takes time."""
    assert pipeline.halves is not None
    batch = PacketBatch(1, 64)
    arrays = (batch.data, batch.length, batch.port, 0, 0, 0)
    build.warm_up(pipeline.halves[0], (pipeline.state, _places(pipeline, 1, 64), *arrays), progress)
    Queues(pipeline, {}, frame_bytes=64, batch=1)


def _places(pipeline: Pipeline, count: int, frame_bytes: int) -> Held:
    return Held(
        np.zeros((count, pipeline.layout.n_cells), np.int64),
        np.zeros((count, frame_bytes), np.uint8),
        **{name: np.zeros(count, np.int64) for name in Held._fields[2:-3]},
        free=np.arange(count),
        fresh=np.zeros(count, np.int64),
        fill=np.array([count, 0]),
    )


class Queues:
    """The queues of one pipeline, and what waits in them.

    batch: how many packets may leave in a turn; ports without a rate need no more room than that.
    """

    def __init__(self, pipeline: Pipeline, limits: Mapping[int, QueueLimit], *, frame_bytes: int, batch: int) -> None:
        self.pipeline = pipeline
        self._limited = np.array(sorted(limits), np.int64)
        self._ports = np.zeros(PORTS, _PORT)
        self._ports["head"] = self._ports["tail"] = _NONE
        for number, limit in limits.items():
            port = self._ports[number]
            port["limited"], port["depth"] = 1, limit.depth
            port["packet_ns"] = 0.0 if limit.rate_pps is None else 1e9 / limit.rate_pps
            port["byte_ns"] = 0.0 if limit.rate_bps is None else 8e9 / limit.rate_bps
        self.held = _places(pipeline, batch + sum(limit.depth for limit in limits.values()), frame_bytes)
        self._rows = np.zeros(batch, np.int64)
        # Compiled before the first packet waits for it.
        self.turn(PacketBatch(1, frame_bytes), 0, 0, PacketBatch(batch, frame_bytes))

    def turn(self, batch_in: PacketBatch, first: int, now_ns: int, batch_out: PacketBatch) -> int:
        """Take packets `first` .. `count` in, and let out what is due; returns how many packets are in `batch_out`.

        `batch_in.done` is how many were taken, as of `Pipeline.process_batch`, whose lock it needs, too.
        """
        pipeline, held, now_us = self.pipeline, self.held, now_ns // 1000
        depths, rows = pipeline.queue_depth, self._rows
        count = take_due(self._ports, self._limited, held, rows, 0, now_ns)
        count = enqueue(self._ports, held, depths, rows, count, now_ns)  # what the last egress has made
        with np.errstate(over="ignore"):
            if count == 0 or len(rows) - count >= len(rows) // 2:
                pipeline.ingress(held, batch_in, first, now_us)
                count = enqueue(self._ports, held, depths, rows, count, now_ns)
                count = take_due(self._ports, self._limited, held, rows, count, now_ns)
            else:
                batch_in.done = first
            batch_out.count = pipeline.egress(held, rows, count, now_us, batch_out)
        return batch_out.count

    def next_due_ns(self) -> int:
        """When the next packet leaves; NEVER if none waits; a time that is over if some may leave at once."""
        return 0 if self.held.fill[1] else int(next_due(self._ports, self._limited, self.held))

    def dropped(self, port: int) -> int:
        """Packets that found the port's queue full."""
        return int(self._ports[port]["dropped"])


@native
def _take_due_of(
    ports: npt.NDArray[np.void], number: int, held: Held, rows: npt.NDArray[np.int64], count: int, now_ns: int
) -> int:
    port = ports[number]
    while port["waiting"] > 0 and count < len(rows):
        slot = port["head"]
        due_ns = max(float(held.enqueued_ns[slot]), port["free_ns"])
        if due_ns > now_ns:
            break
        port["head"] = held.next[slot]
        port["waiting"] -= 1
        port["free_ns"] = due_ns + port["packet_ns"] + port["byte_ns"] * held.length[slot]
        held.depth_out[slot] = port["waiting"]
        rows[count] = slot
        count += 1
    return count


@native
def enqueue(
    ports: npt.NDArray[np.void],
    held: Held,
    depths: npt.NDArray[np.int64],
    rows: npt.NDArray[np.int64],
    count: int,
    now_ns: int,
) -> int:
    """Put what is fresh into its ports' queues; of ports without a rate into `rows`, as far as there is room."""
    kept = 0
    for k in range(held.fill[1]):
        slot = held.fresh[k]
        number = held.port[slot] & (len(ports) - 1)
        port = ports[number]
        held.enqueued_ns[slot], held.enqueued_us[slot] = now_ns, now_ns // 1000
        if port["limited"] == 0:
            held.depth_in[slot] = held.depth_out[slot] = depths[number]
            if count < len(rows):
                rows[count] = slot
                count += 1
            else:
                held.fresh[kept] = slot
                kept += 1
            continue
        count = _take_due_of(ports, number, held, rows, count, now_ns)
        if port["waiting"] >= port["depth"]:
            port["dropped"] += 1
            held.free[held.fill[0]] = slot
            held.fill[0] += 1
        else:
            held.depth_in[slot] = port["waiting"]
            held.next[slot] = _NONE
            if port["waiting"] == 0:
                port["head"] = slot
            else:
                held.next[port["tail"]] = slot
            port["tail"] = slot
            port["waiting"] += 1
    held.fill[1] = kept
    return count


@native
def take_due(
    ports: npt.NDArray[np.void],
    limited: npt.NDArray[np.int64],
    held: Held,
    rows: npt.NDArray[np.int64],
    count: int,
    now_ns: int,
) -> int:
    """Take out of the queues what leaves by now, port by port, into `rows`, as far as there is room."""
    for number in limited:
        count = _take_due_of(ports, number, held, rows, count, now_ns)
    return count


@native
def next_due(ports: npt.NDArray[np.void], limited: npt.NDArray[np.int64], held: Held) -> int:
    """When the next packet leaves; NEVER if none waits."""
    due_ns = NEVER
    for number in limited:
        port = ports[number]
        if port["waiting"] > 0:
            due_ns = min(due_ns, int(np.ceil(max(float(held.enqueued_ns[port["head"]]), port["free_ns"]))))
    return due_ns
