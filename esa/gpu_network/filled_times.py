"""`times` of a cluster whose GPUs are filled while their jobs wait for sums: the wait comes from another `times`.

    times = FilledTimes(NetworkTimes(...), "learned", kernels_ns)

The gap is what an answer calls exposed: the part of an iteration in which a rank has nothing to do but to wait. All
GPUs of a job are filled as `esa/gpu/gap.py` fills one; the latest of them makes the iteration late, by the mean over
`ITERATIONS`. Ranks compute without jitter here, so a gap that was learned is exact, and what makes a job late is what a
kernel takes beyond the fillers' mean. That a late rank holds rows of other jobs is not in this: `holders.py` is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

from esa.cluster.times import Answer, Asked, Times
from esa.errors import BadInput
from esa.gpu.gap import Filler, fill

PREDICTORS = ("none", "learned", "endless")
ITERATIONS = 8  # whose lateness is averaged
_STEP = 0.02  # gaps are rounded to powers of e to this


class FilledTimes:
    """predictor: of `PREDICTORS`, as of `holders.Filling`. kernels_ns: of the fillers' task, begun elsewhere by each
    GPU. BadInput.
    """

    def __init__(self, times: Times, predictor: str, kernels_ns: Sequence[int]) -> None:
        if predictor not in PREDICTORS:
            raise BadInput(f"predictor: unknown predictor '{predictor}'; allowed: {', '.join(PREDICTORS)}")
        if predictor != "none" and not kernels_ns:
            raise BadInput("fillers: none; allowed: at least one kernel, or predictor none")
        self._times = times
        self._predictor = predictor
        self._kernels_ns = tuple(kernels_ns)

    @property
    def isolated(self) -> bool:
        return self._times.isolated

    def __call__(self, running: Sequence[Asked], /) -> Sequence[Answer]:
        answers = self._times(running)
        if self._predictor == "none":
            return answers
        return [
            answer._replace(iteration_s=answer.iteration_s + self.late_s(answer.exposed_s, asked.workers))
            for asked, answer in zip(running, answers, strict=True)
        ]

    def late_s(self, gap_s: float, gpus: int) -> float:
        """Seconds of an iteration, in the mean, by which the latest of so many GPUs goes on after the gap's end."""
        if gap_s < 1e-9:
            return 0.0
        gap_ns = round(math.exp(round(math.log(gap_s * 1e9) / _STEP) * _STEP))
        return _mean_s(self._predictor, self._kernels_ns, gap_ns, gpus)


@lru_cache(maxsize=100_000)
def _mean_s(predictor: str, kernels: tuple[int, ...], gap_ns: int, gpus: int) -> float:
    begins = [gpu * len(kernels) // gpus for gpu in range(gpus)]
    fillers = [Filler([*kernels[begin:], *kernels[:begin]]) for begin in begins]
    expected = gap_ns if predictor == "learned" else math.inf
    late_ns = sum(max(fill(gap_ns, expected, [filler]).late_ns for filler in fillers) for _ in range(ITERATIONS))
    return late_ns / ITERATIONS / 1e9
