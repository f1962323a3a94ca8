"""Jobs that a host's death has stopped, until they train again: from the last iteration that all workers finished."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from experiments.live.counters import Counters
from experiments.live.measured import Measured, Worker
from experiments.live.plan import JobPlan
from experiments.live.processes import start_workers, tell
from experiments.live.snapshots import iterations_of_all
from topologies.network import Network

ATTEMPTS = 3  # to start a job again, where a switch that is down refuses it


@dataclass
class _Stopped:
    plan: JobPlan
    since: float  # it has waited for its hosts; infinity once it has them
    starting: bool = False  # its workers are on their way
    refused: int = 0


class StoppedJobs:
    """Times are monotonic seconds.

    with_it = jobs.stop(host, now)
    for name in jobs.go_on(now, host_is_up, switches_are_whole): ...      # now and then: those that train again
    """

    def __init__(
        self,
        net: Network,
        folder: Path,
        snapshots: Path,
        measured: Measured,
        counters: Counters,
        say: Callable[[str], None],
    ) -> None:
        """folder: the run's."""
        self._net, self._folder, self._snapshots = net, folder, snapshots
        self._measured, self._counters, self._say = measured, counters, say
        self._stopped: dict[str, _Stopped] = {}
        self.former: list[Worker] = []  # those that were ended, and that others came for

    def __contains__(self, name: str) -> bool:
        return name in self._stopped

    def stop(self, host: int, now: float) -> list[str]:
        """End the workers of all jobs that have a place on that host and are not over; their names."""
        found = []
        for plan in {worker.plan.name: worker.plan for worker in self._measured.workers}.values():
            name = plan.name
            running = not all(worker.end is not None or worker.failed for worker in self._workers(name))
            waiting = name in self._stopped and not self._stopped[name].starting
            if host in plan.hosts and running and not waiting and name not in self._measured.failures:
                self._stop(plan, now)
                found.append(name)
        return found

    def _stop(self, plan: JobPlan, now: float) -> None:
        """Those on other hosts are ended, too, as a launcher does it."""
        workers = self._workers(plan.name)
        for worker in workers:
            worker.stopped, worker.end = True, None
        self._net.kill((worker.process for worker in workers), grace_s=0.0)
        self._counters.pause(plan.name)
        self._stopped[plan.name] = _Stopped(plan, now)

    def lost(self, name: str) -> None:
        """A job does not go on."""
        del self._stopped[name]

    def waiting_for(self, host: int) -> list[str]:
        return [name for name, stopped in self._stopped.items() if host in stopped.plan.hosts]

    def is_refused(self, worker: Worker, now: float) -> bool:
        """A worker of a job that starts again says that it cannot; whether the job is to be started once more."""
        stopped = self._stopped.get(worker.plan.name)
        if stopped is None or stopped.refused == ATTEMPTS - 1:
            return False
        self._stop(stopped.plan, now)
        self._stopped[worker.plan.name].refused = stopped.refused + 1
        return True

    def go_on(self, now: float, is_up: Callable[[int], bool], switches_are_whole: bool) -> list[str]:
        """Start again what has its hosts, once switches can start a run; the names of jobs that train again."""
        training = []
        for name, stopped in list(self._stopped.items()):
            if stopped.starting:
                if all(worker.ready for worker in self._workers(name)):
                    self._train(name)
                    training.append(name)
            elif all(is_up(host) for host in stopped.plan.hosts):
                self._has_hosts(stopped, now)
                if switches_are_whole:
                    self._start(stopped)
        return training

    def _has_hosts(self, stopped: _Stopped, now: float) -> None:
        name, since, stopped.since = stopped.plan.name, stopped.since, math.inf
        if name in self._measured.go:
            waited_s = max(0.0, now - max(since, self._measured.go[name]))
            self._measured.waited_s[name] = self._measured.waited_s.get(name, 0.0) + waited_s

    def _start(self, stopped: _Stopped) -> None:
        name = stopped.plan.name
        done = iterations_of_all(self._snapshots, name, len(stopped.plan.workers))
        self._say(f"  job {name} goes on after iteration {done}")
        workers = list(start_workers(self._net, stopped.plan, self._folder, done))
        everybody = self._measured.workers
        self.former += [worker for worker in everybody if worker.plan.name == name]
        everybody[:] = [workers[w.rank] if w.plan.name == name else w for w in everybody]
        tell("join", workers)
        stopped.starting = True

    def _train(self, name: str) -> None:
        self._counters.go_on(name)
        del self._stopped[name]
        if name in self._measured.go:
            tell("go", self._workers(name))

    def _workers(self, name: str) -> list[Worker]:
        return [worker for worker in self._measured.workers if worker.plan.name == name]
