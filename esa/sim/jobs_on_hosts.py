"""Which job runs where. Jobs wait in the order of their submission until there are hosts for their workers and PS."""

from __future__ import annotations

from esa.protocol import NEVER
from esa.protocol.of_job import server_of_job, worker_of_job
from esa.sim.engine.lines import NONE
from esa.sim.fabric.addresses import encapsulation
from esa.sim.fabric.wiring import Control
from esa.sim.loop import World, begin
from esa.sim.placement import check_places, place
from esa.sim.plan import Plan
from esa.sim.transport.endpoints import put_server, put_worker


class JobsOnHosts:
    """The jobs of a simulation, from submission to their end. Times are kept by job, None until they come."""

    def __init__(self, plan: Plan, control: Control, first_worker: list[int]) -> None:
        check_places(plan.fabric, plan.jobs)
        self._plan = plan
        self._control = control
        self._first_worker = first_worker
        self._to_come = sorted(range(len(plan.jobs)), key=lambda k: plan.jobs[k].submit_ns)
        self._queue: list[int] = []
        self._hosts: dict[int, list[int]] = {}
        self._free = set(range(plan.fabric.hosts))
        self.start_ns: list[int | None] = [None] * len(plan.jobs)
        self.end_ns: list[int | None] = [None] * len(plan.jobs)

    @property
    def running(self) -> int:
        return len(self._hosts)

    @property
    def all_over(self) -> bool:
        return not (self._to_come or self._queue or self._hosts)

    @property
    def next_submission_ns(self) -> int:
        return self._plan.jobs[self._to_come[0]].submit_ns if self._to_come else NEVER

    def submit_until(self, world: World, now_ns: int) -> None:
        """Queue what is submitted by now, and start what finds hosts."""
        while self._to_come and self.next_submission_ns <= now_ns:
            self._queue.append(self._to_come.pop(0))
        while self._queue:
            hosts = place(self._plan.fabric, self._plan.jobs[self._queue[0]], self._free)
            if hosts is None:
                return
            self._start(world, self._queue.pop(0), hosts, now_ns)

    def over(self, world: World, number: int) -> None:
        """A job has ended, or given up: its hosts are free."""
        record = world.ranks.job[number]
        record["open"] = 0
        now_ns = int(world.numbers["now_ns"][0])
        if not record["failed"]:
            self.end_ns[number] = now_ns
        hosts = self._hosts.pop(number)
        world.endpoint_at[hosts, number + 1] = NONE
        self._free.update(hosts)
        self._control.remove(number)
        self.submit_until(world, now_ns)

    def _start(self, world: World, number: int, hosts: list[int], now_ns: int) -> None:
        self._free.difference_update(hosts)
        self._hosts[number] = hosts
        self.start_ns[number] = now_ns
        job = self._control.add(number, hosts)
        first = self._first_worker[number]
        endpoints = [*range(first, first + job.fan_in), self._first_worker[-1] + number]
        for endpoint, host in zip(endpoints, hosts, strict=True):
            world.host_of[endpoint] = host
            world.endpoint_at[host, number + 1] = endpoint
        for rank, member in enumerate(job.workers):
            worker = worker_of_job(job, rank, self._plan.timers)
            put_worker(world.workers, first + rank, worker, encapsulation(member, job.server, job.lanes))
        server = server_of_job(job, self._plan.timers)
        members = [*hosts[:-1], *self._control.switch_nodes(number)]
        put_server(world.servers, number, server, self._control.server_templates(number), members)
        world.ranks.job[number]["open"] = 1
        for rank in range(job.fan_in):
            begin(world, first + rank, now_ns)
