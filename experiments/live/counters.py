"""What the switch counted by job since the training began, over restarts of the switch."""

from __future__ import annotations

from collections.abc import Mapping

from controller import Controller, Supervisor, SwitchError
from experiments.live.measured import Measured


class Counters:
    """Reads the switch's counters into `measured.counters`.

    counters.begin()
    rows = counters.count()
    """

    def __init__(
        self, controller: Controller, supervisor: Supervisor, indices: Mapping[str, int], measured: Measured
    ) -> None:
        """indices: job -> its counters in the switch."""
        self._controller = controller
        self._supervisor = supervisor
        self._indices = dict(indices)
        self._measured = measured
        self._baseline: dict[str, dict[str, int]] = {}  # before the training; of a restarted switch, below zero
        self._last: dict[str, dict[str, int]] = {}  # as last read
        self._restorations = 0

    def begin(self) -> None:
        """What was counted until now is not counted."""
        self._baseline = self._read()

    def count(self) -> dict[str, int]:
        """Read the counters; returns the rows in use by job. While the switch is being restarted there are none."""
        restorations = self._supervisor.restorations
        try:
            now = self._read()
        except SwitchError:
            return {}
        if (
            not self._supervisor.whole
            or restorations != self._restorations
            or restorations != self._supervisor.restorations
        ):
            return {}
        self._last = now
        for job, counters in now.items():
            baseline = self._baseline.setdefault(job, dict.fromkeys(counters, 0))
            self._measured.counters[job] = {name: count - baseline[name] for name, count in counters.items()}
        return {job: max(0, counters["seated"] - counters["released"]) for job, counters in now.items()}

    def restored(self) -> bool:
        """Whether a restarted switch got its jobs back since the last call: it counts from zero again."""
        if self._restorations == self._supervisor.restorations:
            return False
        self._restorations = self._supervisor.restorations
        for job, counters in self._last.items():
            before = self._baseline.get(job, counters)
            self._baseline[job] = {name: before[name] - count for name, count in counters.items()}
        self._last = {}
        return True

    def forget(self, job: str) -> bool:
        """A job leaves the switch; whether it was there."""
        return self._indices.pop(job, None) is not None

    def _read(self) -> dict[str, dict[str, int]]:
        if not self._indices:
            return {}
        counters = self._controller.read_counters(list(self._indices.values()))
        return dict(zip(self._indices, counters, strict=True))
