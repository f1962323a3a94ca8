"""`times` of a cluster with a network: the question of `esa/cluster/times.py`, answered at level 1, 2 or 3.

    times = NetworkTimes(Network("esa", rows=512), racks=[0, 0, 1, 1], level="flows")
    answers = times([job.asked(hosts), other.asked(hosts)])

Jobs on one host, and those of which nothing but computing is known, need no network: they get the answer of level 0,
and say so. The others are asked for component by component; with `most_jobs` those of more jobs are answered by flows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from esa.cluster.times import COMPUTING, LEVELS, Answer, Asked
from esa.errors import BadInput
from esa.job import MAX_FAN_IN
from esa.network_times import flows
from esa.network_times.component import Component, Member, components, service_of
from esa.network_times.flows import answer_by_flows
from esa.network_times.formula import answer_by_formula
from esa.network_times.kept import Kept
from esa.network_times.network import RING, Network
from esa.network_times.training import parts_of

NETWORK_LEVELS = LEVELS[1:]
_REMEMBERED = 100_000  # components


class NetworkTimes:
    """racks: by host. level: of `NETWORK_LEVELS`. most_jobs: of a component that is answered by packets; folder: where
    answers are kept, in place of the code's own. `reckoned`: components that were not kept.
    """

    isolated = False

    def __init__(
        self,
        network: Network,
        racks: Sequence[int],
        *,
        level: str = "flows",
        most_jobs: int | None = None,
        folder: Path | None = None,
    ) -> None:
        if level not in NETWORK_LEVELS:
            raise BadInput(f"level: unknown level '{level}'; allowed: {', '.join(NETWORK_LEVELS)}")
        self._network = network
        self._racks = tuple(racks)
        self._level = LEVELS.index(level)
        self._most_jobs = most_jobs
        self._folder = folder
        self._kept: dict[int, Kept] = {}
        self._known: dict[Component, list[Answer]] = {}

    @property
    def reckoned(self) -> int:
        return sum(kept.reckoned for kept in self._kept.values())

    def __call__(self, running: Sequence[Asked], /) -> Sequence[Answer]:
        """BadInput, one line, for a model that is not known, and for more ranks in a rack than switches can add."""
        answers = [*COMPUTING(running)]
        networked = [k for k, asked in enumerate(running) if asked.model and len({h for h, _ in asked.hosts}) > 1]
        members = [self._member(running[k]) for k in networked]
        for part in components(members, self._network, self._racks):
            for member, answer in zip(part.jobs, self._answers(part.component), strict=True):
                answers[networked[member]] = answer
        return answers

    def _member(self, asked: Asked) -> Member:
        parts_of(asked.model)
        compute_ns = max(1, round(asked.gpu_ns / asked.workers))
        there = Counter[int]()  # ranks of a host are beside each other, in whatever order it got its GPUs
        for host, some in asked.hosts:
            there[host] += some
        hosts = tuple((host, 1 if self._network.local_sums else some) for host, some in there.items())
        if self._network.policy != RING:
            ranks = Counter[int]()
            for host, some in hosts:
                ranks[self._racks[host]] += some
            rack, most = max(ranks.items(), key=lambda found: found[1])
            if most > MAX_FAN_IN:
                raise BadInput(f"job number {asked.job}: {most} ranks in rack {rack}; allowed: {MAX_FAN_IN} in a rack")
        told = self._level > 1 and self._network.policy == "esa"  # where priorities count
        return Member(
            asked.model,
            compute_ns,
            compute_ns * asked.additions // (asked.additions + 1),
            service_of(asked.left_ns) if told else None,
            hosts,
        )

    def _answers(self, component: Component) -> list[Answer]:
        found = self._known.get(component)
        if found is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            found = self._known[component] = self._found(component)
        return found

    def _found(self, component: Component) -> list[Answer]:
        if self._level == 1:
            return answer_by_formula(component, self._network)
        if self._level == 3 and (self._most_jobs is None or len(component.members) <= self._most_jobs):
            from esa.network_times import packets  # brings the simulator, which the other levels have no use for

            return self._keeper(3, packets.__file__).answers(component, self._network, packets.answer_by_packets)
        return self._keeper(2, flows.__file__).answers(component, self._network, answer_by_flows)

    def _keeper(self, level: int, source: str) -> Kept:
        if level not in self._kept:
            self._kept[level] = Kept(level, Path(source), self._folder)
        return self._kept[level]
