"""`esa.quantize` in torch's own operations, to the same bits: for values on a GPU.

Operations of whole tensors pass over the values some eleven times where a kernel of ours would once; they run wherever
torch does, and still outrun the way to the host (docs/performance.md). A power of two times a float32 is exact in
float64, and so is every sum of lanes; float64 is what both sides round from.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch

from esa.scales import EXPONENT_MIN, FLOAT32, FLOAT64, GROWTH_BITS, ZEROS, Scale
from esa.wire import EXPONENT_POISON

BITS = {torch.float32: (torch.int32, FLOAT32), torch.float64: (torch.int64, FLOAT64)}


class Tables(NamedTuple):
    """A `Scale` on a device."""

    adaptive: bool
    factor: torch.Tensor  # (256,) float64
    unit: torch.Tensor  # (256,) float64
    beyond: dict[torch.dtype, torch.Tensor]  # (256,), integers as wide as the floats

    @classmethod
    def of(cls, scale: Scale, device: torch.device) -> Tables:
        beyond = {torch.float32: scale.beyond_float32, torch.float64: scale.beyond_float64}
        return cls(
            scale.adaptive,
            torch.from_numpy(scale.factor).to(device),
            torch.from_numpy(scale.unit).to(device),
            {kind: torch.from_numpy(table).to(device) for kind, table in beyond.items()},
        )


class Quantised(NamedTuple):
    """What `esa.quantize.quantise` writes and returns: lanes (n,) int32; by fragment needed, int8, and vanished, int32;
    nonzero (), int64.
    """

    lanes: torch.Tensor
    needed: torch.Tensor
    vanished: torch.Tensor
    nonzero: torch.Tensor


def quantised(values: torch.Tensor, agreed: torch.Tensor, fragment_lanes: int, tables: Tables) -> Quantised:
    """`values` (n,), float32 or float64, n > 0, under `agreed` (fragments,) int8, all on one device."""
    integers, kind = BITS[values.dtype]
    lanes = torch.empty(values.shape, dtype=torch.int32, device=values.device)
    needed = torch.empty(agreed.shape, dtype=torch.int8, device=values.device)
    vanished = torch.empty(agreed.shape, dtype=torch.int32, device=values.device)
    nonzero = torch.zeros((), dtype=torch.int64, device=values.device)
    for fragments, (row_values, row_lanes) in _rows(fragment_lanes, values, lanes):
        under = agreed[fragments].long()
        at = under - ZEROS
        largest = (row_values.view(integers) & torch.iinfo(integers).max).amax(1)
        exponent = ((largest >> kind.mantissa_bits) - (kind.bias - 1)).clamp(EXPONENT_MIN, EXPONENT_POISON)
        exponent = torch.where(largest == 0, ZEROS, exponent)
        fits = largest < tables.beyond[values.dtype][at]
        rounded = (row_values.double() * tables.factor[at, None]).round_()
        row_lanes.copy_(torch.where(fits[:, None], rounded, 0.0))
        before = row_values.count_nonzero(1)
        nonzero += before.sum()
        vanished[fragments] = torch.where(fits, before - row_lanes.count_nonzero(1), 0).int()
        if tables.adaptive:
            # Within half a lane of not fitting is not fitting, though the exponent alone does not say so.
            more = torch.maximum(exponent, under + GROWTH_BITS + 1).clamp(max=EXPONENT_POISON)
            needed[fragments] = torch.where(fits, exponent, more).to(torch.int8)
        else:
            needed[fragments] = torch.where(fits, 0, EXPONENT_POISON).to(torch.int8)
    return Quantised(lanes, needed, vanished, nonzero)


def dequantised(
    lanes: torch.Tensor, agreed: torch.Tensor, fragment_lanes: int, tables: Tables, out: torch.Tensor, divisor: int
) -> None:
    """Write what `lanes` (n,) mean under `agreed`, divided by `divisor`, to `out` (n,) of any floating-point type.

    One rounding to float32, or none to float64; narrower types are rounded from float32, as torch does.
    """
    # As a tensor: by a number torch divides on a GPU as a product with its reciprocal, which is rounded.
    by = torch.tensor(float(divisor), dtype=torch.float64, device=lanes.device)
    for fragments, (row_lanes, row_out) in _rows(fragment_lanes, lanes, out):
        unit = tables.unit[agreed[fragments].long() - ZEROS]
        means = row_lanes.double().mul_(unit[:, None]).div_(by)
        row_out.copy_(means if out.dtype == torch.float64 else means.float())


def whole_fragments(values: torch.Tensor, which: torch.Tensor, fragment_lanes: int) -> torch.Tensor:
    """Fragments `which` (k,) int64 of `values` in a row, (k * fragment_lanes,): the last filled up with zeros."""
    rows = torch.zeros((which.numel(), fragment_lanes), dtype=values.dtype, device=values.device)
    for fragments, (part,) in _rows(fragment_lanes, values):
        wanted = (which >= fragments.start) & (which < fragments.stop)
        rows[wanted, : part.shape[1]] = part[which[wanted] - fragments.start]
    return rows.view(-1)


def _rows(fragment_lanes: int, *arrays: torch.Tensor) -> Iterator[tuple[slice, list[torch.Tensor]]]:
    """The arrays (n,) by fragment, (fragments, lanes): those that are whole, then the last if it is not."""
    whole, rest = divmod(arrays[0].numel(), fragment_lanes)
    place = whole * fragment_lanes
    if whole:
        yield slice(0, whole), [array[:place].view(whole, fragment_lanes) for array in arrays]
    if rest:
        yield slice(whole, whole + 1), [array[place:].view(1, rest) for array in arrays]
