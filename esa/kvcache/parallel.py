"""Attention over a sequence that GPUs share, with exchanges of cut heads: ZeroC's sequence parallelism, reconstructed.

    mixed, sent = sequence_parallel(shape, Cut(key=16, value=16), query, key, value, gpus=2)

Each GPU has a part of the tokens, all heads of them. All-to-alls of queries, keys and values (Ulysses) give it some
heads of all tokens; it attends; another one brings the results back. What is exchanged is what is kept of the channels,
and nothing is decompressed: the output projection takes cut values as they are.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from esa.errors import BadInput
from esa.kvcache.model import Cut, Shape, attention

_HALF = 2  # bytes of a value


def sequence_parallel(
    shape: Shape, cut: Cut, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *, gpus: int
) -> tuple[torch.Tensor, list[int]]:
    """query, key, value: (heads, tokens, dim), rotated. (heads, tokens, kept of values), and the bytes that each GPU
    sends, in 16 bits. BadInput unless the GPUs divide heads and tokens, and for classes of tokens.
    """
    heads, tokens, dim = query.shape
    if gpus < 1 or heads % gpus or tokens % gpus:
        raise BadInput(f"gpus: {gpus}; allowed: a divisor of {heads} heads and {tokens} tokens")
    if cut.recent is not None:
        raise BadInput("cut: by class of token; allowed: one for all")
    kept = (cut.key or dim, cut.key or dim, cut.value or dim)
    sent = [0] * gpus
    parts = [each[..., :keep].chunk(gpus, dim=1) for each, keep in zip((query, key, value), kept, strict=True)]
    whole = [_exchange(mine, 0, 1, sent) for mine in parts]
    mixed = [attention(shape, replace(cut, key=None, value=None), *(each[g] for each in whole)) for g in range(gpus)]
    back = _exchange(mixed, 1, 0, sent)
    return torch.cat(back, 1), sent


def _exchange(
    mine: list[torch.Tensor] | tuple[torch.Tensor, ...], split: int, join: int, sent: list[int]
) -> list[torch.Tensor]:
    """An all-to-all: GPU g's tensor is split along an axis, its j-th part goes to GPU j, which joins what it gets."""
    pieces = [each.chunk(len(mine), dim=split) for each in mine]
    for g, own in enumerate(pieces):
        sent[g] += sum(_HALF * piece.numel() for j, piece in enumerate(own) if j != g)
    return [torch.cat([own[j] for own in pieces], dim=join) for j in range(len(mine))]
