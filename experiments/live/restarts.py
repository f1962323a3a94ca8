"""What somebody killed (SIGKILL) is started again: the switch and the PSs of a live run."""

from __future__ import annotations

import signal
from collections.abc import Callable

from experiments.live.errors import RunError
from experiments.live.measured import Measured, Records
from experiments.live.processes import Servers, tail
from topologies.p4switch import P4Switch, P4SwitchError

MAX_RESTARTS = 20  # of what somebody keeps killing


class Restarts:
    """Looks after the switch and the PSs; the controller's supervisor puts back what the switch held."""

    def __init__(
        self, switch: P4Switch, servers: Servers, measured: Measured, records: Records, say: Callable[[str], None]
    ) -> None:
        self._switch = switch
        self._servers = servers
        self._measured = measured
        self._records = records
        self._say = say
        self._count = 0

    def check(self) -> None:
        """Start again what was killed.

        Raises P4SwitchError when the switch ended otherwise, RunError when a PS did so before the training, or when
        there is no end to it.
        """
        self._check_switch()
        self._check_servers()

    def _check_switch(self) -> None:
        while self._switch.killed:
            self._restarting("the switch")
            try:
                self._switch.restart()
            except P4SwitchError:
                if not self._switch.killed:  # else killed again while it started
                    raise
        self._switch.check()

    def _check_servers(self) -> None:
        for name, status in self._servers.ended():
            if status == -signal.SIGKILL:
                self._restarting(f"the PS of job {name}")
                self._servers.restart(name)
                continue
            problem = f"job {name}: its PS ended (status {status}); {tail(self._servers.log(name))}"
            if not self._measured.training:
                raise RunError(problem)
            self._say(f"  {problem}\n  its workers go on as far as the switch does all the work")

    def _restarting(self, what: str) -> None:
        self._count += 1
        if self._count > MAX_RESTARTS:
            raise RunError(f"{what} was killed again, after {MAX_RESTARTS} restarts of switch and PSs")
        self._say(f"  {what} was killed: starting it again")
        self._records.now("restart", what=what)
