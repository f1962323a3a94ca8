"""Workers, PSs, the switch and every packet in flight; nothing happens unless somebody chooses it.

    world = World(Plan.draw(seed=1))
    world.do(("submit", "1.3/w0"))                # its next all-reduce
    world.do(("deliver", "1.3/w0 GRADIENT 0"))
    world.settle()                                # the network turns benign: everything must end

A move is (name, what, ...); moves name packets and hosts, so that a schedule of which moves are left out still means
something: a move whose packet is not there does nothing. Every packet, every row and every PS entry is compared with
the truth as soon as it comes to be (`checks`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from esa.job import Member
from esa.protocol import NEVER, NOT_YET
from esa.wire import Flag, Kind
from tests.model.checks import RuleError, check_row, check_sum, judge
from tests.model.ending import SWEEPERS, settle
from tests.model.hosts import Host, Run, ServerHost, WorkerHost
from tests.model.moves import MOVES, Move
from tests.model.plan import GIVE_UP_S, US, Plan, S
from tests.model.rows import Header, Switch
from tests.p4.traffic import frame_of


@dataclass
class InFlight:
    """A packet on a link: to the switch's `port`, or (port -1) to the host that its addresses name."""

    label: str
    frame: bytes
    port: int


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
            self.start(Run(self, number, 3 * number, plan))

    def do(self, move: Move) -> bool:
        """Make a move; False if there is nothing to move."""
        self.moves.append(move)
        name, *what = move
        done = MOVES[name](self, *what)
        if not done:
            self.moves.pop()
        self.steps += done
        return done

    def settle(self) -> None:
        """From now on nothing is lost: everything must end."""
        settle(self)

    # Jobs

    def start(self, run: Run) -> None:
        self.take_up(run)
        self.install(run)

    def take_up(self, run: Run) -> None:
        self.runs[run.key[0]] = self.truths[run.key] = run
        for host in run.hosts:
            self.hosts[host.address] = self.by_name[host.name] = host

    def install(self, run: Run) -> None:
        self.switch.add(run.job, run.policy, run.pool(run.policy, run.key[0]))

    def end(self, run: Run) -> None:
        run.count()
        self.abandoned += len(run.sizes) - run.checked
        del self.runs[run.key[0]]
        late = self.late.pop(run.key[0], None)
        for host in (*run.hosts, late):
            if host is not None:
                host.alive = False

    # Packets

    def emit(self, source: Host, to: Member, packet: bytes, to_ip: bytes | None = None) -> None:
        """A host sends a packet; it is on its way to the switch."""
        frame = frame_of(source.member, to, packet, to_ip)
        self.fly(source.name, frame, source.member.switch_port)

    def fly(self, source: str, frame: bytes, port: int) -> str:
        header = Header.of(frame)
        run = self.truths.get((header.job, header.epoch))
        if run is None:
            raise RuleError("exact", f"{source} sends a packet of job {header.job}.{header.epoch}, which never was")
        before_all = -run.plan.servers <= run.relative(header.seq) < 0
        nothing_yet = header.kind == Kind.RESULT and header.priority == NOT_YET and before_all
        if header.kind in (Kind.GRADIENT, Kind.PARTIAL, Kind.RESULT) and not nothing_yet:
            check_sum(
                "exact" if header.kind == Kind.RESULT else "exactly once",
                f"the {Kind(header.kind).name} that {source} sends",
                run,
                header.seq,
                run.full if header.kind == Kind.RESULT else header.bitmap0,
                header.lanes,
                header.exponent,
            )
        label = self.unique(f"{source} {describe(header, run)}")
        self.flight[label] = InFlight(label, frame, port)
        return label

    def unique(self, label: str) -> str:
        self.labels[label] += 1
        return label if self.labels[label] == 1 else f"{label} #{self.labels[label]}"

    def to_host(self, packet: InFlight) -> None:
        frame = packet.frame
        host = self.hosts.get((frame[30:34], int.from_bytes(frame[36:38], "big")))
        if host is None or not host.alive:
            self.say(packet.label, "nobody there")
            return
        self.say(packet.label, f"received by {host.name}")
        if self.tamper is not None:
            self.tamper(host, Header.of(frame))
        host.take(frame)
        self.after_host(host)

    def after_host(self, host: WorkerHost | ServerHost) -> None:
        if isinstance(host, WorkerHost):
            host.run.count()
            if host.failed and not host.run.crippled:
                raise RuleError("every all-reduce ends", f"{host.name} gave up though every member is alive")

    def through_switch(self, packet: InFlight) -> None:
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
        labels = [self.fly(f"switch, {packet.label.split(' ', 1)[0]}:", frame, -1) for _, frame in out]
        left = {label: self.flight[label].frame for label in labels}
        verdict = judge(switch, packet.label, header, slot, row, left, now_us)
        self.verdicts[verdict] += 1
        self.say(packet.label, verdict + (f" -> {len(labels)} x {labels[0].split(': ')[1]}" if labels else ""))
        if slot is not None:
            check_row(switch, slot, self.truths)
        counted, taken, ours = switch.occupancy()
        if not counted == taken == ours:
            raise RuleError("occupancy", f"counters say {counted} rows, {taken} are taken, {ours} of them in the pools")

    def patience_ns(self) -> int:
        """Until when nobody gives up: half of the time that the least patient has left, by what it knows."""
        limit_ns = NEVER
        for run in self.runs.values():
            for worker in run.workers:
                me = worker.state.worker[0]
                if worker.alive and not worker.failed and me["snd_una"] < me["snd_nxt"]:
                    known_ns = max(int(me["last_progress_ns"]), int(me["stragglers_alive_ns"]))
                    limit_ns = min(limit_ns, known_ns + int(GIVE_UP_S * S / 2))
        return limit_ns

    def say(self, what: str, happened: str) -> None:
        if self.tracing:
            self.trace.append(f"{self.now_ns / US:>11.0f} us  {what:<34} {happened}")

    def numbers(self) -> dict[str, int]:
        runs = [run for run in self.truths.values() if run.key[0] not in SWEEPERS]
        checked = sum(run.checked for run in runs)
        fragments = sum(sum(run.sizes[: run.checked]) for run in runs)
        return {"all-reduces": checked, "fragments": fragments, "abandoned": self.abandoned, "steps": self.steps}


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
