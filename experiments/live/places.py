"""Which hosts the jobs of a live run have: all at once, from the start."""

from __future__ import annotations

from collections.abc import Collection

from esa.cluster.inventory import Cluster, Gpu, Host, Nic
from esa.cluster.placement import place
from esa.cluster.scheduler import JobInfo
from esa.cluster.validate import check_gpus
from esa.entries.job_entries import MAX_JOB_INDEX
from experiments.specs.jobs import JobSpec
from experiments.specs.racks import aggregates, check_racks
from experiments.specs.scenario import Scenario


def places(scenario: Scenario) -> dict[str, tuple[int, ...]]:
    """By job, its workers' hosts by rank, then its PSs' if it has any.

    Jobs that name none take the lowest that nobody names, in order, or those that are called after their members; over
    several racks they go where virtual time would put them. A host may be named by several jobs, whose members share
    its link; two PSs may not, for both would listen on ESA's port.

    ValueError, its first word the key, where there are too few, a PS's is named by another for its own, or the program
    could not add there.
    """
    hosts = len(scenario.host_names())
    named: set[int] = set()
    of_servers: set[int] = set()
    members = {job.name: job.workers + (job.servers if scenario.has_server(job) else 0) for job in scenario.job_specs}
    for i, job in enumerate(scenario.job_specs):
        wrong = [host for host in job.hosts or () if host >= hosts]
        if wrong:
            raise ValueError(f"jobs[{i}].hosts: {wrong[0]}; allowed: 0 to {hosts - 1}")
        mine = (job.hosts or ())[: members[job.name]]
        for host in mine[job.workers :]:
            if host in of_servers:
                raise ValueError(f"jobs[{i}].hosts: {host} has another job's PS; allowed: live, one of its own")
            of_servers.add(host)
        named.update(mine)
    left = [host for host in range(hosts) if host not in named]
    needed = sum(members[job.name] for job in scenario.job_specs if job.hosts is None)
    if needed > len(left):
        what = "racks" if scenario.network.leaf_spine else "hosts"
        raise ValueError(
            f"network.{what}: {hosts} hosts for {len(named) + needed} workers and PSs; allowed: live, a host for each, "
            "or jobs that name those that they share"
        )
    if scenario.network.leaf_spine:
        return _over_racks(scenario, named)
    free = iter(left)
    found = {}
    for job in scenario.job_specs:
        count = job.workers + job.own_servers if scenario.own_hosts else members[job.name]
        found[job.name] = (job.hosts or tuple(next(free) for _ in range(count)))[: members[job.name]]
    return found


def _over_racks(scenario: Scenario, named: Collection[int]) -> dict[str, tuple[int, ...]]:
    """As virtual time would, one job after the other; hosts that others name are not free."""
    network = scenario.network
    racks = [rack for rack, size in enumerate(network.rack_sizes or ()) for _ in range(size)]
    cluster = Cluster(tuple(Host(rack, Nic(network.rate)) for rack in racks), MAX_JOB_INDEX)
    left = {gpu for gpu in cluster.gpus if gpu.host not in named}
    found = {}
    for i, job in enumerate(scenario.job_specs):
        where = f"jobs[{i}]" if scenario.jobs else "arrivals"
        info = _info(scenario, i, job)
        free = {Gpu(host, 0) for host in info.hosts} if info.hosts is not None else left
        try:
            if job.hosts is not None and not info.needs_one_rack:
                check_racks([racks[host] for host in job.hosts], scenario.policy_of(job), info.has_server)
            gpus = place(cluster, info, free)
            if gpus is None:
                raise ValueError(
                    f"workers: no place for {info.who} among {len(free)} free hosts in racks of "
                    f"{', '.join(map(str, cluster.racks))}; over several racks the PS needs one without the job's "
                    f"workers"
                )
            check_gpus(cluster, info, gpus, free)
        except ValueError as error:
            text = str(error).removeprefix(f"job {job.name}: ").removeprefix("hosts: ")
            key = "hosts" if job.hosts is not None else "workers"
            raise ValueError(f"{where}.{key}: {text.removeprefix('workers: ')}") from None
        left.difference_update(gpus)
        found[job.name] = tuple(gpu.host for gpu in gpus)
    return found


def _info(scenario: Scenario, number: int, job: JobSpec) -> JobInfo:
    has_server = scenario.has_server(job)
    hosts = job.hosts if has_server or job.hosts is None else job.hosts[: job.workers]
    adds = aggregates(scenario.policy_of(job), has_server)
    return JobInfo(
        number,
        job.name,
        job.workers,
        0,
        job.iterations,
        aggregates=adds,
        has_server=has_server,
        servers=job.own_servers,
        hosts=hosts,
    )
