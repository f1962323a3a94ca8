"""Which job runs where: the scheduler is asked, and what it decides is done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from esa.cluster.inventory import Cluster, Gpu, Host, Nic
from esa.cluster.scheduler import JobInfo, Running, Start
from esa.cluster.times import COMPUTING
from esa.cluster.validate import check_decision, check_places
from esa.entries.job_entries import MAX_JOB_INDEX
from esa.errors import BadInput
from esa.policy import policy
from esa.protocol import NEVER
from esa.protocol.of_job import server_of_job, worker_of_job
from esa.sim.bound import lower_bound_ns
from esa.sim.engine.lines import NONE
from esa.sim.fabric.addresses import addresses_of, encapsulation
from esa.sim.fabric.wiring import Control, rack_of
from esa.sim.loop import SimState, begin
from esa.sim.plan import Fabric, Plan, SimulatedJob
from esa.sim.seats import Seats
from esa.sim.stopping import can_stop, go_on, one_loop, rounds_done, stop
from esa.sim.transport.connections import BACKGROUND, open_connection
from esa.sim.transport.endpoints import put_server, put_worker
from esa.wire import packet_bytes


def cluster_of(fabric: Fabric) -> Cluster:
    """The hosts of a network, as a scheduler sees them."""
    nics = {cable.lower.node: Nic(cable.link.rate_bps) for cable in fabric.graph.cables}
    hosts = (Host(rack, nics[host], fabric.gpus) for host, rack in enumerate(rack_of(fabric)))
    return Cluster(tuple(hosts), MAX_JOB_INDEX, fabric.graph.tiers)


def job_info(number: int, job: SimulatedJob, done: int = 0) -> JobInfo:
    """A job, as a scheduler sees it. One with programs of its own that are no loop is one iteration long."""
    iterations, iteration_ns = job.iterations, sum(bucket.forward_ns + bucket.backward_ns for bucket in job.buckets)
    if job.programs is not None:
        loops = [one_loop(mine.operations) for mine in job.programs]
        iterations = min(loops) or 1
        repeats = (mine.repeats if iterations == 1 else 1 for mine in job.programs)
        iteration_ns = max(
            int((mine.operations["ns"] * times).sum()) for mine, times in zip(job.programs, repeats, strict=True)
        )
    return JobInfo(
        number=number,
        name=job.name,
        workers=job.workers,
        submit_ns=job.submit_ns,
        iterations=iterations,
        done=done,
        iteration_ns=iteration_ns,
        aggregates=job.sums_in_network and policy(job.policy).pool != "none",
        has_server=job.sums_in_network,
        servers=job.servers if job.servers_on == "hosts" else 0,
        hosts=job.hosts,
    )


def check_plan(plan: Plan) -> None:
    """BadInput, one line, if a job could not start on an empty network."""
    check_places(cluster_of(plan.fabric), [job_info(number, job) for number, job in enumerate(plan.jobs)])


class JobsOnHosts:
    """The jobs of a simulation, from submission to their end. Times are kept by job, None until they come."""

    def __init__(self, plan: Plan, control: Control, first_worker: list[int], first_server: list[int]) -> None:
        check_plan(plan)
        self._plan = plan
        self._cluster = cluster_of(plan.fabric)
        self.seats = Seats(plan)
        self._control = control
        self._first_worker = first_worker
        self._first_server = [first_worker[-1] + server for server in first_server]  # as endpoints
        self._to_come = sorted(range(len(plan.jobs)), key=lambda k: plan.jobs[k].submit_ns)
        self._waiting: list[int] = []
        self._running: dict[int, Running] = {}
        self._down: Counter[int] = Counter()  # hosts that are: of how many failures
        self._servers_down: Counter[int] = Counter()  # jobs whose PS is
        self._news = False  # that the scheduler has not been told
        self.next_look_ns = NEVER
        self.start_ns: list[int | None] = [None] * len(plan.jobs)  # for the first time
        self.hosts: list[tuple[int, ...] | None] = [None] * len(plan.jobs)  # then: of the workers, and of own PSs
        self._waited_ns = [0] * len(plan.jobs)
        self._queued_ns = [job.submit_ns for job in plan.jobs]  # since when it waits, if it does
        self.end_ns: list[int | None] = [None] * len(plan.jobs)

    @property
    def running(self) -> int:
        return len(self._running)

    @property
    def all_over(self) -> bool:
        return not (self._to_come or self._waiting or self._running)

    @property
    def next_submission_ns(self) -> int:
        return self._plan.jobs[self._to_come[0]].submit_ns if self._to_come else NEVER

    def waited_ns(self, number: int, now_ns: int) -> int:
        """For how long a job has had no hosts since it was submitted."""
        waits_ns = max(0, now_ns - self._queued_ns[number]) if number in self._waiting else 0
        return self._waited_ns[number] + waits_ns

    def why_not_to_be_stopped(self, sim: SimState, number: int) -> str | None:
        """None: it can be."""
        if len(self._flows(sim, number)) and not self.seats.seated(number):
            return "messages of it are under way"
        return None if can_stop(sim.ranks, number) else "its programs are not one loop each"

    def lose_host(self, sim: SimState, host: int, now_ns: int) -> list[int]:
        """A host dies, and the jobs that have a member on it are stopped; return which."""
        self._down[host] += 1
        stopped = [number for number, at in self._running.items() if any(gpu.host == host for gpu in at.gpus)]
        for number in stopped:
            self._stop(sim, number, now_ns)
        self._cluster = replace(self._cluster, down=frozenset(+self._down))
        self._news = self._news or bool(stopped)
        return stopped

    def host_is_back(self, host: int) -> None:
        """One of a host's failures is over; after the last it can be had again."""
        self._down[host] -= 1
        self._cluster = replace(self._cluster, down=frozenset(+self._down))
        self._news = True

    def lose_server(self, sim: SimState, number: int) -> None:
        """The PS of a job, or all that it has, hear nothing and say nothing."""
        self._servers_down[number] += 1
        self._silence_servers(sim, number)

    def new_server(self, sim: SimState, number: int) -> None:
        """One of a PS's failures is over; after the last there is one that knows its job and no fragment."""
        self._servers_down[number] -= 1
        if self._servers_down[number] == 0 and number in self._running and self._in_network(number):
            self._put_servers(sim, number)

    def stranded(self, failing: bool) -> str | None:
        """What keeps the jobs that wait from ever running, if that is so. failing: failures are to come, or to end."""
        down = sorted(+self._down)
        if not down or failing or self._running or self._to_come or not self._waiting:
            return None
        name = self._plan.jobs[self._waiting[0]].name
        return f"job {name} waits, and hosts are down for good: {', '.join(map(str, down))}"

    def submit_until(self, sim: SimState, now_ns: int) -> None:
        """Queue what is submitted by now, and do what the scheduler decides; it is asked if there is any news.

        BadInput, one line, if it decides what cannot be done.
        """
        while self._to_come and self.next_submission_ns <= now_ns:
            self._waiting.append(self._to_come.pop(0))
            self._news = True
        if not self._news:
            return
        self._news = False
        waiting = [self._info(sim, number) for number in self._waiting]
        running = [replace(at, job=self._info(sim, number)) for number, at in self._running.items()]
        decision = self._plan.decide(now_ns, self._cluster, waiting, running, COMPUTING)
        check_decision(decision, self._cluster, waiting, running)
        if decision.resizes:
            name = self._plan.jobs[decision.resizes[0].job].name
            raise BadInput(f"job {name}: resize: simulated jobs keep their size; allowed: starts and stops")
        for asked in decision.stops:
            why = self.why_not_to_be_stopped(sim, asked.job)
            if why is not None:
                raise BadInput(f"job {self._plan.jobs[asked.job].name}: stop: {why}; allowed: to let it end")
        for asked in decision.stops:
            self._stop(sim, asked.job, now_ns)
        for place, start in enumerate(decision.starts):
            self._start(sim, start, [other.job for other in decision.starts[place + 1 :]], now_ns)
        if self._waiting and not (self._running or self._to_come or +self._down):
            name = self._plan.jobs[self._waiting[0]].name
            raise BadInput(
                f"job {name}: it waits, nothing runs and nothing is to come; allowed: a scheduler that starts a job"
            )

    def look(self, sim: SimState, now_ns: int) -> None:
        """Let the control plane move jobs that wait for a gap; `next_look_ns` is when to ask again."""
        if now_ns >= self.next_look_ns:
            self._control.look()
            self.next_look_ns = NEVER
        if self._control.unsettled and self.next_look_ns == NEVER:
            self.next_look_ns = now_ns + max(1, self._plan.timers.patience_floor_ns // 2)

    def over(self, sim: SimState, number: int) -> None:
        """A job has ended, or given up: its GPUs are free."""
        now_ns = int(sim.scalars["now_ns"][0])
        if not sim.ranks.job[number]["failed"]:
            self.end_ns[number] = now_ns
        self._leave(sim, number)
        self._news = True
        self.submit_until(sim, now_ns)

    def _info(self, sim: SimState, number: int) -> JobInfo:
        return job_info(number, self._plan.jobs[number], rounds_done(sim.ranks, number))

    def _endpoints(self, number: int) -> list[int]:
        """Its workers, then its PSs."""
        first, end = self._first_worker[number : number + 2]
        return [*range(first, end), *self._servers(number)]

    def _servers(self, number: int) -> range:
        """Of these, its PSs."""
        return range(*self._first_server[number : number + 2])

    def _places(self, number: int) -> list[tuple[int, int]]:
        """(host, address) of a running job's workers, then PSs."""
        return addresses_of(self._plan.fabric, self._plan.jobs[number], self._running[number].gpus)

    def _leave(self, sim: SimState, number: int) -> None:
        """A job's members hear nothing any more, say nothing, and the switches do not know it."""
        sim.ranks.job[number]["open"] = 0
        addresses = [address for _, address in self._places(number)]
        del self._running[number]
        sim.connections.record["open"][self._flows(sim, number)] = 0
        if self._in_network(number):
            sim.endpoint_at[addresses, self._control.run_of(number).job] = NONE
            self._control.remove(number)

    def _stop(self, sim: SimState, number: int, now_ns: int) -> None:
        self._leave(sim, number)
        stop(sim.ranks, number, now_ns)
        sim.timer_ns[self._endpoints(number)] = NEVER
        self._waiting.append(number)
        self._queued_ns[number] = now_ns
        self._waiting.sort(key=lambda k: (self._plan.jobs[k].submit_ns, k))

    def _in_network(self, number: int) -> bool:
        """Whether switches sum for a job that has started."""
        return self._plan.jobs[number].sums_in_network and not self.seats.unseated(number)

    def _to_come_until(self, end_ns: int, places: int) -> Iterator[int]:
        """Jobs that are submitted by then and find as many places as they need, in that order."""
        for number in self._to_come:
            job = self._plan.jobs[number]
            places -= job.workers + job.own_servers
            if job.submit_ns > end_ns or places < 0:
                return
            yield number

    def _seat(self, sim: SimState, start: Start, coming: Sequence[int], now_ns: int) -> None:
        """Decide whether a job that starts gets rows. coming: those that start with it, and are not started yet."""
        number, plan = start.job, self._plan
        if not self.seats.is_open(number):
            return
        at_least_ns = lower_bound_ns(plan, number, [gpu.host for gpu in start.workers]) or 0
        taken = sum(len(at.gpus) for at in self._running.values())
        taken += sum(plan.jobs[k].workers + plan.jobs[k].own_servers for k in coming)
        later = self._to_come_until(now_ns + at_least_ns, plan.fabric.places - taken)
        beside = [other for other in self._running if other != number]
        self.seats.decide(sim.ranks, number, beside, [*coming, *later])

    def _start(self, sim: SimState, start: Start, coming: Sequence[int], now_ns: int) -> None:
        number = start.job
        self._waited_ns[number] = self.waited_ns(number, now_ns)
        self._waiting.remove(number)
        info = self._info(sim, number)
        self._running[number] = Running(info, now_ns, start.workers, start.server, start.more_servers)
        if self.start_ns[number] is None:
            self.start_ns[number] = now_ns
            self.hosts[number] = tuple(gpu.host for gpu in start.gpus)
        self._seat(sim, start, coming, now_ns)
        self._connect(sim, number, start.workers)
        if self._in_network(number):
            job = self._control.add(number, start.gpus)
            for endpoint, (host, address) in zip(self._endpoints(number), self._places(number), strict=True):
                sim.host_of[endpoint] = host
                sim.endpoint_at[address, job.job] = endpoint
            if self._servers_down[number]:
                self._silence_servers(sim, number)
            self._put_states(sim, number)
        go_on(sim.ranks, number)
        sim.ranks.job[number]["open"] = 1
        for worker in range(*self._first_worker[number : number + 2]):
            begin(sim, worker, now_ns)

    def _put_states(self, sim: SimState, number: int) -> None:
        """Workers and PS as at the beginning of a run; they go on counting."""
        job, workers = self._control.run_of(number), range(*self._first_worker[number : number + 2])
        counted = np.copy(sim.workers.state.counter[workers])
        frame_bytes = packet_bytes(self._plan.lanes or self._plan.wire_lanes)
        for rank, member in enumerate(job.workers):
            worker = worker_of_job(job, rank, self._plan.timers, frame_bytes=frame_bytes)
            templates = [encapsulation(member, server, job.lanes) for server in job.servers]
            put_worker(sim.workers, workers[rank], worker, templates, stay=not job.switches)
        sim.workers.state.counter[workers] = counted
        if not self._servers_down[number]:
            self._put_servers(sim, number)

    def _put_servers(self, sim: SimState, number: int) -> None:
        """PSs as at the beginning of a run."""
        job, addresses = self._control.run_of(number), [address for _, address in self._places(number)]
        members = [*addresses[: job.fan_in], *self._control.switch_nodes(number)]
        for which, endpoint in enumerate(self._servers(number)):
            server = server_of_job(job, self._plan.timers, number=which)
            templates = self._control.server_templates(number, which)
            put_server(sim.servers, endpoint - self._first_server[0], server, templates, members, stay=not job.switches)
            sim.endpoint_at[addresses[job.fan_in + which], job.job] = endpoint

    def _silence_servers(self, sim: SimState, number: int) -> None:
        for endpoint in self._servers(number):
            sim.endpoint_at[sim.endpoint_at == endpoint] = NONE
            sim.timer_ns[endpoint] = NEVER
            if sim.scalars["unfinished"][0] == endpoint:
                sim.scalars["unfinished"] = NONE

    def resent_by_flows(self, sim: SimState, number: int) -> int:
        """Packets of the flows between a job's workers, sent again."""
        return int(sim.connections.flows.sender["resends"][self._flows(sim, number)].sum())

    def _flows(self, sim: SimState, number: int) -> npt.NDArray[np.int64]:
        """Those between a job's workers."""
        record, first = sim.connections.record, self._first_worker[number]
        mine = (first <= record["source"]) & (record["source"] < first + self._plan.jobs[number].workers)
        return np.flatnonzero(mine & (record["kind"] != BACKGROUND))

    def _connect(self, sim: SimState, number: int, workers: Sequence[Gpu]) -> None:
        nodes = self._plan.fabric.graph.nodes
        for f in self._flows(sim, number).tolist():
            record, first = sim.connections.record[f], self._first_worker[number]
            source, target = (workers[record[end] - first].host for end in ("source", "target"))
            end = int(sim.scalars["first_end"][0]) + 2 * f
            sim.host_of[end], sim.host_of[end + 1] = source, target
            open_connection(sim.connections, f, nodes[source], nodes[target])
