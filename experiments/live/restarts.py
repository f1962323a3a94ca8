"""What was killed (SIGKILL) is started again: the switches and the PSs of a live run."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence

from experiments.live.errors import RunError
from experiments.live.measured import Measured, Records
from experiments.live.processes import Servers, tail
from topologies.p4switch import P4Switch, P4SwitchError

MAX_RESTARTS = 20  # of what somebody keeps killing


class Restarts:
    """Looks after the switches and the PSs; the control plane puts back what a switch held."""

    def __init__(
        self,
        switches: Sequence[P4Switch],
        servers: Servers,
        measured: Measured,
        records: Records,
        say: Callable[[str], None],
    ) -> None:
        self._switches = switches
        self._servers = servers
        self._measured = measured
        self._records = records
        self._say = say
        self._count = 0
        self._held: list[P4Switch] = []

    def check(self) -> None:
        """Start again what was killed.

        Raises P4SwitchError when a switch ended otherwise, RunError when a PS did so before the training, or when
        there is no end to it.
        """
        for switch in self._switches:
            if switch not in self._held:
                self._check_switch(switch)
        self._check_servers()

    def hold(self, switch: P4Switch) -> None:
        """Kill a switch, and leave it so until `release`."""
        self._held.append(switch)
        switch.kill()

    def release(self, switch: P4Switch) -> None:
        """Start a switch again that `hold` killed, without waiting for it."""
        self._held.remove(switch)
        switch.start_again()

    def _check_switch(self, switch: P4Switch) -> None:
        while switch.killed:
            self._restarting("the switch" if len(self._switches) == 1 else f"switch {switch.name}")
            try:
                switch.restart()
            except P4SwitchError:
                if not switch.killed:  # else killed again while it started
                    raise
        switch.check()

    def _check_servers(self) -> None:
        for name, status, log in self._servers.ended():
            if status == -signal.SIGKILL:
                self._restarting(f"the PS of job {name}")
                self._servers.restart(name)
                continue
            problem = f"job {name}: its PS ended (status {status}); {tail(log)}"
            if not self._measured.training:
                raise RunError(problem)
            self._say(f"  {problem}\n  its workers go on as far as the switch does all the work")

    def _restarting(self, what: str) -> None:
        self._count += 1
        if self._count > MAX_RESTARTS:
            raise RunError(f"{what} was killed again, after {MAX_RESTARTS} restarts of switches and PSs")
        self._say(f"  {what} was killed: starting it again")
        self._records.now("restart", what=what)
