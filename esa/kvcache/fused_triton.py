"""Attention over blocks of coded tokens as a Triton kernel: a program for each block and sixteen queries.

Codes of queries and probabilities (8 bits) meet those of K and V (2 bits) in the matrix units as 16-bit floats, in
which both are exact, and are added up in 32 bits, where sums of up to 2**24 are: the integers of `product.py`. Bytes
are unpacked in registers, and what is kept of sums, scales and minima is added to the products.

To be imported where there is Triton alone; with TRITON_INTERPRET=1 set before that it runs on CPUs, to be tested.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import triton
import triton.language as tl

if TYPE_CHECKING:
    from esa.kvcache.fused import Blocks, Parts

_ROWS = 16  # queries of a program: the least that matrix units take
_MOST_PART = 2**24 // (255 * 3)


def fill(coded: Blocks, query: torch.Tensor, parts: Parts) -> None:
    """Fill `parts` for queries (M, dim), float32 and contiguous. ValueError for blocks whose sums are not exact."""
    if max(coded.part, coded.across) > _MOST_PART:
        raise ValueError(f"part: {coded.part}; allowed: up to {_MOST_PART}")
    rows, dim = query.shape
    kernel = _paper if coded.paper else _code
    kernel[(coded.key.packed.shape[0], triton.cdiv(rows, _ROWS))](
        query, *coded.key, *coded.value, *parts, rows, dim, coded.part, coded.across,
        PIECES=triton.cdiv(dim, coded.across),
        TOKENS=_width(coded.part),
        CHANNELS=_width(coded.across),
        ROWS=_ROWS,
        enable_fp_fusion=False,  # a product that is not rounded before it is added to would have other codes
    )  # fmt: skip


def _width(count: int) -> int:
    """The power of two that has room for so many, sixteen at least."""
    return int(max(16, triton.next_power_of_2(count)))


@triton.jit
def _codes(values, inside):
    """8-bit codes (R, Z) of values (R, Z) by row, those that are `inside`; their scale and minimum (R,)."""
    low = tl.min(tl.where(inside, values, float("inf")), 1)
    high = tl.max(tl.where(inside, values, float("-inf")), 1)
    scale = tl.math.div_rn(high - low, tl.full(low.shape, 255.0, tl.float32))
    step = tl.where(scale > 0, scale, 1.0)
    steps = tl.math.div_rn(values - low[:, None], tl.broadcast_to(step[:, None], values.shape))
    nearest = (steps + 12582912.0) - 12582912.0  # 1.5 * 2**23: to whole numbers, half ones to even
    return tl.where(inside & (scale > 0)[:, None], nearest, 0.0), scale, low


@triton.jit
def _bits(packed, at, place, inside):
    """Two-bit codes at `place` of rows of bytes that begin at `at`, as 16-bit floats."""
    octets = tl.load(packed + at + place // 4, mask=inside, other=0).to(tl.int32)
    return ((octets >> (2 * (place % 4))) & 3).to(tl.float16)


@triton.jit
def _softmax(scores, inside, top, total, at, real):
    """Exponentials of scores (R, T) above the largest of a row, which is stored with their sum."""
    scores = tl.where(inside, scores, float("-inf"))
    most = tl.max(scores, 1)
    weights = tl.exp(scores - most[:, None])
    tl.store(top + at, most, mask=real)
    tl.store(total + at, tl.sum(weights, 1), mask=real)
    return weights


@triton.jit
def _code(
    query, key, key_scale, key_least, key_sums, value, value_scale, value_least, value_sums, top, total, mixed,
    rows, dim, part, across,
    PIECES: tl.constexpr, TOKENS: tl.constexpr, CHANNELS: tl.constexpr, ROWS: tl.constexpr,  # noqa: N803
):  # fmt: skip
    """The layout of HACK's code: keys by channel over the block, values by token over `across` channels."""
    block = tl.program_id(0)
    row = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    token = tl.arange(0, TOKENS)
    real, there = row < rows, token < part
    at = block * rows + row
    scores = tl.zeros((ROWS, TOKENS), tl.float32)
    for piece in tl.static_range(PIECES):
        channel = piece * across + tl.arange(0, CHANNELS)
        mine = (channel < (piece + 1) * across) & (channel < dim)
        both = real[:, None] & mine[None, :]
        asked = tl.load(query + row[:, None] * dim + channel[None, :], mask=both, other=0.0)
        step = tl.load(key_scale + block * dim + channel, mask=mine, other=0.0).to(tl.float32)
        low = tl.load(key_least + block * dim + channel, mask=mine, other=0.0).to(tl.float32)
        codes, scale, least = _codes(asked * step[None, :], tl.broadcast_to(mine[None, :], (ROWS, CHANNELS)))
        line = (block * dim + channel[:, None]) * ((part + 3) // 4)
        bits = _bits(key, line, token[None, :], mine[:, None] & there[None, :])
        sums = tl.load(key_sums + (block * part + token) * PIECES + piece, mask=there, other=0).to(tl.float32)
        scores += scale[:, None] * tl.dot(codes.to(tl.float16), bits) + least[:, None] * sums[None, :]
        scores += tl.sum(asked * low[None, :], 1)[:, None]
    inside = tl.broadcast_to(there[None, :], (ROWS, TOKENS))
    weights = _softmax(scores, inside, top, total, at, real)
    for piece in tl.static_range(PIECES):
        channel = piece * across + tl.arange(0, CHANNELS)
        mine = (channel < (piece + 1) * across) & (channel < dim)
        place = (block * part + token) * PIECES + piece
        step = tl.load(value_scale + place, mask=there, other=0.0).to(tl.float32)
        low = tl.load(value_least + place, mask=there, other=0.0).to(tl.float32)
        codes, scale, least = _codes(weights * step[None, :], inside)
        line = (block * part + token[:, None]) * ((dim + 3) // 4)
        bits = _bits(value, line, channel[None, :], there[:, None] & mine[None, :])
        sums = tl.load(value_sums + block * dim + channel, mask=mine, other=0).to(tl.float32)
        found = scale[:, None] * tl.dot(codes.to(tl.float16), bits) + least[:, None] * sums[None, :]
        found += tl.sum(weights * low[None, :], 1)[:, None]
        tl.store(mixed + at[:, None] * dim + channel[None, :], found, mask=real[:, None] & mine[None, :])


@triton.jit
def _paper(
    query, key, key_scale, key_least, key_sums, value, value_scale, value_least, value_sums, top, total, mixed,
    rows, dim, part, across,
    PIECES: tl.constexpr, TOKENS: tl.constexpr, CHANNELS: tl.constexpr, ROWS: tl.constexpr,  # noqa: N803
):  # fmt: skip
    """The paper's first version: keys by token over `across` channels, values by channel over the block."""
    block = tl.program_id(0)
    row = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    token = tl.arange(0, TOKENS)
    real, there = row < rows, token < part
    at = block * rows + row
    scores = tl.zeros((ROWS, TOKENS), tl.float32)
    for piece in tl.static_range(PIECES):
        channel = piece * across + tl.arange(0, CHANNELS)
        mine = (channel < (piece + 1) * across) & (channel < dim)
        asked = tl.load(query + row[:, None] * dim + channel[None, :], mask=real[:, None] & mine[None, :], other=0.0)
        codes, scale, least = _codes(asked, tl.broadcast_to(mine[None, :], (ROWS, CHANNELS)))
        line = (block * part + token[None, :]) * ((dim + 3) // 4)
        bits = _bits(key, line, channel[:, None], mine[:, None] & there[None, :])
        place = (block * part + token) * PIECES + piece
        step = tl.load(key_scale + place, mask=there, other=0.0).to(tl.float32)
        low = tl.load(key_least + place, mask=there, other=0.0).to(tl.float32)
        sums = tl.load(key_sums + place, mask=there, other=0).to(tl.float32)
        places = tl.minimum(across, dim - piece * across).to(tl.float32)
        own = tl.sum(codes, 1) * scale + places * least  # what a minimum of K is multiplied by
        scores += scale[:, None] * step[None, :] * tl.dot(codes.to(tl.float16), bits)
        scores += own[:, None] * low[None, :] + least[:, None] * (step * sums)[None, :]
    inside = tl.broadcast_to(there[None, :], (ROWS, TOKENS))
    weights = _softmax(scores, inside, top, total, at, real)
    codes, scale, least = _codes(weights, inside)
    own = tl.sum(codes, 1) * scale + part * least
    for piece in tl.static_range(PIECES):
        channel = piece * across + tl.arange(0, CHANNELS)
        mine = (channel < (piece + 1) * across) & (channel < dim)
        line = (block * dim + channel[None, :]) * ((part + 3) // 4)
        bits = _bits(value, line, token[:, None], there[:, None] & mine[None, :])
        step = tl.load(value_scale + block * dim + channel, mask=mine, other=0.0).to(tl.float32)
        low = tl.load(value_least + block * dim + channel, mask=mine, other=0.0).to(tl.float32)
        sums = tl.load(value_sums + block * dim + channel, mask=mine, other=0).to(tl.float32)
        found = scale[:, None] * step[None, :] * tl.dot(codes.to(tl.float16), bits)
        found += own[:, None] * low[None, :] + least[:, None] * (step * sums)[None, :]
        tl.store(mixed + at[:, None] * dim + channel[None, :], found, mask=real[:, None] & mine[None, :])
