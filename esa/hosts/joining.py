"""Joining a job: which of its workers this process is, and waiting until the run starts.

with join(Job.load("job.json")) as worker:
    worker.all_reduce(lanes, priority=128).result()
"""

from __future__ import annotations

import errno
import os
import socket
from contextlib import closing, suppress

from esa import log
from esa.coordination import Cannot, Hello
from esa.errors import JoinError
from esa.hosts.membership import JOIN_TIMEOUT_S, Membership, coordinator_address, tell
from esa.hosts.warm import say_compiling, warm
from esa.hosts.worker import WorkerEndpoint, open_worker_socket
from esa.job import Job
from esa.net import open_udp_socket
from esa.net.impairment import LinkFaults
from esa.protocol import Timers

METRICS_VARIABLE = "ESA_METRICS"  # where a process offers its workers' metrics; see `esa.hosts.metrics`


def join(
    job: Job,
    controller: str | None = None,
    *,
    rank: int | None = None,
    size: int | None = None,
    timeout_s: float = JOIN_TIMEOUT_S,
    faults: LinkFaults | None = None,
    timers: Timers | None = None,
) -> WorkerEndpoint:
    """Take part in the job's next run, as the worker whose address this host has; return once all have come.

    controller: where runs are started, HOST:PORT or unix:PATH; by default what ESA_CONTROLLER says. rank, size: of this
    process in the program's own numbering, such as PyTorch's; any order will do, but the size has to be the job's.
    JoinError says in one line what does not agree between the members, their PS and the switch, or who did not come.
    """
    log.begin()
    if os.environ.get(METRICS_VARIABLE):
        from esa.hosts import metrics

        metrics.serve_workers()
    address = coordinator_address(controller)
    try:
        member, sock = own_place(job, rank)
    except JoinError as error:
        tell(address, Cannot(job=job, why=str(error)))
        raise
    try:
        warm(say_compiling)  # before the others wait for this one
        hello = Hello(job=job, member=member, rank=rank, size=size)
        membership = Membership.join(address, hello, timeout_s)
    except BaseException:
        sock.close()
        raise
    try:
        run = membership.run
        worker = WorkerEndpoint(run, member, sock=sock, membership=membership, timers=timers, faults=faults)
        if os.environ.get(METRICS_VARIABLE):
            metrics.add(worker)
        return worker
    except BaseException as error:
        membership.leave(ok=False, why=f"{type(error).__name__}: {error}")
        membership.close()
        sock.close()
        raise


def own_place(job: Job, rank: int | None = None) -> tuple[int, socket.socket]:
    """Return which worker of the job this process is, and its socket: one whose address is this host's and is free.

    Of several on this host the `rank`-th worker comes first, then those in the order of the job. JoinError if none is.
    """
    here = [place for place, worker in enumerate(job.workers) if _is_local(str(worker.ip))]
    if rank in here:
        here = [rank, *(place for place in here if place != rank)]
    taken = []
    for place in here:
        worker = job.workers[place]
        try:
            return place, open_worker_socket(job, place)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            taken.append(f"{worker.ip}:{worker.udp_port}")
    if taken:
        raise JoinError(
            f"job {job.name}: {', '.join(taken)} {'is' if len(taken) == 1 else 'are'} in use on this host: "
            "another rank, or one of an earlier run that has not ended"
        )
    addresses = ", ".join(dict.fromkeys(str(worker.ip) for worker in job.workers))
    raise JoinError(f"job {job.name}: none of its workers' addresses ({addresses}) is this host's")


def own_server(job: Job) -> int:
    """Return which PS of the job this process is: of several the first whose address is this host's and is free.

    JoinError if none is.
    """
    if not job.more_servers:
        return 0
    for number, server in enumerate(job.servers):
        if _is_local(str(server.ip)):
            with suppress(OSError), closing(open_udp_socket((str(server.ip), server.udp_port))):
                return number
    addresses = ", ".join(str(server.ip) for server in job.servers)
    raise JoinError(f"job {job.name}: none of its PSs' addresses ({addresses}) is this host's, and free")


def _is_local(ip: str) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, suppress(OSError):
        probe.bind((ip, 0))
        return True
    return False
