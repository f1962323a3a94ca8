"""What one switch counts by job, and the rows in use that follow from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from controller.client import Switch
from esa.entries import job_entries as e

RULES = {  # of admission, by the reason that the switch counts
    "malformed": "no ESA packet, or a wrong checksum, as offloads leave it: esa doctor",
    "unknown sender": "no sender of the run has this port, address and UDP port: esactl job show",
    "unknown job": "the run has no policy on the switch",
    "bitmap": "it speaks for another worker than its address says",
    "kind": "its sender may not say this",
    "other run": "its run has ended, or never was on this switch",
}


@dataclass(frozen=True)
class Occupancy:
    """Rows in use: by job name, those that removed jobs left behind, and how many rows there are."""

    jobs: Mapping[str, int]
    left_behind: int
    rows: int

    @property
    def total(self) -> int:
        return sum(self.jobs.values()) + self.left_behind


def read(switch: Switch, indices: Sequence[int]) -> list[dict[str, int]]:
    """Read counters by job index, in one request; index 0 counts packets and rows of no job."""
    cells = [(counter, index) for index in indices for counter in e.COUNTERS.values()]
    values = iter(switch.read_counters(cells))
    return [{name: next(values) for name in e.COUNTERS} for _ in indices]


def denied_by_reason(switch: Switch) -> dict[str, int]:
    """Read how many packets admission dropped, over all jobs and none."""
    counts = switch.read_counters([(e.DENIED_BY_REASON, index) for index in range(len(e.DENY_REASONS))])
    return dict(zip(e.DENY_REASONS, counts, strict=True))


def denied_in_words(before: Mapping[str, int], now: Mapping[str, int]) -> str:
    """Return what was denied since `before`, when a run began, with the rule of each reason; empty: nothing."""
    denied = {reason: now[reason] - before.get(reason, 0) for reason in e.DENY_REASONS}
    counted = ", ".join(f"{count} as {reason} ({RULES[reason]})" for reason, count in denied.items() if count > 0)
    return f"since the run began the switch has denied {counted}" if counted else ""


def retire(switch: Switch, index: int) -> None:
    """Set a removed job's counters to zero; the rows that it still holds are counted for index 0 from now on.

    Whoever takes one of them later releases it there, since the job's owner entry is gone by now. So the sum over all
    indices stays the number of rows in use.
    """
    (counters,) = read(switch, [index])
    if not any(counters.values()):
        return
    seated = e.COUNTERS["seated"]
    (left_behind,) = switch.read_counters([(seated, 0)])
    left_behind += counters["seated"] - counters["released"]
    zeros = [(counter, index, 0) for counter in e.COUNTERS.values()]
    switch.write_counters([(seated, 0, left_behind), *zeros])


def rows_in_use(counters: Mapping[str, int]) -> int:
    """Seated minus released. The two are not read at one instant, so their difference can fall short of zero."""
    return max(0, counters["seated"] - counters["released"])
