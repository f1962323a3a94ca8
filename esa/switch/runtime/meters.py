"""Meters as the control plane sees them: rates per cell, in the words that generated code works on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from esa.switch.compiler.layout import METER_WORDS

MAX_BURST = (1 << 61) - 1  # of tokens in a bucket; what is above is as good as this
_COUNTS = 9  # where a cell's counts begin
Counts = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]


@dataclass(frozen=True)
class MeterRates:
    """Committed and peak rate in packets or bytes per second, and their bursts in packets or bytes.

    With `eburst` a meter has one rate (RFC 2697): what is above cburst is yellow up to that, and pir and pburst are cir
    and cburst. Without it has two (RFC 2698).
    """

    cir: float
    cburst: int
    pir: float
    pburst: int
    eburst: int | None = None


class Meter:
    """A meter array, or a table's direct meter (by row): `size` cells, all green until they are given rates.

    As in BMv2 a cell's buckets are full when it is given rates, and again whenever it is given rates anew.
    """

    def __init__(self, name: str, unit: str, words: npt.NDArray[np.int64]) -> None:
        """`words`: int64 (size * METER_WORDS,), a live view."""
        self.name = name
        self.unit = unit
        self._cells = words.reshape(-1, METER_WORDS)
        self.size = len(self._cells)
        self._rates: dict[int, MeterRates] = {}

    def set(self, index: int, rates: MeterRates) -> None:
        """Configure a cell. Raises IndexError out of range, ValueError for rates that no bucket can have."""
        self._check(index)
        check_rates(rates)
        self._rates[index] = rates
        committed = _bucket(rates.cir, rates.cburst)
        if rates.eburst is None:
            words = [1, *_bucket(rates.pir, rates.pburst), *committed]
        else:
            words = [2, *_bucket(0.0, rates.eburst), *committed]
        self._cells[index, :_COUNTS] = words

    def reset(self, index: int) -> None:
        """Back to green for every packet; counts stay. Raises IndexError out of range."""
        self._check(index)
        self._rates.pop(index, None)
        self._cells[index, :_COUNTS] = 0

    def renew(self, index: int) -> None:
        """As `reset`, and nothing is counted. Raises IndexError out of range."""
        self.reset(index)
        self.forget(index)

    def counts(self, index: int) -> Counts:
        """(packets, bytes) that were green, yellow and red. Raises IndexError out of range."""
        self._check(index)
        green, green_bytes, yellow, yellow_bytes, red, red_bytes = self._cells[index, _COUNTS:].tolist()
        return (green, green_bytes), (yellow, yellow_bytes), (red, red_bytes)

    def forget(self, index: int) -> None:
        """Set the counts of a cell to 0. Raises IndexError out of range."""
        self._check(index)
        self._cells[index, _COUNTS:] = 0

    def get(self, index: int) -> MeterRates | None:
        """The rates of a cell as they were given; None if it has none. Raises IndexError out of range."""
        self._check(index)
        return self._rates.get(index)

    def configured(self) -> dict[int, MeterRates]:
        """The rates of every cell that has some."""
        return dict(self._rates)

    def take_counts(self, other: Meter) -> None:
        """Go on from what another meter of the same size has counted."""
        self._cells[:, _COUNTS:] = other._cells[:, _COUNTS:]

    def clear(self) -> None:
        """Renew every cell."""
        self._rates.clear()
        self._cells[:] = 0

    def _check(self, index: int) -> None:
        if not 0 <= index < self.size:
            raise IndexError(f"meter {self.name}: cell {index} of {self.size}")


def check_rates(rates: MeterRates) -> None:
    """Raise ValueError for rates below 0, or a peak below the committed rate, or besides one rate."""
    for name in ("cir", "cburst", "pir", "pburst", "eburst"):
        value = getattr(rates, name)
        if value is not None and not value >= 0:
            raise ValueError(f"{name} {value} is below 0")
    if rates.eburst is not None and (rates.pir, rates.pburst) != (rates.cir, rates.cburst):
        raise ValueError("it has one rate: pir and pburst must be cir and cburst")
    if rates.pir < rates.cir:
        raise ValueError(f"pir {rates.pir} is below cir {rates.cir}")


def _bucket(rate: float, burst: int) -> list[int]:
    pattern = int(np.float64(float(rate) / 1e6).view(np.int64))
    size = min(burst, MAX_BURST)
    return [pattern, size, size, 0]
