"""The switch's program: what is not entitled changes nothing, and what leaves a row is the sum of who is in it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from esa import wire
from esa.entries import job_entries as entries
from esa.entries.direct import apply, remove
from esa.job import Pool, Run
from esa.switch import Pipeline
from esa.wire import ESA_PORT, Flag, Kind
from tests.fuzz import steps as inputs
from tests.fuzz.machines import Machines
from tests.p4 import traffic
from tests.p4.rack import items_of

HEADERS = wire.ENCAPSULATION_BYTES + wire.HEADER_BYTES
FRAME = wire.packet_bytes(64)
START_RUN = 0xF0  # a step with `do` from here on: job do & 3 has a new run
ROWS = 16  # of the switch's rows those that the jobs' pools can name


class Entitlement:
    """Admission once more, from docs/protocol.md and the jobs' files, not from the program."""

    def __init__(self, jobs: list[Run]):
        self.port_of = {}
        self.senders = {}
        self.newest = {(j.job, j.epoch) for j in jobs}
        self.hosts = [m for j in jobs for m in (*j.workers, j.server)]
        for member in self.hosts:
            self.port_of[bytes.fromhex(member.mac.replace(":", ""))] = member.switch_port
        for j in jobs:
            for rank, member in enumerate((*j.workers, j.server)):
                key = (member.switch_port, member.ip.packed, member.udp_port, j.job, j.epoch)
                self.senders[key] = rank if rank < j.fan_in else -1

    def verdict(self, port: int, frame: bytes) -> str:
        """ "other" for what is not ESA's, "admitted", or the reason why it is dropped."""
        if not is_esa(frame):
            return "other"
        lengths = int.from_bytes(frame[38:40], "big"), int.from_bytes(frame[16:18], "big")
        summed = traffic.ones_complement_sum(frame[14:24] + b"\0\0" + frame[26:34])
        well_formed = (
            not is_disguised(frame)
            and len(frame) >= FRAME
            and frame[42] >> 4 == wire.VERSION
            and lengths == (FRAME - 34, FRAME - 14)
        )
        if not well_formed or summed != int.from_bytes(frame[24:26], "big"):
            return "malformed"
        header = np.frombuffer(frame, wire.HEADER, 1, wire.ENCAPSULATION_BYTES)[0]
        source = (port, frame[26:30], int.from_bytes(frame[34:36], "big"), int(header["job"]), int(header["epoch"]))
        rank = self.senders.get(source)
        if rank is None:
            return "unknown sender" if source[3:] in self.newest else "other run"
        kind, flags = int(header["version_kind"]) & 15, int(header["flags"]) & ~Flag.ECN
        if rank < 0:
            return "admitted" if kind in (Kind.RESULT, Kind.REMINDER, Kind.QUERY) else "kind"
        if (int(header["bitmap0"]), int(header["bitmap1"])) != (1 << rank, 1):
            return "bitmap"
        good = (kind, flags) in ((Kind.GRADIENT, 0), (Kind.GRADIENT, Flag.RESEND), (Kind.RESULT, Flag.ANSWER))
        return "admitted" if good else "kind"

    def forwarded(self, port: int, frame: bytes) -> list[tuple[int, bytes]]:
        """Where a frame that is not ESA's goes, by its destination alone."""
        if len(frame) < 14:
            return []
        if frame[:6] == b"\xff" * 6:
            return sorted((p, frame) for p in {m.switch_port for m in self.hosts} - {port})
        return [(self.port_of[frame[:6]], frame)] if frame[:6] in self.port_of else []


def is_esa(frame: bytes) -> bool:
    """Whether the switch treats a frame as an ESA packet: addressed like one, or one to its receiver's kernel."""
    if is_disguised(frame):
        return True
    if len(frame) < wire.ENCAPSULATION_BYTES or frame[12:14] != b"\x08\x00" or frame[23] != 17:
        return False
    return ESA_PORT.to_bytes(2, "big") in (frame[34:36], frame[36:38])


def is_disguised(frame: bytes) -> bool:
    """Behind a VLAN tag, or UDP in fragments or behind IP options."""
    if frame[12:14] in (b"\x81\x00", b"\x88\xa8", b"\x91\x00"):
        return True
    if len(frame) < 34 or frame[12:14] != b"\x08\x00" or frame[23] != 17:
        return False
    return frame[14] & 15 != 5 or int.from_bytes(frame[20:22], "big") & 0x3FFF != 0


def contributors(header: np.void) -> list[tuple[int, int]]:
    """(rack, worker) bits that a header's bitmaps name, where the rack is one."""
    return [
        (rack, bit) for rack in inputs.bits(int(header["bitmap1"]))[:1] for bit in inputs.bits(int(header["bitmap0"]))
    ]


class SwitchTarget:
    name = "switch"

    def __init__(self) -> None:
        pool, own = Pool(base=0, size=4), Pool(base=4, size=8)
        self.jobs = [
            traffic.job(1, "esa", workers=3, pool=pool, ports=64),
            traffic.job(2, "atp", workers=2, pool=pool, ports=64, ttl_us=1000),
            traffic.job(3, "switchml", workers=2, pool=own, ports=64),
            traffic.job(4, "ps", workers=2, pool=pool, ports=64),
        ]
        self.entitled = Entitlement(self.jobs)
        self.hosts = self.entitled.hosts
        self._ready: set[str] = set()
        self.genuine = self._genuine()

    def _genuine(self) -> np.ndarray:
        out, at = [], {m.ip: n for n, m in enumerate(self.hosts)}
        for j in self.jobs:
            server = at[j.server.ip]
            for seq in range(3):
                for rank, member in enumerate(j.workers):
                    for kind, flags in ((Kind.GRADIENT, 0), (Kind.GRADIENT, Flag.RESEND), (Kind.RESULT, Flag.ANSWER)):
                        out.append(self._step(j, kind, flags, seq, at[member.ip], server, 1 << rank, 0))
                to_switch = inputs.TO_SWITCH
                out.append(self._step(j, Kind.REMINDER, 0, seq, server, server, 0, to_switch))
                out.append(self._step(j, Kind.RESULT, Flag.RELEASE, seq, server, at[j.workers[0].ip], 3, 0))
                out.append(self._step(j, Kind.QUERY, 0, seq, server, at[j.workers[0].ip], 1, inputs.TO_WORKER))
        return inputs.joined([*out, *self._of_the_next_run(out)])

    @staticmethod
    def _of_the_next_run(steps: list[np.ndarray]) -> Iterator[np.ndarray]:
        """The same again, under the next epoch; and the beginning of that run, again and again."""
        for number, step in enumerate(steps):
            later = step.copy()
            later["header"]["epoch"] += 1
            yield later
            if number % 6 == 0:
                start = inputs.blank()
                start["do"] = START_RUN + number // 6 % 4
                yield start

    @staticmethod
    def _step(j: Run, kind: Kind, flags: int, seq: int, member: int, peer: int, bitmap0: int, shape: int) -> np.ndarray:
        step = inputs.blank()
        step["member"], step["peer"], step["shape"] = member, peer, shape
        header = step["header"]
        header["version_kind"], header["flags"], header["seq"] = wire.version_kind(kind), flags, seq
        header["job"], header["epoch"], header["bitmap0"], header["index"] = j.job, j.epoch, bitmap0, seq
        step["header"] = header
        return step

    def _reset(self, machines: Machines) -> None:
        pipeline = machines.pipeline
        if machines.name not in self._ready:
            pipeline.reset()
            apply(items_of(self.jobs), pipeline)
            self._ready.add(machines.name)
        rows, counts = self._memory(machines)
        for array in (*rows, counts):
            array[:] = 0

    def _memory(self, machines: Machines) -> tuple[list[np.ndarray], np.ndarray]:
        """What packets change, without copies: the first rows' arrays, lanes as one, and all counters as one."""
        pipeline = machines.pipeline
        m32, m64, layout = pipeline.state.m32, pipeline.state.m64, pipeline.layout
        lanes = layout.registers["EsaIngress.aggregation.lanes.lane_00"]
        rows = [r._cells[:ROWS] for name, r in pipeline.registers.items() if ".lanes." not in name]
        rows.append(m32[lanes.offset : lanes.offset + ROWS * lanes.stride])
        first = min(layout.counters.values())
        sizes = {at: pipeline.program.counters[name].size for name, at in layout.counters.items()}
        counts = m64[first : max(at + 2 * size for at, size in sizes.items())]
        self._packets = np.concatenate([np.arange(at - first, at - first + size) for at, size in sizes.items()])
        self._denied = layout.counters[entries.COUNTERS["denied"]] - first
        return rows, counts

    def frames(self, steps: np.ndarray) -> list[tuple[int, bytes, int]]:
        """(ingress port, frame, time) of each step."""
        now_us, out = 0, []
        for step in steps:
            now_us += 1 << int(step["wait"]) % 40 if step["wait"] else 1
            out.append((*inputs.frame(step, self.hosts, self.jobs[0], contributors(step["header"])), now_us))
        return out

    def run(self, machines: Machines, steps: np.ndarray) -> list[bytes]:
        self._reset(machines)
        pipeline = machines.pipeline
        rows, counts = self._memory(machines)
        counters = pipeline.counters
        reasons, denied = counters[entries.DENIED_BY_REASON].packets, counters[entries.COUNTERS["denied"]].packets
        seated, released = (counters[entries.COUNTERS[name]].packets for name in ("seated", "released"))
        bitmap = pipeline.registers["EsaIngress.aggregation.row_bitmap"]._cells
        tainted: set[bytes] = set()
        log = []
        jobs, entitled = list(self.jobs), self.entitled
        for step, (port, frame, now_us) in zip(steps, self.frames(steps), strict=True):
            if step["do"] >= START_RUN:
                number = int(step["do"]) & 3
                self._ready.discard(machines.name)  # until the first runs are back, below
                jobs[number] = self._replace(pipeline, number, jobs[number], jobs[number].run(jobs[number].epoch + 1))
                entitled = Entitlement(jobs)
                continue
            verdict = entitled.verdict(port, frame)
            if verdict == "admitted":
                self._taint(tainted, frame)
            else:
                before, counts_before = [row.tobytes() for row in rows], counts.copy()
            left = pipeline.process(port, frame, now_us)
            log += [bytes([p & 255]) + data for p, data in left]
            if verdict == "admitted":
                for to, data in left:
                    self._check(tainted, frame, to, data)
                assert seated.sum() - released.sum() == np.count_nonzero(bitmap[:ROWS]), "occupancy by counters"
                continue
            assert before == [row.tobytes() for row in rows], f"{verdict}: a row changed"
            expected = entitled.forwarded(port, frame) if verdict == "other" else []
            assert sorted(left) == expected, f"{verdict}: {len(left)} packets left, not {len(expected)}"
            if verdict != "other":
                reasons[entries.DENY_REASONS.index(verdict)] -= 1
                denied[denied > counts_before[self._denied : self._denied + len(denied)]] -= 1
            changed = np.count_nonzero(counts[self._packets] != counts_before[self._packets])
            assert not changed, f"{verdict}: not counted as that, or as something else, too"
            if verdict != "other":
                reasons[entries.DENY_REASONS.index(verdict)] += 1
        for number, (last, first) in enumerate(zip(jobs, self.jobs, strict=True)):
            if last is not first:
                self._replace(pipeline, number, last, first)
        self._ready.add(machines.name)
        return [*log, *(row.tobytes() for row in rows), counts.tobytes()]

    @staticmethod
    def _replace(pipeline: Pipeline, number: int, old: Run, new: Run) -> Run:
        """One run of a job takes another's place."""
        for run, do in ((new, apply), (old, remove)):
            items = entries.job_entries(entries.InstalledJob.of(run, index=number + 1))
            do([entries.run_entry(run.job, run.epoch), *items], pipeline)
        return new

    @staticmethod
    def _taint(tainted: set[bytes], frame: bytes) -> None:
        header = np.frombuffer(frame, wire.HEADER, 1, wire.ENCAPSULATION_BYTES)[0]
        if int(header["version_kind"]) & 15 in (Kind.GRADIENT, Kind.RESULT) and not _is_honest(header, frame):
            tainted.add(frame[46:54])

    @staticmethod
    def _check(tainted: set[bytes], frame: bytes, port: int, data: bytes) -> None:
        assert len(data) == len(frame), f"{len(frame)} bytes came, {len(data)} leave"
        assert traffic.ones_complement_sum(data[14:34]) == 0, "IPv4 checksum of a packet that leaves"
        header = np.frombuffer(data, wire.HEADER, 1, wire.ENCAPSULATION_BYTES)[0]
        kind = int(header["version_kind"]) & 15
        assert int(header["version_kind"]) >> 4 == wire.VERSION
        if kind == Kind.GRADIENT:
            assert data[HEADERS:] == frame[HEADERS:], "a gradient that passes is changed"
        elif kind in (Kind.PARTIAL, Kind.RESULT) and data[46:54] not in tainted:
            assert _is_honest(header, data), f"port {port}: not the sum of workers {int(header['bitmap0']):b}"

    def readable(self, steps: np.ndarray) -> list[tuple[str, bytes | None]]:
        """What an input does, for people: a line, and the frame if it is one."""
        out: list[tuple[str, bytes | None]] = []
        jobs, entitled = list(self.jobs), self.entitled
        for step, (port, frame, now_us) in zip(steps, self.frames(steps), strict=True):
            if step["do"] >= START_RUN:
                number = int(step["do"]) & 3
                jobs[number] = jobs[number].run(jobs[number].epoch + 1)
                entitled = Entitlement(jobs)
                out.append((f"job {jobs[number].job} starts anew, epoch {jobs[number].epoch}", None))
            else:
                out.append((f"{now_us} us, port {port}, {entitled.verdict(port, frame)}", frame))
        return out


def _is_honest(header: np.void, frame: bytes) -> bool:
    run = inputs.run_number(int(header["job"]), int(header["epoch"]))
    honest = inputs.honest_lanes(run, int(header["seq"]), contributors(header), 64)
    return honest.astype(">i4").tobytes() == frame[HEADERS:FRAME]
