"""Timers that suit a simulated network. Those of real hosts, milliseconds, would be thousands of round trips."""

from __future__ import annotations

from esa.protocol.timers import Timers

_US = 1000
# At least, however short the round trip.
RTO_INITIAL_NS, RTO_CEILING_NS = 1000 * _US, 20_000 * _US
PATIENCE_INITIAL_NS, PATIENCE_CEILING_NS = 500 * _US, 5000 * _US


def timers_for(round_trip_ns: int) -> Timers:
    """Timers for a network of that base round trip, in nanoseconds.

    An aggregate waits for the slowest worker, so a worker's time-out is many round trips, and so is a PS's patience
    with what it sees for the first time. The other floors are parts of a round trip: what is measured (the shortest
    one, how much is overtaken in vain, how long answers take) lies above them.
    """
    rto_ns, patience_ns = max(200 * _US, 20 * round_trip_ns), max(50 * _US, 2 * round_trip_ns)
    rto_initial_ns, patience_initial_ns = max(RTO_INITIAL_NS, rto_ns), max(PATIENCE_INITIAL_NS, patience_ns)
    return Timers(
        rto_initial_ns,
        rto_ns,
        max(RTO_CEILING_NS, 4 * rto_ns, rto_initial_ns),
        max(1, round_trip_ns // 8),
        patience_initial_ns,
        patience_ns,
        max(PATIENCE_CEILING_NS, 4 * patience_ns, patience_initial_ns),
        answer_initial_ns=max(1, round_trip_ns),
        answer_floor_ns=max(1, round_trip_ns // 2),
    )
