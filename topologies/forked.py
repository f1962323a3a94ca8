"""Processes on hosts that are forked from one that has imported what they need, rather than started anew.

To import PyTorch takes more than a second of a core, and a hundred megabytes: here once for all ranks of a run.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from multiprocessing import forkserver, get_context, parent_process, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any, NoReturn

from setproctitle import setproctitle

from topologies import namespaces

_CONTEXT = get_context("forkserver")
_FROM_TERMINALS = {signal.SIGINT, signal.SIGHUP}
_LAST = -1  # of what multiprocessing does at this process's end: once the processes that were forked have ended


def prepare(modules: Sequence[str], environment: Mapping[str, str]) -> None:
    """Start the process that others are forked from: it imports these modules, in this environment, in its own time.

    This process has one for all its life: where it has one already, nothing changes.
    """
    with _environment(environment):
        _CONTEXT.set_forkserver_preload(list(modules))
        _start_server()


def _start_server() -> None:
    """Start it if there is none; while it imports, signals to the whole terminal are not for it."""
    resource_tracker.ensure_running()  # which would unblock them
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _FROM_TERMINALS)
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    _end_server_with(os.getpid())


@cache
def _end_server_with(_process: int) -> None:
    """Have it end when this process does; once, however often it is started."""
    Finalize(None, _end_server, exitpriority=_LAST)


def _end_server() -> None:
    """Kill it: left alone it would first import all that it was told to, then take that down, seconds of a core."""
    server: int | None = forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
    if server is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(server, signal.SIGKILL)


class Forked:
    """A process that calls a function, as subprocess.Popen shows one whose stdin and stdout are pipes.

    It is a session of its own, in the namespaces of another process, and is killed when this process ends.
    """

    def __init__(
        self,
        function: str,
        arguments: Sequence[Any],
        *,
        namespaces_of: int,
        environment: Mapping[str, str],
        log: Path,
        all_to_log: bool = False,
    ) -> None:
        """function: "module:function", imported there alone; it returns the status, or None for 0.

        namespaces_of: a process. log: gets its stderr added; `all_to_log`: its stdout, too, and nobody writes to it.
        """
        stdin, tells = os.pipe()
        says, stdout = os.pipe()
        pipes = Connection(stdin, writable=False), Connection(stdout, readable=False)
        self.args = (function, *map(str, arguments))
        self._process = _CONTEXT.Process(
            target=_begin,
            args=(function, tuple(arguments), pipes, log, all_to_log, namespaces_of, dict(environment)),
            daemon=True,  # if nobody ends it, Python does
        )
        _start_server()
        self._process.start()
        for pipe in pipes:
            pipe.close()
        assert self._process.pid is not None
        self.pid = self._process.pid
        self.stdin = os.fdopen(tells, "wb")
        self.stdout = os.fdopen(says, "rb")
        if all_to_log:
            self.stdin.close()
            self.stdout.close()

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        """Return its status, negative the signal that ended it; None while it runs."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Return its status once it has ended; subprocess.TimeoutExpired after `timeout` seconds."""
        self._process.join(timeout)
        status = self._process.exitcode
        if status is None:
            assert timeout is not None
            raise subprocess.TimeoutExpired(self.args, timeout)
        return status

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


def _begin(
    function: str,
    arguments: tuple[Any, ...],
    pipes: tuple[Connection, Connection],
    log: Path,
    all_to_log: bool,
    namespaces_of: int,
    environment: Mapping[str, str],
) -> NoReturn:
    """What the new process does first."""
    os.setsid()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _FROM_TERMINALS)
    stderr = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    stdout = stderr if all_to_log else pipes[1].fileno()
    for fd, own in ((pipes[0].fileno(), 0), (stdout, 1), (stderr, 2)):
        os.dup2(fd, own)
    sys.stdin = os.fdopen(0, closefd=False)
    here = os.getcwd()
    for kind in ("net", "mnt"):
        namespaces.enter(namespaces_of, kind)
    os.chdir(here)
    threading.Thread(target=_end_with_parent, daemon=True).start()  # not before: namespaces of mounts are left alone
    # All have the same command, which `ps` would show. Before the environment, beside which the title's place is.
    setproctitle(" ".join([function, *map(str, arguments)]))
    os.environ.update(environment)
    module, name = function.split(":")
    sys.exit(getattr(importlib.import_module(module), name)(*arguments))


def _end_with_parent() -> None:
    parent = parent_process()  # who asked for this process, not the one that it is forked from
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGKILL)


@contextlib.contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
