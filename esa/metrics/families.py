"""What metrics are called and mean: plain values, by Prometheus' conventions (prometheus.io/docs/practices/naming)."""

from __future__ import annotations

from typing import NamedTuple

COUNTER = "_total"  # ends the names of counters; everything else is a gauge


class Family(NamedTuple):
    """One metric with its labels. A counter's name ends in `_total`, a gauge's in its unit where it has one."""

    name: str
    help: str
    labels: tuple[str, ...] = ()

    @property
    def is_counter(self) -> bool:
        return self.name.endswith(COUNTER)


class Sample(NamedTuple):
    """A value of a family; `labels` are the labels' values, in their order."""

    family: Family
    value: float
    labels: tuple[str, ...] = ()
