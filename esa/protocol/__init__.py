"""Worker and PS as state machines: packets and times in, packets out. No I/O, no clock.

    state = worker_state(job=1, epoch=0, rank=0, window=8, lanes=64)
    worker_feed(state, lanes, 0, 4, 128, exponents)      # four fragments of an array, priority 128, an int8 each
    count, wake_ns = worker_send(state, out, now_ns)     # out[:count] goes to the PS, see server_number
    worker_receive(state, packets, count, now_ns)        # what came back
    taken = worker_drain(state, lanes, 0, 4, exponents)  # the sums, in order, and the largest exponents

A state is a NamedTuple of arrays and every function is native code without the interpreter lock, so sockets and
virtual time use the same ones. docs/protocol.md says why the protocol is so, docs/naming.md what its words mean.
"""

from esa.protocol.packets import HEADER_WORDS, Words, as_packets, server_number, words
from esa.protocol.rtt import NEVER
from esa.protocol.server import server_receive
from esa.protocol.server_ring import MULTICAST, UNKNOWN_SENDER, ServerState, server_change_policy, server_state
from esa.protocol.server_send import server_send
from esa.protocol.timers import Timers
from esa.protocol.waiting import Waiting, worker_waiting
from esa.protocol.worker import worker_receive, worker_send
from esa.protocol.worker_ring import (
    NOT_YET,
    WorkerState,
    ring_slots,
    worker_drain,
    worker_feed,
    worker_ready,
    worker_room,
    worker_state,
)

__all__ = [
    "HEADER_WORDS",
    "MULTICAST",
    "NEVER",
    "NOT_YET",
    "UNKNOWN_SENDER",
    "ServerState",
    "Timers",
    "Waiting",
    "Words",
    "WorkerState",
    "as_packets",
    "ring_slots",
    "server_change_policy",
    "server_number",
    "server_receive",
    "server_send",
    "server_state",
    "words",
    "worker_drain",
    "worker_feed",
    "worker_ready",
    "worker_receive",
    "worker_room",
    "worker_send",
    "worker_state",
    "worker_waiting",
]
