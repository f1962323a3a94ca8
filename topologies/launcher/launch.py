"""`esa launch`: one script, several ranks, each on a host of a rack, with a PS; all of it gone afterwards."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from esa.errors import BadInput, EsaError
from esa.exits import refusing
from esa.hosts.compiled import is_compiled
from esa.job import MAX_FAN_IN
from esa.metrics.serving import listening, next_addresses
from esa.policy import policy
from esa.program import program
from esa.signals import ending_signals
from topologies import record
from topologies.interfaces import require_root
from topologies.launcher.forks import Forks
from topologies.launcher.output import Output
from topologies.launcher.placement import Placed, placed
from topologies.launcher.ranks import (
    AFTER_FAILURE,
    AFTER_INTERRUPT,
    AFTER_TERMINATION,
    Ending,
    Rank,
    rank_command,
    start_forks,
    start_rank,
    start_server,
    stop,
    worst_status,
)
from topologies.names import enter_network_of
from topologies.record import RackRecord, RackSwitch

LOOK_S = 0.1
DRAIN_S = 1.0  # for what ended ranks have printed
RACK_END_S = 30.0
SERVER_END_S = 5.0
FAILED = 1
DEFAULT_LANES, DEFAULT_MBPS, DEFAULT_SWITCH = 64, 100.0, "embedded"


@dataclass(frozen=True)
class Request:
    """What was asked for. None: what the rack that is up has, else the default."""

    command: Sequence[str]
    module: bool = False
    nproc: int = 2
    policy: str = "esa"
    name: str | None = None
    rack: str | None = None
    own_rack: bool = False  # even if one is up
    mbps: float | None = None
    lanes: int | None = None
    switch: str | None = None
    metrics: str | None = None  # HOST:PORT of rank 0; the other ranks and the PS have the next ports


class LaunchError(EsaError, RuntimeError):
    """A part did not start; one line, and the status to end with."""

    def __init__(self, message: str, status: int = FAILED) -> None:
        super().__init__(message)
        self.status = status


class Interrupted(Exception):  # noqa: N818
    """A signal came; `number`."""

    def __init__(self, number: int) -> None:
        self.number = number


def launch(request: Request, say: Callable[[str], None]) -> int:
    """Run it; returns the worst rank's status, or 128 + n after signal n. `say` is told what goes on.

    BadInput, RackError, NotRootError, SwitchError, LaunchError: it did not start; nothing is left.
    """
    command = rank_command(request.command, module=request.module)
    if not 1 <= request.nproc <= MAX_FAN_IN:
        raise BadInput(f"nproc: {request.nproc}; allowed: 1 to {MAX_FAN_IN}")
    with refusing():
        policy(request.policy)
        if request.lanes is not None:
            program(request.lanes)
    require_root()
    with ending_signals() as came, contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(one) for one in _metrics_sockets(request)]
        try:
            compiling = stack.enter_context(_compiling())
            rack, switch = stack.enter_context(_rack(request, came, say))
            enter_network_of(rack.owner.pid)
            job = stack.enter_context(
                placed(
                    rack,
                    switch,
                    workers=request.nproc,
                    policy_name=request.policy,
                    name=request.name,
                    default_name=Path(request.command[0]).stem,
                )
            )
            _until_compiled(compiling, came, say)
            ranks = ", ".join(host.name for host in job.workers)
            say(f"job {job.job.name} on rack {rack.name}: ranks on {ranks}; PS on {job.server.name}; {request.policy}")
            return _Launch(job, command, request, came, say, sockets).run()
        except Interrupted as error:
            say("interrupted before the ranks were started")
            return 128 + error.number


def _metrics_sockets(request: Request) -> Iterator[socket.socket]:
    """A socket for each rank and the PS, on this machine's own network: their hosts have networks of their own."""
    if request.metrics is None:
        return
    for address in next_addresses(request.metrics, request.nproc + 1):
        yield listening(address)


class _Launch:
    """Ranks and PS from their start to their end."""

    def __init__(
        self,
        job: Placed,
        command: Sequence[str],
        request: Request,
        came: list[int],
        say: Callable[[str], None],
        metrics: Sequence[socket.socket] = (),
    ) -> None:
        """metrics: where each rank and, last, the PS offers them; empty: nowhere."""
        self.job = job
        self.metrics = metrics
        self.command = command
        self.request = request
        self.came = came
        self.say = say
        self.output = Output(sys.stdout.buffer, sys.stderr.buffer)
        self.ranks: list[Rank] = []
        self.server: subprocess.Popen[bytes] | None = None
        self.forks: Forks | None = None
        self.ending: Ending | None = None
        self.status = 0  # for reasons other than a rank's

    def run(self) -> int:
        sys.stdout.flush()
        try:
            self.server = start_server(self.job, self.metrics[-1] if self.metrics else None)
            self.output.add(self.server, "ps", len(self.job.workers))
            self.forks = start_forks(self.job, self.request.command, module=self.request.module)
            while self.forks is not None and not self.forks.ready(LOOK_S):
                self.output.pump(0.0)
                _check(self.came)
            for rank in range(len(self.job.workers)):
                metrics = self.metrics[rank] if self.metrics else None
                self.ranks.append(start_rank(self.job, rank, self.command, self.forks, metrics))
                self.output.add(self.ranks[-1].process, str(rank), rank)
            while any(rank.process.poll() is None for rank in self.ranks):
                self.output.pump(LOOK_S)
                self._look()
            self._look()
        except ChildProcessError as error:
            raise LaunchError(str(error)) from None
        except BrokenPipeError:  # nobody reads what we print
            self.status = 128 + signal.SIGPIPE
            with open(os.devnull, "wb") as nowhere:
                os.dup2(nowhere.fileno(), sys.stdout.fileno())
        finally:
            self._end()
        return self.status or worst_status(self.ranks)

    def _look(self) -> None:
        """See whether something is a reason to end."""
        while self.came:
            number = signal.Signals(self.came.pop(0))
            if self.ending is not None and self.status:  # asked for the second time
                self.ending.hurry()
                continue
            self.status = 128 + number
            steps = AFTER_INTERRUPT if number == signal.SIGINT else AFTER_TERMINATION
            self.ending = Ending(self.ranks, steps, self.say)
        if self.ending is None:
            problem = self._problem()
            if problem is not None:
                others = any(rank.process.poll() is None for rank in self.ranks)
                self.say(f"{problem}{'; ending the others' if others else ''}")
                self.ending = Ending(self.ranks, AFTER_FAILURE if self._rack_is_up() else AFTER_TERMINATION, self.say)
        if self.ending is not None:
            self.ending.poll()

    def _problem(self) -> str | None:
        if not self._rack_is_up():
            self.status = FAILED
            return f"rack '{self.job.rack.name}' has gone"
        for rank in self.ranks:
            if rank.status:
                return rank.how_it_ended()
        if self.server is not None and self.server.poll() is not None:
            self.status = FAILED
            return f"the PS ({self.job.server.name}) ended with status {self.server.returncode}"
        return None

    def _rack_is_up(self) -> bool:
        rack = record.load(self.job.rack.name)
        return rack is not None and rack.up

    def _end(self) -> None:
        for rank in self.ranks:
            if rank.process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(rank.process.pid, signal.SIGKILL)
                rank.told_to_end = True
            rank.process.wait()
        if self.forks is not None:
            self.forks.close()
        if self.server is not None:
            stop(self.server, signal.SIGTERM, SERVER_END_S)
        deadline = time.monotonic() + DRAIN_S
        with contextlib.suppress(BrokenPipeError):
            while self.output.open and time.monotonic() < deadline and self.output.pump(LOOK_S):
                pass
            self.output.close()


@contextlib.contextmanager
def _compiling() -> Iterator[subprocess.Popen[str] | None]:
    """A process that compiles workers' and PSs' packet loops, once for all ranks; None if they are compiled."""
    if is_compiled():
        yield None
        return
    process = subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", sys.executable, "-m", "esa.hosts", "warm"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def _until_compiled(process: subprocess.Popen[str] | None, came: list[int], say: Callable[[str], None]) -> None:
    if process is None:
        return
    assert process.stdout is not None
    assert process.stderr is not None
    os.set_blocking(process.stdout.fileno(), False)
    while True:
        status = process.poll()
        for line in process.stdout:
            say(line.strip())
        if status is not None:
            break
        _check(came)
        time.sleep(LOOK_S / 2)
    if status != 0:
        said = process.stderr.read().strip().splitlines()
        raise LaunchError(f"cannot compile the packet loops: {said[-1] if said else f'status {status}'}")


def _check(came: list[int]) -> None:
    if came:
        raise Interrupted(came.pop(0))


@contextlib.contextmanager
def _rack(request: Request, came: list[int], say: Callable[[str], None]) -> Iterator[tuple[RackRecord, RackSwitch]]:
    """The rack that is up, or one of our own."""
    there_is_one = any(rack.up and not rack.private for rack in record.records())
    if request.rack is not None and request.own_rack:
        raise BadInput("rack: --rack and --own-rack exclude each other")
    if request.rack is not None or (there_is_one and not request.own_rack):
        rack = record.find(request.rack)
        switch = rack.switch
        assert switch is not None
        there = {"mbps": rack.mbps or 0.0, "lanes": switch.lanes, "switch": switch.kind}
        for what, has in there.items():
            wanted = getattr(request, what)
            if wanted is not None and wanted != has:
                raise BadInput(f"{what}: rack '{rack.name}' is up with {has}, not {wanted}; leave --{what} out")
        yield rack, switch
    else:
        with _own_rack(request, came, say) as rack:
            assert rack.switch is not None
            yield rack, rack.switch


@contextlib.contextmanager
def _own_rack(request: Request, came: list[int], say: Callable[[str], None]) -> Iterator[RackRecord]:
    """A rack for this launch alone, in a process of its own: it goes, and cleans up, even if we are killed."""
    name = f"launch-{os.getpid()}"
    mbps = DEFAULT_MBPS if request.mbps is None else request.mbps
    say(f"bringing up a rack for this launch, {request.nproc + 1} hosts")
    command = [
        sys.executable,
        "-m",
        "topologies.launcher",
        "up",
        "--private",
        "--name",
        name,
        "--hosts",
        str(request.nproc + 1),
    ]
    command += ["--mbps", str(mbps), "--lanes", str(request.lanes or DEFAULT_LANES)]
    command += ["--switch", request.switch or DEFAULT_SWITCH]
    process = subprocess.Popen(
        ["setpriv", "--pdeathsig", "TERM", *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        while True:
            status = process.poll()
            if status is not None:  # it has said why on our stderr
                raise LaunchError("the rack did not come up", status if status > 0 else FAILED)
            rack = record.load(name)
            if rack is not None and rack.up:
                break
            _check(came)
            time.sleep(LOOK_S)
        yield rack
    finally:
        stop(process, signal.SIGTERM, RACK_END_S)
