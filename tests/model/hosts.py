"""A job's run and its hosts: workers and a PS, the state machines of `esa.protocol` with their addresses.

Each sum and each PS entry is compared with the truth as soon as it comes to be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from esa import job as jobs
from esa import wire
from esa.job import Member, Pool
from esa.policy import POLICIES, Policy
from esa.protocol import (
    MULTICAST,
    NEVER,
    UNKNOWN_SENDER,
    server_change_policy,
    server_number,
    server_receive,
    server_send,
    words,
    worker_drain,
    worker_feed,
    worker_receive,
    worker_send,
    worker_waiting,
)
from esa.protocol.of_job import policy_settings, server_of_job, worker_of_job
from esa.protocol.server_ring import EntryState
from tests.model import truth
from tests.model.checks import RuleError, check_sum
from tests.model.plan import GIVE_UP_S, SHARED, TIMERS, TTL_US, JobPlan
from tests.model.rows import Header
from tests.p4 import traffic

if TYPE_CHECKING:
    from tests.model.world import World

OUT_PACKETS = 4  # small, so that what does not fit is met
SLICE = 16  # rows


class Run:
    """One job in one epoch: its members and what they are to sum."""

    def __init__(self, world: World, number: int, epoch: int, plan: JobPlan, ttl_us: int = TTL_US):
        members = {"workers": plan.workers, "servers": plan.servers}
        made = traffic.job(number, plan.policy, **members, pool=Pool(base=0, size=SLICE), ports=32, ttl_us=ttl_us)
        self.world, self.plan = world, plan
        self.placed = SHARED  # where the control plane has put it, unless it has a slice
        values = {**made.model_dump(), "epoch": epoch, "window": plan.window, "lanes": world.plan.lanes or 64}
        values["pool"] = self.pool(POLICIES[plan.policy], number)
        # One, two and eight windows, beyond the pool as well; no more than a slice of two spans has room for.
        values["span"] = min(SLICE // 2, plan.window * (1, 2, 8)[(number - 1) % 3])
        self.job = jobs.Run.model_validate(values)
        self.key = number, epoch
        # A job that wrongly gets an epoch again must not get the same numbers to sum.
        self.truth = number, epoch | world.started << 16
        world.started += 1
        self.name = f"{number}.{epoch}"
        self.first_seq = plan.first_seq
        self.policy = POLICIES[plan.policy]
        self.sizes: list[int] = []  # fragments of each all-reduce, of those that any rank submitted
        self.checked = 0  # all-reduces that every live rank has, exact
        self.workers = [WorkerHost(self, rank) for rank in range(plan.workers)]
        self.servers = [ServerHost(self, which) for which in range(plan.servers)]

    @property
    def as_hosts_know_it(self) -> jobs.Run:
        return self.job.model_copy(update={"lanes": self.world.plan.lanes, "give_up_s": GIVE_UP_S})

    def pool(self, policy: Policy, number: int) -> Pool:
        """A run that began with chains needs no more than two windows in a slice, any other one two spans."""
        size = 2 * self.plan.window if POLICIES[self.plan.policy].chains else SLICE
        return Pool(base=SLICE * number, size=size) if policy.pool == "slice" else self.placed

    @property
    def hosts(self) -> list[WorkerHost | ServerHost]:
        return [*self.workers, *self.servers]

    @property
    def fragments(self) -> int:
        return sum(self.sizes)

    @property
    def full(self) -> int:
        return (1 << self.plan.workers) - 1

    @property
    def crippled(self) -> bool:
        """Whether a member is dead, so that an all-reduce may end with an error."""
        return not all(host.alive for host in self.hosts)

    def relative(self, wire_seq: int) -> int:
        return (wire_seq - self.first_seq + 2**31) % 2**32 - 2**31

    def size(self, number: int) -> int:
        while len(self.sizes) <= number:
            self.sizes.append(1 + truth.mix(*self.truth, len(self.sizes)) % 4)
        return self.sizes[number]

    def count(self) -> None:
        """Note the all-reduces that every live rank has now."""
        ends = 0
        done = 0
        for size in self.sizes:
            ends += size
            if any(w.drained < ends for w in self.workers if w.alive):
                break
            done += 1
        self.checked = max(self.checked, done)


class Host:
    """A state machine with its addresses."""

    def __init__(self, run: Run, name: str, member: Member):
        self.run, self.world, self.member = run, run.world, member
        self.name = f"{run.name}/{name}"
        self.address = member.ip.packed, member.udp_port
        self.alive = True
        self.wake_ns = NEVER
        self.out = words(OUT_PACKETS, self.world.plan.lanes)

    def take(self, frame: bytes) -> None:
        raise NotImplementedError

    def pump(self) -> None:
        raise NotImplementedError


class WorkerHost(Host):
    """One rank. It sums what it `wants`, fragment by fragment, and checks each sum as it takes it."""

    def __init__(self, run: Run, rank: int):
        super().__init__(run, f"w{rank}", run.job.workers[rank])
        self.rank = rank
        self.submitted = self.wanted = self.fed = self.drained = 0
        self.sent_before = 0  # seqs below were sent under another span
        self.error_names: int | None = None  # the ranks that its error names, a bitmap, once it has failed
        self.state = worker_of_job(run.as_hosts_know_it, rank, TIMERS, first_seq=run.first_seq)
        self._sum = np.zeros(self.world.plan.lanes, np.int32)
        self._exponents = np.zeros(1, np.int8)

    @property
    def failed(self) -> bool:
        return bool(self.state.worker[0]["failed"])

    @property
    def active(self) -> bool:
        return self.alive and not self.failed

    @property
    def idle(self) -> bool:
        return not self.active or self.drained == self.wanted

    def submit(self) -> None:
        if not self.failed:
            self.wanted += self.run.size(self.submitted)
            self.submitted += 1
            self.pump()

    def take(self, frame: bytes) -> None:
        addresses = {(server.ip.packed, server.udp_port) for server in self.run.job.servers}
        if (frame[26:30], int.from_bytes(frame[34:36], "big")) in addresses:
            worker_receive(self.state, payload(frame), 1, self.world.now_ns)
            self.pump()

    def pump(self) -> None:
        now_ns = self.world.now_ns
        more = True
        while more:
            self._drain()
            self._feed()
            count, self.wake_ns = worker_send(self.state, self.out, now_ns)
            for i in range(count):
                servers = self.run.job.servers
                to = servers[server_number(self.out, i, len(servers))]
                self.world.emit(self, to, self.out[i].tobytes())
            more = self.wake_ns <= now_ns
        if self.failed and self.error_names is None:  # what comes later changes nothing in what was said
            waiting = worker_waiting(self.state, now_ns)
            self.error_names = waiting.silent[0] if waiting else 0
        self._check_bounds()

    def _check_bounds(self) -> None:
        """No more than a window is in flight, nothing is farther ahead than the span, and the count is right."""
        worker, ring = self.state.worker[0], self.state.fragment
        sent = range(int(worker["snd_una"]), int(worker["snd_nxt"]))
        lacking = [seq for seq in sent if not ring[seq & len(ring) - 1]["acked"]]
        outstanding = {seq for seq in lacking if ring[seq & len(ring) - 1]["transmissions"]}
        in_flight = len(outstanding)
        too_early = outstanding & {seq + int(worker["chain"]) for seq in lacking} if worker["chain"] else None
        if too_early:
            raise RuleError("one of a chain", f"{self.name}: {too_early} were sent before those that they follow")
        too_far = len(sent) > worker["span"] and worker["snd_nxt"] > self.sent_before
        if in_flight != worker["in_flight"] or in_flight > worker["max_window"] or too_far:
            figures = f"{in_flight} of {len(sent)} are in flight, counted as {worker['in_flight']}"
            raise RuleError("window and span", f"{self.name}: {figures}")

    def _feed(self) -> None:
        while self.fed < self.wanted:
            name = (*self.run.truth, self.run.first_seq + self.fed & 0xFFFFFFFF, self.rank)
            lanes = truth.contribution(*name, self.world.plan.lanes)
            exponents = np.array([truth.exponent(*name)], np.int8)
            if not worker_feed(self.state, lanes, 0, 1, truth.priority(*name), exponents):
                break
            self.fed += 1

    def _drain(self) -> None:
        while self.drained < self.wanted:
            if not worker_drain(self.state, self._sum, 0, 1, self._exponents):
                break
            seq = self.run.first_seq + self.drained & 0xFFFFFFFF
            check_sum(
                "exact",
                f"{self.name}'s result",
                self.run,
                seq,
                self.run.full,
                self._sum.astype(">i4").tobytes(),
                int(self._exponents[0]),
            )
            self.drained += 1


class ServerHost(Host):
    """A job's PS, or one of several."""

    def __init__(self, run: Run, which: int):
        super().__init__(run, f"ps{which or ''}", run.job.servers[which])
        self.which = which
        self.destination = np.zeros(OUT_PACKETS, np.int32)
        job = run.job
        self.members = {(w.ip.packed, w.udp_port): n for n, w in enumerate(job.workers)}
        self.members[job.switch_ip.packed, wire.ESA_PORT] = job.fan_in
        self.restart()

    def restart(self) -> None:
        """As after a crash: a new process that knows the job and nothing else."""
        # The job's file; what the controller changed since is not in it.
        held = self.world.plan.held_resends
        self.state = server_of_job(self.run.as_hosts_know_it, TIMERS, number=self.which, held_resends=held)
        self.wake_ns = NEVER

    def tell(self, policy: str) -> None:
        """The controller has changed the policy, and says so."""
        changed = self.run.job.model_copy(update={"policy": policy})
        server_change_policy(self.state, **policy_settings(changed, TIMERS))
        self.pump()

    def take(self, frame: bytes) -> None:
        sender = frame[26:30], int.from_bytes(frame[34:36], "big")
        source = np.array([self.members.get(sender, UNKNOWN_SENDER)], np.int32)
        header = Header.of(frame)
        ours = (header.job, header.epoch) == self.run.key
        if ours and header.seq % len(self.run.job.servers) != self.which:
            raise RuleError("every fragment has its PS", f"{self.name} gets seq {self.run.relative(header.seq)}")
        server_receive(self.state, payload(frame), source, 1, self.world.now_ns)
        self.check_entry(header.seq)
        self.pump()

    def pump(self) -> None:
        now_ns = self.world.now_ns
        job = self.run.job
        more = True
        while more:
            count, self.wake_ns = server_send(self.state, self.out, self.destination, now_ns)
            for i in range(count):
                to = int(self.destination[i])
                if to == job.fan_in:
                    self.world.emit(self, self.member, self.out[i].tobytes(), job.switch_ip.packed)
                else:
                    self.world.emit(self, job.workers[0 if to == MULTICAST else to], self.out[i].tobytes())
            more = self.wake_ns <= now_ns

    def check_entry(self, wire_seq: int) -> None:
        """What the PS holds of a seq: its sum is that of the workers it says are in it, and so are the RESENDs held."""
        state = self.state
        row = wire_seq & (len(state.entry) - 1)
        entry = state.entry[row]
        seq = int(entry["seq"]) & 0xFFFFFFFF
        if entry["state"] not in (EntryState.OPEN, EntryState.DONE):
            return
        bitmap = self.run.full if entry["state"] == EntryState.DONE else int(state.aggregated_bitmap[row, 0])
        if bitmap:
            found = state.lane[row].astype(">i4").tobytes()
            check_sum("exactly once", f"{self.name}'s sum", self.run, seq, bitmap, found, int(entry["exponent"]))
        number = int(entry["held_resend"])
        while number >= 0:
            single = state.held_resend[number]
            found = state.held_resend_lane[number].astype(">i4").tobytes()
            bit = int(single["bit"])
            what = f"{self.name}'s single"
            check_sum("exactly once", what, self.run, seq, bit, found, int(single["exponent"]))
            number = int(single["next"])

    def check_all(self) -> None:
        for row in range(len(self.state.entry)):
            self.check_entry(row)

    @property
    def idle(self) -> bool:
        return not self.alive or self.state.server[0]["open_count"] == 0


def payload(frame: bytes) -> np.ndarray:
    return np.frombuffer(frame[wire.ENCAPSULATION_BYTES :], np.uint32).reshape(1, -1).copy()
