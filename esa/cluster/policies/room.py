"""GPUs that are dealt out anew: those that are free, and those of flexible workers, which give way to who needs them.

A job's first workers, as many as it needs, are its base and stay where they are; the others are flexible. There are
two pools: the cluster's own hosts, and those that are lent.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple

from esa.cluster.free import Free
from esa.cluster.inventory import Cluster, Gpu
from esa.cluster.packing import PACKINGS, Packing, best_fit
from esa.cluster.scheduler import JobInfo, Running


class Share(NamedTuple):
    """GPUs of the cluster's own hosts, and of lent ones."""

    own: int
    lent: int

    def __sub__(self, other: Share) -> Share:
        return Share(self.own - other.own, self.lent - other.lent)


class Room:
    """base, flexible: GPUs by job, of those that are elastic and run. free: nobody's; changed as GPUs are taken."""

    def __init__(self, cluster: Cluster, free: Free, elastic: Iterable[Running]) -> None:
        self.free = free
        self.base: dict[int, tuple[Gpu, ...]] = {}
        self.flexible: dict[int, list[Gpu]] = {}
        self._cluster = cluster
        self._packing = PACKINGS.get(cluster.placement, best_fit)
        self._own_alone: set[int] = set()  # jobs that cannot run on lent hosts
        self._types = {cluster.hosts[host].gpu_type for host in cluster.inference}
        for one in elastic:
            self.base[one.job.number] = one.workers[: one.job.fewest]
            self.flexible[one.job.number] = [*one.workers[one.job.fewest :]]
            if not self.anywhere(one.job):
                self._own_alone.add(one.job.number)

    def anywhere(self, job: JobInfo) -> bool:
        """Whether a job can run on lent hosts, too."""
        return not job.kind.gpu_type or self._types == {job.kind.gpu_type}

    @property
    def whole(self) -> Share:
        """All that can be dealt out."""
        lent = sum(self.free.counts[host] for host in self._cluster.inference)
        lent += sum(gpu.host in self._cluster.inference for gpus in self.flexible.values() for gpu in gpus)
        total = self.free.total + sum(map(len, self.flexible.values()))
        return Share(total - lent, lent)

    def stop(self, one: Running) -> None:
        """A job leaves, before anything else is dealt out: all its GPUs are free."""
        self.free.give(one.workers)
        self.flexible.pop(one.job.number, None)
        self.base.pop(one.job.number, None)

    def vacate(self, hosts: Collection[int]) -> None:
        """Hosts are given back: flexible workers leave them, nobody can have them."""
        for number, gpus in self.flexible.items():
            self._release(number, [gpu for gpu in gpus if gpu.host in hosts])
        for host in hosts:
            self.free.close(host)

    def shrink(self, number: int, count: int) -> None:
        """A job keeps `count` flexible workers at most; on own hosts they leave first."""
        gpus = self.flexible[number]
        inference = self._cluster.inference
        order = sorted(range(len(gpus)), key=lambda k: (gpus[k].host in inference, -k))
        self._release(number, [gpus[k] for k in order[: max(0, len(gpus) - count)]])

    def take(self, share: Share, keep: Collection[int] = (), packing: Packing | None = None) -> list[Gpu]:
        """So many of each pool, taken from flexible workers where none is free, but not from those of `keep`. packing:
        in place of the cluster's.
        """
        packing = packing or self._packing
        taken: list[Gpu] = []
        for lent, count in enumerate(share):
            if not count:
                continue
            while sum(self._counts(bool(lent))) < count:
                self._evict(bool(lent), keep)
            for host, some in packing(self._cluster, self._counts(bool(lent)), count):
                gpus = self.free.first(host, some)
                self.free.take(gpus)
                taken += gpus
        return taken

    def start(self, job: JobInfo, share: Share) -> list[Gpu]:
        """GPUs for base demand."""
        return self.take(share)

    def extend(self, job: JobInfo, count: int, packing: Packing | None = None, *, own_first: bool = False) -> list[Gpu]:
        """GPUs for so many flexible workers more: lent ones first, for who can run there. own_first: the other way."""
        if not self.anywhere(job):
            return self.take(Share(count, 0), self._own_alone, packing)
        first = min(count, sum(self._counts(lent=not own_first)))
        return self.take(Share(first, count - first) if own_first else Share(count - first, first), packing=packing)

    def _counts(self, lent: bool) -> list[int]:
        """Free GPUs by host, of one pool."""
        inference = self._cluster.inference
        return [count if (host in inference) == lent else 0 for host, count in enumerate(self.free.counts)]

    def _evict(self, lent: bool, keep: Collection[int]) -> None:
        """One flexible worker leaves a pool: of the job that came last, of those that can run anywhere first."""
        inference = self._cluster.inference
        for number in sorted(self.flexible, key=lambda number: (number in self._own_alone, -number)):
            there = [gpu for gpu in self.flexible[number] if (gpu.host in inference) == lent]
            if there and number not in keep:
                self._release(number, there[-1:])
                return
        raise AssertionError("more GPUs were dealt out than there are")

    def _release(self, number: int, gpus: list[Gpu]) -> None:
        if gpus:
            self.flexible[number] = [gpu for gpu in self.flexible[number] if gpu not in gpus]
            self.free.give(gpus)
