"""One fragment's life: what happened to it, where and when; plain values, for a terminal and for a page.

life = Life("a", 1733, lanes=["rank 0", "rank 1", "switch-0", "PS"])
life.happens(2.1e-6, "switch-0", "seated", "in row 17, priority 40")
life.table()
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from esa.report.grid import Grid
from esa.report.plain import plain

SENT, RESENT, SEATED, ADDED, COMPLETED = "sent", "resent", "seated", "added", "completed"
PREEMPTS, PREEMPTED, COLLIDES, PARTIAL, LOST = "preempts", "preempted", "collides", "partial", "lost"
REMINDED, MISSED, QUERIED, RESULT, RECEIVED = "reminded", "missed", "queried", "result", "received"
PASSES, DUPLICATE, RELEASED, STOPPED = "passes", "duplicate", "released", "stopped"
MAX_EVENTS = 1000


class Event(NamedTuple):
    """what: one of the words above. at: who or where."""

    t_s: float
    at: str
    what: str
    text: str


class Flight(NamedTuple):
    """A packet from one place to another."""

    kind: str
    start: str
    end: str
    from_s: float
    until_s: float


class Span(NamedTuple):
    """A row of a switch that holds the fragment."""

    at: str
    from_s: float
    until_s: float
    text: str


@dataclass
class Life:
    """lanes: places that are drawn, from top to bottom. notes: what is to be known of it, a line each."""

    job: str
    seq: int
    lanes: list[str] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    packets: list[Flight] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def happens(self, at_s: float, at: str, what: str, text: str) -> None:
        if len(self.events) < MAX_EVENTS:
            self.events.append(Event(at_s, at, what, text))

    def in_order(self) -> list[Event]:
        return sorted(self.events, key=lambda event: event.t_s)

    def table(self) -> Grid:
        """Times since the first thing that happened."""
        events = self.in_order()
        start_s = events[0].t_s if events else 0.0
        table = Grid(
            f"fragment {self.seq} of job {plain(self.job)}: from {start_s:.9f} s",
            ["us", "where", "what", ""],
            left=frozenset({1, 2, 3}),
        )
        for event in events:
            table.add(f"{1e6 * (event.t_s - start_s):.3f}", event.at, event.what, event.text)
        return table

    def as_data(self) -> dict[str, Any]:
        """For JSON. Lanes by their number, None for a place that is not drawn."""
        lane = {name: number for number, name in enumerate(self.lanes)}
        events = self.in_order()
        from_s = min((event.t_s for event in events), default=0.0)
        until_s = max([event.t_s for event in events] + [one.until_s for one in self.packets], default=0.0)
        return {
            "job": plain(self.job),
            "seq": self.seq,
            "notes": [plain(note, 400) for note in self.notes],
            "from_s": from_s,
            "until_s": until_s,
            "lanes": [plain(name) for name in self.lanes],
            "events": [
                {"t_s": e.t_s, "lane": lane.get(e.at), "at": plain(e.at), "what": e.what, "text": plain(e.text, 400)}
                for e in events
            ],
            "packets": [
                {"kind": p.kind, "lane": lane[p.start], "to": lane[p.end], "from_s": p.from_s, "until_s": p.until_s}
                for p in self.packets
                if p.start in lane and p.end in lane
            ],
            "spans": [
                {"lane": lane[s.at], "from_s": s.from_s, "until_s": s.until_s, "text": plain(s.text, 400)}
                for s in self.spans
                if s.at in lane
            ],
        }
