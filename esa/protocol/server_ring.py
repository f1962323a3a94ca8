"""A PS's state: a ring of one entry per recent seq, its sum, who is in it, and what is to be said about it."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from esa.native import native_uncounted as native
from esa.protocol.packets import Lanes, Records
from esa.protocol.rtt import ESTIMATE_FIELDS, NEVER, NS_PER_S
from esa.protocol.timers import Timers
from esa.protocol.worker_ring import check_servers, ring_slots
from esa.wire import index_parameters

_IDLE_RESET_NS = 60 * NS_PER_S


class EntryState(IntEnum):
    """What a PS knows of a fragment."""

    EMPTY = 0  # nothing
    OPEN = 1  # a part of it; the entry has a deadline of its own
    DONE = 2  # the result


# Destinations of a packet besides a member's number (workers in the order of racks and ranks, then switches).
MULTICAST = -1  # all workers; as a RESULT one packet, which the switch replicates
MISSING = -2  # inside the outbox only: the workers that an entry has nothing from
SWITCHES = -3  # inside the outbox only
EARLY_QUERY = -4  # inside the outbox only: as MISSING, at first sight, before any deadline is over

UNKNOWN_SENDER = -1  # source of a packet that no member sent

# Who answers has nothing to wait for, unlike what completes a fragment.
_TIMERS = Timers()

_SERVER = np.dtype(
    [
        # Identity
        ("job", np.int64),
        ("epoch", np.int64),
        ("workers", np.int64),
        ("servers", np.int64),  # PSs of the job; this one's fragments are those whose seq, modulo these, is `number`
        ("number", np.int64),
        # Configuration: written by `server_state` and `server_change_policy` alone
        ("multiplier", np.int64),  # of the index that a seq has, as `salt`
        ("salt", np.int64),
        ("slots", np.int64),  # of a worker, with a row each; 0: the index of a fragment is a hash of its seq
        ("rows", np.int64),  # of the job's pool
        ("switches", np.int64),
        ("unicast", np.int64),  # no switch replicates a RESULT
        ("release_on_ack", np.int64),  # aggregators are held until a RESULT with RELEASE comes through
        ("asks_peer", np.int64),  # of who lacks a result, at once, where nothing is known of a fragment
        ("resends_first", np.int64),  # what is for those who resent goes to the head of the outbox
        ("passes_rows", np.int64),  # workers send fragments past the rows at once, as RESENDs: no sign of a loss
        ("early_query_limit", np.int64),  # ask at first sight if no more workers than that are missing
        ("retention_seqs", np.int64),  # who has sent s has every result up to s minus these, and so has every other
        ("give_up_ns", np.int64),  # silence of a missing worker, at most
        ("wait_limit_ns", np.int64),  # without anything new, at most, while those missing live
        # Sequence space, unwrapped
        ("synchronized", np.int64),  # whether any valid packet came: `max_seq` and `last_packet_ns` mean something
        ("last_packet_ns", np.int64),
        ("max_seq", np.int64),  # highest seen
        ("next_row", np.int64),  # which of the job's rows, in their order, a slot is given next
        ("low_watermark", np.int64),  # highest that every worker is known to have sent
        # RTT estimates (RFC 6298)
        ("completion", np.dtype(ESTIMATE_FIELDS)),  # of the time from first sight of a fragment to its completion
        ("switch_rtt", np.dtype(ESTIMATE_FIELDS)),  # of the time from a question to a switch's answer
        ("worker_rtt", np.dtype(ESTIMATE_FIELDS)),  # ... to a worker's
        # Open entries, and their timers
        ("open_count", np.int64),
        ("next_deadline_ns", np.int64),  # no entry's time is up before
        ("free_head", np.int64),  # first free place for a held RESEND, -1: none
        # Outbox: counts of the items taken out and put in
        ("outbox_head", np.int64),
        ("outbox_tail", np.int64),
        ("outbox_cursor", np.int64),  # members already served by the item at the head
        # Failure
        ("other_run", np.int64),  # epoch of the last packet of this job that was of another run, -1: none came
        ("other_source", np.int64),  # the member that sent it
    ]
)
_ENTRY = np.dtype(
    [
        # Identity
        ("seq", np.int64),
        ("state", np.uint8),  # EntryState
        ("open_index", np.int32),  # in `open`, where it is open
        # The sum: with its lanes, what a RESULT will say
        ("priority", np.uint8),
        ("exponent", np.int8),
        ("flags", np.uint8),  # ECN, COLLISION, CONTESTED: of any part
        ("has_sum", np.uint8),  # its lanes hold a sum
        ("index", np.int64),  # as far as is known; of a result with the row of its slot's next fragment
        ("held_resend", np.int32),  # first of the list of RESENDs held apart, -1: none
        # Questions and their timer
        ("first_seen_ns", np.int64),
        ("last_progress_ns", np.int64),  # something new came in
        ("deadline_ns", np.int64),  # the next question, NEVER: none
        ("last_timeout_ns", np.int64),  # when its timer last ran out, before that as `first_seen_ns`
        ("query_rounds", np.int32),  # times that somebody was asked
        ("not_ready_rounds", np.int32),  # times that its timer ran out when a missing worker had not sent it yet
        ("misses", np.int32),  # switches that hold nothing, of those reminded last
        ("resend_pending", np.uint8),  # a RESEND came since somebody was asked
        # RTT samples
        ("rtt_sampled", np.uint8),  # the switch's first answer has been measured
        ("queried_ns", np.int64),  # when workers were last asked, 0: never
        ("query_sampled", np.uint8),  # an answer gives no sample any more: it is here, or they were asked twice (Karn)
        # Failure
        ("abandoned", np.uint8),  # given up, and counted
        ("remulticast", np.uint8),  # its RESULT went to the group a second time
    ]
)
_HELD_RESEND = np.dtype(
    [("next", np.int32), ("rack", np.int32), ("bit", np.int64), ("exponent", np.int8), ("flags", np.uint8)]
)
_RACK = np.dtype([("full_bitmap", np.int64), ("first_rank", np.int64), ("silent_bitmap", np.int64)])
_MEMBER = np.dtype(
    [
        ("rack", np.int64),
        ("bit", np.int64),
        ("max_seq_sent", np.int64),  # a worker's highest seq that came from itself
        ("last_heard_ns", np.int64),  # when it last said anything, itself or in a sum
        ("not_ready_ns", np.int64),  # when it last said that it had not sent yet what it was asked for
    ]
)
_ITEM = np.dtype([("seq", np.int64), ("kind", np.int32), ("destination", np.int32)])
_COUNTERS = np.dtype(
    [
        (name, np.int64)
        for name in (
            "fragments",  # gradients of one worker
            "resends",  # of these, sent again
            "collisions",  # of these, passed on by a switch because the aggregator was another's
            "partials",  # sums of several workers
            "duplicates",  # contributions that brought nothing new
            "overlaps",  # contributions discarded because only a part of them was new
            "via_ps",  # fragments that were completed here
            "answered",  # fragments whose result a worker gave
            "reminders",
            "misses",
            "queries",
            "answers",  # results sent to one worker that asked
            "failed",  # fragments given up
            "malformed",
            "other_run",  # packets of this job, of another epoch, from members
        )
    ]
)


class ServerState(NamedTuple):
    """One job's PS; make one with `server_state`. Slots are indexed by seq modulo their number."""

    server: Records  # (1,)
    entry: Records  # (slots,)
    lane: Lanes  # (slots, lanes): the running sum, then the result
    aggregated_bitmap: npt.NDArray[np.uint32]  # (slots, racks): workers in the running sum
    held_resend_bitmap: npt.NDArray[np.uint32]  # (slots, racks): workers whose RESEND is held apart
    requester_bitmap: npt.NDArray[np.uint32]  # (slots, racks): workers that sent a RESEND, so they lack the result
    not_ready_bitmap: npt.NDArray[np.uint32]  # (slots, racks): workers that had not sent it when last asked
    open_slots: npt.NDArray[np.int32]  # (slots,): the slots of open entries, in no order
    held_resend: Records  # (held_resends,)
    held_resend_lane: Lanes  # (held_resends, lanes)
    rack: Records  # (racks,)
    member: Records  # (workers,)
    outbox: Records  # (a power of two,): what to say next
    counter: Records  # (1,)


def server_state(
    *,
    job: int,
    epoch: int,
    workers_per_rack: Sequence[int],
    servers: int = 1,
    number: int = 0,
    window: int,
    max_span: int | None = None,
    lanes: int,
    switches: int = 1,
    unicast: bool = False,
    release_on_ack: bool = False,
    asks_peer: bool = False,
    resends_first: bool = False,
    passes_rows: bool = False,
    slots: int = 0,
    rows: int = 0,
    give_up_s: float = 30.0,
    wait_limit_s: float = 1800.0,
    timers: Timers = _TIMERS,
    held_resends: int | None = None,
) -> ServerState:
    """A PS that has heard nothing.

    workers_per_rack: at most 32 racks of 1..32 workers. servers: PSs of the job, a power of two; number: which of them
    this is: it hears of seqs that are `number` modulo `servers` alone. window, max_span: the workers', as largest.
    switches: how many are reminded (0: policy `ps`, then the PS sends each worker its own RESULT: `unicast`).
    give_up_s: for members that are silent; wait_limit_s: for those that live, seconds. held_resends: how many RESENDs
    are held apart at a time; what does not fit is added at once. slots: as in `worker_state`; rows: of the pool.
    """
    racks = len(workers_per_rack)
    if not 1 <= racks <= 32 or not all(1 <= n <= 32 for n in workers_per_rack):
        raise ValueError(f"workers_per_rack: {list(workers_per_rack)}; 1..32 racks of 1..32 workers")
    if not 0 <= number < servers:
        raise ValueError(f"number: {number}; allowed: 0 to {servers - 1}")
    max_span = window if max_span is None else max_span
    ring = ring_slots(max_span)
    held_resends = max(2 * window, 16) if held_resends is None else held_resends
    state = ServerState(
        server=np.zeros(1, _SERVER),
        entry=np.zeros(ring, _ENTRY),
        lane=np.zeros((ring, lanes), np.int32),
        aggregated_bitmap=np.zeros((ring, racks), np.uint32),
        held_resend_bitmap=np.zeros((ring, racks), np.uint32),
        requester_bitmap=np.zeros((ring, racks), np.uint32),
        not_ready_bitmap=np.zeros((ring, racks), np.uint32),
        open_slots=np.zeros(ring, np.int32),
        held_resend=np.zeros(held_resends, _HELD_RESEND),
        held_resend_lane=np.zeros((held_resends, lanes), np.int32),
        rack=np.zeros(racks, _RACK),
        member=np.array(
            [(r, 1 << b, -NEVER, -NEVER, -NEVER) for r, n in enumerate(workers_per_rack) for b in range(n)], _MEMBER
        ),
        outbox=np.zeros(2 * ring, _ITEM),
        counter=np.zeros(1, _COUNTERS),
    )
    server = state.server[0]
    server["job"], server["epoch"] = job, epoch
    server["multiplier"], server["salt"] = index_parameters(job, epoch)
    server["workers"] = sum(workers_per_rack)
    server["servers"], server["number"] = servers, number
    server["retention_seqs"] = 2 * max_span
    server["give_up_ns"], server["wait_limit_ns"] = int(give_up_s * NS_PER_S), int(wait_limit_s * NS_PER_S)
    server["next_deadline_ns"] = NEVER
    server_change_policy(
        state,
        switches=switches,
        unicast=unicast,
        release_on_ack=release_on_ack,
        asks_peer=asks_peer,
        resends_first=resends_first,
        passes_rows=passes_rows,
        slots=slots,
        rows=rows,
        timers=timers,
    )
    server["low_watermark"] = -NEVER
    server["other_run"] = server["other_source"] = -1
    state.rack["full_bitmap"] = [(1 << n) - 1 for n in workers_per_rack]
    state.rack["first_rank"] = np.cumsum([0, *workers_per_rack[:-1]])
    state.held_resend["next"] = [*range(1, held_resends), -1] if held_resends else []
    server["free_head"] = 0 if held_resends else -1
    return state


def server_change_policy(
    state: ServerState,
    *,
    switches: int,
    unicast: bool,
    release_on_ack: bool,
    asks_peer: bool = False,
    resends_first: bool = False,
    passes_rows: bool = False,
    slots: int = 0,
    rows: int = 0,
    timers: Timers = _TIMERS,
) -> None:
    """What follows from the job's policy, for a new PS or, between two calls of others, for one that runs.

    What is measured and what is open stays: an entry that waits for a switch's answer asks the workers at its next
    time-out. Which packets carry RELEASE, and what is exact, does not depend on the policy.
    """
    server = state.server[0]
    server["switches"], server["unicast"], server["release_on_ack"] = switches, unicast, release_on_ack
    server["asks_peer"] = asks_peer and timers.ask_peer
    server["resends_first"], server["passes_rows"] = resends_first, passes_rows
    server["slots"], server["rows"] = slots, rows
    check_servers(int(server["servers"]), slots, 0)
    server["next_row"] = max(server["next_row"], slots + server["number"])
    server["early_query_limit"] = timers.ask_ahead
    completion = server["completion"]
    completion["initial_rto_ns"], completion["min_rto_ns"] = timers.patience_initial_ns, timers.patience_floor_ns
    completion["max_rto_ns"] = timers.patience_ceiling_ns
    for answers in (server["switch_rtt"], server["worker_rtt"]):
        answers["initial_rto_ns"] = min(timers.patience_initial_ns, timers.answer_initial_ns)
        answers["min_rto_ns"] = min(timers.patience_floor_ns, timers.answer_floor_ns)
        answers["max_rto_ns"] = timers.patience_ceiling_ns


@native
def enqueue(state: ServerState, seq: int, kind: int, destination: int) -> None:
    """Put a packet, or one to each of several members, into the outbox; with no room left it is not said.

    Whoever waits for it asks again.
    """
    server = state.server[0]
    if server["outbox_tail"] - server["outbox_head"] == len(state.outbox):
        return
    _put(state, server["outbox_tail"], seq, kind, destination)
    server["outbox_tail"] += 1


@native
def enqueue_for_resend(state: ServerState, seq: int, kind: int, destination: int) -> None:
    """As `enqueue`, for somebody who resent: where the policy has it so, ahead of all else but what is half said."""
    server = state.server[0]
    if not server["resends_first"] or server["outbox_tail"] - server["outbox_head"] == len(state.outbox):
        enqueue(state, seq, kind, destination)
        return
    mask = len(state.outbox) - 1
    server["outbox_head"] -= 1
    head = server["outbox_head"]
    if server["outbox_cursor"] > 0:
        half_said = state.outbox[(head + 1) & mask]
        _put(state, head, half_said["seq"], half_said["kind"], half_said["destination"])
        head += 1
    _put(state, head, seq, kind, destination)


@native
def _put(state: ServerState, at: int, seq: int, kind: int, destination: int) -> None:
    item = state.outbox[at & (len(state.outbox) - 1)]
    item["seq"] = seq
    item["kind"] = kind
    item["destination"] = destination


@native
def missing_bitmap(state: ServerState, slot: int, rack: int) -> int:
    """The bitmap of a rack's workers that an entry has nothing from."""
    here = state.aggregated_bitmap[slot, rack] | state.held_resend_bitmap[slot, rack]
    return int(state.rack[rack]["full_bitmap"] & ~here)


@native
def missing_count(state: ServerState, slot: int) -> int:
    """Return how many workers an entry has nothing from."""
    count = 0
    for rack in range(len(state.rack)):
        bitmap = missing_bitmap(state, slot, rack)
        while bitmap:
            bitmap &= bitmap - 1
            count += 1
    return count


@native
def close_entry(state: ServerState, slot: int, outcome: EntryState) -> None:
    """An open entry becomes DONE, or EMPTY where its fragment no longer concerns anybody."""
    server = state.server[0]
    entry = state.entry[slot]
    held = entry["held_resend"]
    while held >= 0:
        following = state.held_resend[held]["next"]
        state.held_resend[held]["next"] = server["free_head"]
        server["free_head"] = held
        held = following
    entry["held_resend"] = -1
    entry["state"] = outcome
    server["open_count"] -= 1
    if server["open_count"] == 0:
        server["next_deadline_ns"] = NEVER
    last = state.open_slots[server["open_count"]]
    state.open_slots[entry["open_index"]] = last
    state.entry[last]["open_index"] = entry["open_index"]


@native
def reset_slot(state: ServerState, slot: int) -> None:
    """Nothing is known of what the slot held."""
    if state.entry[slot]["state"] == EntryState.OPEN:
        close_entry(state, slot, EntryState.EMPTY)
    state.entry[slot]["state"] = EntryState.EMPTY


@native
def reset_if_idle(state: ServerState, now_ns: int) -> None:
    """Forget everything if no worker has been heard for a minute: the essay in `server` says why nobody can need it."""
    server = state.server[0]
    if server["synchronized"] and now_ns - server["last_packet_ns"] > _IDLE_RESET_NS:
        for slot in range(len(state.entry)):
            reset_slot(state, slot)
        server["synchronized"] = 0
        server["low_watermark"] = -NEVER
        for worker in range(server["workers"]):
            state.member[worker]["max_seq_sent"] = -NEVER


@native
def is_missing(state: ServerState, slot: int, worker: int) -> bool:
    """Whether an entry has nothing from a worker."""
    member = state.member[worker]
    return bool(missing_bitmap(state, slot, member["rack"]) & member["bit"])
