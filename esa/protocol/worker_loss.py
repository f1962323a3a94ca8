"""When a worker resends: what RFC 8985 (RACK-TLP) and RFC 6298 compute, of the worker's record and a fragment's."""

from __future__ import annotations

from typing import Any

from esa.native import native_uncounted as native
from esa.protocol.rtt import rto_ns, update_rtt

_MIN_RTT_DRIFT = 1.0 / 1024.0  # of min_rtt, per sample towards it: paths change
_MEDIAN_STEP = 1.0 / 32.0  # by which median_rtt moves towards a sample, whatever their distance: a median
_SERVER_REO_WNDS = 3  # reordering windows: an answer by way of the PS takes that long
_MAX_PARALLEL = 16  # overtaken fragments that are resent at full pace; the next ones at half of it, a third, ...
_WORKERS_AT_FULL_PACE = 4  # of a job; of more, each takes that much longer, for their RESENDs meet in one PS
_SILENCE_DIVISOR = 8  # of the time since the last result: between two RESENDs of one fragment, at least
_TLP_RTTS = 2.0
_TLP_REO_WNDS = 4  # of the shortest reordering window: a tail loss probe comes no sooner
_TLP_EQUAL = 6  # probes before their intervals double, unless the PS says that it waits for others
# The reordering window grows where more results come in vain than fragments are mended by RESENDs, and not where fewer.
_MULT_GROWTH, _MULT_DECAY, _MAX_REO_WND_MULT = 1.1, 0.91, 6.0


@native
def on_rtt_sample(worker: Any, sample_ns: int) -> None:
    """Take in the round trip of a fragment that was sent once (Karn); track minimum and median.

    What waits for the smoothed one would wait for stragglers: it contains the time for which peers were held up.
    """
    update_rtt(worker, sample_ns)
    sample = float(sample_ns)
    if worker["median_rtt_ns"] == 0.0:
        worker["median_rtt_ns"] = worker["min_rtt_ns"] = max(sample, 1.0)
        return
    worker["median_rtt_ns"] *= 1.0 + (_MEDIAN_STEP if sample > worker["median_rtt_ns"] else -_MEDIAN_STEP)
    if sample < worker["min_rtt_ns"]:
        worker["min_rtt_ns"] = max(sample, 1.0)
    else:
        worker["min_rtt_ns"] += (sample - worker["min_rtt_ns"]) * _MIN_RTT_DRIFT


@native
def on_spurious_retransmission(worker: Any) -> None:
    """Widen the reordering window: the result of a resent fragment came again (as DSACK, RFC 8985 6.2, step 4)."""
    worker["reo_wnd_mult"] = min(worker["reo_wnd_mult"] * _MULT_GROWTH, _MAX_REO_WND_MULT)


@native
def on_needed_retransmission(worker: Any) -> None:
    """Narrow the reordering window: the result of a fragment that was resent came, so far once."""
    worker["reo_wnd_mult"] = max(worker["reo_wnd_mult"] * _MULT_DECAY, 1.0)


@native
def reo_wnd_ns(worker: Any) -> int:
    """Return how long an overtaken fragment may still be under way: RACK's reo_wnd, RFC 8985 6.2, step 4."""
    return int(max(worker["min_rtt_ns"] / 4.0, worker["min_reo_wnd_ns"]) * worker["reo_wnd_mult"])


@native
def loss_delay_ns(worker: Any, fragment: Any, older: int) -> int:
    """Return how long an overtaken fragment waits, from being overtaken (sent once) or from its last RESEND.

    What all workers of a job resend meets in their PS's link, and each of many resends what one of them lacks. Without
    any results the pace slows down with the time since the last.

    older: how many overtaken fragments there are before it; the window waits for the oldest.
    """
    wait_ns = reo_wnd_ns(worker)
    if fragment["transmissions"] > 1:
        wait_ns = max(wait_ns * _SERVER_REO_WNDS, int(worker["median_rtt_ns"]))
        wait_ns = wait_ns * max(worker["workers"], _WORKERS_AT_FULL_PACE) // _WORKERS_AT_FULL_PACE
        wait_ns *= 1 + older // _MAX_PARALLEL
    silence_ns = fragment["timer_start_ns"] - worker["last_progress_ns"]
    return int(min(max(wait_ns, silence_ns // _SILENCE_DIVISOR), worker["max_rto_ns"]))


@native
def pto_ns(worker: Any) -> int:
    """Return how long those beyond the highest result wait, from the last result or probe (RFC 8985, 7.2)."""
    tlp_ns = _tlp_timeout_ns(worker)
    return tlp_ns if tlp_ns else rto_ns(worker, worker["rto_count"])


@native
def next_probe_size(worker: Any) -> int:
    """Count a probe; return how many of those beyond the highest result it resends.

    The number doubles while probes get no answer: a window lost whole is recovered in logarithmically many rounds.
    """
    if _tlp_timeout_ns(worker):
        worker["tlp_count"] += 1
        return 1
    worker["rto_count"] += 1
    if _waits_for_stragglers(worker):
        return 1
    size = worker["probe_size"]
    worker["probe_size"] = min(2 * worker["probe_size"], worker["max_window"])
    return int(size)


@native
def _tlp_timeout_ns(worker: Any) -> int:
    """Return the time to the next tail loss probe (RFC 8985, 7.2); 0: it is the ordinary timer's turn (RFC 6298).

    Silence may be a lost probe, so the first few come at equal intervals, unless the PS says that it waits for others.
    """
    if worker["min_rtt_ns"] == 0.0:
        return 0
    first_ns = int(max(_TLP_RTTS * worker["min_rtt_ns"], _TLP_REO_WNDS * worker["min_reo_wnd_ns"]))
    equal = 0 if _waits_for_stragglers(worker) else _TLP_EQUAL
    tlp_ns = first_ns << max(worker["tlp_count"] - equal, 0)
    return int(tlp_ns) if tlp_ns < rto_ns(worker, 0) else 0


@native
def _waits_for_stragglers(worker: Any) -> bool:
    """Return whether the PS has said, since the last result, that it has this worker's part and waits for others."""
    return bool(worker["straggler_notice_ns"] > worker["last_progress_ns"])
