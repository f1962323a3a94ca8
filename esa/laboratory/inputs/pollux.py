"""Pollux's workloads: jobs of its six applications, their work epoch by epoch, and level 0 of their iterations' times.

    applications = read_applications(Path("simulator/traces"))
    jobs = read_workload(Path("simulator/workloads/workload-6.csv"), applications)
    simulate_cluster(POLLUX_CLUSTER, jobs, SCHEDULERS["tiresias"], PolluxTimes(applications), **POLLUX_CLOCK)

Format: petuum/adaptdl, branch osdi21-artifact, simulator/workloads*. So are the rules: the scheduler is asked every
60 s, who gets other GPUs makes no progress for 30 s, an epoch's end is noted to the nearest second.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

from esa.cluster.inventory import Cluster, Host, Nic
from esa.cluster.kinds import Costs
from esa.cluster.packing import consolidated
from esa.cluster.times import Answer, Asked
from esa.errors import BadInput
from esa.laboratory.inputs.applications import EPOCHS, Application, ApplicationKind
from esa.laboratory.inputs.growing import Curve, GrowingKind, pass_samples
from esa.laboratory.inputs.rows import read_rows
from esa.laboratory.jobs import Submitted

SECOND_NS = 10**9
POLLUX_COSTS = Costs(start_ns=30 * SECOND_NS, rescale_ns=30 * SECOND_NS, migrate_ns=30 * SECOND_NS)
POLLUX_CLOCK = {"tick_ns": 60 * SECOND_NS, "round_ns": SECOND_NS}
POLLUX_CLUSTER = Cluster(
    tuple(Host(0, Nic(10e9), gpus=4, gpu_type="t4") for _ in range(16)), max_jobs=10**6, placement="most-free"
)
_ONE_GPU = ("ncf",)  # has no more, if it is elastic
# Reports of an epoch to a scheduler that learns, if several: bert has two epochs, of an hour each on a GPU.
OFTEN = {"bert": 10}


@dataclass(frozen=True)
class Epochs:
    """Work in epochs. Schedulers hear of iterations of the job's batch, at the ends of epochs alone."""

    application: Application
    batch: int

    @property
    def stages(self) -> int:
        return self.application.stages

    def end_of(self, stage: int) -> float:
        return self.application.end_of(stage)

    def per_iteration(self, stage: int, batch: int) -> float:
        return self.application.gain(stage, batch)

    @property
    def iterations(self) -> int:
        return round(self.application.iterations(self.batch, self.stages - 1))

    def finished(self, stage: int, progress: Fraction | int) -> int:
        """As Pollux's Optimus counts: those up to the end of the present epoch; of the last one, all but one."""
        if stage >= self.stages - 1:
            return self.iterations - 1
        return round(self.application.iterations(self.batch, stage))


class PolluxTimes:
    """Level 0: the measured times of a step, with the additions before it."""

    isolated = True

    def __init__(self, applications: Mapping[str, Application]) -> None:
        self._applications = applications
        self._answer = lru_cache(maxsize=None)(self._measured)

    def __call__(self, running: Sequence[Asked], /) -> Sequence[Answer]:
        return [
            self._answer(asked.model, tuple(gpus for _, gpus in asked.hosts), asked.local_batch, asked.additions)
            for asked in running
        ]

    def _measured(self, model: str, placement: tuple[int, ...], local_batch: int, additions: int) -> Answer:
        if model not in self._applications:
            raise BadInput(f"application '{model}': no measured times; allowed: {', '.join(self._applications)}")
        step_s, sum_s = self._applications[model].step(placement, local_batch)
        return Answer(step_s + (step_s - sum_s) * additions, exposed_s=sum_s)


def workload_curves(applications: Mapping[str, Application], often: Mapping[str, int] = OFTEN) -> dict[str, Curve]:
    """What jobs of each application report, so often in a pass through its data."""
    return {
        name: Curve(application, max(1, round(pass_samples(application) / often.get(name, 1))))
        for name, application in applications.items()
    }


def read_workload(
    path: Path,
    applications: Mapping[str, Application],
    *,
    elastic: bool = False,
    growing: bool = False,
    often: Mapping[str, int] = OFTEN,
    costs: Costs = POLLUX_COSTS,
) -> tuple[Submitted, ...]:
    """Jobs with the GPUs and the batch that they ask for; elastic: with from one to as many as the batch can be split.

    growing: elastic, the batch with the GPUs (`growing.py`), and a job reports so `often` in an epoch.
    InputError names file, line and column.
    """
    jobs: list[Submitted] = []
    kinds: dict[tuple[str, int, int], ApplicationKind] = {}
    curves = workload_curves(applications, often)
    elastic = elastic or growing
    times = PolluxTimes(applications)
    last = 0
    for row in read_rows(path, ("name", "time", "application", "num_replicas", "batch_size")):
        name = row.one_of("application", tuple(EPOCHS))
        application = applications[name]
        submit_s = row.whole("time", 0, 10**9)
        if submit_s < last:
            raise row.error("time", f"times that do not go backwards; the line before has {last}")
        last = submit_s
        batch = row.whole("batch_size", application.batches[0], application.batches[-1])
        largest = application.batches[-1] if growing else batch
        most = 1 if elastic and name in _ONE_GPU else largest // application.least_local
        if most < 1:
            raise row.error("batch_size", f"{application.least_local} or more samples for a GPU")
        workers = row.whole("num_replicas", 1, 1024)
        if elastic:
            workers = min(workers, most)
        kind: ApplicationKind = ApplicationKind(name, batch, costs, application=application)
        if growing:
            kind = GrowingKind(name, batch, costs, application=application, asked=workers, largest=largest)
        kind = kinds.setdefault((name, batch, workers), kind)
        asked = Asked(0, name, 0, *kind.split(workers), consolidated(POLLUX_CLUSTER, workers))
        iteration_ns = round(times([asked])[0].iteration_s * SECOND_NS)
        bounds = (1, most) if elastic else None
        jobs.append(
            Submitted(
                row.text["name"],
                submit_s * SECOND_NS,
                workers,
                Epochs(application, batch),
                iteration_ns=iteration_ns,
                kind=kind,
                elastic=bounds,
                reports=curves[name] if growing else None,
            )
        )
    return tuple(jobs)
