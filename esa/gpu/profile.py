"""FIKIT's first stage: run a task alone some times, and learn how long its kernels and the gaps after them are.

Means are taken by identity, as kernels are told from each other by name and size. The same identity is followed by
different gaps at different places of a model, where its mean is wrong at each: `by="position"` tells places apart, too.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from esa.errors import BadInput
from esa.gpu.rules import fifo
from esa.gpu.simulate import share
from esa.gpu.task import Profile, Task

BY = ("identity", "position")
GAPS = ("mean", "min", "quantile")


def measure(
    task: Task,
    runs: int = 10,
    *,
    by: str = "position",
    gap: str = "mean",
    quantile: float = 0.1,
    scatter: float = 0.0,
    host_scatter: float = 0.0,
    seed: int = 0,
) -> Task:
    """The task with what `runs` requests of it, one after the other and alone, taught. BadInput.

    by: identity, of what is called alike and has as many SMs, or position in the request. gap: what a gap is taken for,
    of those that were seen: mean, min or a quantile. scatter, host_scatter, seed: as `share` has them.
    """
    for name, value, allowed in (("by", by, BY), ("gap", gap, GAPS)):
        if value not in allowed:
            raise BadInput(f"{name}: '{value}'; allowed: {', '.join(allowed)}")
    if runs < 1 or not 0 <= quantile <= 1:
        raise BadInput(f"runs: {runs}, quantile: {quantile:g}; allowed: 1 and more, 0 to 1")
    kernels = task.launches.kernels
    count = len(kernels)
    asked = replace(task, requests=runs + 1, arrivals_ns=None, background=False, start_ns=0)
    outcome = share([asked], fifo(), scatter=scatter, host_scatter=host_scatter, seed=seed, log=runs * count + 1)
    began, ended = outcome.log[:, 3], outcome.log[:-1, 4]
    gaps = (began[1:] - ended).reshape(runs, count)
    key = kernels.identity if by == "identity" else np.arange(count)
    expected = _by_key((ended - began[:-1]).reshape(runs, count), key, "mean", quantile)
    return replace(task, profile=Profile(expected, _by_key(gaps, key, gap, quantile)))


def _by_key(
    values: npt.NDArray[np.int64], key: npt.NDArray[np.int64], what: str, quantile: float
) -> npt.NDArray[np.int64]:
    """values: (runs, kernels). For each kernel, whole ns, rounded down: of all values with its key."""
    found = np.zeros(len(key), np.int64)
    for one in np.unique(key):
        seen = values[:, key == one]
        if what == "mean":
            found[key == one] = int(seen.sum()) // seen.size
        else:
            found[key == one] = int(np.quantile(seen, 0.0 if what == "min" else quantile))
    return found
