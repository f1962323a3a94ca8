"""Jobs such as those of ONES' artefact, drawn: ten kinds in equal parts, Poisson arrivals, times by a formula.

    jobs = ones_jobs(applications, 50, 30, seed=1, growing=True)
    simulate_cluster(POLLUX_CLUSTER, jobs, decide, OnesTimes())

From the artefact (kurisusnowdeng/ones_sc21 at 8535358, traces and examples) is what a kind asks for, its batch on a GPU
and the batch beyond which it does not grow, the mean interval, its two lengths of an epoch, to each how many samples it
trained until the end, on the GPUs that it asks for, and how many a second. A line of traces/job_history.csv says whose
it is by a number, that of a row in traces/trace_dev.csv, but for rows 7 and 8, which came at the same second: without
batch normalisation an untrained model's loss is ln 1000. The first 21 lines are of a job before those. Models are
torchvision's, of 1,000 classes on small images too, and four bytes to a parameter are summed.

An iteration takes the computing of a GPU's samples, and then the gradients in a ring. RING_BPS is ours: by the history
vgg16 on small images would compute in no time at 36 Gb/s, and bert as fast on two GPUs as on eight at 22, within
4 % at 40. How a job converges at other batches the artefact does not say: like Pollux's application of its family
(`growing.py`), with so much less data that it trains for as many samples as in the history on the GPUs it asks for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from esa.cluster.kinds import FREE_OF_COST, Costs
from esa.cluster.packing import consolidated
from esa.cluster.times import Answer, Asked
from esa.errors import BadInput
from esa.laboratory.inputs.applications import Application, ApplicationKind
from esa.laboratory.inputs.growing import Curve, GrowingKind
from esa.laboratory.inputs.pollux import POLLUX_CLUSTER, Epochs
from esa.laboratory.jobs import Submitted

SECOND_NS = 10**9
RING_BPS = 40e9


class OnesKind(NamedTuple):
    """application: of Pollux's, as which it converges. batch: of a GPU; largest: of all together. lengths: samples of
    an epoch, and until the end. rate: samples a second on `gpus` GPUs. gradients: bytes. ring_bps: at which a ring
    sends; ours.
    """

    name: str
    application: str
    batch: int
    largest: int
    gpus: int
    lengths: tuple[tuple[int, int], ...]
    rate: float
    gradients: int
    ring_bps: float = RING_BPS

    def sum_s(self, gpus: int) -> float:
        """Of a ring: what leaves each of them, twice its part from all others."""
        return 16 * self.gradients * (gpus - 1) / gpus / self.ring_bps

    def samples_per_s(self, gpus: int) -> float:
        """On so many GPUs, the batch grown with them."""
        batch = min(self.batch * gpus, self.largest)
        return batch / (batch / gpus * self.per_sample_s + self.sum_s(gpus))

    def trained(self, whole: Application, samples: int) -> Application:
        """An application with so much less data that it takes so many samples on the GPUs that are asked for."""
        batch = max(min(self.batch * self.gpus, self.largest), whole.batches[0])
        ends = [0.0, *(whole.end_of(stage) for stage in range(whole.stages))]
        iterations = sum((ends[k + 1] - ends[k]) / whole.gain(k, batch) for k in range(whole.stages))
        return whole.shortened(samples / (batch * iterations))

    @property
    def per_sample_s(self) -> float:
        """Of computing, on a GPU."""
        return (self.batch * self.gpus / self.rate - self.sum_s(self.gpus)) / self.batch


KINDS = (
    OnesKind("bert-cola", "bert", 16, 64, 2, ((5_000, 25_000), (8_000, 48_000)), 102, 438_000_000),
    OnesKind("bert-mrpc", "bert", 16, 64, 2, ((3_600, 18_000), (3_600, 21_600)), 102, 438_000_000),
    OnesKind("bert-sst2", "bert", 32, 256, 8, ((10_000, 50_000), (20_000, 100_000)), 435, 438_000_000),
    OnesKind("resnet18-cifar", "cifar10", 256, 4096, 4, ((20_000, 760_000), (40_000, 1_000_000)), 14_757, 46_800_000),
    OnesKind("googlenet-cifar", "cifar10", 256, 4096, 4, ((20_000, 720_000), (40_000, 920_000)), 10_466, 52_000_000),
    OnesKind("vgg16-cifar", "cifar10", 128, 2048, 4, ((20_000, 1_340_000), (40_000, 1_440_000)), 2_778, 553_000_000),
    OnesKind("alexnet", "imagenet", 64, 1024, 16, ((10_000, 210_000), (20_000, 1_380_000)), 3_058, 244_000_000),
    OnesKind("resnet50", "imagenet", 32, 512, 16, ((10_000, 270_000), (20_000, 880_000)), 1_848, 102_000_000),
    OnesKind("inception", "imagenet", 32, 512, 16, ((10_000, 500_000), (20_000, 1_040_000)), 1_531, 109_000_000),
    OnesKind("vgg16", "imagenet", 32, 512, 16, ((10_000, 110_000), (20_000, 1_160_000)), 1_042, 553_000_000),
)


class OnesTimes:
    """Level 1: computing, then the gradients, wherever the GPUs are."""

    isolated = True

    def __init__(self, kinds: Sequence[OnesKind] = KINDS) -> None:
        self._kinds = {kind.name: kind for kind in kinds}

    def __call__(self, running: Sequence[Asked], /) -> Sequence[Answer]:
        return [self._answer(asked) for asked in running]

    def _answer(self, asked: Asked) -> Answer:
        if asked.model not in self._kinds:
            raise BadInput(f"kind '{asked.model}': no times; allowed: {', '.join(self._kinds)}")
        kind = self._kinds[asked.model]
        sum_s = kind.sum_s(asked.workers)
        computing_s = asked.local_batch * (asked.additions + 1) * kind.per_sample_s
        return Answer(computing_s + sum_s, exposed_s=sum_s, level=1)


def ones_jobs(
    applications: Mapping[str, Application],
    count: int,
    mean_interval_s: float,
    seed: int,
    *,
    kinds: Sequence[OnesKind] = KINDS,
    in_turn: bool = False,
    most_gpus: int = 64,
    elastic: bool = False,
    growing: bool = False,
    costs: Costs = FREE_OF_COST,
) -> tuple[Submitted, ...]:
    """`count` jobs, one of each kind and then again, in orders that are drawn; in_turn: in that of the kinds, always.
    most_gpus: of the cluster. elastic, growing: as in `read_workload`.

    Job n depends on its own three numbers of PCG64(seed) and those of its round and before alone. BadInput.
    """
    if not 1 <= count <= 1_000_000:
        raise BadInput(f"jobs: {count}; allowed: 1 to 1000000")
    if not 0 < mean_interval_s <= 1e6:
        raise BadInput(f"mean_interval_s: {mean_interval_s:g}; allowed: above 0, to 1e6")
    rows = -(-count // len(kinds)) * len(kinds)
    uniform = np.random.Generator(np.random.PCG64(seed)).random((rows, 3))
    submit_s = np.cumsum(-mean_interval_s * np.log1p(-uniform[:, 0]))
    order = np.argsort(uniform[:, 1].reshape(-1, len(kinds)), axis=1, kind="stable").reshape(-1)
    times = OnesTimes(kinds)
    jobs = []
    for number in range(count):
        kind = kinds[number % len(kinds) if in_turn else order[number]]
        epoch_samples, samples = kind.lengths[int(uniform[number, 2] * len(kind.lengths))]
        whole = applications[kind.application]
        application = kind.trained(whole, samples)
        batch = max(min(kind.batch * kind.gpus, kind.largest), application.batches[0])
        largest = max(kind.largest, application.batches[0])
        most = min(largest if growing else batch, most_gpus)
        of_kind: ApplicationKind = ApplicationKind(kind.name, batch, costs, application=application)
        if growing:
            of_kind = GrowingKind(
                kind.name, kind.batch * kind.gpus, costs, application=application, asked=kind.gpus, largest=largest
            )
        asked = Asked(0, kind.name, 0, *of_kind.split(kind.gpus), consolidated(POLLUX_CLUSTER, kind.gpus))
        jobs.append(
            Submitted(
                f"{kind.name}-{number + 1}",
                round(submit_s[number] * SECOND_NS),
                kind.gpus,
                Epochs(application, batch),
                iteration_ns=round(times([asked])[0].iteration_s * SECOND_NS),
                kind=of_kind,
                elastic=(1, most) if elastic or growing else None,
                reports=Curve(application, epoch_samples) if growing else None,
            )
        )
    return tuple(jobs)


def earlier(applications: Mapping[str, Application], kinds: Sequence[OnesKind] = KINDS) -> list[Curve]:
    """A job of each kind and length: such as the artefact has run before, to learn from."""
    curves = []
    for kind in kinds:
        whole = applications[kind.application]
        for epoch_samples, samples in kind.lengths:
            curves.append(Curve(kind.trained(whole, samples), epoch_samples))
    return curves
