"""A job's workers, its PS and the switch in one process; the fuzzer adds packets, repeats them and loses some.

What it adds is either refused, and then every all-reduce must be exact, or admitted as genuine (sent from a member's
port and address, and something that this member may say), and then all that is asked is that everything ends.

Packets wait in one queue and not in `esa.sim`: an input runs on three builds of state machines and switch (as shipped,
as plain Python, with its branches counted), and the simulator's loop is compiled around one.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from esa import wire
from esa.job import Run
from esa.protocol import MULTICAST, NEVER, UNKNOWN_SENDER, Timers
from esa.protocol.of_job import server_settings, worker_settings
from esa.wire import ESA_PORT
from tests.fuzz import steps as inputs
from tests.fuzz.machines import Machines
from tests.fuzz.switch_target import START_RUN, SwitchTarget
from tests.p4.traffic import frame_of, ones_complement_sum

FRAGMENTS, WINDOW, OUT = 5, 2, 4
NO_EXPONENTS = np.zeros(0, np.int8)
SIZE = wire.HEADER_BYTES + 256
US, MS, S = 1_000, 1_000_000, 1_000_000_000
INJECT, REPEAT, TAMPER, LOSE, OTHER_RUN = range(5)
_WHAT = (
    "inject", "repeat what was sent", "repeat it with a byte changed", "lose a packet", "repeat it under another epoch"
)  # fmt: skip


def what_to_do(step: np.void) -> int:
    return OTHER_RUN if int(step["do"]) >= START_RUN else int(step["do"]) % 4


class SystemTarget(SwitchTarget):
    name = "system"

    def __init__(self) -> None:
        super().__init__()
        extra = []
        for do in (REPEAT, TAMPER, LOSE, START_RUN):
            step = inputs.blank()
            step["do"], step["wait"], step["member"] = do, 3, 2
            extra += [step] * 12
        self.genuine = inputs.joined([self.genuine, *extra])

    def run(self, machines: Machines, steps: np.ndarray) -> list[bytes]:
        self._reset(machines)
        job = self.jobs[int(steps[0]["peer"]) % len(self.jobs)] if len(steps) else self.jobs[0]
        return _System(self, machines, job).run(steps)

    def readable(self, steps: np.ndarray) -> list[tuple[str, bytes | None]]:
        job = self.jobs[int(steps[0]["peer"]) % len(self.jobs)] if len(steps) else self.jobs[0]
        out: list[tuple[str, bytes | None]] = [(f"policy {job.policy}, {job.fan_in} workers", None)]
        for step, (port, frame, _) in zip(steps, self.frames(steps), strict=True):
            do = what_to_do(step)
            line = f"after {int(step['wait']) % 32} deliveries: {_WHAT[do]}"
            injected = f"; port {port}, {self.entitled.verdict(port, frame)}"
            out.append((line + injected, frame) if do == INJECT else (line, None))
        return out


class _System:
    def __init__(self, target: SystemTarget, machines: Machines, job: Run):
        self.target, self.job = target, job
        self.protocol, self.pipeline = machines.protocol, machines.pipeline
        self.now_ns = 0
        self.queue: deque[tuple[bool, int, bytes]] = deque()  # (to the switch, port, frame)
        self.sent: list[tuple[int, bytes]] = []
        self.known: set[tuple[int, bytes]] = set()
        self.flagged = False
        run = inputs.run_number(job.job, job.epoch)
        self.lanes = [
            np.concatenate([inputs.honest_lanes(run, n, [(0, rank)], 64) for n in range(FRAGMENTS)])
            for rank in range(job.fan_in)
        ]
        self.sums = [np.zeros(FRAGMENTS * 64, np.int32) for _ in self.lanes]
        self.drained = [0] * job.fan_in
        timers = Timers(
            rto_initial_ns=2 * MS,
            rto_floor_ns=MS,
            rto_ceiling_ns=20 * MS,
            patience_initial_ns=500 * US,
            patience_floor_ns=200 * US,
            patience_ceiling_ns=10 * MS,
            unhurried_initial_ns=0,
            unhurried_floor_ns=0,
        )
        known = job.model_copy(update={"window": WINDOW, "give_up_s": 20.0})
        self.workers = [
            self.protocol.worker_state(**worker_settings(known, rank, timers)) for rank in range(job.fan_in)
        ]
        self.fed = [0] * job.fan_in
        self.server = self.protocol.server_state(**server_settings(known, timers))
        self.numbers = {m.switch_port: n for n, m in enumerate((*job.workers, job.server))}
        self.members = {(w.ip.packed, w.udp_port): n for n, w in enumerate(job.workers)}
        if job.switches:
            self.members[job.switch_ip.packed, ESA_PORT] = job.fan_in
        self.out, self.destination = self.protocol.words(OUT, 64), np.zeros(OUT, np.int32)
        self.wake_ns = [0] * (job.fan_in + 1)

    def run(self, steps: np.ndarray) -> list[bytes]:
        crafted = self.target.frames(steps)
        for step, (port, frame, _) in zip(steps, crafted, strict=True):
            self._advance(int(step["wait"]) % 32)
            do = what_to_do(step)
            if do == INJECT:
                self._inject(port, frame)
            elif do == LOSE and self.queue:
                self.queue.popleft()
            elif do in (REPEAT, TAMPER, OTHER_RUN) and self.sent:
                port, frame = self.sent[(int(step["member"]) << 8 | int(step["peer"])) % len(self.sent)]
                if do == TAMPER:
                    changed = bytearray(frame)
                    changed[int(step["patch_at"][0]) % len(frame)] ^= int(step["patch"][0]) or 1
                    frame = bytes(changed)
                elif do == OTHER_RUN:
                    at = wire.ENCAPSULATION_BYTES + wire.HEADER.fields["epoch"][1]
                    epoch = int.from_bytes(frame[at : at + 2], "big") + 1 + int(step["do"]) - START_RUN
                    frame = frame[:at] + (epoch & 0xFFFF).to_bytes(2, "big") + frame[at + 2 :]
                self._inject(port, frame)
        for _ in range(200_000):
            if not self._advance(1000):
                break
        else:
            raise AssertionError("never ends")
        self._check()
        states = [a.tobytes() for s in (*self.workers, self.server) for a in s]
        return [*states, *(s.tobytes() for s in self.sums)]

    def _inject(self, port: int, frame: bytes) -> None:
        if self.target.entitled.verdict(port, frame) == "admitted" and (port, frame) not in self.known:
            self.flagged = True
        self.queue.append((True, port, frame))

    def _advance(self, deliveries: int) -> bool:
        """Deliver so many packets, passing idle time where there are none; False when all is quiet for good."""
        for _ in range(deliveries):
            self._pump()
            if not self.queue:
                wake_ns = min(self.wake_ns)
                if wake_ns >= NEVER:
                    return False
                self.now_ns = max(self.now_ns, wake_ns)
                self._pump()
                continue
            self.now_ns += US
            to_switch, port, frame = self.queue.popleft()
            if to_switch:
                self.queue.extend((False, p, f) for p, f in self.pipeline.process(port, frame, self.now_ns // US))
            else:
                self._deliver(port, frame)
        return True

    def _pump(self) -> None:
        """Everybody whose time has come sends."""
        for rank, state in enumerate(self.workers):
            while self.wake_ns[rank] <= self.now_ns:
                done, fed = self.drained[rank], self.fed[rank]
                left = FRAGMENTS - done
                self.drained[rank] += self.protocol.worker_drain(state, self.sums[rank], done, left, NO_EXPONENTS)
                left, lanes = FRAGMENTS - fed, self.lanes[rank]
                self.fed[rank] += self.protocol.worker_feed(state, lanes, fed, left, 100, NO_EXPONENTS)
                count, self.wake_ns[rank] = self.protocol.worker_send(state, self.out, self.now_ns)
                for i in range(count):
                    self._send(rank, self.job.server, self.out[i].tobytes())
        n = self.job.fan_in
        while self.wake_ns[n] <= self.now_ns:
            count, self.wake_ns[n] = self.protocol.server_send(self.server, self.out, self.destination, self.now_ns)
            for i in range(count):
                to = int(self.destination[i])
                to_ip = self.job.switch_ip.packed if to == n else None
                member = self.job.server if to_ip else self.job.workers[0 if to == MULTICAST else to]
                self._send(n, member, self.out[i].tobytes(), to_ip)

    def _send(self, number: int, to: object, payload: bytes, to_ip: bytes | None = None) -> None:
        source = (*self.job.workers, self.job.server)[number]
        frame = frame_of(source, to, payload, to_ip)  # type: ignore[arg-type]
        self.sent.append((source.switch_port, frame))
        self.known.add(self.sent[-1])
        self.queue.append((True, source.switch_port, frame))

    def _deliver(self, port: int, frame: bytes) -> None:
        """What a host's kernel and sockets do with a frame."""
        if port not in self.numbers:
            return
        number = self.numbers[port]
        member = (*self.job.workers, self.job.server)[number]
        datagram = _udp(frame, bytes.fromhex(member.mac.replace(":", "")), member.ip.packed, member.udp_port)
        if datagram is None:
            return
        source, payload = datagram
        batch = self.protocol.words(1, 64)
        raw = batch.view(np.uint8)[0]
        raw[: min(len(payload), SIZE)] = np.frombuffer(payload[:SIZE], np.uint8)
        if len(payload) != SIZE:
            raw[0] = 0
        if number < self.job.fan_in:
            if source != (self.job.server.ip.packed, ESA_PORT):
                return  # a connected socket
            self.protocol.worker_receive(self.workers[number], batch, 1, self.now_ns)
        else:
            sender = np.array([self.members.get(source, UNKNOWN_SENDER)], np.int32)
            self.protocol.server_receive(self.server, batch, sender, 1, self.now_ns)
        self.wake_ns[number] = self.now_ns

    def _check(self) -> None:
        everybody = [(0, rank) for rank in range(self.job.fan_in)]
        run = inputs.run_number(self.job.job, self.job.epoch)
        exact = np.concatenate([inputs.honest_lanes(run, n, everybody, 64) for n in range(FRAGMENTS)])
        for rank, state in enumerate(self.workers):
            done, failed = self.drained[rank] == FRAGMENTS, bool(state.worker[0]["failed"])
            assert done or failed, f"rank {rank} waits for ever"
            if not self.flagged:
                assert done, f"rank {rank} gave up, though nothing was admitted that is not genuine"
                assert np.array_equal(self.sums[rank], exact), f"rank {rank}: a wrong sum"


def _udp(frame: bytes, mac: bytes, ip: bytes, port: int) -> tuple[tuple[bytes, int], bytes] | None:
    """((source address, port), payload) of a frame that a host takes."""
    if len(frame) < 42 or frame[:6] != mac or frame[12:14] != b"\x08\x00" or frame[14] != 0x45 or frame[23] != 17:
        return None
    total, length = int.from_bytes(frame[16:18], "big"), int.from_bytes(frame[38:40], "big")
    fragment = int.from_bytes(frame[20:22], "big") & 0x3FFF
    if ones_complement_sum(frame[14:34]) or total > len(frame) - 14 or not 8 <= length <= total - 20 or fragment:
        return None
    if frame[30:34] != ip or int.from_bytes(frame[36:38], "big") != port:
        return None
    return (frame[26:30], int.from_bytes(frame[34:36], "big")), frame[42 : 34 + length]
