"""What a scheduler is shown: who waits and who runs, made when it looks and not before."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TypeVar, overload

from esa.cluster.free import Free
from esa.cluster.scheduler import JobInfo, Running

Item = TypeVar("Item")


class _Listed(Sequence[Item]):
    """A sequence over a dict's values: `by_number` finds one at once, and the first are there without the others."""

    by_number: Mapping[int, Item]

    def __len__(self) -> int:
        return len(self.by_number)

    def __iter__(self) -> Iterator[Item]:
        return iter(self.by_number.values())

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Item]: ...
    def __getitem__(self, index: int | slice) -> Item | Sequence[Item]:
        if isinstance(index, slice):
            return [*self][index]
        if index < 0:
            return [*self][index]
        for item in islice(self, index, index + 1):
            return item
        raise IndexError(index)


class Queue(_Listed[JobInfo]):
    """Who waits, in the order of submission."""

    def __init__(self) -> None:
        self.by_number: dict[int, JobInfo] = OrderedDict()  # whose first is found at once, however many left before

    def put_back(self, jobs: Sequence[JobInfo]) -> None:
        """Those that were stopped wait again, as if they had never run."""
        for job in jobs:
            self.by_number[job.number] = job
        if jobs:
            order = sorted(self.by_number.values(), key=lambda job: (job.submit_ns, job.number))
            self.by_number = OrderedDict((job.number, job) for job in order)


class _Looked(Mapping[int, Running]):
    """Running jobs by number, each looked at once, when it is asked for, until all are forgotten."""

    def __init__(self, numbers: Mapping[int, object], look: Callable[[int], Running]) -> None:
        self._numbers = numbers
        self._look = look
        self._seen: dict[int, Running] = {}

    def forget(self) -> None:
        if self._seen:
            self._seen = {}

    def __getitem__(self, number: int) -> Running:
        found = self._seen.get(number)
        if found is None:
            if number not in self._numbers:
                raise KeyError(number)
            found = self._seen[number] = self._look(number)
        return found

    def __contains__(self, number: object) -> bool:
        return number in self._numbers

    def __iter__(self) -> Iterator[int]:
        return iter(self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)


class AtWork(_Listed[Running]):
    """Who runs, in the order of the starts: one view for a whole run, that is told when time has gone on.

    `free`: what they leave; a reader takes a copy. What is looked at is as it was then, for who keeps it.
    """

    def __init__(
        self, free: Free, numbers: Mapping[int, object], elastic: Iterable[int], look: Callable[[int], Running]
    ) -> None:
        self.free = free
        self.by_number: _Looked = _Looked(numbers, look)
        self._elastic = elastic

    def now(self, free: Free) -> AtWork:
        """The same at another time."""
        self.free = free
        self.by_number.forget()
        return self

    @property
    def elastic(self) -> list[Running]:
        """Those that can do with more or with fewer workers."""
        return [self.by_number[number] for number in self._elastic]
