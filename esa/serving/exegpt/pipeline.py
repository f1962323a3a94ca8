"""GPUs in a row under partial tensor parallelism: stages, their layers, and what passes through them takes.

    row = pipeline(layers=40, gpus=4, degree=2, together=2)      # a group of two, and two GPUs by themselves: 3 stages
    passed_s(row.stages_s(layer_s, send_s), 3)

`together` GPUs are in groups of `degree`; each group is a stage, and so is every other GPU. Layers are split in
proportion to a stage's GPUs (the paper does not say how), so a group of two has as many as the two stages that it
replaces.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from esa.errors import BadInput


class Pipeline(NamedTuple):
    """Stages in their order: GPUs of each, which is its degree, and layers."""

    gpus: tuple[int, ...]
    layers: tuple[int, ...]

    def stages_s(self, layer_s: Callable[[int], float], send_s: float) -> list[float]:
        """What each takes. layer_s: of a layer, by degree; send_s: to the next stage."""
        by_degree = {tp: layer_s(tp) for tp in set(self.gpus)}
        found = [count * by_degree[tp] + send_s for tp, count in zip(self.gpus, self.layers, strict=True)]
        found[-1] -= send_s
        return found


def pipeline(layers: int, gpus: int, degree: int, together: int) -> Pipeline:
    """BadInput for groups that cannot be, and more stages than layers."""
    if gpus < 1 or degree < 1 or together % degree or not 0 <= together <= gpus:
        raise BadInput(f"{together} of {gpus} GPUs in groups of {degree}; allowed: whole groups, of what there is")
    sizes = (degree,) * (together // degree) + (1,) * (gpus - together)
    if len(sizes) > layers:
        raise BadInput(f"{len(sizes)} stages of {layers} layers; allowed: a layer each")
    ends = [round(layers * sum(sizes[: place + 1]) / gpus) for place in range(len(sizes))]
    counts = tuple(end - start for start, end in zip([0, *ends], ends, strict=False))
    return Pipeline(sizes, counts)


def passed_s(stages: Sequence[float], batches: int) -> float:
    """From when the first of so many batches enters to when the last one leaves."""
    return sum(stages) + (batches - 1) * max(stages)


def round_s(stages: Sequence[float], batches: int) -> float:
    """From a batch's entry to its next one, where each goes round again: as many follow as there are."""
    return max(sum(stages), batches * max(stages))
