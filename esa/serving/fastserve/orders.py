"""Who comes first: first come first served, fixed priorities, shortest remaining time, multi-level feedback queues.

An order says after each iteration which requests it would run, all of them, the most urgent first, and for keys and
values that have to leave how long a request will wait (its estimated next scheduled time, ENST).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from esa.errors import BadInput
from esa.serving.requests import Life

PromptTime = Callable[[int], int]  # ns of the first iteration of a prompt of so many tokens, alone
TokenTime = Callable[[], int]  # ns of an iteration that decodes one token
NEVER_NS = 1 << 62


class Order(Protocol):
    """overtakes: whether who fits may run before somebody more urgent who does not."""

    overtakes: bool

    def add(self, life: Life, now_ns: int) -> None: ...

    def remove(self, life: Life) -> None: ...

    def ran(self, lives: list[Life], took_ns: int, now_ns: int) -> None:
        """An iteration of these is over."""
        ...

    def look(self, now_ns: int) -> None:
        """Before an iteration: who has waited too long moves up."""
        ...

    def __iter__(self) -> Iterator[Life]: ...

    def enst(self, batch: int, now_ns: int) -> dict[int, int]:
        """By request, ns from now until it runs, about; batch: requests of an iteration."""
        ...


class Ranked:
    """By a number that each request has when it comes; of equals the first."""

    def __init__(self, rank: Callable[[Life], int], *, overtakes: bool) -> None:
        self.overtakes = overtakes
        self._rank = rank
        self._lives: list[Life] = []

    def add(self, life: Life, now_ns: int) -> None:
        self._lives.append(life)
        self._sort()

    def _sort(self) -> None:
        self._lives.sort(key=lambda life: (self._rank(life), life.number))

    def remove(self, life: Life) -> None:
        self._lives.remove(life)

    def ran(self, lives: list[Life], took_ns: int, now_ns: int) -> None:
        """Nothing changes."""

    def look(self, now_ns: int) -> None:
        """Nobody moves."""

    def __iter__(self) -> Iterator[Life]:
        return iter(self._lives)

    def enst(self, batch: int, now_ns: int) -> dict[int, int]:
        """Its place: no time is estimated, but who is later leaves first."""
        return {life.number: place for place, life in enumerate(self._lives)}


class ShortestRemaining(Ranked):
    """By what is left to do, as one who knows the answers' lengths would have it (SRPT)."""

    def __init__(self, prompt_ns: PromptTime, token_ns: TokenTime) -> None:
        each = token_ns()

        def left_ns(life: Life) -> int:
            if life.prefilled:
                return each * life.left
            return prompt_ns(life.prefill) + each * (life.left - 1)

        super().__init__(left_ns, overtakes=True)

    def ran(self, lives: list[Life], took_ns: int, now_ns: int) -> None:
        self._sort()


@dataclass(frozen=True)
class Levels:
    """Rules of the queues.

    base_ns:   quantum of the first; each next one's is `ratio` times as long
    skip_join: a request joins the first queue whose quantum its first iteration fits in; else the first queue
    alpha_ns:  who has waited so long moves to the first queue; None: nobody does
    look_every: iterations between two looks at that
    lifo:      who has run returns to the front of its queue, one after the other, and so does who moves up
    keeps:     who moves up keeps the service that it has had
    reaches:   a quantum is used up when it is reached; else only when it is exceeded
    estimates: keys and values leave by the time until a request runs; else who is last in the queues leaves first
    """

    base_ns: int
    ratio: int = 2
    levels: int = 16
    skip_join: bool = True
    alpha_ns: int | None = 300_000_000
    look_every: int = 1
    lifo: bool = False
    keeps: bool = False
    reaches: bool = True
    estimates: bool = True

    def __post_init__(self) -> None:
        if self.base_ns < 1 or self.ratio < 2 or not 1 <= self.levels <= 60:
            raise BadInput(
                f"queues: quantum {self.base_ns} ns, ratio {self.ratio}, {self.levels} levels; "
                "allowed: from 1 ns, from 2, 1 to 60"
            )

    def quantum_ns(self, level: int) -> int:
        """Of the last queue without end."""
        return NEVER_NS if level >= self.levels - 1 else self.base_ns * self.ratio**level

    def joins(self, first_ns: int) -> int:
        """The level of a request whose first iteration takes so long."""
        if not self.skip_join:
            return 0
        return next(level for level in range(self.levels) if self.quantum_ns(level) >= first_ns)


def artefact_levels(pace: float = 1.0) -> Levels:
    """As LLMServe/FastServe at 187a274 has them. pace: of the clock that they are held against."""
    return Levels(
        base_ns=max(1, round(10_000_000 * pace)),
        alpha_ns=max(1, round(3_000_000_000 * pace)),
        look_every=1000,
        lifo=True,
        keeps=True,
        reaches=False,
        estimates=False,
    )


class FeedbackQueues:
    """Multi-level feedback queues, first to last; within one, in the order in which requests entered it."""

    overtakes = True

    def __init__(self, levels: Levels, prompt_ns: PromptTime) -> None:
        self.levels = levels
        self._prompt_ns = prompt_ns
        self._queues: list[dict[int, Life]] = [{} for _ in range(levels.levels)]
        self._level: dict[int, int] = {}
        self._used_ns: dict[int, int] = {}
        self._iterations = 0

    def level(self, life: Life) -> int:
        return self._level[life.number]

    def add(self, life: Life, now_ns: int) -> None:
        self._used_ns[life.number] = 0
        self._enter(life, self.levels.joins(self._prompt_ns(life.prompt)))

    def _enter(self, life: Life, level: int, *, front: bool = False) -> None:
        self._level[life.number] = level
        queue = self._queues[level]
        if front:
            rest = dict(queue)
            queue.clear()
            queue[life.number] = life
            queue.update(rest)
        else:
            queue[life.number] = life

    def remove(self, life: Life) -> None:
        del self._queues[self._level.pop(life.number)][life.number]
        del self._used_ns[life.number]

    def ran(self, lives: list[Life], took_ns: int, now_ns: int) -> None:
        levels = self.levels
        for life in lives:
            number = life.number
            if number not in self._level:  # it is over
                continue
            used, level = self._used_ns[number] + took_ns, self._level[number]
            quantum = levels.quantum_ns(level)
            down = used >= quantum if levels.reaches else used > quantum
            self._used_ns[number] = 0 if down else used
            if down or levels.lifo:
                del self._queues[level][number]
                self._enter(life, level + down, front=levels.lifo)

    def look(self, now_ns: int) -> None:
        levels = self.levels
        self._iterations += 1
        if levels.alpha_ns is None or self._iterations % levels.look_every:
            return
        for level in range(1, levels.levels):
            late = [life for life in self._queues[level].values() if now_ns - life.ran_ns >= levels.alpha_ns]
            for life in late:
                del self._queues[level][life.number]
                if not levels.keeps:
                    self._used_ns[life.number] = 0
                self._enter(life, 0, front=levels.lifo)

    def __iter__(self) -> Iterator[Life]:
        for queue in self._queues:
            yield from queue.values()

    def enst(self, batch: int, now_ns: int) -> dict[int, int]:
        """The least of what is left until it moves up, and of the quanta that others above it have until they are at
        its level, shared by a batch's places. Of equals who is behind has a nanosecond more.
        """
        levels, found = self.levels, dict[int, int]()
        if not levels.estimates:
            return {life.number: place for place, life in enumerate(self)}
        above = until_here = place = 0  # requests above; their quanta down to this level
        for level, queue in enumerate(self._queues):
            for life in queue.values():
                execute = until_here // batch
                if levels.alpha_ns is not None and level:
                    execute = min(execute, max(0, levels.alpha_ns - (now_ns - life.ran_ns)))
                found[life.number] = execute + place
                place += 1
            above += len(queue)
            if level < levels.levels - 1:
                until_here += above * levels.quantum_ns(level)
        return found


POLICIES = ("fastserve", "fastserve-artefact", "naive-mlfq", "fcfs", "srpt", "fixed-priority")


def order_of(
    policy: str,
    prompt_ns: PromptTime,
    token_ns: TokenTime,
    *,
    alpha_ns: int | None = 300_000_000,
    pace: float = 1.0,
) -> Order:
    """An order by name. fastserve: the first quantum is the shortest iteration. fixed-priority: by the first iteration.

    Times are of a clock that shows `pace` of what passes, and so are the artefact's own then.
    BadInput for one that is not known.
    """
    if policy == "fastserve":
        return FeedbackQueues(Levels(token_ns(), alpha_ns=alpha_ns), prompt_ns)
    if policy == "fastserve-artefact":
        return FeedbackQueues(artefact_levels(pace), prompt_ns)
    if policy == "naive-mlfq":
        return FeedbackQueues(Levels(token_ns(), skip_join=False, alpha_ns=alpha_ns), prompt_ns)
    if policy == "fcfs":
        return Ranked(lambda life: life.arrival_ns, overtakes=False)
    if policy == "srpt":
        return ShortestRemaining(prompt_ns, token_ns)
    if policy == "fixed-priority":
        return Ranked(lambda life: prompt_ns(life.prompt), overtakes=True)
    raise BadInput(f"policy: unknown policy '{policy}'; allowed: {', '.join(POLICIES)}")
