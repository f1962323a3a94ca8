"""Workers, PSs, the switch and every packet in flight; nothing happens unless somebody chooses it.

    world = World(Plan.draw(seed=1))
    world.do(("submit", "1.3/w0"))                # its next all-reduce
    world.do(("deliver", "1.3/w0 GRADIENT 0"))
    world.settle()                                # the network turns benign: everything must end

A move is (name, what, ...); moves name packets and hosts, so that a schedule of which moves are left out still means
something: a move whose packet is not there does nothing. Every packet, every row and every PS entry is compared with
the truth as soon as it comes to be. What is wrong raises `RuleError`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from esa import job as jobs
from esa import wire
from esa.job import Member, Pool
from esa.policy import POLICIES, Policy
from esa.protocol import (
    MULTICAST,
    NEVER,
    NOT_YET,
    UNKNOWN_SENDER,
    Timers,
    server_change_policy,
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
from esa.protocol.server_ring import DONE, OPEN
from esa.wire import Flag, Kind
from tests.model import truth
from tests.model.rows import ROWS, Header, Row, Switch, rule
from tests.p4 import traffic
from tests.protocol.network import frame_of

US, MS, S = 1_000, 1_000_000, 1_000_000_000
GIVE_UP_S = 4.0
TIMERS = Timers(
    rto_initial_ns=2 * MS,
    rto_floor_ns=1 * MS,
    rto_ceiling_ns=100 * MS,
    patience_initial_ns=500 * US,
    patience_floor_ns=200 * US,
    patience_ceiling_ns=100 * MS,
    unhurried_initial_ns=0,
    unhurried_floor_ns=0,
)
SETTLE_NS = 60 * S  # within this, everything ends once the network is benign
TTL_US = 20_000
OUT_PACKETS = 4  # small, so that what does not fit is met
SHARED = Pool(base=0, size=4)
SWEEPERS = 20, 21  # jobs of the end

Move = tuple[Any, ...]


class RuleError(AssertionError):
    """An invariant does not hold; `rule` is a short name of which."""

    def __init__(self, rule: str, what: str):
        super().__init__(f"{rule}: {what}")
        self.rule = rule


@dataclass(frozen=True)
class JobPlan:
    """A job as it is first added."""

    policy: str
    workers: int
    window: int
    first_seq: int


@dataclass(frozen=True)
class Plan:
    """What a world starts with; the moves do the rest."""

    jobs: tuple[JobPlan, ...]
    lanes: int = 64
    held_resends: int | None = None

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Plan:
        names = sorted(POLICIES)
        favourites = ["esa", "esa", "atp", "switchml"]
        jobs = tuple(
            JobPlan(
                policy=str(rng.choice(names if rng.random() < 0.5 else favourites)),
                workers=int(rng.integers(1, 5)),
                window=int(rng.choice([1, 2, 4, 8])),
                first_seq=int(rng.choice([0, 2**32 - 2, 2**32 - 7, 2**31 - 3])),
            )
            for _ in range(rng.integers(1, 4))
        )
        return cls(jobs, lanes=0 if rng.random() < 0.15 else 64, held_resends=1 if rng.random() < 0.2 else None)


@dataclass
class InFlight:
    """A packet on a link: to the switch's `port`, or (port -1) to the host that its addresses name."""

    label: str
    frame: bytes
    port: int


class Run:
    """One job in one epoch: its members and what they are to sum."""

    def __init__(self, world: World, number: int, epoch: int, plan: JobPlan, ttl_us: int = TTL_US):
        made = traffic.job(number, plan.policy, workers=plan.workers, pool=SHARED, ports=32, ttl_us=ttl_us)
        self.world, self.plan = world, plan
        values = {**made.model_dump(), "epoch": epoch, "window": plan.window, "lanes": world.plan.lanes or 64}
        values["pool"] = self.pool(POLICIES[plan.policy], number)
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
        self.server = ServerHost(self)

    @property
    def as_hosts_know_it(self) -> jobs.Run:
        return self.job.model_copy(update={"lanes": self.world.plan.lanes, "give_up_s": GIVE_UP_S})

    @staticmethod
    def pool(policy: Policy, number: int) -> Pool:
        return Pool(base=16 * number, size=16) if policy.pool == "slice" else SHARED

    @property
    def hosts(self) -> list[WorkerHost | ServerHost]:
        return [*self.workers, self.server]

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
        server = self.run.job.server
        if frame[26:30] == server.ip.packed and int.from_bytes(frame[34:36], "big") == server.udp_port:
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
                self.world.emit(self, self.run.job.server, self.out[i].tobytes())
            more = self.wake_ns <= now_ns

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
            self.world.check_sum(
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
    """A job's PS."""

    def __init__(self, run: Run):
        super().__init__(run, "ps", run.job.server)
        self.destination = np.zeros(OUT_PACKETS, np.int32)
        job = run.job
        self.members = {(w.ip.packed, w.udp_port): n for n, w in enumerate(job.workers)}
        self.members[job.switch_ip.packed, wire.ESA_PORT] = job.fan_in
        self.restart()

    def restart(self) -> None:
        """As after a crash: a new process that knows the job and nothing else."""
        # The job's file; what the controller changed since is not in it.
        self.state = server_of_job(self.run.as_hosts_know_it, TIMERS, held_resends=self.world.plan.held_resends)
        self.wake_ns = NEVER

    def tell(self, policy: str) -> None:
        """The controller has changed the policy, and says so."""
        changed = self.run.job.model_copy(update={"policy": policy})
        server_change_policy(self.state, **policy_settings(changed, TIMERS))
        self.pump()

    def take(self, frame: bytes) -> None:
        sender = frame[26:30], int.from_bytes(frame[34:36], "big")
        source = np.array([self.members.get(sender, UNKNOWN_SENDER)], np.int32)
        server_receive(self.state, payload(frame), source, 1, self.world.now_ns)
        self.check_entry(Header.of(frame).seq)
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
                    self.world.emit(self, job.server, self.out[i].tobytes(), job.switch_ip.packed)
                else:
                    self.world.emit(self, job.workers[0 if to == MULTICAST else to], self.out[i].tobytes())
            more = self.wake_ns <= now_ns

    def check_entry(self, wire_seq: int) -> None:
        """What the PS holds of a seq: its sum is that of the workers it says are in it, and so are the RESENDs held."""
        state = self.state
        row = wire_seq & (len(state.entry) - 1)
        entry = state.entry[row]
        seq = int(entry["seq"]) & 0xFFFFFFFF
        if entry["state"] not in (OPEN, DONE):
            return
        bitmap = self.run.full if entry["state"] == DONE else int(state.aggregated_bitmap[row, 0])
        if bitmap:
            found = state.lane[row].astype(">i4").tobytes()
            self.world.check_sum(
                "exactly once", f"{self.name}'s sum", self.run, seq, bitmap, found, int(entry["exponent"])
            )
        number = int(entry["held_resend"])
        while number >= 0:
            single = state.held_resend[number]
            found = state.held_resend_lane[number].astype(">i4").tobytes()
            bit = int(single["bit"])
            what = f"{self.name}'s single"
            self.world.check_sum("exactly once", what, self.run, seq, bit, found, int(single["exponent"]))
            number = int(single["next"])

    def check_all(self) -> None:
        for row in range(len(self.state.entry)):
            self.check_entry(row)

    @property
    def idle(self) -> bool:
        return not self.alive or self.state.server[0]["open_count"] == 0


def payload(frame: bytes) -> np.ndarray:
    return np.frombuffer(frame[wire.ENCAPSULATION_BYTES :], np.uint32).reshape(1, -1).copy()


@dataclass
class World:
    """See the module. `program` and `compiled` are for variants of the switch."""

    plan: Plan
    program: Path | None = None
    compiled: bool = True
    tracing: bool = False
    now_ns: int = 0
    trace: list[str] = field(default_factory=list)
    moves: list[Move] = field(default_factory=list)
    flight: dict[str, InFlight] = field(default_factory=dict)
    verdicts: Counter[str] = field(default_factory=Counter)

    # For mutants: what is done to a host before it gets a packet, and whether an epoch is given only once.
    tamper: Callable[[WorkerHost | ServerHost, Header], None] | None = None
    new_epochs: bool = True

    def __post_init__(self) -> None:
        self.switch = Switch(self.plan.lanes, self.program, self.compiled)
        self.truths: dict[tuple[int, int], Run] = {}  # every run there ever was
        self.runs: dict[int, Run] = {}
        self.hosts: dict[tuple[bytes, int], WorkerHost | ServerHost] = {}
        self.by_name: dict[str, WorkerHost | ServerHost] = {}
        self.labels: Counter[str] = Counter()
        self.late: dict[int, ServerHost] = {}  # PSs that live on and have not heard of their job's new run
        self.started = 0  # runs
        self.abandoned = 0
        self.steps = 0
        self.down = False  # the switch has lost its entries
        for number, plan in enumerate(self.plan.jobs, 1):
            self._start(Run(self, number, 3 * number, plan))

    # The moves

    def do(self, move: Move) -> bool:
        """Make a move; False if there is nothing to move."""
        self.moves.append(move)
        name, *what = move
        done = bool(getattr(self, "_" + name.replace("-", "_"))(*what))
        if not done:
            self.moves.pop()
        self.steps += done
        return done

    def _deliver(self, label: str) -> bool:
        packet = self.flight.pop(label, None)
        if packet is None:
            return False
        self.now_ns += 1 * US
        if packet.port >= 0:
            self._through_switch(packet)
        else:
            self._to_host(packet)
        return True

    def _drop(self, label: str) -> bool:
        packet = self.flight.pop(label, None)
        if packet is not None:
            self._say(f"{label}", "lost")
        return packet is not None

    def _copy(self, label: str) -> bool:
        packet = self.flight.get(label)
        if packet is None or len(self.flight) > 400:
            return False
        copy = replace(packet, label=self._unique(label.split(" #")[0]))
        self.flight[copy.label] = copy
        self._say(label, f"duplicated: {copy.label}")
        return True

    def _mark(self, label: str) -> bool:
        packet = self.flight.get(label)
        if packet is None:
            return False
        at = wire.ENCAPSULATION_BYTES + 1
        packet.frame = packet.frame[:at] + bytes([packet.frame[at] | Flag.ECN]) + packet.frame[at + 1 :]
        self._say(label, "marked")
        return True

    def _wait(self, us: int) -> bool:
        """Let time pass, but never so long that somebody could give up: that would be no fault of the protocol's."""
        if self.now_ns + us * US > self._patience_ns():
            return False
        self.now_ns += us * US
        self._say("", f"{us} us pass")
        return True

    def _timer(self, name: str) -> bool:
        """A host's timer runs out: at its time, or late if that has passed."""
        host = self.by_name.get(name)
        if host is None or not host.alive or host.wake_ns >= NEVER:
            return False
        if host.wake_ns > max(self.now_ns, self._patience_ns()):
            return False
        self.now_ns = max(self.now_ns, host.wake_ns)
        self._say(name, "timer")
        host.pump()
        self._after_host(host)
        return True

    def _submit(self, name: str) -> bool:
        host = self.by_name.get(name)
        if not isinstance(host, WorkerHost) or not host.alive or host.failed:
            return False
        self._say(name, f"all-reduce {host.submitted}: {host.run.size(host.submitted)} fragments")
        host.submit()
        return True

    def _policy(self, number: int, name: str) -> bool:
        run = self.runs.get(number)
        if run is None or self.down:
            return False
        run.policy = POLICIES[name]
        self.switch.change(run.job, run.policy, run.pool(run.policy, number))
        self._say(f"job {run.name}", f"policy is now {name}")
        return True

    def _tell_server(self, number: int, name: str) -> bool:
        """A PS hears of a policy, that of the switch or one that was."""
        run = self.runs.get(number)
        if run is None or not run.server.alive:
            return False
        run.server.tell(name)
        self._say(run.server.name, f"is told that the policy is {name}")
        return True

    def _remove(self, number: int) -> bool:
        """Take a job out of the switch; its hosts' processes end, its packets and rows stay."""
        run = self.runs.get(number)
        if run is None or self.down:
            return False
        self.switch.remove(run.job)
        self._end(run)
        self._say(f"job {run.name}", "removed")
        return True

    def _add(self, number: int, policy: str, workers: int, window: int, first_seq: int) -> bool:
        """Add a job under an id that was used before, with the next epoch."""
        if number in self.runs or self.down:
            return False
        run = Run(self, number, self._draw_epoch(number), JobPlan(policy, workers, window, first_seq))
        self._start(run)
        self._say(f"job {run.name}", f"added under {policy}, {workers} workers, window {window}")
        return True

    def _run_again(self, number: int, server_lives: bool) -> bool:
        """Workers stop wherever they are and the job starts anew; its packets and rows stay, a PS may live on."""
        old = self.runs.get(number)
        if old is None or self.down:
            return False
        new = Run(self, number, self._draw_epoch(number), old.plan)
        new.policy = old.policy
        lives = server_lives and old.server.alive and number not in self.late
        self._end(old)
        self.switch.start_run(old.job, new.job)
        self._take_up(new)
        if lives:
            old.server.alive = True
            self.late[number] = self.hosts[old.server.address] = old.server
        self._say(f"job {new.name}", f"run again, {'its PS has not heard of it' if lives else 'with a new PS'}")
        return True

    def _tell(self, number: int) -> bool:
        """The PS that lives on hears of the new run."""
        old, run = self.late.pop(number, None), self.runs.get(number)
        if old is None or run is None:
            return False
        old.alive = False
        self.hosts[old.address] = run.server
        self._say(run.server.name, "hears of the new run")
        return True

    def _draw_epoch(self, number: int) -> int:
        return max(e for n, e in self.truths if n == number) + (1 if self.new_epochs else 0)

    def _restart(self) -> bool:
        self.switch.restart(self.now_ns // US)
        self.down = True
        self._say("switch", "restarted empty")
        return True

    def _reload(self) -> bool:
        if not self.down:
            return False
        self.down = False
        for run in self.runs.values():
            self._install(run)
        self._say("switch", "entries loaded")
        return True

    def _restart_server(self, number: int) -> bool:
        run = self.runs.get(number)
        if run is None or not run.server.alive:
            return False
        run.server.restart()
        self._say(run.server.name, "restarted empty")
        return True

    def _kill(self, name: str) -> bool:
        host = self.by_name.get(name)
        if host is None or not host.alive:
            return False
        host.alive = False
        self._say(name, "dies")
        return True

    # Parts of the moves

    def _start(self, run: Run) -> None:
        self._take_up(run)
        self._install(run)

    def _take_up(self, run: Run) -> None:
        self.runs[run.key[0]] = self.truths[run.key] = run
        for host in run.hosts:
            self.hosts[host.address] = self.by_name[host.name] = host

    def _install(self, run: Run) -> None:
        self.switch.add(run.job, run.policy, run.pool(run.policy, run.key[0]))

    def _end(self, run: Run) -> None:
        run.count()
        self.abandoned += len(run.sizes) - run.checked
        del self.runs[run.key[0]]
        late = self.late.pop(run.key[0], None)
        for host in (*run.hosts, late):
            if host is not None:
                host.alive = False

    def emit(self, source: Host, to: Member, packet: bytes, to_ip: bytes | None = None) -> None:
        """A host sends a packet; it is on its way to the switch."""
        frame = frame_of(source.member, to, packet, to_ip)
        self._fly(source.name, frame, source.member.switch_port)

    def _fly(self, source: str, frame: bytes, port: int) -> str:
        header = Header.of(frame)
        run = self.truths.get((header.job, header.epoch))
        if run is None:
            raise RuleError("exact", f"{source} sends a packet of job {header.job}.{header.epoch}, which never was")
        nothing_yet = header.kind == Kind.RESULT and header.priority == NOT_YET and run.relative(header.seq) == -1
        if header.kind in (Kind.GRADIENT, Kind.PARTIAL, Kind.RESULT) and not nothing_yet:
            self.check_sum(
                "exact" if header.kind == Kind.RESULT else "exactly once",
                f"the {Kind(header.kind).name} that {source} sends",
                run,
                header.seq,
                run.full if header.kind == Kind.RESULT else header.bitmap0,
                header.lanes,
                header.exponent,
            )
        label = self._unique(f"{source} {describe(header, run)}")
        self.flight[label] = InFlight(label, frame, port)
        return label

    def _unique(self, label: str) -> str:
        self.labels[label] += 1
        return label if self.labels[label] == 1 else f"{label} #{self.labels[label]}"

    def _to_host(self, packet: InFlight) -> None:
        frame = packet.frame
        host = self.hosts.get((frame[30:34], int.from_bytes(frame[36:38], "big")))
        if host is None or not host.alive:
            self._say(packet.label, "nobody there")
            return
        self._say(packet.label, f"received by {host.name}")
        if self.tamper is not None:
            self.tamper(host, Header.of(frame))
        host.take(frame)
        self._after_host(host)

    def _after_host(self, host: WorkerHost | ServerHost) -> None:
        if isinstance(host, WorkerHost):
            host.run.count()
            if host.failed and not host.run.crippled:
                raise RuleError("every all-reduce ends", f"{host.name} gave up though every member is alive")

    def _through_switch(self, packet: InFlight) -> None:
        switch = self.switch
        header = Header.of(packet.frame)
        known = switch.jobs.get((header.job, header.epoch))
        now_us = switch.time_us(self.now_ns // US)
        before, lanes_before = switch.snapshot()
        slot, row = None, None
        if known is not None and known[1].policy.pool != "none":
            pool = known[1].pool
            slot = pool.base + (header.index & pool.size - 1)
            row = switch.row(slot)
        out = switch.pipeline.process(packet.port, packet.frame, now_us)
        after, lanes_after = switch.snapshot()
        changed = set(np.flatnonzero((before != after).any(axis=0)).tolist())
        changed |= set(np.flatnonzero((lanes_before != lanes_after).any(axis=1)).tolist())
        if changed - {slot}:
            raise RuleError("one row per packet", f"{packet.label} changed rows {sorted(changed)}, its row is {slot}")
        labels = [self._fly(f"switch, {packet.label.split(' ', 1)[0]}:", frame, -1) for _, frame in out]
        verdict = self._judge(packet, header, slot, row, labels, now_us)
        self.verdicts[verdict] += 1
        self._say(packet.label, verdict + (f" -> {len(labels)} x {labels[0].split(': ')[1]}" if labels else ""))
        if slot is not None:
            self._check_row(slot)
        counted, taken, ours = switch.occupancy()
        if not counted == taken == ours:
            raise RuleError("occupancy", f"counters say {counted} rows, {taken} are taken, {ours} of them in the pools")

    def _judge(
        self, packet: InFlight, header: Header, slot: int | None, row: Row | None, labels: list[str], now_us: int
    ) -> str:
        """Compare what the switch did with the rule."""
        known = self.switch.jobs.get((header.job, header.epoch))
        kinds = Counter(Header.of(self.flight[label].frame).kind for label in labels)
        if known is None:
            if labels:
                raise RuleError("admission", f"{packet.label}: its job is not in the switch, and it left as {labels}")
            return "denied"
        if slot is None or row is None:
            return "passed through"
        after = self.switch.row(slot)
        owner_known = row.owner[:2] in self.switch.jobs
        swapped = after.owner == (header.job, header.epoch, header.seq) and row.owner != after.owner
        must = rule(row, header, known[1], now_us, owner_known, swapped)
        expected = Counter({must.out[0]: must.out[1]}) if must.out else Counter()
        same_row = after == must.row or after.bitmap == must.row.bitmap == 0
        if not same_row or kinds != expected:
            raise RuleError(
                "the rule for a row",
                f"{packet.label} met {row}: {must.verdict} makes it {must.row} and sends {must.out};"
                f" the switch made it {after} and sent {labels}",
            )
        return must.verdict

    def _check_row(self, slot: int) -> None:
        row = self.switch.row(slot)
        if row.bitmap:
            run = self.truths[row.owner[:2]]
            found = self.switch.row_lanes(slot)
            self.check_sum("exactly once", f"row {slot}", run, row.owner[2], row.bitmap, found, row.exponent)

    def check_sum(self, rule: str, what: str, run: Run, seq: int, bitmap: int, found: bytes, exponent: int) -> None:
        """`found` is the sum over exactly the workers of `bitmap`, and `exponent` the largest of theirs."""
        lanes = self.plan.lanes
        name = f"{what} of {run.name}, seq {run.relative(seq)}, workers {bitmap:b}"
        if not 0 <= run.relative(seq) < run.fragments or bitmap & ~run.full or not bitmap:
            raise RuleError(rule, f"{name}: nobody sent that")
        if found != truth.sum_bytes(*run.truth, seq, bitmap, lanes):
            raise RuleError(rule, f"{name}: has {truth.decode(*run.truth, seq, found)}")
        if exponent != truth.merged_exponent(*run.truth, seq, bitmap):
            raise RuleError(rule, f"{name}: has exponent {exponent}")

    def _patience_ns(self) -> int:
        """Until when nobody gives up: half of the time that the least patient has left, by what it knows."""
        limit_ns = NEVER
        for run in self.runs.values():
            for worker in run.workers:
                me = worker.state.worker[0]
                if worker.alive and not worker.failed and me["snd_una"] < me["snd_nxt"]:
                    known_ns = max(int(me["last_progress_ns"]), int(me["stragglers_alive_ns"]))
                    limit_ns = min(limit_ns, known_ns + int(GIVE_UP_S * S / 2))
        return limit_ns

    def _say(self, what: str, happened: str) -> None:
        if self.tracing:
            self.trace.append(f"{self.now_ns / US:>11.0f} us  {what:<34} {happened}")

    # The end

    def settle(self) -> None:
        """From now on nothing is lost, all ranks submit what any rank did: everything must end, and rows drain."""
        self._say("", "--- the network is benign from here on")
        if self.down:
            self._reload()
        for number in list(self.late):
            self._tell(number)
        for run in self.runs.values():
            for worker in run.workers:
                while worker.alive and not worker.failed and worker.submitted < len(run.sizes):
                    self._submit(worker.name)
        self._quiesce()
        self._sweep()
        self._quiesce()
        for run in self.runs.values():
            self._check_end(run)
        _, taken, _ = self.switch.occupancy()
        if taken:
            raise RuleError("rows drain", f"rows {self.switch.taken()} are taken for ever")

    def _quiesce(self) -> None:
        limit_ns = self.now_ns + SETTLE_NS
        while True:
            if self.flight:
                self._deliver(next(iter(self.flight)))
                continue
            live = [h for run in self.runs.values() for h in run.hosts if h.alive and h.wake_ns < NEVER]
            if not live:
                return
            host = min(live, key=lambda h: h.wake_ns)
            if host.wake_ns > limit_ns:
                raise RuleError(
                    "every all-reduce ends", f"{host.name} still has something to do after {SETTLE_NS / S} s"
                )
            self.now_ns = max(self.now_ns, host.wake_ns)
            self._say(host.name, "timer")
            host.pump()
            self._after_host(host)

    def _check_end(self, run: Run) -> None:
        run.count()
        for worker in run.workers:
            if worker.alive and not worker.failed and worker.drained < run.fragments:
                raise RuleError("every all-reduce ends", f"{worker.name} lacks fragment {worker.drained} and is silent")
            if worker.failed:
                self._check_names_the_dead(worker)
        run.server.check_all()
        if not run.crippled and not run.server.idle:
            raise RuleError("every all-reduce ends", f"{run.server.name} has open fragments and is silent")
        if run.crippled:
            self.abandoned += len(run.sizes) - run.checked

    def _check_names_the_dead(self, worker: WorkerHost) -> None:
        run = worker.run
        dead = sum(1 << w.rank for w in run.workers if not w.alive)
        if not run.server.alive or not dead:
            return
        waiting = worker_waiting(worker.state, self.now_ns)
        named = waiting.silent[0] if waiting else 0
        if named & ~dead or not named:
            raise RuleError("an error names ranks", f"{worker.name} names {named:b}, dead are {dead:b}")

    def _sweep(self) -> None:
        """Newcomers take any row, whoever's it is, and hand it over: odd rows by aging alone, even ones by the TTL."""
        taken = self.switch.taken()
        self._sweep_rows([slot for slot in taken if slot & 1], SWEEPERS[0], ttl_us=0, tries=9)
        self.now_ns += 2 * TTL_US * US if taken else 0
        self._sweep_rows([slot for slot in taken if not slot & 1], SWEEPERS[1], ttl_us=TTL_US, tries=1)

    def _sweep_rows(self, slots: list[int], number: int, ttl_us: int, tries: int) -> None:
        run = Run(self, number, 0, JobPlan("esa", 2, 1, 0), ttl_us)
        run.sizes = [ROWS]
        self.truths[run.key] = run
        self.switch.add(run.job, run.policy, Pool(base=0, size=ROWS))
        for slot in slots:
            for _ in range(tries):
                self._sweep_row(run, run.workers[0], Kind.GRADIENT, slot)
                if self.switch.row(slot).owner[0] == number:
                    break
            else:
                raise RuleError("rows drain", f"row {slot} outlives its TTL" if ttl_us else f"row {slot} does not age")
            self._sweep_row(run, run.server, Kind.REMINDER, slot)
        self.switch.remove(run.job)

    def _sweep_row(self, run: Run, host: WorkerHost | ServerHost, kind: Kind, slot: int) -> None:
        to_ip = run.job.switch_ip.packed if kind == Kind.REMINDER else None
        frame = frame_of(host.member, run.job.server, _sweeping(run, kind, slot, self.plan.lanes), to_ip)
        self._deliver(self._fly(host.name, frame, host.member.switch_port))

    def numbers(self) -> dict[str, int]:
        runs = [run for run in self.truths.values() if run.key[0] not in SWEEPERS]
        checked = sum(run.checked for run in runs)
        fragments = sum(sum(run.sizes[: run.checked]) for run in runs)
        return {"all-reduces": checked, "fragments": fragments, "abandoned": self.abandoned, "steps": self.steps}


def _sweeping(run: Run, kind: Kind, slot: int, lanes: int) -> bytes:
    packet = np.zeros(1, wire.packet_dtype(lanes))
    packet["version_kind"], packet["job"], packet["epoch"] = wire.version_kind(kind), *run.key
    packet["seq"] = packet["index"] = slot
    packet["bitmap0"] = packet["bitmap1"] = 1
    if kind == Kind.GRADIENT:
        packet["priority"] = 1
        packet["exponent"] = truth.exponent(*run.truth, slot, 0)
        packet["lane"] = truth.contribution(*run.truth, slot, 0, lanes)
    return packet.tobytes()


def describe(header: Header, run: Run) -> str:
    """A packet in a few words: kind, seq from the job's first, and who is in it."""
    name = Kind(header.kind).name
    if header.kind == Kind.GRADIENT and header.flags & Flag.RESEND:
        name = "RESEND"
    if header.kind == Kind.GRADIENT and header.flags & Flag.COLLISION:
        name = "COLLISION"
    if header.kind == Kind.QUERY and header.flags & Flag.COLLISION:
        name = "QUERY-AHEAD"
    if header.kind == Kind.RESULT and header.flags & Flag.ANSWER:
        name = "ANSWER"
    bits = f" {header.bitmap0:b}" if header.kind in (Kind.PARTIAL, Kind.QUERY) else ""
    return f"{name} {run.relative(header.seq)}{bits}"
