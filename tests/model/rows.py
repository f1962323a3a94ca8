"""The switch under test: the compiled program, its rows in plain sight, and the rule that each packet must follow.

`rule` is section 4 of the protocol written down a second time, as a function of one row and one packet.
"""

from __future__ import annotations

import json
import struct
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from esa import wire
from esa.entries import job_entries as entries
from esa.entries.direct import apply, remove
from esa.job import Pool, Run
from esa.policy import Aging, Emit, Policy, Preempt, Release
from esa.program import program
from esa.switch import Pipeline
from esa.wire import Flag, Kind

ROWS = 128  # of the switch's rows, those that the model's pools use
_HEADER = struct.Struct(">BBBbHHIIII")
_META = ("owner", "bitmap", "priority", "exponent", "flags", "time_us")
PAYLOAD = wire.ENCAPSULATION_BYTES + wire.HEADER_BYTES


class Header(NamedTuple):
    """An ESA packet, dissected."""

    kind: int
    flags: int
    priority: int
    exponent: int
    job: int
    epoch: int
    seq: int
    index: int
    bitmap0: int
    bitmap1: int
    lanes: bytes

    @classmethod
    def of(cls, frame: bytes) -> Header:
        first, *fields = _HEADER.unpack_from(frame, wire.ENCAPSULATION_BYTES)
        return cls(first & 15, *fields, frame[PAYLOAD:])


KEPT = 0x40  # in a row's flags


class Row(NamedTuple):
    """One aggregator; `bitmap` 0 is a free one, whose other fields mean nothing unless it keeps a sum (KEPT)."""

    owner: tuple[int, int, int]  # job, epoch, seq
    bitmap: int
    priority: int
    exponent: int
    flags: int
    time_us: int


class Rule(NamedTuple):
    """What must happen: the row after the packet, and what leaves: (kind, how many)."""

    verdict: str
    row: Row
    out: tuple[int, int] | None


class Knobs(NamedTuple):
    """What the switch was told about a job."""

    policy: Policy
    pool: Pool
    fan_in: int
    ttl_us: int

    @property
    def full(self) -> int:
        return (1 << self.fan_in) - 1


def rule(row: Row, packet: Header, knobs: Knobs, now_us: int, owner_known: bool, swapped: bool) -> Rule:
    """The rule for an admitted packet of a job with rows. Where a coin decides, `swapped` says how it fell."""
    policy, full = knobs.policy, knobs.full
    fragment = (packet.job, packet.epoch, packet.seq)
    same = row.bitmap != 0 and row.owner == fragment
    empty = row._replace(bitmap=0)
    to_group = (Kind.RESULT, knobs.fan_in)
    whole_sum = to_group if policy.emit == Emit.TO_WORKERS else (Kind.PARTIAL, 1)
    partial = (Kind.PARTIAL, 1)
    reuse, keeps = policy.release == Release.ON_REUSE, policy.release == Release.KEPT
    kept = keeps and row.bitmap == 0 and bool(row.flags & KEPT) and row.owner == fragment
    only_adds = keeps and bool(packet.flags & Flag.RESEND)
    flushes = policy.release == Release.ON_ACK_OR_RESEND and bool(packet.flags & Flag.RESEND)
    passes = Rule("passes", row, (packet.kind, 1))
    # A RESEND that brings nothing new goes on to the PS: whoever sends it lacks a result that no row will complete.
    again = (Kind.GRADIENT, 1) if packet.flags & Flag.RESEND else None

    if packet.kind == Kind.REMINDER:
        return Rule("FETCH", empty, partial) if same else Rule("MISS", row, (Kind.MISS, 1))
    if packet.kind == Kind.RESULT and not packet.flags & Flag.ANSWER:
        return Rule("RELEASE" if same else "passes", empty if same else row, to_group)
    if packet.kind == Kind.GRADIENT and flushes and same:
        return Rule("FLUSH", empty, partial)
    if packet.kind != Kind.GRADIENT or (packet.flags & Flag.RESEND and not (reuse or keeps)):
        return passes

    taken = Row(fragment, packet.bitmap0, packet.priority, packet.exponent, packet.flags & Flag.ECN, now_us)
    complete = packet.bitmap0 == full
    held = policy.releases_on_ack or reuse
    if complete and not held:
        return Rule("ALONE", row, whole_sum)
    if kept:
        return Rule("ANSWER, kept", row, (whole_sum[0], 1))
    if row.bitmap == 0 and only_adds:
        return passes
    if row.bitmap == 0:
        return Rule("SEAT", taken, whole_sum if complete else None)
    if same and row.bitmap & packet.bitmap0:
        if row.bitmap == full:
            return Rule("ANSWER", row, (whole_sum[0], 1))
        return Rule("DUPLICATE", row, again)
    if same:
        added = Row(
            fragment,
            row.bitmap | packet.bitmap0,
            max(row.priority, packet.priority),
            max(row.exponent, packet.exponent),
            row.flags | packet.flags & Flag.ECN,
            now_us,
        )
        if only_adds and added.bitmap != full:
            return Rule("ADD, resent", added, None)
        if added.bitmap == full:
            freed = added._replace(bitmap=0, flags=added.flags | (KEPT if keeps else 0))
            return Rule("ADD, complete", added if held else freed, whole_sum)
        return Rule("ADD", added, None)

    if only_adds:
        return passes
    if not owner_known:  # its run has ended
        return Rule("RECLAIM", taken, whole_sum if complete else None)
    own = row.owner[:2] == fragment[:2]
    newer = 0 < (packet.seq - row.owner[2]) % 2**32 < 2**31
    if reuse and own and not newer:
        return Rule("DUPLICATE", row, again)
    if reuse and own:
        return Rule("RESEAT", taken, whole_sum if complete else None)
    expired = knobs.ttl_us != 0 and now_us - row.time_us > knobs.ttl_us
    preempts = {
        Preempt.NEVER: False,
        Preempt.HIGHER: packet.priority > row.priority,
        Preempt.ALWAYS: True,
        Preempt.COIN: swapped,
        Preempt.NOT_LOWER: packet.priority >= row.priority,
    }[policy.preempt]
    if expired or preempts:
        return Rule("SWAP, expired" if expired else "SWAP", taken, partial)
    if policy.aging == Aging.MARK:
        row = row._replace(flags=row.flags | Flag.CONTESTED)
    if policy.aging == Aging.HALVE:
        row = row._replace(priority=row.priority >> 1)
    return Rule("COLLIDE", row, (Kind.GRADIENT, 1))


@lru_cache
def loaded(path: Path, compiled: bool) -> Pipeline:
    """A program, loaded once per process."""
    return Pipeline.load(json.loads(path.read_text()), compiled=compiled)


def _side_by_side(lanes: list[np.ndarray]) -> np.ndarray:
    """The lane registers as one live view (ROWS, lanes): a row's lanes lie together."""
    if not lanes:
        return np.zeros((ROWS, 0), np.uint32)
    start = lanes[0].__array_interface__["data"][0]
    assert [a.__array_interface__["data"][0] - start for a in lanes] == list(range(0, 4 * len(lanes), 4))
    return np.lib.stride_tricks.as_strided(lanes[0], (ROWS, len(lanes)), (lanes[0].strides[0], 4))


class Switch:
    """The program with the jobs that it was told of."""

    def __init__(self, lanes: int, path: Path | None = None, compiled: bool = True):
        self.pipeline = loaded(path or program(lanes).json, compiled)
        self.lanes = lanes
        registers = self.pipeline.registers
        cells = {name: registers[f"EsaIngress.aggregation.row_{name}"]._cells for name in _META}
        self._all_bitmaps = cells["bitmap"]
        self._meta = [cells[name][:ROWS] for name in _META]
        names = sorted(name for name in registers if ".lane_" in name)
        self._lane = _side_by_side([registers[name]._cells[:ROWS] for name in names])
        self._seated = self.pipeline.counters[entries.COUNTERS["seated"]].packets
        self._released = self.pipeline.counters[entries.COUNTERS["released"]].packets
        self.jobs: dict[tuple[int, int], tuple[int, Knobs]] = {}  # (job, epoch) -> index of its counters, knobs
        self.restart(0)

    def restart(self, now_us: int) -> None:
        """Lose rows, counters and entries; the clock starts anew."""
        self.pipeline.reset()
        self.jobs.clear()
        self._started_us = now_us

    def add(self, job: Run, policy: Policy, pool: Pool) -> None:
        used = {index for index, _ in self.jobs.values()}
        self._add(job, policy, pool, min(set(range(1, len(used) + 2)) - used))

    def _add(self, job: Run, policy: Policy, pool: Pool, index: int) -> None:
        installed = entries.InstalledJob.of(job, index).under(policy, pool, job.ttl_us)
        self.pipeline.multicast.set(installed.group, [tuple(r) for r in entries.job_group(installed).replicas])
        table = self.pipeline.tables[entries.DESTINATION]
        there = {entry.match for entry in table.entries()}
        hosts = [entries.host_entry(m.mac, m.switch_port) for m in job.members]
        apply([*(h for h in hosts if h.match not in there), *entries.job_entries(installed)], self.pipeline)
        self.jobs[job.job, job.epoch] = index, Knobs(policy, pool, job.fan_in, job.ttl_us)

    def remove(self, job: Run) -> None:
        index, _ = self.jobs[job.job, job.epoch]
        self._end(job)
        self._retire_counters(index)
        self.pipeline.multicast.delete(entries.FIRST_JOB_GROUP + index)

    def start_run(self, old: Run, new: Run) -> None:
        """As the controller does: index and policy stay, the new run's entries come before the old one's go."""
        index, knobs = self.jobs[old.job, old.epoch]
        if new.epoch == old.epoch:  # a mutant's
            self._end(old)
        self._add(new, knobs.policy, knobs.pool, index)
        if new.epoch != old.epoch:
            self._end(old)
        self._retire_counters(index)

    def _end(self, run: Run) -> None:
        index, knobs = self.jobs.pop((run.job, run.epoch))
        installed = entries.InstalledJob.of(run, index).under(knobs.policy, knobs.pool, run.ttl_us)
        remove(entries.job_entries(installed), self.pipeline)

    def _retire_counters(self, index: int) -> None:
        # As the controller does: rows left behind count for index 0.
        self._seated[0] += self._seated[index] - self._released[index]
        self._seated[index] = self._released[index] = 0

    def change(self, job: Run, policy: Policy, pool: Pool) -> None:
        index, _ = self.jobs[job.job, job.epoch]
        installed = entries.InstalledJob.of(job, index).under(policy, pool, job.ttl_us)
        entry = entries.policy_entry(installed)
        self.pipeline.tables[entry.table].modify(entry.match, entry.action, entry.params)
        self.jobs[job.job, job.epoch] = index, Knobs(policy, pool, job.fan_in, job.ttl_us)

    def row(self, slot: int) -> Row:
        owner, bitmap, priority, exponent, flags, time_us = (int(cells[slot]) for cells in self._meta)
        name = (owner >> 48 & 0xFFFF, owner >> 32 & 0xFFFF, owner & 0xFFFFFFFF)
        return Row(name, bitmap, priority, (exponent ^ 0x80) - 0x80, flags, time_us)

    def free(self, slot: int, flags: int) -> None:
        """For a mutant: as a control plane could that writes registers."""
        self._meta[1][slot], self._meta[4][slot] = 0, flags
        self._released[0] += 1

    def row_lanes(self, slot: int) -> bytes:
        return self._lane[slot].astype(">u4").tobytes()

    def taken(self) -> list[int]:
        return np.flatnonzero(self._meta[1]).tolist()

    def time_us(self, now_us: int) -> int:
        """The switch's own clock."""
        return now_us - self._started_us + 1

    def snapshot(self) -> tuple[np.ndarray, np.ndarray]:
        """Every row: (fields, ROWS), (ROWS, lanes)."""
        return np.array(self._meta), self._lane.copy()

    def occupancy(self) -> tuple[int, int, int]:
        """Rows taken: by the counters, by the rows, and by those rows that the model's pools use."""
        counted = int(self._seated.sum()) - int(self._released.sum())
        return counted, int(np.count_nonzero(self._all_bitmaps)), int(np.count_nonzero(self._meta[1]))
