"""`times` of a cluster whose GPUs are filled while their jobs wait for sums: the wait comes from another `times`.

    times = FilledTimes(NetworkTimes(...), "learned", kernels_ns)

The gap is what an answer calls exposed: the part of an iteration in which a rank has nothing to do but to wait. All
GPUs of a job are filled as `esa/gpu/gap.py` fills one; the latest of them makes the iteration late, by the mean over
`ITERATIONS`. Ranks compute without jitter here, so a gap that was learned is exact, and what makes a job late is what a
kernel takes beyond the fillers' mean. That a late rank holds rows of other jobs is not in this: `holders.py` is.

With "time-slice" a GPU and the fillers take turns while it computes, too (`esa/gpu/slices.py`): the network is asked
with computing that takes as much longer, in the mean over `ITERATIONS` of the latest GPU's, and after the wait that it
says then the GPU comes back when the fillers' turn is over. A job that never waits keeps its turn from iteration to
iteration.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

from esa.cluster.times import Answer, Asked, Times
from esa.errors import BadInput
from esa.gpu.gap import Filler, fill
from esa.gpu.slices import Slices

SLICED = "time-slice"
PREDICTORS = ("none", "learned", "endless", SLICED)
ITERATIONS = 8  # whose lateness is averaged
_NOTHING_S = 1e-9
_STEP = 0.02  # gaps are rounded to powers of e to this


class FilledTimes:
    """predictor: of `PREDICTORS`, as of `holders.Filling`. kernels_ns: of the fillers' task, begun elsewhere by each
    GPU. slice_ns, switch_ns: of time slices. BadInput.
    """

    def __init__(
        self,
        times: Times,
        predictor: str,
        kernels_ns: Sequence[int],
        *,
        slice_ns: int = 500_000,
        switch_ns: int = 50_000,
    ) -> None:
        if predictor not in PREDICTORS:
            raise BadInput(f"predictor: unknown predictor '{predictor}'; allowed: {', '.join(PREDICTORS)}")
        if predictor != "none" and not kernels_ns:
            raise BadInput("fillers: none; allowed: at least one kernel, or predictor none")
        self._times = times
        self._predictor = predictor
        self._kernels_ns = tuple(kernels_ns)
        self._slicing = (slice_ns, switch_ns)
        if predictor == SLICED:
            Slices(kernels_ns, slice_ns, switch_ns)

    @property
    def isolated(self) -> bool:
        return self._times.isolated

    def __call__(self, running: Sequence[Asked], /) -> Sequence[Answer]:
        answers = self._times(running)
        if self._predictor == "none":
            return answers
        if self._predictor == SLICED:
            answers = self._times(
                [self._slower(asked, answer.exposed_s) for asked, answer in zip(running, answers, strict=True)]
            )
        return [
            answer._replace(iteration_s=answer.iteration_s + self.late_s(answer.exposed_s, asked.workers))
            for asked, answer in zip(running, answers, strict=True)
        ]

    def late_s(self, gap_s: float, gpus: int) -> float:
        """Seconds of an iteration, in the mean, by which the latest of so many GPUs goes on after the gap's end."""
        if gap_s < _NOTHING_S:
            return 0.0
        gap_ns = round(math.exp(round(math.log(gap_s * 1e9) / _STEP) * _STEP))
        if self._predictor == SLICED:
            return _back_s(self._kernels_ns, self._slicing, gap_ns, gpus)
        return _mean_s(self._predictor, self._kernels_ns, gap_ns, gpus)

    def _slower(self, asked: Asked, exposed_s: float) -> Asked:
        """The same job with computing that takes as long as in turns."""
        computing_ns = max(1, round(asked.gpu_ns / asked.workers))
        stretch = _stretch(self._kernels_ns, self._slicing, computing_ns, asked.workers, exposed_s >= _NOTHING_S)
        return asked._replace(gpu_ns=round(asked.gpu_ns * stretch))


def _begun(kernels: tuple[int, ...], gpus: int) -> list[list[int]]:
    """The fillers' kernels, by GPU."""
    begins = [gpu * len(kernels) // gpus for gpu in range(gpus)]
    return [[*kernels[begin:], *kernels[:begin]] for begin in begins]


@lru_cache(maxsize=100_000)
def _stretch(kernels: tuple[int, ...], slicing: tuple[int, int], computing_ns: int, gpus: int, rests: bool) -> float:
    """What an iteration's computing takes in turns over what it takes alone, of the latest GPU; rests: in between."""
    turns = [Slices(each, *slicing) for each in _begun(kernels, gpus)]
    took = 0
    for _ in range(ITERATIONS):
        took += max(each.compute(computing_ns) for each in turns)
        if rests:
            for each in turns:
                each.rest(1)
    return took / (ITERATIONS * computing_ns)


@lru_cache(maxsize=100_000)
def _back_s(kernels: tuple[int, ...], slicing: tuple[int, int], gap_ns: int, gpus: int) -> float:
    turns = [Slices(each, *slicing) for each in _begun(kernels, gpus)]
    return sum(max(each.rest(gap_ns) for each in turns) for _ in range(ITERATIONS)) / ITERATIONS / 1e9


@lru_cache(maxsize=100_000)
def _mean_s(predictor: str, kernels: tuple[int, ...], gap_ns: int, gpus: int) -> float:
    fillers = [Filler(each) for each in _begun(kernels, gpus)]
    expected = gap_ns if predictor == "learned" else math.inf
    late_ns = sum(max(fill(gap_ns, expected, [filler]).late_ns for filler in fillers) for _ in range(ITERATIONS))
    return late_ns / ITERATIONS / 1e9
