"""The processes of a launch: ranks and PS on their hosts, told to end in steps, and what they ended with."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from esa.errors import BadInput
from topologies.launcher.forks import Forked, Forks
from topologies.launcher.placement import Placed
from topologies.leftovers import LAUNCH
from topologies.names import enter
from topologies.record import RackHost

# As torchrun does: many ranks share few cores. Unbuffered, since what they print goes through a pipe.
_DEFAULTS = {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
MASTER_PORT = 29500  # torch's own default; rank 0's host has a network namespace of its own

Steps = Sequence[tuple[signal.Signals | None, float]]
# (signal, seconds until the next one); the last one cannot be ignored.
AFTER_INTERRUPT: Steps = ((signal.SIGINT, 10.0), (signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0))
AFTER_TERMINATION: Steps = ((signal.SIGTERM, 10.0), (signal.SIGKILL, 5.0))
# The coordinator tells the others who left; they may want to save something before they go.
AFTER_FAILURE: Steps = ((None, 5.0), (signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0))


@dataclass
class Rank:
    """One rank's process; its status counts unless we made it end."""

    rank: int
    host: RackHost
    process: subprocess.Popen[bytes] | Forked
    told_to_end: bool = False

    @property
    def status(self) -> int | None:
        """As a shell says it: 128 + n for signal n."""
        code = self.process.poll()
        return 128 - code if code is not None and code < 0 else code

    def how_it_ended(self) -> str:
        code = self.process.poll() or 0
        how = f"was ended by {_signal_name(-code)}" if code < 0 else f"ended with status {code}"
        return f"rank {self.rank} ({self.host.name}) {how}"


def start_forks(placed: Placed, words: Sequence[str], *, module: bool) -> Forks | None:
    """What ranks that run a Python script or module are forked from; None for any other program."""
    if not module and not words[0].endswith(".py"):
        return None
    return Forks(words, module=module, environment={**_DEFAULTS, **os.environ, **common_environment(placed)})


def start_rank(
    placed: Placed, rank: int, command: Sequence[str], forks: Forks | None, metrics: socket.socket | None = None
) -> Rank:
    """metrics: a socket on this machine's own network, where it offers them."""
    host = placed.workers[rank]
    environment = rank_environment(placed, rank)
    if forks is not None:
        return Rank(rank, host, forks.fork(host, environment, metrics))
    if metrics is not None:
        environment["ESA_METRICS"] = f"fd:{metrics.fileno()}"
    return Rank(rank, host, _start(host, command, environment, passed=metrics))


def start_server(placed: Placed, metrics: socket.socket | None = None) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "esa.hosts", "server", "--job", str(placed.file)]
    if metrics is not None:
        command += ["--metrics", f"fd:{metrics.fileno()}"]
    # Its stdout says that it is ready; nobody waits for that.
    return _start(placed.server, command, common_environment(placed), stdout=subprocess.DEVNULL, passed=metrics)


def common_environment(placed: Placed) -> dict[str, str]:
    """What every process of a launch is told."""
    return {
        "ESA_JOB": str(placed.file),
        "ESA_CONTROLLER": placed.rack.controller,
        LAUNCH: placed.launch,
    }


def rank_environment(placed: Placed, rank: int) -> dict[str, str]:
    """What a rank is told: torch's own variables, so that `init_process_group("gloo")` needs no argument.

    All ranks share this machine with its disks and devices, so LOCAL_RANK counts them, though each has a host.
    """
    size = str(placed.job.fan_in)
    return common_environment(placed) | {
        "RANK": str(rank),
        "WORLD_SIZE": size,
        "LOCAL_RANK": str(rank),
        "LOCAL_WORLD_SIZE": size,
        "MASTER_ADDR": str(placed.workers[0].ip),
        "MASTER_PORT": str(MASTER_PORT),
        "GLOO_SOCKET_IFNAME": placed.rack.interface,
    }


def _start(
    host: RackHost,
    command: Sequence[str],
    environment: Mapping[str, str],
    stdout: int = subprocess.PIPE,
    passed: socket.socket | None = None,
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        # A session of its own: Ctrl-C reaches this process alone. The kernel ends it if we die, of whatever.
        ["setpriv", "--pdeathsig", "KILL", *enter(host), *command],
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        start_new_session=True,
        env={**_DEFAULTS, **os.environ, **environment},
        pass_fds=() if passed is None else (passed.fileno(),),
    )


class Ending:
    """Telling ranks to end, step by step; `poll` takes the next step when it is time."""

    def __init__(self, ranks: Sequence[Rank], steps: Steps, say: Callable[[str], None]) -> None:
        self._ranks = ranks
        self._steps = list(steps)
        self._say = say
        self._next_at = 0.0

    def poll(self) -> None:
        if time.monotonic() >= self._next_at:
            self.hurry()

    def hurry(self) -> None:
        """Take the next step now."""
        running = [rank for rank in self._ranks if rank.process.poll() is None]
        if not running or not self._steps:
            return
        number, patience_s = self._steps.pop(0)
        self._next_at = time.monotonic() + patience_s
        if number is None:
            return
        for rank in running:
            rank.told_to_end = True
            with contextlib.suppress(ProcessLookupError):
                os.killpg(rank.process.pid, number)
        names = ", ".join(str(rank.rank) for rank in running)
        following = self._steps[0][0] if self._steps else None
        then = "" if following is None else f"; {following.name} follows in {patience_s:.0f} s"
        self._say(f"sent {number.name} to rank {names}{then}")


def worst_status(ranks: Sequence[Rank]) -> int:
    """The highest status of the ranks that ended by themselves."""
    return max((rank.status or 0 for rank in ranks if not rank.told_to_end), default=0)


def stop(process: subprocess.Popen[bytes], number: signal.Signals, grace_s: float) -> None:
    """Tell a process to end, and kill it if it does not within `grace_s`."""
    if process.poll() is None:
        process.send_signal(number)
        try:
            process.wait(grace_s)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()


def _signal_name(number: int) -> str:
    with contextlib.suppress(ValueError):
        return signal.Signals(number).name
    return f"signal {number}"


def rank_command(words: Sequence[str], *, module: bool) -> list[str]:
    """The command line of a rank: a module (-m), a Python script, or any program; BadInput if it is not there."""
    first, *rest = words
    if module:
        return [sys.executable, "-m", first, *rest]
    if first.endswith(".py"):
        if not Path(first).is_file():
            raise BadInput(f"launch: there is no script {first}")
        return [sys.executable, first, *rest]
    if shutil.which(first) is None:
        raise BadInput(f"launch: '{first}' is neither a Python script (NAME.py) nor a program")
    return [first, *rest]
