"""Jobs such as those of ONES' artefact, drawn: ten kinds in equal parts, Poisson arrivals, times by a formula.

    jobs = ones_jobs(applications, 50, 30, seed=1, growing=True)
    simulate_cluster(POLLUX_CLUSTER, jobs, decide, OnesTimes())

From the artefact (kurisusnowdeng/ones_sc21 at 8535358, traces/trace_1.csv and traces/job_history.csv) is what a kind
asks for, its batch on a GPU and the batch beyond which it does not grow, the mean interval, its two lengths of an
epoch, to each how many samples it trained until the end, and how many a second on the GPUs that it asks for. Which of
several models of a family a line of the history is of, it does not say: taken by speed. An iteration takes the
computing of a GPU's samples, and then the gradients in a ring. At RING_BPS bert computes as fast on two GPUs as on
eight by that history; it is taken for all. How a job converges at other batches the artefact does not say: like
Pollux's application of its family (`growing.py`), with so much less data.
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
from esa.laboratory.inputs.growing import Curve, GrowingKind, pass_samples
from esa.laboratory.inputs.pollux import POLLUX_CLUSTER, Epochs
from esa.laboratory.jobs import Submitted

SECOND_NS = 10**9


class OnesKind(NamedTuple):
    """application: of Pollux's, as which it converges. batch: of a GPU; largest: of all together. lengths: samples of
    an epoch, and until the end. rate: samples a second on `gpus` GPUs. gradients: bytes.
    """

    name: str
    application: str
    batch: int
    largest: int
    gpus: int
    lengths: tuple[tuple[int, int], tuple[int, int]]
    rate: float
    gradients: int

    def sum_s(self, gpus: int) -> float:
        """Of a ring: what leaves each of them, twice its part from all others."""
        return 16 * self.gradients * (gpus - 1) / gpus / RING_BPS

    @property
    def per_sample_s(self) -> float:
        """Of computing, on a GPU."""
        return (self.batch * self.gpus / self.rate - self.sum_s(self.gpus)) / self.batch


RING_BPS = 20e9
KINDS = (  # bert-cola's longer one is taken: as many epochs as the other
    OnesKind("bert-cola", "bert", 16, 64, 2, ((5_000, 25_000), (8_000, 40_000)), 102, 438_000_000),
    OnesKind("bert-mrpc", "bert", 16, 64, 2, ((3_600, 18_000), (3_600, 21_600)), 102, 438_000_000),
    OnesKind("bert-sst2", "bert", 32, 256, 8, ((10_000, 50_000), (20_000, 100_000)), 435, 438_000_000),
    OnesKind("resnet18-cifar", "cifar10", 256, 4096, 4, ((20_000, 760_000), (40_000, 1_000_000)), 14_757, 44_700_000),
    OnesKind("googlenet-cifar", "cifar10", 256, 4096, 4, ((20_000, 720_000), (40_000, 920_000)), 10_466, 26_500_000),
    OnesKind("vgg16-cifar", "cifar10", 128, 2048, 4, ((20_000, 1_340_000), (40_000, 1_440_000)), 2_778, 59_000_000),
    OnesKind("alexnet", "imagenet", 64, 1024, 16, ((10_000, 210_000), (20_000, 1_380_000)), 3_058, 244_000_000),
    OnesKind("resnet50", "imagenet", 32, 512, 16, ((10_000, 270_000), (20_000, 880_000)), 1_848, 102_000_000),
    OnesKind("inception", "imagenet", 32, 512, 16, ((10_000, 500_000), (20_000, 1_040_000)), 1_531, 109_000_000),
    OnesKind("vgg16", "imagenet", 32, 512, 16, ((10_000, 110_000), (20_000, 1_160_000)), 1_042, 553_000_000),
)
_BY_NAME = {kind.name: kind for kind in KINDS}


class OnesTimes:
    """Level 1: computing, then the gradients, wherever the GPUs are."""

    isolated = True

    def __call__(self, running: Sequence[Asked], /) -> Sequence[Answer]:
        return [self._answer(asked) for asked in running]

    def _answer(self, asked: Asked) -> Answer:
        if asked.model not in _BY_NAME:
            raise BadInput(f"kind '{asked.model}': no times; allowed: {', '.join(_BY_NAME)}")
        kind = _BY_NAME[asked.model]
        sum_s = kind.sum_s(asked.workers)
        computing_s = asked.local_batch * (asked.additions + 1) * kind.per_sample_s
        return Answer(computing_s + sum_s, exposed_s=sum_s, level=1)


def ones_jobs(
    applications: Mapping[str, Application],
    count: int,
    mean_interval_s: float,
    seed: int,
    *,
    most_gpus: int = 64,
    elastic: bool = False,
    growing: bool = False,
    costs: Costs = FREE_OF_COST,
) -> tuple[Submitted, ...]:
    """`count` jobs, ten at a time one of each kind in an order that is drawn. most_gpus: of the cluster. elastic,
    growing: as in `read_workload`.

    Job n depends on its own three numbers of PCG64(seed) and those before it in its ten alone. BadInput.
    """
    if not 1 <= count <= 1_000_000:
        raise BadInput(f"jobs: {count}; allowed: 1 to 1000000")
    if not 0 < mean_interval_s <= 1e6:
        raise BadInput(f"mean_interval_s: {mean_interval_s:g}; allowed: above 0, to 1e6")
    rows = -(-count // len(KINDS)) * len(KINDS)
    uniform = np.random.Generator(np.random.PCG64(seed)).random((rows, 3))
    submit_s = np.cumsum(-mean_interval_s * np.log1p(-uniform[:, 0]))
    order = np.argsort(uniform[:, 1].reshape(-1, len(KINDS)), axis=1, kind="stable").reshape(-1)
    times = OnesTimes()
    jobs = []
    for number in range(count):
        kind = KINDS[order[number]]
        epoch_samples, samples = kind.lengths[int(uniform[number, 2] * 2)]
        whole = applications[kind.application]
        application = whole.shortened(samples / (pass_samples(whole) * whole.stages))
        batch = max(min(kind.batch * kind.gpus, kind.largest), application.batches[0])
        largest = max(kind.largest, application.batches[0])
        most = min((largest if growing else batch) // application.least_local, most_gpus)
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


def earlier(applications: Mapping[str, Application]) -> list[Curve]:
    """A job of each kind and length: such as the artefact has run before, to learn from."""
    curves = []
    for kind in KINDS:
        whole = applications[kind.application]
        for epoch_samples, samples in kind.lengths:
            curves.append(Curve(whole.shortened(samples / (pass_samples(whole) * whole.stages)), epoch_samples))
    return curves
