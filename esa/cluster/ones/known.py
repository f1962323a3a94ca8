"""What ONES keeps of a job from tick to tick: what it was seen to do, and what it may have."""

from __future__ import annotations

from dataclasses import dataclass, field

from esa.cluster.ones.predictor import Record, features
from esa.cluster.ones.settings import Settings
from esa.cluster.ones.throughput import Seen
from esa.cluster.scheduler import JobInfo, Running
from esa.cluster.training import Training
from esa.errors import BadInput


@dataclass
class Known:
    """most: GPUs that it can ever have; growth: that it is let grow to, where others want them. limit: doubles.
    waiting: GPUs that it may come back with after a stop. Epochs: when it was last scheduled, when it was last scaled.
    ran_ns: in spells that are over. passed: at the ends of epochs, what a record is made of.
    """

    number: int
    most: int
    growth: int
    seen: Seen
    training: Training
    limit: int = 1
    waiting: int = 1
    started: bool = False
    scheduled_epochs: int = 0
    scaled_epochs: int = 0
    ran_ns: int = 0
    since_ns: int | None = None
    passed: list[tuple[tuple[float, ...], float, float]] = field(default_factory=list)

    @classmethod
    def of(cls, job: JobInfo, gpus: int, settings: Settings) -> Known:
        """BadInput for a job that says nothing of its training, or cannot do with one GPU."""
        if job.training is None:
            raise BadInput(f"job {job.name}: it says nothing of its training; allowed under ones: jobs that do")
        if job.fewest > 1 or job.own_servers:
            raise BadInput(f"job {job.name}: {job.who}, at least {job.fewest}; allowed under ones: 1 GPU, and no PS")
        return cls(job.number, min(gpus, job.most), settings.most_growth * job.workers, Seen(gpus), job.training)

    @property
    def epochs(self) -> int:
        """That rules go by: the evaluation before the first one counts as one."""
        return self.training.epochs + (self.training.samples > 0)

    def look(self, now_ns: int, training: Training, running: Running | None) -> None:
        """As it is now; running: before anything is decided."""
        further = training.epochs - self.training.epochs
        self.training = training
        if running is None:
            if self.since_ns is not None:
                self.ran_ns += now_ns - self.since_ns
                self.since_ns = None
            return
        if self.since_ns is None:
            self.since_ns = running.start_ns
        if further > 0:
            self.seen.add(len(running.workers), training.samples_per_s, further)
            self.passed.append((self.features(), self.done, training.samples))

    @property
    def done(self) -> float:
        """In epochs: a of the distribution of how far it is."""
        return max(1.0, self.training.samples / self.training.epoch_samples)

    def features(self, *, raw: bool = False) -> tuple[float, ...]:
        one = self.training
        return features(one.epoch_samples, one.first_loss, self.done, one.loss, one.accuracy, raw=raw)

    def runs_ns(self, now_ns: int) -> int:
        return self.ran_ns + (0 if self.since_ns is None else now_ns - self.since_ns)

    def records(self) -> list[Record]:
        """Of a job that has ended."""
        all_ = self.training.samples
        return [Record(of, done, samples / all_) for of, done, samples in self.passed if samples < all_]

    def settle(self, scaled: bool) -> None:
        """It is installed; scaled: with another number of GPUs than it had."""
        self.started = True
        self.scheduled_epochs = self.epochs
        if scaled:
            self.scaled_epochs = self.epochs
