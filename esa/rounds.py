"""One array's way through a transport: what is sent first, what has to be sent again, and what comes out.

    first = Rounds(values, agreed, transport.fragment_lanes, scale)
    reduced = transport.all_reduce(first.lanes, priority, first.exponents).result()
    again = first.again(reduced.exponents)                     # fragments, the same on every worker
    lanes, exponents = first.repeat(again, reduced.exponents)  # one more all-reduce, where there are any
    first.write(reduced, again, sums_of_the_repeat, out, divisor=transport.size)

`esa/scales.py` has the arithmetic and the reasons; `esa/quantize.py`, which brings a compiler along, is imported when
the first array comes. Where values are elsewhere than in NumPy's arrays, a `Quantiser` of their own does what is done
to them, to the same bits. Nothing here talks to anybody.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from numpy.typing import NDArray

from esa.scales import ZEROS, Exponents, Lanes, Scale, agreed_next, must_repeat
from esa.transport import Reduced, fragments_of
from esa.wire import EXPONENT_POISON

Fragments = NDArray[np.int64]


class Quantiser(Protocol):
    """What is done to values where they are: one-dimensional arrays of its own kind, `values` and `out`.

    All else is NumPy's and in host memory: `lanes` (n,) int32, one exponent of `agreed` and `needed` (int8) and one
    count of `vanished` (int32) per fragment.
    """

    def empty(self, size: int, dtype: npt.DTypeLike) -> NDArray[Any]:
        """Host memory that the two below get at best."""

    def fragments(self, values: Any, which: Fragments, fragment_lanes: int) -> Any:
        """Those fragments of `values` in a row, each whole: the last of all is filled up with zeros."""

    def quantise(
        self,
        values: Any,
        agreed: Exponents,
        fragment_lanes: int,
        scale: Scale,
        lanes: Lanes,
        needed: Exponents,
        vanished: NDArray[np.int32],
    ) -> int:
        """As `esa.quantize.quantise`; all is written when it returns."""

    def dequantise(
        self, lanes: Lanes, agreed: Exponents, fragment_lanes: int, scale: Scale, out: Any, divisor: int
    ) -> None:
        """As `esa.quantize.dequantise`; all is written when it returns."""


class OnHost:
    """Values in NumPy's arrays, float32 or float64, contiguous."""

    def empty(self, size: int, dtype: npt.DTypeLike) -> NDArray[Any]:
        return np.empty(size, dtype)

    def fragments(self, values: Any, which: Fragments, fragment_lanes: int) -> Any:
        rows = np.zeros((which.size, fragment_lanes), values.dtype)
        last = fragments_of(values.size, fragment_lanes) - 1
        whole = which[which < last]
        rows[: whole.size] = values[: last * fragment_lanes].reshape(last, fragment_lanes)[whole]
        if whole.size < which.size:
            rows[-1, : values.size - last * fragment_lanes] = values[last * fragment_lanes :]
        return rows.reshape(-1)

    def quantise(self, values: Any, *others: Any) -> int:
        from esa.quantize import quantise

        return quantise(values, *others)

    def dequantise(self, lanes: Lanes, *others: Any) -> None:
        from esa.quantize import dequantise

        dequantise(lanes, *others)


ON_HOST = OnHost()


def nothing_agreed(values: int, fragment_lanes: int) -> Exponents:
    """The agreed exponents of an array that was never sent."""
    return np.full(fragments_of(values, fragment_lanes), ZEROS, np.int8)


def prepare(scale: Scale) -> None:
    """Compile, or load from the cache, what the first use would make all other workers wait for."""
    for one in (np.zeros(1, np.float32), np.zeros(1)):
        sent = Rounds(one, nothing_agreed(1, 1), 1, scale)
        sent.write(Reduced(sent.lanes, sent.exponents), sent.again(sent.exponents), sent.lanes, one, 1)


class Rounds:
    """`values` (n,) as they are sent under `agreed`, one exponent per fragment.

    `lanes` (n,) int32 and `exponents` (fragments,) int8 are for the transport. `nonzero`: values that are not zero.
    `values` must stay as they are until nothing is repeated any more. lanes: the memory to use. quantiser: for other
    values than NumPy's.
    """

    def __init__(
        self,
        values: Any,
        agreed: Exponents,
        fragment_lanes: int,
        scale: Scale,
        lanes: Lanes | None = None,
        quantiser: Quantiser = ON_HOST,
    ) -> None:
        self.lanes: Lanes = quantiser.empty(len(values), np.int32) if lanes is None else lanes
        self._values, self._agreed, self._fragment_lanes, self._scale = values, agreed, fragment_lanes, scale
        self._quantiser = quantiser
        self.nonzero, self.exponents, self._vanished = self._quantised(values, agreed, self.lanes)

    def _quantised(self, values: Any, agreed: Exponents, lanes: Lanes) -> tuple[int, Exponents, NDArray[np.int32]]:
        """Write the lanes; the non-zero values, and by fragment the exponents needed and the values that vanished."""
        exponents = self._quantiser.empty(agreed.size, np.int8)
        vanished = self._quantiser.empty(agreed.size, np.int32)
        width, scale = self._fragment_lanes, self._scale
        return self._quantiser.quantise(values, agreed, width, scale, lanes, exponents, vanished), exponents, vanished

    def again(self, merged: Exponents) -> Fragments:
        """The fragments that every worker sends again. None where one has no scale: the whole array is redone then."""
        if not self._scale.adaptive or (merged == EXPONENT_POISON).any():
            return np.empty(0, np.int64)
        return np.flatnonzero(must_repeat(self._agreed, merged))

    def repeat(self, again: Fragments, merged: Exponents) -> tuple[Lanes, Exponents]:
        """What is sent again, under what everybody has read: whole fragments, the last filled up with zeros."""
        values = self._quantiser.fragments(self._values, again, self._fragment_lanes)
        lanes: Lanes = self._quantiser.empty(again.size * self._fragment_lanes, np.int32)
        _, exponents, self._vanished[again] = self._quantised(values, merged[again], lanes)
        return lanes, exponents

    def write(self, reduced: Reduced, again: Fragments, repeated: Lanes, out: Any, divisor: int) -> None:
        """Write the sum over all workers, divided by `divisor`, to `out` (n,), an array like `values`.

        repeated: the sums of what `again` names, as `repeat` laid them out.
        """
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
        self._quantiser.dequantise(lanes, agreed, self._fragment_lanes, self._scale, out, divisor)

    @property
    def vanished(self) -> int:
        """This worker's non-zero values that were sent as zero, in the round that counts."""
        return int(self._vanished.sum())

    def agreed_next(self, merged: Exponents) -> Exponents:
        """The agreed exponents of the next use of this array."""
        return agreed_next(self._agreed, merged) if self._scale.adaptive else self._agreed
