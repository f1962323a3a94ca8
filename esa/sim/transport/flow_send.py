"""The sending end of flows: what is under way, what is lost, how much may be. `flow.py` says which rules these are."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from esa.native import native_uncounted as native
from esa.sim.transport.flow import (
    BYTES,
    DATA,
    FLOW,
    HERE,
    IDLE,
    KIND,
    LAST,
    LOST,
    MARKS,
    MAX_RTO_NS,
    NEVER,
    NEXT,
    OUT,
    PROBE,
    RTO,
    RUN,
    RUN_END,
    SEQ,
    Flows,
)


@native
def flow_room(flows: Flows, f: int) -> int:
    """Messages that can be offered now."""
    me = flows.sender[f]
    return int(me["messages"] - (me["offered"] - me["done"]))


@native
def flow_offer(flows: Flows, f: int, octets: int, tag: int) -> None:
    """A message of so many bytes, 1 at least; the caller sees to the room."""
    me = flows.sender[f]
    place = flows.message[f, me["offered"] % flows.message.shape[1]]
    place["bytes"], place["tag"] = octets, tag
    me["offered"] += 1


@native
def flow_is_idle(flows: Flows, f: int) -> bool:
    """Whether all that was offered has arrived, as far as its sender knows."""
    return bool(flows.sender[f]["done"] == flows.sender[f]["offered"])


@native
def flow_send(flows: Flows, f: int, out: npt.NDArray[np.uint32], now_ns: int) -> tuple[int, int]:
    """Write packets to out (n, WORDS); return how many, and when to ask again: now, if `out` is full."""
    me = flows.sender[f]
    if me["gap_ns"] > 0:
        return _send_constant(flows, f, out, now_ns)
    count = 0
    if me["reorder_ns"] <= now_ns:
        _find_losses(flows, f, now_ns)
    if me["timer_ns"] <= now_ns:
        me["timer_ns"] = NEVER
        if me["timer"] == RTO:
            _time_out(flows, f)
        else:
            count = _probe(flows, f, out, now_ns)
    window = flows.sent.shape[1]
    again = me["una"]
    while me["in_flight"] < int(me["cwnd"]):
        if count == len(out):
            return count, now_ns
        if me["lost"] > 0:
            while flows.sent[f, again & (window - 1)]["state"] != LOST:
                again += 1
            me["lost"] -= 1
            me["resends"] += 1
            _write(flows, f, again, out, count, now_ns, True)
        elif flow_has_unsent(flows, f) and me["next"] - me["una"] < window:
            _cut(flows, f)
            _write(flows, f, me["next"], out, count, now_ns, False)
            me["next"] += 1
        else:
            break
        me["in_flight"] += 1
        count += 1
    if me["timer_ns"] == NEVER and me["in_flight"] > 0:
        _arm(flows, f, now_ns)
    return count, min(me["timer_ns"], me["reorder_ns"])


@native
def _send_constant(flows: Flows, f: int, out: npt.NDArray[np.uint32], now_ns: int) -> tuple[int, int]:
    me = flows.sender[f]
    count = 0
    while flow_has_unsent(flows, f):
        if now_ns < me["due_ns"]:
            return count, me["due_ns"]
        if count == len(out):
            return count, now_ns
        _cut(flows, f)
        _write(flows, f, me["next"], out, count, now_ns, False)
        me["due_ns"] = max(me["due_ns"], now_ns - me["gap_ns"]) + me["gap_ns"]
        me["next"] += 1
        me["una"] = me["next"]
        me["done"] = me["begun"] - (me["left"] > 0)
        count += 1
    return count, NEVER


@native
def flow_has_unsent(flows: Flows, f: int) -> bool:
    """Whether some of what was offered has never been sent."""
    me = flows.sender[f]
    return bool(me["left"] > 0 or me["begun"] < me["offered"])


@native
def _cut(flows: Flows, f: int) -> None:
    """The next packet, from the message in hand or the one behind it."""
    me = flows.sender[f]
    if me["left"] == 0:
        me["left"] = flows.message[f, me["begun"] % flows.message.shape[1]]["bytes"]
        me["begun"] += 1
    packet = flows.sent[f, me["next"] & (flows.sent.shape[1] - 1)]
    packet["bytes"] = min(me["payload"], me["left"])
    me["left"] -= packet["bytes"]
    packet["last"] = 0
    if me["left"] == 0:
        packet["last"] = 1 + flows.message[f, (me["begun"] - 1) % flows.message.shape[1]]["tag"]


@native
def _write(flows: Flows, f: int, seq: int, out: npt.NDArray[np.uint32], at: int, now_ns: int, again: bool) -> None:
    """Packet `seq` leaves."""
    packet = flows.sent[f, seq & (flows.sent.shape[1] - 1)]
    packet["ns"], packet["state"], packet["again"] = now_ns, OUT, again
    out[at, :] = 0
    out[at, FLOW], out[at, KIND], out[at, SEQ] = f, DATA, seq
    out[at, BYTES], out[at, LAST] = packet["bytes"], packet["last"]
    flows.sender[f]["packets"] += 1


@native
def _arm(flows: Flows, f: int, now_ns: int) -> None:
    """Set the timer: of a probe (RFC 8985, 7.2), before the time-out where a round trip is known.

    Again and again, and in recovery, too, as in QUIC (RFC 9002, 6.2): what was sent again and is lost again would wait
    for the time-out where the window is full.
    """
    me = flows.sender[f]
    me["timer"] = RTO
    wait_ns = me["rto_ns"]
    if me["srtt_ns"] > 0:
        probe_ns = 2 * me["srtt_ns"] << min(me["probes"], 20)
        if me["in_flight"] == 1 and flows.sent[f, (me["next"] - 1) & (flows.sent.shape[1] - 1)]["last"] == 0:
            probe_ns += me["ack_delay_ns"]
        if probe_ns < wait_ns:
            me["timer"], wait_ns = PROBE, probe_ns
    me["timer_ns"] = now_ns + wait_ns


@native
def _probe(flows: Flows, f: int, out: npt.NDArray[np.uint32], now_ns: int) -> int:
    """Send the last packet under way once more; return how many packets that is. The next probe waits twice as long."""
    me = flows.sender[f]
    for seq in range(me["next"] - 1, me["una"] - 1, -1):
        if flows.sent[f, seq & (flows.sent.shape[1] - 1)]["state"] == OUT:
            me["resends"] += 1
            _write(flows, f, seq, out, 0, now_ns, True)
            me["probes"] += 1
            return 1
    return 0


@native
def _time_out(flows: Flows, f: int) -> None:
    """RFC 6298, 5.4 to 5.6: all under way is lost, one packet goes."""
    me = flows.sender[f]
    for seq in range(me["una"], me["next"]):
        packet = flows.sent[f, seq & (flows.sent.shape[1] - 1)]
        if packet["state"] == OUT:
            packet["state"] = LOST
            me["lost"] += 1
    me["ssthresh"] = max(me["in_flight"] / 2, 2.0)
    me["in_flight"] = 0
    me["cwnd"] = 1.0
    me["rto_ns"] = min(2 * me["rto_ns"], MAX_RTO_NS)
    me["recovery_end"] = me["next"]
    me["fast"] = 0
    me["reorder_ns"] = NEVER
    me["timeouts"] += 1


@native
def flow_take_ack(flows: Flows, f: int, packet: npt.NDArray[np.uint32], now_ns: int) -> None:
    """An acknowledgement (WORDS,) has come."""
    me = flows.sender[f]
    window = flows.sent.shape[1]
    before, una = me["in_flight"], me["una"]
    newly = 0
    for seq in range(una, min(np.int64(packet[NEXT]), me["next"])):
        newly += _has_arrived(flows, f, seq, now_ns)
        sent = flows.sent[f, seq & (window - 1)]
        sent["state"] = IDLE
        me["here"] -= 1
        me["done"] += sent["last"] > 0
        me["una"] = seq + 1
    for seq in range(max(np.int64(packet[RUN]), me["una"]), min(np.int64(packet[RUN_END]), me["next"])):
        newly += _has_arrived(flows, f, seq, now_ns)
    marked = np.int64(packet[MARKS]) - me["marks"]
    if newly > 0:
        me["timer_ns"] = NEVER
        me["probes"] = 0
    if me["here"] > 0:
        _find_losses(flows, f, now_ns)
    else:
        me["reorder_ns"] = NEVER
    _count_marks(flows, f, newly, max(marked, 0))
    if me["una"] >= me["recovery_end"]:
        me["fast"] = 0
    if newly > 0 and marked <= 0 and not me["fast"]:
        if me["cwnd"] < me["ssthresh"]:
            if 2 * before >= me["cwnd"]:
                me["cwnd"] += newly
        elif before + 2 >= me["cwnd"]:
            me["cwnd"] += newly / me["cwnd"]
        me["cwnd"] = min(me["cwnd"], float(window))


@native
def _has_arrived(flows: Flows, f: int, seq: int, now_ns: int) -> int:
    """A packet is acknowledged; 1 if that is news."""
    me = flows.sender[f]
    sent = flows.sent[f, seq & (flows.sent.shape[1] - 1)]
    if sent["state"] == HERE:
        return 0
    if sent["state"] == OUT:
        me["in_flight"] -= 1
    else:
        me["lost"] -= 1
    sent["state"] = HERE
    me["here"] += 1
    rtt_ns = now_ns - sent["ns"]
    if sent["again"] and rtt_ns < me["min_rtt_ns"]:
        return 1  # it was not lost: this is the answer to what was sent before
    if not sent["again"]:
        me["min_rtt_ns"] = min(me["min_rtt_ns"], rtt_ns)
    if sent["ns"] > me["rack_ns"] or (sent["ns"] == me["rack_ns"] and seq > me["rack_seq"]):
        me["rack_ns"], me["rack_seq"], me["rack_rtt_ns"] = sent["ns"], seq, rtt_ns
        if not sent["again"]:
            _measure(flows, f, rtt_ns)
    return 1


@native
def _measure(flows: Flows, f: int, rtt_ns: int) -> None:
    """RFC 6298, 2: a round trip of a packet that was sent once (Karn)."""
    me = flows.sender[f]
    if me["srtt_ns"] == 0:
        me["srtt_ns"], me["rttvar_ns"] = max(rtt_ns, 1), rtt_ns // 2
    else:
        me["rttvar_ns"] += (abs(me["srtt_ns"] - rtt_ns) - me["rttvar_ns"]) // 4
        me["srtt_ns"] += (rtt_ns - me["srtt_ns"]) // 8
    me["rto_ns"] = min(max(me["srtt_ns"] + 4 * me["rttvar_ns"], me["rto_floor_ns"]), MAX_RTO_NS)


@native
def _find_losses(flows: Flows, f: int, now_ns: int) -> None:
    """RFC 8985, 6.2: lost is what was sent so much before something that has arrived, and is not here."""
    me = flows.sender[f]
    me["reorder_ns"] = NEVER
    patience_ns = me["rack_rtt_ns"] + me["min_rtt_ns"] // 4 if me["min_rtt_ns"] < NEVER else me["rack_rtt_ns"]
    found = False
    for seq in range(me["una"], me["next"]):
        sent = flows.sent[f, seq & (flows.sent.shape[1] - 1)]
        before = sent["ns"] < me["rack_ns"] or (sent["ns"] == me["rack_ns"] and seq < me["rack_seq"])
        if sent["state"] != OUT or not before:
            continue
        lost_ns = sent["ns"] + patience_ns
        if lost_ns > now_ns:
            me["reorder_ns"] = min(me["reorder_ns"], lost_ns)
            continue
        sent["state"] = LOST
        me["lost"] += 1
        me["in_flight"] -= 1
        found = True
    if found and me["una"] >= me["recovery_end"]:
        me["cwnd"] = me["ssthresh"] = max(me["cwnd"] / 2, 2.0)
        me["recovery_end"] = me["next"]
        me["fast"] = 1


@native
def _count_marks(flows: Flows, f: int, newly: int, marked: int) -> None:
    """RFC 8257, 3.3: the part of a round's packets that was marked; once a window of data the window smaller by it.

    What was sent before the last cut met the queue of before (RFC 3168, 6.1.2).
    """
    me = flows.sender[f]
    me["marks"] += marked
    me["acked"] += newly
    me["marked"] += marked
    if marked > 0 and me["una"] > me["cut_end"] and me["una"] >= me["recovery_end"]:
        me["cwnd"] = me["ssthresh"] = max(me["cwnd"] * (1 - me["alpha"] / 2), 2.0)
        me["cut_end"] = me["next"]
    if me["una"] >= me["round_end"] and me["acked"] > 0:
        me["alpha"] += me["gain"] * (min(me["marked"] / me["acked"], 1.0) - me["alpha"])
        me["acked"] = me["marked"] = 0
        me["round_end"] = me["next"]
