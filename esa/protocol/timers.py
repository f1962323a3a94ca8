"""How long workers and PSs wait before they ask again."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Timers:
    """Settings of workers (`rto`, `overtaken`) and PSs (the others); the defaults suit real hosts.

    How long somebody is waited for at all is the job's: `give_up_s` and `wait_limit_s` in `esa.job.Job`.

    rto_initial_ns:       nanoseconds; a worker's time-out for what nothing has overtaken, before any is measured
    rto_floor_ns:         nanoseconds; that time-out at least: a peer that computes so long is no loss
    rto_ceiling_ns:       nanoseconds; between two resends of a fragment at most
    overtaken_floor_ns:   nanoseconds; an overtaken fragment is resent no sooner: so much reordering is no loss
    patience_initial_ns:  nanoseconds; from a PS's first sight of a fragment to its first question, at first
    patience_floor_ns:    nanoseconds; that time at least
    patience_ceiling_ns:  nanoseconds; between two questions about a fragment at most
    answer_initial_ns:    nanoseconds; from a question, or a RESEND, to the next question, before an answer was measured
    answer_floor_ns:      nanoseconds; that time at least
    ask_ahead:            workers; a PS asks at first sight of a preempted fragment if no more than these are missing
    ask_peer:             whether a PS whose policy has it so (`Policy.asks_peer`) asks a peer at once
    unhurried_initial_ns: nanoseconds; patience_initial_ns at least, where no switch holds rows of the job
    unhurried_floor_ns:   nanoseconds; patience_floor_ns at least, likewise
    """

    rto_initial_ns: int = 50_000_000
    rto_floor_ns: int = 10_000_000
    rto_ceiling_ns: int = 1_000_000_000
    overtaken_floor_ns: int = 2_000_000
    patience_initial_ns: int = 10_000_000
    patience_floor_ns: int = 2_000_000
    patience_ceiling_ns: int = 200_000_000
    answer_initial_ns: int = 10_000_000
    answer_floor_ns: int = 2_000_000
    ask_ahead: int = 4
    ask_peer: bool = True
    unhurried_initial_ns: int = 50_000_000
    unhurried_floor_ns: int = 20_000_000
