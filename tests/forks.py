"""Processes as of `python -m MODULE ...`, forked from one that has imported what switches, PSs and ranks import.

    process = start("esa.hosts", "server", "--job", "job.json", stdout=file, stderr=file)
    process.kill()
    process.wait()

To import that, and to load its machine code, takes most of a second of a processor, once instead of for each of them.
That they begin from nothing, too: tests/launcher/test_launch.py, tests/experiments and the commands of the pages.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import IO, Any, NoReturn

from setproctitle import setproctitle

from esa.startup import skip_scipy

ROOT = Path(__file__).parents[1]
AHEAD = (
    "controller",
    "topologies.launcher.commands",
    "esa.switch.__main__",
    "esa.switch.cli.__main__",
    "esa.hosts.__main__",
    "esa.hosts.serving",
    "experiments.live.loop",
)
LONGEST = 1 << 17  # bytes of a message: an environment, mostly


class Process:
    """What subprocess.Popen shows of one, as far as tests ask. It is a session of its own, and ends with this one."""

    def __init__(self, server: _Server, pid: int, arguments: list[str], stdin: IO[bytes] | None) -> None:
        self.pid = pid
        self.args = arguments
        self.stdin = stdin
        self.returncode: int | None = None
        self._server = server

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = self._server.status(self.pid, 0.0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        deadline = None if timeout is None else time.monotonic() + timeout
        while self.returncode is None:
            left = 1.0 if deadline is None else min(1.0, deadline - time.monotonic())
            if left < 0:
                assert timeout is not None
                raise subprocess.TimeoutExpired(self.args, timeout)
            self.returncode = self._server.status(self.pid, left)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def start(
    module: str,
    *arguments: str,
    stdin: int = subprocess.DEVNULL,
    stdout: IO[Any],
    stderr: IO[Any],
    namespace: str | None = None,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> Process:
    """stdin: subprocess.DEVNULL or PIPE; namespace: a network's name; environment: all of it, default: this one's."""
    reading, writing = os.pipe() if stdin == subprocess.PIPE else (os.open(os.devnull, os.O_RDONLY), None)
    try:
        pid = _server().fork(
            {
                "module": module,
                "arguments": arguments,
                "namespace": namespace,
                "environment": dict(os.environ if environment is None else environment),
                "folder": str(folder or os.getcwd()),
            },
            [reading, stdout.fileno(), stderr.fileno()],
        )
    finally:
        os.close(reading)
    return Process(_server(), pid, [module, *arguments], None if writing is None else os.fdopen(writing, "wb"))


def run(
    module: str, *arguments: str, timeout: float, folder: Path | None = None, given: str = ""
) -> subprocess.CompletedProcess[str]:
    """As subprocess.run with capture_output. given: a few lines of standard input."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = start(module, *arguments, stdin=subprocess.PIPE, stdout=out, stderr=err, folder=folder)
        try:
            assert process.stdin is not None
            with contextlib.suppress(BrokenPipeError), process.stdin as stdin:  # it may end without reading
                stdin.write(given.encode())
            status = process.wait(timeout)
        finally:
            process.kill()
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess([module, *arguments], status, out.read(), err.read())


class _Server:
    """The process that others are forked from, and what it says."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.forks", str(theirs.fileno())],
                cwd=ROOT,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C is for this process
            )
        self._statuses: dict[int, int] = {}
        self._lock = threading.Lock()
        atexit.register(self._close)

    def fork(self, message: dict[str, Any], files: list[int]) -> int:
        with self._lock:
            socket.send_fds(self._socket, [json.dumps(message).encode()], files)
            while True:
                said = self._hear()
                if "begun" in said:
                    return int(said["begun"])

    def status(self, pid: int, patience_s: float) -> int | None:
        """What it has ended with, negative a signal."""
        with self._lock:
            while pid not in self._statuses and select.select([self._socket], [], [], patience_s)[0]:
                self._hear()
            return self._statuses.pop(pid, None)

    def _hear(self) -> dict[str, int]:
        said: dict[str, int] = json.loads(self._socket.recv(LONGEST) or b'{"gone": 1}')
        assert "gone" not in said, "the process that others are forked from has ended"
        if "ended" in said:
            self._statuses[said["ended"]] = said["status"]
        return said

    def _close(self) -> None:
        self._socket.close()
        self._process.wait()


@cache
def _server() -> _Server:
    return _Server()


# In the process that others are forked from.


def _serve(asked: socket.socket) -> None:
    from esa.hosts.server import ServerEndpoint
    from esa.hosts.worker import WorkerEndpoint
    from tests import warm

    for name in AHEAD:
        importlib.import_module(name)
        if name.endswith(".__main__") or name == "experiments.live.loop":
            del sys.modules[name]  # each runs it as its own
    ServerEndpoint.compile()
    WorkerEndpoint.compile()
    warm.switch()
    ended, woken = os.pipe()
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(woken)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    running: set[int] = set()
    while True:
        ready, _, _ = select.select([asked, ended], [], [])
        if ended in ready:
            os.read(ended, LONGEST)
            for pid in [pid for pid in running if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)]:
                running.remove(pid)
                status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                asked.send(json.dumps({"ended": pid, "status": status}).encode())
        if asked in ready:
            text, files, _, _ = socket.recv_fds(asked, LONGEST, 3)
            if not text:
                break
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for file in (ended, woken):
                    os.close(file)
                asked.close()
                _run(json.loads(text), files)
            for file in files:
                os.close(file)
            running.add(pid)
            asked.send(json.dumps({"begun": pid}).encode())
    for pid in running:
        os.kill(pid, signal.SIGKILL)


def _run(message: dict[str, Any], files: list[int]) -> NoReturn:
    """Be what was asked for, as `python -m` is, to its end."""
    status = 1
    try:
        _enter(message, files)
        runpy.run_module(message["module"], run_name="__main__", alter_sys=True)
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):
                stream.flush()
        os._exit(status)


def _enter(message: dict[str, Any], files: list[int]) -> None:
    os.setsid()
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    sys.stdin = os.fdopen(0, closefd=False)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2))
    if message["namespace"] is not None:
        libc = ctypes.CDLL(None, use_errno=True)
        with open(f"/run/netns/{message['namespace']}") as namespace:
            if libc.setns(namespace.fileno(), 0):
                raise OSError(ctypes.get_errno(), "setns", namespace.name)
    setproctitle(" ".join(["python -m", message["module"], *message["arguments"]]))
    os.environ.clear()  # after the title, which is looked for beside it
    os.environ.update(message["environment"])
    os.chdir(message["folder"])
    sys.argv = [message["module"], *message["arguments"]]


if __name__ == "__main__":
    skip_scipy()
    _serve(socket.socket(fileno=int(sys.argv[1])))
