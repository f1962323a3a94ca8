"""Jobs on the switches of a leaf-spine network, under one control plane; what each switch gets: `esa/entries/tiers.py`.

    with NetworkController(graph, connect, lanes=64) as network:
        network.add_job(job)
        with NetworkCoordinator(network) as coordinator:
            coordinator.serve("unix:/tmp/runs")

`Controller` keeps nothing: its one switch shows which jobs there are. Of several switches none shows that, and what a
restarted one held the others do not. So this one remembers, loads the program itself, and is alone: a second one of
the same switches would undo what the first does.
"""

from __future__ import annotations

import secrets
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from types import TracebackType

from controller.client import Switch
from controller.coordinator import Coordinator
from controller.job_checks import check_members
from controller.keeper import Item, Keeper
from controller.run_control import RunControl
from controller.runs import FIRST_EPOCHS
from esa.entries import job_entries as e
from esa.entries import pools
from esa.entries.job_entries import InstalledJob
from esa.entries.tiers import LeafSpine, forwarding_items, job_items
from esa.errors import BadInput, Refused
from esa.fabric import Graph
from esa.job import MAX_EPOCH, Job
from esa.policy import policy
from esa.program import program


@dataclass(frozen=True)
class _Added:
    """A job, its counters' index on every switch, and its present run."""

    job: Job
    index: int
    epoch: int

    @property
    def installed(self) -> InstalledJob:
        """The job as it would be on one switch that everybody is behind."""
        job = self.job
        bare = InstalledJob(
            job.job, self.epoch, self.index, policy("ps"), None, None, job.workers, job.server, job.switch_ip
        )
        bare = replace(bare, more_servers=job.more_servers)
        return bare.under(policy(job.policy), job.pool, job.row_ttl_us)

    @property
    def claim(self) -> pools.Claim:
        return pools.Claim(self.job.name, policy(self.job.policy).pool, self.job.pool)


class NetworkController:
    """The control plane of all switches of a leaf-spine network. BadInput if the graph is another network.

    connect: by switch, in the order of `graph.switches`, as `Keeper` takes it. say: told in words what was found and
    done on the switches.
    """

    def __init__(
        self,
        graph: Graph,
        connect: Sequence[Callable[[float], Switch]],
        *,
        lanes: int = 64,
        say: Callable[[str], None] | None = None,
    ) -> None:
        try:
            self._rows = program(lanes).aggregators
        except ValueError as error:
            raise BadInput(str(error)) from None
        self.lanes = lanes
        self._network = LeafSpine(graph)
        self._forwarding = forwarding_items(graph)
        nodes = [graph.nodes[switch] for switch in graph.switches]
        self._keepers = {node.ip: Keeper(node.name, way, lanes, say) for node, way in zip(nodes, connect, strict=True)}
        self._lock = threading.RLock()  # guards what follows
        self._jobs: dict[int, _Added] = {}
        self._newest: dict[IPv4Address, dict[int, int]] = {node.ip: {} for node in nodes}  # epochs, by job

    @property
    def address(self) -> str:
        return ", ".join(keeper.name for keeper in self._keepers.values())

    @property
    def keepers(self) -> Mapping[str, Keeper]:
        """By the switch's name, racks first."""
        return {keeper.name: keeper for keeper in self._keepers.values()}

    def __enter__(self) -> NetworkController:
        """Load the program on every switch. SwitchError if one does not take it."""
        self._hold(self._held({}))
        try:
            with ThreadPoolExecutor(len(self._keepers)) as side_by_side:
                list(side_by_side.map(Keeper.start, self._keepers.values()))
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Leave the switches as they are."""
        for keeper in self._keepers.values():
            keeper.close()

    # Jobs

    def jobs(self) -> list[InstalledJob]:
        """Return the jobs, by id."""
        with self._lock:
            return [self._jobs[number].installed for number in sorted(self._jobs)]

    def saved(self, job: InstalledJob) -> Job | None:
        with self._lock:
            return self._jobs[job.job].job if job.job in self._jobs else None

    def add_job(self, job: Job) -> InstalledJob:
        """Give a job its entries on every switch of its way, and its first run.

        BadInput if it is not where it says, cannot be spread so, or takes what another has.
        """
        with self._lock:
            if job.lanes != self.lanes:
                raise BadInput(
                    f"lanes: job {job.name} has {job.lanes} lanes, the switches run the {self.lanes}-lane build"
                )
            check_members(job)
            for other in self._jobs.values():
                if job.job == other.job.job or job.name == other.job.name:
                    raise BadInput(f"job: {other.job.job} is on the switches already as {other.job.name}")
            indices = {other.index for other in self._jobs.values()}
            index = next((k for k in range(1, e.MAX_JOB_INDEX + 1) if k not in indices), None)
            if index is None:
                raise Refused(f"the switches have room for {e.MAX_JOB_INDEX} jobs and hold as many")
            new = _Added(job, index, self._next_epoch(job.job))
            pools.check(new.claim, [other.claim for other in self._jobs.values()], self._rows, job.reach)
            self._change({**self._jobs, job.job: new})
            return new.installed

    def remove_job(self, job: int) -> InstalledJob:
        """Take a job off all switches. Rows that it still holds drain as others take them."""
        with self._lock:
            found = self._find(job)
            self._change({number: other for number, other in self._jobs.items() if number != job})
            self._retire(found)
            return found.installed

    def start_run(self, job: int) -> InstalledJob:
        """Give a job a new run: a new epoch, its counters at zero, all else as it is."""
        with self._lock:
            new = self.end_run(job)
            self._retire(self._jobs[job])
            return new

    def end_run(self, job: int) -> InstalledJob:
        """End a job's run: one that nobody takes part in comes in its place, and its rows are free for all jobs."""
        return self.resume_run(job, self._next_epoch(job))

    def resume_run(self, job: int, epoch: int) -> InstalledJob:
        """Make `epoch` the job's present run."""
        with self._lock:
            new = replace(self._find(job), epoch=epoch)
            self._change({**self._jobs, job: new})
            return new.installed

    def memory(self) -> int:
        """Return always the same: jobs are known here, whatever switches lose."""
        return 0

    def denied_by_reason(self) -> dict[str, int]:
        """Return how many packets admission dropped, over all switches."""
        total: Counter[str] = Counter(dict.fromkeys(e.DENY_REASONS, 0))
        for keeper in self._keepers.values():
            total.update(keeper.denied_by_reason())
        return dict(total)

    # Parts

    def _find(self, job: int) -> _Added:
        if job not in self._jobs:
            there = ", ".join(other.job.name for other in self._jobs.values()) or "there are none"
            raise BadInput(f"job: no job {job} on the switches; jobs: {there}")
        return self._jobs[job]

    def _next_epoch(self, job: int) -> int:
        """One that none of the switches has seen for the job; the first is drawn, as in `runs.py`."""
        with self._lock:
            known = [epochs[job] for epochs in self._newest.values() if job in epochs]
        epoch = max(known) + 1 if known else 1 + secrets.randbelow(FIRST_EPOCHS)
        if epoch > MAX_EPOCH:
            raise Refused(f"job: {job} has used all its {MAX_EPOCH} epochs on these switches: give it another number")
        return epoch

    def _change(self, jobs: dict[int, _Added]) -> None:
        """Make these the jobs, on every switch; on none where one refuses them."""
        held = self._held(jobs)
        try:
            self._hold(held)
        except BaseException:
            self._hold(self._held(self._jobs))
            raise
        self._jobs = jobs
        for address, items in held.items():
            runs = (item.match for item in items if isinstance(item, e.Entry) and item.table == e.RUN)
            self._newest[address] = dict(runs)  # type: ignore[arg-type]

    def _held(self, jobs: Mapping[int, _Added]) -> dict[IPv4Address, list[Item]]:
        """By switch: what it holds with these jobs. A switch remembers the newest runs of jobs that are gone, too."""
        newest = {address: dict(epochs) for address, epochs in self._newest.items()}
        of_jobs: dict[IPv4Address, list[Item]] = {address: [] for address in self._keepers}
        for number, added in jobs.items():
            for address, items in job_items(self._network, added.job.run(added.epoch), added.index).items():
                of_jobs[address] += items
                newest[address][number] = max(added.epoch, newest[address].get(number, 0))
        return {
            address: [*self._forwarding[address], *(e.run_entry(*run) for run in newest[address].items()), *items]
            for address, items in of_jobs.items()
        }

    def _hold(self, held: Mapping[IPv4Address, Iterable[Item]]) -> None:
        for address, items in held.items():
            self._keepers[address].hold(items)

    def _retire(self, added: _Added) -> None:
        for keeper in self._keepers.values():
            keeper.retire(added.index)


class NetworkCoordinator(Coordinator):
    """Starts the runs of the jobs on the switches of a network."""

    def __init__(self, network: NetworkController, say: Callable[[str], None] | None = None) -> None:
        self._network = network
        super().__init__(_no_switch_alone, None, say)

    def _controller(self) -> RunControl:
        return self._network


def _no_switch_alone() -> Switch:
    raise Refused("a network's switches are the network controller's")
