"""RTT estimate and time-outs: a smoothed time and its variation, as RFC 6298 keeps them.

The worker keeps its round trips so; the PS the time from first sight of a fragment to its completion, and the round
trips of its questions to switches and workers.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from esa.native import native_uncounted as native

NEVER = 2**62  # ns; a time that does not come
NS_PER_S = 1_000_000_000
SCANS_PER_FLOOR = 8  # timers are looked at no more often than that: many due at slightly different times cost one scan

ESTIMATE_FIELDS: list[tuple[str, Any]] = [
    ("srtt_ns", np.float64),  # 0: nothing measured yet
    ("rttvar_ns", np.float64),
    ("initial_rto_ns", np.int64),  # these three: configuration
    ("min_rto_ns", np.int64),
    ("max_rto_ns", np.int64),
]

_MAX_BACKOFF = 20  # doublings


@native
def update_rtt(estimate: Any, sample_ns: int) -> None:
    """Take in a sample (RFC 6298, 2.2 and 2.3), never of something that was sent twice (3: Karn's algorithm)."""
    if estimate["srtt_ns"] == 0.0:
        estimate["srtt_ns"] = max(float(sample_ns), 1.0)
        estimate["rttvar_ns"] = sample_ns / 2.0
    else:
        error = sample_ns - estimate["srtt_ns"]
        estimate["rttvar_ns"] += (abs(error) - estimate["rttvar_ns"]) / 4.0
        estimate["srtt_ns"] = max(estimate["srtt_ns"] + error / 8.0, 1.0)


@native
def rto_ns(estimate: Any, backoff: int) -> int:
    """Return the time-out after `backoff` doublings, between floor and ceiling (RFC 6298, 2.1, 2.4, 2.5, 5.5)."""
    if estimate["srtt_ns"] == 0.0:
        once = estimate["initial_rto_ns"]
    else:
        once = max(int(estimate["srtt_ns"] + 4.0 * estimate["rttvar_ns"]), estimate["min_rto_ns"])
    once = min(once, estimate["max_rto_ns"])
    return int(min(once << min(backoff, _MAX_BACKOFF), estimate["max_rto_ns"]))
