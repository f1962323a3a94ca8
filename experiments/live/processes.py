"""Processes of a live run: workers and PSs, how they are started, what workers are told and what they say."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from experiments.live.faults import stats_file
from experiments.live.measured import Worker
from experiments.live.plan import JobPlan, ServerPlan
from topologies.forked import Forked, prepare
from topologies.network import Network

_ENVIRONMENT = {
    # One core each: two torch processes with a thread per core each fight over the same cores.
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "PYTHONUNBUFFERED": "1",
    "TORCH_CPP_LOG_LEVEL": "ERROR",  # these hosts have no names to look up
    "GLOO_SOCKET_IFNAME": Network.interface,
}

_TRAINING = "experiments.live.train"
_SERVING = "esa.hosts.__main__:begin"

Said = tuple[Worker, dict[str, Any]]
"""Who said it, and the record."""


def import_ahead() -> None:
    """Begin to import what workers need, once for all of them."""
    prepare([_TRAINING, "esa.hosts.__main__", "esa.hosts.ahead"], _ENVIRONMENT)


def start_workers(net: Network, job: JobPlan, folder: Path, iterations: int = 0) -> Iterator[Worker]:
    """Start a job's workers, each on its host; they wait for "join". folder: the run's.

    iterations: that they have behind them, and a snapshot of each.
    """
    for rank, host in enumerate(job.workers):
        task = folder.resolve() / "jobs" / f"{job.name}.task.json"
        log = folder / "logs" / f"{job.name}-{rank}.log"
        process = net.fork(host, f"{_TRAINING}:begin", task, rank, iterations, environment=_ENVIRONMENT, log=log)
        os.set_blocking(process.stdout.fileno(), False)
        yield Worker(job, rank, process, log, iterations=iterations)


class Servers:
    """The jobs' PSs; those that run, by job and its PS's number.

    servers.start(job)
    for name, status, log in servers.ended(): ...
    servers.end()
    """

    def __init__(self, net: Network, folder: Path, meeting: str) -> None:
        self._net = net
        self._folder = folder
        self._meeting = meeting
        self._plans: dict[str, JobPlan] = {}
        self._running: dict[tuple[str, int], Forked] = {}
        self._log_from: dict[tuple[str, int], int] = {}  # where in its log each began

    def start(self, job: JobPlan) -> None:
        """Start those of a job's PSs that do not run."""
        assert job.task.aggregation is not None
        self._plans[job.name] = job
        for number, server in enumerate(job.servers):
            if (job.name, number) in self._running:
                continue
            faults = () if server.faults is None else ("--faults", server.faults)
            stats = stats_file(self._folder.resolve() / "jobs", server.name)
            command = ["server", "--job", job.task.aggregation, "--controller", self._meeting]
            command += ["--stats", stats, "--timers", server.timers, *faults]
            log = self._log(server)
            log.touch()
            self._log_from[job.name, number] = log.stat().st_size
            self._running[job.name, number] = self._net.fork(
                server.host, _SERVING, *map(str, command), environment=_ENVIRONMENT, log=log, all_to_log=True
            )

    def restart(self, name: str) -> None:
        self.start(self._plans[name])

    def on_host(self, host: int) -> list[str]:
        """Jobs that have a PS there."""
        return [name for name in self._plans if host in self.hosts(name)]

    def hosts(self, name: str) -> list[int]:
        """Of a job's PSs."""
        return [server.host for server in self._plans[name].servers]

    def listens(self, name: str) -> bool:
        """Whether all of a job's PSs run, and have said that they listen since they were started last."""
        return all(self._has_said_so(name, number) for number in range(len(self._plans[name].servers)))

    def _has_said_so(self, name: str, number: int) -> bool:
        if (name, number) not in self._running:
            return False
        with self._log(self._plans[name].servers[number]).open("rb") as log:
            log.seek(self._log_from[name, number])
            return b"ready\n" in log.read()

    def kill(self, name: str, host: int | None = None) -> None:
        """End a job's PSs, or that on a host, as a power cut would (SIGKILL); `ended` does not name it."""
        for number, plan in enumerate(self._plans[name].servers):
            if host not in (None, plan.host):
                continue
            server = self._running.pop((name, number), None)
            if server is not None:
                server.send_signal(signal.SIGKILL)
                server.wait()

    def ended(self) -> Iterator[tuple[str, int, Path]]:
        """Jobs of which a PS has ended, its status and log; named once, unless it is started again."""
        for (name, number), server in list(self._running.items()):
            status = server.poll()
            if status is not None:
                del self._running[name, number]
                yield name, status, self._log(self._plans[name].servers[number])

    def end(self, name: str | None = None) -> None:
        """End one job's PSs, or all; they then write what they counted."""
        chosen = [key for key in self._running if name in (None, key[0])]
        self._net.kill([self._running.pop(one) for one in chosen], grace_s=5.0)

    def _log(self, server: ServerPlan) -> Path:
        return self._folder / "logs" / f"{server.name}.log"


def tell(word: str, workers: Iterable[Worker]) -> None:
    for worker in workers:
        with contextlib.suppress(BrokenPipeError):  # its end is noticed where all ends are
            worker.process.stdin.write(f"{word}\n".encode())
            worker.process.stdin.flush()


def listen(workers: Sequence[Worker], turn_s: float) -> Iterator[tuple[list[Said], list[Worker]]]:
    """What workers say, a turn after the other; and those whose pipes are closed: they have ended, or are about to.

    workers: who comes to them later is heard, too.
    """
    closed: list[Worker] = []
    heard: list[Worker] = []
    with selectors.DefaultSelector() as selector:
        while True:
            for worker in workers:
                if not any(worker is other for other in heard):
                    heard.append(worker)
                    if worker.process.stdout is not None and not worker.process.stdout.closed:
                        selector.register(worker.process.stdout, selectors.EVENT_READ, worker)
            said: list[Said] = []
            for key, _ in selector.select(timeout=turn_s):
                worker = key.data
                chunk = worker.process.stdout.read(1 << 16)
                if chunk == b"":
                    selector.unregister(key.fileobj)
                    closed.append(worker)
                    continue
                *lines, worker.buffer = (worker.buffer + (chunk or b"")).split(b"\n")
                said += [(worker, json.loads(line)) for line in lines]
            yield said, closed


def close_pipes(workers: Iterable[Worker]) -> None:
    for worker in workers:
        for pipe in (worker.process.stdin, worker.process.stdout):
            with contextlib.suppress(BrokenPipeError):
                pipe.close()


def tail(log: Path, lines: int = 12) -> str:
    """The end of a log, as what a message ends with."""
    try:
        text = log.read_text(errors="replace").splitlines()[-lines:]
    except OSError:
        text = []
    return "\n".join([f"{log} ends with:", *(f"  {line}" for line in text)]) if text else f"{log} is empty"
