"""Schedulers by name: each is one function, `decide` (see `esa/cluster/scheduler.py`)."""

from __future__ import annotations

from collections.abc import Mapping

from esa.cluster.policies import fifo, first_fit, shortest_first, shortest_remaining
from esa.cluster.scheduler import Decide

SCHEDULERS: Mapping[str, Decide] = {
    "fifo": fifo.decide,
    "first-fit": first_fit.decide,
    "shortest-first": shortest_first.decide,
    "shortest-remaining": shortest_remaining.decide,
}
