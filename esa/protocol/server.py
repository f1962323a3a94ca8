"""The parameter server: finishes what the switches did not.

Contributions. For each seq the PS keeps a running sum and, per rack, the bitmap of the workers in it. A contribution
(one worker's gradient, a partial sum, at a root the sum of complete racks) is

    disjoint from the sum     added
    contained in it           discarded
    both in part              discarded too

Only a network that duplicates makes the third kind: a duplicated original takes a second row, and the sums of the two
rows share a worker. Keeping such sums and searching for a disjoint cover can finish a fragment sooner, but never
decides whether it is finished: the workers that are not covered are QUERYed, each answers with its own fragment
alone, and single fragments can always be added. So what overlaps is dropped, and no search exists that could go
wrong.

A single RESEND may repeat what is on its way in a partial. It is kept apart and used for a bit that nothing else covers
when the entry is otherwise complete. (No room to keep it: it is added at once. The partial then overlaps; see above.)

Asking ahead. When a fragment was preempted, the workers that come later may find an empty row again. They would seat
there until the PS lost patience. So when a fragment is first seen as a partial sum, and few workers are missing, the PS
tells them: who has not sent it yet sends it straight here (as RESEND, which never seats), who sent it so long ago that
it must have arrived somewhere resends it, and whose fragment may be under way does nothing. This is the price of
preemption paid at once; a policy that never preempts never asks ahead.

How long a seq lives. A worker sends s only after it has every result up to s - W. A result for s - W exists only when
all workers had sent s - W, so then every worker has every result up to s - 2W. Whatever is said about such a seq is
an echo: a stale row, a duplicate. `max_seq` is the highest s seen; everything up to max_seq - 2W is dropped on arrival,
and the ring of four windows never holds two seqs that matter in one row. Rows that `max_seq` passes are emptied, so a
row never holds a seq of one turn of the 32-bit numbers into the next. The switches may do all the work for hours, and
`max_seq` would fall behind by half the numbers: a PS that has heard nothing for a minute forgets everything. Nobody
can need it: who lacks a result asks at least once a second.

An echo can open an entry, for the PS does not know what the switches finished. It goes the usual way: REMINDER, MISS,
QUERY, and a worker's ANSWER closes it, with the result or, if that is gone, with a newer one, which moves `max_seq`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from esa.native import native
from esa.protocol import packets as p
from esa.protocol.packets import Words
from esa.protocol.rtt import rto_ns, update_rtt
from esa.protocol.serial import unwrap
from esa.protocol.server_ring import (
    AHEAD,
    DONE,
    EMPTY,
    GROUP,
    MISSING,
    OPEN,
    STRANGER,
    ServerState,
    close,
    forget,
    forget_after_silence,
    say,
    waiting_for,
)
from esa.protocol.server_send import measure_switch, measure_worker, next_question_ns, press, set_due
from esa.protocol.worker_ring import NOT_YET


@native
def server_receive(state: ServerState, packets: Words, source: npt.NDArray[np.int32], count: int, now_ns: int) -> None:
    """Take in packets 0..count-1; source (n,) int: the member that sent each, STRANGER for anybody else.

    What a member may not say, and what makes no sense, is counted as malformed and dropped; as `other_run` if a
    member sent it in another run of this job.
    """
    forget_after_silence(state, now_ns)
    for i in range(count):
        if not _take(state, packets, i, source[i], now_ns):
            _refuse(state, packets, i, source[i])


@native
def _refuse(state: ServerState, packets: Words, i: int, source: int) -> None:
    """Count what was not taken, and remember from which other run a member's packet was."""
    server = state.server[0]
    epoch = p.other_run_of(packets, i, server["job"], server["epoch"])
    if source == STRANGER or epoch < 0:
        state.counter[0]["malformed"] += 1
    else:
        state.counter[0]["other_run"] += 1
        server["other_run"], server["other_source"] = epoch, source


@native
def _take(state: ServerState, packets: Words, i: int, source: int, now_ns: int) -> bool:
    server = state.server[0]
    kind = p.kind_of(packets, i, server["job"], server["epoch"])
    if source == STRANGER or kind == 0:
        return False
    flags = p.flags_of(packets, i)
    bitmap0, bitmap1 = p.bitmap0_of(packets, i), p.bitmap1_of(packets, i)
    seq = p.seq_of(packets, i)
    if server["synchronized"]:
        seq = unwrap(seq, server["max_seq"])
    if kind == p.MISS and source >= server["workers"]:
        _miss(state, seq, now_ns)
    elif kind == p.RESULT and flags & p.ANSWER and source < server["workers"]:
        _note(state, seq, now_ns)
        server["low_watermark"] = max(server["low_watermark"], seq)
        state.member[source]["last_heard_ns"] = now_ns
        if p.priority_of(packets, i) == NOT_YET:
            state.member[source]["not_ready_ns"] = now_ns
        _answered(state, packets, i, seq, now_ns)
    elif (kind == p.GRADIENT or kind == p.PARTIAL) and _sensible(state, kind, flags, bitmap0, bitmap1, source):
        _note(state, seq, now_ns)
        if kind == p.GRADIENT and source < server["workers"]:
            state.member[source]["max_seq_sent"] = max(state.member[source]["max_seq_sent"], seq)
            state.member[source]["last_heard_ns"] = now_ns
        else:
            _hear(state, bitmap0, bitmap1, flags, now_ns)
        _contribution(state, packets, i, seq, kind, flags, now_ns)
    else:
        return False
    return True


@native
def _hear(state: ServerState, bitmap0: int, bitmap1: int, flags: int, now_ns: int) -> None:
    """Those whose parts have come live, or lived of late: a row is handed over once.

    Where RESENDs seat (release on reuse), sums are all that is heard of workers that wait.
    """
    for worker in range(state.server[0]["workers"]):
        member = state.member[worker]
        if bitmap1 >> member["rack"] & 1 and (flags & p.LEVEL1 or bitmap0 & member["bit"]):
            member["last_heard_ns"] = now_ns


@native
def _sensible(state: ServerState, kind: int, flags: int, bitmap0: int, bitmap1: int, source: int) -> bool:
    """Whether the bitmaps name workers of this job, and a worker's gradient nobody but itself.

    Whole racks exist only where there are several. (Who may speak for several workers is the switch's admission.)
    """
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
def _note(state: ServerState, seq: int, now_ns: int) -> None:
    """Some worker is as far as `seq`: empty the rows that this outdates."""
    server = state.server[0]
    server["last_packet_ns"] = now_ns
    if not server["synchronized"]:
        server["synchronized"] = 1
        server["max_seq"] = seq
    for passed in range(max(server["max_seq"], seq - len(state.entry)) + 1, seq + 1):
        forget(state, passed & (len(state.entry) - 1))
    server["max_seq"] = max(server["max_seq"], seq)


@native
def _open(state: ServerState, row: int, seq: int, now_ns: int) -> None:
    server = state.server[0]
    entry = state.entry[row]
    entry["seq"] = seq
    entry["first_seen_ns"] = entry["last_timeout_ns"] = entry["last_progress_ns"] = now_ns
    entry["deadline_ns"] = now_ns + rto_ns(server["completion"], 0)
    entry["held_resend"] = -1
    entry["open_index"] = server["open_count"]
    entry["query_rounds"] = entry["not_ready_rounds"] = entry["misses"] = 0
    entry["state"] = OPEN
    entry["priority"] = 0
    entry["exponent"] = -128
    entry["queried_ns"] = entry["query_sampled"] = entry["rtt_sampled"] = entry["resend_pending"] = 0
    entry["flags"] = entry["has_sum"] = entry["abandoned"] = entry["remulticast"] = 0
    for rack in range(len(state.rack)):
        state.aggregated_bitmap[row, rack] = state.held_resend_bitmap[row, rack] = state.requester_bitmap[
            row, rack
        ] = state.not_ready_bitmap[row, rack] = 0
    state.open_slots[server["open_count"]] = row
    server["open_count"] += 1
    server["next_deadline_ns"] = min(server["next_deadline_ns"], entry["deadline_ns"])


@native
def _contribution(state: ServerState, packets: Words, i: int, seq: int, kind: int, flags: int, now_ns: int) -> None:
    server = state.server[0]
    counter = state.counter[0]
    row = seq & (len(state.entry) - 1)
    entry = state.entry[row]
    bitmap0, bitmap1 = p.bitmap0_of(packets, i), p.bitmap1_of(packets, i)
    single = kind == p.GRADIENT and flags & p.LEVEL1 == 0
    resend = single and flags & p.RESEND != 0
    if single:
        counter["fragments"] += 1
        counter["resends"] += resend
    else:
        counter["partials"] += 1
    counter["collisions"] += flags & p.COLLISION != 0

    if seq <= server["max_seq"] - server["retention_seqs"]:
        counter["duplicates"] += 1
        return
    first_sight = entry["state"] == EMPTY
    if first_sight:
        _open(state, row, seq, now_ns)
    if entry["state"] == DONE:
        counter["duplicates"] += 1
        if resend:
            _tell(state, row, seq, state.rack[_lowest_bit(bitmap1)]["first_rank"] + _lowest_bit(bitmap0))
        return
    if resend:
        state.requester_bitmap[row, _lowest_bit(bitmap1)] |= bitmap0
        press(state, row, now_ns)
    elif kind == p.PARTIAL:
        measure_switch(state, entry, now_ns)

    new = shared = False
    for rack in range(len(state.rack)):
        if bitmap1 >> rack & 1:
            bits = state.rack[rack]["full_bitmap"] if flags & p.LEVEL1 else bitmap0
            new = new or bits & ~state.aggregated_bitmap[row, rack] != 0
            shared = shared or bits & state.aggregated_bitmap[row, rack] != 0
            if resend and bits & state.held_resend_bitmap[row, rack]:
                new = False
    if not new:
        counter["duplicates"] += 1
        return
    if shared:
        counter["overlaps"] += 1
        return

    if resend:
        measure_worker(state, entry, now_ns)
    entry["last_progress_ns"] = now_ns
    entry["priority"] = max(entry["priority"], p.priority_of(packets, i))
    if entry["abandoned"]:  # somebody is back: ask on
        set_due(state, row, min(entry["deadline_ns"], now_ns + rto_ns(server["completion"], 0)))
    if resend and server["free_head"] >= 0:
        _keep_apart(state, packets, i, row, _lowest_bit(bitmap1), bitmap0, flags)
    else:
        _add(state, packets, i, row, flags)
        for rack in range(len(state.rack)):
            if bitmap1 >> rack & 1:
                state.aggregated_bitmap[row, rack] |= state.rack[rack]["full_bitmap"] if flags & p.LEVEL1 else bitmap0
    missing = 0
    for rack in range(len(state.rack)):
        missing += _bits(waiting_for(state, row, rack))
    if missing == 0:
        _complete(state, row, now_ns)
    elif first_sight and missing <= server["early_query_limit"] and kind == p.PARTIAL:
        say(state, seq, p.QUERY, AHEAD)


@native
def _bits(bitmap: int) -> int:
    count = 0
    while bitmap:
        bitmap &= bitmap - 1
        count += 1
    return count


@native
def _add(state: ServerState, packets: Words, i: int, row: int, flags: int) -> None:
    entry = state.entry[row]
    if entry["has_sum"]:
        p.add_lanes(packets, i, state.lane, row)
    else:
        p.read_lanes(packets, i, state.lane, row)
    entry["has_sum"] = 1
    entry["exponent"] = max(entry["exponent"], p.exponent_of(packets, i))
    entry["flags"] |= flags & p.ECN


@native
def _keep_apart(state: ServerState, packets: Words, i: int, row: int, rack: int, bit: int, flags: int) -> None:
    server = state.server[0]
    number = server["free_head"]
    held = state.held_resend[number]
    server["free_head"] = held["next"]
    held["next"] = state.entry[row]["held_resend"]
    state.entry[row]["held_resend"] = number
    held["rack"] = rack
    held["bit"] = bit
    held["exponent"] = p.exponent_of(packets, i)
    held["flags"] = flags
    p.read_lanes(packets, i, state.held_resend_lane, number)
    state.held_resend_bitmap[row, rack] |= bit


@native
def _complete(state: ServerState, row: int, now_ns: int) -> None:
    """Every worker is in the sum or kept apart: add what only RESENDs brought, and tell everybody."""
    server = state.server[0]
    entry = state.entry[row]
    if not entry["has_sum"]:
        for k in range(state.lane.shape[1]):
            state.lane[row, k] = 0
    number = entry["held_resend"]
    while number >= 0:
        held = state.held_resend[number]
        if not state.aggregated_bitmap[row, held["rack"]] & held["bit"]:
            p.add_rows(state.lane, row, state.held_resend_lane, number)
            entry["exponent"] = max(entry["exponent"], held["exponent"])
            entry["flags"] |= held["flags"] & p.ECN
        number = held["next"]
    # The time counts if no question brought this about: nothing came by a RESEND, no switch handed anything over.
    in_vain = entry["query_rounds"] == 0 or entry["misses"] > 0 or server["switches"] == 0
    if entry["held_resend"] < 0 and in_vain:
        update_rtt(server["completion"], now_ns - entry["first_seen_ns"])
    server["low_watermark"] = max(server["low_watermark"], entry["seq"])
    close(state, row, DONE)
    state.counter[0]["via_ps"] += 1
    say(state, entry["seq"], p.RESULT, GROUP)


@native
def _answered(state: ServerState, packets: Words, i: int, seq: int, now_ns: int) -> None:
    """A worker has the result of an entry: it goes to those who asked for it."""
    server = state.server[0]
    row = seq & (len(state.entry) - 1)
    entry = state.entry[row]
    if seq <= server["max_seq"] - server["retention_seqs"] or entry["state"] != OPEN:
        return
    measure_worker(state, entry, now_ns)
    p.read_lanes(packets, i, state.lane, row)
    entry["exponent"] = p.exponent_of(packets, i)
    entry["priority"] = p.priority_of(packets, i)
    entry["flags"] = p.flags_of(packets, i) & p.ECN
    close(state, row, DONE)
    state.counter[0]["answered"] += 1
    for worker in range(server["workers"]):
        member = state.member[worker]
        if state.requester_bitmap[row, member["rack"]] & member["bit"]:
            _tell(state, row, seq, worker)


@native
def _tell(state: ServerState, row: int, seq: int, worker: int) -> None:
    """Send a known result to a worker that lacks it.

    Where rows are held until the RESULT releases them, that RESULT may have been lost before it met the switch: the
    first to ask causes it to be sent to the group again.
    """
    if state.server[0]["release_on_ack"] and not state.entry[row]["remulticast"]:
        state.entry[row]["remulticast"] = 1
        say(state, seq, p.RESULT, GROUP)
    else:
        say(state, seq, p.RESULT, worker)


@native
def _miss(state: ServerState, seq: int, now_ns: int) -> None:
    """A switch holds nothing. When none does: ask the workers now; from the second round on the timer does."""
    row = seq & (len(state.entry) - 1)
    entry = state.entry[row]
    if entry["state"] == OPEN and entry["seq"] == seq:
        state.counter[0]["misses"] += 1
        entry["misses"] += 1
        measure_switch(state, entry, now_ns)
        if entry["misses"] == state.server[0]["switches"] and entry["query_rounds"] == 1:
            say(state, seq, p.QUERY, MISSING)
            entry["queried_ns"] = entry["last_timeout_ns"] = now_ns
            entry["query_sampled"] = 0
            set_due(state, row, now_ns + next_question_ns(state, row))
