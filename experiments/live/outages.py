"""[[failures]] of a run: what dies at its time, is back, and does its work again."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from esa.report.records import FailureSummary
from experiments.live.failures import Failures
from experiments.live.measured import Measured
from experiments.live.processes import Servers
from experiments.live.restarts import Restarts
from experiments.live.stopped import StoppedJobs
from experiments.specs.failures import HOST, PS, SWITCH, FailureSpec
from experiments.specs.scenario import Scenario
from topologies.p4switch import P4Switch


@dataclass
class Outage:
    """Something is down, by one failure or by several that overlap: until the last of them is over.

    numbers: of the failures. at_s, until_s: since the start, which may be infinity. awaited: jobs that it stopped,
    until they train again.
    """

    what: str
    name: str
    at_s: float
    until_s: float
    numbers: list[int]
    is_down: bool = False
    is_starting: bool = False  # a switch, until it listens
    is_back: bool = False  # and does not work yet
    awaited: set[str] = field(default_factory=set)


def outages(failures: Iterable[FailureSpec]) -> list[Outage]:
    """In the order in which they begin."""
    found: list[Outage] = []
    for number, failure in sorted(enumerate(failures), key=lambda one: one[1].at_s):
        until_s = math.inf if failure.down_s is None else failure.at_s + failure.down_s
        last = next((one for one in reversed(found) if (one.what, one.name) == (failure.what, failure.name)), None)
        if last is not None and failure.at_s <= last.until_s:
            last.until_s = max(last.until_s, until_s)
            last.numbers.append(number)
        else:
            found.append(Outage(failure.what, failure.name, failure.at_s, until_s, [number]))
    return found


class Outages:
    """switches: by the name that a scenario knows. record: takes an event of the run, and what belongs to it."""

    def __init__(
        self,
        scenario: Scenario,
        switches: Mapping[str, P4Switch],
        servers: Servers,
        restarts: Restarts,
        jobs: StoppedJobs,
        failures: Failures,
        measured: Measured,
        record: Callable[..., None],
        say: Callable[[str], None],
    ) -> None:
        self._specs = scenario.failures
        self._outages = outages(self._specs)
        self._hosts = {name: number for number, name in enumerate(scenario.host_names())}
        self._switches, self._servers, self._restarts, self._jobs = switches, servers, restarts, jobs
        self._failures, self._measured, self._record, self._say = failures, measured, record, say
        self._told = measured.outages
        self._start = math.inf

    def begin(self, start: float) -> None:
        """The run has started, at that time, monotonic seconds."""
        self._start = start

    @property
    def one_ends(self) -> bool:
        """Whether something is down that is to come back: meanwhile nobody need say anything."""
        return any(one.is_down and one.until_s < math.inf for one in self._outages)

    def look(self) -> None:
        """Let happen what is due, and see what works again."""
        for _, is_end, one in self._due():
            if is_end:
                self._end(one)
            else:
                self._die(one)
        for one in self._outages:
            if one.is_down:
                for number in one.numbers:
                    if self._told[number].died_s is None and self._specs[number].at_s <= self._now_s:
                        self._told[number].died_s = self._now_s
            elif one.is_starting and self._switches[one.name].listens():
                self._is_back(one)
            elif one.is_back and self._works(one):
                self._works_again(one)
        whole = not any(one.what == SWITCH and (one.is_down or one.is_starting or one.is_back) for one in self._outages)
        for name in self._jobs.go_on(time.monotonic(), self._is_up, whole):
            for one in self._outages:
                one.awaited.discard(name)

    def switch_restored(self, switch: P4Switch) -> None:
        """A switch has its tables again."""
        for one in self._outages:
            if one.what == SWITCH and self._switches[one.name] is switch and (one.is_starting or one.is_back):
                if one.is_starting:
                    self._is_back(one)
                self._works_again(one)

    @property
    def _now_s(self) -> float:
        return time.monotonic() - self._start

    def _due(self) -> list[tuple[float, bool, Outage]]:
        """What has come to pass since the last look: when, whether it is an end, and which."""
        now_s = self._now_s
        begun = [one for one in self._outages if one.numbers and self._told[one.numbers[0]].died_s is None]
        due = [(one.at_s, False, one) for one in begun if one.at_s <= now_s]
        ending = [one for one in self._outages if one.is_down or (one.at_s, False, one) in due]
        due += [(one.until_s, True, one) for one in ending if one.until_s <= now_s]
        return sorted(due, key=lambda event: event[:2])

    def _die(self, one: Outage) -> None:
        self._say(f"  {one.what} {one.name} dies")
        for other in self._outages:
            if (other.what, other.name) == (one.what, one.name):
                other.is_starting = other.is_back = False  # it has died again before it worked
        one.is_down = True
        self._record("died", what=one.what, name=one.name)
        told = self._told[one.numbers[0]]
        told.died_s = self._now_s
        if one.what == SWITCH:
            self._restarts.hold(self._switches[one.name])
        elif one.what == PS:
            self._servers.kill(one.name)
        else:
            self._host_dies(one, told)

    def _host_dies(self, one: Outage, told: FailureSummary) -> None:
        host = self._hosts[one.name]
        for job in self._servers.on_host(host):
            self._servers.kill(job, host)
        told.stopped = self._jobs.stop(host, time.monotonic())
        one.awaited = set(told.stopped)
        if one.until_s == math.inf:
            for job in self._jobs.waiting_for(host):
                self._jobs.lost(job)
                self._failures.lost(job, f"job {job} waits, and {one.name} is down for good")

    def _end(self, one: Outage) -> None:
        one.is_down = False
        if one.what == SWITCH:
            self._restarts.release(self._switches[one.name])
            one.is_starting = True
            return
        for job in [one.name] if one.what == PS else self._servers.on_host(self._hosts[one.name]):
            self._start_server(job)
        self._is_back(one)

    def _start_server(self, job: str) -> None:
        """Unless something else keeps it down, or nobody needs it any more."""
        down = any(other.is_down and (other.what, other.name) == (PS, job) for other in self._outages)
        up = all(map(self._is_up, self._servers.hosts(job)))
        if not down and up and job not in self._measured.failures:
            self._servers.restart(job)

    def _is_up(self, host: int) -> bool:
        return not any(one.is_down and one.what == HOST and self._hosts[one.name] == host for one in self._outages)

    def _works(self, one: Outage) -> bool:
        """Whether what is back does its work; of a switch somebody else says so."""
        if one.what == PS:
            return self._servers.listens(one.name)
        return one.what == HOST and not one.awaited - set(self._measured.failures)

    def _is_back(self, one: Outage) -> None:
        one.is_starting, one.is_back = False, True
        for number in one.numbers:
            self._told[number].back_s = self._now_s
        self._say(f"  {one.what} {one.name} is back")
        self._record("back", what=one.what, name=one.name)

    def _works_again(self, one: Outage) -> None:
        one.is_back = False
        for number in one.numbers:
            self._told[number].restored_s = self._now_s
        self._record("works", what=one.what, name=one.name)
