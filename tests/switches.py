"""Switches as processes, embedded or BMv2: the same command line, the same P4Runtime.

with running_switch("bmv2", interfaces={1: "veth1", 2: "veth2"}) as process:
    with Switch.connect(process.address, process.device_id) as switch: ...
"""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from controller.client import Switch
from controller.tls import Tls
from esa.errors import Unreachable
from esa.net.streams import kept_port
from tests import forks

KINDS = ("embedded", "bmv2")
BMV2 = "simple_switch_grpc"
START_S, STOP_S = 30.0, 10.0


_KEPT: deque[socket.socket] = deque()
_MOST_KEPT = 64


@dataclass(frozen=True)
class SwitchProcess:
    """A running switch. `address` is HOST:PORT, or unix:PATH in a network namespace, which does not hide files."""

    kind: str
    address: str
    device_id: int
    thrift_port: int
    process: forks.Process | subprocess.Popen[bytes]
    log_path: Path

    def log(self) -> str:
        """What it has printed so far."""
        return self.log_path.read_text(errors="replace")


def free_port() -> int:
    """A TCP port that nobody listens on, until somebody does who asks for it: nobody else is given it meanwhile."""
    if len(_KEPT) == _MOST_KEPT:
        _KEPT.popleft().close()
    _KEPT.append(kept_port())
    return int(_KEPT[-1].getsockname()[1])


@contextmanager
def running_switch(
    kind: str,
    *,
    interfaces: Mapping[int, str] | None = None,
    device_id: int = 0,
    namespace: str | None = None,
    arguments: Sequence[str] = (),
    server_arguments: Sequence[str] = (),
    tls: Tls | None = None,
    patience_s: float = START_S,
    forked: bool = True,
) -> Iterator[SwitchProcess]:
    """A switch without a program, on free ports, that answers; ended afterwards.

    `arguments` go before the `--` of the command line, `server_arguments` after it. `interfaces` are those of the
    network namespace, if one is given. `tls` is what a client needs where the server speaks TLS. `forked`: the embedded
    one is, which spares what it imports (`tests.forks`).
    """
    with tempfile.TemporaryDirectory(prefix="esa-switch-") as folder:
        thrift_port = free_port()
        address = f"unix:{folder}/p4runtime" if namespace else f"127.0.0.1:{free_port()}"
        command = ["--no-p4", "--device-id", str(device_id), "--thrift-port", str(thrift_port)]
        for port, interface in (interfaces or {}).items():
            command += ["-i", f"{port}@{interface}"]
        command += [*arguments, "--", "--grpc-server-addr", address, *server_arguments]
        log_path = Path(folder) / "log"
        with log_path.open("wb") as log:
            process: forks.Process | subprocess.Popen[bytes]
            if kind == "embedded" and forked:
                process = forks.start("esa.switch", *command, stdout=log, stderr=log, namespace=namespace)
            else:
                inside = ["ip", "netns", "exec", namespace] if namespace else []
                program = [BMV2] if kind == "bmv2" else [sys.executable, "-m", "esa.switch"]
                process = subprocess.Popen(
                    [*inside, *program, *command], stdout=log, stderr=log, stdin=subprocess.DEVNULL
                )
        switch = SwitchProcess(kind, address, device_id, thrift_port, process, log_path)
        try:
            _wait(switch, tls, patience_s)
            yield switch
        finally:
            process.terminate()
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait(switch: SwitchProcess, tls: Tls | None, patience_s: float) -> None:
    waited_s, step_s = 0.0, 0.5
    while True:
        try:
            Switch.connect(switch.address, switch.device_id, tls=tls, wait_s=step_s).close()
            return
        except Unreachable as error:
            waited_s += step_s
            if switch.process.poll() is not None or waited_s >= patience_s:
                raise RuntimeError(f"the {switch.kind} switch did not start: {error}\n{switch.log()}") from None
