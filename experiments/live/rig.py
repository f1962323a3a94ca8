"""Jobs that do nothing but sum arrays, on a rack whose parts can be killed: for measuring recovery, and for the soak.

    with Rig([LoopJob("a", "esa")], folder) as rig:
        rig.start()
        rig.kill_switch()
        rig.restart_switch()
        rig.until(lambda: rig.sums("a") > 20, limit_s=30)
        rig.stop(limit_s=30)

Every process is a real one: switch, supervisor (`esactl supervise`), PSs, workers.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from controller import Controller, Switch, SwitchError
from controller.coordinator import Coordinator
from esa.errors import EsaError
from esa.job import Job, Member, Pool
from esa.net.impairment import Impairment, LinkFaults
from esa.policy import policy
from esa.wire import ESA_PORT
from topologies.single_rack import SWITCH_IP, SingleRack

READY_LIMIT_S = 240.0
LEFT_OVER_LIMIT_S = 10.0
DEFAULT_POOL = Pool(base=0, size=1024)
WORKER_PORT = ESA_PORT + 1
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", "NUMBA_NUM_THREADS": "1"}


class RigError(EsaError, RuntimeError):
    """A part did not start."""


@dataclass(frozen=True)
class LoopJob:
    """One job of `workers` ranks that sums arrays of up to `values` elements again and again."""

    name: str
    policy: str
    workers: int = 2
    values: int = 20_000
    window: int = 64
    pool: Pool = DEFAULT_POOL
    priority: int = 100
    pause_s: float = 0.0
    give_up_s: float = 20.0
    ttl_us: int = 500_000
    impairment: Impairment | None = None
    seed: int = 0


@dataclass
class Rank:
    """One worker process and what it said."""

    job: LoopJob
    rank: int
    process: subprocess.Popen[bytes]
    events: list[dict[str, Any]] = field(default_factory=list)
    buffer: bytes = b""
    killed: bool = False

    @property
    def last(self) -> str:
        return str(self.events[-1]["event"]) if self.events else ""

    @property
    def over(self) -> bool:
        return self.killed or self.last in ("end", "error", "wrong")

    def of(self, event: str) -> list[dict[str, Any]]:
        return [said for said in self.events if said["event"] == event]


class Rig:
    """The jobs, each on hosts of its own; parts are killed by SIGKILL."""

    def __init__(
        self,
        jobs: Sequence[LoopJob],
        folder: Path,
        *,
        lanes: int = 64,
        switch: str = "embedded",
        supervised: bool = True,
    ) -> None:
        self.specs = list(jobs)
        self.folder = folder
        self.lanes = lanes
        self.supervised = supervised
        self.net = SingleRack(sum(job.workers + 1 for job in jobs), switch=switch, log_dir=folder)
        self.jobs: dict[str, Job] = {}
        self.hosts: dict[str, list[int]] = {}
        self.ranks: list[Rank] = []
        self.servers: dict[str, subprocess.Popen[bytes]] = {}
        self.supervisor: subprocess.Popen[bytes] | None = None
        self.coordinator: Coordinator | None = None  # the supervisor's, where there is one
        self._meeting = tempfile.TemporaryDirectory(prefix="esa-rig-")
        self.meeting = f"unix:{self._meeting.name}/runs"
        self._selector = selectors.DefaultSelector()
        self._pipes: list[IO[bytes]] = []

    def __enter__(self) -> Rig:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.net.__enter__()
        try:
            first = 0
            for number, spec in enumerate(self.specs):
                self.hosts[spec.name] = list(range(first, first + spec.workers + 1))
                first += spec.workers + 1
                self.add(spec, number + 1)
            node = self.net.switch
            with Switch.connect(node.grpc_address, node.device_id, wait_s=10) as switch:
                controller = Controller(switch)
                controller.load(self.lanes)
                controller.add_hosts({self.net.mac(host): self.net.port(host) for host in range(first)})
                for job in self.jobs.values():
                    controller.add_job(job)
            if self.supervised:
                self.start_supervisor()
            else:
                self.coordinate()
            for spec in self.specs:
                self.start_server(spec.name)
                self.start_workers(spec)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self.net.close()
        for pipe in self._pipes:
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        self._selector.close()
        self._end_coordinator()
        self._meeting.cleanup()

    # Parts

    @property
    def environment(self) -> dict[str, str]:
        """Of PSs and workers."""
        return os.environ | ENVIRONMENT | {"ESA_CONTROLLER": self.meeting}

    def coordinate(self) -> None:
        """Start runs from this process, where no supervisor does."""
        self._end_coordinator()
        node = self.net.switch
        self.coordinator = Coordinator(lambda: Switch.connect(node.grpc_address, node.device_id, wait_s=10))
        self.coordinator.serve(self.meeting)

    def _end_coordinator(self) -> None:
        if self.coordinator is not None:
            self.coordinator.close()
            self.coordinator = None

    def add(self, spec: LoopJob, number: int) -> Job:
        """Write the files of a job; the switch is not told."""
        *workers, server = self.hosts[spec.name]
        job = Job(
            name=spec.name,
            job=number,
            policy=spec.policy,
            lanes=self.lanes,
            workers=tuple(self._member(host, WORKER_PORT + number) for host in workers),
            server=self._member(server, ESA_PORT),
            switch_ip=SWITCH_IP,
            pool=spec.pool,
            window=min(spec.window, spec.pool.size // (2 if policy(spec.policy).pool == "slice" else 1)),
            ttl_us=spec.ttl_us,
            give_up_s=spec.give_up_s,
        )
        job.save(self.job_file(spec.name))
        self.jobs[spec.name] = job
        for rank in range(spec.workers + 1):
            if spec.impairment is not None:
                seed = spec.seed * 64 + rank
                faults = LinkFaults(seed=seed, to_switch=spec.impairment, from_switch=spec.impairment)
                self._faults_file(spec.name, rank).write_text(faults.model_dump_json())
        return job

    def _member(self, host: int, udp_port: int) -> Member:
        return Member(ip=self.net.ip(host), mac=self.net.mac(host), udp_port=udp_port, switch_port=self.net.port(host))

    def job_file(self, name: str) -> Path:
        return self.folder.resolve() / f"{name}.job.json"

    def _faults_file(self, name: str, member: int) -> Path:
        return self.folder.resolve() / f"{name}-{member}.faults.json"

    def _faults(self, name: str, member: int) -> list[Any]:
        path = self._faults_file(name, member)
        return ["--faults", path] if path.exists() else []

    def start_supervisor(self, names: Sequence[str] = ()) -> None:
        """Start `esactl supervise` for all jobs, or those named."""
        files = [str(self.job_file(name)) for name in names or self.jobs]
        node = self.net.switch
        command = [sys.executable, "-m", "controller.cli", "--address", node.grpc_address]
        command += ["--device-id", str(node.device_id), "--state", str(self.folder.resolve() / "jobs.json")]
        command += ["supervise", "--lanes", str(self.lanes), "--listen", self.meeting, *files]
        self._end_coordinator()
        with (self.folder / "supervisor.log").open("ab") as log:
            self.supervisor = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.net.register(self.supervisor)

    def start_server(self, name: str) -> None:
        """Start a job's PS."""
        host = self.hosts[name][-1]
        command = [sys.executable, "-m", "esa.hosts", "server", "--job", self.job_file(name)]
        command += self._faults(name, self.jobs[name].fan_in)
        with (self.folder / f"{name}-ps.log").open("ab") as log:
            self.servers[name] = self.net.popen(host, command, stdout=subprocess.PIPE, stderr=log, env=self.environment)
        self._pipes.append(self.servers[name].stdout)

    def start_workers(self, spec: LoopJob) -> None:
        for rank, host in enumerate(self.hosts[spec.name][:-1]):
            command = [sys.executable, "-m", "experiments.live.loop", "--job", self.job_file(spec.name), "--rank", rank]
            command += ["--values", spec.values, "--priority", spec.priority, "--pause", spec.pause_s]
            command += self._faults(spec.name, rank)
            with (self.folder / f"{spec.name}-{rank}.log").open("wb") as log:
                process = self.net.popen(
                    host,
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    env=self.environment,
                )
            self._pipes += [process.stdin, process.stdout]
            os.set_blocking(process.stdout.fileno(), False)
            one = Rank(spec, rank, process)
            self.ranks.append(one)
            self._selector.register(process.stdout, selectors.EVENT_READ, one)

    def run_again(self, name: str) -> int:
        """Kill a rank of a job, and once the others have ended, too, start all of them anew: the job's next run.

        Returns the epoch of the run that is over.
        """
        with self.controller() as controller:
            epoch = controller.find(self.jobs[name].job).epoch
        ranks = self.of(name)
        self._kill(ranks[0].process)
        ranks[0].killed = True
        if not self.until(lambda: all(rank.over for rank in ranks), READY_LIMIT_S):
            raise RigError(f"not all ranks of job {name} ended with the first; see {self.folder}")
        self.net.kill(rank.process for rank in ranks)
        self.ranks = [rank for rank in self.ranks if rank.job.name != name]
        self.start_workers(next(spec for spec in self.specs if spec.name == name))
        again = self.of(name)
        if not self.until(lambda: all(rank.last == "ready" for rank in again), READY_LIMIT_S):
            raise RigError(f"job {name} did not start again; see {self.folder}")
        self.tell("go", [name])
        return epoch

    def outlive(self, name: str, epoch: int) -> int:
        """Let rank 0 of a run that is over go on sending for a second; how many packets the switch denied as such."""
        command = [sys.executable, "-m", "experiments.live.outlived", "--job", self.job_file(name), "--rank", 0]
        with self.controller() as controller:
            before = controller.denied_by_reason()["other run"]
        process = self.net.popen(
            self.hosts[name][0],
            [*command, "--epoch", epoch],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=self.environment,
        )
        if not self.until(lambda: process.poll() is not None, READY_LIMIT_S) or process.returncode != 0:
            raise RigError(f"a rank of job {name} did not outlive its run: status {process.returncode}")
        with self.controller() as controller:
            return controller.denied_by_reason()["other run"] - before

    def kill_switch(self) -> None:
        self.net.switch.kill()

    def restart_switch(self) -> None:
        self.net.switch.restart()

    def kill_server(self, name: str) -> None:
        self._kill(self.servers.pop(name))

    def kill_supervisor(self) -> None:
        if self.supervisor is not None:
            self._kill(self.supervisor)

    def kill_worker(self, name: str, rank: int) -> None:
        one = next(one for one in self.of(name) if one.rank == rank)
        one.killed = True
        self._kill(one.process)

    @staticmethod
    def _kill(process: subprocess.Popen[bytes]) -> None:
        process.kill()
        process.wait()

    # What they say

    def of(self, name: str) -> list[Rank]:
        return [rank for rank in self.ranks if rank.job.name == name]

    def sums(self, name: str) -> int:
        """All-reduces that every rank which lives has completed."""
        return min((len(rank.of("sum")) for rank in self.of(name) if not rank.killed), default=0)

    def poll(self, timeout_s: float = 0.05) -> None:
        """Take in what the workers say."""
        for key, _ in self._selector.select(timeout_s):
            one: Rank = key.data
            assert one.process.stdout is not None
            chunk = one.process.stdout.read(1 << 16)
            if chunk == b"":
                self._selector.unregister(key.fileobj)
                if not one.over:
                    one.events.append({"event": "error", "t": time.monotonic(), "message": "ended without a word"})
                continue
            *lines, one.buffer = (one.buffer + (chunk or b"")).split(b"\n")
            one.events += [json.loads(line) for line in lines]

    def until(self, done: Callable[[], bool], limit_s: float) -> bool:
        """Listen until `done`; False if the time is up before."""
        deadline = time.monotonic() + limit_s
        while not done():
            if time.monotonic() > deadline:
                return False
            self.poll()
        return True

    def tell(self, word: str, names: Sequence[str] = ()) -> None:
        for rank in self.ranks:
            if not rank.killed and (not names or rank.job.name in names):
                assert rank.process.stdin is not None
                try:
                    rank.process.stdin.write(word.encode() + b"\n")
                    rank.process.stdin.flush()
                except BrokenPipeError:
                    continue  # it has ended, and said why

    def start(self) -> None:
        """Wait until all are ready, and let them go."""
        for name, server in self.servers.items():
            if server.stdout is not None and server.stdout.readline() != b"ready\n":
                raise RigError(f"the PS of job {name} did not start; see {self.folder}")
        if not self.until(lambda: all(rank.last == "ready" for rank in self.ranks), READY_LIMIT_S):
            raise RigError(f"not all workers became ready; see {self.folder}")
        self.tell("go")

    def stop(self, limit_s: float, names: Sequence[str] = ()) -> list[str]:
        """Let the jobs end; returns the ranks that did not say how they ended in time."""
        self.tell("stop", names)
        chosen = [rank for rank in self.ranks if not names or rank.job.name in names]
        self.until(lambda: all(rank.over for rank in chosen), limit_s)
        return [f"{rank.job.name} rank {rank.rank}" for rank in chosen if not rank.over]

    # The switch

    @contextlib.contextmanager
    def controller(self) -> Iterator[Controller]:
        node = self.net.switch
        with Switch.connect(node.grpc_address, node.device_id, wait_s=10) as switch:
            yield Controller(switch)

    def left_over(self) -> list[str]:
        """What no job of the switch owns; a controller that is at work is waited for."""
        left: list[str] = []

        def nothing() -> bool:
            with self.controller() as controller:
                left[:] = controller.leftovers()
            return not left

        self.until(nothing, LEFT_OVER_LIMIT_S)
        return left

    def epochs_begun(self) -> list[tuple[str, int]]:
        """(job, epoch) of the runs that supervisors say they began."""
        log = self.folder / "supervisor.log"
        said = log.read_text() if log.exists() else ""
        return [(name, int(epoch)) for name, epoch in re.findall(r"job (\S+): a run begins, epoch (\d+)", said)]

    def rows_held(self) -> int:
        """Rows of the switch's memory that hold something (embedded switch)."""
        node = self.net.switch
        with Switch.connect(node.grpc_address, node.device_id, wait_s=10) as switch:
            return sum(bitmap != 0 for bitmap in switch.read_registers("row_bitmap"))

    def whole(self) -> bool:
        """Whether the switch has every job, complete."""
        node = self.net.switch
        try:
            with Switch.connect(node.grpc_address, node.device_id) as switch:
                held = {job.job: job.problems for job in Controller(switch).jobs()}
        except SwitchError:
            return False
        return all(held.get(job.job) == () for job in self.jobs.values())

    def sweep(self, rows: int) -> int:
        """Let a last job pass over rows 0..rows-1, which takes what others left there; returns the rows held then."""
        node = self.net.switch
        hosts = next(hosts for hosts in self.hosts.values() if len(hosts) > 2)
        spec = LoopJob("sweeper", "esa", values=rows * self.lanes, pool=Pool(base=0, size=rows), ttl_us=1, window=rows)
        self.hosts[spec.name] = [*hosts[:2], hosts[-1]]
        self.kill_supervisor()
        with Switch.connect(node.grpc_address, node.device_id, wait_s=10) as switch:
            controller = Controller(switch)
            for old in controller.jobs():
                controller.remove_job(old.job)
            for name in list(self.servers):
                self.kill_server(name)
            controller.add_job(self.add(spec, 1000))
            self.ranks.clear()
            self.coordinate()
            self.start_server(spec.name)
            self.start_workers(spec)
            self.start()
            if self.stop(limit_s=60):
                return -1
            return max(self.rows_held(), controller.occupancy().total)
