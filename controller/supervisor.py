"""Keeping a switch in the wanted state: whoever restarts it need not tell anybody.

A switch that was restarted runs no program. Then the supervisor loads it and puts back what the switch held when it
was last looked at: hosts, jobs under the policies that they had by then, their counters' indices. What a restart loses
for good are the rows. Workers resend what was in them, the PS collects it, and a sum that some workers have already
reaches the others by way of the PS, which asks.

Under release on reuse a RESEND may seat alone in the empty row of a sum that its peers have already; the next one finds
its bit there and is passed on to the PS, so that way stays open too.

Everything else is compared now and then. A difference counts when it is there twice in a row: the first may be
another controller at work.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import NamedTuple

from controller.client import Switch
from controller.controller import Controller
from controller.looking import COMPARE_S, Looking
from esa.entries.job_entries import Entry, InstalledJob
from esa.errors import BadInput, Refused, Unreachable
from esa.job import Job
from esa.program import program

COMPARE_AGAIN_S = 0.3  # when something was found


@dataclass(frozen=True)
class Wanted:
    """What a switch shall run; policies may be changed while it does.

    exclusive: jobs that are not among `jobs` are removed; else they are left alone.
    """

    jobs: Sequence[Job] = ()
    lanes: int = 64
    hosts: Mapping[str, int] = field(default_factory=dict)
    exclusive: bool = False


@dataclass(frozen=True)
class Held:
    """What a switch held when it was last looked at."""

    jobs: tuple[InstalledJob, ...] = ()
    hosts: Mapping[str, int] = field(default_factory=dict)
    congestion_mark: int | None = None
    lanes: int | None = None
    leftovers: tuple[str, ...] = ()
    runs: tuple[Entry, ...] = ()

    @classmethod
    def by(cls, controller: Controller) -> Held:
        return cls(
            tuple(controller.jobs()),
            controller.hosts(),
            controller.congestion_mark(),
            controller.switch.loaded.lanes,
            tuple(controller.leftovers()),
            tuple(controller.remembered_runs()),
        )


class Supervisor(Looking):
    """Keeps one switch in the wanted state, from a thread of its own.

        with Supervisor(lambda: Switch.connect("127.0.0.1:9559"), lambda: Wanted(jobs)) as supervisor:
            ...
            supervisor.restorations                    # how often the switch had lost everything

    connect: opens a connection; called again whenever one is lost. wanted: called at every comparison. say: told in
    words what was found and done, each once.
    """

    def __init__(
        self,
        connect: Callable[[], Switch],
        wanted: Callable[[], Wanted],
        say: Callable[[str], None] | None = None,
    ) -> None:
        super().__init__(connect, say)
        self._wanted = wanted
        self._held = Held()
        self._difference = _NOTHING
        self._restoring = False

    @property
    def whole(self) -> bool:
        """Whether the switch answered at the last look and held what it should."""
        connected = self._switch is not None and self._generation is not None
        return connected and not self._problem and not any(self._difference)

    def __enter__(self) -> Supervisor:
        self.look()
        self._look_from_now_on("supervisor")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _look(self) -> None:
        switch = self._connected()
        controller = Controller(switch)
        try:
            generation = switch.generation()
        except Unreachable:
            raise
        except Refused:
            self._restoring = True
        if self._restoring:
            self._restore(controller)
            return
        now = time.monotonic()
        if generation == self._generation and now < self._compare_at:
            return
        # Read before what is wanted: a job that is added meanwhile is then missing here, and there at the next look.
        held = Held.by(controller)
        wanted = self._wanted()
        difference = _difference(wanted, held)
        if any(difference) and difference == self._difference:
            self._settle(controller, difference)
            held, difference = Held.by(controller), _NOTHING
        self._compare_at = now + (COMPARE_AGAIN_S if any(difference) else COMPARE_S)
        self._held, self._generation, self._difference = held, generation, difference
        self._lost_at = None

    def _restore(self, controller: Controller) -> None:
        """Load the program onto a switch that runs none, and put everything back."""
        lost_at = self._lost_at or time.monotonic()
        held, wanted = self._held, self._wanted()
        held = replace(held, jobs=tuple(job for job in held.jobs if not job.problems))
        self._generation = None
        try:
            controller.switch.load(program(held.lanes or wanted.lanes))
        except ValueError as error:
            raise BadInput(str(error)) from None
        controller.add_hosts({**wanted.hosts, **held.hosts})
        if held.congestion_mark is not None:
            controller.mark_congestion_above(held.congestion_mark)
        controller.remember_runs(held.runs)
        for job in held.jobs:
            controller.put_back(job)
        for new in _difference(wanted, held).missing:
            controller.add_job(new)
        self._held, self._generation = Held.by(controller), controller.switch.generation()
        self._difference, self._lost_at, self._restoring = _NOTHING, None, False
        self.restorations += 1
        names = {job.job: job.name for job in wanted.jobs}
        jobs = [names.get(job.job, f"job-{job.job}") for job in self._held.jobs]
        self._say(
            f"the switch ran no program: loaded it, put back {', '.join(jobs) or 'no jobs'}"
            f" {time.monotonic() - lost_at:.2f} s after it was missed"
        )

    def _settle(self, controller: Controller, difference: Difference) -> None:
        for job in difference.surplus:
            controller.remove_job(job.job)
            self._say(f"removed job {job.job}, epoch {job.epoch}: {'; '.join(job.problems) or 'it is not wanted'}")
        if difference.hosts:
            controller.add_hosts(dict(difference.hosts))
        for done in controller.reconcile():
            self._say(done)
        for new in difference.missing:
            controller.add_job(new)
            self._say(f"added job {new.name}, which the switch did not have")


class Difference(NamedTuple):
    """Return what a switch has too much and what it lacks. Policies, pools and TTLs may have been changed since."""

    surplus: tuple[InstalledJob, ...] = ()
    missing: tuple[Job, ...] = ()
    hosts: tuple[tuple[str, int], ...] = ()
    leftovers: tuple[str, ...] = ()


_NOTHING = Difference()


def _difference(wanted: Wanted, held: Held) -> Difference:
    missing = {job.job: job for job in wanted.jobs}
    ids = set(missing)
    surplus = []
    for found in held.jobs:
        job = missing.get(found.job)
        if job is None:
            if wanted.exclusive or found.job in ids:
                surplus.append(found)
        elif found.problems or found.members != job.members:
            surplus.append(found)
        else:
            del missing[found.job]
    hosts = tuple((mac, port) for mac, port in wanted.hosts.items() if held.hosts.get(mac) != port)
    return Difference(tuple(surplus), tuple(missing.values()), hosts, held.leftovers)
