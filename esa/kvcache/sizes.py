"""Bytes of a request's KV cache, by method: what serving puts on the wire.

    hack_bytes(QWEN3_8B, tokens=4096, part=64)

HACK's formula is that of the layout of its code (Zeyu-ZEYU/HKVQ, ATC'26): blocks of `part` tokens in two bits, with
scales and minima in FP16 and sums of codes, the first 4 tokens and the open block in 16 bits.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

SINKS = 4  # first tokens, which stay in 16 bits
BITS = 2  # of K and V
PARTS = (32, 64, 128)  # studied
MIB = 2**20

# At 4096 tokens of Qwen3-8B, MiB of 576 in 16 bits, as HACK's authors publish them: stored, and on the wire.
KVQUANT_LIKE = (84 / 576, 84 / 576)
CACHEGEN_LIKE = (158 / 576, 86 / 576)

# Fitted to two rows of HACK's artefact (BF16 and HACK at 10 Gb/s, prompts of 13,895 tokens in the mean): what its
# copies and TCP leave of the NIC's rate, and what each transfer takes besides.
EFFICIENCY = 0.77
FIXED_S = 0.05


class KvShape(NamedTuple):
    """Of a model's KV cache."""

    layers: int
    heads: int  # of K and V
    dim: int  # of a head


QWEN3_8B = KvShape(36, 8, 128)


def sum_bytes(most: int) -> int:
    """Of a sum of codes that is at most `most`: 1 byte, or 2 up to 32767. ValueError beyond that."""
    if most > 32767:
        raise ValueError(f"a sum of codes of up to {most}; allowed: up to 32767")
    return 1 if most <= 255 else 2


def fp16_bytes(shape: KvShape, tokens: int) -> int:
    """K and V in 16 bits."""
    return shape.layers * shape.heads * tokens * 2 * shape.dim * 2


@cache
def block_bytes(dim: int, part: int) -> int:
    """One head's full block: codes, scales and minima, and both kinds of sums.

    K's scales are by channel, V's by token and part of channels. Sums are over channels for each token (the product of
    queries with K wants them) and over tokens for each channel (that of probabilities with V).
    """
    if part < 1:
        raise ValueError(f"part: {part}; allowed: 1 and more")
    across = min(part, dim)
    parts = -(-dim // across)
    most = 2**BITS - 1
    codes = 2 * part * dim * BITS // 8
    return codes + 4 * dim + 4 * part * parts + dim * sum_bytes(most * part) + part * parts * sum_bytes(most * across)


def hack_bytes(shape: KvShape, tokens: int, part: int = 64) -> int:
    """HACK, the layout of its code. tokens: of the request; part: of a partition, and tokens of a block."""
    full, rest = divmod(max(0, tokens - SINKS), part)
    in_16_bits = (min(tokens, SINKS) + rest) * 2 * shape.dim * 2
    return shape.layers * shape.heads * (full * block_bytes(shape.dim, part) + in_16_bits)


def paper_bytes(shape: KvShape, tokens: int, part: int = 64) -> int:
    """HACK, its first version's layout (arXiv 2502.03589 v1), as notes tell it: K by token, V's open block 16 bits."""
    full, rest = divmod(tokens, part)
    across = min(part, shape.dim)
    parts, most = -(-shape.dim // across), 2**BITS - 1
    key = tokens * (shape.dim * BITS // 8 + parts * (4 + sum_bytes(most * across)))
    value = full * (part * shape.dim * BITS // 8 + shape.dim * (4 + sum_bytes(most * part))) + rest * shape.dim * 2
    return shape.layers * shape.heads * (key + value)


def cut_bytes(shape: KvShape, tokens: int, keep_key: int, keep_value: int) -> int:
    """ZeroC: the columns that are kept of each head's K and V, in 16 bits."""
    return shape.layers * shape.heads * tokens * (keep_key + keep_value) * 2


def all_to_all_bytes(tokens: int, hidden: int, gpus: int, *, part: float = 1.0) -> float:
    """What each GPU sends in one all-to-all of sequence parallelism over heads (Ulysses), of values of 16 bits.

    part: of the columns, that is kept.
    """
    return tokens / gpus * hidden * 2 * (gpus - 1) / gpus * part


def transfer_s(octets: int, rate_bps: float, *, efficiency: float = EFFICIENCY, fixed_s: float = FIXED_S) -> float:
    """Seconds until a cache is at the other end, alone on the way."""
    return 8 * octets / (rate_bps * efficiency) + fixed_s
