"""What starts and ends the runs of jobs: a `Controller` on one switch, a `NetworkController` on several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from esa.entries.job_entries import InstalledJob
from esa.job import Job


class RunControl(Protocol):
    """Jobs by number. SwitchError where a switch does not do its part."""

    @property
    def address(self) -> str:
        """Where the switch is, or the switches are, for people."""
        ...

    @property
    def lanes(self) -> int:
        """Of the program that runs."""
        ...

    def jobs(self) -> Sequence[InstalledJob]:
        """Return the jobs, each with its present run."""
        ...

    def saved(self, job: InstalledJob) -> Job | None:
        """Return the job as it was added, if that is known."""
        ...

    def start_run(self, job: int) -> InstalledJob: ...

    def end_run(self, job: int) -> InstalledJob: ...

    def resume_run(self, job: int, epoch: int) -> InstalledJob: ...

    def memory(self) -> int:
        """Return a number that stays while what the switch holds is what controllers wrote there.

        Another one tells that it lost everything since, and was given back what somebody knew of it.
        """
        ...

    def denied_by_reason(self) -> dict[str, int]: ...
