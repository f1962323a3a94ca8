"""What a job file may not say: whichever switch it is for, and beside the jobs of one."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from esa.entries.job_entries import InstalledJob
from esa.errors import BadInput
from esa.job import Job, Member


def members_by_name(job: Job) -> list[tuple[str, Member]]:
    """A job's end hosts, and what errors call them."""
    servers = [(f"PS {number}" if job.more_servers else "the PS", server) for number, server in enumerate(job.servers)]
    return [(f"rank {rank}", member) for rank, member in enumerate(job.workers)] + servers


def check_members(job: Job) -> None:
    """Raise BadInput for two members with one address, which could speak for each other, or one host on two ports."""
    seen: dict[tuple[int, int, int], str] = {}
    ports: dict[str, int] = {}
    for who, member in members_by_name(job):
        address = (member.switch_port, int(member.ip), member.udp_port)
        if address in seen:
            raise BadInput(
                f"workers: job {job.name}: {who} and {seen[address]} have the same address"
                f" {member.ip}:{member.udp_port} on port {member.switch_port}"
            )
        seen[address] = who
        if ports.setdefault(member.mac, member.switch_port) != member.switch_port:
            raise BadInput(f"switch_port: job {job.name}: host {member.mac} is on two ports")


def check_free(job: Job, installed: Iterable[InstalledJob], name: Callable[[InstalledJob], str]) -> None:
    """Raise BadInput if one of the jobs `installed` has the job's number or its name."""
    for other in installed:
        if other.job == job.job:
            raise BadInput(f"job: {job.job} is in the switch already as {name(other)} (epoch {other.epoch})")
        if name(other) == job.name:
            raise BadInput(f"name: '{job.name}' is in the switch already as job {other.job}")
