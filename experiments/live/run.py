"""One run: network, switches, controller, PSs and workers; then its folder of results.

    summary = run(Scenario.load(path, check_live), Path("results"), console)

Whatever ends the run, every process and namespace is gone afterwards and what was measured until then lies in the
folder; a run that did not end as it should says so in its summary.

This file says what happens, in order. Its parts: `processes.py` workers and PSs, `control_plane.py` who tells the
switches, `counters.py` what these count, `restarts.py` what somebody killed, `outages.py` what the scenario lets die,
`stopped.py` the jobs that this stops, `failures.py` jobs that fail alone, `metrics.py` counters for Prometheus,
`flows.py` traffic of no job, `measured.py` what is kept of it all.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console

from controller import BadInput, SwitchError
from esa.hosts.compiled import is_compiled
from esa.job import Job
from esa.report.records import RECORDS, FailureSummary, Summary
from esa.report.versions import write_versions
from esa.signals import ending_interrupts
from experiments.common.folders import give_to_caller, new_folder
from experiments.live.control_plane import ControlPlane, control_plane, deepen_queues
from experiments.live.counters import Counters
from experiments.live.digits import save_digits
from experiments.live.errors import RunError
from experiments.live.failures import Failures
from experiments.live.faults import injected, write_port_faults
from experiments.live.flows import Traffic
from experiments.live.links import dropped, network_graph, queue_bytes, switch_queue_packets
from experiments.live.measured import Measured, Records, Worker, summarise
from experiments.live.metrics import addresses, offered
from experiments.live.outages import Outages
from experiments.live.plan import DIGITS, JobPlan, plan
from experiments.live.processes import Servers, close_pipes, import_ahead, listen, start_workers, tell
from experiments.live.progress import RunProgress
from experiments.live.restarts import Restarts
from experiments.live.row_samples import RowSamples
from experiments.live.stopped import StoppedJobs
from experiments.live.watch import RunWatch
from experiments.specs.failures import HOST
from experiments.specs.scenario import Scenario
from topologies.doctor.early import examined
from topologies.network import Network, require_root
from topologies.single_rack import SingleRack

SAMPLE_INTERVAL_S = 0.25
READY_LIMIT_S = 240.0
PATIENCE_S = 10.0  # without a word why it takes so long
SILENCE_LIMIT_S = 60.0  # of all workers together, while they train, beyond the time after which they give up


def run(
    scenario: Scenario,
    results: Path,
    console: Console,
    *,
    pcap: bool = False,
    metrics: str | None = None,
    watch: bool = False,
) -> tuple[Summary, Path]:
    """Run one scenario; returns its summary and folder. What ends a run early leaves the folder all the same.

    metrics: where it offers what switches count to Prometheus, the first HOST:PORT (`metrics.py`). watch: see
    `watch.py`.
    """
    require_root()
    folder = new_folder(results, f"{scenario.name}-{scenario.method}")
    (folder / "scenario.toml").write_text(scenario.to_toml())
    write_versions(folder)
    measured = Measured(outages=[FailureSummary(what=one.what, name=one.name) for one in scenario.failures])
    problem: str | None = "ended early"

    def begun() -> bool:
        return measured.training

    try:
        with (
            examined(lambda line: console.print(line, highlight=False, markup=False, soft_wrap=True), begun),
            ending_interrupts(),
            (RunWatch if watch else RunProgress)(console, {j.name: j.iterations for j in scenario.job_specs}) as shown,
        ):
            _Run(scenario, folder, measured, shown, pcap, metrics).execute()
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
        summary.dropped = dropped(scenario, folder / "logs")
        summary.save(folder)
        give_to_caller(folder)
    return summary, folder


class _Run:
    def __init__(
        self,
        scenario: Scenario,
        folder: Path,
        measured: Measured,
        progress: RunProgress,
        pcap: bool,
        metrics: str | None,
    ) -> None:
        self.scenario = scenario
        self.folder = folder
        self.measured = measured
        self.progress = progress
        self.pcap_dir = folder / "pcaps" if pcap else None
        self.metrics = metrics
        self.logs = folder / "logs"
        self.started = time.monotonic()
        # The parts, in the order in which `execute` makes them.
        self.records: Records
        self.net: Network
        self.metrics_of_jobs: list[str]
        self.traffic: Traffic
        self.control: ControlPlane
        self.counters: Counters
        self.rows: RowSamples
        self.servers: Servers
        self.failures: Failures
        self.restarts: Restarts
        self.stopped: StoppedJobs
        self.outages: Outages

    def execute(self) -> None:
        scenario, say = self.scenario, self.progress.say
        say(f"{scenario.name}: policy {scenario.method}, switch {scenario.live.switch}, results in {self.folder}")
        self.logs.mkdir()
        import_ahead()
        with contextlib.ExitStack() as stack:
            self.records = Records(stack.enter_context((self.folder / RECORDS).open("w")), self.started)
            workers = self.measured.workers
            stack.callback(close_pipes, workers)  # once the network, and with it every worker, is gone
            self.net = stack.enter_context(self._network())
            scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="esa-run-")))
            meeting = f"unix:{scratch}/runs"
            stops = any(failure.what == HOST for failure in scenario.failures)
            jobs = plan(scenario, self.net, self.folder / "jobs", meeting, scratch if stops else None)
            for job in jobs:
                if job.unseated:
                    say(f"  job {job.name}: rows are too few for all; its workers sum by a ring (gloo)")
                # They get ready as far as they can, and wait for a network that forwards.
                workers.extend(start_workers(self.net, job, self.folder))
            save_digits(self.folder / "jobs" / DIGITS, scenario.seed)
            self.traffic = self.measured.traffic = Traffic(scenario, self.net, self.logs, self.records.write)
            stack.callback(self.traffic.end)
            self._start_control_plane(stack, jobs, meeting)
            looked = [switch.looked for switch in self.counters.switches]
            stack.enter_context(
                offered(self.net, self._jobs(jobs), looked, self.metrics_of_jobs, scratch / "names.json", say)
            )
            self._start_servers(jobs, meeting)
            self._prepare_outages(scratch)
            self.progress.see(self.control.denied_by_reason, self._links())
            stack.callback(close_pipes, self.stopped.former)
            say(f"  workers: {len(workers)} start and warm up")
            tell("join", workers)
            self._until_all_ready()
            self.counters.begin()
            say("  training")
            self.progress.start()
            self.measured.training = True
            self._train(jobs)
            self.traffic.end()
            self.counters.count()
            self.servers.end()
            self._check_weights(jobs)
            failures = [*self.measured.failures.values(), *self.traffic.failures.values()]
            if failures:
                raise RunError("; ".join(failures))

    # Start

    @staticmethod
    def _jobs(jobs: list[JobPlan]) -> list[Job]:
        """Those that switches know of."""
        return [job.job for job in jobs if job.job is not None]

    def _network(self) -> Network:
        graph = network_graph(self.scenario)
        switches = len(graph.switches)
        self.progress.say(
            f"  network: {graph.hosts} hosts, {'one switch' if switches == 1 else f'{switches} switches'}"
        )
        options: dict[str, Any] = {
            "queue_bytes": queue_bytes(self.scenario),
            "switch": self.scenario.live.switch,
            "log_dir": self.logs,
            "pcap_dir": self.pcap_dir,
        }
        self.metrics_of_jobs, options["metrics"] = addresses(self.metrics, switches)
        faults = write_port_faults(self.scenario, graph, self.folder / "jobs")
        if switches == 1:
            marking = switch_queue_packets(self.scenario)
            return SingleRack(graph, **options, faults=faults.get(0), switch_queue_packets=marking)
        return Network(graph, **options, faults=faults)

    def _start_control_plane(self, stack: contextlib.ExitStack, jobs: list[JobPlan], meeting: str) -> None:
        """Load the program and add the jobs; then what puts both back, and starts the jobs' runs."""
        self.progress.say("  controller: loading the program")
        self.control = control_plane(
            self.net,
            self.scenario.lanes,
            self._jobs(jobs),
            meeting,
            lambda: list(self.measured.failures),
            self._say_of_switches,
            self.scenario.network.ecn_packets,
        )
        names = {job.job.job: job.name for job in jobs if job.job is not None}
        rows = self.scenario.rows if any(job.job is not None and job.job.pool is not None for job in jobs) else 0
        samples = RowSamples(self.folder, self.control.row_readers(), rows, names, self.started)
        self.rows = stack.enter_context(samples)
        stack.enter_context(self.control)
        self.counters = self.control.counters(self.measured)
        graph = self.net.graph
        self.measured.spines = [graph.nodes[spine].name for spine in graph.tier(2)]
        for job in jobs:
            if job.job is not None and job.job.racks:
                switches = [graph.nodes[graph.switch_of[host]].name for host in job.workers]
                self.measured.racks[job.name] = list(dict.fromkeys(switches))

    def _links(self) -> dict[str, str]:
        """By host, the interface of its link at its switch."""
        graph, found = self.net.graph, {}
        for switch, node in zip(graph.switches, self.net.switches, strict=True):
            for host in graph.hosts_of.get(switch, ()):
                interface = node.intfs.get(self.net.port(host))
                if interface is not None:
                    found[graph.nodes[host].name] = interface.name
        return found

    def _say_of_switches(self, text: str) -> None:
        self.progress.say(f"  controller: {text}")

    def _start_servers(self, jobs: list[JobPlan], meeting: str) -> None:
        say = self.progress.say
        self.servers = Servers(self.net, self.folder, meeting)
        self.failures = Failures(self.measured, self.scenario.timers.give_up_s, self._end_job, say)
        self.restarts = Restarts(self.net.switches, self.servers, self.measured, self.records, say)
        for job in jobs:
            if job.job is not None:
                self.servers.start(job)

    def _prepare_outages(self, snapshots: Path) -> None:
        say, graph = self.progress.say, self.net.graph
        self.stopped = StoppedJobs(self.net, self.folder, snapshots, self.measured, self.counters, say)
        names = [graph.nodes[switch].name for switch in graph.switches]
        self.outages = Outages(
            self.scenario,
            dict(zip(names, self.net.switches, strict=True)),
            self.servers,
            self.restarts,
            self.stopped,
            self.failures,
            self.measured,
            self.records.now,
            say,
        )

    # Run

    def _until_all_ready(self) -> None:
        start = time.monotonic()
        explained = False
        for _ in self._turns():
            waited_s = time.monotonic() - start
            waiting = [worker.name for worker in self.measured.workers if not worker.ready] + self.traffic.waiting
            if not waiting:
                return
            if waited_s > PATIENCE_S and not explained and not is_compiled():
                explained = True
                self.progress.say("  a first run compiles its packet loops; the next one finds them compiled")
            if waited_s > READY_LIMIT_S:
                raise RunError(f"not ready after {READY_LIMIT_S:.0f} s: {', '.join(waiting)}; see {self.logs}")

    def _train(self, jobs: list[JobPlan]) -> None:
        start = time.monotonic()
        to_submit = sorted(jobs, key=lambda job: job.spec.submit_s)
        last_sample = 0.0
        last_sign = start
        self.traffic.go(start)
        self.outages.begin(start)
        for heard in self._turns():
            now = time.monotonic()
            last_sign = max(last_sign, min(now, self.traffic.last_start))
            while to_submit and now >= start + to_submit[0].spec.submit_s:
                self._submit(to_submit.pop(0))
                last_sign = now
            if heard or self.outages.one_ends:
                last_sign = now
            elif now - last_sign > SILENCE_LIMIT_S + self.scenario.timers.give_up_s and not to_submit:
                unfinished = [worker.name for worker in self.measured.workers if worker.end is None]
                unfinished += self.traffic.awaited
                raise RunError(f"nothing from {', '.join(unfinished)} for {now - last_sign:.0f} s; see {self.logs}")
            if now - last_sample >= SAMPLE_INTERVAL_S:
                last_sample = now
                self._sample()
            self.failures.end_failed(now)
            done = all(worker.end is not None or worker.failed for worker in self.measured.workers)
            if done and not self.traffic.awaited:
                return

    def _turns(self) -> Iterator[bool]:
        """Pass on what workers and flows say, look after what runs; yields several times a second, if any spoke."""
        for said, closed in listen(self.measured.workers, SAMPLE_INTERVAL_S / 2):
            for worker, record in said:
                self._on_record(worker, record)
            for worker in closed:
                self.failures.check(worker)
            self.outages.look()
            self.restarts.check()
            for name in self.counters.restored():
                switch = next(node for node in self.net.switches if node.name == name)
                self.records.now("restored", switch=name)
                self.outages.switch_restored(switch)
                deepen_queues(switch, self._say_of_switches)
            yield self.traffic.look() or bool(said)

    def _on_record(self, worker: Worker, record: dict[str, Any]) -> None:
        self.records.write(record)
        if worker.stopped:  # its last words: another has come in its place
            return
        event = record["event"]
        if event == "ready":
            worker.ready = True
        elif event == "iteration":
            worker.iterations = record["iteration"] + 1
            self.progress.record(worker.plan.name, record)
            if worker.rank == 0:
                self.progress.iteration(worker.plan.name, worker.iterations, record["loss"])
        elif event == "end":
            worker.end = record
        elif event == "error" and not self.stopped.is_refused(worker, time.monotonic()):
            self.failures.said(worker, record["message"])

    def _submit(self, job: JobPlan) -> None:
        self.measured.go[job.name] = time.monotonic()
        self.records.now("submit", job=job.name)
        self.progress.submitted(job.name)
        if job.name not in self.stopped:  # else once its workers are there again
            tell("go", [worker for worker in self.measured.workers if worker.plan is job])

    def _sample(self) -> None:
        rows = self.counters.count()
        if not rows:
            return
        there = self.scenario.rows * len(self.net.switches)
        self.measured.occupied.append(sum(rows.values()) / there)
        self.records.write(
            {"event": "occupancy", "t": time.monotonic(), "rows": rows, "counters": self.measured.counters}
        )
        self.progress.counted(self.measured.counters)
        self.progress.occupancy(rows, there)
        self.rows.look()

    # End

    def _end_job(self, name: str) -> None:
        """End what is left of a failed job, here and in the switch."""
        workers = [worker for worker in self.measured.workers if worker.plan.name == name]
        self.net.kill(worker.process for worker in workers)
        self.servers.end(name)
        self.counters.count()
        if self.counters.forget(name):
            with contextlib.suppress(SwitchError, BadInput):
                self.control.remove(workers[0].plan.job.job)

    def _check_weights(self, jobs: list[JobPlan]) -> None:
        for job in jobs:
            if job.name in self.measured.failures:
                continue
            digests = {w.end["weights_sha256"] for w in self.measured.workers if w.plan is job and w.end}
            if len(digests) != 1:
                raise RunError(f"job {job.name}: the final weights differ between its workers: {', '.join(digests)}")
