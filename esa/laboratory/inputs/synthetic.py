"""Jobs that are drawn: Poisson arrivals, widths and run times as those of Philly's jobs, a share of them elastic.

Computed from petuum/adaptdl's list of msr-fiddle/philly-traces (CC-BY-4.0), of its jobs of a minute or more and under
1,000 GPU hours, which are those that Pollux's authors draw from: 74,428 jobs, of which so many parts have so many GPUs;
the logarithm of their seconds has mean 7.105 and standard deviation 1.963.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import replace
from itertools import accumulate
from statistics import NormalDist

import numpy as np

from esa.cluster.kinds import ANY_KIND, Kind
from esa.errors import BadInput
from esa.laboratory.jobs import Iterations, Submitted

SECOND_NS = 10**9
WIDTHS = {1: 0.9465, 2: 0.0062, 4: 0.0240, 8: 0.0202, 12: 0.0001, 16: 0.0019, 24: 0.0001, 32: 0.0008, 64: 0.0001}
LOG_MEAN, LOG_DEVIATION = 7.105, 1.963
LEAST_S, MOST_S = 60, 30 * 86_400
_NORMAL = NormalDist()
_TYPES = 2  # of the seed's streams: who can run on which GPUs


def synthetic(
    count: int,
    mean_interval_s: float,
    seed: int,
    *,
    least_gpus: int = 1,
    most_gpus: int = 64,
    elastic: float = 0.0,
    anywhere: float = 1.0,
    own_type: str = "",
    kind: Kind = ANY_KIND,
) -> tuple[Submitted, ...]:
    """`count` jobs. least_gpus, most_gpus: narrower and wider ones are not drawn. elastic: part of the jobs that can do
    with up to twice what they ask for. anywhere: part of the jobs that can run on GPUs of any type, the others on those
    of `own_type`. Job n depends on its own four numbers of PCG64(seed), one of another stream, and the arrivals before
    it alone. BadInput.
    """
    if not 1 <= count <= 10_000_000:
        raise BadInput(f"jobs: {count}; allowed: 1 to 10000000")
    if not 0 < mean_interval_s <= 1e6:
        raise BadInput(f"mean_interval_s: {mean_interval_s:g}; allowed: above 0, to 1e6")
    if not 0 <= elastic <= 1:
        raise BadInput(f"elastic: {elastic:g}; allowed: 0 to 1")
    if not 0 <= anywhere <= 1:
        raise BadInput(f"anywhere: {anywhere:g}; allowed: 0 to 1")
    if most_gpus < 1:
        raise BadInput(f"most_gpus: {most_gpus}; allowed: 1 or more")
    widths = [width for width in WIDTHS if least_gpus <= width <= most_gpus]
    if not widths:
        known = ", ".join(map(str, WIDTHS))
        raise BadInput(f"least_gpus: {least_gpus}, most_gpus: {most_gpus}; allowed: some of {known} in between")
    below = [*accumulate(WIDTHS[width] for width in widths)]
    uniform = np.random.Generator(np.random.PCG64(seed)).random((count, 4))  # in [0, 1)
    of_type = np.random.Generator(np.random.PCG64([seed, _TYPES])).random(count).tolist()
    restricted = replace(kind, gpu_type=own_type)
    submit_s = np.cumsum(-mean_interval_s * np.log1p(-uniform[:, 0])).tolist()
    jobs = []
    for number, (_, of_width, of_time, of_elastic) in enumerate(uniform.tolist()):
        width = widths[bisect_right(below, of_width * below[-1])]
        log_s = LOG_MEAN + LOG_DEVIATION * _NORMAL.inv_cdf(max(of_time, 2.0**-53))
        seconds = min(max(round(math.exp(log_s)), LEAST_S), MOST_S)
        bounds = (width, min(2 * width, most_gpus)) if of_elastic < elastic else None
        jobs.append(
            Submitted(
                f"job-{number + 1}",
                round(submit_s[number] * SECOND_NS),
                width,
                Iterations(seconds),
                SECOND_NS,
                kind if of_type[number] < anywhere else restricted,
                bounds,
            )
        )
    return tuple(jobs)
