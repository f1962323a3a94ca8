"""Transports of workers in one process: exact sums, as soon as the last worker has submitted."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from esa.transport import Reduced, fragments_of

Lanes, Exponents = NDArray[np.int32], NDArray[np.int8]


def reduced(lanes: list[Lanes], exponents: list[Exponents], fragment_lanes: int) -> Reduced:
    """What the network makes of these; AssertionError where a switch would saturate."""
    assert all(
        e.dtype == np.int8 and e.size == fragments_of(part.size, fragment_lanes)
        for part, e in zip(lanes, exponents, strict=True)
    )
    total = np.sum(lanes, axis=0, dtype=np.int64)
    # In any order, so whatever the signs are.
    assert np.sum(np.abs(np.array(lanes, np.int64)), axis=0).max(initial=0) < 2**31, "a sum that a switch may saturate"
    return Reduced(total.astype(np.int32), np.max(exponents, axis=0))


@dataclass
class LocalNetwork:
    """`transports[rank]` for each of `size` workers. `log`: the lanes of every all-reduce."""

    size: int
    fragment_lanes: int = 64
    log: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.transports = [LocalTransport(self, rank) for rank in range(self.size)]
        self._open: dict[int, list[tuple[Lanes, Exponents, Future[Reduced]]]] = {}

    def submit(self, number: int, lanes: Lanes, exponents: Exponents) -> Future[Reduced]:
        future: Future[Reduced] = Future()
        parts = self._open.setdefault(number, [])
        parts.append((lanes, exponents, future))
        if len(parts) == self.size:
            self.log.append(lanes.size)
            result = reduced([p[0] for p in parts], [p[1] for p in parts], self.fragment_lanes)
            for _, _, waiting in self._open.pop(number):
                waiting.set_result(result)
        return future


@dataclass
class LocalTransport:
    network: LocalNetwork
    rank: int
    submitted: int = 0

    @property
    def size(self) -> int:
        return self.network.size

    @property
    def fragment_lanes(self) -> int:
        return self.network.fragment_lanes

    def all_reduce(self, lanes: Lanes, priority: int, exponents: Exponents) -> Future[Reduced]:
        self.submitted += 1
        return self.network.submit(self.submitted, lanes, exponents)

    def close(self, why: str | None = None) -> None:
        pass
