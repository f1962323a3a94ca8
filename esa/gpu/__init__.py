"""A GPU that tasks share: a queue of kernels at microseconds, and who may run in whose gaps (FIKIT and its neighbours).

    from esa.gpu import Task, fikit, issued, measure, share, synthetic_kernels

    holder = Task("detector", 0, issued(synthetic_kernels(seed=1), issue_ns=15_000, wait_every=1), requests=20)
    filler = Task("training", 5, issued(synthetic_kernels(seed=2), issue_ns=5_000), requests=20)
    outcome = share([measure(holder), measure(filler)], fikit())

The device runs one kernel at a time: what kernels do beside each other is outside of this model. Memory is not
scheduled: all tasks are taken to fit.
"""

from esa.gpu.kernels import Kernels, read_kernels
from esa.gpu.outcome import Outcome, TaskOutcome
from esa.gpu.profile import measure
from esa.gpu.rules import NAMES, Rule, exclusive, fifo, fikit, orion_like, reef_like, time_slice, xsched_like
from esa.gpu.simulate import share
from esa.gpu.synthetic import synthetic_kernels
from esa.gpu.task import Launches, Task, issued

__all__ = [
    "NAMES",
    "Kernels",
    "Launches",
    "Outcome",
    "Rule",
    "Task",
    "TaskOutcome",
    "exclusive",
    "fifo",
    "fikit",
    "issued",
    "measure",
    "orion_like",
    "read_kernels",
    "reef_like",
    "share",
    "synthetic_kernels",
    "time_slice",
    "xsched_like",
]
