"""What a PS sends: timers that ran out become REMINDERs and QUERYs, and the outbox becomes packets.

When to ask, and ask again. First sight of a fragment says nothing: its completion takes as long as the slowest
worker, and so does the PS's patience (the smoothed time from first sight to completion). But a question has an
answer: the switch says PARTIAL or MISS; a worker that lives has the result, or resends, or says that it has not sent
this yet. So silence is a lost packet, question or answer, and the next question follows after the time that answers
take, at first that of the workers with their queues. A fragment that is asked for a third time has met losses: from
then on it goes at the pace of the switch's answers. Intervals double where somebody has said "not yet", and after
`_EQUAL_ROUNDS` rounds, for then somebody is dead.

A RESEND tells more than any timer: its sender lacks the result, and is past its own patience. It brings the next
question forward, but not before answers to the last one can be there.

How long to ask. A missing worker that says "not yet" lives: its fragment is waited for up to `limit_ns`, and a QUERY
tells those who wait that all whom it names live (ALIVE), so that they wait, too. A missing worker that has said nothing
for `give_up_ns` is given up, whoever else lives. As long as somebody is silent, QUERYs name the silent alone.

Who waits for a worker that has not sent its part yet waits for it with everything that comes later, too. Of all these
fragments only the oldest is asked for, except for what a RESEND is there for.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from esa.native import native
from esa.protocol import packets as p
from esa.protocol.packets import Words
from esa.protocol.rtt import NEVER, SCANS_PER_FLOOR, rto_ns, update_rtt
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
    forget_after_silence,
    is_missing,
    say,
    waiting_for,
)

_ASK_ALL_ROUND = 4
_EQUAL_ROUNDS = 8  # before intervals double
_LATELY_PART, _LATELY_QUESTIONS = 8, 4  # a word is of late for that part of the patience, or so many questions


@native
def server_send(state: ServerState, out: Words, destination: npt.NDArray[np.int32], now_ns: int) -> tuple[int, int]:
    """Fill `out` with what is to be sent now and `destination` (n,) with whom to: a member's number, or GROUP.

    A RESULT to GROUP is for the switch to replicate; its address is that of any worker. Returns (packets, the time
    to call again at the latest: `now_ns` if there was more than `out` holds).
    """
    server = state.server[0]
    if now_ns >= server["next_deadline_ns"]:
        _ask(state, now_ns)
    count = 0
    while count < len(out) and server["outbox_head"] < server["outbox_tail"]:
        item = state.outbox[server["outbox_head"] & (len(state.outbox) - 1)]
        row = item["seq"] & (len(state.entry) - 1)
        wanted = DONE if item["kind"] == p.RESULT else OPEN
        finished = True
        if state.entry[row]["state"] == wanted and state.entry[row]["seq"] == item["seq"]:
            if item["destination"] < 0 and (item["kind"] != p.RESULT or server["unicast"]):
                count, finished = _write_to_each(state, out, destination, count, row, item)
            else:
                _write(state, out, destination, count, row, item["kind"], 0, item["destination"])
                count += 1
        if finished:
            server["outbox_head"] += 1
            server["outbox_cursor"] = 0
    if server["outbox_head"] < server["outbox_tail"]:
        return count, now_ns
    return count, int(server["next_deadline_ns"])


@native
def _ask(state: ServerState, now_ns: int) -> None:
    """For every open entry whose time is up: remind the switches, and from the second round on query the workers."""
    forget_after_silence(state, now_ns)
    server = state.server[0]
    oldest = NEVER
    for k in range(server["open_count"]):
        oldest = min(oldest, state.entry[state.open_slots[k]]["seq"])
    earliest = NEVER
    k = 0
    while k < server["open_count"]:
        row = state.open_slots[k]
        entry = state.entry[row]
        if entry["deadline_ns"] <= now_ns:
            if entry["seq"] <= server["max_seq"] - server["retention_seqs"]:
                close(state, row, EMPTY)  # every worker has it; another entry takes place k
                continue
            if _is_hopeless(state, row, now_ns):
                _give_up(state, row, now_ns)
            else:
                _ask_for(state, row, oldest, now_ns)
        earliest = min(earliest, entry["deadline_ns"])
        k += 1
    server["next_deadline_ns"] = max(earliest, now_ns + server["completion"]["min_rto_ns"] // SCANS_PER_FLOOR)


@native
def _ask_for(state: ServerState, row: int, oldest: int, now_ns: int) -> None:
    entry = state.entry[row]
    early = _is_early(state, row)
    entry["not_ready_rounds"] += early
    if not early or entry["seq"] == oldest or entry["resend_pending"]:
        entry["query_rounds"] += 1
        entry["misses"] = entry["resend_pending"] = 0
        entry["last_timeout_ns"] = now_ns
        switches = state.server[0]["switches"]
        if switches:
            say(state, entry["seq"], p.REMINDER, SWITCHES)
        if early or entry["query_rounds"] > 1 or switches == 0:
            _note_who_lives(state, row, now_ns)
            # Now and then everybody, so that those who wait learn for whom.
            everybody = early or entry["query_rounds"] % _ASK_ALL_ROUND == 0
            say(state, entry["seq"], p.QUERY, GROUP if everybody else MISSING)
            entry["query_sampled"] = entry["queried_ns"] > 0
            entry["queried_ns"] = now_ns
    entry["deadline_ns"] = now_ns + next_question_ns(state, row)


@native
def next_question_ns(state: ServerState, row: int) -> int:
    """From one question about an entry to the next."""
    entry = state.entry[row]
    return _answer_patience_ns(state, row, entry["not_ready_rounds"] + max(entry["query_rounds"] - _EQUAL_ROUNDS, 0))


@native
def _answer_patience_ns(state: ServerState, row: int, doublings: int) -> int:
    """How long an answer to the last question about an entry may take."""
    entry = state.entry[row]
    server = state.server[0]
    lossy = entry["query_rounds"] > 2 and entry["not_ready_rounds"] == 0
    if entry["queried_ns"] > 0 and not lossy:
        return int(rto_ns(server["worker_rtt"], doublings))
    return int(rto_ns(server["switch_rtt"], doublings))


@native
def press(state: ServerState, row: int, now_ns: int) -> None:
    """Somebody lacks an open fragment and is past its patience."""
    entry = state.entry[row]
    entry["resend_pending"] = 1
    if entry["query_rounds"] == 0:
        due_ns = now_ns + state.server[0]["switch_rtt"]["min_rto_ns"]  # the RESENDs of its peers come at the same time
    else:
        due_ns = max(entry["last_timeout_ns"] + _answer_patience_ns(state, row, 0), now_ns)
    set_due(state, row, min(entry["deadline_ns"], due_ns))


@native
def set_due(state: ServerState, row: int, due_ns: int) -> None:
    """Look at an entry again at that time."""
    server = state.server[0]
    state.entry[row]["deadline_ns"] = due_ns
    server["next_deadline_ns"] = min(server["next_deadline_ns"], due_ns)


@native
def _is_early(state: ServerState, row: int) -> bool:
    """Whether an entry waits for a worker that, since the last question, said that it has not sent this yet."""
    asked_ns = state.entry[row]["last_timeout_ns"]
    for worker in range(state.server[0]["workers"]):
        if _later_ns(state, row, worker) >= asked_ns and is_missing(state, row, worker):
            return True
    return False


@native
def _later_ns(state: ServerState, row: int, worker: int) -> int:
    """When a worker last said that it had not sent yet what it was asked for, where this can be true of an entry."""
    seq = state.entry[row]["seq"]
    member = state.member[worker]
    if seq <= state.server[0]["low_watermark"] or member["max_seq_sent"] >= seq:
        return -NEVER
    return int(member["not_ready_ns"])


@native
def _note_who_lives(state: ServerState, row: int, now_ns: int) -> None:
    """Leave in `later` which of an entry's missing workers live and have not sent it yet: they said so lately."""
    server = state.server[0]
    lately_ns = now_ns - max(
        server["give_up_ns"] // _LATELY_PART, _LATELY_QUESTIONS * server["completion"]["max_rto_ns"]
    )
    for rack in range(len(state.rack)):
        state.not_ready_bitmap[row, rack] = 0
    for worker in range(server["workers"]):
        if _later_ns(state, row, worker) >= lately_ns and is_missing(state, row, worker):
            member = state.member[worker]
            state.not_ready_bitmap[row, member["rack"]] |= member["bit"]


@native
def _is_hopeless(state: ServerState, row: int, now_ns: int) -> bool:
    """Whether an entry has waited too long: for a worker that is silent, or for some that live."""
    server = state.server[0]
    waited_ns = now_ns - state.entry[row]["last_progress_ns"]
    if waited_ns < server["give_up_ns"] or waited_ns >= server["wait_limit_ns"]:
        return bool(waited_ns >= server["wait_limit_ns"])
    hopeless = False
    for worker in range(server["workers"]):
        hopeless = hopeless or _is_silent(state, row, worker, now_ns)
    return hopeless


@native
def _is_silent(state: ServerState, row: int, worker: int, now_ns: int) -> bool:
    """Whether an entry lacks a worker that has said nothing, about this or anything else, for as long as is borne.

    Who lives and has sent it may not have been asked for it: of all that wait for another only the oldest is asked for.
    """
    silent = now_ns - state.member[worker]["last_heard_ns"] >= state.server[0]["give_up_ns"]
    return bool(silent and is_missing(state, row, worker))


@native
def measure_switch(state: ServerState, entry: Any, now_ns: int) -> None:
    """A switch said something about an entry: take the time if it was asked once."""
    if entry["query_rounds"] == 1 and not entry["rtt_sampled"]:
        entry["rtt_sampled"] = 1
        update_rtt(state.server[0]["switch_rtt"], now_ns - entry["last_timeout_ns"])


@native
def measure_worker(state: ServerState, entry: Any, now_ns: int) -> None:
    """A worker brought what an entry lacked: take the time if workers were asked once."""
    if entry["queried_ns"] > 0 and not entry["query_sampled"]:
        update_rtt(state.server[0]["worker_rtt"], now_ns - entry["queried_ns"])
        entry["query_sampled"] = 1


@native
def _give_up(state: ServerState, row: int, now_ns: int) -> None:
    """Stop asking for a fragment, and remember who is silent; should somebody come back, it can still complete."""
    entry = state.entry[row]
    entry["deadline_ns"] = NEVER
    if not entry["abandoned"]:
        entry["abandoned"] = 1
        state.counter[0]["failed"] += 1
    for worker in range(state.server[0]["workers"]):
        if _is_silent(state, row, worker, now_ns):
            state.rack[state.member[worker]["rack"]]["silent_bitmap"] |= state.member[worker]["bit"]


@native
def _write_to_each(
    state: ServerState, out: Words, destination: npt.NDArray[np.int32], count: int, row: int, item: Any
) -> tuple[int, bool]:
    """One packet to each member that an outbox item means, as far as there is room; whether that was all."""
    server = state.server[0]
    first, members = 0, server["workers"]
    if item["destination"] == SWITCHES:
        first, members = server["workers"], server["switches"]
    while server["outbox_cursor"] < members:
        if count == len(out):
            return count, False
        member = first + server["outbox_cursor"]
        ahead = item["destination"] == AHEAD
        if not (ahead or item["destination"] == MISSING) or is_missing(state, row, member):
            flags = p.COLLISION if ahead else 0
            if item["kind"] == p.QUERY and not ahead and _all_live(state, row):
                flags = p.ALIVE
            _write(state, out, destination, count, row, item["kind"], flags, member)
            count += 1
        server["outbox_cursor"] += 1
    return count, True


@native
def _named(state: ServerState, row: int, rack: int, kind: int, flags: int) -> int:
    """Which of a rack's workers a question names: those not heard from; a QUERY the silent, where others live."""
    named = waiting_for(state, row, rack)
    if kind == p.QUERY and flags & (p.ALIVE | p.COLLISION) == 0:
        named &= ~int(state.not_ready_bitmap[row, rack])
    return named


@native
def _rack_to_name(state: ServerState, row: int, kind: int, flags: int, member: int) -> int:
    """The rack whose workers a question names: the first that has any; who is missing itself is asked about its own.

    So whoever does not find itself named knows that its part is here.
    """
    if kind == p.QUERY and is_missing(state, row, member):
        return int(state.member[member]["rack"])
    for rack in range(len(state.rack)):
        if _named(state, row, rack, kind, flags):
            return rack
    return 0


@native
def _all_live(state: ServerState, row: int) -> bool:
    """Whether all that an entry lacks lately had not sent it yet."""
    silent = 0
    for rack in range(len(state.rack)):
        silent |= waiting_for(state, row, rack) & ~int(state.not_ready_bitmap[row, rack])
    return silent == 0


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
    server = state.server[0]
    counter = state.counter[0]
    entry = state.entry[row]
    bitmap0 = state.rack[0]["full_bitmap"] if len(state.rack) == 1 else 0xFFFFFFFF
    bitmap1 = (1 << len(state.rack)) - 1
    if kind == p.RESULT:
        flags |= entry["flags"] | (p.RELEASE if member == GROUP else p.ANSWER)
        counter["answers"] += member != GROUP and not server["unicast"]
        p.write_lanes(out, i, state.lane, row)
    else:
        rack = _rack_to_name(state, row, kind, flags, member)
        bitmap0, bitmap1 = _named(state, row, rack, kind, flags), 1 << rack
        if kind == p.QUERY and is_missing(state, row, member):
            bitmap0 |= state.member[member]["bit"]
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
        server["job"],
        server["epoch"],
        seq,
        on_wire(seq * server["multiplier"] + server["salt"]),
        bitmap0,
        bitmap1,
    )
    destination[i] = member
