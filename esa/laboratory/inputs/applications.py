"""Pollux's six applications as measured by its authors: times of a step by placement and batch, and how they converge.

    applications = read_applications(Path("simulator/traces"))
    applications["bert"].step_s((4, 4), 8)

Files and formats: petuum/adaptdl, branch osdi21-artifact, simulator/traces (Qiao et al., OSDI 2021). A placement is
its GPUs of each host in the order of ranks, up to rotation; one that was not measured is interpolated linearly between
numbers of hosts, GPUs and samples, at most 16 hosts. The epochs until the end are those of its applications.py.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from esa.cluster.kinds import Kind
from esa.errors import BadInput
from esa.laboratory.inputs.rows import InputError, read_rows

# Epochs until the end; samples of a GPU at once, at most, where that is less than what was measured.
EPOCHS = {"bert": 2, "cifar10": 100, "deepspeech2": 80, "imagenet": 90, "ncf": 10, "yolov3": 50}
MOST_LOCAL = {"yolov3": 8}
MOST_HOSTS = 16


class Epoch(NamedTuple):
    """After an epoch: progress, in iterations of the smallest batch; iterations; the gradient's square and variance;
    how good the model is, by the application's own measure.
    """

    progress: float
    iterations: float
    square: float
    variance: float
    metric: float


class Step(NamedTuple):
    """Seconds: of a step, and of it until gradients are summed."""

    step_s: float
    sum_s: float


@dataclass(frozen=True)
class Application:
    """epochs: by batch, one for each. measured: by placement, the samples of a GPU, ascending, and their times.
    scaled: (hosts, GPUs, samples), times.
    """

    name: str
    epochs: Mapping[int, tuple[Epoch, ...]]
    measured: Mapping[tuple[int, ...], tuple[tuple[int, ...], tuple[Step, ...]]]
    scaled: tuple[tuple[tuple[int, int, int], Step], ...]

    @cached_property
    def batches(self) -> tuple[int, ...]:
        """Those of which it is known how they converge, ascending: from the first it starts, the last is the most."""
        return tuple(sorted(self.epochs))

    @cached_property
    def least_local(self) -> int:
        """Samples of a GPU at once, at least."""
        return min(min(samples) for samples, _ in self.measured.values())

    @cached_property
    def most_local(self) -> int:
        return MOST_LOCAL.get(self.name) or max(max(samples) for samples, _ in self.measured.values())

    @property
    def stages(self) -> int:
        return EPOCHS[self.name]

    def split(self, batch: int, workers: int, additions: int = 0) -> tuple[int, int]:
        """(samples of a GPU at once, additions) for a batch. A GPU alone adds once where the batch has grown."""
        each = math.ceil(batch / workers - 1e-8)
        needed = math.ceil(each / self.most_local - 1e-8) - 1
        if workers == 1 and batch > self.batches[0]:
            needed = max(1, needed)
        additions = max(additions, needed)
        local = math.ceil(each / (additions + 1) - 1e-8)
        return min(local, int(self.batches[-1] / (workers * (additions + 1)))), additions

    def end_of(self, stage: int) -> float:
        """Progress at the end of an epoch, 0 the first: the least of all batches."""
        return min(epochs[stage].progress for epochs in self.epochs.values())

    def gain(self, stage: int, batch: int) -> float:
        """Progress by an iteration of a batch: more than 1 above the first batch, less than in proportion to it."""
        square, variance = self._between(batch, stage)
        scale = batch / self.batches[0]
        return (variance + square) / (variance / scale + square)

    def iterations(self, batch: int, stage: int) -> float:
        """Iterations of a batch until the end of an epoch."""
        lower, upper = self._around(batch)
        low, high = (self.epochs[each][stage].iterations for each in (lower, upper))
        return low if lower == upper else ((batch - lower) * high + (upper - batch) * low) / (upper - lower)

    def _between(self, batch: int, stage: int) -> tuple[float, float]:
        lower, upper = self._around(batch)
        low, high = self.epochs[lower][stage], self.epochs[upper][stage]
        if lower == upper:
            return low.square, low.variance
        near, far, whole = batch - lower, upper - batch, upper - lower
        return (near * high.square + far * low.square) / whole, (near * high.variance + far * low.variance) / whole

    def _around(self, batch: int) -> tuple[int, int]:
        """The batches below and above one of which it is known how they converge."""
        if not self.batches[0] <= batch <= self.batches[-1]:
            bounds = f"{self.batches[0]} to {self.batches[-1]}"
            raise BadInput(f"application {self.name}: a batch of {batch} samples; allowed: {bounds}")
        k = bisect_left(self.batches, batch)
        return (self.batches[k] if self.batches[k] == batch else self.batches[k - 1]), self.batches[k]

    def shortened(self, part: float) -> Application:
        """The same with less data: it converges alike, every epoch of a part of the iterations."""
        epochs = {
            batch: tuple(
                one._replace(progress=part * one.progress, iterations=part * one.iterations) for one in of_batch
            )
            for batch, of_batch in self.epochs.items()
        }
        return replace(self, epochs=epochs)

    def step(self, placement: Sequence[int], local_batch: int) -> Step:
        """placement: GPUs of each host. BadInput where nothing near it was measured."""
        turned = min((*placement[k:], *placement[:k]) for k in range(len(placement)))
        known = self.measured.get(turned)
        found = self._interpolated(turned, local_batch) if known is None else _on_line(*known, local_batch)
        if found is None or not found.step_s > 0:
            on = "+".join(map(str, placement))
            raise BadInput(f"application {self.name}: {local_batch} samples on {on} GPUs were not measured, nor around")
        return found

    def _interpolated(self, placement: tuple[int, ...], local_batch: int) -> Step | None:
        where = [min(len(placement), MOST_HOSTS), sum(placement), local_batch]
        step_s, sum_s = self._surface(where)[0].tolist()
        return None if math.isnan(step_s) else Step(step_s, sum_s)

    @cached_property
    def _surface(self) -> Any:
        """Between (hosts, GPUs, samples): the means of the placements, then what was measured at scale."""
        from scipy.interpolate import LinearNDInterpolator

        of: dict[tuple[int, int, int], list[Step]] = {}
        for placement, (samples, steps) in self.measured.items():
            for local, step in zip(samples, steps, strict=True):
                of.setdefault((len(placement), sum(placement), local), []).append(step)
        means = [
            (where, Step(*(math.fsum(each) / len(each) for each in zip(*of[where], strict=True))))
            for where in sorted(of)
        ]
        points = [*means, *self.scaled]
        return LinearNDInterpolator(
            np.array([where for where, _ in points], np.float64), np.array([step for _, step in points], np.float64)
        )


@dataclass(frozen=True)
class ApplicationKind(Kind):
    """Jobs of an application with the same batch."""

    application: Application | None = None

    def split(self, workers: int, additions: int = 0) -> tuple[int, int]:
        assert self.application is not None
        return self.application.split(self.batch, workers, additions)


def _on_line(samples: Sequence[int], steps: Sequence[Step], local_batch: int) -> Step | None:
    """Linear between two neighbours; None outside."""
    if not samples[0] <= local_batch <= samples[-1]:
        return None
    k = min(max(bisect_left(samples, local_batch), 1), len(samples) - 1)
    low, high = samples[k - 1], samples[k]
    return Step(
        *((b - a) / (high - low) * (local_batch - low) + a for a, b in zip(steps[k - 1], steps[k], strict=True))
    )


def read_applications(folder: Path) -> dict[str, Application]:
    """All applications of a folder; InputError names what is missing or wrong."""
    return {name: _read_application(folder / name) for name in EPOCHS}


def _read_application(folder: Path) -> Application:
    epochs: dict[int, tuple[Epoch, ...]] = {}
    for path in sorted(folder.glob("validation-*.csv")):
        batch = path.stem.removeprefix("validation-")
        if not batch.isdecimal():
            raise InputError(f"{path}: batch '{batch}'; allowed: validation-N.csv with a whole number N")
        epochs[int(batch)] = _read_epochs(path, EPOCHS[folder.name])
    if not epochs:
        raise InputError(f"{folder}: no validation-N.csv; allowed: Pollux's traces of {folder.name}")
    measured: dict[tuple[int, ...], list[tuple[int, Step]]] = {}
    for row in read_rows(folder / "placements.csv", ("placement", "local_bsz", "step_time", "sync_time")):
        placement = tuple(map(int, str(row.whole("placement", 1, 10**16))))
        local = row.whole("local_bsz", 1, 10**9)
        measured.setdefault(placement, []).append((local, Step(row.number("step_time", 0), row.number("sync_time", 0))))
    scaled = tuple(
        (
            (row.whole("num_nodes", 1, 1024), row.whole("num_replicas", 1, 8192), row.whole("local_bsz", 1, 10**9)),
            Step(row.number("step_time", 0), row.number("sync_time", 0)),
        )
        for row in read_rows(
            folder / "scalability.csv", ("num_nodes", "num_replicas", "local_bsz", "step_time", "sync_time")
        )
    )
    ordered = {placement: sorted(steps, key=lambda step: step[0]) for placement, steps in measured.items()}
    by_placement = {
        placement: (tuple(local for local, _ in steps), tuple(step for _, step in steps))
        for placement, steps in ordered.items()
    }
    return Application(folder.name, epochs, by_placement, scaled)


def _read_epochs(path: Path, least: int) -> tuple[Epoch, ...]:
    found: list[Epoch] = []
    for row in read_rows(path, ("progress", "iteration", "grad_sqr", "grad_var", "metric")):
        epoch = Epoch(
            row.number("progress", 0),
            row.whole("iteration", 0, 10**12),
            row.number("grad_sqr"),
            row.number("grad_var"),
            row.number("metric"),
        )
        if found and not (epoch.progress > found[-1].progress and epoch.iterations >= found[-1].iterations):
            raise row.error("progress", f"more than in the line before, {found[-1].progress}")
        found.append(epoch)
    if len(found) < least:
        raise InputError(f"{path}: {len(found)} epochs; allowed: {least} or more")
    return tuple(found)
