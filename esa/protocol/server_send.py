"""What a PS sends: timers that ran out become REMINDERs and QUERYs, and the outbox becomes packets."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from esa.native import native
from esa.protocol import packets as p
from esa.protocol.packets import Words
from esa.protocol.serial import on_wire
from esa.protocol.server_ring import (
    AHEAD,
    DONE,
    EMPTY,
    GROUP,
    MISSING,
    OPEN,
    SWITCHES,
    ServerState,
    close,
    say,
    waiting_for,
)
from esa.protocol.timing import NEVER, SCANS_PER_FLOOR, patience_ns

# From this round on every worker is asked, so that those who wait learn for whom.
_ASK_ALL_ROUND = 4


@native
def server_send(state: ServerState, out: Words, destination: npt.NDArray[np.int32], now_ns: int) -> tuple[int, int]:
    """Fill `out` with what is to be sent now and `destination` (n,) with whom to: a member's number, or GROUP.

    A RESULT to GROUP is for the switch to replicate; its address is that of any worker. Returns (packets, the time
    to call again at the latest: `now_ns` if there was more than `out` holds).
    """
    me = state.server[0]
    if now_ns >= me["scan_ns"]:
        _ask(state, now_ns)
    count = 0
    while count < len(out) and me["outbox_head"] < me["outbox_tail"]:
        item = state.outbox[me["outbox_head"] & (len(state.outbox) - 1)]
        row = item["seq"] & (len(state.entry) - 1)
        wanted = DONE if item["kind"] == p.RESULT else OPEN
        finished = True
        if state.entry[row]["state"] == wanted and state.entry[row]["seq"] == item["seq"]:
            if item["destination"] < 0 and (item["kind"] != p.RESULT or me["unicast"]):
                count, finished = _write_to_each(state, out, destination, count, row, item)
            else:
                _write(state, out, destination, count, row, item["kind"], 0, item["destination"])
                count += 1
        if finished:
            me["outbox_head"] += 1
            me["cursor"] = 0
    if me["outbox_head"] < me["outbox_tail"]:
        return count, now_ns
    return count, int(me["scan_ns"])


@native
def _ask(state: ServerState, now_ns: int) -> None:
    """For every open entry whose time is up: remind the switches, and from the second round on query the workers."""
    me = state.server[0]
    earliest = NEVER
    k = 0
    while k < me["open"]:
        row = state.open[k]
        entry = state.entry[row]
        if entry["due_ns"] <= now_ns:
            if entry["seq"] <= me["newest"] - me["horizon"]:
                close(state, row, EMPTY)  # every worker has it; another entry takes place k
                continue
            if now_ns - entry["progress_ns"] >= me["give_up_ns"]:
                _give_up(state, row)
            else:
                entry["rounds"] += 1
                entry["misses"] = 0
                if me["switches"]:
                    say(state, entry["seq"], p.REMINDER, SWITCHES)
                if entry["rounds"] >= _ASK_ALL_ROUND:
                    say(state, entry["seq"], p.QUERY, GROUP)
                elif entry["rounds"] > 1 or me["switches"] == 0:
                    say(state, entry["seq"], p.QUERY, MISSING)
                entry["due_ns"] = now_ns + patience_ns(me, entry["rounds"])
        earliest = min(earliest, entry["due_ns"])
        k += 1
    me["scan_ns"] = max(earliest, now_ns + me["floor_ns"] // SCANS_PER_FLOOR)


@native
def _give_up(state: ServerState, row: int) -> None:
    """Stop asking for a fragment, and remember who is silent; should somebody come back, it can still complete."""
    entry = state.entry[row]
    entry["due_ns"] = NEVER
    if not entry["failed"]:
        entry["failed"] = 1
        state.counter[0]["failed"] += 1
    for rack in range(len(state.rack)):
        state.rack[rack]["silent"] |= waiting_for(state, row, rack)


@native
def _write_to_each(
    state: ServerState, out: Words, destination: npt.NDArray[np.int32], count: int, row: int, item: Any
) -> tuple[int, bool]:
    """One packet to each member that an outbox item means, as far as there is room; whether that was all."""
    me = state.server[0]
    first, members = 0, me["workers"]
    if item["destination"] == SWITCHES:
        first, members = me["workers"], me["switches"]
    while me["cursor"] < members:
        if count == len(out):
            return count, False
        member = first + me["cursor"]
        ahead = item["destination"] == AHEAD
        if not (ahead or item["destination"] == MISSING) or _is_missing(state, row, member):
            _write(state, out, destination, count, row, item["kind"], p.COLLISION if ahead else 0, member)
            count += 1
        me["cursor"] += 1
    return count, True


@native
def _is_missing(state: ServerState, row: int, worker: int) -> bool:
    member = state.member[worker]
    return bool(waiting_for(state, row, member["rack"]) & member["bit"])


@native
def _write(
    state: ServerState,
    out: Words,
    destination: npt.NDArray[np.int32],
    i: int,
    row: int,
    kind: int,
    flags: int,
    member: int,
) -> None:
    me = state.server[0]
    counter = state.counter[0]
    entry = state.entry[row]
    bitmap0 = state.rack[0]["full"] if len(state.rack) == 1 else 0xFFFFFFFF
    bitmap1 = (1 << len(state.rack)) - 1
    if kind == p.RESULT:
        flags |= entry["flags"] | (p.RELEASE if member == GROUP else p.ANSWER)
        counter["answers"] += member != GROUP and not me["unicast"]
        p.write_lanes(out, i, state.lane, row)
    else:
        # Bitmaps of a question: the workers not heard from, of the first rack that has any.
        for rack in range(len(state.rack) - 1, -1, -1):
            if waiting_for(state, row, rack):
                bitmap0, bitmap1 = waiting_for(state, row, rack), 1 << rack
        if kind == p.QUERY:
            counter["queries"] += 1
        else:
            counter["reminders"] += 1
        p.write_zeros(out, i)
    seq = on_wire(entry["seq"])
    p.write_header(
        out,
        i,
        kind,
        flags,
        entry["priority"],
        entry["exponent"],
        me["job"],
        me["epoch"],
        seq,
        on_wire(seq * me["multiplier"] + me["salt"]),
        bitmap0,
        bitmap1,
    )
    destination[i] = member
