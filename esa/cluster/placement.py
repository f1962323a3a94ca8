"""Where a job goes: one rack if one has room for its workers, else rack after rack; its PS where the program allows it.

Where switches add, a rack has 32 workers of a job at most, and a job 32 racks; sums by messages know no such limit.
The PS of a job over several racks must sit in a rack without its workers (`esa/entries/tiers.py` says why). On
a network of more tiers such a job is in one rack, its PS too: nobody makes sums of sums of sums. So is a job with
several PSs, or with PSs on its workers' hosts.

That is the rule "racks", which a network of switches needs. A cluster may have another, of `packing.py`: for jobs
without a PS and without hosts that they ask for.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from esa.cluster.free import Free
from esa.cluster.inventory import Cluster, Gpu
from esa.cluster.packing import PACKINGS, fitting
from esa.cluster.scheduler import JobInfo
from esa.job import MAX_FAN_IN

RACKS = "racks"
RULES = (RACKS, *PACKINGS)


def place(cluster: Cluster, job: JobInfo, free: Collection[Gpu], workers: int | None = None) -> list[Gpu] | None:
    """GPUs for the workers, rack by rack, then for the PS; None if there is no room among the free ones now.

    workers: None: as many as the job asked for; other numbers are for jobs without a PS.
    """
    wanted = workers or job.workers
    if wanted > len(free):
        return None
    if cluster.placement != RACKS and not job.has_server and job.hosts is None:
        known = free if isinstance(free, Free) else Free.only(cluster, free)
        return _packed(cluster, job, known, wanted)
    if job.hosts is not None:
        return _on_hosts(cluster, job, job.hosts, free)
    if isinstance(free, Free) and (found := _first_rack(cluster, job, free)):
        return found
    racks: list[list[Gpu]] = [[] for _ in cluster.racks]
    for gpu in sorted(free):
        racks[cluster.rack_of(gpu)].append(gpu)
    for rack in racks:
        if job.workers <= _most(job) and job.members <= len(rack):
            return rack[: job.members]
    if (cluster.tiers > 2 and job.has_server) or job.needs_one_rack:
        return None
    return _one_rack(racks, job) or _several_racks(racks, job)


def _first_rack(cluster: Cluster, job: JobInfo, free: Free) -> list[Gpu] | None:
    """The first GPUs of the first rack that has room for all of it, by the numbers of free ones alone."""
    if job.workers > _most(job):
        return None
    for hosts in cluster.hosts_of_racks:
        counts = [free.counts[host] for host in hosts]
        if sum(counts) >= job.members:
            gpus: list[Gpu] = []
            for host, count in zip(hosts, counts, strict=True):
                if count:
                    gpus += free.first(host, job.members - len(gpus))
                    if len(gpus) == job.members:
                        return gpus
    return None


def _packed(cluster: Cluster, job: JobInfo, free: Free, workers: int) -> list[Gpu] | None:
    """By the cluster's rule, on GPUs of the job's type; of any type there are enough."""
    counts = [*free.counts]
    if job.kind.gpu_type:
        counts = fitting(cluster, counts, job.kind.gpu_type)
        if workers > sum(counts):
            return None
    gpus: list[Gpu] = []
    for host, some in PACKINGS[cluster.placement](cluster, counts, workers):
        gpus += free.first(host, some)
    return gpus


def _most(job: JobInfo) -> int:
    """Workers of a job in one rack."""
    return MAX_FAN_IN if job.has_server else job.workers


def _on_hosts(cluster: Cluster, job: JobInfo, hosts: Sequence[int], free: Collection[Gpu]) -> list[Gpu] | None:
    """The first free GPUs of each host that is named."""
    on: dict[int, list[Gpu]] = {}
    for gpu in sorted(free, reverse=True):
        on.setdefault(gpu.host, []).append(gpu)
    gpus: list[Gpu] = []
    for host in hosts:
        if not on.get(host):
            return None
        gpus.append(on[host].pop())
    order = [cluster.rack_of(gpu) for gpu in gpus]
    workers, server = gpus[: job.workers], gpus[job.workers :]
    return [*sorted(workers, key=lambda gpu: order.index(cluster.rack_of(gpu))), *server]


def _one_rack(racks: Sequence[list[Gpu]], job: JobInfo) -> list[Gpu] | None:
    """All workers in one rack, the PS in another."""
    for rack in racks:
        others = [gpu for other in racks if other is not rack for gpu in other]
        if job.has_server and MAX_FAN_IN >= job.workers <= len(rack) and others:
            return [*rack[: job.workers], others[0]]
    return None


def _several_racks(racks: Sequence[list[Gpu]], job: JobInfo) -> list[Gpu] | None:
    """The fullest racks first; the PS in one that is left over. Where no switch adds it may be anywhere."""
    order = sorted(racks, key=len, reverse=True)
    gpus: list[Gpu] = []
    while order and len(gpus) < job.workers:
        gpus += order.pop(0)[: _most(job)]
    anywhere = [] if job.aggregates else gpus[job.workers :]
    left = [*(gpu for rack in order for gpu in rack), *anywhere]
    if len(gpus) < job.workers or (job.has_server and not left):
        return None
    return [*gpus[: job.workers], *left[: job.has_server]]
