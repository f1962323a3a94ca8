"""Saying what a worker waits for, in one line, while it waits."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable

from esa.job import Job
from esa.protocol import Waiting
from esa.protocol.rtt import NEVER, NS_PER_S

SAY_AFTER_S = 3.5  # of waiting for one fragment: with a look and an answer of the coordinator within 5 s
SAY_EVERY_S = 60.0  # at most
LOOK_S = 0.5


class Watch:
    """Calls `look` twice a second in a thread of its own, and says the lines that it returns on stderr."""

    def __init__(self, name: str, look: Callable[[], list[str]]):
        self._look = look
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._end.wait(LOOK_S):
            for line in self._look():
                print(f"esa: {line}", file=sys.stderr, flush=True)

    def close(self) -> None:
        self._end.set()
        self._thread.join()


class Occasion:
    """When to say what is waited for: once per wait, after `SAY_AFTER_S`, and at most every `SAY_EVERY_S`."""

    def __init__(self) -> None:
        self._since_ns = -1  # of the wait that was spoken of
        self._said_ns = -NEVER

    def has_come(self, waiting: Waiting | None, now_ns: int) -> bool:
        if waiting is None or now_ns - waiting.since_ns < SAY_AFTER_S * NS_PER_S:
            return False
        if waiting.since_ns == self._since_ns or now_ns - self._said_ns < SAY_EVERY_S * NS_PER_S:
            return False
        self._since_ns, self._said_ns = waiting.since_ns, now_ns
        return True


class OtherRuns:
    """Of which other runs packets were refused; each is told of once."""

    def __init__(self) -> None:
        self._told: set[int] = set()

    def is_new(self, epoch: int) -> bool:
        """Return whether an epoch (-1: none) was not told of before."""
        if epoch < 0 or epoch in self._told:
            return False
        self._told.add(epoch)
        return True


def ranks_of(job: Job, bitmaps: tuple[int, int]) -> tuple[int, ...]:
    """Return the ranks that (bitmap0, bitmap1) name."""
    places = [job.place(rank) for rank in range(job.fan_in)]
    return tuple(rank for rank, (rack, bit) in enumerate(places) if bitmaps[1] >> rack & bitmaps[0] >> bit & 1)


def what_is_waited_for(job: Job, waiting: Waiting, reason: str | None = None) -> str:
    """Return `rank 1 (10.0.0.2) computes`, or who is silent and what to look at. reason: what else is known."""
    number = waiting.seq % len(job.servers)
    server = f"{f'PS {number}' if job.more_servers else 'the PS'} ({job.servers[number].ip})"
    parts = []
    if waiting.server_silent:
        parts.append(f"{server} is silent: look whether it runs and can be reached")
    else:
        silent, computing = ranks_of(job, waiting.silent), ranks_of(job, waiting.computing)
        if waiting.unheard:
            parts.append(f"{server} receives nothing from this rank")
        if silent:
            several = len(silent) > 1
            parts.append(
                f"{_names(job, silent)} {'are' if several else 'is'} silent: look whether"
                f" {'they still run' if several else 'it still runs'} and can be reached"
            )
        if computing:
            parts.append(f"{_names(job, computing)} {'compute' if len(computing) > 1 else 'computes'}")
        if not parts:
            parts.append(f"{server} lives and does not say for whom")
    return "; ".join(parts if reason is None else [*parts, reason])


def _names(job: Job, ranks: tuple[int, ...]) -> str:
    return ", ".join(f"rank {rank} ({job.workers[rank].ip})" for rank in ranks)
