"""Whether a decision can be applied: DecisionRefused, one line that names the job, the host, and what is allowed.

    name      who is started waits, who is stopped or resized runs, nobody is named twice, what is said is of jobs there
    gang      a job has all the workers that it asked for, or none; one that is elastic between its fewest and its most
    capacity  a GPU is there, up, and nobody else's
    type      it is of the type that the job asks for
    jobs      no more at a time than the cluster allows
    network   ranks and PS are where sums can be made
    hosts     a job that asks for certain hosts has those
    loan      hosts that are lent are the inference side's, no more than it offers, and given back empty

Each refusal has one of these words as its `rule`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import groupby
from typing import NoReturn

from esa.cluster.free import Free
from esa.cluster.inventory import Cluster, Gpu
from esa.cluster.placement import place
from esa.cluster.scheduler import Decision, JobInfo, Running, Start, Stop, free_gpus
from esa.errors import BadInput
from esa.job import MAX_FAN_IN

_SHOWN = 8  # jobs that are named as allowed


class DecisionRefused(BadInput):
    """A decision that cannot be applied; nothing has been changed. rule: the word for what it breaks."""

    def __init__(self, rule: str, text: str) -> None:
        super().__init__(text)
        self.rule = rule


def check_decision(
    decision: Decision, cluster: Cluster, waiting: Sequence[JobInfo], running: Sequence[Running]
) -> Free | None:
    """Refuse a decision of which anything cannot be done; nothing has been changed then.

    Return what it leaves free; None where it says nothing.
    """
    loans = bool(cluster.inference) or decision.lent is not None
    changes = decision.starts or decision.stops or decision.resizes or decision.memos or decision.left_ns
    if not (changes or loans):
        return None
    queue: Mapping[int, JobInfo] = getattr(waiting, "by_number", None) or {job.number: job for job in waiting}
    at_work: Mapping[int, Running] = getattr(running, "by_number", None) or {job.job.number: job for job in running}
    _check_names(decision, queue, at_work)
    free = free_gpus(cluster, running)
    if decision.stops or decision.resizes:
        for number in [*(stop.job for stop in decision.stops), *(resize.job for resize in decision.resizes)]:
            free.give(gpu for gpu in at_work[number].gpus if gpu.host not in cluster.down)
    if loans:
        cluster = _after_loans(decision, cluster, free)
    for resize in decision.resizes:
        job = at_work[resize.job].job
        if job.elastic is not None:
            _check_gang(job, resize)
        _take(cluster, job, resize, free)
    for start in decision.starts:
        job = queue[start.job]
        if job.elastic is not None or len(start.workers) != job.workers:
            _check_gang(job, start)
        _take(cluster, job, start, free)
    at_a_time = len(at_work) - len(decision.stops) + len(decision.starts)
    if at_a_time > cluster.max_jobs and decision.starts:
        last = queue[decision.starts[-1].job]
        raise DecisionRefused("jobs", f"job {last.name}: {at_a_time} jobs at a time; allowed: {cluster.max_jobs}")
    return free


def _take(cluster: Cluster, job: JobInfo, start: Start, free: Free) -> None:
    """A job gets what is asked for it, if it can have that. free: without it, then."""
    if job.own_servers or start.server is not None or start.more_servers:
        _check_server(job, start)
    workers, servers = start.workers, start.servers
    if not workers:
        _refuse_nobody(job)
    gpus = (*workers, *servers) if servers else workers
    if not free.took(gpus):
        _refuse_gpus(cluster, job, gpus, workers, free)
    _check_where(cluster, job, workers, servers)


def _after_loans(decision: Decision, cluster: Cluster, free: Free) -> Cluster:
    """The cluster with those hosts lent that shall be. free: changed as they are."""
    lent = cluster.lent if decision.lent is None else decision.lent
    strange = lent - cluster.inference
    if strange:
        some = _numbers(sorted(cluster.inference)[:_SHOWN]) or "none"
        raise DecisionRefused("loan", f"host {min(strange)}: lent; allowed: of the inference side's, {some}")
    if len(lent) > cluster.offered:
        raise DecisionRefused("loan", f"{len(lent)} hosts lent; allowed: {cluster.offered}, which are offered")
    if lent == cluster.lent:
        return cluster
    for host in sorted(cluster.lent - lent):
        busy = cluster.hosts[host].gpus - free.counts[host]
        if busy:
            raise DecisionRefused("loan", f"host {host}: given back with {busy} GPUs in use; allowed: none")
        free.close(host)
    for host in lent - cluster.lent:
        free.open(host, cluster.hosts[host].gpus)
    return cluster.lending(lent)


def _check_gang(job: JobInfo, start: Start) -> None:
    if not job.fewest <= len(start.workers) <= job.most:
        some = f"{job.workers}" if job.elastic is None else f"{job.fewest} to {job.most}"
        text = f"job {job.name}: {len(start.workers)} ranks; allowed: {some}, which it asked for"
        raise DecisionRefused("gang", text)


def _check_names(decision: Decision, queue: Mapping[int, JobInfo], at_work: Mapping[int, Running]) -> None:
    """Who is started waits, who is stopped or resized runs, and nobody is named twice."""
    seen: set[int] = set()
    by_kind: list[tuple[str, Sequence[Start | Stop], Mapping[int, object]]] = [("start", decision.starts, queue)]
    if decision.stops or decision.resizes:
        by_kind += [("stop", decision.stops, at_work), ("resize", decision.resizes, at_work)]
    for what, asked, there in by_kind:
        for one in asked:
            if one.job not in there or one.job in seen:
                raise DecisionRefused("name", _misnamed(what, one.job, queue, at_work))
            seen.add(one.job)
    if not (decision.memos or decision.left_ns):
        return
    for what, said in (("memo", decision.memos), ("left_ns", decision.left_ns)):
        for number in said:
            if number not in queue and number not in at_work:
                text = f"job number {number}: {what}: it is not there; allowed: a job that waits or runs"
                raise DecisionRefused("name", text)


def _misnamed(what: str, number: int, queue: Mapping[int, JobInfo], at_work: Mapping[int, Running]) -> str:
    """Why a job cannot be named there."""
    names = {number: job.name for number, job in queue.items()} | {n: r.job.name for n, r in at_work.items()}
    there, state = (queue, "waits") if what == "start" else (at_work, "runs")
    name = names.get(number, f"number {number}")
    if number in there:
        return f"job {name}: {what}: it is named twice; allowed: once in a decision"
    now = "runs already" if number in at_work else "waits" if number in queue else "is not there"
    some = ", ".join([names[other] for other in there][:_SHOWN]) or "none"
    more = ", ..." if len(there) > _SHOWN else ""
    return f"job {name}: {what}: it {now}; allowed: a job that {state} ({some}{more})"


def _check_server(job: JobInfo, start: Start) -> None:
    if job.own_servers and start.server is None:
        raise DecisionRefused("network", f"job {job.name}: no PS; allowed: a GPU for it, too")
    if not job.own_servers and start.server is not None:
        where = f"job {job.name}: its PS on host {start.server.host}"
        raise DecisionRefused("network", f"{where}; allowed: none, it has no PS")
    if len(start.servers) != job.own_servers:
        text = f"job {job.name}: {len(start.servers)} PSs; allowed: {job.own_servers}, which it asked for"
        raise DecisionRefused("network", text)


def check_gpus(cluster: Cluster, job: JobInfo, gpus: Sequence[Gpu], free: Collection[Gpu]) -> None:
    """DecisionRefused unless the job can have these GPUs, its workers' and then its PS's, where `free` ones are."""
    count = len(gpus) - job.own_servers
    workers, servers = gpus[:count], gpus[count:]
    if not workers:
        _refuse_nobody(job)
    if len(set(gpus)) < len(gpus) or not all(gpu in free for gpu in gpus):
        _refuse_gpus(cluster, job, gpus, workers, free)
    _check_where(cluster, job, workers, servers)


def _refuse_nobody(job: JobInfo) -> NoReturn:
    raise DecisionRefused("gang", f"job {job.name}: no rank; allowed: 1 or more")


def _check_where(cluster: Cluster, job: JobInfo, workers: Sequence[Gpu], servers: Sequence[Gpu]) -> None:
    """Whether the job can have GPUs there, be they free or not."""
    if job.kind.gpu_type:
        _check_type(cluster, job, workers)
    if job.has_server:
        _check_racks(cluster, job, workers, servers)
    if job.hosts is not None:
        _check_hosts(job, job.hosts, [gpu.host for gpu in (*workers, *servers)], len(workers))


def _check_hosts(job: JobInfo, allowed: Sequence[int], hosts: Sequence[int], workers: int) -> None:
    if _in_any_order(hosts, workers) != _in_any_order(allowed, workers):
        who_else = "ranks and PS" if job.own_servers else "ranks"
        text = f"job {job.name}: {who_else} on hosts {_numbers(hosts)}; allowed: {_numbers(allowed)}, as it asked for"
        raise DecisionRefused("hosts", text)


def _check_type(cluster: Cluster, job: JobInfo, workers: Sequence[Gpu]) -> None:
    for rank, gpu in enumerate(workers):
        found = cluster.hosts[gpu.host].gpu_type
        if found != job.kind.gpu_type:
            here = f"job {job.name}: rank {rank} on host {gpu.host}, whose GPUs are {found or 'of no type'}"
            raise DecisionRefused("type", f"{here}; allowed: {job.kind.gpu_type}")


def _refuse_gpus(
    cluster: Cluster, job: JobInfo, gpus: Sequence[Gpu], workers: Sequence[Gpu], free: Collection[Gpu]
) -> NoReturn:
    """Which GPU it is that the job cannot have, and why."""
    who = {gpu: f"rank {rank}" for rank, gpu in reversed([*enumerate(workers)])}
    for k, gpu in enumerate(gpus):
        me = "its PS" if k >= len(workers) else f"rank {k}"
        if not 0 <= gpu.host < len(cluster.hosts):
            raise DecisionRefused(
                "capacity", f"job {job.name}: {me} on host {gpu.host}; allowed: 0 to {len(cluster.hosts) - 1}"
            )
        if gpu.host in cluster.inference - cluster.lent:
            raise DecisionRefused(
                "capacity", f"job {job.name}: {me} on host {gpu.host}, which is not lent; allowed: one that is"
            )
        if gpu.host in cluster.down:
            raise DecisionRefused(
                "capacity", f"job {job.name}: {me} on host {gpu.host}, which is down; allowed: one that is up"
            )
        if gpu not in cluster.gpus:
            there = cluster.hosts[gpu.host].gpus
            raise DecisionRefused(
                "capacity", f"job {job.name}: {me} on GPU {gpu.gpu} of host {gpu.host}; allowed: 0 to {there - 1}"
            )
        if gpu in gpus[:k]:
            twice = f"{who[gpu]} and {me} on GPU {gpu.gpu} of host {gpu.host}"
            raise DecisionRefused("capacity", f"job {job.name}: {twice}; allowed: one on a GPU")
        if gpu not in free:
            left = ", ".join(str(other.gpu) for other in sorted(free) if other.host == gpu.host) or "none"
            where = f"GPU {gpu.gpu} of host {gpu.host}, which is another job's"
            raise DecisionRefused("capacity", f"job {job.name}: {me} on {where}; allowed there: {left}")
    raise AssertionError("all of these GPUs can be had")


def _in_any_order(hosts: Sequence[int], workers: int) -> list[int]:
    """Ranks may change places with each other, not with the PS."""
    return [*sorted(hosts[:workers]), *hosts[workers:]]


def _check_racks(cluster: Cluster, job: JobInfo, workers: Sequence[Gpu], servers: Sequence[Gpu]) -> None:
    """What switches can add: rack by rack, and the PS of several racks by itself. For a job with a PS."""
    runs = [(rack, len([*ranks])) for rack, ranks in groupby(cluster.rack_of(gpu) for gpu in workers)]
    racks = [rack for rack, _ in runs]
    of_servers = {cluster.rack_of(server) for server in servers}
    if job.needs_one_rack and {*racks, *of_servers} != {racks[0]}:
        raise DecisionRefused(
            "network", f"job {job.name}: hosts: {_no_one_server(job)}; allowed: in one rack, ranks and PSs"
        )
    if cluster.tiers > 2 and {*racks, *of_servers} != {racks[0]}:
        raise DecisionRefused("network", _not_one_rack(cluster, job))
    if len(set(racks)) < len(racks):
        raise DecisionRefused("network", f"job {job.name}: ranks in racks {_numbers(racks)}; allowed: rack by rack")
    for rack, ranks in runs:
        if ranks > MAX_FAN_IN:
            raise DecisionRefused("network", f"job {job.name}: {ranks} ranks in rack {rack}; allowed: {MAX_FAN_IN}")
    if len(racks) > MAX_FAN_IN:
        raise DecisionRefused("network", f"job {job.name}: ranks in {len(racks)} racks; allowed: {MAX_FAN_IN}")
    if len(racks) > 1 and job.aggregates and of_servers & set(racks):
        raise DecisionRefused(
            "network",
            f"job {job.name}: hosts: its PS, on host {servers[0].host}, is in a rack with workers of it; over several "
            f"racks it needs one without",
        )


def check_places(cluster: Cluster, jobs: Iterable[JobInfo]) -> None:
    """BadInput, one line, if a job could not start on an empty cluster."""
    for job in jobs:
        gpus = place(cluster, job, cluster.gpus)
        if gpus is None and cluster.tiers > 2 and job.has_server:
            raise BadInput(_not_one_rack(cluster, job))
        if gpus is None:
            most = max(host.gpus for host in cluster.hosts)
            each = f" of up to {most} GPUs" if most > 1 else ""
            rule = "over several racks the PS needs a rack without the job's workers"
            if job.needs_one_rack:
                rule = f"allowed: in one rack, with {_no_one_server(job)}"
            raise BadInput(
                f"job {job.name}: no place for {job.who} on {len(cluster.hosts)} hosts{each} in racks of "
                f"{_numbers(cluster.racks)}; {rule if job.has_server else f'allowed: {MAX_FAN_IN} in a rack'}"
            )
        check_gpus(cluster, job, gpus, cluster.gpus)


def _no_one_server(job: JobInfo) -> str:
    return f"{job.servers} PSs" if job.servers else "PSs on its workers' hosts"


def _not_one_rack(cluster: Cluster, job: JobInfo) -> str:
    return (
        f"job {job.name}: {job.who}, not all in one rack, on a network of "
        f"{cluster.tiers} tiers of switches; sums over several racks need a leaf-spine"
    )


def _numbers(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, numbers))
