"""Who is where: a scenario's jobs on the hosts of a network, with addresses, rows and tasks."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from esa.entries.leaf_spine import LeafSpine, spread
from esa.job import Job, Member, Pool
from esa.wire import ESA_PORT
from experiments.live.faults import host_faults
from experiments.live.places import places
from experiments.live.seats import pools
from experiments.live.task import TrainingTask
from experiments.live.timers import server_timers, worker_timers
from experiments.specs.jobs import JobSpec
from experiments.specs.scenario import Scenario
from topologies.network import Network

FIRST_WORKER_PORT = ESA_PORT + 1  # of the first job; workers of several may share a host
DIGITS = "digits.npz"
FIRST_RENDEZVOUS_PORT = 29500  # torch's own default, likewise


@dataclass(frozen=True)
class ServerPlan:
    """A PS of a job: its host, what its files are called, and those."""

    host: int
    name: str
    faults: Path | None  # what its link does to packets on purpose
    timers: Path


@dataclass(frozen=True)
class JobPlan:
    """One job in its place: workers' hosts by rank, its PSs and what it is to the switch (none under gloo).

    unseated: it is none to the switch because rows are too few.
    """

    spec: JobSpec
    workers: tuple[int, ...]
    servers: tuple[ServerPlan, ...]
    job: Job | None
    task: TrainingTask
    unseated: bool = False

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def hosts(self) -> tuple[int, ...]:
        """Every one that it needs, its PSs' last."""
        return *self.workers, *(server.host for server in self.servers)


def plan(
    scenario: Scenario, net: Network, folder: Path, controller: str, snapshots: Path | None = None
) -> list[JobPlan]:
    """Put the jobs on their hosts and write their files into `folder`. snapshots: as in `TrainingTask`."""
    folder.mkdir(parents=True, exist_ok=True)
    hosts, rows = places(scenario), pools(scenario)
    return [
        _place(scenario, i, spec, net, hosts[spec.name], rows.get(spec.name), folder, controller, snapshots)
        for i, spec in enumerate(scenario.job_specs)
    ]


def _place(
    scenario: Scenario,
    i: int,
    spec: JobSpec,
    net: Network,
    hosts: tuple[int, ...],
    pool: Pool | None,
    folder: Path,
    controller: str,
    snapshots: Path | None,
) -> JobPlan:
    workers = hosts[: spec.workers]
    names = scenario.host_names()
    job = None
    aggregation = None
    if scenario.has_server(spec):
        there = spread(LeafSpine(net.graph), [net.mac(host) for host in hosts], spec.servers)
        server, *more_servers = (_member(net, host, ESA_PORT) for host in hosts[spec.workers :])
        job = Job(
            name=spec.name,
            job=i + 1,
            policy=scenario.policy_of(spec),
            lanes=scenario.lanes,
            workers=tuple(_member(net, host, FIRST_WORKER_PORT + i) for host in workers),
            racks=there.racks,
            server=server,
            more_servers=tuple(more_servers),
            switch_ip=there.switch_ip,
            pool=pool or scenario.pools[spec.name],
            window=scenario.window(spec),
            span=spec.span,
            least_window=scenario.least_window(spec),
            compares=scenario.compares,
            congestion=scenario.congestion(spec),
            quantisation=spec.quantisation,
            fraction_bits=spec.fraction_bits,
            ttl_us=spec.ttl_us,
            give_up_s=scenario.timers.give_up_s,
            wait_limit_s=scenario.timers.wait_limit_s,
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
        data=folder / DIGITS,
        rendezvous=f"{net.ip(workers[0])}:{FIRST_RENDEZVOUS_PORT + i}",
        controller=controller,
        aggregation=aggregation,
        by_messages=pool is None,
        snapshots=snapshots,
        faults=tuple(host_faults(scenario, names[host]) for host in workers),
        timers=worker_timers(scenario.timers),
    )
    (folder / f"{spec.name}.task.json").write_text(task.model_dump_json(indent=2) + "\n")
    if pool is None:
        return JobPlan(spec, workers, (), None, task, unseated=True)
    of_servers = zip(hosts[spec.workers :], spec.server_names, strict=True) if job else ()
    servers = tuple(_server(scenario, f"{spec.name}-{name}", host, folder) for host, name in of_servers)
    return JobPlan(spec, workers, servers, job, task)


def _server(scenario: Scenario, name: str, host: int, folder: Path) -> ServerPlan:
    path = None
    faults = host_faults(scenario, scenario.host_names()[host])
    if faults is not None:
        path = folder / f"{name}.faults.json"
        path.write_text(faults.model_dump_json(indent=2) + "\n")
    timers = folder / f"{name}.timers.json"
    timers.write_text(json.dumps(asdict(server_timers(scenario.timers)), indent=2) + "\n")
    return ServerPlan(host, name, path, timers)


def _member(net: Network, host: int, udp_port: int) -> Member:
    return Member(ip=net.ip(host), mac=net.mac(host), udp_port=udp_port, switch_port=net.port(host))
