"""Which hosts of a rack the jobs of a live run have: all at once, from the start, none of them shared."""

from __future__ import annotations

from experiments.specs.scenario import Scenario


def places(scenario: Scenario) -> dict[str, tuple[int, ...]]:
    """By job, its workers' hosts by rank, then its PS's if it has one.

    Jobs that name none take the lowest that are free, in order, or those that are called after their members.

    ValueError, its first word the key, where there are too few, or one is named twice.
    """
    hosts = len(scenario.host_names())
    named: set[int] = set()
    members = {job.name: job.workers + scenario.has_server(job) for job in scenario.job_specs}
    for i, job in enumerate(scenario.job_specs):
        wrong = [host for host in job.hosts or () if host >= hosts]
        if wrong:
            raise ValueError(f"jobs[{i}].hosts: {wrong[0]}; allowed: 0 to {hosts - 1}")
        mine = (job.hosts or ())[: members[job.name]]
        shared = named.intersection(mine)
        if shared:
            raise ValueError(f"jobs[{i}].hosts: {min(shared)} is another job's; allowed: live, hosts of its own")
        named.update(mine)
    free = iter([host for host in range(hosts) if host not in named])
    needed = sum(members.values())
    if needed > hosts:
        raise ValueError(f"network.hosts: {hosts} for {needed} workers and PSs; allowed: live, a host for each")
    found = {}
    for job in scenario.job_specs:
        count = job.workers + 1 if scenario.own_hosts else members[job.name]
        found[job.name] = (job.hosts or tuple(next(free) for _ in range(count)))[: members[job.name]]
    return found
