"""A job's room: who waits in it for a run to start, who is in the run, and what is said to whom. No I/O.

Workers come in any order and say which member of the job they are. Once all of them and the PS are there and alike, the
control plane starts a run; the PS, or each that it has, is told first, and when all listen, the workers. From then on a
member whose connection closes has ended, and the others are told at once.

A worker that leaves in good order ("ok") has all the sums that it wants, but a peer may still need to ask it for one:
it stays until every worker has left so. One that ends otherwise ends the run, for a sum needs everybody. The PS may
come and go: while the switch does all the work nobody needs it, and the workers' protocol says when somebody does.

A coordinator that was restarted learns from members that come back, with the epoch that they were told, that their run
goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from esa.coordination import PS, Finished, Hello, Left, Notice, PolicyIs, Refuse, Start, ToMember
from esa.job import Job, Pool


class Client(Protocol):
    """A member's connection."""

    def send(self, message: ToMember) -> None: ...


class Started(NamedTuple):
    """A run that the control plane started."""

    epoch: int
    policy: str
    pool: Pool | None = None


@dataclass
class _Run:
    epoch: int
    policy: str
    pool: Pool | None = None
    workers: dict[int, Client] = field(default_factory=dict)  # connected now
    left: set[int] = field(default_factory=set)  # in good order


class Room:
    """One job's members. Not thread-safe.

    start:   starts a run on the switch; what it raises refuses all who wait, in one line
    end:     called when a run has ended, whatever way: its rows are nobody's
    """

    def __init__(self, job: Job, start: Callable[[], Started], end: Callable[[], None]) -> None:
        self.job = job
        self._start = start
        self._end = end
        self._waiting: dict[int, tuple[Client, Hello]] = {}
        self._servers: dict[int, Client] = {}
        self._ready: set[int] = set()  # of these, those that listen for the run that starts
        self._starting: Started | None = None  # the PSs were told, the workers not yet
        self._run: _Run | None = None

    @property
    def empty(self) -> bool:
        return not self._waiting and not self._servers and self._run is None

    @property
    def idle(self) -> bool:
        """Whether neither a run is on nor anybody waits for one, but maybe the PS for whoever comes."""
        return not self._waiting and self._run is None

    @property
    def waits(self) -> bool:
        """Whether anybody waits for a run to start."""
        return bool(self._waiting)

    @property
    def epoch(self) -> int | None:
        return self._run.epoch if self._run else None

    def enter(self, client: Client, hello: Hello) -> None:
        """Take a member in: it waits for a run, or is refused."""
        problem = self._problem(hello)
        if problem is not None:
            client.send(Refuse(why=problem))
        elif hello.member == PS:
            self._enter_server(client, hello.server)
        elif hello.epoch is not None:
            self._come_back(client, hello.member, hello.epoch)
        else:
            self._waiting[hello.member] = client, hello
            self._start_if_whole()

    def adopt(self, epoch: int, policy: str) -> None:
        """Resume a run that the switch holds, and that a member knows. (Which rows it was told of nobody knows.)"""
        self._run = _Run(epoch, policy)
        self._tell_servers(Start(epoch=epoch, policy=policy))

    def server_ready(self, client: Client, epoch: int) -> None:
        """Note that a PS listens; workers are told once all do."""
        if self._starting is None or epoch != self._starting.epoch:
            return
        self._ready |= {number for number, server in self._servers.items() if server is client}
        if len(self._ready) < len(self.job.servers):
            return
        started, self._starting = self._starting, None
        self._run = _Run(*started)
        for member, (worker, _) in self._waiting.items():
            self._run.workers[member] = worker
        self._waiting.clear()
        for worker in list(self._run.workers.values()):
            worker.send(Start(**started._asdict()))

    def leave(self, client: Client, ok: bool, why: str) -> None:
        """End a member that leaves, or whose connection closed; of two calls the first counts."""
        servers = [number for number, server in self._servers.items() if server is client]
        if servers:
            del self._servers[servers[0]]
            self._starting = None
            for worker in self._run.workers.values() if self._run else ():
                worker.send(Left(member=PS, ok=ok, why=why))
            return
        for number, (waiting, _) in list(self._waiting.items()):
            if waiting is client:
                del self._waiting[number]
                self._starting = None
        run = self._run
        if run is None:
            return
        member = next((number for number, worker in run.workers.items() if worker is client), PS)
        if member == PS or member in run.left:
            return
        if ok:
            run.left.add(member)
            self._tell_others(run, member, Left(member=member, ok=True, why=why))
            if len(run.left) == self.job.fan_in:
                self._over(run, Finished())
        else:
            del run.workers[member]
            self._over(run, Left(member=member, ok=False, why=why))

    def policy_changed(self, policy: str) -> None:
        """Follow a policy that somebody set on the switch."""
        if self._run is not None and self._run.policy != policy:
            self._run.policy = policy
            self._tell_servers(PolicyIs(policy=policy))

    def close(self, why: str) -> None:
        """End the run and refuse all who wait, such as when the job is taken off the switch; the PS may stay."""
        self.refuse_waiting(why)
        if self._run is not None:
            self._over(self._run, Refuse(why=why))

    def dismiss(self, why: str) -> None:
        """Send the PS away, too."""
        self.close(why)
        self._tell_servers(Refuse(why=why))
        self._servers.clear()

    def remind(self) -> None:
        """Tell those who wait for whom they do."""
        missing = self.missing()
        if self._waiting and missing:
            for client, _ in list(self._waiting.values()):
                client.send(Notice(text=f"job {self.job.name}: waits for {', '.join(missing)} to join"))

    def missing(self) -> list[str]:
        """Return who has not come, in words."""
        workers = [self._name(m) for m in range(self.job.fan_in) if m not in self._waiting]
        return workers + [self._server_name(n) for n in range(len(self.job.servers)) if n not in self._servers]

    def _problem(self, hello: Hello) -> str | None:
        """Return why somebody may not come in."""
        job = self.job
        difference = describe_difference(hello.job, job)
        if difference:
            return f"job {job.name}: {difference}"
        if hello.member == PS:
            return self._server_problem(hello.server)
        if hello.member >= job.fan_in:
            return f"job {job.name}: has workers 0..{job.fan_in - 1}, not {hello.member}"
        if hello.size is not None and hello.size != job.fan_in:
            return f"job {job.name} has {job.fan_in} workers, the program's world {hello.size}"
        run = self._run
        in_run = run is not None and hello.member in run.workers and hello.member not in run.left
        if hello.member in self._waiting or (in_run and hello.epoch is None):
            return f"job {job.name}: {self._name(hello.member)} takes part already"
        for member, (_, other) in self._waiting.items():
            if hello.rank is not None and other.rank == hello.rank:
                return f"job {job.name}: {self._name(member)} and {self._name(hello.member)} are both rank {hello.rank}"
        return None

    def _server_problem(self, number: int) -> str | None:
        job = self.job
        if number >= len(job.servers):
            return f"job {job.name}: has PSs 0..{len(job.servers) - 1}, not {number}"
        if number not in self._servers:
            return None
        return f"job {job.name}: {self._server_name(number) if job.more_servers else 'a PS'} takes part already"

    def _enter_server(self, client: Client, number: int) -> None:
        self._servers[number] = client
        if self._run is not None:
            client.send(Start(epoch=self._run.epoch, policy=self._run.policy))
        else:
            self._start_if_whole()

    def _come_back(self, client: Client, member: int, epoch: int) -> None:
        if self._run is None or self._run.epoch != epoch:
            client.send(Refuse(why=f"job {self.job.name}: the run (epoch {epoch}) has ended"))
        else:
            self._run.workers[member] = client

    def _start_if_whole(self) -> None:
        if self._starting is not None or self.missing():
            return
        if self._run is not None:  # its members have all left, in good order or not
            self._over(self._run, Finished())
        try:
            self._starting = self._start()
        except Exception as error:
            self.refuse_waiting(str(error))
            return
        self._ready.clear()
        self._tell_servers(Start(**self._starting._asdict()))

    def refuse_waiting(self, why: str) -> None:
        """Refuse those who wait: there will be no run."""
        clients = [client for client, _ in self._waiting.values()]
        self._waiting.clear()
        self._starting = None
        for client in clients:
            client.send(Refuse(why=why))

    def _over(self, run: _Run, message: ToMember) -> None:
        self._run = None
        for worker in run.workers.values():
            worker.send(message)
        self._end()

    @staticmethod
    def _tell_others(run: _Run, member: int, message: ToMember) -> None:
        for other, worker in run.workers.items():
            if other != member:
                worker.send(message)

    def _tell_servers(self, message: ToMember) -> None:
        for server in list(self._servers.values()):
            server.send(message)

    def _server_name(self, number: int) -> str:
        name = f"PS {number}" if self.job.more_servers else "the PS"
        return f"{name} ({self.job.servers[number].ip})"

    def _name(self, member: int) -> str:
        return f"worker {member} ({self.job.workers[member].ip})"


# What may be changed on the switch while the job is there, or is the control plane's alone.
_CHANGEABLE = {"policy", "pool", "demand"}


def describe_difference(theirs: Job, ours: Job) -> str:
    """Return in what a member's job differs from the switch's, in words; empty if in nothing that matters."""
    here, there = (job.model_dump(mode="json", exclude=_CHANGEABLE) for job in (theirs, ours))
    return "; ".join(
        f"{key} is {mine} here and {other} on the switch" for key, mine, other in _differing("", here, there)
    )


def _differing(key: str, here: Any, there: Any) -> Iterator[tuple[str, Any, Any]]:
    """Return the innermost keys whose values differ."""
    if isinstance(here, dict) and isinstance(there, dict):
        for name in here:
            yield from _differing(f"{key}.{name}" if key else name, here[name], there[name])
    elif isinstance(here, list) and isinstance(there, list) and len(here) == len(there):
        for place, (mine, other) in enumerate(zip(here, there, strict=True)):
            yield from _differing(f"{key}.{place}", mine, other)
    elif isinstance(here, list) and isinstance(there, list):
        yield f"the number of {key}", len(here), len(there)
    elif here != there:
        yield key, here, there
