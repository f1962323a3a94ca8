"""How long is too long: a smoothed time and its deviation, as RFC 6298 keeps them.

The worker measures round trips with it, the PS the time from first sight of a fragment to its completion, and how long
answers to its questions take.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from esa.native import native

NEVER = 2**62  # ns; a time that does not come
NS_PER_S = 1_000_000_000
SCANS_PER_FLOOR = 8  # timers are looked at no more often than that: many due at slightly different times cost one scan

ESTIMATE_FIELDS: list[tuple[str, Any]] = [
    ("smoothed_ns", np.float64),  # 0: nothing measured yet
    ("deviation_ns", np.float64),
    ("initial_ns", np.int64),
    ("floor_ns", np.int64),
    ("ceiling_ns", np.int64),
]

_MAX_DOUBLINGS = 20


@native
def measure(record: Any, sample_ns: int) -> None:
    """Take a sample into the record's estimate. Never of something that was asked for twice (Karn)."""
    if record["smoothed_ns"] == 0.0:
        record["smoothed_ns"] = max(float(sample_ns), 1.0)
        record["deviation_ns"] = sample_ns / 2.0
    else:
        error = sample_ns - record["smoothed_ns"]
        record["deviation_ns"] += (abs(error) - record["deviation_ns"]) / 4.0
        record["smoothed_ns"] = max(record["smoothed_ns"] + error / 8.0, 1.0)


@native
def patience_ns(record: Any, doublings: int) -> int:
    """How long to wait before asking again, after asking `doublings` times already: between floor and ceiling."""
    if record["smoothed_ns"] == 0.0:
        once = record["initial_ns"]
    else:
        once = max(int(record["smoothed_ns"] + 4.0 * record["deviation_ns"]), record["floor_ns"])
    once = min(once, record["ceiling_ns"])
    return int(min(once << min(doublings, _MAX_DOUBLINGS), record["ceiling_ns"]))
