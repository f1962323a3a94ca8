"""What a worker waits for, as far as it knows: for people, not for the protocol."""

from __future__ import annotations

from typing import NamedTuple

from esa.protocol.worker_ring import WorkerState


class Waiting(NamedTuple):
    """What keeps an all-reduce. Bitmaps are (bitmap0, bitmap1), workers of one rack; (0, 0): none.

    seq:           of the oldest fragment without a result, 32 bits as on the wire
    since_ns:      when a result last came, or the first fragment after an idle time was sent
    computing:     workers that live, and have not sent their part yet
    silent:        workers that do not answer
    unheard:       the PS asks for this worker's own part, so what it sends does not arrive
    server_silent: no word from the PS for half of `give_up_s`, or none at all
    """

    seq: int
    since_ns: int
    computing: tuple[int, int]
    silent: tuple[int, int]
    unheard: bool
    server_silent: bool


def worker_waiting(state: WorkerState, now_ns: int) -> Waiting | None:
    """What a worker waits for, or waited for when it gave up; None: for nothing.

    The PS speaks several times a second while something is missing, so what it said long ago it might not say any more.
    As a race with the engine costs no more than a wrong word, no lock is needed.
    """
    me = state.worker[0]
    if me["base"] >= me["next"]:
        return None
    if me["failed"]:
        now_ns = int(me["failed_ns"])
    since_ns = int(me["progress_ns"])
    recent_ns = max(since_ns, now_ns - int(me["give_up_ns"]) // 2)
    missing, nobody = (int(me["missing0"]), int(me["missing1"])), (0, 0)
    told = me["missing_ns"] >= recent_ns and missing[0] != 0
    alive = me["alive_ns"] >= me["missing_ns"]
    return Waiting(
        seq=int(me["base"]) & 0xFFFFFFFF,
        since_ns=since_ns,
        computing=missing if told and alive else nobody,
        silent=missing if told and not alive else nobody,
        unheard=bool(me["unheard_ns"] >= recent_ns and me["unheard_ns"] > me["told_ns"]),
        server_silent=bool(me["heard_ns"] < recent_ns),
    )
