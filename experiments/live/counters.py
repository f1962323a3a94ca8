"""What switches counted by job since the training began, over restarts of the switches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from controller import SwitchError
from experiments.live.measured import Measured


class Looked(Protocol):
    """Who looks after a switch."""

    @property
    def restorations(self) -> int: ...

    @property
    def whole(self) -> bool: ...


@dataclass
class SwitchCounters:
    """One switch's, by job.

    read: its counters by job index; SwitchError where it is away. indices: job -> its counters in the switch.
    """

    name: str
    read: Callable[[Sequence[int]], list[dict[str, int]]]
    looked: Looked
    indices: dict[str, int]
    counted: dict[str, dict[str, int]] = field(default_factory=dict)  # since `begin`
    _baseline: dict[str, dict[str, int]] = field(default_factory=dict)  # before; of a restarted switch, below zero
    _last: dict[str, dict[str, int]] = field(default_factory=dict)  # as last read
    _paused: set[str] = field(default_factory=set)  # jobs between two runs
    _restorations: int = 0

    def begin(self) -> None:
        """What was counted until now is not counted."""
        self._baseline = self._read()

    def count(self) -> dict[str, int]:
        """Read the counters; returns the rows in use by job. While the switch is being restarted there are none."""
        restorations = self.looked.restorations
        try:
            now = self._read()
        except SwitchError:
            return {}
        if not self.looked.whole or restorations != self._restorations or restorations != self.looked.restorations:
            return {}
        now = {job: counters for job, counters in now.items() if job not in self._paused}
        self._last = now
        for job, counters in now.items():
            baseline = self._baseline.setdefault(job, dict.fromkeys(counters, 0))
            self.counted[job] = {name: count - baseline[name] for name, count in counters.items()}
        return {job: max(0, counters["seated"] - counters["released"]) for job, counters in now.items()}

    def pause(self, job: str) -> None:
        """A job's run is over, and the next one counts from zero: until `go_on` nothing counts."""
        self._paused.add(job)
        self._last.pop(job, None)

    def go_on(self, job: str) -> None:
        """A job goes on in another run: what that has counted until now is not counted."""
        self._paused.discard(job)
        if job not in self.indices:
            return
        try:
            (now,) = self.read([self.indices[job]])
        except SwitchError:  # when it is back it counts from zero
            now = dict.fromkeys(self.counted.get(job, {}), 0)
        self._baseline[job] = {name: count - self.counted.get(job, {}).get(name, 0) for name, count in now.items()}

    def restored(self) -> bool:
        """Whether a restarted switch got its jobs back since the last call: it counts from zero again."""
        if self._restorations == self.looked.restorations:
            return False
        self._restorations = self.looked.restorations
        for job, counters in self._last.items():
            before = self._baseline.get(job, counters)
            self._baseline[job] = {name: before[name] - count for name, count in counters.items()}
        self._last = {}
        return True

    def _read(self) -> dict[str, dict[str, int]]:
        if not self.indices:
            return {}
        return dict(zip(self.indices, self.read(list(self.indices.values())), strict=True))


class Counters:
    """Reads the counters of all switches into `measured`.

    counters.begin()
    rows = counters.count()
    """

    def __init__(self, switches: Sequence[SwitchCounters], measured: Measured) -> None:
        self.switches = switches
        self._measured = measured

    def begin(self) -> None:
        """What was counted until now is not counted."""
        for switch in self.switches:
            switch.begin()

    def count(self) -> dict[str, int]:
        """Read the counters; returns the rows in use by job, over all switches; none while one is being restarted."""
        rows: Counter[str] = Counter()
        of_each = [switch.count() for switch in self.switches]
        for one in of_each:
            rows.update(one)
        self._measured.by_switch = {switch.name: switch.counted for switch in self.switches}
        self._measured.counters = total(self._measured.by_switch)
        return dict(rows) if all(of_each) else {}

    def pause(self, job: str) -> None:
        """A job was stopped; what it has counted is kept."""
        self.count()
        for switch in self.switches:
            switch.pause(job)

    def go_on(self, job: str) -> None:
        """A job that was stopped trains again."""
        for switch in self.switches:
            switch.go_on(job)

    def restored(self) -> list[str]:
        """Switches that were restarted and got their jobs back since the last call."""
        return [switch.name for switch in self.switches if switch.restored()]

    def forget(self, job: str) -> bool:
        """A job leaves the switches; whether it was there."""
        there = [switch.indices.pop(job, None) is not None for switch in self.switches]
        return any(there)


def total(by_switch: Mapping[str, Mapping[str, Mapping[str, int]]]) -> dict[str, dict[str, int]]:
    """By job and counter, over all switches."""
    found: dict[str, Counter[str]] = {}
    for counted in by_switch.values():
        for job, counters in counted.items():
            found.setdefault(job, Counter(dict.fromkeys(counters, 0))).update(counters)
    return {job: dict(counters) for job, counters in found.items()}
