"""The parameter server: what it takes in, and how it finishes what the switches did not.

In: `server_receive` takes GRADIENT and PARTIAL (`_on_contribution`), ANSWER (`_on_answer`) and MISS (`_on_miss`). Out:
`server_send.py` makes packets of the outbox, and of deadlines that are over. State: `server_ring.py`.

A fragment's entry is EMPTY (nothing known), OPEN (incomplete; a deadline of its own) or DONE (the result is known).

docs/protocol.md, Parameter server, has the table of events and states, and why it is so.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from esa.native import native_uncounted as native
from esa.protocol import packets as p
from esa.protocol.packets import Words
from esa.protocol.rtt import rto_ns, update_rtt
from esa.protocol.serial import unwrap
from esa.protocol.server_ring import (
    EARLY_QUERY,
    MISSING,
    MULTICAST,
    UNKNOWN_SENDER,
    EntryState,
    ServerState,
    close_entry,
    enqueue,
    enqueue_for_resend,
    missing_count,
    reset_if_idle,
    reset_slot,
)
from esa.protocol.server_send import expedite, next_query_ns, sample_switch_rtt, sample_worker_rtt, set_deadline
from esa.protocol.server_slots import choose_next_row, expected_index
from esa.protocol.worker_ring import NOT_YET

# A PARTIAL that seems to be as far ahead of all else is one that lay in rows which nobody used, for as long as numbers
# take to come round.
FAR_AHEAD = 1 << 30

_DISJOINT, _CONTAINED, _OVERLAPS = 0, 1, 2  # a contribution's workers, next to those in the sum


@native
def server_receive(state: ServerState, packets: Words, source: npt.NDArray[np.int32], count: int, now_ns: int) -> None:
    """Take in packets 0..count-1; source (n,) int: the member that sent each, UNKNOWN_SENDER for anybody else.

    Count and drop what a member may not say and what makes no sense: as `other_run` if a member sent it in another
    run of this job, else as `malformed`.
    """
    reset_if_idle(state, now_ns)
    for i in range(count):
        if not _on_packet(state, packets, i, source[i], now_ns):
            _refuse(state, packets, i, source[i])


@native
def _refuse(state: ServerState, packets: Words, i: int, source: int) -> None:
    """Count packet i, which is not taken, and remember of which other run of a member it is."""
    server = state.server[0]
    epoch = p.other_run_of(packets, i, server["job"], server["epoch"])
    if source == UNKNOWN_SENDER or epoch < 0:
        state.counter[0]["malformed"] += 1
    else:
        state.counter[0]["other_run"] += 1
        server["other_run"], server["other_source"] = epoch, source


@native
def _on_packet(state: ServerState, packets: Words, i: int, source: int, now_ns: int) -> bool:
    """Hand packet i to the handler of its kind; return whether it is valid."""
    server = state.server[0]
    kind = p.kind_of(packets, i, server["job"], server["epoch"])
    if source == UNKNOWN_SENDER or kind == 0:
        return False
    flags = p.flags_of(packets, i)
    bitmap0, bitmap1 = p.bitmap0_of(packets, i), p.bitmap1_of(packets, i)
    seq = p.seq_of(packets, i)
    if server["synchronized"]:
        seq = unwrap(seq, server["max_seq"])
    if kind == p.MISS and source >= server["workers"]:
        _on_miss(state, seq, now_ns)
    elif kind == p.RESULT and flags & p.ANSWER and source < server["workers"]:
        _advance_max_seq(state, seq, now_ns)
        server["low_watermark"] = max(server["low_watermark"], seq)
        state.member[source]["last_heard_ns"] = now_ns
        if p.priority_of(packets, i) == NOT_YET:
            state.member[source]["not_ready_ns"] = now_ns
        _on_answer(state, packets, i, seq, now_ns)
    elif _is_valid_contribution(state, kind, flags, bitmap0, bitmap1, source):
        if kind == p.PARTIAL and server["synchronized"] and seq > server["max_seq"] + FAR_AHEAD:
            state.counter[0]["duplicates"] += 1  # an echo: it looks as far ahead as it is old
            return True
        _advance_max_seq(state, seq, now_ns)
        new = False
        if server["passes_rows"] and source < server["workers"]:
            new = seq > state.member[source]["max_seq_sent"]
            state.member[source]["max_seq_sent"] = max(state.member[source]["max_seq_sent"], seq)
        if kind == p.GRADIENT and source < server["workers"]:
            state.member[source]["max_seq_sent"] = max(state.member[source]["max_seq_sent"], seq)
            state.member[source]["last_heard_ns"] = now_ns
        else:
            _mark_heard(state, bitmap0, bitmap1, flags, now_ns)
        _on_contribution(state, packets, i, seq, kind, flags, source, new, now_ns)
    else:
        return False
    return True


@native
def _mark_heard(state: ServerState, bitmap0: int, bitmap1: int, flags: int, now_ns: int) -> None:
    """Mark as heard those whose parts have come: they live, or lived of late, for an aggregator is handed over once.

    Where RESENDs seat (release on reuse), sums are all that is heard of workers that wait.
    """
    for worker in range(state.server[0]["workers"]):
        member = state.member[worker]
        if bitmap1 >> member["rack"] & 1 and (flags & p.LEVEL1 or bitmap0 & member["bit"]):
            member["last_heard_ns"] = now_ns


@native
def _is_valid_contribution(state: ServerState, kind: int, flags: int, bitmap0: int, bitmap1: int, source: int) -> bool:
    """Return whether it is a GRADIENT or PARTIAL of workers of this job, a worker's gradient of nobody but itself.

    Whole racks exist only where there are several. (Who may speak for several workers is the switch's admission.)
    """
    if kind != p.GRADIENT and kind != p.PARTIAL:
        return False
    if flags & p.LEVEL1:
        return len(state.rack) > 1 and bitmap1 != 0 and bitmap1 >> len(state.rack) == 0
    if bitmap1 == 0 or bitmap1 & (bitmap1 - 1) or bitmap1 >> len(state.rack):
        return False
    rack = state.rack[_lowest_bit(bitmap1)]
    if bitmap0 == 0 or bitmap0 & ~rack["full_bitmap"]:
        return False
    if kind == p.PARTIAL:
        return True
    return bitmap0 & (bitmap0 - 1) == 0 and source == rack["first_rank"] + _lowest_bit(bitmap0)


@native
def _lowest_bit(bitmap: int) -> int:
    bit = 0
    while not bitmap >> bit & 1:
        bit += 1
    return bit


@native
def _advance_max_seq(state: ServerState, seq: int, now_ns: int) -> None:
    """Note that some worker is as far as `seq`; reset the slots that this outdates.

    So no slot holds a seq of one turn of the 32-bit numbers into the next.
    """
    server = state.server[0]
    server["last_packet_ns"] = now_ns
    if not server["synchronized"]:
        server["synchronized"] = 1
        server["max_seq"] = seq
    for passed in range(max(server["max_seq"], seq - len(state.entry)) + 1, seq + 1):
        reset_slot(state, passed & (len(state.entry) - 1))
    server["max_seq"] = max(server["max_seq"], seq)


@native
def _open_entry(state: ServerState, slot: int, seq: int, now_ns: int) -> None:
    """Make the slot's entry an OPEN one that holds nothing, with its first deadline."""
    server = state.server[0]
    entry = state.entry[slot]
    entry["seq"] = seq
    entry["state"] = EntryState.OPEN
    entry["open_index"] = server["open_count"]
    entry["first_seen_ns"] = entry["last_timeout_ns"] = entry["last_progress_ns"] = now_ns
    entry["deadline_ns"] = now_ns + rto_ns(server["completion"], 0)
    entry["index"] = expected_index(state, seq)
    entry["held_resend"] = -1
    entry["priority"] = 0
    entry["exponent"] = -128
    entry["flags"] = entry["has_sum"] = 0
    entry["query_rounds"] = entry["not_ready_rounds"] = entry["misses"] = 0
    entry["queried_ns"] = entry["query_sampled"] = entry["rtt_sampled"] = entry["resend_pending"] = 0
    entry["abandoned"] = entry["remulticast"] = 0
    for rack in range(len(state.rack)):
        state.aggregated_bitmap[slot, rack] = state.held_resend_bitmap[slot, rack] = 0
        state.requester_bitmap[slot, rack] = state.not_ready_bitmap[slot, rack] = 0
    state.open_slots[server["open_count"]] = slot
    server["open_count"] += 1
    server["next_deadline_ns"] = min(server["next_deadline_ns"], entry["deadline_ns"])


@native
def _on_contribution(
    state: ServerState, packets: Words, i: int, seq: int, kind: int, flags: int, source: int, new: bool, now_ns: int
) -> None:
    """Take in a valid GRADIENT or PARTIAL: open its entry, add what is new, finish the entry if it is complete.

    A RESEND that took a row's sum along is a PARTIAL with RESEND, of the worker that sent it. new: it may be what its
    sender sent for the first time past the rows, so nobody need wait for it.
    """
    server = state.server[0]
    counter = state.counter[0]
    slot = seq & (len(state.entry) - 1)
    entry = state.entry[slot]
    bitmap0, bitmap1 = p.bitmap0_of(packets, i), p.bitmap1_of(packets, i)
    single = kind == p.GRADIENT and flags & p.LEVEL1 == 0
    resend = single and flags & p.RESEND != 0
    flush = kind == p.PARTIAL and flags & p.RESEND != 0 and source < server["workers"]
    if single:
        counter["fragments"] += 1
        counter["resends"] += resend
    else:
        counter["partials"] += 1
    counter["collisions"] += kind == p.GRADIENT and flags & p.COLLISION != 0

    if seq <= server["max_seq"] - server["retention_seqs"]:  # an echo: every worker has the result
        counter["duplicates"] += 1
        return
    first_sight = entry["state"] == EntryState.EMPTY
    if first_sight:
        _open_entry(state, slot, seq, now_ns)
    if entry["state"] == EntryState.DONE:
        counter["duplicates"] += 1
        if resend or flush:
            _send_result(state, slot, seq, source)
        return
    if server["slots"] and (kind == p.GRADIENT or source < server["workers"]):  # what a switch hands over has none
        entry["index"] = p.index_of(packets, i)
    if resend or flush:
        requester = state.member[source]
        state.requester_bitmap[slot, requester["rack"]] |= requester["bit"]
        if not new:
            expedite(state, slot, now_ns)
    elif kind == p.PARTIAL:
        sample_switch_rtt(state, entry, now_ns)

    relation = _relation_to_sum(state, slot, bitmap0, bitmap1, flags, resend)
    if relation != _DISJOINT:
        counter["duplicates"] += relation == _CONTAINED
        counter["overlaps"] += relation == _OVERLAPS
        return
    if resend:
        sample_worker_rtt(state, entry, now_ns)
    entry["last_progress_ns"] = now_ns
    entry["priority"] = max(entry["priority"], p.priority_of(packets, i))
    if entry["abandoned"]:  # somebody is back: ask on
        set_deadline(state, slot, min(entry["deadline_ns"], now_ns + rto_ns(server["completion"], 0)))
    if resend and server["free_head"] >= 0:
        _hold_resend(state, packets, i, slot, _lowest_bit(bitmap1), bitmap0, flags)
    else:
        _add_to_sum(state, packets, i, slot, bitmap0, bitmap1, flags)
    missing = missing_count(state, slot)
    if missing == 0:
        _complete(state, slot, resend or flush, now_ns)
    elif first_sight and missing <= server["early_query_limit"] and kind == p.PARTIAL and not flush:
        enqueue(state, seq, p.QUERY, EARLY_QUERY)


@native
def _relation_to_sum(state: ServerState, slot: int, bitmap0: int, bitmap1: int, flags: int, resend: bool) -> int:
    """Return how a contribution's workers relate to those in an entry's sum: _DISJOINT, _CONTAINED or _OVERLAPS.

    Contained is also a RESEND that is held apart already.
    """
    new = shared = False
    for rack in range(len(state.rack)):
        if bitmap1 >> rack & 1:
            bits = state.rack[rack]["full_bitmap"] if flags & p.LEVEL1 else bitmap0
            new = new or bits & ~state.aggregated_bitmap[slot, rack] != 0
            shared = shared or bits & state.aggregated_bitmap[slot, rack] != 0
            if resend and bits & state.held_resend_bitmap[slot, rack]:
                new = False
    if not new:
        return _CONTAINED
    return _OVERLAPS if shared else _DISJOINT


@native
def _add_to_sum(state: ServerState, packets: Words, i: int, slot: int, bitmap0: int, bitmap1: int, flags: int) -> None:
    """Add packet i to an entry's running sum, and its workers to those in it."""
    entry = state.entry[slot]
    if entry["has_sum"]:
        p.add_lanes(packets, i, state.lane, slot)
    else:
        p.read_lanes(packets, i, state.lane, slot)
    entry["has_sum"] = 1
    entry["exponent"] = max(entry["exponent"], p.exponent_of(packets, i))
    entry["flags"] |= flags & (p.ECN | p.COLLISION | p.CONTESTED)  # all of which the RESULT says
    for rack in range(len(state.rack)):
        if bitmap1 >> rack & 1:
            state.aggregated_bitmap[slot, rack] |= state.rack[rack]["full_bitmap"] if flags & p.LEVEL1 else bitmap0


@native
def _hold_resend(state: ServerState, packets: Words, i: int, slot: int, rack: int, bit: int, flags: int) -> None:
    """Keep a RESEND apart from the sum: it may repeat what is on its way in a partial."""
    server = state.server[0]
    at = server["free_head"]
    held = state.held_resend[at]
    server["free_head"] = held["next"]
    held["next"] = state.entry[slot]["held_resend"]
    state.entry[slot]["held_resend"] = at
    held["rack"] = rack
    held["bit"] = bit
    held["exponent"] = p.exponent_of(packets, i)
    held["flags"] = flags
    p.read_lanes(packets, i, state.held_resend_lane, at)
    state.held_resend_bitmap[slot, rack] |= bit


@native
def _complete(state: ServerState, slot: int, by_resend: bool, now_ns: int) -> None:
    """Add to the sum what only RESENDs brought, now that every worker is in it or held apart; tell everybody."""
    server = state.server[0]
    entry = state.entry[slot]
    if not entry["has_sum"]:
        for k in range(state.lane.shape[1]):
            state.lane[slot, k] = 0
    at = entry["held_resend"]
    while at >= 0:
        held = state.held_resend[at]
        if not state.aggregated_bitmap[slot, held["rack"]] & held["bit"]:
            p.add_rows(state.lane, slot, state.held_resend_lane, at)
            entry["exponent"] = max(entry["exponent"], held["exponent"])
            entry["flags"] |= held["flags"] & p.ECN
        at = held["next"]
    # A sample only if no question brought this about: nothing came by a RESEND, no switch handed anything over.
    unasked = entry["query_rounds"] == 0 or entry["misses"] > 0 or server["switches"] == 0
    # (What was sent for the first time past the rows came unasked, too.)
    first_sent = server["passes_rows"] and entry["query_rounds"] == 0 and not entry["resend_pending"]
    if (entry["held_resend"] < 0 and unasked) or first_sent:
        update_rtt(server["completion"], now_ns - entry["first_seen_ns"])
    server["low_watermark"] = max(server["low_watermark"], entry["seq"])
    choose_next_row(server, entry)
    close_entry(state, slot, EntryState.DONE)
    state.counter[0]["via_ps"] += 1
    if by_resend:
        enqueue_for_resend(state, entry["seq"], p.RESULT, MULTICAST)
    else:
        enqueue(state, entry["seq"], p.RESULT, MULTICAST)


@native
def _on_answer(state: ServerState, packets: Words, i: int, seq: int, now_ns: int) -> None:
    """Take the result of an OPEN entry from a worker that has it; send it to those who asked for it."""
    server = state.server[0]
    slot = seq & (len(state.entry) - 1)
    entry = state.entry[slot]
    if seq <= server["max_seq"] - server["retention_seqs"] or entry["state"] != EntryState.OPEN:
        return
    sample_worker_rtt(state, entry, now_ns)
    p.read_lanes(packets, i, state.lane, slot)
    entry["exponent"] = p.exponent_of(packets, i)
    entry["priority"] = p.priority_of(packets, i)
    entry["flags"] = p.flags_of(packets, i) & p.ECN
    if server["slots"]:
        entry["index"] = p.index_of(packets, i)
    close_entry(state, slot, EntryState.DONE)
    state.counter[0]["answered"] += 1
    for worker in range(server["workers"]):
        member = state.member[worker]
        if state.requester_bitmap[slot, member["rack"]] & member["bit"]:
            _send_result(state, slot, seq, worker)


@native
def _send_result(state: ServerState, slot: int, seq: int, worker: int) -> None:
    """Send a known result to a worker that lacks it.

    Where aggregators are held until the RESULT releases them, that RESULT may have been lost before it met the switch:
    the first to ask causes it to be multicast again.
    """
    if state.server[0]["release_on_ack"] and not state.entry[slot]["remulticast"]:
        state.entry[slot]["remulticast"] = 1
        enqueue_for_resend(state, seq, p.RESULT, MULTICAST)
    else:
        enqueue_for_resend(state, seq, p.RESULT, worker)


@native
def _on_miss(state: ServerState, seq: int, now_ns: int) -> None:
    """Count a switch that holds nothing. When none does, query the workers (after the first round the timer does).

    Where a peer was asked with the switches, it has the first word.
    """
    slot = seq & (len(state.entry) - 1)
    entry = state.entry[slot]
    if entry["state"] == EntryState.OPEN and entry["seq"] == seq:
        state.counter[0]["misses"] += 1
        entry["misses"] += 1
        sample_switch_rtt(state, entry, now_ns)
        none_holds_any = entry["misses"] == state.server[0]["switches"]
        if none_holds_any and entry["query_rounds"] == 1 and entry["queried_ns"] == 0:
            enqueue(state, seq, p.QUERY, MISSING)
            entry["queried_ns"] = entry["last_timeout_ns"] = now_ns
            entry["query_sampled"] = 0
            set_deadline(state, slot, now_ns + next_query_ns(state, slot))
