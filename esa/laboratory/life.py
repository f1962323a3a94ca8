"""One job in a simulation: how far it is, in exact fractions, at which rate it goes on, and what it has cost.

Progress was `done` at `from_ns`, and grows by `rate` from then on: nothing is added up in between. A rate is the exact
value of the floating-point number that it was given as, so that the fractions' denominators stay powers of two, times
the nanoseconds of a second. Samples are counted likewise, of jobs that tell of them.
"""

from __future__ import annotations

from fractions import Fraction

from esa.cluster.inventory import Gpu
from esa.cluster.scheduler import JobInfo, by_host
from esa.cluster.times import Answer, Asked
from esa.cluster.training import Training
from esa.laboratory.jobs import Submitted
from esa.laboratory.outcome import JobRecord

_SECOND_NS = 10**9


class Life:
    """From submission to end. version: of what is expected of it, which ends with every change of its rate.

    told_left_ns: what its scheduler takes to be left, if it says so. by_level: GPU time by the level of answers, which
    it adds its own to.
    """

    stage = 0
    done: Fraction | int = 0  # at from_ns
    memo: object = None
    told_left_ns: int | None = None
    gpus: tuple[Gpu, ...] = ()
    start_ns = 0  # since when it runs
    since_ns = 0  # since when on these GPUs
    version = 0
    due_ns = 0  # when its stage is over
    _answer: Answer | None = None
    _batch = 0
    _numerator, _denominator = 0, 1  # progress in a nanosecond
    _samples: Fraction | int = 0  # at from_ns, as `done`
    _samples_per_s = 0.0
    _delay_until_ns = 0

    def __init__(self, number: int, job: Submitted, round_ns: int, by_level: dict[int, int]) -> None:
        self.number = number
        self.job = job
        self.record = record_of(job)
        self.from_ns = job.submit_ns
        self._by_level = by_level
        self._round_ns = round_ns
        self._first_of_spell = job.submit_ns  # since when it waits, or up to when its GPU time is accounted for
        work = job.work
        self._base = JobInfo(
            number,
            job.name,
            job.workers,
            job.submit_ns,
            work.iterations,
            work.finished(0, 0),
            job.iteration_ns,
            False,
            False,
            elastic=job.elastic,
            kind=job.kind,
            training=None if job.reports is None else self._training(0),
        )

    def info(self, now_ns: int) -> JobInfo:
        """As a scheduler sees it."""
        if self.record.starts == 0 and self.memo is None:
            return self._base
        service_ns = self.record.held + (now_ns - self._first_of_spell) * len(self.gpus)
        done = self.job.work.finished(self.stage, self._progress(now_ns))
        seen = object.__new__(JobInfo)  # as `replace`, in a fifth of its time: some look at every job at every tick
        now = {"done": done, "service_ns": service_ns, "memo": self.memo, "training": self._training(now_ns)}
        seen.__dict__.update(self._base.__dict__, **now)
        return seen

    def asked(self, now_ns: int | None = None) -> Asked:
        """What is asked of `times`; with what is left then, if a time is given."""
        asked = self._base.asked(by_host(self.gpus))
        if asked.local_batch:
            self._batch = len(self.gpus) * asked.local_batch * (asked.additions + 1)
        if now_ns is None:
            return asked
        left_ns = self.told_left_ns
        if left_ns is None:
            done = self.job.work.finished(self.stage, self._progress(now_ns))
            left_ns = (self._base.iterations - done) * self._base.iteration_ns
        return asked._replace(left_ns=left_ns)

    def start(self, now_ns: int, gpus: tuple[Gpu, ...]) -> None:
        costs, record = self.job.kind.costs, self.record
        record.queued_ns += now_ns - self._first_of_spell
        if record.start_ns is None:
            record.start_ns = now_ns
        record.starts += 1
        self.start_ns = now_ns
        self._take(now_ns, gpus, costs.start_ns + (costs.preempt_ns if record.stops else 0))

    def resize(self, now_ns: int, gpus: tuple[Gpu, ...]) -> None:
        """It goes on on these GPUs, after a time that depends on whether they are as many as before."""
        self.account(now_ns)
        self.done, self._samples = self._progress(now_ns), self._sampled(now_ns)
        costs = self.job.kind.costs
        moves = len(gpus) == len(self.gpus)
        self.record.moves += moves
        self.record.resizes += not moves
        self._take(now_ns, gpus, costs.migrate_ns if moves else costs.rescale_ns)

    def stop(self, now_ns: int) -> None:
        """It waits, and goes on from its last checkpoint. Its GPUs are noted until they are given back."""
        self.account(now_ns)
        self.done, self._samples = self._progress(now_ns), self._sampled(now_ns)
        every = self.job.kind.costs.checkpoint
        if every:
            per_iteration = Fraction(self.job.work.per_iteration(self.stage, self._batch))
            kept = self.done // (every * per_iteration) * every * per_iteration
            again = self.done - kept
            if self._numerator:
                self.record.lost += round(again * self._denominator / self._numerator) * len(self.gpus)
            self._samples = max(0, round(self._samples - self._batch * again / per_iteration))
            self.done = kept
        self.record.stops += 1
        self._numerator = 0
        self._first_of_spell = now_ns
        self.version += 1
        self._answer = None

    def account(self, now_ns: int) -> None:
        """Add up its GPU time until now."""
        record, width, since_ns = self.record, len(self.gpus), self._first_of_spell
        held = (now_ns - since_ns) * width
        record.held += held
        if self._delay_until_ns > since_ns:
            record.delayed += max(0, min(now_ns, self._delay_until_ns) - since_ns) * width
        if self._answer is not None:
            level = self._answer.level
            self._by_level[level] = self._by_level.get(level, 0) + held
        self._first_of_spell = now_ns

    def answered(self, now_ns: int, answer: Answer) -> bool:
        """An iteration takes so long from now on; whether that changes when its stage is over."""
        if answer == self._answer and self._numerator:
            return False
        if self._answer is not None:
            self.account(now_ns)
            self.done, self._samples = self._progress(now_ns), self._sampled(now_ns)
            self.from_ns = max(now_ns, self.from_ns)
        self._answer = answer
        self._set_rate()
        return True

    def stage_over(self) -> bool:
        """What was expected has come; whether it was the last stage."""
        work, end_ns = self.job.work, self._noted_end_ns() if self._round_ns else self.due_ns
        if self.job.reports is not None:
            self._samples = self._sampled(end_ns)
        self.from_ns = end_ns
        self.done = _exact(work.end_of(self.stage))
        self.stage += 1
        if self.stage < work.stages:
            self._set_rate()
            return False
        self.account(self.from_ns)
        self.record.end_ns = self.from_ns
        self._numerator = 0
        self.version += 1
        return True

    def _take(self, now_ns: int, gpus: tuple[Gpu, ...], delay_ns: int) -> None:
        self.gpus = gpus
        self.since_ns = self._first_of_spell = now_ns
        self.from_ns = self._delay_until_ns = now_ns + delay_ns
        self._numerator = 0
        self._answer = None

    def _progress(self, now_ns: int) -> Fraction | int:
        if self._numerator == 0 or now_ns <= self.from_ns:
            return self.done
        return self.done + Fraction((now_ns - self.from_ns) * self._numerator, self._denominator)

    def _sampled(self, now_ns: int) -> Fraction | int:
        """Samples that it has been through, if anybody is told."""
        if self.job.reports is None or self._numerator == 0 or now_ns <= self.from_ns:
            return self._samples
        return self._samples + Fraction(self._samples_per_s) * (now_ns - self.from_ns) / _SECOND_NS

    def _training(self, now_ns: int) -> Training | None:
        reports = self.job.reports
        if reports is None:
            return None
        samples = self._sampled(now_ns)
        of = reports.epoch_samples
        speed = self._samples_per_s if self._numerator else 0.0
        loss, accuracy = reports.at(self._progress(now_ns))
        return Training(of, int(samples // of), float(samples), speed, reports.first_loss, loss, accuracy)

    def _set_rate(self) -> None:
        answer = self._answer
        assert answer is not None
        if self._batch:
            self._samples_per_s = self._batch / answer.iteration_s
        rate = self.job.work.per_iteration(self.stage, self._batch) / answer.iteration_s
        self._numerator, denominator = rate.as_integer_ratio()
        self._denominator = denominator * _SECOND_NS
        left, takes = self._left()
        self.due_ns = self.from_ns - (-left // takes)
        self.version += 1

    def _left(self) -> tuple[int, int]:
        """The time until its stage is over, in nanoseconds, as a fraction."""
        left = _exact(self.job.work.end_of(self.stage)) - self.done
        return left.numerator * self._denominator, left.denominator * self._numerator

    def _noted_end_ns(self) -> int:
        left, takes = self._left()
        return self.from_ns + round(Fraction(left, takes * self._round_ns)) * self._round_ns


def record_of(job: Submitted) -> JobRecord:
    """Of a job that has not come to anything yet."""
    return JobRecord(job.name, job.workers, job.submit_ns)


def _exact(value: float | int) -> Fraction | int:
    return value if isinstance(value, int) else Fraction(value)
