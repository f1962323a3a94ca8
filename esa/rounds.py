"""One array's way through a transport: what is sent first, what has to be sent again, and what comes out.

    first = Rounds(values, agreed, transport.fragment_lanes, scale)
    reduced = transport.all_reduce(first.lanes, priority, first.exponents).result()
    again = first.again(reduced.exponents)                     # fragments, the same on every worker
    lanes, exponents = first.repeat(again, reduced.exponents)  # one more all-reduce, where there are any
    first.write(reduced, again, sums_of_the_repeat, out, divisor=transport.size)

`esa/scales.py` has the arithmetic and the reasons; `esa/quantize.py`, which brings a compiler along, is imported when
the first array comes. Nothing here talks to anybody.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from esa.scales import ZEROS, Exponents, Floats, Lanes, Scale, agreed_next, must_repeat
from esa.transport import Reduced, fragments_of
from esa.wire import EXPONENT_POISON

Fragments = NDArray[np.int64]


def nothing_agreed(values: int, fragment_lanes: int) -> Exponents:
    """The agreed exponents of an array that was never sent."""
    return np.full(fragments_of(values, fragment_lanes), ZEROS, np.int8)


def prepare(scale: Scale) -> None:
    """Compile, or load from the cache, what the first use would make all other workers wait for."""
    for one in (np.zeros(1, np.float32), np.zeros(1)):
        sent = Rounds(one, nothing_agreed(1, 1), 1, scale)
        sent.write(Reduced(sent.lanes, sent.exponents), sent.again(sent.exponents), sent.lanes, one, 1)


class Rounds:
    """`values` (n,), float32 or float64, as they are sent under `agreed`, one exponent per fragment.

    `lanes` (n,) int32 and `exponents` (fragments,) int8 are for the transport. `nonzero`: values that are not zero.
    `values` must stay as they are until nothing is repeated any more. lanes: the memory to use.
    """

    def __init__(
        self, values: Floats, agreed: Exponents, fragment_lanes: int, scale: Scale, lanes: Lanes | None = None
    ) -> None:
        self.lanes = np.empty(values.size, np.int32) if lanes is None else lanes
        self.exponents = np.empty(agreed.size, np.int8)
        self._vanished = np.empty(agreed.size, np.int32)
        self._values, self._agreed, self._fragment_lanes, self._scale = values, agreed, fragment_lanes, scale
        from esa.quantize import quantise

        self.nonzero = quantise(values, agreed, fragment_lanes, scale, self.lanes, self.exponents, self._vanished)

    def again(self, merged: Exponents) -> Fragments:
        """The fragments that every worker sends again. None where one has no scale: the whole array is redone then."""
        if not self._scale.adaptive or (merged == EXPONENT_POISON).any():
            return np.empty(0, np.int64)
        return np.flatnonzero(must_repeat(self._agreed, merged))

    def repeat(self, again: Fragments, merged: Exponents) -> tuple[Lanes, Exponents]:
        """What is sent again, under what everybody has read: whole fragments, the last filled up with zeros."""
        from esa.quantize import quantise

        width = self._fragment_lanes
        values = np.zeros((again.size, width), self._values.dtype)
        last = self._agreed.size - 1
        whole = again[again < last]
        values[: whole.size] = self._values[: last * width].reshape(last, width)[whole]
        if whole.size < again.size:
            values[-1, : self._values.size - last * width] = self._values[last * width :]
        lanes, exponents = np.empty(values.size, np.int32), np.empty(again.size, np.int8)
        vanished = np.empty(again.size, np.int32)
        quantise(values.reshape(-1), merged[again], width, self._scale, lanes, exponents, vanished)
        self._vanished[again] = vanished
        return lanes, exponents

    def write(self, reduced: Reduced, again: Fragments, repeated: Lanes, out: Floats, divisor: int) -> None:
        """Write the sum over all workers, divided by `divisor`, to `out` (n,) float32 or float64.

        repeated: the sums of what `again` names, as `repeat` laid them out.
        """
        from esa.quantize import dequantise

        lanes, agreed = reduced.lanes, self._agreed
        if again.size:
            width, last = self._fragment_lanes, self._agreed.size - 1
            lanes, agreed = lanes.copy(), agreed.copy()
            agreed[again] = reduced.exponents[again]
            fragments = repeated.reshape(again.size, width)
            whole = again[again < last]
            lanes[: last * width].reshape(last, width)[whole] = fragments[: whole.size]
            if whole.size < again.size:
                lanes[last * width :] = fragments[-1, : lanes.size - last * width]
        dequantise(lanes, agreed, self._fragment_lanes, self._scale, out, divisor)

    @property
    def vanished(self) -> int:
        """This worker's non-zero values that were sent as zero, in the round that counts."""
        return int(self._vanished.sum())

    def agreed_next(self, merged: Exponents) -> Exponents:
        """The agreed exponents of the next use of this array."""
        return agreed_next(self._agreed, merged) if self._scale.adaptive else self._agreed
