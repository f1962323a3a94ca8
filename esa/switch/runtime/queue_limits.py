"""How fast a port's queue sends, and how much waits in it: what clients say who have no compiler."""

from __future__ import annotations

from dataclasses import dataclass

DEFAULT_DEPTH = 64  # packets: BMv2's


@dataclass(frozen=True)
class QueueLimit:
    """How fast a queue sends, in one of two units or (both None) as fast as it can, and how many packets may wait."""

    # Checked at the doors (`options.py`, `queue_settings.py`): a rate is above 0, the depth 1 or more.
    rate_pps: float | None = None
    rate_bps: float | None = None
    depth: int = DEFAULT_DEPTH
