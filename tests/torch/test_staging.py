"""What torch's operations do to gradients, on whatever device there is, to what compiled code does: bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from esa.rounds import Fragments, Rounds, fragments_of
from esa.scales import EXPONENT_MAX, ZEROS, Exponents, Lanes, Scale, adaptive_scale, fixed_scale
from esa.torch.staging import DeviceStaging, HostStaging, Staging, staging_of
from esa.transport import Reduced
from tests.effort import tries

DEVICES = [torch.device("cpu"), *([torch.device("cuda")] if torch.cuda.is_available() else [])]
WIDTHS = st.sampled_from([1, 3, 64, 256])
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
scales = st.builds(adaptive_scale, st.integers(1, 32)) | st.builds(
    fixed_scale, st.integers(-64, 64), st.integers(1, 32)
)


def bits(values: torch.Tensor) -> NDArray[np.uint8]:
    return values.cpu().contiguous().view(torch.uint8).numpy()


class Way:
    """A bucket's way through one staging."""

    def __init__(self, buffer: torch.Tensor, staging: Staging, agreed: Exponents, width: int, scale: Scale) -> None:
        self.out = torch.full_like(buffer, torch.nan)
        values = staging.values(buffer)
        lanes = staging.empty(buffer.numel(), np.int32)
        self.rounds = Rounds(values, agreed, width, scale, lanes, staging)

    def sent(self) -> list[Any]:
        rounds = self.rounds
        return [rounds.lanes.tolist(), rounds.exponents.tolist(), rounds.nonzero, rounds.vanished]

    def repeated(self, again: Fragments, merged: Exponents) -> tuple[Lanes, Exponents]:
        lanes, exponents = self.rounds.repeat(again, merged)
        return lanes.copy(), exponents.copy()

    def written(self, reduced: Reduced, again: Fragments, repeated: Lanes, divisor: int) -> NDArray[np.uint8]:
        self.rounds.write(reduced, again, repeated, self.out, divisor)
        return bits(self.out)


@pytest.mark.parametrize("device", DEVICES, ids=str)
@settings(max_examples=tries(150), deadline=None)
@given(st.integers(1, 700), WIDTHS, scales, st.sampled_from(DTYPES), st.integers(1, 40), st.integers(0, 2**32))
def test_a_bucket_s_way_is_the_compiled_one_s(
    device: torch.device, size: int, width: int, scale: Scale, dtype: torch.dtype, divisor: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    wide = rng.normal(size=size) * 10.0 ** rng.integers(-46, 39, size) * rng.integers(0, 2, size)
    wide[rng.random(size) < 0.002] = rng.choice([np.nan, np.inf, -np.inf])
    there = torch.from_numpy(wide).to(dtype)
    agreed = rng.integers(ZEROS, EXPONENT_MAX + 1, fragments_of(size, width)).astype(np.int8)
    host = Way(there.clone(), HostStaging(), agreed, width, scale)
    other = Way(there.to(device, copy=True), DeviceStaging(device), agreed, width, scale)
    assert other.sent() == host.sent()

    merged = np.minimum(host.rounds.exponents, EXPONENT_MAX)
    again = host.rounds.again(merged)
    repeated = host.rounds.lanes
    if again.size:
        repeated, exponents = host.repeated(again, merged)
        lanes_there, exponents_there = other.repeated(again, merged)
        assert (lanes_there.tolist(), exponents_there.tolist()) == (repeated.tolist(), exponents.tolist())
    assert other.rounds.vanished == host.rounds.vanished
    reduced = Reduced(host.rounds.lanes, merged)
    here = host.written(reduced, again, repeated, divisor)
    assert np.array_equal(other.written(reduced, again, repeated, divisor), here)


@pytest.mark.parametrize("device", DEVICES, ids=str)
def test_all_lanes_are_divided_with_one_rounding(device: torch.device) -> None:
    """By 3 a product with the reciprocal is another number for some of these."""
    lanes = np.arange(-(2**17), 2**17, dtype=np.int32) * 8191
    agreed = np.zeros(lanes.size // 64, np.int8)
    found = []
    for staging, where in ((HostStaging(), "cpu"), (DeviceStaging(device), device)):
        out = torch.empty(lanes.size, dtype=torch.float64, device=where)
        staging.dequantise(lanes, agreed, 64, fixed_scale(0, 3), out, 3)
        found.append(bits(out))
    assert np.array_equal(found[0], np.frombuffer((lanes / 3.0).tobytes(), np.uint8))
    assert np.array_equal(*found)


def test_gradients_in_host_memory_stay_where_they_are() -> None:
    staging = staging_of(torch.device("cpu"))
    buffer = torch.ones(5)
    assert staging.values(buffer).ctypes.data == buffer.data_ptr()
    assert staging.incoming is None


@pytest.mark.parametrize("device", DEVICES, ids=str)
def test_a_scale_is_that_of_the_call(device: torch.device) -> None:
    """As of a job with more workers, which a state is attached to later."""
    staging, buffer = DeviceStaging(device), torch.ones(5, device=device)
    agreed = np.ones(1, np.int8)
    found = [Rounds(staging.values(buffer), agreed, 64, adaptive_scale(fan_in), None, staging) for fan_in in (2, 16)]
    assert [rounds.lanes.tolist() for rounds in found] == [[2**28] * 5, [2**25] * 5]
