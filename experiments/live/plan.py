"""Who is where: a scenario's jobs on the hosts of a rack, with addresses, rows and tasks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from esa.job import Job, Member
from esa.wire import ESA_PORT
from experiments.live.task import TrainingTask
from experiments.specs.scenario import GLOO, JobSpec, Scenario
from topologies.single_rack import SWITCH_IP, SingleRack

WORKER_PORT = ESA_PORT + 1
RENDEZVOUS_PORT = 29500  # torch's own default; every job's rank 0 has a network namespace of its own


@dataclass(frozen=True)
class JobPlan:
    """One job in its place: hosts of its workers by rank and of its PS, what it is to the switch (None under gloo)."""

    spec: JobSpec
    workers: tuple[int, ...]
    server: int
    job: Job | None
    task: TrainingTask
    server_faults: Path | None  # the file of what the PS's link does to packets on purpose

    @property
    def name(self) -> str:
        return self.spec.name


def plan(scenario: Scenario, net: SingleRack, folder: Path, controller: str) -> list[JobPlan]:
    """Place the jobs on the hosts in the order of `scenario.host_names()` and write their files into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    hosts = iter(range(len(scenario.host_names())))
    return [_place(scenario, i, spec, net, hosts, folder, controller) for i, spec in enumerate(scenario.jobs)]


def _place(
    scenario: Scenario, i: int, spec: JobSpec, net: SingleRack, hosts: Iterator[int], folder: Path, controller: str
) -> JobPlan:
    workers = tuple(next(hosts) for _ in range(spec.workers))
    server = next(hosts)
    job = None
    aggregation = None
    if scenario.policy_of(spec) != GLOO:
        job = Job(
            name=spec.name,
            job=i + 1,
            policy=scenario.policy_of(spec),
            lanes=scenario.lanes,
            workers=tuple(_member(net, host, WORKER_PORT) for host in workers),
            server=_member(net, server, ESA_PORT),
            switch_ip=SWITCH_IP,
            pool=scenario.pools()[spec.name],
            window=scenario.window(spec),
            quantisation=spec.quantisation,
            fraction_bits=spec.fraction_bits,
            give_up_s=scenario.give_up_s,
        )
        aggregation = folder / f"{spec.name}.job.json"
        job.save(aggregation)
    task = TrainingTask(
        job=spec.name,
        model=spec.model,
        workers=spec.workers,
        iterations=spec.iterations,
        batch_size=spec.batch_size,
        learning_rate=spec.learning_rate,
        bucket_cap_mb=spec.bucket_cap_mb,
        seed=scenario.seed,
        rendezvous=f"{net.ip(workers[0])}:{RENDEZVOUS_PORT}",
        controller=controller,
        aggregation=aggregation,
        faults=tuple(scenario.link_faults(f"{spec.name}-{rank}", "hosts") for rank in range(spec.workers)),
    )
    (folder / f"{spec.name}.task.json").write_text(task.model_dump_json(indent=2) + "\n")
    server_faults = None
    faults = scenario.link_faults(f"{spec.name}-ps", "hosts")
    if faults is not None:
        server_faults = folder / f"{spec.name}-ps.faults.json"
        server_faults.write_text(faults.model_dump_json(indent=2) + "\n")
    return JobPlan(spec, workers, server, job, task, server_faults)


def _member(net: SingleRack, host: int, udp_port: int) -> Member:
    return Member(ip=net.ip(host), mac=net.mac(host), udp_port=udp_port, switch_port=net.port(host))
