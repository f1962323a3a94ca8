"""Rates at which jobs send side by side: equal shares of cables (max-min), up to what each is able to by itself."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import NamedTuple

from esa.network_times.load import Cables, Load


class Share(NamedTuple):
    """rate: fragments of a rank in a nanosecond; beside: the part of them that the PS adds; rows: of a switch that the
    job holds.
    """

    rate: float
    beside: float
    rows: float = 0.0


def mixed(load: Load, beside: float) -> Cables:
    """What a fragment takes of each cable in the mean. beside: the part of them that the PS adds."""
    if beside == 0.0:
        return load.summed
    return {
        cable: (1 - beside) * load.summed.get(cable, 0.0) + beside * load.beside.get(cable, 0.0)
        for cable in {**load.summed, **load.beside}
    }


def max_min(cables: Mapping[int, Cables], caps: Mapping[int, float], weights: Mapping[int, float]) -> dict[int, float]:
    """Rates that rise together, each by its weight, until a cable is full or a job's cap is reached; those stay, the
    others go on rising. cables: by job, what a unit takes of each cable, of which there is 1.
    """
    rates: dict[int, float] = {}
    left: dict[Hashable, float] = {cable: 1.0 for mine in cables.values() for cable in mine}
    rising, level = [*cables], 0.0
    while rising:
        weight: dict[Hashable, float] = {}
        for job in rising:
            for cable, each in cables[job].items():
                weight[cable] = weight.get(cable, 0.0) + weights[job] * each
        room = {cable: left[cable] / together for cable, together in weight.items() if together > 0}
        step = max(
            0.0, min(min(room.values(), default=math.inf), min(caps[job] / weights[job] - level for job in rising))
        )
        level += step
        for cable, together in weight.items():
            left[cable] -= step * together
        full = {cable for cable, more in room.items() if more <= step * (1 + 1e-9)}
        going = []
        for job in rising:
            if caps[job] <= weights[job] * level * (1 + 1e-9) or not full.isdisjoint(cables[job]):
                rates[job] = weights[job] * level
            else:
                going.append(job)
        rising = going
    return rates
