"""The PS's state machine: a RESULT is the exact sum of everybody, nothing leaks, and it always goes on."""

from __future__ import annotations

import numpy as np

from esa import wire
from esa.protocol import Timers
from esa.protocol.server_ring import EntryState
from esa.wire import Flag, Kind
from tests.fuzz import steps as inputs
from tests.fuzz.machines import Machines

JOB, EPOCH, WINDOW, LANES, FIRST = 5, 2, 4, 3, 2**32 - 6
RUN = inputs.run_number(JOB, EPOCH)
SIZE = wire.HEADER_BYTES + 4 * LANES
OUT = 3
VARIANTS: list[dict] = [
    {"workers_per_rack": [3], "asks_peer": True, "max_span": 2 * WINDOW},
    {"workers_per_rack": [2, 1], "switches": 3, "held_resends": 1},
    {"workers_per_rack": [3], "switches": 0, "unicast": True},
    {"workers_per_rack": [3], "release_on_ack": True, "held_resends": 0, "timers": Timers(ask_ahead=0)},
    {"workers_per_rack": [3], "release_on_ack": True, "resends_first": True, "slots": WINDOW, "rows": 16},
]
RACKS = [[3], [2, 1], [3], [3], [3]]


class ServerTarget:
    name = "server"

    def __init__(self) -> None:
        self.genuine = self._genuine()

    @staticmethod
    def _genuine() -> np.ndarray:
        out = []
        rows = [
            (Kind.GRADIENT, 0, n, 1 << n, 1) for n in range(3)
        ] + [
            (Kind.GRADIENT, Flag.RESEND, n, 1 << n, 1) for n in range(3)
        ] + [
            (Kind.PARTIAL, 0, 3, b, 1) for b in (3, 5, 6, 7)
        ] + [
            (Kind.PARTIAL, Flag.RESEND, n, 1 << n | 1, 1) for n in range(3)
        ] + [
            (Kind.GRADIENT, 0, 2, 1, 2), (Kind.PARTIAL, Flag.LEVEL1, 3, 0xFFFFFFFF, 1),
            (Kind.GRADIENT, Flag.LEVEL1, 4, 3, 2), (Kind.RESULT, Flag.ANSWER, 0, 7, 1),
            (Kind.MISS, 0, 3, 0, 0), (Kind.MISS, 0, 4, 0, 0),
        ]  # fmt: skip
        for seq in range(FIRST, FIRST + 8):
            for kind, flags, member, bitmap0, bitmap1 in rows:
                step = inputs.blank()
                header = step["header"]
                header["version_kind"], header["flags"] = wire.version_kind(kind), flags
                header["job"], header["epoch"], header["seq"] = JOB, EPOCH, seq & 0xFFFFFFFF
                header["bitmap0"], header["bitmap1"] = bitmap0, bitmap1
                step["header"], step["member"] = header, member + 1
                out.append(step)
        for wait in (0, 22, 25, 34, 36):
            step = inputs.blank()
            step["do"], step["wait"] = 7, wait
            out += [step] * 6
        return inputs.joined(out)

    def run(self, machines: Machines, steps: np.ndarray) -> list[bytes]:
        return _Server(machines, variant(steps)).run(steps)

    def readable(self, steps: np.ndarray) -> list[tuple[str, bytes | None]]:
        out: list[tuple[str, bytes | None]] = [(f"PS: {VARIANTS[variant(steps)]}", None)]
        racks = RACKS[variant(steps)]
        for step in steps:
            when, member = f"wait 2^{int(step['wait']) % 40} ns", source_of(step, variant(steps))
            if int(step["do"]) % 8 == 7:
                out.append((f"{when}, send", None))
            else:
                data = inputs.datagram(step, contributors(step["header"], racks), LANES)
                out.append((f"{when}, from member {member}", data))
        return out


def variant(steps: np.ndarray) -> int:
    return int(steps[0]["peer"]) % len(VARIANTS) if len(steps) else 0


def source_of(step: np.void, number: int) -> int:
    """-1 (a stranger), workers, then switches."""
    return int(step["member"]) % (4 + VARIANTS[number].get("switches", 1)) - 1


def contributors(header: np.void, racks: list[int]) -> list[tuple[int, int]]:
    """Whom the lanes of a packet stand for, by its kind, flags and bitmaps."""
    if int(header["version_kind"]) & 15 == Kind.RESULT:
        return [(rack, bit) for rack, n in enumerate(racks) for bit in range(n)]
    named = inputs.bits(int(header["bitmap1"]))
    if int(header["flags"]) & Flag.LEVEL1:
        return [(rack, bit) for rack in named if rack < len(racks) for bit in range(racks[rack])]
    return [(rack, bit) for rack in named[:1] for bit in inputs.bits(int(header["bitmap0"]))]


def _other_run(header: np.void) -> bool:
    return header["job"] == JOB and header["epoch"] != EPOCH and int(header["version_kind"]) >> 4 == wire.VERSION


class _Server:
    def __init__(self, machines: Machines, number: int):
        self.protocol = machines.protocol
        self.number, self.racks = number, RACKS[number]
        self.state = self.protocol.server_state(
            job=JOB, epoch=EPOCH, window=WINDOW, lanes=LANES, give_up_s=20.0, **VARIANTS[number]
        )
        self.me, self.counter = self.state.server[0], self.state.counter[0]
        self.everybody = [(rack, bit) for rack, n in enumerate(self.racks) for bit in range(n)]
        self.members = len(self.everybody) + VARIANTS[number].get("switches", 1)
        self.now_ns = self.malformed = self.other_run = 0
        self.tainted: set[int] = set()
        self.log: list[bytes] = []
        self.results: list[int] = []

    def run(self, steps: np.ndarray) -> list[bytes]:
        for step in steps:
            self.now_ns += 1 << int(step["wait"]) % 40
            if int(step["do"]) % 8 == 7:
                self.send()
            else:
                data = inputs.datagram(step, contributors(step["header"], self.racks), LANES)
                self.receive(data, source_of(step, self.number))
            self.check_lists()
        self.finish()
        self.log += [array.tobytes() for array in self.state]
        return self.log

    def receive(self, data: bytes, source: int) -> None:
        batch = self.protocol.words(1, LANES)
        raw = batch.view(np.uint8)[0]
        raw[: min(len(data), SIZE)] = np.frombuffer(data[:SIZE], np.uint8)
        if len(data) != SIZE:
            raw[0] = 0  # as esa.hosts.channel does
        header = np.frombuffer(raw.tobytes(), wire.HEADER, 1)[0]
        if self.accepts(header, source):
            honest = inputs.honest_lanes(RUN, int(header["seq"]), contributors(header, self.racks), LANES)
            kind = int(header["version_kind"]) & 15
            if kind != Kind.MISS and raw[wire.HEADER_BYTES :].tobytes() != honest.astype(">i4").tobytes():
                self.tainted.add(int(header["seq"]))
        elif source >= 0 and _other_run(header):
            self.other_run += 1
        else:
            self.malformed += 1
        self.protocol.server_receive(self.state, batch, np.array([source], np.int32), 1, self.now_ns)
        assert int(self.counter["malformed"]) == self.malformed, "malformed: what may not be said, and only that"
        assert int(self.counter["other_run"]) == self.other_run, "other_run: what members say in another epoch"

    def accepts(self, header: np.void, source: int) -> bool:
        ours = (int(header["job"]), int(header["epoch"]), int(header["version_kind"]) >> 4) == (JOB, EPOCH, 1)
        if not ours or source < 0:
            return False
        kind, flags = int(header["version_kind"]) & 15, int(header["flags"])
        bitmap0, bitmap1 = int(header["bitmap0"]), int(header["bitmap1"])
        worker = source < len(self.everybody)
        if kind in (Kind.MISS, Kind.RESULT):
            return worker and bool(flags & Flag.ANSWER) if kind == Kind.RESULT else not worker
        if kind not in (Kind.GRADIENT, Kind.PARTIAL):
            return False
        if flags & Flag.LEVEL1:
            return len(self.racks) > 1 and 0 < bitmap1 < 1 << len(self.racks)
        if bitmap1 not in [1 << n for n in range(len(self.racks))]:
            return False
        rack = bitmap1.bit_length() - 1
        if not 0 < bitmap0 < 1 << self.racks[rack]:
            return False
        return kind == Kind.PARTIAL or (
            worker and [self.everybody[source]] == [(rack, b) for b in inputs.bits(bitmap0)]
        )

    def send(self) -> int:
        out, destination = self.protocol.words(OUT, LANES), np.zeros(OUT, np.int32)
        count, wake_ns = self.protocol.server_send(self.state, out, destination, self.now_ns)
        assert 0 <= count <= OUT
        assert wake_ns > self.now_ns or count == OUT, "asks to be called again at once, with nothing to send"
        for packet, to in zip(out[:count].view(wire.packet_dtype(LANES))[:, 0], destination.tolist(), strict=False):
            assert (int(packet["job"]), int(packet["epoch"])) == (JOB, EPOCH)
            kind, seq = int(packet["version_kind"]) & 15, int(packet["seq"])
            assert kind in (Kind.RESULT, Kind.REMINDER, Kind.QUERY)
            if not VARIANTS[self.number].get("slots"):  # else as others said
                assert int(packet["index"]) == wire.aggregator_index(JOB, EPOCH, seq)
            assert -1 <= to < self.members, f"to member {to}"
            if kind == Kind.RESULT:
                self.results.append(seq)
                exact = inputs.honest_lanes(RUN, seq, self.everybody, LANES)
                assert seq in self.tainted or packet["lane"].tolist() == exact.tolist(), f"fragment {seq}: a wrong sum"
            else:
                assert (to >= len(self.everybody)) == (kind == Kind.REMINDER)
        self.log.append(out[:count].tobytes() + destination[:count].tobytes() + wake_ns.to_bytes(8, "big"))
        return count

    def check_lists(self) -> None:
        """Open entries and places for held RESENDs: all there, each once."""
        entry, single = self.state.entry, self.state.held_resend
        rows = self.state.open_slots[: int(self.me["open_count"])].tolist()
        assert sorted(rows) == np.flatnonzero(entry["state"] == EntryState.OPEN).tolist(), "the list of open entries"
        assert [int(entry[row]["open_index"]) for row in rows] == list(range(len(rows)))
        heads = [int(self.me["free_head"]), *(int(entry[row]["held_resend"]) for row in rows)]
        used = []
        for number in heads:
            while number >= 0 and len(used) <= len(single):
                used.append(number)
                number = int(single[number]["next"])
        assert sorted(used) == list(range(len(single))), "a RESEND kept apart is lost, or kept twice"
        assert 0 <= int(self.me["outbox_tail"] - self.me["outbox_head"]) <= len(self.state.outbox)
        if not rows:
            assert int(self.me["next_deadline_ns"]) > self.now_ns

    def finish(self) -> None:
        """Whatever came before: the next fragment is summed, exactly and at once."""
        for _ in range(10_000):
            self.now_ns += 1
            if self.send() < OUT:
                break
        else:
            raise AssertionError("never finishes sending")
        seq = int(self.me["max_seq"]) + 1 & 0xFFFFFFFF if self.me["synchronized"] else FIRST
        self.results.clear()
        for source, (rack, bit) in enumerate(self.everybody):
            step = inputs.blank()[0]
            header = step["header"]
            header["job"], header["epoch"], header["seq"] = JOB, EPOCH, seq
            header["bitmap0"], header["bitmap1"] = 1 << bit, 1 << rack
            self.receive(inputs.datagram(step, [(rack, bit)], LANES), source)
            self.check_lists()
        self.tainted.discard(seq)
        while self.send() == OUT:
            pass
        assert seq in self.results, "the next fragment gets no sum"
