"""Rules of placement for jobs whose GPUs may be anywhere: which hosts, and how many GPUs of each.

    most-free     from the host with the most free GPUs, all that are needed, then from the next (as Pollux's simulator)
    consolidate   on as few hosts as can be; among those that hold what is left over, the one with the least to spare
    best-fit      worker by worker on the host with the fewest free GPUs: what is begun is filled
    spread        on as many hosts as can be, one worker each until there is none left, those with the most free first
    one-rack      consolidated in the rack with the least to spare that holds it all, else over all racks

A tie goes to the lowest number. Each is a function of the free GPUs of each host.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from esa.cluster.inventory import Cluster

Shares = list[tuple[int, int]]  # (host, GPUs of it), in the order of the ranks


def most_free(cluster: Cluster, counts: list[int], workers: int) -> Shares:
    shares: Shares = []
    while workers:
        most = max(counts)
        host, some = counts.index(most), min(most, workers)
        shares.append((host, some))
        counts[host] -= some
        workers -= some
    return shares


def consolidate(cluster: Cluster, counts: list[int], workers: int) -> Shares:
    shares: Shares = []
    while workers:
        most = max(counts)
        if most <= workers:
            host, some = counts.index(most), most
        else:
            enough = workers
            while enough not in counts:  # the least to spare; `most` ends it
                enough += 1
            host, some = counts.index(enough), workers
        shares.append((host, some))
        counts[host] -= some
        workers -= some
    return shares


def best_fit(cluster: Cluster, counts: list[int], workers: int) -> Shares:
    shares: Shares = []
    while workers:
        host = counts.index(min(filter(None, counts)))
        some = min(counts[host], workers)
        shares.append((host, some))
        counts[host] -= some
        workers -= some
    return shares


def spread(cluster: Cluster, counts: list[int], workers: int) -> Shares:
    taken = [0] * len(counts)
    order = sorted(range(len(counts)), key=lambda host: -counts[host])
    while workers:
        for host in order:
            if workers and counts[host] > taken[host]:
                taken[host] += 1
                workers -= 1
    return [(host, some) for host, some in enumerate(taken) if some]


def one_rack(cluster: Cluster, counts: list[int], workers: int) -> Shares:
    totals = [0] * len(cluster.racks)
    for host, count in zip(cluster.hosts, counts, strict=True):
        totals[host.rack] += count
    enough = [total for total in totals if total >= workers]
    if enough:
        rack = totals.index(min(enough))
        counts = [count if host.rack == rack else 0 for host, count in zip(cluster.hosts, counts, strict=True)]
    return consolidate(cluster, counts, workers)


Packing = Callable[[Cluster, list[int], int], Shares]
PACKINGS: Mapping[str, Packing] = {
    "most-free": most_free,
    "consolidate": consolidate,
    "best-fit": best_fit,
    "spread": spread,
    "one-rack": one_rack,
}


def consolidated(cluster: Cluster, workers: int) -> tuple[tuple[int, int], ...]:
    """(host, GPUs) of a job that is alone on a cluster and on as few hosts as can be: what is asked of `times`."""
    each = max(host.gpus for host in cluster.hosts)
    whole, rest = divmod(workers, each)
    return (*((host, each) for host in range(whole)), *([(whole, rest)] if rest else []))


def fitting(cluster: Cluster, counts: Sequence[int], gpu_type: str) -> list[int]:
    """The free GPUs of each host that are of a type."""
    if not gpu_type:
        return [*counts]
    return [count if host.gpu_type == gpu_type else 0 for host, count in zip(cluster.hosts, counts, strict=True)]
