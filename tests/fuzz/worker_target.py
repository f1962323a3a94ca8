"""The worker's state machine: the first RESULT of a fragment counts, nothing else changes a sum, it never stalls."""

from __future__ import annotations

import numpy as np

from esa import wire
from esa.wire import Flag, Kind
from tests.fuzz import steps as inputs
from tests.fuzz.machines import Machines

JOB, EPOCH, RANK, WORKERS, WINDOW, LANES, FIRST = 5, 2, 1, 3, 4, 3, 2**32 - 6
SPAN = 2 * WINDOW
RUN = inputs.run_number(JOB, EPOCH)
SIZE = wire.HEADER_BYTES + 4 * LANES
OUT = 3
VARIANTS: list[dict] = [{}, {"chain": WINDOW}, {"slots": SPAN}]
EVERYBODY = [(0, rank) for rank in range(WORKERS)]


def contributors(header: np.void) -> list[tuple[int, int]]:
    """A RESULT is everybody's; what else a fuzzer writes is never read."""
    return EVERYBODY


class WorkerTarget:
    name = "worker"

    def __init__(self) -> None:
        self.genuine = self._genuine()

    @staticmethod
    def _genuine() -> np.ndarray:
        out = []
        for seq in range(FIRST, FIRST + 12):
            for kind, flags in (
                (Kind.RESULT, 0), (Kind.RESULT, Flag.RELEASE), (Kind.RESULT, Flag.ANSWER | Flag.ECN),
                (Kind.QUERY, 0), (Kind.QUERY, Flag.COLLISION),
            ):  # fmt: skip
                step = inputs.blank()
                header = step["header"]
                header["version_kind"], header["flags"] = wire.version_kind(kind), flags
                header["job"], header["epoch"], header["seq"], header["bitmap0"] = JOB, EPOCH, seq & 0xFFFFFFFF, 7
                step["header"] = header
                out.append(step)
        for do, member, wait in ((5, 7, 0), (5, 1, 0), (6, 0, 0), (6, 0, 24), (6, 0, 30), (7, 2, 0), (7, 9, 0)):
            step = inputs.blank()
            step["do"], step["member"], step["wait"] = do, member, wait
            out += [step] * 4
        return inputs.joined(out)

    def run(self, machines: Machines, steps: np.ndarray) -> list[bytes]:
        return _Worker(machines, variant(steps)).run(steps)

    def readable(self, steps: np.ndarray) -> list[tuple[str, bytes | None]]:
        out: list[tuple[str, bytes | None]] = [(f"worker: {variant(steps)}", None)]
        for step in steps:
            do = int(step["do"]) % 8
            what = ["datagram"] * 5 + [f"feed {int(step['member']) % 8 + 1}", "send", "drain"]
            data = inputs.datagram(step, contributors(step["header"]), LANES) if do < 5 else None
            out.append((f"wait 2^{int(step['wait']) % 40} ns, {what[do]}", data))
        return out


def variant(steps: np.ndarray) -> dict:
    return VARIANTS[int(steps[0]["peer"]) % len(VARIANTS) if len(steps) else 0]


class _Worker:
    """A worker and what an observer knows about it."""

    def __init__(self, machines: Machines, given: dict):
        self.protocol, self.given = machines.protocol, given
        self.state = self.protocol.worker_state(
            job=JOB, epoch=EPOCH, rank=RANK, window=WINDOW, span=SPAN, lanes=LANES, first_seq=FIRST, **given
        )
        self.me, self.counter = self.state.worker[0], self.state.counter[0]
        self.now_ns = 0
        self.sent: set[int] = set()
        self.results: dict[int, tuple[bytes, int]] = {}
        self.received = self.malformed = self.fed = 0
        self.drained = FIRST
        self.log: list[bytes] = []

    @property
    def base(self) -> int:
        seq = FIRST
        while seq in self.results:
            seq += 1
        return seq

    def run(self, steps: np.ndarray) -> list[bytes]:
        for step in steps:
            self.now_ns += 1 << int(step["wait"]) % 40
            do = int(step["do"]) % 8
            if do < 5:
                self.receive(inputs.datagram(step, contributors(step["header"]), LANES))
            elif do == 5:
                self.feed(int(step["member"]) % 8 + 1)
            elif do == 6:
                self.send()
            else:
                self.drain(int(step["member"]) % 16)
        self.finish()
        self.log += [array.tobytes() for array in self.state]
        return self.log

    def receive(self, data: bytes) -> None:
        batch = self.protocol.words(1, LANES)
        raw = batch.view(np.uint8)[0]
        raw[: min(len(data), SIZE)] = np.frombuffer(data[:SIZE], np.uint8)
        if len(data) != SIZE:
            raw[0] = 0  # as esa.hosts.channel does
        header = np.frombuffer(raw.tobytes(), wire.HEADER, 1)[0]
        ours = (int(header["job"]), int(header["epoch"]), int(header["version_kind"]) >> 4) == (JOB, EPOCH, 1)
        kind = int(header["version_kind"]) & 15 if ours else 0
        base = self.base
        seq = base + (int(header["seq"]) - base + 2**31) % 2**32 - 2**31
        accepted = kind == Kind.RESULT and (seq in self.sent or seq < base) and int(header["bitmap0"]) >> RANK & 1
        self.received += 1
        if accepted and seq >= base and seq not in self.results:
            self.results[seq] = raw[wire.HEADER_BYTES :].tobytes(), int(header["exponent"])
        elif not accepted and kind != Kind.QUERY:
            foreign = header["job"] == JOB and header["epoch"] != EPOCH and int(header["version_kind"]) >> 4 == 1
            self.malformed += not foreign
        self.protocol.worker_receive(self.state, batch, 1, self.now_ns)
        counted = {
            name: int(self.counter[name]) for name in ("results", "duplicates", "queries", "malformed", "other_run")
        }
        assert counted["malformed"] == self.malformed, f"malformed: {counted['malformed']}, not {self.malformed}"
        assert sum(counted.values()) == self.received, f"{self.received} came, counted {counted}"
        assert counted["results"] == len(self.results)
        assert int(self.me["snd_una"]) == self.base, "the lowest fragment without a result"

    def feed(self, count: int) -> None:
        first = FIRST + self.fed
        lanes = np.concatenate([inputs.honest_lanes(RUN, first + n, [(0, RANK)], LANES) for n in range(count)])
        taken = self.protocol.worker_feed(self.state, lanes, 0, count, 7, np.full(count, -3, np.int8))
        assert 0 <= taken <= count
        self.fed += taken

    def send(self) -> int:
        out = self.protocol.words(OUT, LANES)
        count, wake_ns = self.protocol.worker_send(self.state, out, self.now_ns)
        assert 0 <= count <= OUT
        assert wake_ns > self.now_ns or count == OUT, "asks to be called again at once, with nothing to send"
        for packet in out[:count].view(wire.packet_dtype(LANES))[:, 0]:
            self._sent(packet)
        self.log.append(out[:count].tobytes() + wake_ns.to_bytes(8, "big"))
        return count

    def _sent(self, packet: np.void) -> None:
        assert (int(packet["job"]), int(packet["epoch"])) == (JOB, EPOCH)
        assert (int(packet["bitmap0"]), int(packet["bitmap1"])) == (1 << RANK, 1), "speaks for another"
        wire_seq, lanes = int(packet["seq"]), packet["lane"].tobytes()
        if "slots" not in self.given:  # else as results said
            assert int(packet["index"]) == wire.aggregator_index(JOB, EPOCH, wire_seq)
        seq = FIRST + (wire_seq - FIRST + 1) % 2**32 - 1
        assert seq < FIRST + self.fed, f"sends fragment {seq}, which it was never given"
        if int(packet["version_kind"]) == wire.version_kind(Kind.RESULT):
            assert int(packet["flags"]) == Flag.ANSWER
            if seq == FIRST - 1:
                assert packet["priority"] == 0, "has no sum, and says more than that it has not sent this yet"
                return
            assert (lanes, int(packet["exponent"])) == self.results[seq], "answers with another sum than it got"
            return
        assert int(packet["version_kind"]) == wire.version_kind(Kind.GRADIENT)
        assert int(packet["flags"]) in (0, Flag.RESEND)
        assert lanes == inputs.honest_lanes(RUN, seq, [(0, RANK)], LANES).astype(">i4").tobytes()
        assert seq < self.base + SPAN, "sends beyond its span"
        if seq in self.sent:
            assert int(packet["flags"]) == Flag.RESEND, "sends a fragment twice as an original"
        if "chain" in self.given:
            assert seq - WINDOW < FIRST or seq - WINDOW in self.results, "sent before the one that it follows is summed"
        self.sent.add(seq)

    def drain(self, count: int) -> None:
        lanes = np.zeros(count * LANES, np.int32)
        exponents = np.zeros(count, np.int8)
        taken = self.protocol.worker_drain(self.state, lanes, 0, count, exponents)
        assert 0 <= taken <= count
        for n in range(taken):
            part = lanes[n * LANES : (n + 1) * LANES].astype(">i4").tobytes()
            assert part == self.results[self.drained + n][0], f"fragment {self.drained + n}: another sum than it got"
        assert exponents[:taken].tolist() == [self.results[self.drained + n][1] for n in range(taken)]
        self.drained += taken

    def finish(self) -> None:
        """Whatever came before: what it was given gets its sum now, unless it gave up."""
        for _ in range(64):
            self.now_ns += 1
            while self.send() == OUT:
                pass
            self.drain(16)
            if self.me["failed"] or self.base == FIRST + self.fed:
                break
            for seq in sorted(self.sent - self.results.keys()):
                step = inputs.blank()[0]
                header = step["header"]
                header["version_kind"], header["job"], header["epoch"] = wire.version_kind(Kind.RESULT), JOB, EPOCH
                header["seq"], header["bitmap0"] = seq & 0xFFFFFFFF, 7
                self.receive(inputs.datagram(step, EVERYBODY, LANES))
        assert self.me["failed"] or self.drained == FIRST + self.fed, "fragments without a sum are left"
