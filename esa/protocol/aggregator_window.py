"""The aggregator window: how many of a worker's fragments may be in flight, by those that are split for want of rows.

A fragment is split if a row that it needs, or sits in, is another's: its parts then meet in the PS, which says so in
the RESULT (COLLISION). That costs the PS's link several packets, and all workers the way there. After A2TP
(EuroSys'23), whose workers have a window for aggregators beside that for links; the rule is ours:

    split       the window is _DECREASE fragments smaller
    not split   it is _INCREASE / window larger, so that at rest _INCREASE / _DECREASE fragments of a window are split

between a part of the job's window (`least_window`: a link that idles costs more than what is split) and all of it. A
loss is no sign of scarce rows, and does not shrink it: what waits for a RESEND is ahead of the others by the span.
"""

from __future__ import annotations

from typing import Any

from esa.native import native_uncounted as native

_LEAST_PART = 0.3
_INCREASE, _DECREASE = 8.0, 4.0


def least_window(window: int) -> int:
    """Return how many fragments may be in flight however scarce rows are, of a worker with such a window."""
    return max(1, round(_LEAST_PART * window))


@native
def on_result(worker: Any, split: bool) -> None:
    """Adapt the window to the first result of a fragment."""
    if split:
        worker["agg_window"] = max(worker["agg_window"] - _DECREASE, worker["min_agg_window"])
    else:
        worker["agg_window"] = min(worker["agg_window"] + _INCREASE / worker["agg_window"], float(worker["max_window"]))
