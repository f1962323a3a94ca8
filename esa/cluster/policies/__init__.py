"""Schedulers by name: each is one function, `decide` (see `esa/cluster/scheduler.py`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from esa.cluster.policies import fifo, first_fit, least_attained, optimus, shortest_first, shortest_remaining, tiresias
from esa.cluster.policies.aryl import VARIANTS, Aryl
from esa.cluster.scheduler import Decide

if TYPE_CHECKING:  # it brings Numba along
    from esa.cluster.ones.predictor import Record

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


def _ones(seed: int, history: Sequence[Record], *, rules: str) -> Decide:
    from esa.cluster.ones import settings
    from esa.cluster.ones.policy import Ones

    return Ones(getattr(settings, rules), seed, history)


# What these go by besides is in their memory: what they have learned from jobs that are over. Made for a run, by a seed
# and what ended before it.
LEARNING: Mapping[str, Callable[[int, Sequence[Record]], Decide]] = {
    "ones": partial(_ones, rules="REPAIRED"),
    "ones-artefact": partial(_ones, rules="ARTEFACT"),
    "ones-network": partial(_ones, rules="NETWORK"),
}
NAMES = (*LABORATORY, *LEARNING)


def scheduler(name: str, seed: int, history: Sequence[Record] = ()) -> Decide:
    """One of `NAMES`, for a run."""
    return LEARNING[name](seed, history) if name in LEARNING else LABORATORY[name]
