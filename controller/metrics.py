"""Metrics of jobs on a switch, for Prometheus: its counters, read over P4Runtime when somebody asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from controller.client import Switch
from controller.controller import Controller
from controller.job_counters import rows_in_use
from esa.errors import EsaError, SwitchError
from esa.metrics import Family, Sample

_JOB = ("job_name",)  # "job" is Prometheus' own
NOBODY = "(none)"  # the label of what belongs to no job
JOBS = {  # by the name of the job's counter
    "gradients": Family("esa_job_gradients_total", "Fragments of workers that reached the switch.", _JOB),
    "resends": Family("esa_job_resends_total", "Of these, sent again.", _JOB),
    "aggregated": Family("esa_job_aggregated_total", "Of these, added to a row.", _JOB),
    "completed": Family("esa_job_completed_total", "Sums that the switch completed.", _JOB),
    "duplicates": Family("esa_job_duplicates_total", "Fragments that were in their row already.", _JOB),
    "collisions": Family("esa_job_collisions_total", "Fragments passed on: the row was another's.", _JOB),
    "preemptions": Family("esa_job_preemptions_total", "Rows taken from fragments of lower priority.", _JOB),
    "expired": Family("esa_job_expired_rows_total", "Rows taken from fragments whose time was up.", _JOB),
    "evicted": Family("esa_job_evicted_total", "Rows of this job that others took.", _JOB),
    "aged": Family("esa_job_aged_total", "Collisions that lowered the row's priority.", _JOB),
    "reminders": Family("esa_job_reminders_total", "Reminders of the PS.", _JOB),
    "misses": Family("esa_job_misses_total", "Of these, those that found nothing.", _JOB),
    "seated": Family("esa_job_seated_rows_total", "Rows taken.", _JOB),
    "released": Family("esa_job_released_rows_total", "Rows given back or lost.", _JOB),
    "denied": Family("esa_job_denied_packets_total", "Packets that admission dropped.", _JOB),
}
IN_USE = Family("esa_job_rows", "Rows that hold something of the job now.", _JOB)
INFO = Family("esa_job_info", "1: the job is on the switch, under a policy, in a run.", ("job_name", "policy", "epoch"))
ROWS = Family("esa_switch_rows", "Rows that the program has.")
DENIED = Family("esa_switch_denied_packets_total", "Packets that admission dropped, by rule.", ("reason",))
UP = Family("esa_controller_switch_up", "Whether the switch answers: 1, or 0.")
RESTORED = Family("esa_controller_restorations_total", "Times that the switch had lost everything, and got it back.")
FAMILIES = (*JOBS.values(), IN_USE, INFO, ROWS, DENIED, UP, RESTORED)


class JobMetrics:
    """Reads the counters of a switch's jobs, over a connection of its own.

    connect: opens it; called again when it is lost. saved: the file that knows jobs' names. restorations: how many.
    """

    def __init__(
        self, connect: Callable[[], Switch], saved: Path | None, restorations: Callable[[], int] = lambda: 0
    ) -> None:
        self._connect, self._saved, self._restorations = connect, saved, restorations
        self._switch: Switch | None = None

    def read(self) -> Iterator[Sample]:
        """Yield what the switch counts now; of a switch that does not answer, that alone."""
        samples: list[Sample] = []
        try:
            samples = list(self._of_switch())
        except EsaError as error:
            if isinstance(error, SwitchError):
                self.close()
        yield Sample(UP, bool(samples))
        yield Sample(RESTORED, self._restorations())
        yield from samples

    def _of_switch(self) -> Iterator[Sample]:
        if self._switch is None:
            self._switch = self._connect()
        controller = Controller(self._switch, self._saved)
        jobs = controller.jobs()
        names = [controller.name(job) for job in jobs]
        counted = controller.read_counters([*(job.index for job in jobs), 0])
        for name, counters in zip([*names, NOBODY], counted, strict=True):
            for counter, value in counters.items():
                yield Sample(JOBS[counter], value, (name,))
            yield Sample(IN_USE, rows_in_use(counters), (name,))
        for name, job in zip(names, jobs, strict=True):
            yield Sample(INFO, 1, (name, job.policy.name, str(job.epoch)))
        yield Sample(ROWS, controller.switch.loaded.aggregators)
        for reason, value in controller.denied_by_reason().items():
            yield Sample(DENIED, value, (reason,))

    def close(self) -> None:
        if self._switch is not None:
            self._switch.close()
            self._switch = None
