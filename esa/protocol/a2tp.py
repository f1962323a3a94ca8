"""A2TP's aggregator window: which of a worker's fragments may take rows, by the sums whose rows others wanted.

A row that another's packet met, in vain, is marked, and its sum says so (CONTESTED): all workers of the job read it in
the same RESULT. Once a window of fragments, with the result of its last (A2TP: EuroSys'23; released code
CSU-NetLab/A2TP-Eurosys2023 c69b416, `adjustWindow` in common/CC_manager.h, its call in client/p4ml_manager.cc):

    beta     the smoothed part of the aggregator window that was contested
    gamma    the smoothed straggling degree: the part of a window that is acked, in order, a base round trip after the
             last window's end; 1 where nobody straggles
    window   where something was contested, and beta is above a tenth: smaller by the part (beta - 0.1)^gamma / 1.9;
             else one fragment larger; whole fragments, at least one, at most cwnd

A base below one under a smaller exponent is larger: a job that straggles gives up more. So many fragments of a window,
the first ones, are sent to rows; the others leave as RESENDs, past all rows to the PS, and hold nothing back.

Ours: windows are tiled over seqs, so that all workers take the same fragments for the first, where the released client
counts what it sends from the time of its last adjustment; and the base round trip is the shortest of late, where it has
20 us. A degree is measured within five of these, as there (100 us): what takes longer is no straggler but a pause.
"""

from __future__ import annotations

from typing import Any

from esa.native import native_uncounted as native

_PART_GAIN = 1 / 8
_DEGREE_GAIN = 1 / 64
_THRESHOLD = 0.1
_LONGEST_RTTS = 5


@native
def takes_row(worker: Any, seq: int) -> bool:
    """Return whether a fragment is one of the first of its window, that may take a row."""
    return bool(seq < worker["rows_end"] or worker["next_rows_start"] <= seq < worker["next_rows_end"])


@native
def on_result(worker: Any, seq: int, contested: bool, now_ns: int) -> None:
    """Count the first result of a fragment, after snd_una and cwnd have moved; with a window's last, adapt."""
    passed_ns = now_ns - worker["agg_round_ns"]
    base_ns = worker["min_rtt_ns"]
    if not worker["degree_measured"] and base_ns < passed_ns < _LONGEST_RTTS * base_ns:
        acked = worker["snd_una"] - worker["agg_round_una"]
        worker["degree"] = min(acked / worker["agg_round"], 1.0)
        worker["degree_measured"] = 1
    worker["contested"] += contested
    if seq >= worker["agg_round_end"]:
        _adapt(worker)
        worker["agg_round_ns"] = now_ns
        worker["agg_round_una"] = worker["snd_una"]


@native
def _adapt(worker: Any) -> None:
    """Set the window for what is sent after all that may be in flight now."""
    worker["gamma"] += _DEGREE_GAIN * (worker["degree"] - worker["gamma"])
    worker["beta"] += _PART_GAIN * (worker["contested"] / worker["agg_window"] - worker["beta"])
    window = worker["agg_window"]
    if worker["contested"] > 0 and worker["beta"] > _THRESHOLD:
        window *= 1 - (worker["beta"] - _THRESHOLD) ** worker["gamma"] / (2 - _THRESHOLD)
    else:
        window += 1
    round_size = max(int(worker["cwnd"]), 1)
    window = min(max(int(window), worker["min_agg_window"]), round_size)
    worker["agg_window"] = float(window)
    worker["rows_end"] = worker["next_rows_end"]
    worker["next_rows_start"] = worker["agg_round_end"] + 1 + round_size
    worker["next_rows_end"] = worker["next_rows_start"] + window
    worker["agg_round"] = round_size
    worker["agg_round_end"] += round_size
    worker["contested"] = worker["degree_measured"] = 0
    worker["degree"] = 1.0
