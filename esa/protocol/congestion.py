"""The congestion window: how many of a worker's fragments may be in flight, by the marks that results bring back.

A switch marks what finds its queue long; a row and the PS keep the mark with the sum, so every worker of the job reads
it in the same RESULT. What a worker makes of it is the job's rule (`Job.congestion`):

    none    nothing: as many as the job's window says, all the time
    aimd    half the window on a mark, as for a lost packet (RFC 3168, 6.1.2): fair to ordinary TCP
    dctcp   the window smaller in proportion to how many were marked (RFC 8257, 3.3): fair to TCP that does so, too

Both cut once per window of data at most, begin with slow start (RFC 5681, 3.1), and widen by one full Ethernet frame's
bytes per window afterwards, which is what TCP's segments are: by packets, a job of small ones would get less. Where no
switch adds them up, the packets of all workers meet before the PS: their windows grow by that together. They grow only
while it is the window that holds the sender back (RFC 7661, 4.3). A loss is no sign: losses are mended in
`worker_loss.py`, and a link that is bad is not full.
"""

from __future__ import annotations

from typing import Any

from esa.native import native_uncounted as native

RULES = ("none", "aimd", "dctcp")
NONE, AIMD, DCTCP = range(3)
INITIAL_PACKETS = 10  # RFC 6928, of all workers of a job together: they begin at once, and may meet in one queue
FULL_FRAME_BYTES = 1500
_GAIN = 1 / 16  # RFC 8257, 4.2


def initial_window(rule: str, window: int, workers: int) -> int:
    """With how many fragments in flight a worker begins."""
    return window if rule == "none" else min(window, max(1, INITIAL_PACKETS // workers))


def window_increase(frame_bytes: int, senders: int = 1) -> float:
    """By how many packets of `frame_bytes` the window of each of so many is wider after one that met no mark."""
    return FULL_FRAME_BYTES / frame_bytes / senders


@native
def on_result(worker: Any, seq: int, marked: bool) -> None:
    """Adapt cwnd to the first result of a fragment."""
    rule = worker["congestion"]
    if rule == NONE:
        return
    worker["round_acked"] += 1
    worker["round_marked"] += marked
    if marked:
        # What was sent before the last cut met the queue of before.
        if seq >= worker["cut_end"]:
            part = worker["alpha"] / 2 if rule == DCTCP else 0.5
            worker["cwnd"] = worker["ssthresh"] = max(worker["cwnd"] * (1 - part), 1.0)
            worker["cut_end"] = worker["snd_nxt"]
    elif worker["cwnd_limited"] and seq >= worker["cut_end"]:
        step = 1.0 if worker["cwnd"] < worker["ssthresh"] else worker["cwnd_increase"] / worker["cwnd"]
        worker["cwnd"] = min(worker["cwnd"] + step, float(worker["max_window"]))
    if seq >= worker["round_end"]:
        worker["alpha"] += _GAIN * (worker["round_marked"] / worker["round_acked"] - worker["alpha"])
        worker["round_acked"] = worker["round_marked"] = 0
        worker["round_end"] = worker["snd_nxt"]
