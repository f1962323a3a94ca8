"""Attention over blocks of coded tokens, query by query, straight from their bytes. Compiled.

Arithmetic is that of `quantise.py` and `product.py`, in 32-bit floats and whole numbers: codes are the same.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from esa.kvcache.sizes import BITS
from esa.native import native_uncounted as native

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]
Whole = npt.NDArray[np.int32]

_PER_BYTE = 8 // BITS
_MASK = 2**BITS - 1
_MOST = np.float32(255)  # the largest code of queries and probabilities
_ZERO = np.float32(0)


class Coded(NamedTuple):
    """Arrays of `fused.Coded`, scales and minima in 32 bits."""

    packed: Bytes
    scale: Floats
    least: Floats
    sums: Whole


class Scratch(NamedTuple):
    """A place for each token of a block, or each channel."""

    values: Floats
    weights: Floats
    codes: Whole
    totals: Whole


def scratch(part: int, dim: int) -> Scratch:
    """For blocks of `part` tokens of `dim` channels."""
    size = max(part, dim) + _PER_BYTE
    values, weights = np.empty((2, size), np.float32)
    codes, totals = np.empty((2, size), np.int32)
    return Scratch(values, weights, codes, totals)


@native
def fill_code(
    query: Floats, key: Coded, value: Coded, across: int, room: Scratch, top: Floats, total: Floats, mixed: Floats
) -> None:
    """The layout of HACK's code: keys by channel over the block, values by token over `across` channels."""
    part, dim = value.packed.shape[1], query.shape[1]
    weights, totals, codes = room.weights, room.totals, room.codes
    for block in range(key.packed.shape[0]):
        for row in range(query.shape[0]):
            shift = _ZERO
            for channel in range(dim):
                shift += query[row, channel] * key.least[block, channel, 0]
            for token in range(part):
                weights[token] = shift
            for piece in range(value.scale.shape[2]):
                begin, end = piece * across, min(dim, (piece + 1) * across)
                for channel in range(begin, end):
                    room.values[channel - begin] = query[row, channel] * key.scale[block, channel, 0]
                scale, least = _coded(room.values, end - begin, codes)
                for token in range(part):
                    totals[token] = 0
                for channel in range(begin, end):
                    _add(key.packed[block, channel], codes[channel - begin], totals, 0, part)
                for token in range(part):
                    weights[token] += scale * np.float32(totals[token])
                    weights[token] += least * np.float32(key.sums[block, token, piece])
            top[block, row], total[block, row] = _exponentials(weights, part)
            for piece in range(value.scale.shape[2]):
                begin, end = piece * across, min(dim, (piece + 1) * across)
                shift = _ZERO
                for token in range(part):
                    room.values[token] = weights[token] * value.scale[block, token, piece]
                    shift += weights[token] * value.least[block, token, piece]
                scale, least = _coded(room.values, part, codes)
                for channel in range(end - begin):
                    totals[channel] = 0
                for token in range(part):
                    _add(value.packed[block, token], codes[token], totals, begin, end)
                for channel in range(begin, end):
                    of_sums = least * np.float32(value.sums[block, channel, 0])
                    mixed[block, row, channel] = scale * np.float32(totals[channel - begin]) + of_sums + shift


@native
def fill_paper(
    query: Floats, key: Coded, value: Coded, across: int, room: Scratch, top: Floats, total: Floats, mixed: Floats
) -> None:
    """The paper's first version: keys by token over `across` channels, values by channel over the block."""
    part, dim = key.packed.shape[1], query.shape[1]
    weights, codes = room.weights, room.codes
    for block in range(key.packed.shape[0]):
        for row in range(query.shape[0]):
            for token in range(part):
                weights[token] = _ZERO
            for piece in range(key.scale.shape[2]):
                begin, end = piece * across, min(dim, (piece + 1) * across)
                for channel in range(begin, end):
                    room.values[channel - begin] = query[row, channel]
                scale, least = _coded(room.values, end - begin, codes)
                own = _total(codes, end - begin)
                for token in range(part):
                    of_codes = _product(key.packed[block, token], codes, begin, end)
                    weights[token] += _corrected(
                        scale, least, own, of_codes, key.scale[block, token, piece], key.least[block, token, piece],
                        key.sums[block, token, piece], end - begin,
                    )  # fmt: skip
            top[block, row], total[block, row] = _exponentials(weights, part)
            for token in range(part):
                room.values[token] = weights[token]
            scale, least = _coded(room.values, part, codes)
            own = _total(codes, part)
            for channel in range(dim):
                of_codes = _product(value.packed[block, channel], codes, 0, part)
                mixed[block, row, channel] = _corrected(
                    scale, least, own, of_codes, value.scale[block, channel, 0], value.least[block, channel, 0],
                    value.sums[block, channel, 0], part,
                )  # fmt: skip


@native
def _coded(values: Floats, count: int, codes: Whole) -> tuple[np.float32, np.float32]:
    """8-bit codes of the first `count` values; their scale and minimum."""
    low = high = values[0]
    for place in range(1, count):
        low, high = min(low, values[place]), max(high, values[place])
    scale = (high - low) / _MOST
    for place in range(count):
        codes[place] = np.int32(np.rint((values[place] - low) / scale)) if scale > _ZERO else 0
    return scale, low


@native
def _corrected(
    scale: np.float32,
    least: np.float32,
    own: int,
    of_codes: int,
    step: np.float32,
    low: np.float32,
    sums: int,
    places: int,
) -> np.float32:
    """The product of two partitions from that of their codes, as in `product.py`: (scale, least, sum) of both."""
    found = scale * step * np.float32(of_codes) + low * scale * np.float32(own)
    return np.float32(found + least * step * np.float32(sums) + np.float32(places) * least * low)


@native
def _add(packed: Bytes, code: int, totals: Whole, begin: int, end: int) -> None:
    """Add `code` times the two-bit codes at `begin` to `end` to `totals`."""
    for place in range(begin, end):
        totals[place - begin] += code * ((packed[place // _PER_BYTE] >> (BITS * (place % _PER_BYTE))) & _MASK)


@native
def _product(packed: Bytes, codes: Whole, begin: int, end: int) -> int:
    """Of codes with the two-bit codes at `begin` to `end`."""
    found = 0
    for place in range(begin, end):
        found += codes[place - begin] * ((packed[place // _PER_BYTE] >> (BITS * (place % _PER_BYTE))) & _MASK)
    return found


@native
def _total(codes: Whole, count: int) -> int:
    found = 0
    for place in range(count):
        found += codes[place]
    return found


@native
def _exponentials(scores: Floats, count: int) -> tuple[np.float32, np.float32]:
    """Exponentials of scores above their largest, in place; that, and their sum."""
    top, total = scores[0], _ZERO
    for place in range(1, count):
        top = max(top, scores[place])
    for place in range(count):
        scores[place] = np.exp(scores[place] - top)
        total += scores[place]
    return top, total
