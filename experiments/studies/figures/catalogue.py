"""All figures, in the order in which they are drawn."""

from __future__ import annotations

from experiments.studies.figures import (
    ablations,
    bound,
    claim,
    jct_jobs,
    jct_loss,
    jct_memory,
    jct_mix,
    jct_workers,
    memory_load_map,
    occupancy,
    order,
    ps_traffic,
    scale,
    sensitivity,
    two_racks,
)
from experiments.studies.figures.figure import Figure

_MODULES = (
    claim,
    jct_memory,
    bound,
    ps_traffic,
    occupancy,
    jct_jobs,
    jct_mix,
    jct_workers,
    jct_loss,
    ablations,
    order,
    two_racks,
    memory_load_map,
    sensitivity,
    scale,
)
_ALL = [module.FIGURE for module in _MODULES]
_ALL.insert(_ALL.index(jct_loss.FIGURE) + 1, jct_loss.AMPLE)
FIGURES: dict[str, Figure] = {figure.name: figure for figure in _ALL}
