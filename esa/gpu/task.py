"""What shares a GPU: a task asks for the same kernels again and again, launched by a host's thread.

A thread works `issue_ns` on a launch and then makes the request; before some launches it waits until all that it
launched before is through (a result that it reads, a synchronisation). So there are gaps on the device: where the
host waits, for as long as it works on the next launch; and where kernels are shorter than launches take.
No public file of gaps is known to us: this model stands in for one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from esa.errors import BadInput
from esa.gpu.kernels import Kernels

PRIORITIES = 10  # 0 is the highest
MAX_TASKS = 64
MAX_NS = 10**15


class Launches(NamedTuple):
    """A request's kernels and what the host does before each: works so long; waits for all before it, or not."""

    kernels: Kernels
    issue_ns: npt.NDArray[np.int64]
    waits: npt.NDArray[np.bool_]


class Profile(NamedTuple):
    """What a rule believes of each kernel of a request: how long it takes, and how long the device is idle after it."""

    expected_ns: npt.NDArray[np.int64]
    gap_ns: npt.NDArray[np.int64]


def issued(kernels: Kernels, issue_ns: int, wait_every: int = 0) -> Launches:
    """Launches that take the host `issue_ns` each. wait_every: it waits before each so-many-th; 0: never."""
    if not 0 <= issue_ns <= MAX_NS:
        raise BadInput(f"issue_ns: {issue_ns}; allowed: 0 to {MAX_NS}")
    if wait_every < 0:
        raise BadInput(f"wait_every: {wait_every}; allowed: 0, never, and more")
    place = np.arange(len(kernels))
    waits = (place % wait_every == 0) if wait_every else np.zeros(len(kernels), np.bool_)
    return Launches(kernels, np.full(len(kernels), issue_ns, np.int64), waits)


@dataclass(frozen=True)
class Task:
    """Requests of one program.

    priority:    0, the highest, to 9
    requests:    how many; with `arrivals_ns` as many as those
    think_ns:    from a request's end to the next one
    start_ns:    when the first one comes
    arrivals_ns: when each comes, whatever became of those before, which go first: in between, the task is away; None:
                 one after the other, and it is there from the first launch to the last end
    background:  goes on as long as there are others that do not
    profile:     what rules believe; None: the truth of durations, and no gap
    """

    name: str
    priority: int
    launches: Launches
    requests: int = 1
    think_ns: int = 0
    start_ns: int = 0
    arrivals_ns: tuple[int, ...] | None = None
    background: bool = False
    profile: Profile | None = None

    def believed(self) -> Profile:
        """The profile, or durations as they are with no gap after any."""
        durations = self.launches.kernels.duration_ns
        return self.profile or Profile(durations, np.zeros_like(durations))


def check_tasks(tasks: Sequence[Task]) -> None:
    """BadInput, one line that names the task and what is allowed."""
    if not 1 <= len(tasks) <= MAX_TASKS:
        raise BadInput(f"tasks: {len(tasks)}; allowed: 1 to {MAX_TASKS}")
    names = [task.name for task in tasks]
    for name in names:
        if names.count(name) > 1:
            raise BadInput(f"tasks: two of name '{name}'; allowed: a name for each")
    if all(task.background for task in tasks):
        raise BadInput("tasks: all in the background, and would not end; allowed: one that is not")
    for task in tasks:
        _check_task(task)


def _check_task(task: Task) -> None:
    count = len(task.launches.kernels)
    lengths = [len(one) for one in (task.launches.issue_ns, task.launches.waits, *task.believed())]
    if lengths != [count] * len(lengths):
        raise BadInput(f"task {task.name}: {count} kernels, and {lengths} of what goes with them; allowed: as many")
    if not 0 <= task.priority < PRIORITIES:
        raise BadInput(f"task {task.name}: priority: {task.priority}; allowed: 0, the highest, to {PRIORITIES - 1}")
    if task.requests < 1:
        raise BadInput(f"task {task.name}: requests: {task.requests}; allowed: 1 and more")
    for key, value in (("think_ns", task.think_ns), ("start_ns", task.start_ns)):
        if not 0 <= value <= MAX_NS:
            raise BadInput(f"task {task.name}: {key}: {value}; allowed: 0 to {MAX_NS}")
    arrivals = task.arrivals_ns
    if arrivals is None:
        return
    if task.background:
        raise BadInput(f"task {task.name}: arrivals_ns, in the background; allowed: one request after the other")
    if len(arrivals) != task.requests:
        raise BadInput(
            f"task {task.name}: arrivals_ns: {len(arrivals)}; allowed: {task.requests}, one for each request"
        )
    if any(later < earlier for earlier, later in zip((0, *arrivals), arrivals, strict=False)):
        raise BadInput(f"task {task.name}: arrivals_ns: not in the order of time, from 0 on")
