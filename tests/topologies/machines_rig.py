"""Machines as network namespaces on a network of their own, and the commands of docs/machines.md on them.

with Machines("ABCD", folder) as machines:           # A is 192.168.7.1 on its eth0, B .2, ...
    machines.follow(steps(page, "Tunnels"))
"""

from __future__ import annotations

import itertools
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
WHO = re.compile(r"# (?P<machine>[A-Z])(?P<stays>, in a terminal of its own)?(: .*)?")
STEP_LIMIT_S = 60.0
_NUMBERS = itertools.count(1)


@dataclass
class Step:
    """Lines of the page for one machine's shell; `stays`: they run until they are ended."""

    machine: str
    stays: bool
    lines: list[str] = field(default_factory=list)

    @property
    def script(self) -> str:
        return "\n".join(self.lines)


def section(page: str, title: str) -> str:
    return page.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def steps(page: str, title: str) -> list[Step]:
    """What a section lets the reader type, in its order."""
    found: list[Step] = []
    for block in re.findall(r"^```bash\n(.*?)^```", section(page, title), re.DOTALL | re.MULTILINE):
        for line in block.splitlines():
            if match := WHO.fullmatch(line):
                found.append(Step(match["machine"], match["stays"] is not None))
            else:
                found[-1].lines.append(line)
    assert found, f"'{title}' has no commands"
    return found


def until(condition: Callable[[], object], what: Callable[[], str], limit_s: float) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {limit_s:.0f} s: {what()}"
        time.sleep(0.05)


class Terminal:
    """A process that a machine's user left running, and what it has printed."""

    def __init__(self, process: subprocess.Popen[bytes], step: Step, log: Path) -> None:
        self.process = process
        self.step = step
        self._log = log

    @property
    def text(self) -> str:
        return self._log.read_text(errors="replace")

    def expect(self, text: str, limit_s: float = STEP_LIMIT_S) -> None:
        """Wait until it has printed `text`."""
        until(
            lambda: text in self.text or self.process.poll() is not None,
            lambda: f"'{text}' from {self.step.script}: {self.text}",
            limit_s,
        )
        assert text in self.text, f"{self.step.script} ended with {self.process.poll()}: {self.text}"

    def finish(self, limit_s: float) -> str:
        """Wait until it has ended well; returns what it printed."""
        until(lambda: self.process.poll() is not None, lambda: f"{self.step.script} ends: {self.text}", limit_s)
        assert self.process.returncode == 0, self.text
        return self.text

    def end(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()


class Machines(ExitStack):
    """One namespace per letter; a bridge in one more joins them, and none of it touches this machine's network."""

    def __init__(self, letters: str, folder: Path) -> None:
        super().__init__()
        self._letters = letters
        self._folder = folder
        self._prefix = f"esa-test-{os.getpid()}-{next(_NUMBERS)}"

    def __enter__(self) -> Machines:
        try:
            self._build()
        except BaseException:
            self.close()
            raise
        return self

    def _build(self) -> None:
        self._network = f"{self._prefix}-net"
        for name in (self._network, *map(self.namespace, self._letters)):
            _ip("netns", "add", name)
            self.callback(_ip, "netns", "delete", name)
            _ip("-n", name, "link", "set", "lo", "up")
        _ip("-n", self._network, "link", "add", "bridge", "type", "bridge")
        _ip("-n", self._network, "link", "set", "bridge", "up")
        for number, letter in enumerate(self._letters, 1):
            self.cable(letter, "eth0")
            self.run(letter, f"ip address add 192.168.7.{number}/24 dev eth0 && ip link set eth0 up")
            self.folder(letter).mkdir(parents=True)
            (self.folder(letter) / "experiments").symlink_to(ROOT / "experiments")  # the project, on every machine

    def namespace(self, letter: str) -> str:
        return f"{self._prefix}-{letter}"

    def folder(self, letter: str) -> Path:
        """Where its user types."""
        return self._folder / letter

    def cable(self, letter: str, nic: str, other: str | None = None, other_nic: str = "") -> None:
        """A NIC of this machine, on a cable to another's, by default to the bridge of all."""
        peer, peer_nic = (self.namespace(other), other_nic) if other else (self._network, f"to-{letter}")
        mine = self.namespace(letter)
        _ip("-n", mine, "link", "add", nic, "type", "veth", "peer", "name", peer_nic, "netns", peer)
        if not other:
            _ip("-n", peer, "link", "set", peer_nic, "master", "bridge", "up")

    def merge_segments(self, letter: str) -> None:
        """Let this machine's eth0 merge TCP segments that arrive close together (GRO), as hardware's does."""
        # A veth pair does so where its other end does not segment; else segments are too far apart here.
        _ip("netns", "exec", self._network, "ethtool", "-K", f"to-{letter}", "tso", "off")
        self.run(letter, "ethtool -K eth0 gro on")
        for setting, value in (("gro_flush_timeout", 2_000_000), ("napi_defer_hard_irqs", 100)):
            self.run(letter, f"echo {value} > /sys/class/net/eth0/{setting}")

    def run(self, letter: str, script: str, limit_s: float = STEP_LIMIT_S) -> str:
        """Run lines of shell to their end; returns their output. They have to succeed."""
        done = subprocess.run(
            self._shell(letter, script),
            capture_output=True,
            text=True,
            timeout=limit_s,
            check=False,
            **self._options(letter),
        )
        assert done.returncode == 0, f"{letter}: {script}: {done.stdout}{done.stderr}"
        return done.stdout

    def start(self, step: Step) -> Terminal:
        """Run lines of shell until they are ended, at the latest with the machines."""
        log = self.folder(step.machine) / f"{time.monotonic_ns()}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *self._shell(step.machine, step.script)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **self._options(step.machine),
            )
        terminal = Terminal(process, step, log)
        self.callback(terminal.end)
        return terminal

    def follow(self, steps: Iterable[Step]) -> list[Terminal]:
        """Do as the page says; returns what stays."""
        terminals = []
        for step in steps:
            if step.stays:
                terminals.append(self.start(step))
            else:
                self.run(step.machine, step.script)
        return terminals

    def _shell(self, letter: str, script: str) -> list[str]:
        return ["ip", "netns", "exec", self.namespace(letter), "bash", "-ec", script]

    def _options(self, letter: str) -> dict[str, object]:
        folder = self.folder(letter)
        environment = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "XDG_STATE_HOME": str(folder / "state"),
            "OMP_NUM_THREADS": "1",
        }
        return {"cwd": folder if folder.is_dir() else None, "env": os.environ | environment}


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, timeout=30)
