"""Several processes for runs that share nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from experiments.common.processes import local_executor


@contextmanager
def side_by_side(processes: int) -> Iterator[Callable[..., list[Any]] | None]:
    """What runs a function on each of several tuples of arguments, in their order; None for one process: this one."""
    if processes == 1:
        yield None
        return
    with local_executor(processes) as pool:

        def several(function: Callable[..., Any], group: Iterable[tuple[Any, ...]]) -> list[Any]:
            return [one.result() for one in [pool.submit(function, *each) for each in group]]

        yield several
