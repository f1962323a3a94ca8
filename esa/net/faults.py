"""What a bad network does to packets: loss, duplication, reordering, delay, jitter, bursts; seeded, without a clock.

A *line* is one direction of one link. The model is two parts that do not need each other:

    faults = new_faults([impairment, ...], seeds)        # one line each
    copies = decide(faults, line, now_ns)                # 0, 1 or 2; faults.due_ns[:copies] says when each arrives

    path = FaultyPath(faults, delay_queue(capacity, mtu))
    count = impair(path, messages, lines, count, now_ns) # rows of bytes in, the rows that arrive now out
    wake_ns = next_due_ns(path.queue)

`decide` is for whoever keeps packets itself (virtual time); `impair` keeps their bytes in a queue ordered by due
time, whose memory is bounded: a packet that finds it full is lost, and counted as such.

Every decision is a function of (seed, number of the packet on its line, question) alone, a hash instead of a
generator with a state. So runs repeat, lines do not disturb one another, and asking for duplication does not change
which packets are lost.

Bursts are those of Gilbert and Elliott (Bell System Technical Journal 39 and 42): a line is good or in a burst; each
packet first moves it from one to the other with `burst_enter` or `burst_leave`, then is lost with `loss` or
`burst_loss`.

A link that retries (`retry_us`) loses nothing but what fails MAX_RETRIES times in a row: a packet that would be lost is
as much later as it takes to send it again, and again if that is lost, and what is behind it waits, as with link-layer
retry. What the repeats take of the link's rate is left out.

Without `reorder`, order is kept: jitter delays, but never lets a packet overtake its predecessor. A reordered packet
is held back for up to `reorder_ms`, while its successors pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from esa.native import native, native_uncounted
from esa.net.impairment import Impairment
from esa.net.mmsg import MessageBatch

NEVER = 2**62  # ns; a time that does not come
_NS_PER_MS = 1_000_000
_NS_PER_US = 1_000

_LINE = np.dtype(
    [
        ("seed", np.uint64),
        ("on", np.int64),
        ("loss", np.float64),
        ("burst_loss", np.float64),
        ("burst_enter", np.float64),
        ("burst_leave", np.float64),
        ("duplicate", np.float64),
        ("reorder", np.float64),
        ("reorder_ns", np.int64),
        ("delay_ns", np.int64),
        ("jitter_ns", np.int64),
        ("retry_ns", np.int64),  # -1: it does not
        ("in_burst", np.int64),
        ("last_due_ns", np.int64),  # of the packets in order
    ]
)
COUNTER_NAMES = ("packets", "lost", "duplicated", "reordered", "delayed", "overflowed", "retried")
_COUNTERS = np.dtype([(name, np.int64) for name in COUNTER_NAMES])
MAX_COPIES = 2

# What is asked about each packet; the last three once per copy.
_BURST, _LOSS, _DUPLICATE, _JITTER, _REORDER, _BACK = 0, 1, 2, 4, 6, 8
_QUESTIONS = 16
MAX_RETRIES = 32
_OF_RETRIES = np.uint64(0xD1B54A32D192ED03)  # makes their seed another one
# splitmix64 (Steele, Lea, Flood 2014).
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_SHIFTS = (np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11))
_UNIT = 2.0**-53


class Faults(NamedTuple):
    """What the lines do; make one with `new_faults`. Usable inside native code."""

    line: npt.NDArray[np.void]  # (lines,)
    counter: npt.NDArray[np.void]  # (lines,): see COUNTER_NAMES
    due_ns: npt.NDArray[np.int64]  # (MAX_COPIES,): the last decision's


class DelayQueue(NamedTuple):
    """Packets on their way, by due time; make one with `delay_queue`."""

    fill: npt.NDArray[np.int64]  # (2,): packets held now, packets ever held
    heap: npt.NDArray[np.int64]  # (capacity, 3): due time, order of arrival, row; the first `fill[0]` are a heap
    free: npt.NDArray[np.int64]  # (capacity,): rows; those from `fill[0]` on are free
    data: npt.NDArray[np.uint8]  # (capacity, mtu)
    length: npt.NDArray[np.int32]
    peer: npt.NDArray[np.uint32]  # (capacity, 4)
    line: npt.NDArray[np.int32]


class FaultyPath(NamedTuple):
    """Lines, and the packets on them."""

    faults: Faults
    queue: DelayQueue


def new_faults(impairments: Sequence[Impairment | None], seeds: Sequence[int]) -> Faults:
    """Lines 0, 1, ...: None lets everything pass. Equal seeds and packets give equal decisions."""
    faults = Faults(
        np.zeros(len(impairments), _LINE), np.zeros(len(impairments), _COUNTERS), np.zeros(MAX_COPIES, np.int64)
    )
    for line, impairment, seed in zip(faults.line, impairments, seeds, strict=True):
        if impairment is None:
            continue
        line["on"] = 1
        line["seed"] = seed
        for name in ("loss", "burst_loss", "burst_enter", "burst_leave", "duplicate", "reorder"):
            line[name] = getattr(impairment, name)
        for name in ("reorder", "delay", "jitter"):
            line[f"{name}_ns"] = round(getattr(impairment, f"{name}_ms") * _NS_PER_MS)
        line["retry_ns"] = -1 if impairment.retry_us is None else round(impairment.retry_us * _NS_PER_US)
    return faults


def delay_queue(capacity: int, mtu: int) -> DelayQueue:
    """Room for `capacity` packets of up to `mtu` bytes; the system gives the memory when it is first used."""
    return DelayQueue(
        fill=np.zeros(2, np.int64),
        heap=np.zeros((capacity, 3), np.int64),
        free=np.arange(capacity, dtype=np.int64),
        data=np.zeros((capacity, mtu), np.uint8),
        length=np.zeros(capacity, np.int32),
        peer=np.zeros((capacity, 4), np.uint32),
        line=np.zeros(capacity, np.int32),
    )


def no_faults() -> FaultyPath:
    """A path without lines."""
    return FaultyPath(new_faults([], []), delay_queue(0, 0))


def fault_counters(faults: Faults, line: int) -> dict[str, int]:
    """What was done to a line's packets.

    lost: by `loss` and bursts; duplicated: packets that came twice; reordered, delayed: copies held back; overflowed:
    copies lost because the queue was full; retried: how often the link sent a packet again.
    """
    return {name: int(faults.counter[line][name]) for name in COUNTER_NAMES}


@native_uncounted
def _uniform(line: Any, packet: int, question: int) -> float:
    """A number in [0, 1): a hash of the line's seed, the packet's number and the question."""
    return _hashed(line["seed"], packet * _QUESTIONS + question + 1)


@native_uncounted
def _hashed(seed: Any, number: int) -> float:
    z = seed * _MIX_1 + np.uint64(number) * _GOLDEN
    z = (z ^ (z >> _SHIFTS[0])) * _MIX_1
    z = (z ^ (z >> _SHIFTS[1])) * _MIX_2
    z = z ^ (z >> _SHIFTS[2])
    return float(z >> _SHIFTS[3]) * _UNIT


@native_uncounted
def decide(faults: Faults, number: int, now_ns: int) -> int:
    """What line `number` does to the packet that enters it now: how often it arrives, and in `faults.due_ns` when."""
    line = faults.line[number]
    counter = faults.counter[number]
    packet = counter["packets"]
    counter["packets"] += 1
    change = line["burst_leave"] if line["in_burst"] else line["burst_enter"]
    if _uniform(line, packet, _BURST) < change:
        line["in_burst"] = 1 - line["in_burst"]
    loss = line["burst_loss"] if line["in_burst"] else line["loss"]
    retries = 0
    if _uniform(line, packet, _LOSS) < loss:
        if line["retry_ns"] >= 0:
            retries = _retries(line, packet)
        if retries == 0:
            counter["lost"] += 1
            return 0
        counter["retried"] += retries
    copies = 1
    if _uniform(line, packet, _DUPLICATE) < line["duplicate"]:
        counter["duplicated"] += 1
        copies = 2
    for copy in range(copies):
        jitter_ns = int(_uniform(line, packet, _JITTER + copy) * line["jitter_ns"])
        due_ns = max(now_ns + line["delay_ns"] + jitter_ns + retries * line["retry_ns"], line["last_due_ns"])
        counter["delayed"] += due_ns > now_ns
        if _uniform(line, packet, _REORDER + copy) < line["reorder"]:
            due_ns += 1 + int(_uniform(line, packet, _BACK + copy) * line["reorder_ns"])
            counter["reordered"] += 1
        else:
            line["last_due_ns"] = due_ns
        faults.due_ns[copy] = due_ns
    return copies


@native_uncounted
def _retries(line: Any, packet: int) -> int:
    """How often a lost packet is sent again until it arrives; 0: it never does. Bursts take each for a packet."""
    for retry in range(MAX_RETRIES):
        number = 2 * (packet * MAX_RETRIES + retry) + 1
        change = line["burst_leave"] if line["in_burst"] else line["burst_enter"]
        if _hashed(line["seed"] ^ _OF_RETRIES, number) < change:
            line["in_burst"] = 1 - line["in_burst"]
        loss = line["burst_loss"] if line["in_burst"] else line["loss"]
        if _hashed(line["seed"] ^ _OF_RETRIES, number + 1) >= loss:
            return retry + 1
    return 0


@native
def impair(path: FaultyPath, messages: MessageBatch, lines: npt.NDArray[np.int32], count: int, now_ns: int) -> int:
    """Send rows 0 .. count-1 of the batch over their lines; return how many rows hold what arrives now.

    lines (n,): the line of each row, in and out; a row of another number, or of a line without faults, stays and keeps
    its order. What is due and finds no row stays in the queue, whose `next_due_ns` then is not after `now_ns`.
    """
    kept = 0
    for i in range(count):
        number = lines[i]
        if 0 <= number < len(path.faults.line) and path.faults.line[number]["on"]:
            for copy in range(decide(path.faults, number, now_ns)):
                if not _hold(path.queue, messages, i, number, path.faults.due_ns[copy]):
                    path.faults.counter[number]["overflowed"] += 1
            continue
        if kept != i:
            length = max(messages.length[i], 0)
            messages.data[kept, :length] = messages.data[i, :length]
            messages.length[kept] = messages.length[i]
            if len(messages.peer):
                messages.peer[kept] = messages.peer[i]
            lines[kept] = number
        kept += 1
    while kept < len(messages.length) and next_due_ns(path.queue) <= now_ns:
        _release(path.queue, messages, lines, kept)
        kept += 1
    return kept


@native
def next_due_ns(queue: DelayQueue) -> int:
    """When the next packet arrives; NEVER if none is on its way."""
    return int(queue.heap[0, 0]) if queue.fill[0] else NEVER


@native
def _hold(queue: DelayQueue, messages: MessageBatch, i: int, number: int, due_ns: int) -> bool:
    """Take row `i` of the batch in; False if there is no room."""
    held = queue.fill[0]
    if held == len(queue.heap):
        return False
    row = queue.free[held]
    length = max(messages.length[i], 0)
    queue.data[row, :length] = messages.data[i, :length]
    queue.length[row] = messages.length[i]
    if len(messages.peer):
        queue.peer[row] = messages.peer[i]
    queue.line[row] = number
    queue.fill[0] += 1
    at = held
    while at > 0 and due_ns < queue.heap[(at - 1) // 2, 0]:  # later than equal ones: arrivals count up
        queue.heap[at] = queue.heap[(at - 1) // 2]
        at = (at - 1) // 2
    queue.heap[at, 0] = due_ns
    queue.heap[at, 1] = queue.fill[1]
    queue.heap[at, 2] = row
    queue.fill[1] += 1
    return True


@native
def _release(queue: DelayQueue, messages: MessageBatch, lines: npt.NDArray[np.int32], i: int) -> None:
    """Give the packet that is due first to row `i` of the batch."""
    heap = queue.heap
    row = heap[0, 2]
    length = max(queue.length[row], 0)
    messages.data[i, :length] = queue.data[row, :length]
    messages.length[i] = queue.length[row]
    if len(messages.peer):
        messages.peer[i] = queue.peer[row]
    lines[i] = queue.line[row]
    queue.fill[0] -= 1
    held = queue.fill[0]
    queue.free[held] = row
    at = 0
    while 2 * at + 1 < held:
        child = 2 * at + 1
        if child + 1 < held and _before(heap, child + 1, child):
            child += 1
        if not _before(heap, child, held):
            break
        heap[at] = heap[child]
        at = child
    heap[at] = heap[held]


@native
def _before(heap: npt.NDArray[np.int64], a: int, b: int) -> bool:
    return bool(heap[a, 0] < heap[b, 0] or (heap[a, 0] == heap[b, 0] and heap[a, 1] < heap[b, 1]))
