"""The KV cache of one head in two bits, in both published layouts of HACK; attention by products of codes.

`BlockCache` is laid out as HACK's code has it (Zeyu-ZEYU/HKVQ): K by channel over a block of tokens, V by token over
parts of channels; the first 4 tokens and the open block stay in 16 bits. K's scales go into the queries before these
are quantised, V's into the probabilities. `PaperCache` is as the first version of the paper has it, by notes of
readers: K by token over parts of channels, V by channel over a block of tokens, and only V's open block in 16 bits.

A block is quantised once, when it is full. Otherwise (`requantise`) it would have to be at every token, as its range
changes. Queries and probabilities have 8 bits. Scales and minima are FP16.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from esa.kvcache.product import product
from esa.kvcache.quantise import Quantised, code_sums, dequantise, pack, quantise, unpack
from esa.kvcache.sizes import BITS, SINKS, sum_bytes

WIDE = 8  # bits of queries and probabilities


class Stored(NamedTuple):
    """A matrix of codes as it is kept. packed: bytes; sums: of codes, by what products with it want."""

    packed: torch.Tensor
    scale: torch.Tensor
    least: torch.Tensor
    part: int
    length: int
    sums: torch.Tensor

    def codes(self) -> torch.Tensor:
        return unpack(self.packed, BITS, self.length)

    def quantised(self) -> Quantised:
        return Quantised(self.codes(), self.scale, self.least, self.part)

    def octets(self) -> int:
        kept = (self.packed, self.scale, self.least, self.sums)
        return sum(each.numel() * each.element_size() for each in kept)


def _stored(one: Quantised, sums: torch.Tensor, most: int) -> Stored:
    width = torch.uint8 if sum_bytes(most) == 1 else torch.int16
    return Stored(pack(one.codes, BITS), one.scale, one.least, one.part, one.codes.shape[-1], sums.to(width))


def _two_bits(values: torch.Tensor, part: int) -> Quantised:
    return quantise(values, BITS, part, dtype=torch.float16)


def _codes_alone(codes: torch.Tensor, part: int) -> Quantised:
    """Codes that stand for themselves: scale 1, minimum 0."""
    parts = -(-codes.shape[-1] // part)
    shape = (*codes.shape[:-1], parts)
    return Quantised(codes, torch.ones(shape), torch.zeros(shape), part)


class _Open(NamedTuple):
    """K and V of tokens in 16 bits, (tokens, dim)."""

    key: torch.Tensor
    value: torch.Tensor

    def octets(self) -> int:
        return sum(each.numel() * each.element_size() for each in self)


class _Cache:
    """What both layouts share: a head of `dim` channels, blocks of `part` tokens. quantised: blocks and rows, ever."""

    def __init__(self, dim: int, part: int = 64, *, requantise: bool = False) -> None:
        if dim < 1 or part < 1:
            raise ValueError(f"dim {dim}, part {part}; allowed: 1 and more of both")
        self.dim, self.part, self.across = dim, part, min(part, dim)
        self.requantise = requantise
        self.quantised = 0
        self.tokens = 0

    def append(self, key: torch.Tensor, value: torch.Tensor) -> None:
        """K and V of further tokens, (tokens, dim) each. ValueError."""
        if key.shape != value.shape or key.ndim != 2 or key.shape[1] != self.dim:
            raise ValueError(f"key {tuple(key.shape)}, value {tuple(value.shape)}; allowed: (tokens, {self.dim}) both")
        for row in range(len(key)):
            self._append_one(key[row : row + 1].half(), value[row : row + 1].half())
            self.tokens += 1

    def _append_one(self, key: torch.Tensor, value: torch.Tensor) -> None:
        raise NotImplementedError

    def dense(self) -> tuple[torch.Tensor, torch.Tensor]:
        """K and V as the cache stands for them, float32 (tokens, dim)."""
        raise NotImplementedError

    def octets(self) -> int:
        """Bytes of the tensors that are kept."""
        raise NotImplementedError

    def attend(self, query: torch.Tensor) -> torch.Tensor:
        """softmax(query K^T / sqrt(dim)) V for queries (M, dim), by products of codes: float32 (M, dim)."""
        scores = self.scores(query.float() / self.dim**0.5)
        return self.mix(torch.softmax(scores, -1))

    def scores(self, query: torch.Tensor) -> torch.Tensor:
        """query (M, dim) times K^T: (M, tokens)."""
        raise NotImplementedError

    def mix(self, weights: torch.Tensor) -> torch.Tensor:
        """weights (M, tokens) times V: (M, dim)."""
        raise NotImplementedError

    def tail(self, query: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Of the tokens whose V is in 16 bits: scores (M, tokens), and V, float32 (tokens, dim)."""
        raise NotImplementedError


class BlockCache(_Cache):
    """The layout of HACK's code."""

    def __init__(self, dim: int, part: int = 64, *, requantise: bool = False) -> None:
        super().__init__(dim, part, requantise=requantise)
        empty = torch.zeros(0, dim, dtype=torch.float16)
        self.sinks, self.open = _Open(empty, empty), _Open(empty, empty)
        self.keys: list[Stored] = []
        self.values: list[Stored] = []

    def _append_one(self, key: torch.Tensor, value: torch.Tensor) -> None:
        if self.tokens < SINKS:
            self.sinks = _Open(torch.cat([self.sinks.key, key]), torch.cat([self.sinks.value, value]))
            return
        self.open = _Open(torch.cat([self.open.key, key]), torch.cat([self.open.value, value]))
        full = len(self.open.key) == self.part
        if full or self.requantise:
            stored = self._close(self.open)
            self.quantised += 1
        if full:
            self.keys.append(stored[0])
            self.values.append(stored[1])
            self.open = _Open(self.open.key[:0], self.open.value[:0])

    def _close(self, block: _Open) -> tuple[Stored, Stored]:
        most = 2**BITS - 1
        key = _two_bits(block.key.T, self.part)  # (dim, part)
        value = _two_bits(block.value, self.across)  # (part, dim)
        over_channels = code_sums(_codes_alone(key.codes.T, self.across))
        over_tokens = code_sums(_codes_alone(value.codes.T, self.part))
        return _stored(key, over_channels, most * self.across), _stored(value, over_tokens, most * self.part)

    def dense(self) -> tuple[torch.Tensor, torch.Tensor]:
        keys = [dequantise(one.quantised()).T for one in self.keys]
        values = [dequantise(one.quantised()) for one in self.values]
        return (
            torch.cat([self.sinks.key.float(), *keys, self.open.key.float()]),
            torch.cat([self.sinks.value.float(), *values, self.open.value.float()]),
        )

    def octets(self) -> int:
        coded = sum(one.octets() for one in (*self.keys, *self.values))
        return self.sinks.octets() + self.open.octets() + coded

    def tail(self, query: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        key, value = (torch.cat(each).to(query.device).float() for each in zip(self.sinks, self.open, strict=True))
        return query @ key.T, value

    def scores(self, query: torch.Tensor) -> torch.Tensor:
        found = [query @ self.sinks.key.float().T]
        for one in self.keys:
            folded = quantise(query * one.scale.float().T, WIDE, self.across)  # (M, dim)
            codes = _codes_alone(one.codes().T, self.across)  # (part, dim)
            found.append(product(folded, codes, one.sums) + query @ one.least.float())
        return torch.cat([*found, query @ self.open.key.float().T], -1)

    def mix(self, weights: torch.Tensor) -> torch.Tensor:
        first, end = min(self.tokens, SINKS), self.tokens - len(self.open.value)
        found = weights[:, :first] @ self.sinks.value.float() + weights[:, end:] @ self.open.value.float()
        for number, one in enumerate(self.values):
            begin = first + number * self.part
            mine = weights[:, begin : begin + self.part]
            columns = []
            for part in range(one.scale.shape[-1]):
                channels = slice(part * self.across, (part + 1) * self.across)
                folded = quantise(mine * one.scale[:, part].float(), WIDE, self.part)  # (M, part)
                codes = _codes_alone(one.codes().T[channels], self.part)  # (channels, part)
                shift = mine @ one.least[:, part : part + 1].float()
                columns.append(product(folded, codes, one.sums[channels]) + shift)
            found = found + torch.cat(columns, -1)
        return found


class PaperCache(_Cache):
    """The layout of the paper's first version."""

    def __init__(self, dim: int, part: int = 64, *, requantise: bool = False) -> None:
        super().__init__(dim, part, requantise=requantise)
        self.keys: list[Stored] = []  # a token each
        self.values: list[Stored] = []  # a block each
        self.open = torch.zeros(0, dim, dtype=torch.float16)

    def _append_one(self, key: torch.Tensor, value: torch.Tensor) -> None:
        most = 2**BITS - 1
        row = _two_bits(key, self.across)
        self.keys.append(_stored(row, code_sums(row), most * self.across))
        self.open = torch.cat([self.open, value])
        full = len(self.open) == self.part
        if full or self.requantise:
            block = _two_bits(self.open.T, self.part)  # (dim, part)
            self.quantised += 1
        if full:
            self.values.append(_stored(block, code_sums(block), most * self.part))
            self.open = self.open[:0]

    def _key(self, first: int = 0) -> tuple[Quantised, torch.Tensor]:
        """K of the tokens from `first`, (tokens, dim), and its sums."""
        chosen = self.keys[first:]
        codes, scale, least, sums = (
            torch.cat(each)
            for each in zip(*((one.codes(), one.scale, one.least, one.sums) for one in chosen), strict=True)
        )
        return Quantised(codes, scale, least, self.across), sums

    def dense(self) -> tuple[torch.Tensor, torch.Tensor]:
        values = [dequantise(one.quantised()).T for one in self.values]
        return dequantise(self._key()[0]), torch.cat([*values, self.open.float()])

    def octets(self) -> int:
        return sum(one.octets() for one in (*self.keys, *self.values)) + self.open.numel() * self.open.element_size()

    def scores(self, query: torch.Tensor) -> torch.Tensor:
        return self._scores(query)

    def _scores(self, query: torch.Tensor, first: int = 0) -> torch.Tensor:
        key, sums = self._key(first)
        return product(quantise(query, WIDE, self.across), key, sums)

    def tail(self, query: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if not len(self.open):
            return query.new_zeros(len(query), 0), query.new_zeros(0, self.dim)
        scores = self._scores(query.cpu(), self.tokens - len(self.open))
        return scores.to(query.device), self.open.to(query.device).float()

    def mix(self, weights: torch.Tensor) -> torch.Tensor:
        end = self.tokens - len(self.open)
        found = weights[:, end:] @ self.open.float()
        for number, one in enumerate(self.values):
            mine = quantise(weights[:, number * self.part : (number + 1) * self.part], WIDE, self.part)
            found = found + product(mine, one.quantised(), one.sums)
        return found
