"""Keeping one switch of a network at what it shall hold, whoever restarts it.

`Supervisor` does as much for a switch that is alone: it puts back what it read there, jobs above all. What one switch
of several holds does not tell the jobs, so here entries are compared with entries, and who wants them is not asked.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeAlias

from controller import job_counters
from controller.client import Switch
from controller.looking import COMPARE_S, Looking
from controller.rows import HeldRow, read_rows
from esa.entries import job_entries as e
from esa.entries.job_entries import Entry, Group
from esa.errors import BadInput, Refused, SwitchError, Unreachable
from esa.program import program

Item: TypeAlias = Entry | Group
TABLES = (e.DESTINATION, *e.JOB_TABLES, e.RUN, e.ECN)
START_WAIT_S = 10.0


class Changes(NamedTuple):
    """What makes a switch hold what it shall, in the order in which it is written.

    Groups come before entries that name them, and a job's policy last; policies go first. So no packet meets half a
    job, and a new run is there before the old one goes.
    """

    insert: tuple[tuple[Item, ...], ...]
    modify: tuple[Item, ...]
    delete: tuple[tuple[Item, ...], ...]

    @property
    def items(self) -> int:
        return sum(map(len, (*self.insert, self.modify, *self.delete)))


def changes(there: Iterable[Item], wanted: Iterable[Item]) -> Changes:
    """Return what to write where `there` is; default actions that nobody wants otherwise stay."""
    before = {_key(item): _plain(item) for item in there}
    after = {_key(item): _plain(item) for item in wanted}
    new = [item for key, item in after.items() if key not in before]
    other = [item for key, item in after.items() if before.get(key, item) != item]
    gone = [item for key, item in before.items() if key not in after and not _is_default(item)]
    return Changes(_by_rank(new), tuple(other), tuple(reversed(_by_rank(gone))))


def _key(item: Item) -> tuple[str, tuple[int, ...]]:
    return ("group", (item.id,)) if isinstance(item, Group) else (item.table, item.match)


def _plain(item: Item) -> Item:
    """A switch lists a group's replicas in an order of its own."""
    return Group(item.id, tuple(sorted(item.replicas))) if isinstance(item, Group) else item


def _is_default(item: Item) -> bool:
    return isinstance(item, Entry) and not item.match


def _by_rank(items: Sequence[Item]) -> tuple[tuple[Item, ...], ...]:
    def rank(item: Item) -> int:
        return 0 if isinstance(item, Group) else 2 if item.table == e.POLICY else 1

    return tuple(tuple(item for item in items if rank(item) == which) for which in range(3))


class Keeper(Looking):
    """One switch, looked after from a thread of its own once it was started. Nobody else writes to it.

    connect: opens a connection, waiting so many seconds for a switch that is just starting; called again whenever one
    is lost. say: told in words what was found and done, each once.
    """

    def __init__(
        self, name: str, connect: Callable[[float], Switch], lanes: int, say: Callable[[str], None] | None = None
    ) -> None:
        self.name = name
        self.lanes = lanes
        super().__init__(lambda: connect(0.0), None if say is None else lambda text: say(f"{name}: {text}"))
        self._connect_within = connect
        self._lock = threading.RLock()
        self._wanted: tuple[Item, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether it answered when it was last looked at, and held what it shall."""
        return self._switch is not None and self._generation is not None and not self._problem

    def start(self) -> None:
        """Load the program, whatever the switch held before, and look after it from now on. SwitchError, BadInput."""
        with self._lock:
            self._switch = self._connect_within(START_WAIT_S)
            self._load(self._switch)
        self._look_from_now_on(f"keeper-{self.name}")

    def hold(self, items: Iterable[Item]) -> None:
        """Let the switch hold these items and no others, from now on.

        One that is away, or has lost its program, gets them as soon as it is back. Refused, or BadInput, if it cannot
        take them; then it is to hold what it was before.
        """
        with self._lock:
            before, self._wanted = self._wanted, tuple(items)
            if self._switch is None or self._generation is None:
                return
            try:
                self._settle(self._switch)
            except (SwitchError, BadInput):
                if self._is_there(self._switch):
                    self._wanted = before
                    raise

    def read_counters(self, indices: Sequence[int]) -> list[dict[str, int]]:
        """Read counters by job index. SwitchError while it is away."""
        with self._lock:
            return job_counters.read(self._with_program(), indices)

    def read_rows(self, rows: Sequence[int]) -> list[HeldRow]:
        """Read what is in these rows, as `rows.read_rows`; meanwhile all else goes on. SwitchError while it is away."""
        with self._lock:
            switch = self._with_program()
        return read_rows(switch, rows)

    def denied_by_reason(self) -> dict[str, int]:
        """Return how many packets its admission dropped. SwitchError while it is away."""
        with self._lock:
            return job_counters.denied_by_reason(self._with_program())

    def retire(self, index: int) -> None:
        """Set a job's counters to zero, as `job_counters.retire`; one that is away counts from zero anyhow."""
        with self._lock:
            if self._switch is None or self._generation is None:
                return
            try:
                job_counters.retire(self._switch, index)
            except SwitchError:
                if self._is_there(self._switch):
                    raise

    def look(self) -> None:
        """Look at the switch once, and do what is to be done."""
        with self._lock:
            super().look()

    def _look(self) -> None:
        switch, lost_at = self._connected(), self._lost_at or time.monotonic()
        if not self._has_program(switch):
            self._generation = None
            self._load(switch)
            self.restorations += 1
            self._say(
                f"the switch ran no program: loaded it, put back {len(self._wanted)} entries and groups"
                f" {time.monotonic() - lost_at:.2f} s after it was missed"
            )
        elif time.monotonic() >= self._compare_at:
            done = self._settle(switch)
            if done:
                self._say(f"{done} entries and groups were not as they should be")
        self._lost_at = None

    def _has_program(self, switch: Switch) -> bool:
        """Whether it runs the program that was loaded here."""
        try:
            return self._generation is not None and switch.generation() == self._generation
        except Refused:
            return False

    def _is_there(self, switch: Switch) -> bool:
        """Whether it answers, and has its program; where not, the next look sees to it."""
        try:
            return self._has_program(switch)
        except Unreachable:
            return False

    def _load(self, switch: Switch) -> None:
        try:
            switch.load(program(self.lanes))
        except ValueError as error:
            raise BadInput(str(error)) from None
        self._generation = switch.generation()
        self._settle(switch)

    def _settle(self, switch: Switch) -> int:
        """Make it hold what it shall; return how many items were not so."""
        needed = changes([*switch.read_groups(), *switch.read_entries(TABLES)], self._wanted)
        for items in needed.insert:
            switch.insert(items)
        switch.modify(needed.modify)
        for items in needed.delete:
            switch.delete(items)
        self._compare_at = time.monotonic() + COMPARE_S
        return needed.items

    def _with_program(self) -> Switch:
        if self._switch is None or self._generation is None:
            raise Unreachable(f"switch {self.name} is away")
        return self._switch
