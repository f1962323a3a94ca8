"""What happened to one fragment of a live run, by what the run wrote down: its switch's captures and its looks at rows.

    life = recorded_life(run, "mlp", 1733)

A capture (`esa run --pcap`) has every packet that came to a port and that left by it. What the switch did with a row is
in none of them: what came in and did not leave again was added.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from esa.errors import BadInput
from esa.fabric.graph import End
from esa.job import Job
from esa.report import life as words
from esa.report.life import Flight, Life
from esa.report.live_memory import live_memory
from esa.report.plain import plain
from esa.report.reading import ReadRun
from esa.wire import ENCAPSULATION_BYTES, ESA_PORT, HEADER, HEADER_BYTES, Flag, Kind

PCAPS = "pcaps"
_JOB_AT = ENCAPSULATION_BYTES + int(HEADER.fields["job"][1])  # type: ignore[index]
_RECORD_BYTES = 16  # in front of each packet of a capture
_MAGIC = {b"\xd4\xc3\xb2\xa1": ("<u4", 1e-6), b"\x4d\x3c\xb2\xa1": ("<u4", 1e-9),
          b"\xa1\xb2\xc3\xd4": (">u4", 1e-6), b"\xa1\xb2\x3c\x4d": (">u4", 1e-9)}  # fmt: skip
_PS, _SWITCH = "PS", "switch"


class Port(NamedTuple):
    """Of which switch a capture is, and whether a host is at the other end of its cable."""

    switch: str
    of_host: bool


_ONLY = Port(_SWITCH, of_host=True)  # where there is one switch


class Seen(NamedTuple):
    """A packet of the fragment at a port. came: to the switch; else it left."""

    t_s: float
    port: Port
    came: bool
    source: int
    destination: int
    header: Any

    @property
    def kind(self) -> Kind:
        return Kind(int(self.header["version_kind"]) & 15)

    @property
    def flags(self) -> Flag:
        return Flag(int(self.header["flags"]))


def recorded_life(run: ReadRun, name: str, seq: int) -> Life:
    """BadInput, one line, where nothing is known of it."""
    try:
        job = Job.load(run.folder / "jobs" / f"{_file_name(run, name)}.job.json")
    except (OSError, ValueError) as error:
        raise BadInput(plain(f"job: {name}: its file is not there or none of ours: {str(error)[:200]}", 400)) from None
    ranks = {int(member.ip): f"rank {rank}" for rank, member in enumerate(job.workers)}
    names = ranks | {int(server.ip): _PS for server in job.servers}
    folder = run.folder / PCAPS
    ports, names_of_switches = _ports(run) if job.racks else ({}, {})
    names |= names_of_switches
    life = Life(name, seq, [*ranks.values(), *(names_of_switches.values() or [_SWITCH]), _PS])
    seen = sorted(
        (
            one
            for path in sorted(folder.glob("*.pcap"))
            for one in packets_of(path, job.job, seq, ports.get(_number(path), _ONLY))
        ),
        key=_time,
    )
    if seen:
        _tell(life, seen, names)
        life.notes.append("a capture has no rows: what came to the switch and did not leave again was added to one")
    elif not folder.is_dir():
        life.notes.append("packets were not captured, so who sent it when is not known: esa run --pcap")
    _tell_rows(life, run, name, seq)
    if not life.events:
        why = "no packet of it is in the captures" if folder.is_dir() else "; ".join(life.notes)
        raise BadInput(plain(f"seq: nothing is known of fragment {seq} of job {name}: {why}", 400))
    return life


def _ports(run: ReadRun) -> tuple[dict[int, Port], dict[int, str]]:
    """Of several switches, which port each capture is of, by the number in its name, and their names by address."""
    from experiments.live.check import check_live
    from experiments.live.links import network_graph
    from experiments.specs.scenario import Scenario

    graph = network_graph(Scenario.load(run.folder / "scenario.toml", check_live))
    peer = {a: b for cable in graph.cables for a, b in ((cable.lower, cable.upper), (cable.upper, cable.lower))}
    switches = frozenset(graph.switches)
    ends = sorted(End(node, port) for node in graph.switches for port, _ in graph.ports(node))  # as `Network` has them
    ports = {
        number: Port(graph.nodes[end.node].name, peer[end].node not in switches) for number, end in enumerate(ends)
    }
    return ports, {int(graph.nodes[node].ip): graph.nodes[node].name for node in graph.switches}


def _number(path: Path) -> int:
    """Of the interface that a capture is of; -1: it is no capture of a port."""
    found = re.search(r"p(\d+)_(in|out)$", path.stem)
    return int(found[1]) if found else -1


def packets_of(path: Path, job: int, seq: int, port: Port) -> Iterator[Seen]:
    """A job's packets with this seq in a capture, of whatever run: found by their octets, then looked at as packets."""
    octets = path.read_bytes()
    if octets[:4] not in _MAGIC:
        return
    order, unit = _MAGIC[octets[:4]]
    came = path.stem.endswith("_in")
    pattern = re.compile(re.escape(job.to_bytes(2, "big")) + b".." + re.escape(seq.to_bytes(4, "big")), re.DOTALL)
    for match in pattern.finditer(octets):
        at = match.start() - _JOB_AT
        if at < 24 + _RECORD_BYTES:
            continue
        seconds, fraction, kept, length = np.frombuffer(octets, order, 4, at - _RECORD_BYTES).tolist()
        ports = {int.from_bytes(octets[at + place : at + place + 2], "big") for place in (34, 36)}
        if kept > length or at + kept > len(octets) or kept < _JOB_AT + 8 or ESA_PORT not in ports:
            continue
        start = at + ENCAPSULATION_BYTES
        header = np.frombuffer(octets[start : start + HEADER_BYTES], HEADER)[0]
        if not 1 <= int(header["version_kind"]) & 15 <= len(Kind):
            continue
        source, destination = (int.from_bytes(octets[at + place : at + place + 4], "big") for place in (26, 30))
        yield Seen(seconds + fraction * unit, port, came, source, destination, header)


def _tell(life: Life, seen: list[Seen], names: dict[int, str]) -> None:
    start_s, sent = seen[0].t_s, set()
    for one in seen:
        at_s, here, who = one.t_s - start_s, one.port.switch, names.get(one.source, _SWITCH)
        to, to_here = names.get(one.destination, _SWITCH), one.came and one.kind == Kind.GRADIENT
        if to_here and one.port.of_host:
            again = who in sent
            sent.add(who)
            life.happens(at_s, who, words.RESENT if again else words.SENT, f"priority {one.header['priority']}")
        if to_here and (one.port.of_host or Flag.LEVEL1 in one.flags):
            whose = f"the sum of {who}" if Flag.LEVEL1 in one.flags else who
            life.happens(at_s, here, *_fate(one, [other for other in seen if other.port.switch == here], whose))
        elif one.came and one.port.of_host:
            told = {
                Kind.REMINDER: (_PS, words.REMINDED, "asks the switch for what it holds"),
                Kind.QUERY: (_PS, words.QUERIED, f"asks {to} for its part, or the result"),
                Kind.RESULT: (who, words.RESULT, "sends the sum"),
            }.get(one.kind)
            if told is not None:
                life.happens(at_s, *told)
        elif not one.came and one.kind == Kind.RESULT and one.port.of_host:
            life.happens(at_s, to, words.RECEIVED, "the sum is here")
        elif not one.came and who in (here, _SWITCH):  # else another's, on its way
            if one.kind == Kind.PARTIAL:
                life.happens(at_s, here, words.PARTIAL, f"a sum of {_workers(one)} leaves for the PS")
            elif one.kind == Kind.MISS:
                life.happens(at_s, here, words.MISSED, "nothing of it is held")
        place, other = (who if one.port.of_host else here, here) if one.came else (here, to)
        if one.port.of_host:  # between switches it is another's that it came from
            life.packets.append(Flight(one.kind.name, place, other, at_s, at_s))


def _fate(one: Seen, here: list[Seen], who: str) -> tuple[str, str]:
    """What became of a fragment, or a rack's sum, that came to a switch: by what was seen there."""
    if one is _completing(here):
        return words.COMPLETED, f"{who}: the sum leaves"
    for other in here:
        if other.came or not 0 <= other.t_s - one.t_s < 0.01 or other.kind != Kind.GRADIENT:
            continue
        if all(other.header[bits] == one.header[bits] for bits in ("bitmap0", "bitmap1")):
            if Flag.COLLISION in other.flags and Flag.COLLISION not in one.flags:
                return words.COLLIDES, f"{who}: the row was another's, on to the PS"
            return words.PASSES, f"{who}: on to the PS"
    return words.ADDED, f"{who}: to a row"


def _completing(here: list[Seen]) -> Seen | None:
    """What completed the sum at a switch: the last that came before the sum left, unless that came from elsewhere."""
    last = None
    for one in here:
        if one.came and one.kind == Kind.GRADIENT:
            last = one
        elif one.kind == Kind.RESULT:
            return None if one.came else last
        elif not one.came and last is not None and Flag.LEVEL1 in one.flags and Flag.LEVEL1 not in last.flags:
            return last
    return None


def _tell_rows(life: Life, run: ReadRun, name: str, seq: int) -> None:
    """Where the fragment was when the run looked at its switches' rows."""
    jobs = [job.name for job in run.summary.jobs]
    memory = live_memory(run.folder, jobs)
    if memory is None:
        life.notes.append("what was in the rows is not recorded")
        return
    number = jobs.index(name) + 1
    for at_s, owner, seqs, priority in zip(memory.times_s, memory.owner, memory.seq, memory.priority, strict=True):
        for row in np.flatnonzero((owner == number) & (seqs == seq)).tolist():
            life.notes.append(f"{at_s:.3f} s after the run's start it was in row {row}, priority {priority[row]}")
            if not life.packets:
                life.happens(at_s, _SWITCH, words.SEATED, f"was seen in row {row}, priority {priority[row]}")


def _file_name(run: ReadRun, name: str) -> str:
    """What a job's files are called; no path, whatever the job is called."""
    names = [job.name for job in run.summary.jobs]
    if name not in names or "/" in name or name.startswith(".") or not name.isprintable():
        raise BadInput(plain(f"job: '{name}' has no file", 400))
    return name


def _workers(one: Seen) -> str:
    count = int(one.header["bitmap0"]).bit_count()
    return f"{count} worker{'' if count == 1 else 's'}"


def _time(one: Seen) -> float:
    return one.t_s
