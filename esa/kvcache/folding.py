"""ZeroC on a model: its heads' rotations folded into the weights, and what they keep (`rotation.py`, `keep.py`).

    turned, singular = folded(model, samples)
    cut = with_cuts(turned, lambda layer: Cut(key=32, value=32))

A rotation is learned from hidden states of sample text and used from then on: it costs nothing at run time. With rotary
embeddings between projection and score it changes what the model says, which is measured and not repaired.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import torch

from esa.kvcache.keep import STEP, channels
from esa.kvcache.model import Cut, Layer, Model, attention, normal, one_thread, with_cuts
from esa.kvcache.rotation import fold, fold_output, rotation


class Singular(NamedTuple):
    """Of a layer's heads, (heads, dim), never rising: of queries and keys, of values and output."""

    key: torch.Tensor
    value: torch.Tensor


@one_thread()
@torch.no_grad()
def folded(model: Model, samples: torch.Tensor) -> tuple[Model, list[Singular]]:
    """The model with rotations in its weights, of the same shapes. samples: (batch, tokens) bytes."""
    hidden, layers, singular = model.embed(samples), [], []
    for layer in model.layers:
        mine, found = _turned(layer, normal(hidden).reshape(-1, model.shape.hidden))
        layers.append(mine)
        singular.append(found)
        hidden = model.after(layer, hidden, attention(model.shape, layer.cut, *model.heads_of(layer, hidden)))
    return replace(model, layers=tuple(layers)), singular


def _turned(layer: Layer, inner: torch.Tensor) -> tuple[Layer, Singular]:
    new: dict[str, list[torch.Tensor]] = {"query": [], "key": [], "value": [], "output": []}
    singular: tuple[list[torch.Tensor], list[torch.Tensor]] = [], []
    for query, key, value, output in zip(layer.query, layer.key, layer.value, layer.output, strict=True):
        of_keys = rotation(inner @ query, inner @ key)
        of_values = rotation(inner @ value, output.T)
        new["query"].append(fold(query, of_keys.vectors))
        new["key"].append(fold(key, of_keys.vectors))
        new["value"].append(fold(value, of_values.vectors))
        new["output"].append(fold_output(output, of_values.vectors))
        singular[0].append(of_keys.singular)
        singular[1].append(of_values.singular)
    query, key, value, output = (torch.stack(each) for each in new.values())
    turned = replace(layer, query=query, key=key, value=value, output=output)
    return turned, Singular(*(torch.stack(each) for each in singular))


def by_energy(
    model: Model, singular: list[Singular], energy: float, *, recent: int | None = None, factor: float = 1.0
) -> Model:
    """The model with the fewest channels by layer that have this part of the squares, in every head. recent, factor:
    of tokens that are further away the factor of these.
    """

    def fewest(of: torch.Tensor, share: float) -> int:
        return max(channels(head.tolist(), energy, factor=share, step=STEP) for head in of)

    def cut(layer: int) -> Cut:
        mine = singular[layer]
        old = (fewest(mine.key, factor), fewest(mine.value, factor)) if recent is not None else (None, None)
        return Cut(fewest(mine.key, 1.0), fewest(mine.value, 1.0), recent, *old)

    return with_cuts(model, cut)


def kept_part(model: Model) -> float:
    """Of all channels of K and V, those that are kept; of old tokens' where there are classes."""
    parts = []
    for layer in model.layers:
        dim = layer.key.shape[-1]
        cut = layer.cut
        key, value = (cut.key, cut.value) if cut.recent is None else (cut.old_key, cut.old_value)
        parts += [min(dim, dim if each is None else each) / dim for each in (key, value)]
    return sum(parts) / len(parts)
