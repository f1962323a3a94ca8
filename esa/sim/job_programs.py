"""What the ranks of a plan's jobs do: their own programs, or a training, whose computing times are drawn here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from esa.sim.plan import Plan
from esa.workloads.program import Program, check_together, training


def programs_of(plan: Plan, number: int) -> Sequence[Program]:
    """By rank, those of job `number`. How long computing takes does not depend on what happens.

    ValueError, one line, names the job whose programs do not fit.
    """
    job = plan.jobs[number]
    if job.programs is not None:
        _check(job.name, job.workers, job.programs)
        return job.programs
    rng = np.random.Generator(np.random.PCG64([plan.seed, number]))
    pace = rng.uniform(1.0 - job.jitter, 1.0 + job.jitter, (job.workers, job.iterations))
    pace[rng.random(pace.shape) < job.straggle] *= job.slowdown
    one = training(job.buckets, job.iterations, job.order, job.priority)
    return [replace(one, pace=mine) for mine in pace]


def _check(name: str, workers: int, programs: Sequence[Program]) -> None:
    if len(programs) != workers:
        raise ValueError(f"job {name}: programs: {len(programs)}; allowed: {workers}, one of each worker")
    try:
        check_together(programs)
    except ValueError as error:
        raise ValueError(f"job {name}: {error}") from None
