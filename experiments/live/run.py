"""One run: network, switch, controller, PSs and workers; then its folder of results.

    summary = run(Scenario.load(path, check_live), Path("results"), console)

Whatever ends the run, every process and namespace is gone afterwards and what was measured until then lies in the
folder; a run that did not end as it should says so in its summary.

A job whose worker dies, or gives up, fails alone: the others go on, and the run ends with an error. A switch or a PS
that somebody killed (SIGKILL) is started again; the controller's supervisor puts back what the switch held.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from rich.console import Console

from controller import BadInput, Controller, Supervisor, Switch, SwitchError, Wanted
from controller.coordinator import Coordinator
from esa.errors import EsaError
from esa.report.records import RECORDS, Summary
from esa.signals import ending_interrupts
from experiments.common.folders import give_to_caller, new_folder
from experiments.live.faults import injected, write_port_faults
from experiments.live.links import link_rates_mbps, queue_bytes
from experiments.live.measured import Measured, Worker, summarise
from experiments.live.plan import JobPlan, plan
from experiments.live.progress import RunProgress
from experiments.specs.scenario import Scenario
from topologies.p4switch import P4SwitchError
from topologies.single_rack import SingleRack, require_root

SAMPLE_INTERVAL_S = 0.25
READY_LIMIT_S = 240.0
PATIENCE_S = 10.0  # without a word why it takes so long
SILENCE_LIMIT_S = 60.0  # of all workers together, while they train, beyond the time after which they give up
FAILING_LIMIT_S = 20.0  # for a failed job's other workers to say so, beyond the time after which they give up
ENDED = float("inf")
MAX_RESTARTS = 20  # of what somebody keeps killing
ENVIRONMENT = {
    # One core each: two torch processes with a thread per core each fight over the same cores.
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "PYTHONUNBUFFERED": "1",
    "TORCH_CPP_LOG_LEVEL": "ERROR",  # these hosts have no names to look up
    "GLOO_SOCKET_IFNAME": SingleRack.interface,
}


class RunError(EsaError, RuntimeError):
    """The run did not end as it should; the text names the job and what happened."""


def run(scenario: Scenario, results: Path, console: Console, *, pcap: bool = False) -> tuple[Summary, Path]:
    """Run one scenario; returns its summary and folder. What ends a run early leaves the folder all the same."""
    require_root()
    folder = new_folder(results, f"{scenario.name}-{scenario.method}")
    (folder / "scenario.toml").write_text(scenario.to_toml())
    measured = Measured()
    problem: str | None = "ended early"
    try:
        with (
            ending_interrupts(),
            RunProgress(console, {j.name: j.iterations for j in scenario.job_specs}) as shown,
        ):
            _Run(scenario, folder, measured, shown, pcap).execute()
        problem = None
    except KeyboardInterrupt:
        problem = "interrupted"
        raise
    except Exception as error:
        problem = str(error).splitlines()[0]
        raise
    finally:
        summary = summarise(scenario, measured, problem)
        ends = [worker.end for worker in measured.workers if worker.end is not None]
        summary.faults = injected(scenario, ends, folder / "jobs")
        summary.save(folder)
        give_to_caller(folder)
    return summary, folder


class _Run:
    def __init__(self, scenario: Scenario, folder: Path, measured: Measured, progress: RunProgress, pcap: bool) -> None:
        self.scenario = scenario
        self.folder = folder
        self.measured = measured
        self.progress = progress
        self.pcap_dir = folder / "pcaps" if pcap else None
        self.logs = folder / "logs"
        self.indices: dict[str, int] = {}  # job -> its counters in the switch
        self.baseline: dict[str, dict[str, int]] = {}  # counters before the training; of a restarted switch, below zero
        self.last: dict[str, dict[str, int]] = {}  # counters as last read
        self.servers: dict[str, subprocess.Popen[bytes]] = {}
        self.training = False
        self.failing_until: dict[str, float] = {}  # job -> when its workers must have said that they give up
        self.restarts = self.restorations = 0
        self.started = time.monotonic()
        self.records: IO[str]

    def execute(self) -> None:
        scenario, say = self.scenario, self.progress.say
        say(f"{scenario.name}: policy {scenario.method}, switch {scenario.live.switch}, results in {self.folder}")
        self.logs.mkdir()
        bandwidth = link_rates_mbps(scenario)
        with contextlib.ExitStack() as stack:
            self.records = stack.enter_context((self.folder / RECORDS).open("w"))
            stack.callback(self._close_pipes)  # once the network, and with it every worker, is gone
            say(f"  network: {len(bandwidth)} hosts, one switch")
            self.net = stack.enter_context(
                SingleRack(
                    len(bandwidth),
                    bandwidth_mbps=bandwidth,
                    queue_bytes=queue_bytes(scenario),
                    switch=scenario.live.switch,
                    log_dir=self.logs,
                    pcap_dir=self.pcap_dir,
                    faults=write_port_faults(scenario, self.folder / "jobs"),
                )
            )
            meeting = stack.enter_context(tempfile.TemporaryDirectory(prefix="esa-run-"))
            self.meeting = f"unix:{meeting}/runs"
            jobs = plan(scenario, self.net, self.folder / "jobs", self.meeting)
            # Workers take seconds to import torch: they start now, and wait for a network that forwards.
            self._start_workers(jobs)
            self.controller = self._start_control_plane(stack, jobs)
            self.supervisor = stack.enter_context(self._supervisor(jobs))
            stack.enter_context(self._coordinator()).serve(self.meeting)
            for job in jobs:
                if job.job is not None:
                    self.servers[job.name] = self._start_server(job)
            say(f"  workers: {len(self.measured.workers)} start and warm up")
            self._tell("join", self.measured.workers)
            self._until_all_ready()
            self.baseline = self._read_counters()
            say("  training")
            self.progress.start()
            self.training = True
            self._train(jobs)
            self._count()
            self._stop_servers()
            self._check_weights(jobs)
            if self.measured.failures:
                raise RunError("; ".join(self.measured.failures.values()))

    # Start

    def _start_workers(self, jobs: list[JobPlan]) -> None:
        for job in jobs:
            for rank, host in enumerate(job.workers):
                log = self.logs / f"{job.name}-{rank}.log"
                with log.open("wb") as stderr:
                    process = self.net.popen(
                        host,
                        [
                            sys.executable,
                            "-m",
                            "experiments.live.train",
                            "--task",
                            self.folder.resolve() / "jobs" / f"{job.name}.task.json",
                            "--rank",
                            rank,
                        ],
                        stdin=subprocess.PIPE,
                        stdout=subprocess.PIPE,
                        stderr=stderr,
                        env=os.environ | ENVIRONMENT,
                    )
                os.set_blocking(process.stdout.fileno(), False)
                self.measured.workers.append(Worker(job, rank, process, log))

    def _start_control_plane(self, stack: contextlib.ExitStack, jobs: list[JobPlan]) -> Controller:
        self.progress.say("  controller: loading the program")
        node = self.net.switch
        switch = stack.enter_context(Switch.connect(node.grpc_address, node.device_id, wait_s=10.0))
        controller = Controller(switch)
        controller.load(self.scenario.lanes)
        if not node.deepen_queues():
            self.progress.say("  simple_switch_CLI is missing: BMv2's queues stay at 64 packets and may lose some")
        hosts = range(len(self.net.hosts))
        controller.add_hosts({self.net.mac(host): self.net.port(host) for host in hosts})
        for job in jobs:
            if job.job is not None:
                self.indices[job.name] = controller.add_job(job.job).index
        return controller

    def _supervisor(self, jobs: list[JobPlan]) -> Supervisor:
        node = self.net.switch
        hosts = {self.net.mac(host): self.net.port(host) for host in range(len(self.net.hosts))}

        def wanted() -> Wanted:
            failed = dict(self.measured.failures)
            alive = [job.job for job in jobs if job.job is not None and job.name not in failed]
            return Wanted(alive, self.scenario.lanes, hosts)

        return Supervisor(
            lambda: Switch.connect(node.grpc_address, node.device_id),
            wanted,
            lambda text: self.progress.say(f"  controller: {text}"),
        )

    def _coordinator(self) -> Coordinator:
        node = self.net.switch
        return Coordinator(lambda: Switch.connect(node.grpc_address, node.device_id))

    def _start_server(self, job: JobPlan) -> subprocess.Popen[bytes]:
        stats = self.folder.resolve() / "jobs" / f"{job.name}.ps.json"
        with (self.logs / f"{job.name}-ps.log").open("ab") as log:
            faults = () if job.server_faults is None else ("--faults", job.server_faults)
            return self.net.popen(
                job.server,
                [
                    sys.executable,
                    "-m",
                    "esa.hosts",
                    "server",
                    "--job",
                    job.task.aggregation,
                    "--controller",
                    self.meeting,
                    "--stats",
                    stats,
                    "--timers",
                    job.server_timers,
                    *faults,
                ],
                stdout=log,
                stderr=log,
                env=os.environ | ENVIRONMENT,
            )

    # Run

    def _until_all_ready(self) -> None:
        start = time.monotonic()
        explained = False
        for _ in self._events():
            waited_s = time.monotonic() - start
            waiting = [worker.name for worker in self.measured.workers if not worker.ready]
            if not waiting:
                return
            if waited_s > PATIENCE_S and not explained:
                explained = True
                self.progress.say("  a first run compiles its packet loops; the next one finds them compiled")
            if waited_s > READY_LIMIT_S:
                raise RunError(f"not ready after {READY_LIMIT_S:.0f} s: {', '.join(waiting)}; see {self.logs}")

    def _train(self, jobs: list[JobPlan]) -> None:
        start = time.monotonic()
        to_submit = sorted(jobs, key=lambda job: job.spec.submit_s)
        last_sample = 0.0
        last_sign = start
        for heard in self._events():
            now = time.monotonic()
            while to_submit and now >= start + to_submit[0].spec.submit_s:
                self._submit(to_submit.pop(0))
                last_sign = now
            if heard:
                last_sign = now
            elif now - last_sign > SILENCE_LIMIT_S + self.scenario.timers.give_up_s and not to_submit:
                unfinished = [worker.name for worker in self.measured.workers if worker.end is None]
                raise RunError(f"nothing from {', '.join(unfinished)} for {now - last_sign:.0f} s; see {self.logs}")
            if now - last_sample >= SAMPLE_INTERVAL_S:
                last_sample = now
                self._sample()
            self._end_failed(now)
            if all(worker.end is not None or worker.failed for worker in self.measured.workers):
                return

    def _submit(self, job: JobPlan) -> None:
        self.measured.go[job.name] = time.monotonic()
        self._record({"event": "submit", "job": job.name, "t": time.monotonic()})
        self._tell("go", [worker for worker in self.measured.workers if worker.plan is job])

    @staticmethod
    def _tell(word: str, workers: list[Worker]) -> None:
        for worker in workers:
            with contextlib.suppress(BrokenPipeError):  # its end is noticed where all ends are
                worker.process.stdin.write(f"{word}\n".encode())
                worker.process.stdin.flush()

    def _events(self) -> Iterator[bool]:
        """Pass on what workers say; yields, several times a second, whether any said something."""
        silent: list[Worker] = []  # their pipes are closed: they have ended, or are about to
        with selectors.DefaultSelector() as selector:
            for worker in self.measured.workers:
                if worker.process.stdout is not None and not worker.process.stdout.closed:
                    selector.register(worker.process.stdout, selectors.EVENT_READ, worker)
            while True:
                heard = False
                for key, _ in selector.select(timeout=SAMPLE_INTERVAL_S / 2):
                    worker = key.data
                    chunk = worker.process.stdout.read(1 << 16)
                    if chunk == b"":
                        selector.unregister(key.fileobj)
                        silent.append(worker)
                        continue
                    heard = True
                    *lines, worker.buffer = (worker.buffer + (chunk or b"")).split(b"\n")
                    for line in lines:
                        self._said(worker, json.loads(line))
                for worker in silent:
                    self._check_ended(worker)
                self._check_switch()
                self._check_servers()
                yield heard

    def _check_switch(self) -> None:
        while self.net.switch.killed:
            self._restarting("the switch")
            try:
                self.net.switch.restart()
            except P4SwitchError:
                if not self.net.switch.killed:  # else killed again while it started
                    raise
        self.net.switch.check()
        if self.restorations != self.supervisor.restorations:
            self.restorations = self.supervisor.restorations
            self._record({"event": "restored", "t": time.monotonic()})
            self.net.switch.deepen_queues()
            for job, counters in self.last.items():  # they start from zero
                before = self.baseline.get(job, counters)
                self.baseline[job] = {name: before[name] - count for name, count in counters.items()}
            self.last = {}

    def _check_servers(self) -> None:
        for name, server in list(self.servers.items()):
            status = server.poll()
            if status is None:
                continue
            if status == -signal.SIGKILL:
                self._restarting(f"the PS of job {name}")
                plan = next(worker.plan for worker in self.measured.workers if worker.plan.name == name)
                self.servers[name] = self._start_server(plan)
                continue
            problem = f"job {name}: its PS ended (status {status}); {_tail(self.logs / f'{name}-ps.log')}"
            if not self.training:
                raise RunError(problem)
            del self.servers[name]
            self.progress.say(f"  {problem}\n  its workers go on as far as the switch does all the work")

    def _restarting(self, what: str) -> None:
        self.restarts += 1
        if self.restarts > MAX_RESTARTS:
            raise RunError(f"{what} was killed again, after {MAX_RESTARTS} restarts of switch and PSs")
        self.progress.say(f"  {what} was killed: starting it again")
        self._record({"event": "restart", "what": what, "t": time.monotonic()})

    def _fail(self, worker: Worker, problem: str) -> None:
        """A worker is lost, and its job with it; before the training, the run is."""
        if not self.training:
            raise RunError(problem)
        worker.failed = True
        job = worker.plan.name
        if job in self.failing_until:
            return
        self.measured.failures[job] = problem
        self.failing_until[job] = time.monotonic() + self.scenario.timers.give_up_s + FAILING_LIMIT_S
        self.progress.say(f"  {problem.splitlines()[0]}\n  the job's other workers give up; other jobs go on")

    def _end_failed(self, now: float) -> None:
        """Once the workers of a failed job have said that they give up, the job leaves the switch."""
        for job, until in list(self.failing_until.items()):
            if until == ENDED:
                continue
            left = [w for w in self.measured.workers if w.plan.name == job and not w.failed and w.end is None]
            if left and now < until:
                continue
            for worker in left:
                worker.failed = True
                self.measured.failures[job] += f"\n{worker.name} did not give up"
            self.net.kill(w.process for w in self.measured.workers if w.plan.name == job)
            self.failing_until[job] = ENDED
            server = self.servers.pop(job, None)
            if server is not None:
                self.net.kill([server], grace_s=5.0)
            self._count()
            if self.indices.pop(job, None) is not None:
                with contextlib.suppress(SwitchError, BadInput):
                    self.controller.remove_job(
                        next(w.plan.job.job for w in self.measured.workers if w.plan.name == job)
                    )

    def _said(self, worker: Worker, record: dict[str, Any]) -> None:
        self._record(record)
        event = record["event"]
        if event == "ready":
            worker.ready = True
        elif event == "iteration":
            worker.iterations = record["iteration"] + 1
            if worker.rank == 0:
                self.progress.iteration(worker.plan.name, worker.iterations, record["loss"])
        elif event == "end":
            worker.end = record
        elif event == "error":
            for other in self.measured.workers:  # it may fail because a peer has ended: that is what happened, then
                if other.plan is worker.plan and other is not worker:
                    self._check_ended(other)
            self._fail(worker, f"{worker.name} failed: {record['message']}; {_tail(worker.log)}")

    def _check_ended(self, worker: Worker) -> None:
        """A worker may take seconds to leave: nobody waits for it, but a bad status is not missed."""
        status = worker.process.poll()
        if status is not None and not worker.failed and (status != 0 or worker.end is None):
            what = f"ended by signal {-status}" if status < 0 else f"ended (status {status})"
            self._fail(worker, f"{worker.name} {what} before its training was done; {_tail(worker.log)}")

    def _record(self, record: dict[str, Any]) -> None:
        times = {key: round(record[key] - self.started, 6) for key in ("t", "end") if key in record}
        self.records.write(json.dumps(record | times) + "\n")
        self.records.flush()

    # Measure

    def _read_counters(self) -> dict[str, dict[str, int]]:
        if not self.indices:
            return {}
        counters = self.controller.read_counters(list(self.indices.values()))
        return dict(zip(self.indices, counters, strict=True))

    def _count(self) -> dict[str, int]:
        """Read the counters; returns the rows in use by job. While the switch is being restarted there are none."""
        restorations = self.supervisor.restorations
        try:
            now = self._read_counters()
        except SwitchError:
            return {}
        if (
            not self.supervisor.whole
            or restorations != self.restorations
            or restorations != self.supervisor.restorations
        ):
            return {}
        self.last = now
        for job, counters in now.items():
            baseline = self.baseline.setdefault(job, dict.fromkeys(counters, 0))
            self.measured.counters[job] = {name: count - baseline[name] for name, count in counters.items()}
        return {job: max(0, counters["seated"] - counters["released"]) for job, counters in now.items()}

    def _sample(self) -> None:
        rows = self._count()
        if not rows:
            return
        self.measured.occupied.append(sum(rows.values()) / self.scenario.rows)
        self._record({"event": "occupancy", "t": time.monotonic(), "rows": rows})
        self.progress.occupancy(rows, self.scenario.rows)

    # End

    def _stop_servers(self) -> None:
        """End the PSs, which then write what they counted."""
        self.net.kill(self.servers.values(), grace_s=5.0)
        self.servers.clear()

    def _close_pipes(self) -> None:
        for worker in self.measured.workers:
            for pipe in (worker.process.stdin, worker.process.stdout):
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()

    def _check_weights(self, jobs: list[JobPlan]) -> None:
        for job in jobs:
            if job.name in self.measured.failures:
                continue
            digests = {w.end["weights_sha256"] for w in self.measured.workers if w.plan is job and w.end}
            if len(digests) != 1:
                raise RunError(f"job {job.name}: the final weights differ between its workers: {', '.join(digests)}")


def _tail(log: Path, lines: int = 12) -> str:
    try:
        text = log.read_text(errors="replace").splitlines()[-lines:]
    except OSError:
        text = []
    return "\n".join([f"{log} ends with:", *(f"  {line}" for line in text)]) if text else f"{log} is empty"
