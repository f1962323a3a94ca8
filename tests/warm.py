"""Machine code that most tests need, compiled once before several processes of tests would each compile it.

python -m tests.warm simulator|hosts|switch|simulator-with-gradients
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
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


def simulator(lanes: int = 0) -> None:
    from esa.sim import simulate
    from tests.sim import plans

    simulate(plans.plan(plans.job(), lanes=lanes))


# In the order in which they begin: the longest first; and last what has most in common with it, to find that compiled.
PARTS: dict[str, Callable[[], None]] = {
    "simulator": simulator,
    "hosts": hosts,
    "switch": switch,
    "simulator-with-gradients": partial(simulator, 64),
}


def warm_all() -> None:
    """Compile what is not compiled yet, in a process for each part, as many at a time as there are processors.

    A second caller waits for the first.
    """

    def run(name: str) -> int:
        return subprocess.run([sys.executable, "-m", "tests.warm", name], cwd=ROOT, check=False).returncode

    missing = [name for name in PARTS if not _done(name).exists()]
    with ThreadPoolExecutor(max(2, os.cpu_count() or 1)) as pool:
        failed = [name for name, status in zip(missing, pool.map(run, missing), strict=True) if status]
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
