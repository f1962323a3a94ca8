"""Machine code that most tests need, compiled once before several processes of tests would each compile it.

python -m tests.warm hosts|switch|simulator|simulator-with-gradients

Tests of live runs begin as soon as hosts and switch are compiled; the simulator is compiled beside them.
"""

from __future__ import annotations

import contextlib
import fcntl
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path

import numpy as np

from esa.native_cache import native_folder

ROOT = Path(__file__).parents[1]


def hosts() -> None:
    from esa.float_sum import all_reduce_float
    from esa.hosts.warm import warm
    from tests.local_transport import LocalNetwork

    warm(lambda done, parts: None)
    for dtype in (np.float32, np.float64):
        all_reduce_float(LocalNetwork(1).transports[0], np.ones(1, dtype))
    state_machines()


def state_machines() -> None:
    """As tests call them, from Python, after hosts did, from their loops: what both call is typed once."""
    from esa.protocol import server_state, worker_drain, worker_ready, worker_room, worker_state
    from tests.protocol.exchange import EPOCH, JOB, LANES, Server, Worker

    worker = Worker(worker_state(job=JOB, epoch=EPOCH, rank=0, window=1, lanes=LANES))
    worker.feed(worker_room(worker.state))
    worker.send()
    worker.result(0)
    worker_drain(worker.state, np.empty(LANES, np.int32), 0, worker_ready(worker.state), np.zeros(1, np.int8))
    server = Server(server_state(job=JOB, epoch=EPOCH, workers_per_rack=[1], window=1, lanes=LANES))
    server.gradient(0, 0)
    server.send()


def switch() -> None:
    from esa.program import program
    from esa.switch import Pipeline
    from esa.switch.process.ports import PacketLoop
    from esa.switch.runtime.device import Device

    for lanes in (64, 0):
        Pipeline.load(program(lanes).json.read_text()).process(0, bytes(400), 0)
    with contextlib.suppress(PermissionError), PacketLoop(Device(), {1: "lo"}):  # compiled where they are made
        pass


def simulator(lanes: int = 0) -> None:
    from esa.sim import simulate
    from tests.sim import plans

    simulate(plans.plan(plans.job(), lanes=lanes))


# The simulator has the hosts' state machines and the switch's programs in it, and finds them compiled.
SOON: dict[str, Callable[[], None]] = {"hosts": hosts, "switch": switch}
LATER: dict[str, Callable[[], None]] = {
    "simulator": simulator,
    "simulator-with-gradients": partial(simulator, 64),
}


@contextlib.contextmanager
def warming() -> Iterator[None]:
    """Compile what is not compiled yet: what live runs need, then, while the block runs, what the simulator needs."""
    with ThreadPoolExecutor() as pool:
        failed = [name for name, status in zip(SOON, pool.map(_compile, SOON), strict=True) if status]
    assert not failed, f"not compiled: {', '.join(failed)}"
    with _lock("later").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the process holds it until it ends
        process = subprocess.Popen(
            ["nice", "-n", "5", sys.executable, "-m", "tests.warm", *LATER], cwd=ROOT, pass_fds=[lock.fileno()]
        )
    try:
        yield
    finally:
        process.terminate()  # tests that needed it are over
        process.wait()


@cache
def wait() -> None:
    """Until the simulator is compiled."""
    with _lock("later").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
    missing = [name for name in LATER if not _done(name).exists()]
    assert not missing, f"not compiled: {', '.join(missing)}"


def _compile(name: str) -> int:
    if _done(name).exists():
        return 0
    return subprocess.run([sys.executable, "-m", "tests.warm", name], cwd=ROOT, check=False).returncode


def _done(name: str) -> Path:
    return native_folder(Path(__file__).resolve()) / f"{name}.done"


def _lock(name: str) -> Path:
    return _done(name).with_suffix(".lock")


if __name__ == "__main__":
    for part in sys.argv[1:]:
        with _lock(part).open("w") as mine:
            fcntl.flock(mine, fcntl.LOCK_EX)
            if not _done(part).exists():
                (SOON | LATER)[part]()
                _done(part).touch()
