"""Messages from one host to another: packets and times in, packets out, as `esa/protocol` does it for sums.

A flow is one connection. Its two ends are arrays side by side with those of all others; no clock, no network:

    flows = new_flows(1, FlowOptions(), messages=1)
    flow_offer(flows, 0, 1_000_000, tag=7)              # a message
    count, wake_ns = flow_send(flows, 0, out, now_ns)   # packets out[:count]; when to call again at the latest
    flow_take_data(flows, 0, packet, now_ns)            # the other end: a packet has come,
    count, wake_ns = flow_answer(flows, 0, out, now_ns) # what it says to it,
    tag = flow_message(flows, 0)                        # and the next message that has come whole, or NONE
    flow_take_ack(flows, 0, packet, now_ns)             # the first end again

What it takes from whom: round trips and time-outs RFC 6298; slow start and congestion avoidance RFC 5681, growing only
while the window is used (RFC 7661); losses found by time and repaired without waiting for a time-out, the tail probed
(RACK-TLP, RFC 8985); marks answered in proportion to how many there were (DCTCP, RFC 8257), counted as in QUIC (RFC
9000, 13.4) and so exact whatever acknowledgements are lost. A second packet is acknowledged at once, a first one after
`ack_delay_ns`, but the last of a message and what comes out of order at once, too. Packets are numbered, not bytes, and
a message begins a packet (no Nagle); an acknowledgement tells what has come up to a hole, and the run of packets that
the newest one is in. A constant flow sends at its rate whatever becomes of it, as UDP would: nothing is acknowledged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from esa.native import native_uncounted as native

NONE = -1
NEVER = 2**62
WORDS = 8  # of a packet's header: 32-bit, see below
HEADER_BYTES = 20 + 4 * WORDS  # with IPv4; TCP's with the time stamps that Linux sends
DATA, ACK = 0, 1
# Words of a header. MARKED is what the network writes: it is set on arrival if the packet met a queue.
FLOW, KIND, MARKED = 0, 1, 7
SEQ, BYTES, LAST = 2, 3, 4  # DATA: number, payload; the message's tag + 1 in its last packet
NEXT, RUN, RUN_END, MARKS = 2, 3, 4, 5  # ACK: the first that is missing; the run that the newest is in; marks so far

IDLE, OUT, HERE, LOST = 0, 1, 2, 3  # a sent packet is under way, acknowledged beyond a hole, or taken for lost
PROBE, RTO = 0, 1  # what the sender's timer is for
MAX_RTO_NS = 60_000_000_000
_INITIAL_WINDOW = 10.0  # RFC 6928
_GAIN = 1 / 16  # RFC 8257, 4.2


@dataclass(frozen=True)
class FlowOptions:
    """What flows have in common. Time-outs and delayed acknowledgements are Linux's.

    mtu_bytes: of an IPv4 packet; window_packets: the most that are under way, a power of two. ValueError, one line.
    """

    mtu_bytes: int = 9000
    window_packets: int = 256
    rto_initial_ns: int = 1_000_000_000
    rto_floor_ns: int = 200_000_000
    ack_delay_ns: int = 40_000_000

    def __post_init__(self) -> None:
        if not HEADER_BYTES < self.mtu_bytes <= 65_535:
            raise ValueError(f"mtu_bytes: {self.mtu_bytes}; allowed: {HEADER_BYTES + 1} to 65535")
        if self.window_packets < 2 or self.window_packets & (self.window_packets - 1) or self.window_packets > 2**16:
            raise ValueError(f"window_packets: {self.window_packets}; allowed: powers of two, 2 to 65536")
        if not 0 < self.rto_floor_ns <= self.rto_initial_ns <= MAX_RTO_NS:
            times = f"floor {self.rto_floor_ns}, initial {self.rto_initial_ns}"
            raise ValueError(f"rto_initial_ns: {times}; allowed: 0 < floor <= initial <= {MAX_RTO_NS}")
        if not 0 <= self.ack_delay_ns <= 500_000_000:
            raise ValueError(f"ack_delay_ns: {self.ack_delay_ns}; allowed: 0 to 500000000")  # RFC 5681, 4.2

    @property
    def payload_bytes(self) -> int:
        """Of a full packet."""
        return self.mtu_bytes - HEADER_BYTES


SENDER = np.dtype(
    [
        ("payload", np.int64),  # bytes of a full packet
        ("gap_ns", np.int64),  # between two packets of a constant flow; 0: not constant
        ("due_ns", np.int64),  # when a constant flow sends next
        # Messages.
        ("messages", np.int64),  # that may be under way
        ("offered", np.int64),  # ever
        ("begun", np.int64),  # of these, cut into packets
        ("done", np.int64),  # of these, acknowledged
        ("left", np.int64),  # bytes of the one that is being cut
        # Packets.
        ("una", np.int64),  # first that is not acknowledged
        ("next", np.int64),  # first that was never sent
        ("in_flight", np.int64),
        ("lost", np.int64),  # to be sent again
        ("here", np.int64),  # acknowledged beyond a hole
        # RFC 6298.
        ("srtt_ns", np.int64),  # 0: no sample yet
        ("rttvar_ns", np.int64),
        ("min_rtt_ns", np.int64),
        ("rto_ns", np.int64),
        ("rto_floor_ns", np.int64),
        ("ack_delay_ns", np.int64),
        ("timer_ns", np.int64),
        ("timer", np.int64),  # PROBE or RTO
        ("probes", np.int64),  # since anything was acknowledged
        # RFC 8985: of the packets that have arrived, the one sent last.
        ("rack_ns", np.int64),
        ("rack_seq", np.int64),
        ("rack_rtt_ns", np.int64),
        ("reorder_ns", np.int64),  # when another may be lost
        # RFC 5681 and 8257.
        ("cwnd", np.float64),  # packets
        ("ssthresh", np.float64),
        ("recovery_end", np.int64),  # recovering until all before it are acknowledged
        ("fast", np.int64),  # without a time-out
        ("gain", np.float64),  # of alpha
        ("alpha", np.float64),
        ("round_end", np.int64),  # marks are counted until all before it are acknowledged
        ("acked", np.int64),  # in this round
        ("marked", np.int64),
        ("cut_end", np.int64),  # packets before it were sent before the window was last cut for marks
        ("marks", np.int64),  # ever
        # Counters.
        ("packets", np.int64),
        ("resends", np.int64),
        ("timeouts", np.int64),
    ]
)
RECEIVER = np.dtype(
    [
        ("next", np.int64),  # first that is missing
        ("taken", np.int64),  # whose messages have been handed over up to here
        ("newest", np.int64),
        ("pending", np.int64),  # packets that are not acknowledged
        ("at_once", np.int64),
        ("answer_ns", np.int64),
        ("marks", np.int64),
        ("bytes", np.int64),  # of payload, each once
    ]
)
SENT = np.dtype([("ns", np.int64), ("state", np.int64), ("again", np.int64), ("bytes", np.int64), ("last", np.int64)])
MESSAGE = np.dtype([("bytes", np.int64), ("tag", np.int64)])


class Flows(NamedTuple):
    """Both ends of all flows; make one with `new_flows`."""

    sender: npt.NDArray[np.void]  # (flows,): SENDER
    receiver: npt.NDArray[np.void]  # (flows,): RECEIVER
    sent: npt.NDArray[np.void]  # (flows, window): SENT, by number modulo the window
    arrived: npt.NDArray[np.int64]  # (flows, window): 0 missing, 1 here, 2 + tag here and the last of its message
    message: npt.NDArray[np.void]  # (flows, messages): MESSAGE, those that are offered


def new_flows(count: int, options: FlowOptions, messages: int) -> Flows:
    """Flows that have nothing to send. messages: the most that are under way on one, 1 at least."""
    sender, receiver = np.zeros(count, SENDER), np.zeros(count, RECEIVER)
    sender["payload"], sender["messages"] = options.payload_bytes, messages
    sender["rto_ns"], sender["rto_floor_ns"] = options.rto_initial_ns, options.rto_floor_ns
    sender["ack_delay_ns"] = options.ack_delay_ns
    sender["min_rtt_ns"] = sender["timer_ns"] = sender["reorder_ns"] = NEVER
    sender["cwnd"], sender["ssthresh"], sender["alpha"] = _INITIAL_WINDOW, np.inf, 1.0
    sender["gain"] = _GAIN
    receiver["answer_ns"], receiver["newest"] = NEVER, NONE
    return Flows(
        sender,
        receiver,
        np.zeros((count, options.window_packets), SENT),
        np.zeros((count, options.window_packets), np.int64),
        np.zeros((count, messages), MESSAGE),
    )


@native
def flow_take_data(flows: Flows, f: int, packet: npt.NDArray[np.uint32], now_ns: int) -> None:
    """A packet (WORDS,) of data has come. Take the messages out before the next one."""
    me = flows.receiver[f]
    window = flows.arrived.shape[1]
    seq = np.int64(packet[SEQ])
    me["marks"] += packet[MARKED] != 0
    me["pending"] += 1
    me["newest"] = seq
    if flows.sender[f]["gap_ns"] > 0:  # nobody asks for what is missing
        me["next"] = max(me["next"], seq + 1)
        me["taken"] = me["next"]
        me["bytes"] += packet[BYTES]
        me["pending"] = 0
        return
    expected = seq == me["next"] and me["pending"] < 2
    if seq >= me["next"] and seq < me["next"] + window and flows.arrived[f, seq & (window - 1)] == 0:
        flows.arrived[f, seq & (window - 1)] = 1 + np.int64(packet[LAST])
        me["bytes"] += packet[BYTES]
        while me["next"] - me["taken"] < window and flows.arrived[f, me["next"] & (window - 1)] > 0:
            me["next"] += 1
        expected = expected and me["next"] == seq + 1
    if not expected or packet[LAST] > 0:
        me["at_once"] = 1
    elif me["answer_ns"] == NEVER:
        me["answer_ns"] = now_ns + flows.sender[f]["ack_delay_ns"]


@native
def flow_message(flows: Flows, f: int) -> int:
    """The tag of the next message that has come whole, or NONE."""
    me = flows.receiver[f]
    window = flows.arrived.shape[1]
    while me["taken"] < me["next"]:
        last = flows.arrived[f, me["taken"] & (window - 1)] - 1
        flows.arrived[f, me["taken"] & (window - 1)] = 0
        me["taken"] += 1
        if last > 0:
            return int(last - 1)
    return NONE


@native
def flow_answer(flows: Flows, f: int, out: npt.NDArray[np.uint32], now_ns: int) -> tuple[int, int]:
    """Write an acknowledgement to out (n, WORDS) if it is time; return how many, and when to ask again."""
    me = flows.receiver[f]
    if not me["at_once"] and me["answer_ns"] > now_ns:
        return 0, me["answer_ns"]
    window = flows.arrived.shape[1]
    first = end = me["newest"]
    if first >= me["next"]:
        end += 1
        while first > me["next"] and flows.arrived[f, (first - 1) & (window - 1)]:
            first -= 1
        while end < me["next"] + window and flows.arrived[f, end & (window - 1)]:
            end += 1
    out[0, :] = 0
    out[0, FLOW], out[0, KIND], out[0, NEXT] = f, ACK, me["next"]
    out[0, RUN], out[0, RUN_END], out[0, MARKS] = first, end, me["marks"]
    me["pending"] = me["at_once"] = 0
    me["answer_ns"] = NEVER
    return 1, NEVER
