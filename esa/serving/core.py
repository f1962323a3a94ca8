"""The events of serving: a request comes, a stage has done its part of a batch, keys and values have been moved.

    outcome = simulate_serving(requests, [Replica(scheduler, times, pp=1)], RoundRobin())

What a stage takes is known when it begins (`times`), or told when it is over (`runs`), by a network that others use:

    run = Run(requests, replicas, router, runs=lambda replica, stage, batch, now_ns: ...)
    run.advance(run.next_ns)             # what happens then
    run.stage_over(replica, stage, now_ns)

Time is in whole nanoseconds. At the same time, stages that are done come before requests that come, and both before
schedulers are asked, replica by replica. A replica has as many batches under way as stages; a stage works on one at a
time, in the order in which they come, and sends the result on before it takes the next.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from esa.errors import BadInput
from esa.serving.batches import Batch
from esa.serving.costs.stages import StageTimes
from esa.serving.requests import Life, Request, check_requests

_LOOK_EVERY = 1024  # events, between two looks at whether to stop
_STAGE_OVER, _WAKE = 0, 2
_NEVER = 1 << 62


class Scheduler(Protocol):
    """Forms a replica's batches. A request that is in a batch is in no other one until that is over."""

    @property
    def queued(self) -> int:
        """Requests that have not begun, or have to begin again."""
        ...

    @property
    def unfinished(self) -> int:
        """Requests that are here and not over."""
        ...

    def add(self, life: Life, now_ns: int) -> None: ...

    def next_batch(self, now_ns: int) -> Batch | None:
        """What to do next; None: nothing now."""
        ...

    def batch_done(self, batch: Batch, now_ns: int) -> None:
        """Its requests have advanced; those that are over leave."""
        ...

    def wake_ns(self) -> int | None:
        """When to ask again, after None, if nothing else happens before."""
        ...

    def check(self) -> None:
        """Raise AssertionError unless what has to be conserved is."""
        ...


class Router(Protocol):
    """Sends requests to replicas."""

    def assign(self, waiting: deque[Life], schedulers: Sequence[Scheduler]) -> list[tuple[Life, int]]:
        """Take from the left of `waiting` those that go now; where to."""
        ...


@dataclass
class Replica:
    """GPUs that serve as one."""

    scheduler: Scheduler
    times: StageTimes
    pp: int = 1


@dataclass
class Outcome:
    """gaps: between a request's tokens, how many by ns; iterations: how many by ns, as executed, stage by stage.

    busy_ns: of all stages. tokens: through the layers; prompt_tokens: of them, of prompts, repeats included.
    attended: keys that tokens look at, together.
    """

    lives: tuple[Life, ...]
    gaps: dict[int, int] = field(default_factory=dict)
    iterations: dict[int, int] = field(default_factory=dict)
    stages: int = 0
    busy_ns: int = 0
    tokens: int = 0
    prompt_tokens: int = 0
    attended: float = 0.0
    batches: int = 0
    end_ns: int = 0
    incomplete: str | None = None


class Runs(Protocol):
    """Runs stages; says with `Run.stage_over` when one is over."""

    def __call__(self, replica: int, stage: int, batch: Batch, now_ns: int) -> None: ...


class _Running:
    """A replica's state."""

    def __init__(self, number: int, replica: Replica) -> None:
        self.number = number
        self.scheduler = replica.scheduler
        self.times = replica.times
        self.pp = replica.pp
        self.under_way = 0
        self.queues = [deque[Batch]() for _ in range(replica.pp)]
        self.busy: list[Batch | None] = [None] * replica.pp
        self.since_ns = [0] * replica.pp
        self.wake_ns = _NEVER


class Run:
    """Requests on their way through replicas. runs: runs stages in place of the replicas' `times`.

    BadInput for requests that cannot be, and no replicas.
    """

    def __init__(
        self,
        requests: Sequence[Request],
        replicas: Sequence[Replica],
        router: Router,
        *,
        check: bool = False,
        runs: Runs | None = None,
    ) -> None:
        check_requests(requests)
        if not replicas:
            raise BadInput("replicas: none; allowed: at least one")
        self._lives = [Life(number, one) for number, one in enumerate(requests)]
        order = sorted(self._lives, key=lambda life: (life.arrival_ns, life.number), reverse=True)
        self._to_come = order
        self._replicas = [_Running(number, one) for number, one in enumerate(replicas)]
        self._schedulers = [one.scheduler for one in replicas]
        self._router = router
        self._waiting = deque[Life]()
        self._due: list[tuple[int, int, int, _Running, int, Batch | None]] = []
        self._sequence = 0
        self._now_ns = 0
        self._over = 0
        self._check = check
        self._runs = runs
        self._under_way = 0  # stages that `runs` runs
        self.found = Outcome(tuple(self._lives), stages=sum(one.pp for one in replicas))

    def loop(self, progress: Callable[[float], None] | None, should_stop: Callable[[], bool] | None) -> bool:
        """Until all requests are over; False if it was asked to stop before."""
        events = 0
        while not self.over:
            events += 1
            if events % _LOOK_EVERY == 0:
                if should_stop is not None and should_stop():
                    return False
                if progress is not None:
                    progress(self.part)
            self.advance(self.next_ns)
        return True

    @property
    def over(self) -> bool:
        """Whether all requests are."""
        return self._over == len(self._lives)

    @property
    def part(self) -> float:
        """Of the requests that are over."""
        return self._over / len(self._lives)

    @property
    def next_ns(self) -> int | None:
        """When something happens; None: when a stage is over that others run.

        BadInput if nothing runs or is to come while requests wait.
        """
        arrival = self._to_come[-1].arrival_ns if self._to_come else _NEVER
        when = min(self._due[0][0] if self._due else _NEVER, arrival)
        if when < _NEVER:
            return when
        if self._under_way or self.over:
            return None
        left = len(self._lives) - self._over
        raise BadInput(f"serving: {left} requests wait, nothing runs and nothing is to come; allowed: room for each")

    def stage_over(self, number: int, stage: int, now_ns: int) -> None:
        """What was asked of `runs` is done."""
        self._now_ns = now_ns
        self._under_way -= 1
        replica = self._replicas[number]
        batch = replica.busy[stage]
        assert batch is not None
        if self._stage_over(replica, stage, batch):
            self._fill(replica)
        if self._check:
            self._conserved()

    def advance(self, now: int | None) -> None:
        """What happens at that time, which is `next_ns`."""
        assert now is not None
        due = self._due
        self._now_ns = now
        ask: dict[int, _Running] = {}
        while due and due[0][0] == now:
            _, kind, _, replica, stage, batch = heapq.heappop(due)
            if kind == _WAKE:
                replica.wake_ns = _NEVER
                ask[replica.number] = replica
            elif batch is not None and self._stage_over(replica, stage, batch):
                ask[replica.number] = replica
        while self._to_come and self._to_come[-1].arrival_ns == now:
            self._waiting.append(self._to_come.pop())
        if self._waiting:
            for life, number in self._router.assign(self._waiting, self._schedulers):
                life.replica = number
                self._schedulers[number].add(life, now)
                ask[number] = self._replicas[number]
        for number in sorted(ask):
            self._fill(ask[number])
        if self._check:
            self._conserved()

    def _fill(self, replica: _Running) -> None:
        """Batches for a replica that has room for some."""
        now = self._now_ns
        while replica.under_way < replica.pp:
            batch = replica.scheduler.next_batch(now)
            if batch is None:
                wake = replica.scheduler.wake_ns()
                if wake is not None and wake < replica.wake_ns:
                    replica.wake_ns = wake
                    self._push(wake, _WAKE, replica, 0, None)
                return
            batch.start_ns = now
            if batch.shape.prefills:
                for life in batch.lives:
                    if life.first_ns is None:
                        life.first_ns = now
            replica.under_way += 1
            replica.queues[0].append(batch)
            self._start(replica, 0)

    def _start(self, replica: _Running, stage: int) -> None:
        if replica.busy[stage] is not None or not replica.queues[stage]:
            return
        batch = replica.busy[stage] = replica.queues[stage].popleft()
        replica.since_ns[stage] = self._now_ns
        if self._runs is not None:
            self._under_way += 1
            self._runs(replica.number, stage, batch, self._now_ns)
            return
        times = replica.times
        took = times.stage_ns(batch.shape)
        if stage == 0:
            took += times.overhead_ns
        if stage < replica.pp - 1:
            took += times.send_ns(batch.shape)
        self._push(self._now_ns + max(took, 1), _STAGE_OVER, replica, stage, batch)

    def _push(self, when: int, kind: int, replica: _Running, stage: int, batch: Batch | None) -> None:
        self._sequence += 1
        heapq.heappush(self._due, (when, kind, self._sequence, replica, stage, batch))

    def _stage_over(self, replica: _Running, stage: int, batch: Batch) -> bool:
        """Whether the replica has room for another batch now."""
        replica.busy[stage] = None
        self.found.busy_ns += self._now_ns - replica.since_ns[stage]
        self._start(replica, stage)
        if stage < replica.pp - 1:
            replica.queues[stage + 1].append(batch)
            self._start(replica, stage + 1)
            return False
        now, found, gaps = self._now_ns, self.found, self.found.gaps
        for life, tokens in zip(batch.lives, batch.tokens, strict=True):
            gap = life.advance(tokens, now)
            if gap is not None:
                gaps[gap] = gaps.get(gap, 0) + 1
            if life.end_ns is not None:
                self._over += 1
        batch.end_ns = now
        took = now - batch.start_ns
        found.iterations[took] = found.iterations.get(took, 0) + 1
        found.batches += 1
        found.tokens += batch.shape.tokens
        found.prompt_tokens += batch.shape.prompts
        found.attended += batch.shape.attended
        found.end_ns = now
        replica.under_way -= 1
        replica.scheduler.batch_done(batch, now)
        return True

    def _conserved(self) -> None:
        inside = sum(one.unfinished for one in self._schedulers) + len(self._waiting)
        assert self._over + inside + len(self._to_come) == len(self._lives)
        for one in self._schedulers:
            one.check()


def simulate_serving(
    requests: Sequence[Request],
    replicas: Sequence[Replica],
    router: Router,
    *,
    check: bool = False,
    progress: Callable[[float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Outcome:
    """Serve requests to their end. check: AssertionError as soon as requests or blocks are not conserved.

    progress: told which part of the requests is over; should_stop: asked now and then.
    BadInput for requests that cannot be, and if nothing runs or is to come while some wait.
    """
    run = Run(requests, replicas, router, check=check)
    if not run.loop(progress, should_stop):
        run.found.incomplete = "interrupted"
    return run.found
