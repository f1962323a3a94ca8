"""Jobs that do nothing but sum arrays, on a rack whose parts can be killed: for measuring recovery, and for the soak.

    with Rig([LoopJob("a", "esa")], folder) as rig:
        rig.start()
        rig.kill_switch()
        rig.restart_switch()
        rig.ranks.until(lambda: rig.ranks.sums("a") > 20, limit_s=30)
        rig.stop(limit_s=30)

Every process is a real one: switch, supervisor (`esactl supervise`), PSs, workers.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from controller import Controller, Switch
from controller.coordinator import Coordinator
from esa.job import Job, Member
from esa.net.impairment import LinkFaults
from esa.policy import policy
from esa.wire import ESA_PORT
from experiments.live.errors import RigError
from experiments.live.loop_ranks import LoopJob, Rank, Ranks
from topologies.forked import Forked, prepare
from topologies.single_rack import SWITCH_IP, SingleRack

READY_LIMIT_S = 240.0
WORKER_PORT = ESA_PORT + 1
_LOOP = "experiments.live.loop"
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", "NUMBA_NUM_THREADS": "1"}


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
        self.ranks = Ranks()
        self.servers: dict[str, subprocess.Popen[bytes]] = {}
        self.supervisor: subprocess.Popen[bytes] | None = None
        self.coordinator: Coordinator | None = None  # the supervisor's, where there is one
        self._meeting = tempfile.TemporaryDirectory(prefix="esa-rig-")
        self.meeting = f"unix:{self._meeting.name}/runs"
        self._pipes: list[IO[bytes]] = []

    def __enter__(self) -> Rig:
        self.folder.mkdir(parents=True, exist_ok=True)
        prepare([_LOOP, "esa.hosts.ahead"], ENVIRONMENT)
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
                self._await_supervisor()  # for longer than workers, which begin at once, wait for it
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
        self.ranks.close()
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

    def _await_supervisor(self) -> None:
        deadline = time.monotonic() + READY_LIMIT_S
        while not Path(self.meeting.removeprefix("unix:")).exists():
            if self.supervisor is None or self.supervisor.poll() is not None or time.monotonic() > deadline:
                raise RigError(f"the supervisor did not start; see {self.folder / 'supervisor.log'}")
            time.sleep(0.02)

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
            command = ["--job", self.job_file(spec.name), "--rank", rank]
            command += ["--values", spec.values, "--priority", spec.priority, "--pause", spec.pause_s]
            command += self._faults(spec.name, rank)
            log = self.folder / f"{spec.name}-{rank}.log"
            log.write_bytes(b"")
            words = map(str, command)
            process = self.net.fork(host, f"{_LOOP}:begin", *words, environment=self.environment, log=log)
            self._pipes += [process.stdin, process.stdout]
            os.set_blocking(process.stdout.fileno(), False)
            self.ranks.add(Rank(spec, rank, process))

    def run_again(self, name: str) -> int:
        """Kill a rank of a job, and once the others have ended, too, start all of them anew: the job's next run.

        Returns the epoch of the run that is over.
        """
        with self.controller() as controller:
            epoch = controller.find(self.jobs[name].job).epoch
        ranks = self.ranks.of(name)
        self._kill(ranks[0].process)
        ranks[0].killed = True
        if not self.ranks.until(lambda: all(rank.over for rank in ranks), READY_LIMIT_S):
            raise RigError(f"not all ranks of job {name} ended with the first; see {self.folder}")
        self.net.kill(rank.process for rank in ranks)
        self.ranks.forget(name)
        self.start_workers(next(spec for spec in self.specs if spec.name == name))
        again = self.ranks.of(name)
        if not self.ranks.until(lambda: all(rank.last == "ready" for rank in again), READY_LIMIT_S):
            raise RigError(f"job {name} did not start again; see {self.folder}")
        self.ranks.tell("go", [name])
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
        if not self.ranks.until(lambda: process.poll() is not None, READY_LIMIT_S) or process.returncode != 0:
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
        one = next(one for one in self.ranks.of(name) if one.rank == rank)
        one.killed = True
        self._kill(one.process)

    @staticmethod
    def _kill(process: Forked | subprocess.Popen[bytes]) -> None:
        process.send_signal(signal.SIGKILL)
        process.wait()

    # What they say

    def start(self) -> None:
        """Wait until all are ready, and let them go."""
        for name, server in self.servers.items():
            if server.stdout is not None and server.stdout.readline() != b"ready\n":
                raise RigError(f"the PS of job {name} did not start; see {self.folder}")
        if not self.ranks.until(lambda: all(rank.last == "ready" for rank in self.ranks), READY_LIMIT_S):
            raise RigError(f"not all workers became ready; see {self.folder}")
        self.ranks.tell("go")

    def stop(self, limit_s: float, names: Sequence[str] = ()) -> list[str]:
        """Let the jobs end; returns the ranks that did not say how they ended in time."""
        self.ranks.tell("stop", names)
        chosen = [rank for rank in self.ranks if not names or rank.job.name in names]
        self.ranks.until(lambda: all(rank.over for rank in chosen), limit_s)
        return [f"{rank.job.name} rank {rank.rank}" for rank in chosen if not rank.over]

    # The switch

    @contextlib.contextmanager
    def controller(self) -> Iterator[Controller]:
        node = self.net.switch
        with Switch.connect(node.grpc_address, node.device_id, wait_s=10) as switch:
            yield Controller(switch)
