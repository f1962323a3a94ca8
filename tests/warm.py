"""Machine code that most tests need, compiled once before several processes of tests would each compile it.

python -m tests.warm hosts|switch|simulator
"""

from __future__ import annotations

import fcntl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from esa.native import native_folder

ROOT = Path(__file__).parents[1]


def hosts() -> None:
    from esa.hosts.warm import warm

    warm(lambda done, parts: None)


def switch() -> None:
    from esa.program import program
    from esa.switch import Pipeline

    Pipeline.load(program(64).json.read_text()).process(0, bytes(400), 0)


def simulator() -> None:
    from esa.sim import simulate
    from tests.sim import plans

    for lanes in (0, 64):
        simulate(plans.plan(plans.job(), lanes=lanes))


PARTS: dict[str, Callable[[], None]] = {"simulator": simulator, "hosts": hosts, "switch": switch}


def warm_all() -> None:
    """Compile what is not compiled yet, in a process for each part; a second caller waits for the first."""
    missing = [name for name in PARTS if not _done(name).exists()]
    processes = [subprocess.Popen([sys.executable, "-m", "tests.warm", name], cwd=ROOT) for name in missing]
    failed = [name for name, process in zip(missing, processes, strict=True) if process.wait()]
    assert not failed, f"not compiled: {', '.join(failed)}"


def _done(name: str) -> Path:
    return native_folder(Path(__file__).resolve()) / f"{name}.done"


if __name__ == "__main__":
    done = _done(sys.argv[1])
    with done.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            PARTS[sys.argv[1]]()
            done.touch()
