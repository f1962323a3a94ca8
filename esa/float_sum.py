"""Sums of floats over a transport, without PyTorch: every worker gets the same bits.

sums = all_reduce_float(worker, np.float32([0.1, 1e-9]))                 # one array from each worker

agreed = nothing_agreed(gradient.size, worker.fragment_lanes)
for step in range(100):                                                  # the second time each fragment goes out once
    means = all_reduce_float(worker, gradient, average=True, agreed=agreed)
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from esa.rounds import Rounds, nothing_agreed
from esa.scales import Exponents, adaptive_scale
from esa.transport import Transport
from esa.wire import EXPONENT_POISON

__all__ = ["all_reduce_float", "nothing_agreed"]

_Float = TypeVar("_Float", np.float32, np.float64)


def all_reduce_float(
    transport: Transport,
    array: NDArray[_Float],
    priority: int = 128,
    *,
    average: bool = False,
    agreed: Exponents | None = None,
) -> NDArray[_Float]:
    """The sum of every worker's `array` (any shape, float32 or float64), or its mean; waits for it.

    Collective: every worker calls it with as many values, in the same order among the all-reduces of the transport. The
    error is that of `esa.scales`: about 2e-8 of the largest value of a fragment.
    agreed: (fragments,) int8, what the last use of an array of this size left there; changed in place. Without it
    nothing is known of the values' size, and every fragment goes out twice.
    OverflowError, on every worker alike, where any has a NaN, an infinity or a magnitude of 2**126 (8.5e37) or more:
    there is no scale for these, and no other network here that could add them.
    """
    if array.dtype not in (np.float32, np.float64):
        raise TypeError(f"array: float32 or float64, not {array.dtype}")
    values = np.ascontiguousarray(array).reshape(-1)
    width = transport.fragment_lanes
    if agreed is None:
        agreed = nothing_agreed(values.size, width)
    first = Rounds(values, agreed, width, adaptive_scale(transport.size))
    reduced = transport.all_reduce(first.lanes, priority, first.exponents).result()
    if (reduced.exponents == EXPONENT_POISON).any():
        start = int(np.argmax(reduced.exponents == EXPONENT_POISON)) * width
        raise OverflowError(
            f"values {start}..{min(start + width, values.size) - 1} of {values.size}: some worker has a NaN, an "
            "infinity or a magnitude from 2**126 on, for which there is no scale"
        )
    again, repeated = first.again(reduced.exponents), first.lanes
    if again.size:
        lanes, exponents = first.repeat(again, reduced.exponents)
        repeated = transport.all_reduce(lanes, priority, exponents).result().lanes
    out = np.empty_like(values)
    first.write(reduced, again, repeated, out, transport.size if average else 1)
    agreed[:] = first.agreed_next(reduced.exponents)
    return out.reshape(array.shape)
