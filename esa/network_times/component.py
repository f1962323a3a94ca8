"""Jobs that influence each other, by themselves, under names that do not depend on who they are.

    for part in components(jobs, network, racks):
        part.jobs       # which of `jobs`, in the order of the members
        part.component  # the question, equal for all jobs that are placed alike

Two jobs are connected if they share a host, a rack's cable to the spine, or a switch that adds for both. What is not
connected is asked for apart, so it cannot matter. Within a component hosts, racks and jobs are numbered in an order
that what they are called has no part in, so that an answer found once is found again whatever the names.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import NamedTuple

from esa.network_times.network import Network

_ROUNDS = 4  # of refinement: each looks one job further


class Member(NamedTuple):
    """A job of a component.

    compute_ns: of an iteration, of a rank; before_ns: of it, in passes before the last one
    service:    logarithm to the base 4 of the seconds of computing that are left, rounded; None: not known
    hosts:      (number, ranks there), rack by rack, in the order of the ranks
    """

    model: str
    compute_ns: int
    before_ns: int
    service: int | None
    hosts: tuple[tuple[int, int], ...]

    @property
    def ranks(self) -> int:
        return sum(ranks for _, ranks in self.hosts)

    @property
    def service_s(self) -> float | None:
        """Seconds that are left, in steps of a factor of 4: a sixteenth of the range of priorities."""
        return None if self.service is None else 4.0**self.service


class Component(NamedTuple):
    """racks: of its hosts, by number."""

    racks: tuple[int, ...]
    members: tuple[Member, ...]

    def racks_of(self, member: Member) -> tuple[int, ...]:
        """Without repeats, in the order of its ranks."""
        return tuple(dict.fromkeys(self.racks[host] for host, _ in member.hosts))


class Part(NamedTuple):
    jobs: tuple[int, ...]
    component: Component


def service_of(left_ns: int) -> int | None:
    return round(math.log(left_ns / 1e9, 4)) if left_ns > 0 else None


def components(members: Sequence[Member], network: Network, racks: Sequence[int]) -> list[Part]:
    """The components of jobs whose hosts are the cluster's. racks: by host of the cluster."""
    members = [_rack_by_rack(member, racks) for member in members]
    parent = list(range(len(members)))

    def root(job: int) -> int:
        while parent[job] != job:
            parent[job] = parent[parent[job]]
            job = parent[job]
        return job

    first: dict[Hashable, int] = {}
    for job, member in enumerate(members):
        for resource in _shared(member, network, racks):
            other = first.setdefault(resource, job)
            parent[root(job)] = root(other)
    together: dict[int, list[int]] = {}
    for job in range(len(members)):
        together.setdefault(root(job), []).append(job)
    return [_canonical(jobs, [members[job] for job in jobs], racks) for jobs in together.values()]


def _rack_by_rack(member: Member, racks: Sequence[int]) -> Member:
    order = [*dict.fromkeys(racks[host] for host, _ in member.hosts)]
    return member._replace(hosts=tuple(sorted(member.hosts, key=lambda at: order.index(racks[at[0]]))))


def _shared(member: Member, network: Network, racks: Sequence[int]) -> list[Hashable]:
    """What others may use, too."""
    mine = {racks[host] for host, _ in member.hosts}
    shared: list[Hashable] = [("host", host) for host, _ in member.hosts]
    if len(mine) > 1:
        shared += [("cable", rack) for rack in mine]
    if network.has_rows:
        shared += [("switch", rack) for rack in mine]
        if len(mine) > 1:
            shared.append("spine")
    return shared


def _canonical(jobs: Sequence[int], members: Sequence[Member], racks: Sequence[int]) -> Part:
    """Jobs in the order of what can be seen of them; hosts and racks in that in which they come up."""
    order = sorted(range(len(members)), key=_colours(members, racks).__getitem__)
    hosts: dict[int, int] = {}
    for job in order:
        for host, _ in members[job].hosts:
            hosts.setdefault(host, len(hosts))
    rack: dict[int, int] = {}
    for host in hosts:
        rack.setdefault(racks[host], len(rack))
    renamed = tuple(
        members[job]._replace(hosts=tuple((hosts[host], ranks) for host, ranks in members[job].hosts)) for job in order
    )
    return Part(tuple(jobs[job] for job in order), Component(tuple(rack[racks[host]] for host in hosts), renamed))


def _colours(members: Sequence[Member], racks: Sequence[int]) -> list[tuple[int, ...]]:
    """By job, what can be seen of it and its neighbours (Weisfeiler and Leman's refinement), then ties one by one.

    A tie is broken by whoever is first; where jobs that tie can be exchanged for each other that makes no difference.
    """
    plain = [(m.model, m.compute_ns, m.before_ns, m.service or 0, m.service is None, m.ranks) for m in members]
    patterns = [tuple(ranks for _, ranks in member.hosts) for member in members]
    jobs = _ranked([*zip(plain, patterns, strict=True)])
    while True:
        jobs = _refined(jobs, members, racks)
        ties = [job for job in range(len(jobs)) if jobs.count(jobs[job]) > 1]
        if not ties:
            return [(colour,) for colour in jobs]
        chosen = min(ties, key=lambda job: jobs[job])
        jobs = [2 * colour + (job != chosen) for job, colour in enumerate(jobs)]


def _refined(jobs: list[int], members: Sequence[Member], racks: Sequence[int]) -> list[int]:
    """Colours of jobs that tell more of them apart: by whom they meet on which host, and in which rack."""
    for _ in range(_ROUNDS):
        on_host: dict[int, list[tuple[int, int]]] = {}
        for job, member in enumerate(members):
            for place, (host, _) in enumerate(member.hosts):
                on_host.setdefault(host, []).append((jobs[job], place))
        hosts = {host: tuple(sorted(there)) for host, there in on_host.items()}
        in_rack: dict[int, list[Hashable]] = {}
        for host, there in hosts.items():
            in_rack.setdefault(racks[host], []).append(there)
        rack = {number: tuple(sorted(there)) for number, there in in_rack.items()}  # type: ignore[type-var]
        seen = [
            (jobs[job], tuple((hosts[host], rack[racks[host]], _same(racks, member, host)) for host, _ in member.hosts))
            for job, member in enumerate(members)
        ]
        jobs = _ranked(seen)
    return jobs


def _same(racks: Sequence[int], member: Member, host: int) -> int:
    """Which of a job's racks a host is in, counted from its first."""
    return [*dict.fromkeys(racks[other] for other, _ in member.hosts)].index(racks[host])


def _ranked(values: Sequence[Hashable]) -> list[int]:
    """Each by its place among the different ones."""
    place = {value: k for k, value in enumerate(sorted(set(values)))}  # type: ignore[type-var]
    return [place[value] for value in values]
