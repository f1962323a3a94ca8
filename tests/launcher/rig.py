"""Racks and commands as a person starts them: processes of the command line, on Mininet."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from controller import cli
from esa.job import Job
from tests import forks
from topologies import record
from topologies.launcher.commands import app
from topologies.record import RackRecord

LIMIT_S = 200.0  # the first launch after a change compiles; below the tests' own limit
COMMAND = [sys.executable, "-m", "topologies.launcher"]


def until(condition: Callable[[], object], what: str, limit_s: float = LIMIT_S) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {limit_s:.0f} s: {what}"
        time.sleep(0.05)


def esa(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, as a process of its own."""
    return forks.run("topologies.launcher", *arguments, timeout=LIMIT_S, folder=cwd)


def refused(*arguments: str) -> str:
    """The one line that a command says that does nothing; in this process, which is quicker."""
    done = CliRunner().invoke(app, list(arguments))
    assert (done.exit_code, done.stdout) == (2, ""), done.output
    assert done.stderr.count("\n") == 1
    return done.stderr.removeprefix("esa: ").rstrip("\n")


@dataclass
class Up:
    """A rack held by a process, as `esa up` in a terminal holds it."""

    name: str
    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)

    @property
    def record(self) -> RackRecord:
        found = record.load(self.name)
        assert found is not None
        return found

    def kill_switch(self) -> None:
        switch = self.record.switch
        assert switch is not None
        found = subprocess.run(["pgrep", "-fa", switch.address], capture_output=True, text=True, check=False).stdout
        (pid,) = [int(line.split()[0]) for line in found.splitlines() if "esa.switch" in line]
        os.kill(pid, signal.SIGKILL)

    def end(self) -> None:
        """Whatever state it is in."""
        self.process.terminate()
        self.process.communicate(timeout=LIMIT_S)
        esa("down", self.name)


def bring_up(name: str, hosts: int, *options: str) -> Up:
    process = subprocess.Popen(
        [*COMMAND, "up", "--name", name, "--hosts", str(hosts), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    up = Up(name, process)
    assert process.stdout is not None
    for line in process.stdout:
        up.lines.append(line.rstrip())
        if "esactl watch" in line:
            return up
    process.wait()
    raise AssertionError("\n".join(up.lines))


def esactl(rack: Up, *arguments: str) -> Result:
    """Run a command as in a terminal that knows the rack; in this process."""
    switch = rack.record.switch
    assert switch is not None
    told = {"ESA_SWITCH": switch.address, "ESA_SWITCH_DEVICE_ID": str(switch.device_id)}
    return CliRunner().invoke(cli.app, list(arguments), env={**told, "ESA_STATE": str(rack.record.saved_jobs)})


def new(rack: Up, output: Path, *options: str) -> Job:
    done = CliRunner().invoke(app, ["job", "new", "--rack", rack.name, "-o", str(output), *options])
    assert done.exit_code == 0, done.output
    return Job.load(output)


def changed(file: Path, **changes: Any) -> Path:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    return file
