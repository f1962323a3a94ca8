"""Sequence parallelism with cut heads: as on one GPU, for the bytes that the formula says."""

from __future__ import annotations

import pytest
import torch

from esa.errors import BadInput
from esa.kvcache.model import Cut, Shape, attention
from esa.kvcache.parallel import sequence_parallel
from esa.kvcache.sizes import all_to_all_bytes

SHAPE = Shape(layers=1, heads=4, dim=16, window=32)


def heads(seed: int = 1) -> list[torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    return [torch.randn(4, 24, 16, generator=random) for _ in range(3)]


@pytest.mark.parametrize("gpus", [1, 2, 4])
@pytest.mark.parametrize("keep", [None, 8])
def test_it_is_what_one_gpu_makes_of_the_cut_heads(gpus: int, keep: int | None) -> None:
    cut = Cut(key=keep, value=keep)
    found, sent = sequence_parallel(SHAPE, cut, *heads(), gpus=gpus)
    plain = attention(SHAPE, cut, *heads())[..., :keep]
    assert torch.allclose(found, plain, rtol=1e-5, atol=1e-6)
    each = all_to_all_bytes(24, SHAPE.hidden, gpus, part=(keep or 16) / 16)
    assert sent == [4 * each] * gpus  # queries, keys, values, and the results


def test_other_numbers_of_gpus_are_refused() -> None:
    with pytest.raises(BadInput, match="gpus: 3; allowed: a divisor of 4 heads and 24 tokens"):
        sequence_parallel(SHAPE, Cut(), *heads(), gpus=3)
    with pytest.raises(BadInput, match="cut: by class of token"):
        sequence_parallel(SHAPE, Cut(recent=2, old_key=8), *heads(), gpus=2)
