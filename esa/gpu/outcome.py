"""What came of tasks that shared a device."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class TaskOutcome:
    """One task; times in ns.

    jct_ns: int64, by request that ended, from when it came; none in the background
    ended_ns: int64, when each did
    kernels, requests: that ended, in the background, too; busy_ns: on the device, without what was stopped
    filled, filled_ns: kernels that ran as fillers of others' gaps, and their time
    delay_ns: sum over kernels of the time from when each could begin, on a free device, to when it did; first_delay_ns:
              of that, of the first ones after it was away; worst_delay_ns: the longest of the others
    delays_ns: int64, of that, until each request's end
    """

    name: str
    priority: int
    jct_ns: npt.NDArray[np.int64]
    ended_ns: npt.NDArray[np.int64]
    delays_ns: npt.NDArray[np.int64]
    kernels: int
    requests: int
    busy_ns: int
    filled: int
    filled_ns: int
    delay_ns: int
    first_delay_ns: int
    worst_delay_ns: int

    @property
    def mean_jct_ns(self) -> float | None:
        """None where no request ended, or in the background."""
        return float(self.jct_ns.mean()) if len(self.jct_ns) else None


@dataclass(frozen=True)
class Outcome:
    """All tasks, in their order, and the device's time: busy with tasks + idle + switching + wasted = elapsed.

    log: int64 (kernels, 6): task, launch, when it was requested, began and ended, whether as a filler.
    incomplete: why not all requests ended, if so.
    """

    tasks: tuple[TaskOutcome, ...]
    elapsed_ns: int
    idle_ns: int
    switch_ns: int
    wasted_ns: int
    kernels: int
    log: npt.NDArray[np.int64]
    incomplete: str | None = None

    def task(self, name: str) -> TaskOutcome:
        """KeyError for a name that no task has."""
        for one in self.tasks:
            if one.name == name:
                return one
        raise KeyError(name)
