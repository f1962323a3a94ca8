"""A job's PS as a process: it takes part in one run after the other, as the coordinator starts them."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from types import TracebackType
from typing import Any

from esa.coordination import PS, Hello, PolicyIs, Refuse, Start, ToMember
from esa.errors import JoinError
from esa.hosts.joining import own_server
from esa.hosts.membership import Membership, coordinator_address, say
from esa.hosts.server import ServerEndpoint, open_server_socket
from esa.hosts.warm import say_compiling, warm
from esa.job import Job
from esa.log import area, event
from esa.net.impairment import LinkFaults
from esa.protocol.timers import Timers

_log = area("hosts")


class JobServer:
    """Serves a job's runs until it is closed, of several PSs as the one whose address this host has.

    OSError if that cannot be opened.

    A new run takes the place of the one before, whose packets are refused from then on. `problem` is why it
    cannot go on, such as that the coordinator refuses it.
    """

    def __init__(
        self, job: Job, controller: str | None = None, *, faults: LinkFaults | None = None, timers: Timers | None = None
    ) -> None:
        self.job = job
        self._faults = faults
        self._timers = timers
        self._lock = threading.Lock()
        self._endpoint: ServerEndpoint | None = None
        self._counted: Counter[str] = Counter()  # of the runs before
        self._refused: str | None = None
        self.problem: BaseException | None = None
        address = coordinator_address(controller)
        self._number = own_server(job)
        open_server_socket(job, self._number).close()  # rather now than when all wait for it
        warm(say_compiling)
        self._membership = Membership(address, Hello(job=job, member=PS, server=self._number), self._heed)

    @property
    def alive(self) -> bool:
        """Whether it serves, or waits for a run to serve."""
        return self.problem is None and (self._endpoint is None or self._endpoint.alive)

    @property
    def policy(self) -> str | None:
        """The policy of the present run; None without one."""
        return self._endpoint.policy if self._endpoint else None

    def stats(self) -> dict[str, Any]:
        """Counts over all runs; what is no count is the present run's."""
        with self._lock:
            now = self._endpoint.stats() if self._endpoint else {}
        counts = self._counted + Counter({name: value for name, value in now.items() if isinstance(value, int)})
        return {**now, **{name: counts[name] for name in now if name in counts}}

    def faults(self) -> dict[str, dict[str, int]]:
        """What was done to packets on purpose in the present run."""
        return self._endpoint.faults() if self._endpoint else {}

    def close(self) -> None:
        """Stop; OSError if the socket had failed before."""
        self._membership.leave(ok=True, why="it was ended")
        self._membership.close()
        with self._lock:
            if self._endpoint is not None:
                self._endpoint.close()

    def __enter__(self) -> JobServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _heed(self, message: ToMember) -> None:
        try:
            if isinstance(message, Start):
                self._start(message)
            elif isinstance(message, PolicyIs) and self._endpoint is not None:
                self._endpoint.set_policy(message.policy)
                text = f"job {self.job.name}, PS: the switch has the job under {message.policy} now"
                say(text, job=self.job.name, epoch=self._endpoint.job.epoch, rank="ps")
            elif isinstance(message, Refuse):
                self.problem = self.problem or JoinError(message.why)
        except BaseException as error:
            self.problem = self.problem or error

    def _start(self, start: Start) -> None:
        with self._lock:
            if self._endpoint is None or self._endpoint.job.epoch != start.epoch:
                if self._endpoint is not None:
                    counts = self._endpoint.stats()
                    self._counted.update({name: value for name, value in counts.items() if isinstance(value, int)})
                    self._endpoint.close()
                    self._endpoint = None
                run = self.job.model_copy(update={"policy": start.policy}).run(start.epoch)
                self._endpoint = ServerEndpoint(run, number=self._number, timers=self._timers, faults=self._faults)
        self._membership.ready(start.epoch)
        fields = {"job": self.job.name, "epoch": start.epoch, "rank": "ps", "policy": start.policy}
        event(_log, logging.INFO, "serves a run", **fields)
