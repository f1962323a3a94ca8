"""Rules of placement for jobs whose GPUs may be anywhere: which hosts, and how many GPUs of each.

    most-free     from the host with the most free GPUs, all that are needed, then from the next (as Pollux's simulator)
    consolidate   on as few hosts as can be; among those that hold what is left over, the one with the least to spare
    best-fit      worker by worker on the host with the fewest free GPUs: what is begun is filled
    spread        on as many hosts as can be, one worker each until there is none left, those with the most free first
    one-rack      consolidated in the rack with the least to spare that holds it all, else in such a pod of racks, else
                  over all

A tie goes to the lowest number. Each is a function of the free GPUs of each host.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from esa.cluster.inventory import Cluster

Shares = list[tuple[int, int]]  # (host, GPUs of it), in the order of the ranks


def _host_by_host(counts: list[int], workers: int, free_of_next: Callable[[list[int], int], int]) -> Shares:
    """All that the next host has and that is needed, the next being the first with so many free GPUs."""
    shares: Shares = []
    while workers:
        host = counts.index(free_of_next(counts, workers))
        some = min(counts[host], workers)
        shares.append((host, some))
        counts[host] -= some
        workers -= some
    return shares


def most_free(cluster: Cluster, counts: list[int], workers: int) -> Shares:
    return _host_by_host(counts, workers, lambda counts, _: max(counts))


def consolidate(cluster: Cluster, counts: list[int], workers: int) -> Shares:
    if workers in counts:  # there is a host with just enough
        return [(counts.index(workers), workers)]
    return _host_by_host(counts, workers, _most_or_enough)


def _most_or_enough(counts: list[int], workers: int) -> int:
    """The most there are, or if these are more than enough the fewest that are enough."""
    if workers in counts:
        return workers
    most = max(counts)
    for count in range(workers + 1, most):
        if count in counts:
            return count
    return most


def best_fit(cluster: Cluster, counts: list[int], workers: int) -> Shares:
    return _host_by_host(counts, workers, lambda counts, _: min(filter(None, counts)))


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
    for groups in ([host.rack for host in cluster.hosts], [host.pod for host in cluster.hosts]):
        totals = [0] * (max(groups) + 1)
        for group, count in zip(groups, counts, strict=True):
            totals[group] += count
        enough = [total for total in totals if total >= workers]
        if enough:
            chosen = totals.index(min(enough))
            within = [count if group == chosen else 0 for group, count in zip(groups, counts, strict=True)]
            return consolidate(cluster, within, workers)
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
    return on_whole_hosts(max(host.gpus for host in cluster.hosts), workers)


def on_whole_hosts(each: int, workers: int) -> tuple[tuple[int, int], ...]:
    """(host, GPUs), with `each` GPUs of every host but the last."""
    whole, rest = divmod(workers, each)
    return (*((host, each) for host in range(whole)), *([(whole, rest)] if rest else []))


def fitting(cluster: Cluster, counts: Sequence[int], gpu_type: str) -> list[int]:
    """The free GPUs of each host that are of a type."""
    if not gpu_type:
        return [*counts]
    return [count if host.gpu_type == gpu_type else 0 for host, count in zip(cluster.hosts, counts, strict=True)]
