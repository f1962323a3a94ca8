"""Schedules: drawn from a seed in bulk, and cut down to the moves that matter when one fails.

An episode is a world, a random schedule of moves until enough all-reduces are submitted, and a benign end. What fails
is replayed with fewer and fewer moves (delta debugging, Zeller 2002) for as long as it fails in the same way.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from esa.policy import POLICIES
from tests.model.checks import RuleError
from tests.model.hosts import ServerHost, WorkerHost
from tests.model.moves import Move
from tests.model.plan import PLACES, Plan
from tests.model.world import World

ALL_REDUCES = 60  # submitted per episode
MAX_MOVES = 12_000
CROWDED = 24  # packets in flight; from there on time passes more slowly, or resends would bury all else
LAST_MOVES = 1_000  # after the last all-reduce was submitted
_POLICIES = sorted(POLICIES)


@dataclass(frozen=True)
class Weather:
    """How hostile an episode is: weights of moves, and how often the control plane or a death interferes."""

    lose: float
    copy: float
    mark: float
    shuffle: float  # of deliveries, how many are not of the oldest packet
    wait: float
    timer: float
    submit: float
    control: float
    deaths: bool

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Weather:
        return cls(
            lose=float(rng.choice([0, 0, 0.02, 0.1, 0.25])),
            copy=float(rng.choice([0, 0, 0.02, 0.1, 0.2])),
            mark=float(rng.choice([0, 0.05])),
            shuffle=float(rng.choice([0, 0.1, 0.5, 1.0])),
            wait=float(rng.choice([0.005, 0.03])),
            timer=float(rng.choice([0.005, 0.02, 0.1])),
            submit=float(rng.choice([0.02, 0.1, 0.3])),
            control=float(rng.choice([0, 0, 0.002, 0.01, 0.05])),
            deaths=bool(rng.random() < 0.08),
        )


class Drawn:
    """Moves drawn from a seed, given what the world looks like."""

    def __init__(self, world: World, rng: np.random.Generator):
        self.world, self.rng, self.weather = world, rng, Weather.draw(rng)

    def run(self, all_reduces: int) -> None:
        """Until that many are submitted, and then until they are done or it gets late."""
        more, moves_left = True, MAX_MOVES
        while moves_left:
            moves_left -= 1
            if more and sum(len(run.sizes) for run in self.world.truths.values()) >= all_reduces:
                more, moves_left = False, min(moves_left, LAST_MOVES)
            hosts = [host for run in self.world.runs.values() for host in run.hosts]
            if hosts and not any(host.active for host in hosts if isinstance(host, WorkerHost)):
                return
            if not more and not self.world.flight and all(host.idle for host in hosts):
                return
            self.world.do(self._move(more))

    def _move(self, more: bool) -> Move:
        rng, weather, world = self.rng, self.weather, self.world
        draw = rng.random()
        if draw < weather.control or (draw < weather.control + 0.1 and (world.down or not world.runs)):
            return self._control()
        if weather.deaths and rng.random() < 0.0005:
            return ("kill", self._any(world.by_name))
        draw = rng.random()
        if draw < weather.submit:
            return self._submit() if more else ("wait", 10)
        draw -= weather.submit
        if len(world.flight) > CROWDED and rng.random() < 0.9:
            return self._packet()
        if draw < weather.wait:
            return ("wait", int(rng.choice([10, 100, 1_000, 5_000, 25_000, 1_000_000, 61_000_000])))
        draw -= weather.wait
        if draw < weather.timer or not world.flight:
            return self._timer()
        return self._packet()

    def _packet(self) -> Move:
        rng, weather = self.rng, self.weather
        labels = list(self.world.flight)
        label = labels[0] if rng.random() >= weather.shuffle else labels[rng.integers(len(labels))]
        draw = rng.random()
        for name, weight in (("drop", weather.lose), ("copy", weather.copy), ("mark", weather.mark)):
            if draw < weight:
                return (name, label)
            draw -= weight
        if len(labels) > 200:
            return ("drop", label)
        return ("deliver", label)

    def _submit(self) -> Move:
        # Nobody asks for more than three at a time, or gets far ahead of his peers: there must be something to sum.
        workers = [w for run in self.world.runs.values() for w in run.workers if w.active and w.drained + 6 >= w.wanted]
        if not workers:
            return ("wait", 10)
        worker = workers[self.rng.integers(len(workers))]
        behind = min((w for w in worker.run.workers if w.active), key=lambda w: w.submitted)
        return ("submit", (worker if worker.submitted - behind.submitted < 2 else behind).name)

    def _timer(self) -> Move:
        hosts = [h for run in self.world.runs.values() for h in run.hosts if h.alive]
        hosts += self.world.late.values()
        if not hosts:
            return ("wait", 10)
        if self.rng.random() < 0.5:
            return ("timer", min(hosts, key=lambda h: h.wake_ns).name)
        return ("timer", hosts[self.rng.integers(len(hosts))].name)

    def _control(self) -> Move:
        rng, world = self.rng, self.world
        number = int(rng.integers(1, len(world.plan.jobs) + 1))
        if world.down:
            return ("reload",)
        if number not in world.runs:
            plan = Plan.draw(rng).jobs[0]
            return ("add", number, plan.policy, plan.workers, plan.window, plan.first_seq, plan.servers)
        if number in world.late and rng.random() < 0.5:
            return ("tell", number)
        if rng.random() < 0.35:
            return self._place(number)
        draw = rng.random()
        if draw < 0.3:
            return ("policy", number, str(rng.choice(_POLICIES)))
        if draw < 0.45:
            return ("tell-server", number, world.runs[number].policy.name)
        if draw < 0.55:
            return ("remove", number)
        if draw < 0.7:
            return ("run-again", number, bool(rng.random() < 0.5))
        if draw < 0.85:
            return ("restart",)
        return ("restart-server", number, int(rng.integers(len(world.runs[number].servers))))

    def _place(self, number: int) -> Move:
        return ("place", number, *PLACES[self.rng.integers(len(PLACES))])

    def _any(self, names: dict[str, WorkerHost | ServerHost]) -> str:
        alive = [name for name, host in names.items() if host.alive]
        return alive[self.rng.integers(len(alive))] if alive else ""


@dataclass
class Report:
    """What an amount of episodes came to."""

    numbers: Counter[str] = field(default_factory=Counter)
    verdicts: Counter[str] = field(default_factory=Counter)
    episodes: int = 0

    def add(self, world: World) -> None:
        self.episodes += 1
        self.numbers.update(world.numbers())
        self.verdicts.update(world.verdicts)

    def merge(self, other: Report) -> None:
        self.episodes += other.episodes
        self.numbers.update(other.numbers)
        self.verdicts.update(other.verdicts)

    def __str__(self) -> str:
        numbers = ", ".join(f"{value} {name}" for name, value in self.numbers.items())
        verdicts = ", ".join(f"{name} {count}" for name, count in self.verdicts.most_common())
        return f"{numbers} in {self.episodes} episodes\nverdicts: {verdicts}"


class EpisodeError(AssertionError):
    """An episode went wrong; says which, how to run it again, and the shortest trace that was found."""


Make = Callable[[Plan], World]


def episode(seed: int, make: Make = World, all_reduces: int = ALL_REDUCES, seconds: float = 60.0) -> World:
    """One episode; what goes wrong is raised as EpisodeError with the shortest trace found in `seconds`."""
    rng = np.random.default_rng(seed)
    plan = Plan.draw(rng)
    world = make(plan)
    try:
        Drawn(world, rng).run(all_reduces)
        world.settle()
    except RuleError as wrong:
        again = f"again: python -m tests.model --episode {seed}"
        raise EpisodeError(f"seed {seed}: {explain(plan, world.moves, wrong, make, seconds)}\n{again}") from None
    return world


def episodes(first: int, count: int) -> Report:
    """Episodes of the seeds first, first + 1, ..."""
    report = Report()
    for seed in range(first, first + count):
        report.add(episode(seed))
    return report


def replay(plan: Plan, moves: list[Move], make: Make = World, tracing: bool = False) -> tuple[World, RuleError | None]:
    """The world after these moves and a benign end, and what went wrong."""
    world = make(plan)
    world.tracing = tracing
    try:
        for move in moves:
            world.do(move)
        world.settle()
    except RuleError as wrong:
        return world, wrong
    return world, None


def shrink(plan: Plan, moves: list[Move], wrong: RuleError, make: Make = World, seconds: float = 60.0) -> list[Move]:
    """Fewer moves that break the same rule; none of them can be left out, if there was time to find that."""
    end = time.monotonic() + seconds

    def fails(candidate: list[Move]) -> list[Move] | None:
        world, other = replay(plan, candidate, make)
        if other is None or other.rule != wrong.rule:
            return None
        made = set(world.moves)
        return [move for move in candidate if move in made]

    chunk = max(len(moves) // 2, 1)
    while time.monotonic() < end:
        at, before = 0, len(moves)
        while at < len(moves) and time.monotonic() < end:
            shorter = fails(moves[:at] + moves[at + chunk :])
            if shorter is None:
                at += chunk
            else:
                moves = shorter
        if chunk == 1 and len(moves) == before:
            break
        chunk = max(chunk // 2, 1)
    return moves


def explain(plan: Plan, moves: list[Move], wrong: RuleError, make: Make = World, seconds: float = 60.0) -> str:
    """What went wrong, with the shortest trace of it that could be found."""
    found = len(moves)
    moves = shrink(plan, moves, wrong, make, seconds)
    world, again = replay(plan, moves, make, tracing=True)
    shown = world.trace if len(world.trace) <= 120 else [*world.trace[:60], "...", *world.trace[-60:]]
    trace = "\n".join(shown)
    return f"{again or wrong}\n{plan}\n{len(moves)} of {found} moves:\n{moves}\n{trace}"
