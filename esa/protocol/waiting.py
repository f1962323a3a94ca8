"""What a worker waits for, as far as it knows: for people to read; the protocol does not use it."""

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
    """Return what a worker waits for, or waited for when it gave up; None: for nothing.

    The PS speaks several times a second while something is missing, so what it said long ago it might not say any more.
    As a race with the engine costs no more than a wrong word, no lock is needed.
    """
    worker = state.worker[0]
    if worker["snd_una"] >= worker["snd_nxt"]:
        return None
    if worker["failed"]:
        now_ns = int(worker["failed_ns"])
    since_ns = int(worker["last_progress_ns"])
    recent_ns = max(since_ns, now_ns - int(worker["give_up_ns"]) // 2)
    missing, nobody = (int(worker["straggler_bitmap0"]), int(worker["straggler_bitmap1"])), (0, 0)
    told = worker["straggler_query_ns"] >= recent_ns and missing[0] != 0
    alive = worker["stragglers_alive_ns"] >= worker["straggler_query_ns"]
    return Waiting(
        seq=int(worker["snd_una"]) & 0xFFFFFFFF,
        since_ns=since_ns,
        computing=missing if told and alive else nobody,
        silent=missing if told and not alive else nobody,
        unheard=bool(
            worker["own_missing_ns"] >= recent_ns and worker["own_missing_ns"] > worker["straggler_notice_ns"]
        ),
        server_silent=bool(worker["last_query_ns"] < recent_ns),
    )
