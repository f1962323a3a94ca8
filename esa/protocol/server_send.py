"""What a PS sends: deadlines that are over become REMINDERs and QUERYs, the outbox becomes packets.

In: the state and the time. Out: `server_send` fills a batch and says when to call again. An OPEN entry's deadline
(`_on_timer`) asks the switches in the first round, the workers from the second on; a RESEND brings it forward
(`expedite`); an entry that has waited too long for somebody is abandoned.

docs/protocol.md, Parameter server, says when to ask, whom, and for how long.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from esa.native import native_uncounted as native
from esa.protocol import packets as p
from esa.protocol.packets import Words
from esa.protocol.rtt import NEVER, SCANS_PER_FLOOR, rto_ns, update_rtt
from esa.protocol.serial import on_wire
from esa.protocol.server_ring import (
    EARLY_QUERY,
    MISSING,
    MULTICAST,
    SWITCHES,
    EntryState,
    ServerState,
    close_entry,
    enqueue,
    is_missing,
    missing_bitmap,
    reset_if_idle,
)

_QUERY_ALL_EVERY = 4
_EQUAL_INTERVALS = 8  # rounds before intervals double: then somebody is dead
_RECENT_DIVISOR, _RECENT_QUERIES = 8, 4  # "not yet" is recent for that part of give_up_ns, or so many questions


@native
def server_send(state: ServerState, out: Words, destination: npt.NDArray[np.int32], now_ns: int) -> tuple[int, int]:
    """Fill `out` with what is to be sent now and `destination` (n,) with whom to: a member's number, or MULTICAST.

    A RESULT to MULTICAST is for the switch to replicate; its address is that of any worker. Returns (packets, the time
    to call again at the latest: `now_ns` if there was more than `out` holds).
    """
    server = state.server[0]
    if now_ns >= server["next_deadline_ns"]:
        _on_timer(state, now_ns)
    count = 0
    while count < len(out) and server["outbox_head"] < server["outbox_tail"]:
        item = state.outbox[server["outbox_head"] & (len(state.outbox) - 1)]
        slot = item["seq"] & (len(state.entry) - 1)
        wanted = EntryState.DONE if item["kind"] == p.RESULT else EntryState.OPEN
        finished = True
        if state.entry[slot]["state"] == wanted and state.entry[slot]["seq"] == item["seq"]:
            if item["destination"] < 0 and (item["kind"] != p.RESULT or server["unicast"]):
                count, finished = _write_to_members(state, out, destination, count, slot, item)
            else:
                _write(state, out, destination, count, slot, item["kind"], 0, item["destination"])
                count += 1
        if finished:
            server["outbox_head"] += 1
            server["outbox_cursor"] = 0
    if server["outbox_head"] < server["outbox_tail"]:
        return count, now_ns
    return count, int(server["next_deadline_ns"])


@native
def _on_timer(state: ServerState, now_ns: int) -> None:
    """Ask for every open entry whose deadline is over, close what is outdated, abandon what has waited too long."""
    reset_if_idle(state, now_ns)
    server = state.server[0]
    oldest = NEVER
    for k in range(server["open_count"]):
        oldest = min(oldest, state.entry[state.open_slots[k]]["seq"])
    earliest = NEVER
    k = 0
    while k < server["open_count"]:
        slot = state.open_slots[k]
        entry = state.entry[slot]
        if entry["deadline_ns"] <= now_ns:
            if entry["seq"] <= server["max_seq"] - server["retention_seqs"]:
                close_entry(state, slot, EntryState.EMPTY)  # every worker has it; another entry takes place k
                continue
            if _has_timed_out(state, slot, now_ns):
                _abandon(state, slot, now_ns)
            else:
                _query(state, slot, oldest, now_ns)
        earliest = min(earliest, entry["deadline_ns"])
        k += 1
    server["next_deadline_ns"] = max(earliest, now_ns + server["completion"]["min_rto_ns"] // SCANS_PER_FLOOR)


@native
def _query(state: ServerState, slot: int, oldest: int, now_ns: int) -> None:
    """Start a round of questions: remind the switches, from the second round on query the workers; set the deadline.

    Who waits for a worker that has not sent its part yet waits for it with everything later, too: of these fragments
    only the oldest is asked for, except for what a RESEND is there for.
    """
    entry = state.entry[slot]
    early = _waits_for_straggler(state, slot)
    entry["not_ready_rounds"] += early
    if not early or entry["seq"] == oldest or entry["resend_pending"]:
        entry["query_rounds"] += 1
        entry["misses"] = entry["resend_pending"] = 0
        entry["last_timeout_ns"] = now_ns
        switches = state.server[0]["switches"]
        if switches:
            enqueue(state, entry["seq"], p.REMINDER, SWITCHES)
        if entry["query_rounds"] == 1:
            _query_peer(state, slot, now_ns)
        if early or entry["query_rounds"] > 1 or switches == 0:
            _update_not_ready(state, slot, now_ns)
            # Now and then everybody, so that those who wait learn for whom.
            everybody = early or entry["query_rounds"] % _QUERY_ALL_EVERY == 0
            enqueue(state, entry["seq"], p.QUERY, MULTICAST if everybody else MISSING)
            entry["query_sampled"] = entry["queried_ns"] > 0
            entry["queried_ns"] = now_ns
    entry["deadline_ns"] = now_ns + next_query_ns(state, slot)


@native
def _query_peer(state: ServerState, slot: int, now_ns: int) -> None:
    """Ask one worker for the result where nothing but RESENDs came: a switch completed it, and somebody missed that.

    Where they came because a GRADIENT was lost, whoever is asked resends, too.
    """
    server, entry = state.server[0], state.entry[slot]
    if not server["asks_peer"] or entry["has_sum"]:
        return
    for k in range(server["workers"]):
        worker = (entry["seq"] + k) % server["workers"]
        member = state.member[worker]
        if not state.requester_bitmap[slot, member["rack"]] & member["bit"]:
            enqueue(state, entry["seq"], p.QUERY, worker)
            entry["query_sampled"], entry["queried_ns"] = 0, now_ns
            return


@native
def next_query_ns(state: ServerState, slot: int) -> int:
    """Return the time from one question about an entry to the next.

    It doubles (RFC 6298, 5.5) where somebody has said "not yet", and after many rounds.
    """
    entry = state.entry[slot]
    return _answer_rto_ns(state, slot, entry["not_ready_rounds"] + max(entry["query_rounds"] - _EQUAL_INTERVALS, 0))


@native
def _answer_rto_ns(state: ServerState, slot: int, backoff: int) -> int:
    """Return how long an answer to the last question about an entry may take.

    Who was asked answers at once, so silence is a loss. A fragment that is asked for a third time has met losses: it
    goes at the pace of the switch's answers, which contain no queue of a worker.
    """
    entry = state.entry[slot]
    server = state.server[0]
    lossy = entry["query_rounds"] > 2 and entry["not_ready_rounds"] == 0
    if entry["queried_ns"] > 0 and not lossy:
        return int(rto_ns(server["worker_rtt"], backoff))
    return int(rto_ns(server["switch_rtt"], backoff))


@native
def expedite(state: ServerState, slot: int, now_ns: int) -> None:
    """Bring the next question forward to when the last can have been answered: a RESEND says that its sender waits."""
    entry = state.entry[slot]
    entry["resend_pending"] = 1
    if entry["query_rounds"] == 0:
        # The RESENDs of its peers come at the same time.
        deadline_ns = now_ns + state.server[0]["switch_rtt"]["min_rto_ns"]
    else:
        deadline_ns = max(entry["last_timeout_ns"] + _answer_rto_ns(state, slot, 0), now_ns)
    set_deadline(state, slot, min(entry["deadline_ns"], deadline_ns))


@native
def set_deadline(state: ServerState, slot: int, deadline_ns: int) -> None:
    """Ask about an entry at that time."""
    server = state.server[0]
    state.entry[slot]["deadline_ns"] = deadline_ns
    server["next_deadline_ns"] = min(server["next_deadline_ns"], deadline_ns)


@native
def _waits_for_straggler(state: ServerState, slot: int) -> bool:
    """Return whether an entry waits for a worker that, since the last question, said that it has not sent this yet."""
    asked_ns = state.entry[slot]["last_timeout_ns"]
    for worker in range(state.server[0]["workers"]):
        if _not_ready_ns(state, slot, worker) >= asked_ns and is_missing(state, slot, worker):
            return True
    return False


@native
def _not_ready_ns(state: ServerState, slot: int, worker: int) -> int:
    """Return when a worker last said that it had not sent yet what it was asked for; -NEVER: not true of this entry."""
    seq = state.entry[slot]["seq"]
    member = state.member[worker]
    if seq <= state.server[0]["low_watermark"] or member["max_seq_sent"] >= seq:
        return -NEVER
    return int(member["not_ready_ns"])


@native
def _update_not_ready(state: ServerState, slot: int, now_ns: int) -> None:
    """Set `not_ready_bitmap`: which of an entry's missing workers live and have not sent it, as they said recently."""
    server = state.server[0]
    recent_ns = now_ns - max(
        server["give_up_ns"] // _RECENT_DIVISOR, _RECENT_QUERIES * server["completion"]["max_rto_ns"]
    )
    for rack in range(len(state.rack)):
        state.not_ready_bitmap[slot, rack] = 0
    for worker in range(server["workers"]):
        if _not_ready_ns(state, slot, worker) >= recent_ns and is_missing(state, slot, worker):
            member = state.member[worker]
            state.not_ready_bitmap[slot, member["rack"]] |= member["bit"]


@native
def _has_timed_out(state: ServerState, slot: int, now_ns: int) -> bool:
    """Return whether an entry has waited too long: for a worker that is silent, or for some that live."""
    server = state.server[0]
    waited_ns = now_ns - state.entry[slot]["last_progress_ns"]
    if waited_ns < server["give_up_ns"] or waited_ns >= server["wait_limit_ns"]:
        return bool(waited_ns >= server["wait_limit_ns"])
    overdue = False
    for worker in range(server["workers"]):
        overdue = overdue or _is_silent(state, slot, worker, now_ns)
    return overdue


@native
def _is_silent(state: ServerState, slot: int, worker: int, now_ns: int) -> bool:
    """Return whether an entry lacks a worker that has said nothing, about this or anything else, for give_up_ns.

    Who lives and has sent it may not have been asked for it: of all that wait for another only the oldest is asked for.
    """
    silent = now_ns - state.member[worker]["last_heard_ns"] >= state.server[0]["give_up_ns"]
    return bool(silent and is_missing(state, slot, worker))


@native
def sample_switch_rtt(state: ServerState, entry: Any, now_ns: int) -> None:
    """Take the time that a switch's answer took, if it was asked once (Karn)."""
    if entry["query_rounds"] == 1 and not entry["rtt_sampled"]:
        entry["rtt_sampled"] = 1
        update_rtt(state.server[0]["switch_rtt"], now_ns - entry["last_timeout_ns"])


@native
def sample_worker_rtt(state: ServerState, entry: Any, now_ns: int) -> None:
    """Take the time that a worker's answer took, if the workers were asked once (Karn)."""
    if entry["queried_ns"] > 0 and not entry["query_sampled"]:
        update_rtt(state.server[0]["worker_rtt"], now_ns - entry["queried_ns"])
        entry["query_sampled"] = 1


@native
def _abandon(state: ServerState, slot: int, now_ns: int) -> None:
    """Stop asking for a fragment, and remember who is silent; should somebody come back, it can still complete."""
    entry = state.entry[slot]
    entry["deadline_ns"] = NEVER
    if not entry["abandoned"]:
        entry["abandoned"] = 1
        state.counter[0]["failed"] += 1
    for worker in range(state.server[0]["workers"]):
        if _is_silent(state, slot, worker, now_ns):
            state.rack[state.member[worker]["rack"]]["silent_bitmap"] |= state.member[worker]["bit"]


@native
def _write_to_members(
    state: ServerState, out: Words, destination: npt.NDArray[np.int32], count: int, slot: int, item: Any
) -> tuple[int, bool]:
    """Write a packet to each member that an outbox item means, as far as there is room; return whether that was all."""
    server = state.server[0]
    first, members = 0, server["workers"]
    if item["destination"] == SWITCHES:
        first, members = server["workers"], server["switches"]
    while server["outbox_cursor"] < members:
        if count == len(out):
            return count, False
        member = first + server["outbox_cursor"]
        early = item["destination"] == EARLY_QUERY
        if not (early or item["destination"] == MISSING) or is_missing(state, slot, member):
            flags = p.COLLISION if early else 0
            if item["kind"] == p.QUERY and not early and _all_live(state, slot):
                flags = p.ALIVE
            _write(state, out, destination, count, slot, item["kind"], flags, member)
            count += 1
        server["outbox_cursor"] += 1
    return count, True


@native
def _named_bitmap(state: ServerState, slot: int, rack: int, kind: int, flags: int) -> int:
    """Return which of a rack's workers a question names: those missing; in a QUERY the silent, where others live."""
    named = missing_bitmap(state, slot, rack)
    if kind == p.QUERY and flags & (p.ALIVE | p.COLLISION) == 0:
        named &= ~int(state.not_ready_bitmap[slot, rack])
    return named


@native
def _rack_to_name(state: ServerState, slot: int, kind: int, flags: int, member: int) -> int:
    """Return the rack whose workers a question names: the first that has any; a missing member's own.

    So whoever does not find itself named knows that its part is here.
    """
    if kind == p.QUERY and is_missing(state, slot, member):
        return int(state.member[member]["rack"])
    for rack in range(len(state.rack)):
        if _named_bitmap(state, slot, rack, kind, flags):
            return rack
    return 0


@native
def _all_live(state: ServerState, slot: int) -> bool:
    """Return whether all that an entry lacks had, recently, not sent it yet."""
    silent = 0
    for rack in range(len(state.rack)):
        silent |= missing_bitmap(state, slot, rack) & ~int(state.not_ready_bitmap[slot, rack])
    return silent == 0


@native
def _write(
    state: ServerState,
    out: Words,
    destination: npt.NDArray[np.int32],
    i: int,
    slot: int,
    kind: int,
    flags: int,
    member: int,
) -> None:
    server = state.server[0]
    counter = state.counter[0]
    entry = state.entry[slot]
    bitmap0 = state.rack[0]["full_bitmap"] if len(state.rack) == 1 else 0xFFFFFFFF
    bitmap1 = (1 << len(state.rack)) - 1
    if kind == p.RESULT:
        flags |= entry["flags"] | (p.RELEASE if member == MULTICAST else p.ANSWER)
        counter["answers"] += member != MULTICAST and not server["unicast"]
        p.write_lanes(out, i, state.lane, slot)
    else:
        rack = _rack_to_name(state, slot, kind, flags, member)
        bitmap0, bitmap1 = _named_bitmap(state, slot, rack, kind, flags), 1 << rack
        if kind == p.QUERY and is_missing(state, slot, member):
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
        int(entry["index"]),
        bitmap0,
        bitmap1,
    )
    destination[i] = member
