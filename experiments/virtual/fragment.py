"""What happened to one fragment of a run in virtual time: the scenario is simulated once more, until it is over.

    life = fragment_life(run, scenario_of(run), "a", 1733)

It is looked at in steps: coarse ones until a worker may soon send it, then from one arrival of one of its packets to
the next, and in between no longer than a packet is on a cable, so that none is missed. Arrivals, and with them what the
switch does, are told to the nanosecond; what a timer lets happen, and rows that others take, to within a step.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from esa.errors import BadInput
from esa.job import Run
from esa.policy import policy
from esa.protocol import NEVER
from esa.report import life as words
from esa.report.life import Flight, Life, Span
from esa.report.plain import plain
from esa.report.reading import ReadRun
from esa.report.versions import versions
from esa.sim.engine.lines import NONE
from esa.sim.fabric.wiring import Control
from esa.sim.loop import SimState
from esa.sim.plan import Plan
from esa.wire import ENCAPSULATION_BYTES, HEADER, HEADER_BYTES, WIRE_OVERHEAD_BYTES, Flag, Kind, packet_bytes
from experiments.specs.scenario import Scenario
from experiments.virtual.fragment_losses import Losses
from experiments.virtual.fragment_packets import (
    Packet,
    Senders,
    arrivals_at_once,
    cable_of,
    came_to_server,
    is_sum,
    kind_of,
    told_of_server,
    workers_in,
)
from experiments.virtual.row_verdicts import FREE, Came, Row, read_row, verdict
from experiments.virtual.trace import watched
from experiments.virtual.translate import plan_of

MAX_LOOKS = 200_000
DRAWN_RANKS, DRAWN_SWITCHES = 16, 4
_SOURCE, _DESTINATION = 26, 30
_JOB_AT = int(HEADER.fields["job"][1])  # type: ignore[index]
_PS, _RANK = "PS", "rank "


class OverError(Exception):
    """All that is to be seen was seen."""


def fragment_life(
    run: ReadRun, scenario: Scenario, job: str, seq: int, progress: Callable[[float], None] | None = None
) -> Life:
    """job: by name. BadInput, one line, if there is no such job or fragment."""
    plan = plan_of(scenario)
    number = next((k for k, one in enumerate(plan.jobs) if one.name == job), None)
    if number is None:
        allowed = ", ".join(one.name for one in plan.jobs[:20])
        raise BadInput(plain(f"job: the run has no '{job}'; allowed: {allowed}", 400))
    if not plan.jobs[number].sums_in_network:
        raise BadInput(plain(f"job: {job} sums by messages between its workers; no switch sees its fragments", 400))
    watch = FragmentWatch(plan, number, seq)
    with contextlib.suppress(OverError):
        watched(plan, watch, progress)
    life = watch.life
    if not life.events:
        raise BadInput(plain(f"seq: job {job} has no fragment {seq}; allowed: 0 to {watch.newest - 1}", 400))
    if any(job in outage.stopped for outage in run.summary.failures or ()):
        life.notes.append("the job was stopped and went on in another run: each counts its fragments from 0")
    made_by = run.versions.get("code")
    if made_by is not None and made_by != versions()["code"]:
        life.notes.append("the run was made by another version: this is its scenario as this version runs it")
    return life


class FragmentWatch:
    """Follows one fragment through a simulation; `life` is what it has seen."""

    def __init__(self, plan: Plan, number: int, seq: int) -> None:
        self.control: Control | None = None
        self.newest = 0  # first seq that no worker has sent
        self._number, self._seq = number, seq
        self._job, self._graph = plan.jobs[number], plan.fabric.graph
        graph, job = self._graph, self._job
        self._switches = [graph.nodes[k].name for k in graph.switches]
        ranks = [_rank(k) for k in range(min(job.workers, DRAWN_RANKS))]
        self._server = _PS if job.servers == 1 else f"{_PS} {seq % job.servers}"
        self.life = Life(job.name, seq, [*ranks, *self._switches[:DRAWN_SWITCHES], self._server])
        octets = packet_bytes(plan.wire_lanes) + WIRE_OVERHEAD_BYTES
        links = [link for _, _, link in graph.cables]
        self._send_ns = 8e9 * octets / max(link.rate_bps for link in links)
        self._step_ns = max(1, int(min(link.delay_ns + 8e9 * octets / link.rate_bps for link in links)) - 1)
        self._losses = Losses(plan, number)
        self._senders: Senders
        self._looks = self._next_ns = 0
        self._closed = True
        self._begin()

    def _begin(self) -> None:
        """Know nothing of it, as before it is seen in a run."""
        self._run: Run | None = None  # that it is of
        self._flights: dict[tuple[int, int], Packet] = {}
        self._rows: dict[tuple[int, int], Row] = {}  # as last seen, by switch and row
        self._held: dict[tuple[int, int], int] = {}  # rows that hold it: since when
        self._sent, self._acked = [0] * self._job.workers, [False] * self._job.workers
        self._came_ns: dict[int, int] = {}  # by rank: when a sum last arrived

    # When to look

    def next_ns(self, sim: SimState) -> int:
        just_opened = self._run is None and self._is_open(sim) and self._closed
        return int(sim.scalars["now_ns"][0]) if just_opened else self._next_ns

    def look(self, sim: SimState, now_ns: int) -> None:
        self._looks += 1
        if self._looks > MAX_LOOKS:
            self.life.notes.append(f"given up after {MAX_LOOKS:,} looks; what came later is not here")
            raise OverError
        self._closed = not self._is_open(sim)
        if self._run is not None and (self._closed or self._now().epoch != self._run.epoch):
            self._stop(now_ns)
        if self._run is not None or self._is_near(sim, now_ns):
            self._see(sim, now_ns)

    def _is_open(self, sim: SimState) -> bool:
        return bool(sim.ranks.job[self._number]["open"])

    def _is_near(self, sim: SimState, now_ns: int) -> bool:
        """Whether a worker may send it soon; else `_next_ns` is the earliest time at which that could be so."""
        assert self.control is not None
        workers = sim.workers.state.worker[self._first(sim) :][: self._job.workers]
        newest = int(workers["snd_nxt"].max())
        self.newest = max(self.newest, newest)
        left = self._seq - newest - 2 * self._job.reach - self._job.window
        self._next_ns = now_ns + max(self._step_ns, int(left * self._send_ns * 0.9))
        if self._closed:
            self._next_ns = NEVER
        elif left <= 0:
            self._run = self._now()
            self._senders = Senders(self._run, self._server, self._graph)
            self._losses.looked(sim)
        return self._run is not None

    def _now(self) -> Run:
        """The job's newest run."""
        assert self.control is not None
        return self.control.run_of(self._number)

    def _stop(self, now_ns: int) -> None:
        """The job is stopped; it may go on in another run, where the fragment's number is another fragment's."""
        if any(self._sent) and not all(self._acked):
            self._end_spans(now_ns)
            text = "the job is stopped: this run of it is over, whatever is on its way counts for nothing"
            self._happens(now_ns, self._server, words.STOPPED, text)
        elif all(self._acked):
            self._end(now_ns)
        self._next_ns = now_ns
        self._begin()

    # What there is to see

    def _see(self, sim: SimState, now_ns: int) -> None:
        arrived = [one for one in self._flights.values() if one.arrive_ns < now_ns]
        self._flights = {key: one for key, one in self._flights.items() if one.arrive_ns >= now_ns}
        sending = self._see_sending(sim)
        for at_once in arrivals_at_once(sorted(arrived, key=lambda one: one.arrive_ns)):
            if at_once[0].switch != NONE:
                self._at_switch(at_once)
            else:
                for packet in at_once:
                    self._at_host(sim, packet)
        self._see_rows(now_ns)
        left = set()
        for packet in self._under_way(sim, now_ns):
            left.add(packet.start)
            self._flights[packet.buffer, packet.arrive_ns] = packet
            self._see_departure(packet, max((one.arrive_ns for one in arrived), default=now_ns))
        self._see_losses(sim, sending - left, {one.switch for one in arrived}, left)
        for packet in self._flights.values():  # before it arrives
            row = self._row_of(packet)
            if packet.switch != NONE and row is not None:
                self._rows[packet.switch, row] = self._read(packet.switch, row)
        self._see_results(sim, now_ns)
        # Just before something arrives, so that what it changes can be told, and just after.
        soonest = min((one.arrive_ns for one in self._flights.values()), default=NEVER)
        self._next_ns = min(now_ns + self._step_ns, soonest + 1 if soonest <= now_ns else soonest)
        if all(self._acked) and not self._flights:
            self._end(now_ns)

    def _see_losses(self, sim: SimState, sending: set[str], met: set[int], left: set[str]) -> None:
        """Of what was to leave and is on no cable. sending: ranks; met: switches that packets have come to."""
        for name in sending:
            rank = int(name.removeprefix(_RANK))
            if self._losses.to_switch(sim, int(sim.host_of[self._first(sim) + rank])):
                at_ns = int(self._fragment(sim, rank)["sent_ns"])
                self._happens(at_ns, name, words.LOST, "on the cable to the switch")
        for which in met - {NONE}:
            if self._switches[which] not in left and self._losses.in_queues_of(sim, which):
                at_ns = int(sim.scalars["now_ns"][0])
                self._happens(at_ns, self._switches[which], words.LOST, "the queue of its port was full")
        self._losses.looked(sim)

    def _end(self, now_ns: int) -> None:
        self._end_spans(now_ns)
        for which, row in self._held:
            still = f"row {row} still has it when all workers have the sum; what comes then is left out"
            self.life.notes.append(f"{self._switches[which]}: {still}")
        raise OverError

    def _end_spans(self, now_ns: int) -> None:
        for (which, row), since_ns in self._held.items():
            self.life.spans.append(Span(self._switches[which], since_ns / 1e9, now_ns / 1e9, f"row {row}"))

    def _under_way(self, sim: SimState, now_ns: int) -> Iterator[Packet]:
        """The fragment's packets that are new on a cable."""
        assert self._run is not None
        pool, start = sim.pool, ENCAPSULATION_BYTES
        parts = ((self._run.job, 2), (self._run.epoch, 2), (self._seq & 0xFFFFFFFF, 4))
        wanted = np.frombuffer(b"".join(value.to_bytes(size, "big") for value, size in parts), np.uint8)
        alike = (pool.data[:, start + _JOB_AT : start + _JOB_AT + 8] == wanted).all(1)
        alike &= pool.descriptor["arrive_ns"] >= now_ns
        alike[pool.free[: pool.spare[0]]] = False
        for buffer in np.flatnonzero(alike).tolist():
            arrive_ns = int(pool.descriptor[buffer]["arrive_ns"])
            line = None if (buffer, arrive_ns) in self._flights else cable_of(sim, buffer, len(self._graph.cables))
            if line is None:
                continue
            octets, record = pool.data[buffer].tobytes(), sim.lines[line]
            header = np.frombuffer(octets[start : start + HEADER_BYTES], HEADER)[0]
            source, destination = (int.from_bytes(octets[at : at + 4], "big") for at in (_SOURCE, _DESTINATION))
            sender = record["from_switch"]
            place = self._switches[sender] if sender != NONE else self._senders.at(source)
            yield Packet(buffer, arrive_ns, header, source, destination, line, int(record["switch"]), place)

    def _see_sending(self, sim: SimState) -> set[str]:
        """Tell who has sent it; return whom that is."""
        sending = set()
        for rank in range(self._job.workers):
            fragment = self._fragment(sim, rank)
            if fragment is None or fragment["transmissions"] <= self._sent[rank] or self._acked[rank]:
                continue
            again = self._sent[rank] > 0
            self._sent[rank] = int(fragment["transmissions"])
            text = f"for the {self._sent[rank]}. time" if again else f"priority {fragment['priority']}"
            self._happens(int(fragment["sent_ns"]), _rank(rank), words.RESENT if again else words.SENT, text)
            sending.add(_rank(rank))
        return sending

    def _see_results(self, sim: SimState, now_ns: int) -> None:
        for rank in range(self._job.workers):
            fragment = self._fragment(sim, rank)
            if not self._acked[rank] and self._sent[rank] and (fragment is None or fragment["acked"]):
                self._acked[rank] = True
                self._happens(self._came_ns.get(rank, now_ns), _rank(rank), words.RECEIVED, "the sum is here")

    def _first(self, sim: SimState) -> int:
        return int(sim.ranks.job[self._number]["first_rank"])

    def _fragment(self, sim: SimState, rank: int) -> Any:
        """A rank's record of it; None before it is written, and when its place is another's."""
        w = self._first(sim) + rank
        written, rows = int(sim.workers.state.worker[w]["write_seq"]), sim.workers.rows
        slots = int(rows[w + 1] - rows[w])
        if not written - slots <= self._seq < written:
            return None
        return sim.workers.state.fragment[int(rows[w]) + (self._seq & (slots - 1))]

    # Packets

    def _see_departure(self, packet: Packet, at_ns: int) -> None:
        """A packet is new on a cable."""
        kind, end = kind_of(packet), self._switches[packet.switch] if packet.switch != NONE else None
        end = self._senders.at(packet.destination) if end is None else end
        self.life.packets.append(Flight(kind.name, packet.start, end, at_ns / 1e9, packet.arrive_ns / 1e9))
        if packet.start == self._server:
            told = told_of_server(kind, self._senders.at(packet.destination))
            if told is not None:
                self._happens(at_ns, self._server, *told)
        elif kind == Kind.PARTIAL and packet.start in self._switches:
            self._happens(
                at_ns, packet.start, words.PARTIAL, f"a sum of {self._senders.whose(packet)} leaves for the PS"
            )

    def _at_host(self, sim: SimState, packet: Packet) -> None:
        name, kind, at_ns = self._senders.at(packet.destination), kind_of(packet), packet.arrive_ns
        host = int(sim.lines[packet.line]["host"])
        down = self._losses.host_down(host, name == self._server, at_ns)
        if down or self._losses.to_host(sim, host):
            what = f"{kind.name} of {self._senders.whose(packet)}" if name == self._server else kind.name
            self._happens(at_ns, name, words.LOST, f"{what}: {'nobody is there' if down else 'on the last cable'}")
            return
        if name.startswith(_RANK) and kind == Kind.QUERY:
            self._happens(at_ns, name, words.QUERIED, "the PS asks for its part, or the result")
        elif name.startswith(_RANK) and kind == Kind.RESULT:
            rank = int(name.removeprefix(_RANK))
            self._came_ns[rank] = at_ns
            if self._acked[rank]:
                self._happens(at_ns, name, words.DUPLICATE, "the sum comes again")
        elif name == self._server:
            told = came_to_server(packet, self._senders.whose(packet))
            if told is not None:
                self._happens(at_ns, name, *told)

    # Rows

    def _at_switch(self, packets: list[Packet]) -> None:
        """Packets of one kind have met the program in one nanosecond: what became of their row says what it did."""
        packet = packets[0]
        which, at_ns, kind, row = packet.switch, packet.arrive_ns, kind_of(packet), self._row_of(packet)
        name, who = self._switches[which], ", ".join(self._senders.whose(one) for one in packets)
        if self._losses.switch_down(which, at_ns):
            self._happens(at_ns, name, words.LOST, f"{kind.name} of {who}: the switch is down")
            return
        if row is None:
            if kind == Kind.GRADIENT:
                self._happens(at_ns, name, words.PASSES, f"{who}: on to the PS, no rows are used")
            return
        before, after = self._rows.get((which, row), FREE), self._read(which, row)
        self._rows[which, row] = after
        self._note_held(which, row, after, at_ns)
        if kind == Kind.GRADIENT:
            part, again = "bitmap1" if is_sum(packet) else "bitmap0", Flag.RESEND in Flag(int(packet.header["flags"]))
            bitmap = int(np.bitwise_or.reduce([int(one.header[part]) for one in packets]))
            came = Came(who, bitmap, int(packet.header["priority"]), again, self._full(which))
            self._happens(at_ns, name, *verdict(came, row, self._key(), before, after, self._named))
        elif kind == Kind.REMINDER and self._is_it(before):
            self._happens(at_ns, name, words.REMINDED, f"row {row} hands over its sum of {workers_in(before.bitmap)}")
        elif kind == Kind.REMINDER:
            self._happens(at_ns, name, words.MISSED, f"row {row} holds nothing of it")
        elif kind == Kind.RESULT and self._is_it(before) and not self._is_it(after):
            self._happens(at_ns, name, words.RELEASED, f"row {row} is free")

    def _note_held(self, which: int, row: int, after: Row, at_ns: int) -> None:
        """Begin or end what is drawn of a row."""
        if self._is_it(after):
            self._held.setdefault((which, row), at_ns)
        elif (since_ns := self._held.pop((which, row), None)) is not None:
            self.life.spans.append(Span(self._switches[which], since_ns / 1e9, at_ns / 1e9, f"row {row}"))

    def _see_rows(self, now_ns: int) -> None:
        """Rows that had it and that others have taken."""
        for which, row in list(self._held):
            before, after = self._rows[which, row], self._read(which, row)
            self._rows[which, row] = after
            self._note_held(which, row, after, now_ns)
            if self._losses.switch_down(which, now_ns):
                text = f"the switch is down, and with it row {row} with {workers_in(before.bitmap)}"
                self._happens(now_ns, self._switches[which], words.LOST, text)
            elif after.bitmap and not self._is_it(after):
                taker = f"{self._named(after.owner)}, priority {after.priority}"
                text = f"{taker}, takes row {row} with {workers_in(before.bitmap)}"
                self._happens(now_ns, self._switches[which], words.PREEMPTED, text)

    def _read(self, which: int, row: int) -> Row:
        assert self.control is not None
        return read_row(self.control.pipeline(which), row)

    def _row_of(self, packet: Packet) -> int | None:
        """Which row its index names; None: its job uses none."""
        assert self.control is not None
        pool = self.control.run_of(self._number).pool
        if pool is None or policy(self._job.policy).pool == "none":
            return None
        return pool.base + (int(packet.header["index"]) & (pool.size - 1))

    def _full(self, which: int) -> int:
        """How many parts make a complete sum on a switch."""
        assert self.control is not None
        assert self._run is not None
        return int(self.control.complete_bitmaps(which)[self._run.job]).bit_count()

    def _key(self) -> tuple[int, int, int]:
        assert self._run is not None
        return self._run.job, self._run.epoch, self._seq & 0xFFFFFFFF

    def _is_it(self, row: Row) -> bool:
        return row.holds(self._key())

    def _named(self, owner: tuple[int, int, int]) -> str:
        assert self.control is not None
        names = {(run.job, run.epoch): run.name for run in self.control.runs().values()}
        return f"job {names.get(owner[:2], '(over)')}'s fragment {owner[2]}"

    def _happens(self, at_ns: int, at: str, what: str, text: str) -> None:
        self.life.happens(at_ns / 1e9, at, what, text)


def _rank(number: int) -> str:
    return f"{_RANK}{number}"
