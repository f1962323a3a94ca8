"""Pollux's jobs for a scheduler that lets batches grow with the GPUs, as ONES does, and what they tell of themselves.

On n GPUs a batch is n times what a job asks for on one, up to a largest one; beyond, the GPUs share that. So do ONES'
jobs: their learning rate grows with the GPUs up to a bound, and from there on the batch stays. How far an iteration of
each batch gets a job is measured (`Application.gain`).
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from esa.cluster.ones.predictor import Record, features
from esa.laboratory.inputs.applications import Application, ApplicationKind

# What the measure of a model after an epoch is, and of how much; the others are accuracies from 0 to 1.
_PERCENT_RIGHT = ("bert",)
_PERCENT_WRONG = ("deepspeech2",)
_LOSS = ("yolov3",)


@dataclass(frozen=True)
class GrowingKind(ApplicationKind):
    """Of which a job that asks for `batch` on `asked` GPUs has another batch on other GPUs, `largest` at most."""

    asked: int = 1
    largest: int = 0

    def grown(self, workers: int) -> int:
        """Samples of an iteration on so many GPUs."""
        assert self.application is not None
        return min(max(-(-self.batch // self.asked) * workers, self.application.batches[0]), self.largest)

    def split(self, workers: int, additions: int = 0) -> tuple[int, int]:
        assert self.application is not None
        return self.application.split(self.grown(workers), workers, additions)


def pass_samples(application: Application) -> float:
    """Of a pass through its data, at the smallest batch."""
    batch, stages = application.batches[0], application.stages
    return batch * application.epochs[batch][stages - 1].iterations / stages


@dataclass(frozen=True)
class Curve:
    """What a job of an application reports, epoch by epoch of so many samples: loss and accuracy by progress, linear
    between the ends at which they were measured, at the smallest batch.
    """

    application: Application
    epoch_samples: int

    @cached_property
    def _points(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        epochs = self.application.epochs[self.application.batches[0]]
        return tuple(one.progress for one in epochs), tuple(one.metric for one in epochs)

    @property
    def first_loss(self) -> float:
        """Of a model that has learned nothing, all wrong; of yolov3, whose scale is open, after its first epoch."""
        return self.at(0)[0] if self.application.name in _LOSS else 1.0

    def at(self, progress: Fraction | int | float) -> tuple[float, float]:
        """(loss, accuracy). Where only one of them is measured, they add up to 1; yolov3's is a loss alone."""
        where, metrics = self._points
        k = bisect_right(where, progress)
        if k == 0 or k == len(where):
            metric = metrics[max(k - 1, 0)]
        else:
            part = (float(progress) - where[k - 1]) / (where[k] - where[k - 1])
            metric = metrics[k - 1] + part * (metrics[k] - metrics[k - 1])
        name = self.application.name
        if name in _LOSS:
            return metric, 0.0
        right = metric / 100 if name in _PERCENT_RIGHT else 1 - metric / 100 if name in _PERCENT_WRONG else metric
        return 1 - right, right


def history(curves: Iterable[Curve]) -> Iterator[Record]:
    """What a predictor can learn before a run: jobs alone at each batch that was measured, report by report."""
    for curve in curves:
        application = curve.application
        for batch, epochs in application.epochs.items():
            ends = [(0.0, 0.0), *((one.progress, batch * one.iterations) for one in epochs[: application.stages])]
            passed = [end for _, end in ends]
            whole = passed[-1]
            for report in range(1, math.ceil(whole / curve.epoch_samples)):
                samples = report * curve.epoch_samples
                k = bisect_right(passed, samples)
                (before, had), (after, then) = ends[k - 1], ends[k]
                loss, accuracy = curve.at(before + (samples - had) / (then - had) * (after - before))
                of = features(curve.epoch_samples, curve.first_loss, report, loss, accuracy)
                yield Record(of, report, samples / whole)
