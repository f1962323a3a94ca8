"""A launch's ranks as it sees them: processes forked from one that has imported what their script imports."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from topologies.record import RackHost

_SERVER = Path(__file__).with_name("forking.py")


class Forks:
    """The process that ranks are forked from (`forking.py`), and what it says of them.

    command: SCRIPT.py or, with `module`, MODULE, and its arguments. environment: what all ranks have.
    """

    def __init__(self, command: Sequence[str], *, module: bool, environment: Mapping[str, str]) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._said: dict[str, int] = {}
        self._ended: dict[int, int] = {}
        with theirs:
            fd = str(theirs.fileno())
            words = [sys.executable, str(_SERVER), fd, *(["-m"] if module else []), *command]
            self._process = subprocess.Popen(
                # A session of its own: Ctrl-C reaches this process alone. The kernel ends it if we die, of whatever.
                ["setpriv", "--pdeathsig", "KILL", *words],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                env=dict(environment),
                pass_fds=(theirs.fileno(),),
            )

    def ready(self, timeout_s: float) -> bool:
        """Whether it has imported all, after at most `timeout_s`; where it has ended, too, which `fork` says."""
        self._hear(timeout_s)
        return "ready" in self._said or self._gone

    def fork(self, host: RackHost, environment: Mapping[str, str], metrics: socket.socket | None) -> Forked:
        """Start a rank on a host; metrics: a socket that it offers them on. ChildProcessError: there is no server."""
        request = {"namespace": host.namespace, "environment": dict(environment)}
        read_out, out = os.pipe()
        read_err, err = os.pipe()
        fds = [out, err, *([] if metrics is None else [metrics.fileno()])]
        try:
            with contextlib.suppress(BrokenPipeError):
                socket.send_fds(self._control, [json.dumps(request).encode()], fds)
        finally:
            os.close(out)
            os.close(err)
        while "forked" not in self._said and not self._gone:
            self._hear(1.0)
        if "forked" not in self._said:
            os.close(read_out)
            os.close(read_err)
            raise ChildProcessError(f"the process that ranks are forked from ended with status {self._process.wait()}")
        return Forked(self, self._said.pop("forked"), os.fdopen(read_out, "rb", 0), os.fdopen(read_err, "rb", 0))

    def status(self, pid: int, timeout_s: float) -> int | None:
        """How a rank ended, negative the signal that ended it; None if it has not after `timeout_s`."""
        if pid not in self._ended:
            self._hear(timeout_s)
        if pid not in self._ended and self._gone:
            self._ended[pid] = -signal.SIGKILL  # with the process that it was forked from
        return self._ended.get(pid)

    def close(self) -> None:
        """End it, and ranks that are left with it."""
        self._control.close()
        self._process.kill()
        self._process.wait()

    @property
    def _gone(self) -> bool:
        """Whether it has ended and all that it said was heard."""
        return self._process.poll() is not None and not self._hear(0.0)

    def _hear(self, timeout_s: float) -> bool:
        """Take in what it says; whether there was something."""
        heard = False
        self._control.settimeout(timeout_s)
        with contextlib.suppress(BlockingIOError, TimeoutError, ConnectionError):
            while message := self._control.recv(1 << 16):
                said = json.loads(message)
                heard = True
                if "pid" in said:
                    self._ended[said["pid"]] = said["status"]
                else:
                    self._said |= said
                self._control.settimeout(0.0)
        return heard


class Forked:
    """A rank, as subprocess.Popen shows a process whose stdout and stderr are pipes."""

    def __init__(self, forks: Forks, pid: int, stdout: IO[bytes], stderr: IO[bytes]) -> None:
        self._forks = forks
        self.pid = pid
        self.stdout = stdout
        self.stderr = stderr

    @property
    def returncode(self) -> int | None:
        return self.poll()

    def poll(self) -> int | None:
        return self._forks.status(self.pid, 0.0)

    def wait(self) -> int:
        while (status := self._forks.status(self.pid, 1.0)) is None:
            pass
        return status
