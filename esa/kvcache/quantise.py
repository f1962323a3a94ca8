"""Numbers as codes of a few bits: value = scale * code + minimum, which a partition of the last axis has in common."""

from __future__ import annotations

from typing import NamedTuple

import torch


class Quantised(NamedTuple):
    """codes: uint8 (..., Z); scale, least: float (..., P), by partition of `part` along Z, the last perhaps shorter."""

    codes: torch.Tensor
    scale: torch.Tensor
    least: torch.Tensor
    part: int


def quantise(
    values: torch.Tensor,
    bits: int,
    part: int,
    *,
    dtype: torch.dtype = torch.float32,
    random: torch.Generator | None = None,
) -> Quantised:
    """Code `values` (..., Z) with 1 to 8 bits. dtype: of scale and minimum.

    random: round up with the fraction's probability; else to the nearest, half ones to even. A partition whose values
    are all equal has the scale 0, and is kept exactly. ValueError.
    """
    if not 1 <= bits <= 8 or part < 1:
        raise ValueError(f"bits {bits}, part {part}; allowed: 1 to 8, 1 and more")
    if not torch.isfinite(values).all():
        raise ValueError("values: some are not finite; allowed: numbers")
    grouped = by_part(values.float(), part, float("nan"))
    inside = ~grouped.isnan()
    low = torch.where(inside, grouped, torch.inf).amin(-1)
    high = torch.where(inside, grouped, -torch.inf).amax(-1)
    least = low.to(dtype)
    scale = ((high - least.float()) / (2**bits - 1)).clamp(min=0).to(dtype)
    step = scale.float().unsqueeze(-1)
    steps = torch.where(step > 0, (grouped - least.float().unsqueeze(-1)) / step, 0)
    rounded = steps.round() if random is None else (steps + torch.rand(steps.shape, generator=random)).floor()
    codes = torch.where(inside, rounded, 0).clamp(0, 2**bits - 1).to(torch.uint8)
    return Quantised(codes.flatten(-2)[..., : values.shape[-1]], scale, least, part)


def dequantise(one: Quantised) -> torch.Tensor:
    """The values that the codes stand for, float32 (..., Z)."""
    length = one.codes.shape[-1]
    scale, least = (each.float().repeat_interleave(one.part, -1)[..., :length] for each in (one.scale, one.least))
    return scale * one.codes + least


def by_part(values: torch.Tensor, part: int, filling: float = 0.0) -> torch.Tensor:
    """(..., Z) as (..., P, part); what is missing of the last partition is `filling`."""
    missing = -values.shape[-1] % part
    padded = torch.nn.functional.pad(values, (0, missing), value=filling)
    return padded.reshape(*values.shape[:-1], padded.shape[-1] // part, part)


def code_sums(one: Quantised) -> torch.Tensor:
    """Sums of codes by partition, int32 (..., P)."""
    return by_part(one.codes.to(torch.int32), one.part).sum(-1, dtype=torch.int32)


def pack(codes: torch.Tensor, bits: int) -> torch.Tensor:
    """Codes of 1, 2, 4 or 8 bits, uint8 (..., Z), in bytes (..., ceil(Z * bits / 8)), the first one lowest."""
    per_byte = _per_byte(bits)
    grouped = by_part(codes, per_byte).to(torch.int32)
    shifts = torch.arange(0, 8, bits, dtype=torch.int32)
    return (grouped << shifts).sum(-1).to(torch.uint8)


def unpack(packed: torch.Tensor, bits: int, length: int) -> torch.Tensor:
    """`length` codes of bytes that `pack` made."""
    _per_byte(bits)
    shifts = torch.arange(0, 8, bits, dtype=torch.int32)
    codes: torch.Tensor = (packed.to(torch.int32).unsqueeze(-1) >> shifts) & (2**bits - 1)
    return codes.flatten(-2)[..., :length].to(torch.uint8)


def _per_byte(bits: int) -> int:
    if bits not in (1, 2, 4, 8):
        raise ValueError(f"bits: {bits}; allowed: 1, 2, 4, 8")
    return 8 // bits
