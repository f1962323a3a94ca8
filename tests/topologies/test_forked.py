"""Processes forked into a host's namespaces: pipes, status, what ends them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from topologies.forked import Forked

CALLS = "tests.topologies.forked_calls"


@pytest.fixture(scope="module")
def host(root: None) -> Iterator[int]:
    """The id of a process in network and mount namespaces of its own."""
    with subprocess.Popen(["mnexec", "-n", "sleep", "100"]) as process:
        while os.readlink(f"/proc/{process.pid}/ns/net") == os.readlink("/proc/self/ns/net"):
            time.sleep(0.01)
        yield process.pid
        process.kill()


@contextlib.contextmanager
def forked(host: int, name: str, *arguments: Any, log: Path, **options: bool) -> Iterator[Forked]:
    environment = {"GREETING": "hello"}
    process = Forked(
        f"{CALLS}:{name}", arguments, namespaces_of=host, environment=environment, log=log / "log", **options
    )
    with contextlib.closing(process.stdin), contextlib.closing(process.stdout):
        yield process
        process.send_signal(signal.SIGKILL)


def test_it_is_in_the_hosts_namespaces_and_talks_by_its_pipes(host: int, tmp_path: Path) -> None:
    with forked(host, "describe", 7, log=tmp_path) as process:
        assert process.stdout.readline() == b"7 hello lo True\n"
        assert process.poll() is None
        assert f"{CALLS}:describe 7" in Path(f"/proc/{process.pid}/cmdline").read_text()
        process.stdin.write(b"as I say\n")
        process.stdin.flush()
        assert process.stdout.read() == b"as I say\n"
        assert process.wait(timeout=20) == process.returncode == 0


def test_what_it_raises_is_in_its_log(host: int, tmp_path: Path) -> None:
    with forked(host, "fail", log=tmp_path) as process:
        assert process.wait(timeout=20) == 1
    assert (tmp_path / "log").read_text().endswith("ValueError: no such thing\n")


def test_all_that_it_says_may_go_to_its_log_and_what_it_returns_is_its_status(host: int, tmp_path: Path) -> None:
    with forked(host, "answer", log=tmp_path, all_to_log=True) as process:
        assert process.wait(timeout=20) == 3
    assert (tmp_path / "log").read_text() == "said\n"


def test_a_host_that_is_gone_is_named(root: None, tmp_path: Path) -> None:
    with subprocess.Popen(["true"]) as gone:
        pass
    with forked(gone.pid, "stay", log=tmp_path) as process:
        assert process.wait(timeout=20) == 1
    assert f"/proc/{gone.pid}/ns/net" in (tmp_path / "log").read_text()


def test_a_signal_ends_it_and_is_its_status(host: int, tmp_path: Path) -> None:
    with forked(host, "stay", log=tmp_path) as process:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=0.1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == -signal.SIGTERM
        process.send_signal(signal.SIGTERM)  # to nobody


def test_it_does_not_outlive_who_started_it(host: int, tmp_path: Path) -> None:
    program = f"""
from pathlib import Path
from topologies.forked import Forked
process = Forked("{CALLS}:stay", (), namespaces_of={host}, environment={{}}, log=Path("{tmp_path}/log"))
print(process.pid, flush=True)
process.wait()
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.kill()
    deadline = time.monotonic() + 20
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_the_process_that_others_are_forked_from_is_not_left_to_import_what_nobody_needs(tmp_path: Path) -> None:
    program = f"""
import time
from multiprocessing import forkserver
from pathlib import Path
from topologies.forked import prepare
prepare(["tests.topologies.forked_slowly"], {{"FORKED": "{tmp_path}/begun"}})
while not Path("{tmp_path}/begun").exists():
    time.sleep(0.01)
print(forkserver._forkserver._forkserver_pid)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    deadline = time.monotonic() + 20  # it would import for a minute
    while _lives(int(done.stdout)):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _lives(pid: int) -> bool:
    """Whether it runs; who has ended and was not asked for its status does not."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False
