"""Codes, and products of them: what is lost is lost by quantising alone."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from esa.kvcache.product import product
from esa.kvcache.quantise import code_sums, dequantise, pack, quantise, unpack
from tests.effort import tries

QUICK = settings(max_examples=tries(60), deadline=None)
seeds = st.integers(0, 2**31)


def drawn(seed: int, *shape: int) -> torch.Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=random) * 3 + 1


@QUICK
@given(
    seeds,
    st.integers(1, 9),
    st.integers(1, 9),
    st.integers(1, 200),
    st.integers(1, 130),
    st.integers(1, 8),
    st.integers(1, 8),
)
def test_a_product_of_codes_is_that_of_the_dequantised(
    seed: int, rows: int, columns: int, inner: int, part: int, bits: int, other_bits: int
) -> None:
    a = quantise(drawn(seed, 2, rows, inner), bits, part)
    b = quantise(drawn(seed + 1, 2, columns, inner), other_bits, part)
    plain = dequantise(a).double() @ dequantise(b).double().transpose(-2, -1)
    scale = (dequantise(a).double().abs() @ dequantise(b).double().abs().transpose(-2, -1)).amax()
    for sums in (None, code_sums(b)):
        assert (product(a, b, sums) - plain).abs().amax() <= 1e-4 * scale


@QUICK
@given(seeds, st.integers(1, 200), st.integers(1, 130), st.integers(1, 8))
def test_values_are_off_by_half_a_step_and_by_a_step_where_rounding_is_random(
    seed: int, length: int, part: int, bits: int
) -> None:
    values = drawn(seed, 3, length)
    for random, steps in ((None, 0.5), (torch.Generator().manual_seed(seed), 1.0)):
        found = quantise(values, bits, part, random=random)
        step = found.scale.repeat_interleave(part, -1)[..., :length]
        assert ((dequantise(found) - values).abs() <= steps * step * (1 + 1e-5) + 1e-5).all()


def test_random_rounding_is_right_in_the_mean() -> None:
    values = torch.tensor([0.0, 0.3, 1.1, 3.0]).repeat(20_000, 1)
    found = dequantise(quantise(values, 2, 4, random=torch.Generator().manual_seed(1)))
    assert torch.allclose(found.mean(0), values[0], atol=0.02)


def test_equal_values_are_kept_exactly() -> None:
    found = quantise(torch.full((2, 10), 0.7), 2, 4)
    assert (found.scale == 0).all()
    assert (dequantise(found) == torch.full((2, 10), 0.7)).all()


@QUICK
@given(seeds, st.sampled_from([1, 2, 4, 8]), st.integers(1, 70))
def test_codes_come_back_from_their_bytes(seed: int, bits: int, length: int) -> None:
    random = torch.Generator().manual_seed(seed)
    codes = torch.randint(0, 2**bits, (3, length), generator=random, dtype=torch.uint8)
    packed = pack(codes, bits)
    assert packed.shape[-1] == -(-length * bits // 8)
    assert (unpack(packed, bits, length) == codes).all()


def test_what_cannot_be_coded_is_refused() -> None:
    with pytest.raises(ValueError, match="bits 9, part 4; allowed: 1 to 8"):
        quantise(torch.ones(4), 9, 4)
    with pytest.raises(ValueError, match="values: some are not finite"):
        quantise(torch.tensor([1.0, float("inf")]), 2, 4)
    with pytest.raises(ValueError, match="bits: 3; allowed: 1, 2, 4, 8"):
        pack(torch.zeros(4, dtype=torch.uint8), 3)
    with pytest.raises(ValueError, match="a 4 by 2, b 4 by 4; allowed"):
        product(quantise(drawn(1, 1, 4), 2, 2), quantise(drawn(1, 1, 4), 2, 4))
