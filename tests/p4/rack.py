"""One rack in one process: the compiled program, the controller's entries, packets in and dissected packets out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from esa import wire
from esa.entries import job_entries as entries
from esa.entries.direct import apply, remove
from esa.job import Pool, Run
from esa.program import program
from esa.switch import Pipeline
from tests.p4.traffic import Packet, ones_complement_sum

SWITCH_IP = "10.0.0.250"


@dataclass(frozen=True)
class Seen:
    """An ESA packet that left the switch by `port`."""

    port: int
    dst_mac: str
    src_mac: str
    src_ip: str
    dst_ip: str
    src_port: int
    dst_port: int
    checksum_ok: bool
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
    lanes: list[int]


def dissect(port: int, frame: bytes) -> Seen:
    payload = frame[wire.ENCAPSULATION_BYTES :]
    record = np.frombuffer(payload, wire.packet_dtype((len(payload) - wire.HEADER_BYTES) // 4))[0]
    names = ("flags", "priority", "exponent", "job", "epoch", "seq", "index", "bitmap0", "bitmap1")
    return Seen(
        port=port,
        dst_mac=frame[0:6].hex(":"),
        src_mac=frame[6:12].hex(":"),
        src_ip=".".join(map(str, frame[26:30])),
        dst_ip=".".join(map(str, frame[30:34])),
        src_port=int.from_bytes(frame[34:36], "big"),
        dst_port=int.from_bytes(frame[36:38], "big"),
        checksum_ok=ones_complement_sum(frame[14:34]) == 0,
        kind=int(record["version_kind"]) & 15,
        lanes=record["lane"].tolist(),
        **{name: int(record[name]) for name in names},
    )


@lru_cache
def loaded(lanes: int, compiled: bool) -> Pipeline:
    """The program, loaded once per process; `Rack` empties it."""
    return Pipeline.load(program(lanes).json.read_text(), compiled=compiled)


def items_of(jobs: list[Run]) -> list[entries.Entry | entries.Group]:
    """Everything that a switch with these jobs holds: groups first, because entries refer to them."""
    hosts = {m.mac: m.switch_port for j in jobs for m in j.members}
    installed = [entries.InstalledJob.of(j, index=n + 1) for n, j in enumerate(jobs)]
    groups = [entries.flood_group(hosts.values()), *(entries.job_group(j) for j in installed)]
    forwarding = [entries.broadcast_entry(), *(entries.host_entry(mac, port) for mac, port in hosts.items())]
    runs = [entries.run_entry(j.job, j.epoch) for j in jobs]
    return [*groups, *forwarding, *runs, *(entry for j in installed for entry in entries.job_entries(j))]


class Rack:
    """A switch with `jobs` added; every member's host and port is known to it."""

    def __init__(self, jobs: list[Run], lanes: int = 64, compiled: bool = True):
        self.pipeline = loaded(lanes, compiled)
        self.pipeline.reset()
        self.jobs = list(jobs)
        self.ports = sorted({m.switch_port for j in jobs for m in j.members})
        apply(items_of(jobs), self.pipeline)
        self.now_us = 0

    def send(self, packet: Packet, port: int | None = None, at_us: int | None = None) -> list[Seen]:
        self.now_us = self.now_us + 1 if at_us is None else at_us
        port = packet.source.switch_port if port is None else port
        return [dissect(*out) for out in self.pipeline.process(port, packet.frame(), self.now_us)]

    def remove(self, job: Run) -> None:
        remove(entries.job_entries(self._installed(job)), self.pipeline)

    def start_run(self, job: Run) -> tuple[Run, list[entries.Entry], list[entries.Entry]]:
        """Give a job its next run, as the controller does; (run, entries that came, entries that went)."""
        new = job.run(job.epoch + 1)
        index = self.jobs.index(job)
        gone = [entries.run_entry(job.job, job.epoch), *entries.job_entries(self._installed(job))]
        self.jobs[index] = new
        come = [entries.run_entry(new.job, new.epoch), *entries.job_entries(self._installed(new))]
        apply(come, self.pipeline)
        remove(gone, self.pipeline)
        return new, come, gone

    def move(self, job: Run, pool: Pool) -> entries.Entry:
        """Give a running job other rows, as the controller does; its new policy entry."""
        moved = job.model_copy(update={"pool": pool})
        self.jobs[self.jobs.index(job)] = moved
        entry = entries.policy_entry(self._installed(moved))
        self.pipeline.tables[entry.table].modify(entry.match, entry.action, entry.params)
        return entry

    def _installed(self, job: Run) -> entries.InstalledJob:
        return entries.InstalledJob.of(job, index=self.jobs.index(job) + 1)

    def counted(self, counter: str, job: Run) -> int:
        return int(self.pipeline.counters[entries.COUNTERS[counter]].packets[self.jobs.index(job) + 1])

    def counted_for_nobody(self, counter: str) -> int:
        return int(self.pipeline.counters[entries.COUNTERS[counter]].packets[0])

    def denied(self, reason: str) -> int:
        return int(self.pipeline.counters[entries.DENIED_BY_REASON].packets[entries.DENY_REASONS.index(reason)])

    def held(self) -> int:
        """Rows taken, by the counters; the rows themselves must agree."""
        rows = int(np.count_nonzero(self.pipeline.registers["EsaIngress.aggregation.row_bitmap"].read_all()))
        seated, released = (
            int(self.pipeline.counters[entries.COUNTERS[name]].packets.sum()) for name in ("seated", "released")
        )
        assert seated - released == rows
        return rows

    def rows(self) -> dict[str, list[int]]:
        return {name: register.read_all().tolist() for name, register in self.pipeline.registers.items()}
