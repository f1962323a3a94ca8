"""What ONES' rules leave of a job's execution where nothing else does: alone on a cluster, changes for free.

A job has one GPU for an epoch, and after each epoch twice as many at most. So much is sure of its execution, whatever
the search decides: the epochs, one after the other, at the speed of the best number of GPUs that it can have by then.
A sample counts the same in any batch here.
"""

from __future__ import annotations

from collections.abc import Sequence

from esa.laboratory.inputs.ones_published import PUBLISHED, START_S
from esa.laboratory.inputs.ones_trace import KINDS, OnesKind

JOBS = 50  # of the artefact's files


def alone_s(kind: OnesKind, epoch_samples: int, samples: int, gpus: int) -> float:
    """Seconds at least on a cluster of so many GPUs, without its start."""
    spent, left, most = 0.0, float(samples), 1
    best = kind.samples_per_s(1)
    while left > 0:
        part = min(left, epoch_samples)
        spent += part / best
        left -= part
        most = min(2 * most, gpus)
        best = max(best, kind.samples_per_s(most))
    return spent


def mean_s(kinds: Sequence[OnesKind], gpus: int, jobs: int = JOBS) -> tuple[float, float]:
    """Of so many jobs, kinds in turn and their lengths alike, START_S included: (alone, on the GPUs asked for)."""
    alone = asked = 0.0
    for number in range(jobs):
        kind = kinds[number % len(kinds)]
        for epoch_samples, samples in kind.lengths:
            alone += alone_s(kind, epoch_samples, samples, gpus) / len(kind.lengths)
            asked += samples / kind.rate / len(kind.lengths)
    return alone / jobs + START_S, asked / jobs + START_S


def line(jobs: str, gpus: int) -> str:
    """jobs: "ones" or "published"."""
    alone, asked = mean_s(PUBLISHED if jobs == "published" else KINDS, gpus)
    return (
        f"{jobs}: a job alone on {gpus} GPUs under ONES' rules, changes for free, executes for {alone:.0f} s or more "
        f"in the mean; on the GPUs that it asks for, {asked:.0f} s"
    )
