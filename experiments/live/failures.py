"""A job whose worker dies, or gives up, fails alone: its other workers give up, then it leaves the switch."""

from __future__ import annotations

import time
from collections.abc import Callable

from experiments.live.errors import RunError
from experiments.live.measured import Measured, Worker
from experiments.live.processes import tail

_PEER_END_S = 1.0  # from the end of a process's connections to that of the process
FAILING_LIMIT_S = 20.0  # for a failed job's other workers to say so, beyond the time after which they give up


class Failures:
    """Jobs that have failed, until their workers have said that they give up."""

    def __init__(
        self, measured: Measured, give_up_s: float, end_job: Callable[[str], None], say: Callable[[str], None]
    ) -> None:
        """give_up_s: after which a worker without its peers gives up; end_job: ends what is left of a job."""
        self._measured = measured
        self._limit_s = give_up_s + FAILING_LIMIT_S
        self._end_job = end_job
        self._say = say
        self._until: dict[str, float] = {}  # job -> when its workers must have said that they give up

    def said(self, worker: Worker, message: str) -> None:
        """A worker says that it failed: perhaps because a peer has ended, then that is what happened.

        It may have heard of that before the peer's process is seen to be gone.
        """
        peers = [other for other in self._measured.workers if other.plan is worker.plan and other is not worker]
        until = time.monotonic() + _PEER_END_S
        while time.monotonic() < until and worker.plan.name not in self._measured.failures:
            for peer in peers:
                self.check(peer)
            time.sleep(_PEER_END_S / 20)
        self._fail(worker, f"{worker.name} failed: {message}; {tail(worker.log)}")

    def check(self, worker: Worker) -> None:
        """A worker may take seconds to leave: nobody waits for it, but a bad status is not missed."""
        if worker.stopped:
            return
        status = worker.process.poll()
        if status is not None and not worker.failed and (status != 0 or worker.end is None):
            what = f"ended by signal {-status}" if status < 0 else f"ended (status {status})"
            self._fail(worker, f"{worker.name} {what} before its training was done; {tail(worker.log)}")

    def lost(self, job: str, problem: str) -> None:
        """A job whose workers are gone cannot go on."""
        for worker in self._measured.workers:
            if worker.plan.name == job:
                worker.failed = True
        self._measured.failures[job] = problem
        self._say(f"  {problem}\n  other jobs go on")
        self._end_job(job)

    def _fail(self, worker: Worker, problem: str) -> None:
        """A worker is lost, and its job with it; before the training, the run is."""
        if not self._measured.training:
            raise RunError(problem)
        worker.failed = True
        job = worker.plan.name
        if job in self._measured.failures:
            return
        self._measured.failures[job] = problem
        self._until[job] = time.monotonic() + self._limit_s
        self._say(f"  {problem.splitlines()[0]}\n  the job's other workers give up; other jobs go on")

    def end_failed(self, now: float) -> None:
        """Once the workers of a failed job have said that they give up, the job leaves the switch."""
        for job, until in list(self._until.items()):
            workers = [worker for worker in self._measured.workers if worker.plan.name == job]
            left = [worker for worker in workers if not worker.failed and worker.end is None]
            if left and now < until:
                continue
            for worker in left:
                worker.failed = True
                self._measured.failures[job] += f"\n{worker.name} did not give up"
            del self._until[job]
            self._end_job(job)
