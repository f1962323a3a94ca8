"""A run over time in Chrome's trace event format, which Perfetto (ui.perfetto.dev) and chrome://tracing open.

    trace = Trace()
    job = trace.process("job a")
    trace.span(job, "rank 0: compute", "compute", 0.001, 0.002)     # seconds
    path.write_text(trace.text())

Spans of one track do not overlap, but nest; what overlaps is told as asynchronous. Times in the file are microseconds.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from esa.report.plain import plain


class Trace:
    """Events, in the order in which they are told."""

    def __init__(self, **about: str) -> None:
        """about: what the file says of itself, behind its events."""
        self._events: list[dict[str, Any]] = []
        self._processes: dict[str, int] = {}
        self._tracks: dict[tuple[int, str], int] = {}
        self._asynchronous = 0
        self._about = about

    def process(self, name: str) -> int:
        """The number of a group of tracks, which is made where there is none yet."""
        if name not in self._processes:
            pid = self._processes[name] = len(self._processes) + 1
            self._meta("process_name", pid, 0, {"name": plain(name)})
            self._meta("process_sort_index", pid, 0, {"sort_index": pid})
        return self._processes[name]

    def span(self, process: int, track: str, name: str, start_s: float, end_s: float, **arguments: Any) -> None:
        """Something that takes time on a track."""
        self._add(
            name=plain(name), cat="esa", ph="X", pid=process, tid=self._track(process, track), ts=_us(start_s),
            dur=max(0.0, round(_us(end_s) - _us(start_s), 3)), **_told(arguments),
        )  # fmt: skip

    def overlapping(self, process: int, track: str, name: str, start_s: float, end_s: float, **arguments: Any) -> None:
        """Something that others of its track may overlap.

        Perfetto makes a track of all that have one name, so the name says whose it is; and takes what has a plain "id"
        out of its process.
        """
        self._asynchronous += 1
        told = {"name": f"{plain(track)}, {plain(name)}", "cat": plain(track), "pid": process}
        told |= {"id2": {"local": f"0x{self._asynchronous:x}"}, "tid": self._track(process, track)}
        self._add(ph="b", ts=_us(start_s), **told, **_told(arguments))
        self._add(ph="e", ts=max(_us(start_s), _us(end_s)), **told)

    def instant(self, process: int, name: str, at_s: float) -> None:
        self._add(name=plain(name), cat="esa", ph="i", s="p", pid=process, tid=0, ts=_us(at_s))

    def counter(self, process: int, name: str, at_s: float, values: Mapping[str, float]) -> None:
        """Numbers that hold from a time on; drawn on top of each other."""
        told = {plain(key): value for key, value in values.items()}
        self._add(name=plain(name), ph="C", pid=process, tid=0, ts=_us(at_s), args=told)

    @property
    def events(self) -> list[dict[str, Any]]:
        return self._events

    def text(self) -> str:
        """The file, an event a line."""
        lines = ",\n".join(json.dumps(event, allow_nan=False) for event in self._events)
        about = json.dumps({name: plain(value) for name, value in self._about.items()})
        return f'{{"displayTimeUnit": "ms", "otherData": {about}, "traceEvents": [\n{lines}\n]}}\n'

    def _track(self, process: int, name: str) -> int:
        key = process, name
        if key not in self._tracks:
            tid = self._tracks[key] = sum(pid == process for pid, _ in self._tracks) + 1
            self._meta("thread_name", process, tid, {"name": plain(name)})
            self._meta("thread_sort_index", process, tid, {"sort_index": tid})
        return self._tracks[key]

    def _meta(self, name: str, pid: int, tid: int, arguments: dict[str, Any]) -> None:
        self._add(name=name, ph="M", ts=0, pid=pid, tid=tid, args=arguments)

    def _add(self, **event: Any) -> None:
        self._events.append(event)


def _us(seconds: float) -> float:
    if not math.isfinite(seconds):
        raise ValueError(f"time: {seconds}; allowed: finite")
    return round(max(0.0, seconds) * 1e6, 3)


def _told(arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {"args": dict(arguments)} if arguments else {}
