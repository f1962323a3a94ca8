"""`make run` of one exercise in a network namespace of its own, and its Mininet prompt as a function."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.p4.tutorials import shims

_PROMPT = b"mininet> "
_ROOT = Path(__file__).parents[3]


def tutorials() -> Path:
    """The folder of p4lang/tutorials."""
    return Path(os.environ["P4_TUTORIALS"])


def lacking() -> str:
    """What a run needs and this machine has not; empty if nothing."""
    if "P4_TUTORIALS" not in os.environ:
        return "p4lang/tutorials: P4_TUTORIALS names its folder"
    for program in ("mn", "make", "p4c-bm2-ss", "iperf", "ethtool", "arp", "unshare"):
        if shutil.which(program) is None:
            return f"{program} on the PATH"
    if os.geteuid() != 0:
        return "root, for network namespaces"
    return "" if (tutorials() / "utils" / "Makefile").exists() else f"the folder {tutorials()}"


class MininetRun:
    """An exercise as its Makefile starts it; `run` gives a line to Mininet's prompt and returns what it printed.

    with MininetRun(tutorials, "basic", "simple_switch_grpc", Path("/tmp/w")) as net:
        print(net.run("pingall"))
    """

    def __init__(self, tutorials: Path, exercise: str, switch: str, work: Path) -> None:
        copy = work / switch
        shutil.copytree(tutorials / "utils", copy / "utils", dirs_exist_ok=True)
        self.directory = copy / "exercises" / exercise
        shutil.copytree(tutorials / "exercises" / exercise, self.directory, dirs_exist_ok=True)
        for solution in (self.directory / "solution").glob("*"):
            if solution.suffix != ".license":
                shutil.copy(solution, self._place(solution))
        self._environment = shims.environment(work, _ROOT)
        self._switch = switch

    def _place(self, solution: Path) -> Path:
        """Where a solution belongs: beside what it solves."""
        return next((file for file in self.directory.glob(f"*/{solution.name}") if file != solution),
                    self.directory / solution.name)  # fmt: skip

    def __enter__(self) -> MininetRun:
        command = f"ip link set lo up && exec make run BMV2_SWITCH_EXE={self._switch}"
        self._process = subprocess.Popen(
            # Processes of its own, too: what an exercise leaves in the background ends with it.
            ["unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", command],
            cwd=self.directory,
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self.started = self._until_prompt()
        return self

    def __exit__(self, *_: object) -> None:
        # End of file at the prompt: Mininet takes the network down, and the switches with it.
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._process.stdin:
            pass
        try:
            self._process.stdout.read()
            self._process.wait(60)
        finally:
            self._process.kill()
            self._process.stdout.close()

    def run(self, line: str) -> str:
        """What Mininet prints for one line of input."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())
        self._process.stdin.flush()
        return self._until_prompt()

    def script(self, host: str, line: str, *, log: str | None = None) -> str:
        """Run one of the exercise's scripts on a host; with `log` in the background, its output in that file."""
        where = "" if log is None else f" > {log} 2>&1 &"
        return self.run(f"{host} {sys.executable} -u {line}{where}")

    def read(self, log: str) -> str:
        """What is in a log by now."""
        path = self.directory / log
        return path.read_text(errors="replace") if path.exists() else ""

    def _until_prompt(self) -> str:
        assert self._process.stdout is not None
        printed = b""
        while not printed.endswith(_PROMPT):
            if not (some := os.read(self._process.stdout.fileno(), 1 << 16)):
                self._process.wait(10)
                raise RuntimeError(f"{self._switch} ended: {printed.decode(errors='replace')[-2000:]}")
            printed += some
        return printed.removesuffix(_PROMPT).decode(errors="replace")
