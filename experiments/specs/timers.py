"""[timers]: when workers and PSs ask again, and how long they wait for somebody."""

from __future__ import annotations

from esa.job import MAX_FAN_IN
from experiments.specs.keys import MAX_TIME_S, Finite, key

_US = {
    "unit": "us",
    "absent": "follows from the network in virtual time; the real endpoints' live",
    "gt": 0,
    "le": 60e6,
}


class TimerSpec(Finite):
    """What is left out suits the backend: real hosts' milliseconds would be thousands of virtual round trips."""

    rto_initial_us: float | None = key("a worker's time-out before a round trip was measured", None, **_US)
    rto_floor_us: float | None = key("the shortest time-out of a worker", None, **_US)
    rto_ceiling_us: float | None = key("the longest time between two resends of a fragment", None, **_US)
    overtaken_floor_us: float | None = key("so much reordering is no loss", None, **_US)
    patience_initial_us: float | None = key(
        "from a PS's first sight of a fragment to its first question, at first", None, **_US
    )
    patience_floor_us: float | None = key("that time at least", None, **_US)
    patience_ceiling_us: float | None = key("between two questions about a fragment at most", None, **_US)
    answer_initial_us: float | None = key(
        "from a PS's question, or a RESEND, to its next question, before an answer was measured", None, **_US
    )
    answer_floor_us: float | None = key("that time at least", None, **_US)
    ask_ahead: int = key(
        "a PS asks at first sight of a preempted fragment if no more workers than these are missing",
        4,
        unit="workers",
        ge=0,
        le=MAX_FAN_IN,
    )
    ask_peer: bool = key(
        "a PS under `esa` that knows nothing of a fragment but that somebody lacks its sum asks a peer at once", True
    )
    give_up_s: float = key("how long a silent member is waited for", 30.0, unit="s", gt=0, le=MAX_TIME_S)
    wait_limit_s: float = key(
        "how long a worker that answers, but computes, is waited for", 1800.0, unit="s", gt=0, le=MAX_TIME_S
    )
