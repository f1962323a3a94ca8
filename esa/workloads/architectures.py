"""How large the layers of well-known models are and how much they compute: `shapes.csv`, made by `make_shapes.py`.

A job's buckets depend on where in a model the parameters lie, its overlap on where the work lies, and published tables
give little more than sums.
"""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path
from typing import NamedTuple

SHAPES = Path(__file__).with_name("shapes.csv")


class Layer(NamedTuple):
    """A module. `multiplications`: in the forward pass of a sample (BERT: a token), or another measure of work."""

    name: str
    parameters: int
    multiplications: int


Layers = tuple[Layer, ...]


@cache
def architectures() -> dict[str, Layers]:
    """Every model's layers, front (input) first."""
    found: dict[str, list[Layer]] = {}
    with SHAPES.open(newline="") as file:
        for row in csv.DictReader(file):
            layer = Layer(row["layer"], int(row["parameters"]), int(row["multiplications"]))
            found.setdefault(row["model"], []).append(layer)
    return {model: tuple(layers) for model, layers in found.items()}


def layers(model: str) -> Layers:
    """The layers of a model, front (input) first; ValueError names the models there are."""
    known = architectures()
    if model not in known:
        raise ValueError(f"model: unknown architecture '{model}'; allowed: {', '.join(known)}")
    return known[model]
