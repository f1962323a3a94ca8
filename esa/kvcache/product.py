"""Products of matrices that are codes, without dequantising them (HACK, arXiv 2502.03589).

Of a partition of the inner axis with a = s_a a' + m_a and b = s_b b' + m_b, over its n places:

    sum a b = s_a s_b sum a'b' + m_b s_a sum a' + m_a s_b sum b' + n m_a m_b

The first sum is a product of small integers, the others cost a number for each row. It is an identity: the result is
that of the dequantised values, but for rounding of floats.
"""

from __future__ import annotations

import torch

from esa.kvcache.quantise import Quantised, by_part, code_sums

_EXACT = {torch.float32: 2**24, torch.float64: 2**53}  # integers up to there are exact


def product(a: Quantised, b: Quantised, b_sums: torch.Tensor | None = None) -> torch.Tensor:
    """a (..., M, Z) times b (..., N, Z) transposed: float32 (..., M, N).

    b_sums: int (..., N, P), `code_sums` of b where they are kept; else they are computed. ValueError unless both have
    the same inner length and partitions.
    """
    length = a.codes.shape[-1]
    if a.part != b.part or b.codes.shape[-1] != length:
        raise ValueError(
            f"a {length} by {a.part}, b {b.codes.shape[-1]} by {b.part}; allowed: as long, and in the same partitions"
        )
    of_codes = _integers(a, b)  # (..., P, M, N)
    sums_a, sums_b = code_sums(a), code_sums(b) if b_sums is None else b_sums
    places = by_part(torch.ones(length), a.part).sum(-1)  # (P,)
    scale_a, least_a, sum_a = (_rows(each).unsqueeze(-1) for each in (a.scale, a.least, sums_a))  # (..., P, M, 1)
    scale_b, least_b, sum_b = (_rows(each).unsqueeze(-2) for each in (b.scale, b.least, sums_b))  # (..., P, 1, N)
    parts = (
        scale_a * scale_b * of_codes
        + least_b * scale_a * sum_a
        + least_a * scale_b * sum_b
        + places[:, None, None] * least_a * least_b
    )
    return parts.sum(-3)


def _integers(a: Quantised, b: Quantised) -> torch.Tensor:
    """Sums of products of codes by partition, exact whole numbers, float (..., P, M, N)."""
    most = a.part * 255 * 255
    dtype = torch.float32 if most <= _EXACT[torch.float32] else torch.float64
    left = by_part(a.codes, a.part).to(dtype).transpose(-3, -2)  # (..., P, M, part)
    right = by_part(b.codes, b.part).to(dtype).transpose(-3, -2)
    return (left @ right.transpose(-2, -1)).float()


def _rows(each: torch.Tensor) -> torch.Tensor:
    """(..., M, P) as float32 (..., P, M)."""
    return each.float().transpose(-2, -1)
