"""Heads rotated so that their leading channels have the most in them, and cut: ZeroC, as reconstructed.

The bodies of the three versions of arXiv 2408.04107 could not be read; what is here is reconstructed from the abstracts
and from scripts of its authors. R, the right singular vectors of queries and keys of sample tokens, turns both without
changing any score, (Q R)(K R)^T = Q K^T, and is folded into the projections, so that it costs nothing at run time. V is
turned likewise, and its rotation undone in the output projection. Then the first k channels are kept.

With P the projector on the dropped directions, Q K^T - Q_k K_k^T = (Q P)(K P)^T, whose Frobenius norm is at most half
the sum of the squared singular values dropped, of [Q; K]. Query heads that share keys are stacked together.

A rotary embedding stands between projection and score and does not commute with R: folding fails there
(`tests/kvcache/test_rotation.py` shows it), and heads would have to be turned after it, at run time.
"""

from __future__ import annotations

from typing import NamedTuple

import torch


class Rotation(NamedTuple):
    """vectors: (dim, dim), orthogonal, by columns, those with the most first; singular: (dim,), never rising."""

    vectors: torch.Tensor
    singular: torch.Tensor


def rotation(*stacked: torch.Tensor) -> Rotation:
    """Of matrices (rows, dim) one above the other: queries of all heads that share keys, and those keys; or V and the
    output projection's slice (as it is applied: (hidden, dim)). ValueError.
    """
    if not stacked or len({each.shape[-1] for each in stacked}) != 1:
        raise ValueError(f"stacked: widths {[each.shape[-1] for each in stacked]}; allowed: one, of all")
    _, singular, turned = torch.linalg.svd(torch.cat(stacked), full_matrices=True)
    missing = turned.shape[-1] - len(singular)
    return Rotation(turned.T, torch.nn.functional.pad(singular, (0, missing)))


def fold(weight: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
    """The projection (hidden, dim) with the rotation in it: x @ folded = (x @ weight) @ vectors, for no more work."""
    return weight @ vectors


def fold_output(weight: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
    """The output projection (dim, hidden) of heads that are rotated: undoes the rotation."""
    return vectors.T @ weight


def dropped_bound(singular: torch.Tensor, keep: int) -> float:
    """What the Frobenius norm of the error is at most, with `keep` channels: half the squares that are dropped."""
    return float((singular[keep:] ** 2).sum() / 2)


def rotary(heads: torch.Tensor, positions: torch.Tensor, base: float = 10_000.0) -> torch.Tensor:
    """Rotary position embedding of (tokens, dim), dim even: pairs of channels turned by angles of their positions."""
    half = heads.shape[-1] // 2
    angles = positions[:, None] * base ** (-torch.arange(half, dtype=heads.dtype) / half)
    first, second = heads[:, :half], heads[:, half:]
    return torch.cat([first * angles.cos() - second * angles.sin(), first * angles.sin() + second * angles.cos()], -1)
