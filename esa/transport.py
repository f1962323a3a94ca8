"""What sums need of a network: a transport. `hosts.WorkerEndpoint` is one, over a switch.

Of all workers the k-th all-reduce belongs together. Several may be in flight. An array travels in fragments of
`fragment_lanes` lanes, each with an exponent of its own; an empty array is one fragment.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt


class SumTimes(NamedTuple):
    """When the first and the last fragment went to the protocol, and the first and the last sum came: seconds of
    `time.monotonic`.
    """

    first_fed: float
    last_fed: float
    first_sum: float
    last_sum: float


class Reduced(NamedTuple):
    """A sum over all workers: `lanes` (n,) int32, and per fragment the largest of their exponents, int8.

    times: where the transport tells them.
    """

    lanes: npt.NDArray[np.int32]
    exponents: npt.NDArray[np.int8]
    times: SumTimes | None = None


class Pending(Protocol):
    """A sum on its way; `concurrent.futures.Future` is one."""

    def result(self) -> Reduced:
        """Wait for the sum; raise if there will be none."""


class Transport(Protocol):
    """Exact int32 sums over `size` workers, of which this is number `rank`."""

    @property
    def rank(self) -> int: ...

    @property
    def size(self) -> int: ...

    @property
    def fragment_lanes(self) -> int: ...

    def all_reduce(self, lanes: npt.NDArray[np.int32], priority: int, exponents: npt.NDArray[np.int8]) -> Pending:
        """Sum `lanes` (n,) int32 with the others'; `exponents` (`fragments_of(n)`,) int8 are merged by maximum.

        Both stay unchanged until the sum is there. It must come, or an error must: nobody waits with a time limit.
        priority: 1..255.
        """

    def close(self, why: str | None = None) -> None:
        """No more sums. why: the error after which this worker ends; the others need not wait for it."""


def fragments_of(lanes: int, fragment_lanes: int) -> int:
    """How many fragments an array of so many lanes has; at least one."""
    return max(-(-lanes // fragment_lanes), 1)
