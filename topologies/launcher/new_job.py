"""A new job for a switch: an id and rows that are free there, a window that its links can take."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Address

from pydantic import ValidationError

from controller import BadInput, Controller
from controller.job_files import explain
from esa.entries import pools
from esa.entries.admission import Applicant, check_share, needed_rows
from esa.entries.job_entries import InstalledJob
from esa.job import Job, Member
from esa.policy import policy
from esa.wire import ESA_PORT
from topologies.interfaces import QUEUE_BYTES

WORKER_PORT = ESA_PORT + 1
MAX_WINDOW: int = Job.model_fields["window"].default
HEADERS_BYTES = 100  # Ethernet, IP, UDP and ours: of a fragment, at most


def new_job(
    controller: Controller,
    name: str,
    policy_name: str,
    workers: Sequence[Member],
    server: Member,
    switch_ip: IPv4Address,
    window: int | None = None,
) -> Job:
    """A job that the controller's switch has room for. BadInput if it has none, or a member is wrong."""
    loaded = controller.switch.loaded
    jobs = controller.jobs()
    taken = {job.job for job in jobs}
    window = window or sensible_window(len(workers), loaded.lanes)
    if policy(policy_name).pool == "placed":
        coming = Applicant(name, needed_rows(window, len(workers)))
        check_share(coming, list(_seated(controller, jobs)), loaded.aggregators)
    claims = [pools.Claim(controller.name(job), job.policy.pool, job.pool) for job in jobs if job.pool is not None]
    pool = pools.allocate(name, policy(policy_name), window, claims, loaded.aggregators)
    try:
        return Job(
            name=name,
            job=next(number for number in range(1, 1 << 16) if number not in taken),
            policy=policy_name,
            lanes=loaded.lanes,
            workers=tuple(workers),
            server=server,
            switch_ip=switch_ip,
            pool=pool,
            window=window,
        )
    except ValidationError as error:
        raise BadInput(explain(error)) from None


def _seated(controller: Controller, jobs: Iterable[InstalledJob]) -> Iterator[Applicant]:
    """Jobs whose rows are placed, as far as their windows are known."""
    for job in jobs:
        saved = controller.saved(job)
        if saved is not None and job.policy.pool == "placed":
            yield Applicant(saved.name, needed_rows(saved.window, saved.fan_in))


def sensible_window(workers: int, lanes: int) -> int:
    """Fragments in flight per worker: as many as a link's queue holds when all workers' come to one PS."""
    return max(8, min(MAX_WINDOW, QUEUE_BYTES // (workers * (4 * lanes + HEADERS_BYTES))))


def unused(name: str, names: set[str]) -> str:
    """`name` as a job may be called, with a number where there is one already."""
    base = re.sub(r"[^A-Za-z0-9_.-]", "-", name).lstrip("_.-") or "job"
    return next(text for text in (base, *(f"{base}-{i}" for i in range(2, 1 << 16))) if text not in names)
