"""A rack in virtual time: the compiled P4 program, the real workers and PSs, and links that lose, duplicate, reorder.

Drawn from a seed alone. The state machines meet nothing here that sockets would not show them.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from esa import wire
from esa.job import Job, Member
from esa.protocol import (
    MULTICAST,
    NEVER,
    UNKNOWN_SENDER,
    Timers,
    server_receive,
    server_send,
    words,
    worker_drain,
    worker_feed,
    worker_receive,
    worker_send,
)
from esa.protocol.of_job import server_of_job, worker_of_job
from tests.p4.rack import Rack
from tests.p4.traffic import ones_complement_sum

US = 1_000
MS = 1_000_000
OUT_PACKETS = 8  # small, so that what does not fit is met
TIMERS = Timers(
    rto_initial_ns=2 * MS,
    rto_floor_ns=1 * MS,
    rto_ceiling_ns=20 * MS,
    patience_initial_ns=500 * US,
    patience_floor_ns=200 * US,
    patience_ceiling_ns=10 * MS,
    unhurried_initial_ns=0,
    unhurried_floor_ns=0,
)


@dataclass(frozen=True)
class Faults:
    """What each link does to each packet, by probability; `late` packets take up to 5 ms, the others 1 to 40 us."""

    loss: float = 0.0
    duplication: float = 0.0
    late: float = 0.0
    marks: float = 0.0


def frame_of(source: Member, destination: Member, payload: bytes, to_ip: bytes | None = None) -> bytes:
    """Ethernet, IPv4 and UDP around an ESA packet."""
    udp_length = 8 + len(payload)
    ports = source.udp_port.to_bytes(2, "big") + destination.udp_port.to_bytes(2, "big")
    ipv4 = bytearray(b"\x45\x00" + (20 + udp_length).to_bytes(2, "big") + bytes(4) + b"\x40\x11\x00\x00")
    ipv4 += source.ip.packed + (to_ip or destination.ip.packed)
    ipv4[10:12] = ones_complement_sum(ipv4).to_bytes(2, "big")
    ethernet = bytes.fromhex(destination.mac.replace(":", "") + source.mac.replace(":", "")) + b"\x08\x00"
    return ethernet + bytes(ipv4) + ports + udp_length.to_bytes(2, "big") + b"\0\0" + payload


class Network:
    """Links, a switch and a clock; hosts register the function that takes a frame."""

    def __init__(self, jobs: list[Job], faults: Faults, rng: np.random.Generator):
        self.rack = Rack(jobs)
        self.faults = faults
        self.rng = rng
        self.now_ns = 0
        self.delivered = 0
        self.hosts: dict[tuple[bytes, int], Callable[[bytes], None]] = {}
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._count = 0

    def at(self, time_ns: int, action: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._events, (max(int(time_ns), self.now_ns), self._count, action))

    def run(self, until_ns: int) -> None:
        """Until nothing is left to happen; the time limit is there to fail."""
        while self._events:
            self.now_ns, _, action = heapq.heappop(self._events)
            assert self.now_ns <= until_ns, "virtual time ran out: something never ends"
            action()

    def send(self, port: int, frame: bytes) -> None:
        self._link(lambda f: self._switch(port, f), frame)

    def _link(self, deliver: Callable[[bytes], None], frame: bytes) -> None:
        copies = 2 if self.rng.random() < self.faults.duplication else 1
        for _ in range(copies):
            if self.rng.random() < self.faults.loss:
                continue
            delay_ns = self.rng.integers(5 * MS) if self.rng.random() < self.faults.late else self.rng.integers(40 * US)
            self.at(self.now_ns + 1 * US + int(delay_ns), lambda: deliver(frame))

    def _switch(self, port: int, frame: bytes) -> None:
        for _, out in self.rack.pipeline.process(port, frame, self.now_ns // 1000):
            if self.rng.random() < self.faults.marks:
                flags = out[wire.ENCAPSULATION_BYTES + 1] | wire.Flag.ECN
                out = out[: wire.ENCAPSULATION_BYTES + 1] + bytes([flags]) + out[wire.ENCAPSULATION_BYTES + 2 :]
            receiver = self.hosts.get((out[30:34], int.from_bytes(out[36:38], "big")))
            if receiver is not None:
                self._link(receiver, out)

    def deliver(self, state_receives: Callable[[np.ndarray], None], frame: bytes) -> None:
        self.delivered += 1
        payload = np.frombuffer(frame[wire.ENCAPSULATION_BYTES :], np.uint32).reshape(1, -1)
        state_receives(payload.copy())


class Timer:
    """Calls `action` at the earliest time asked for."""

    def __init__(self, network: Network, action: Callable[[], None]):
        self.network, self.action, self.at_ns = network, action, NEVER

    def set(self, at_ns: int) -> None:
        if at_ns < self.at_ns:
            self.at_ns = at_ns
            self.network.at(at_ns, lambda: self._fire(at_ns))

    def _fire(self, at_ns: int) -> None:
        if at_ns == self.at_ns:
            self.at_ns = NEVER
            self.action()


@dataclass
class Worker:
    """Rank `rank` of a job, which sums `lanes` with the others, starting at `start_ns`."""

    network: Network
    job: Job
    rank: int
    lanes: np.ndarray
    exponents: np.ndarray  # int8, one per fragment
    start_ns: int
    first_seq: int
    priority: int = 100
    give_up_s: float = 20.0
    sums: np.ndarray = field(init=False)
    merged: np.ndarray = field(init=False)
    fed: int = 0
    drained: int = 0

    def __post_init__(self) -> None:
        job = self.job.model_copy(update={"give_up_s": self.give_up_s})
        self.state = worker_of_job(job, self.rank, TIMERS, first_seq=self.first_seq)
        self.me = self.job.workers[self.rank]
        self.sums = np.zeros_like(self.lanes)
        self.merged = np.zeros_like(self.exponents)
        self.fragments = -(-len(self.lanes) // self.job.lanes)
        self.out = words(OUT_PACKETS, self.job.lanes)
        self.timer = Timer(self.network, self.pump)
        self.network.hosts[self.me.ip.packed, self.me.udp_port] = self.receive
        self.network.at(self.start_ns, self.pump)

    def receive(self, frame: bytes) -> None:
        server = self.job.server
        if frame[26:30] == server.ip.packed and int.from_bytes(frame[34:36], "big") == server.udp_port:
            self.network.deliver(lambda p: worker_receive(self.state, p, 1, self.network.now_ns), frame)
            self.pump()

    def pump(self) -> None:
        if self.network.now_ns < self.start_ns:
            return
        more = True
        while more:
            left = self.fragments - self.drained
            self.drained += worker_drain(self.state, self.sums, self.drained, left, self.merged)
            left = self.fragments - self.fed
            self.fed += worker_feed(self.state, self.lanes, self.fed, left, self.priority, self.exponents)
            count, wake_ns = worker_send(self.state, self.out, self.network.now_ns)
            for i in range(count):
                frame = frame_of(self.me, self.job.server, self.out[i].tobytes())
                self.network.send(self.me.switch_port, frame)
            more = wake_ns <= self.network.now_ns
        if wake_ns < NEVER:
            self.timer.set(wake_ns)

    @property
    def failed(self) -> bool:
        return bool(self.state.worker[0]["failed"])

    @property
    def finished(self) -> bool:
        return self.drained == self.fragments

    def counted(self, name: str) -> int:
        return int(self.state.counter[0][name])


@dataclass
class Server:
    """A job's PS."""

    network: Network
    job: Job
    give_up_s: float = 20.0
    held_resends: int | None = None

    def __post_init__(self) -> None:
        job = self.job.model_copy(update={"give_up_s": self.give_up_s})
        self.state = server_of_job(job, TIMERS, held_resends=self.held_resends)
        self.out = words(OUT_PACKETS, self.job.lanes)
        self.destination = np.zeros(OUT_PACKETS, np.int32)
        self.timer = Timer(self.network, self.pump)
        self.members = {(w.ip.packed, w.udp_port): n for n, w in enumerate(self.job.workers)}
        self.members[self.job.switch_ip.packed, wire.ESA_PORT] = self.job.fan_in
        self.network.hosts[self.job.server.ip.packed, wire.ESA_PORT] = self.receive

    def receive(self, frame: bytes) -> None:
        sender = frame[26:30], int.from_bytes(frame[34:36], "big")
        source = np.array([self.members.get(sender, UNKNOWN_SENDER)], np.int32)
        self.network.deliver(lambda p: server_receive(self.state, p, source, 1, self.network.now_ns), frame)
        self.pump()

    def pump(self) -> None:
        more = True
        while more:
            count, wake_ns = server_send(self.state, self.out, self.destination, self.network.now_ns)
            for i in range(count):
                to, to_ip = int(self.destination[i]), None
                if to == self.job.fan_in:
                    to_ip = self.job.switch_ip.packed
                to = 0 if to == MULTICAST or to_ip else to
                member = self.job.server if to_ip else self.job.workers[to]
                frame = frame_of(self.job.server, member, self.out[i].tobytes(), to_ip)
                self.network.send(self.job.server.switch_port, frame)
            more = wake_ns <= self.network.now_ns
        if wake_ns < NEVER:
            self.timer.set(wake_ns)

    def counted(self, name: str) -> int:
        return int(self.state.counter[0][name])
