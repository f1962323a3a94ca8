"""Schedulers by name: each is one function, `decide` (see `esa/cluster/scheduler.py`)."""

from __future__ import annotations

from collections.abc import Mapping

from esa.cluster.policies import fifo, first_fit, least_attained, optimus, shortest_first, shortest_remaining, tiresias
from esa.cluster.policies.aryl import VARIANTS, Aryl
from esa.cluster.scheduler import Decide

SCHEDULERS: Mapping[str, Decide] = {
    "fifo": fifo.decide,
    "first-fit": first_fit.decide,
    "shortest-first": shortest_first.decide,
    "shortest-remaining": shortest_remaining.decide,
}
# What these go by besides, the GPU time that a job has had and sizes that it can do with, the laboratory alone tells.
# At every tick the one with the least gets the GPUs of the one with the most: a turn has to get a job on.
TAKING_TURNS = ("least-attained",)
LABORATORY: Mapping[str, Decide] = {
    **SCHEDULERS,
    "least-attained": least_attained.decide,
    "tiresias": tiresias.decide,
    "optimus": optimus.decide,
    **{name: Aryl(rules) for name, rules in VARIANTS.items()},
}
