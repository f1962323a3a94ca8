"""Finish-time fairness: a job's JCT, over what it would have been with an equal share of the cluster to itself.

The share is the cluster's GPUs over how many jobs were there, in the mean over the job's own life; who asks for more
than its share would take longer in proportion, who asks for less would not gain. 1 is fair, above 1 a job got less. The
measure is that of Themis (Mahajan et al., NSDI 2020); that the share is a mean over the life is this project's reading.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from esa.laboratory.jobs import Submitted
from esa.laboratory.outcome import Outcome


def finish_time_fairness(jobs: Sequence[Submitted], outcome: Outcome) -> list[float]:
    """One figure for each job, as a job would run by its own word on as many GPUs as it asks for; all must be over."""
    begins = np.array([one.submit_ns for one in outcome.jobs], np.float64)
    ends = np.array([one.end_ns for one in outcome.jobs], np.float64)
    times = np.concatenate([begins, ends])
    order = np.argsort(times, kind="stable")
    at, steps = times[order], np.repeat([1.0, -1.0], len(begins))[order]
    there = np.cumsum(steps)  # from each time to the next
    job_ns = np.concatenate([[0.0], np.cumsum(there[:-1] * np.diff(at))])
    within = np.interp(ends, at, job_ns) - np.interp(begins, at, job_ns)
    jct = ends - begins
    share = outcome.gpus * jct / within
    alone = np.array([job.work.iterations * job.iteration_ns for job in jobs], np.float64)
    width = np.array([job.workers for job in jobs], np.float64)
    fair: list[float] = (jct / (alone * np.maximum(1.0, width / share))).tolist()
    return fair
