"""Chrome's trace event format, as far as our traces use it: what a reader of it relies on.

Of the format's description ("Trace Event Format", by the makers of chrome://tracing): phases X, b, e, i, C and M, with
the fields that each has to have. `problems` is empty for a file that keeps to it.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

NEEDED = {
    "X": {"name", "cat", "pid", "tid", "ts", "dur"},
    "b": {"name", "cat", "id2", "pid", "tid", "ts"},
    "e": {"name", "cat", "id2", "pid", "tid", "ts"},
    "i": {"name", "cat", "pid", "tid", "ts", "s"},
    "C": {"name", "pid", "tid", "ts", "args"},
    "M": {"name", "pid", "tid", "ts", "args"},
}
METADATA = {
    "process_name": ("name", str),
    "process_sort_index": ("sort_index", int),
    "thread_name": ("name", str),
    "thread_sort_index": ("sort_index", int),
}
_ROUNDING_US = 0.0015


def problems(text: str) -> list[str]:
    try:
        file = json.loads(text, parse_constant=lambda name: name)
    except ValueError as error:
        return [f"no JSON: {error}"]
    if not isinstance(file, dict) or not isinstance(file.get("traceEvents"), list):
        return ["no object with traceEvents"]
    found = [] if file.get("displayTimeUnit") in ("ms", "ns") else ["displayTimeUnit"]
    events = file["traceEvents"]
    found += [f"event {k}: {why}" for k, event in enumerate(events) for why in _of_event(event)]
    return found or list(_of_all(events))


def _of_event(event: dict[str, Any]) -> Iterator[str]:
    phase = event.get("ph")
    if phase not in NEEDED:
        yield f"phase {phase!r}"
        return
    if missing := NEEDED[phase] - event.keys():
        yield f"{phase} lacks {sorted(missing)}"
        return
    for key in ("ts", "dur"):
        value = event.get(key, 0)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
            yield f"{key} is {value!r}"
    for key in ("pid", "tid"):
        if not isinstance(event[key], int):
            yield f"{key} is {event[key]!r}"
    if not isinstance(event["name"], str) or not event["name"]:
        yield f"name is {event['name']!r}"
    if phase == "i" and event["s"] not in "gpt":
        yield f"scope {event['s']!r}"
    if phase == "C" and not all(isinstance(value, (int, float)) for value in event["args"].values()):
        yield f"counts that are none: {event['args']}"
    if phase == "M":
        key, kind = METADATA.get(event["name"], ("", object))
        if not isinstance(event["args"].get(key), kind):
            yield f"metadata {event['name']}: {event['args']}"


def _of_all(events: list[dict[str, Any]]) -> Iterator[str]:
    named = {event["pid"] for event in events if event["name"] == "process_name"}
    tracks = {(event["pid"], event["tid"]) for event in events if event["name"] == "thread_name"}
    spans = defaultdict(list)
    open_ends: dict[tuple[Any, ...], float] = {}
    counted: dict[tuple[int, str], float] = {}
    for event in events:
        if event["pid"] not in named:
            yield f"process {event['pid']} has no name"
        if event["ph"] in "Xbe" and (event["pid"], event["tid"]) not in tracks:
            yield f"track {event['pid']}, {event['tid']} has no name"
        if event["ph"] == "X":
            spans[event["pid"], event["tid"]].append((event["ts"], -event["dur"], event["name"]))
        key = (event["pid"], event.get("cat"), event.get("id2", {}).get("local"), event["name"])
        if event["ph"] in "be" and not isinstance(key[2], str):
            yield f"id2 is {event['id2']!r}"
        if event["ph"] == "b":
            open_ends[key] = event["ts"]
        elif event["ph"] == "e" and open_ends.pop(key, math.inf) > event["ts"]:
            yield f"an end without a beginning, or before it: {event}"
        if event["ph"] == "C":
            if counted.get((event["pid"], event["name"]), 0) > event["ts"]:
                yield f"a counter goes back in time: {event}"
            counted[event["pid"], event["name"]] = event["ts"]
    yield from (f"never ends: {key}" for key in open_ends)
    for track, mine in spans.items():
        ends: list[float] = []
        for start, length, name in sorted(mine):
            while ends and ends[-1] <= start + _ROUNDING_US:
                ends.pop()
            if ends and start - length > ends[-1] + _ROUNDING_US:
                yield f"track {track}: {name} at {start} overlaps what does not hold it"
            ends.append(start - length)
