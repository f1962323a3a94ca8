"""Meters as the control plane sees them: rates per cell, in the words that generated code works on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from esa.switch.compiler.layout import METER_WORDS

MAX_BURST = (1 << 62) - 1  # of tokens in a bucket; what is above is as good as this


@dataclass(frozen=True)
class MeterRates:
    """Committed and peak rate in packets or bytes per second, and their bursts in packets or bytes."""

    cir: float
    cburst: int
    pir: float
    pburst: int


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
        self._cells[index] = [1, *_bucket(rates.pir, rates.pburst), *_bucket(rates.cir, rates.cburst)]

    def reset(self, index: int) -> None:
        """Back to green for every packet. Raises IndexError out of range."""
        self._check(index)
        self._rates.pop(index, None)
        self._cells[index] = 0

    def get(self, index: int) -> MeterRates | None:
        """The rates of a cell as they were given; None if it has none. Raises IndexError out of range."""
        self._check(index)
        return self._rates.get(index)

    def configured(self) -> dict[int, MeterRates]:
        """The rates of every cell that has some."""
        return dict(self._rates)

    def clear(self) -> None:
        """Reset every cell."""
        for index in list(self._rates):
            self.reset(index)

    def _check(self, index: int) -> None:
        if not 0 <= index < self.size:
            raise IndexError(f"meter {self.name}: cell {index} of {self.size}")


def check_rates(rates: MeterRates) -> None:
    """Raise ValueError for rates below 0, or a peak below the committed rate."""
    for name in ("cir", "cburst", "pir", "pburst"):
        if not getattr(rates, name) >= 0:
            raise ValueError(f"{name} {getattr(rates, name)} is below 0")
    if rates.pir < rates.cir:
        raise ValueError(f"pir {rates.pir} is below cir {rates.cir}")


def _bucket(rate: float, burst: int) -> list[int]:
    pattern = int(np.float64(float(rate) / 1e6).view(np.int64))
    size = min(burst, MAX_BURST)
    return [pattern, size, size, 0]
