"""Aryl (arXiv 2202.07896; EuroSys 2023 as Lyra): servers that inference does not need are lent, jobs grow elastically.

Its abstract says: whole servers of an inference cluster are lent to training and reclaimed, with as few preempted jobs
as can be, by a greedy rule over a server preemption cost (`esa/cluster/reclaim.py`); GPUs are allocated to elastic jobs
by a multiple-choice knapsack whose values are reductions of JCT (`esa/cluster/knapsack.py`). What it does not say is
this project's reading, and a rule of `ArylRules` where readings differ:

1. All servers that are offered are lent. Those that are wanted back are chosen, and their jobs stopped.
2. Base demand, that is the fewest workers of every waiting job, elastic or not: the shortest first, by what is left at
   that width. Flexible workers give way.
3. Flexible demand: item k of an elastic job is k workers more, worth what they save of its remaining time; all of
   them are dealt out anew, and who keeps its number keeps its GPUs.
4. Places, the widest job first, by the cluster's packing (Aryl's is best fit): base demand on the cluster's own hosts,
   else on lent ones; flexible demand on lent ones, else on own ones, so that reclaiming meets flexible workers first.

What more workers save is asked of `times`, for the job alone on as few hosts as can be. A job that asks for a type of
GPU that lent servers do not have stays on the cluster's own. A variant that knows of the network (`asks`) gives workers
the places of which `times` says that the fewest GPUs wait for sums (`asking.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from esa.cluster.inventory import Cluster, Gpu
from esa.cluster.packing import on_whole_hosts
from esa.cluster.policies.asking import Asking
from esa.cluster.policies.room import Room, Share
from esa.cluster.reclaim import SHARES, VICTIMS, Occupant, reclaim
from esa.cluster.scheduler import Decision, JobInfo, Resize, Running, Start, Stop, elastic_jobs, free_gpus
from esa.cluster.times import Times
from esa.errors import BadInput

if TYPE_CHECKING:  # it brings Numba along
    from esa.cluster.knapsack import Group

ORDERS = ("shortest", "submission")


@dataclass(frozen=True)
class ArylRules:
    """loaning, scaling: whether servers are lent, and jobs grow; without one of them it is a variant of the paper's,
    without both shortest job first.

    victims, share, trim: of `reclaim`. order: of base demand; backfill: who fits overtakes who does not. charged: what
    a change of the number of workers costs is taken off its value. asks: where workers go is asked of `times`; else
    packing alone decides. BadInput.
    """

    loaning: bool = True
    scaling: bool = True
    victims: str = "preemption_cost"
    share: str = "gpus"
    trim: bool = False
    order: str = "shortest"
    backfill: bool = True
    charged: bool = False
    asks: bool = False

    def __post_init__(self) -> None:
        for name, value, allowed in (
            ("victims", self.victims, VICTIMS),
            ("share", self.share, SHARES),
            ("order", self.order, ORDERS),
        ):
            if value not in allowed:
                raise BadInput(f"{name}: unknown rule '{value}'; allowed: {', '.join(allowed)}")


_MOST_CURVES = 10_000


class Aryl:
    """The scheduler with these rules."""

    def __init__(self, rules: ArylRules | None = None) -> None:
        self.rules = rules or ArylRules()
        # What iterations take by number of workers: answers of `times`, which are kept with whom they were asked for.
        self._curves: dict[tuple[int, int, int, tuple[int, int], int], tuple[object, object, list[float]]] = {}

    def __call__(
        self, now_ns: int, cluster: Cluster, waiting: Sequence[JobInfo], running: Sequence[Running], times: Times
    ) -> Decision:
        """To be asked at a tick: values and offers change by themselves."""
        rules = self.rules
        elastic = [*elastic_jobs(running)] if rules.scaling else []
        lends = rules.loaning and cluster.offered != len(cluster.lent)
        if not (waiting or elastic or lends):
            return Decision(until_news=True)
        room = Room(cluster, free_gpus(cluster, running), elastic)
        lent, stopped = self._lend(cluster, running, room) if lends else (None, list[Running]())
        elastic = [one for one in elastic if one.job.number in room.base]
        starting = self._bases(waiting, room, cluster.max_jobs - len(running) + len(stopped))
        left = room.whole
        for _, share in starting:
            left -= share
        growing = [one.job for one in elastic]
        growing += [job for job, _ in starting if rules.scaling and job.elastic is not None]
        extra, content = self._extra(cluster, growing, room, left, times)
        there = [one for one in running if one not in stopped] if rules.asks else ()
        places = _deal(room, starting, growing, extra, Asking(cluster, room, there, times) if rules.asks else room)
        return Decision(
            starts=tuple(Start(job.number, tuple(places[job.number]), None) for job, _ in starting),
            stops=tuple(Stop(one.job.number) for one in stopped),
            resizes=tuple(_resizes(elastic, room)),
            lent=lent,
            until_news=content and not stopped,
        )

    def _lend(
        self, cluster: Cluster, running: Sequence[Running], room: Room
    ) -> tuple[frozenset[int] | None, list[Running]]:
        """Hosts that are lent from now on, and jobs that stop."""
        more = cluster.offered - len(cluster.lent)
        if more > 0:
            opened = sorted(cluster.inference - cluster.lent)[:more]
            for host in opened:
                room.free.open(host, cluster.hosts[host].gpus)
            return cluster.lent.union(opened), []
        there = [one for one in running if any(gpu.host in cluster.lent for gpu in one.workers)]
        rules = self.rules
        occupants = {one.job.number: _occupant(one) for one in there}
        found = reclaim(cluster.lent, occupants, -more, rules.victims, share=rules.share, trim=rules.trim)
        stopped = [one for one in there if one.job.number in found.victims]
        for one in stopped:
            room.stop(one)
        room.vacate(found.hosts)
        return cluster.lent - found.hosts, stopped

    def _bases(self, waiting: Iterable[JobInfo], room: Room, most: int) -> list[tuple[JobInfo, Share]]:
        """Who starts, on how many GPUs of each pool."""
        left = room.whole
        chosen: list[tuple[JobInfo, Share]] = []
        if not (most and any(left)):
            return chosen
        for job in sorted(waiting, key=_shortest) if self.rules.order == "shortest" else waiting:
            share = _share(job.fewest, left, room.anywhere(job))
            if share is not None:
                chosen.append((job, share))
                left -= share
                if len(chosen) == most or not any(left):
                    break
            elif not self.rules.backfill:
                break
        return chosen

    def _extra(
        self, cluster: Cluster, jobs: Sequence[JobInfo], room: Room, left: Share, times: Times
    ) -> tuple[dict[int, int], bool]:
        """Flexible workers by job, and whether everybody has as many as he wants: then it stays so."""
        from esa.cluster.knapsack import choose_in_two, dearest

        each = max(host.gpus for host in cluster.hosts)
        numbers: list[list[int]] = [[], []]
        groups: list[list[Group]] = [[], []]
        for job in jobs:
            held = room.flexible.get(job.number)
            anywhere = room.anywhere(job)
            numbers[anywhere].append(job.number)
            groups[anywhere].append(self._items(job, None if held is None else len(held), each, times))
        chosen = choose_in_two(groups[False], groups[True], left.own, left.lent)
        content = all([*chosen[k]] == dearest(groups[k]) for k in (0, 1))
        return {number: item for k in (0, 1) for number, item in zip(numbers[k], chosen[k], strict=True)}, content

    def _items(self, job: JobInfo, held: int | None, each: int, times: Times) -> Group:
        """Item k: k workers more, and the seconds that they save. held: now; None: the job only starts."""
        curve = self._curve(job, each, times)
        items = [(k, job.left * (curve[0] - curve[k])) for k in range(1, len(curve))]
        if not self.rules.charged or held is None:
            return items
        cost_s = job.kind.costs.rescale_ns / 1e9  # taken off every number but the present one
        if not held:
            return [(k, value - cost_s) for k, value in items]
        return [(k, value + cost_s if k == held else value) for k, value in items]

    def _curve(self, job: JobInfo, each: int, times: Times) -> list[float]:
        """Seconds of an iteration, alone, on as many workers as it needs, one more, and so on."""
        assert job.elastic is not None
        key = (id(times), id(job.kind), job.iteration_ns * job.workers, job.elastic, each)
        found = self._curves.get(key)
        if found is None:
            if len(self._curves) == _MOST_CURVES:
                self._curves.clear()
            widths = range(job.fewest, job.most + 1)
            curve = [times([job.asked(on_whole_hosts(each, width))])[0].iteration_s for width in widths]
            found = self._curves[key] = (times, job.kind, curve)
        return found[2]


def _deal(
    room: Room,
    starting: Sequence[tuple[JobInfo, Share]],
    growing: Sequence[JobInfo],
    extra: dict[int, int],
    chosen: Room | Asking,
) -> dict[int, list[Gpu]]:
    """GPUs of those that start; `room` has those of the others' flexible workers. extra: flexible workers by job.
    chosen: by whom, of what `room` has free.
    """
    for job in growing:
        if len(room.flexible.get(job.number, ())) > extra[job.number]:
            room.shrink(job.number, extra[job.number])
    places = {job.number: chosen.start(job, share) for job, share in sorted(starting, key=_widest)}
    for job in sorted(growing, key=lambda job: (room.anywhere(job), -extra[job.number], job.number)):
        held = room.flexible.get(job.number)
        missing = extra[job.number] - len(held or ())
        if not missing:
            continue
        more = chosen.extend(job, missing)
        if held is None:
            places[job.number] += more
        else:
            room.flexible[job.number] = held + more
    return places


def _resizes(elastic: Iterable[Running], room: Room) -> Iterator[Resize]:
    for one in elastic:
        workers = (*room.base[one.job.number], *room.flexible[one.job.number])
        if workers != one.workers:
            yield Resize(one.job.number, workers, None)


def _occupant(one: Running) -> Occupant:
    base: dict[int, int] = {}
    flexible: dict[int, int] = {}
    for rank, gpu in enumerate(one.workers):
        some = base if rank < one.job.fewest else flexible
        some[gpu.host] = some.get(gpu.host, 0) + 1
    return Occupant(base, flexible, one.job.submit_ns)


def _share(need: int, left: Share, anywhere: bool) -> Share | None:
    """So many GPUs, of one pool if it has them, the own one first."""
    if need <= left.own:
        return Share(need, 0)
    if not anywhere or need > left.own + left.lent:
        return None
    return Share(0, need) if need <= left.lent else Share(left.own, need - left.own)


def _shortest(job: JobInfo) -> tuple[int, int, int, int]:
    """What is left of it with as many workers as it needs, then as `in_order.shortest`."""
    return job.left * job.iteration_ns * job.workers // job.fewest, job.left, job.submit_ns, job.number


def _widest(base: tuple[JobInfo, Share]) -> tuple[int, int]:
    return -base[0].fewest, base[0].number


VARIANTS = {
    "aryl": ArylRules(),
    "aryl-loaning": ArylRules(scaling=False),
    "aryl-scaling": ArylRules(loaning=False),
    "aryl-neither": ArylRules(loaning=False, scaling=False),
    "aryl-network": ArylRules(asks=True),
}
