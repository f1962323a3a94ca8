"""A holder that shares its GPU in time slices with a task that always has a next kernel: what GPUs do by default.

    turns = Slices(kernels_ns, slice_ns=500_000, switch_ns=50_000)
    turns.compute(3_000_000)        # ns until the holder has had 3 ms of the device
    turns.rest(1_000_000)           # it has nothing for 1 ms: how much later it has the device again

The rule is `time_slice`'s of two tasks (`tests/gpu/test_slices.py` holds one to the other): turns of `slice_ns`, each
change costs `switch_ns`, the other task's kernels run to their end, who has nothing passes on the rest of his turn. The
holder's own kernels are taken to be short: its turn ends to the nanosecond. For holders that somebody else simulates.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from esa.errors import BadInput


class Slices:
    """kernels_ns: of the other task, round and round. filled_ns: that it had so far. The holder's turn begins."""

    def __init__(self, kernels_ns: Sequence[int], slice_ns: int, switch_ns: int) -> None:
        if not len(kernels_ns) or min(kernels_ns) < 1:
            raise BadInput(f"filler: {len(kernels_ns)} kernels; allowed: at least one, of 1 ns and more")
        if slice_ns < 1 or switch_ns < 0:
            raise BadInput(f"slice_ns: {slice_ns}, switch_ns: {switch_ns}; allowed: from 1, from 0")
        self._kernels: Iterator[int] = itertools.cycle(kernels_ns)
        self._slice_ns, self._switch_ns = slice_ns, switch_ns
        self._left_ns = slice_ns  # of the holder's turn
        self.kernels = self.filled_ns = 0

    def compute(self, need_ns: int) -> int:
        """Let the holder have `need_ns`; how long that takes."""
        took = need_ns
        while need_ns > self._left_ns:
            need_ns -= self._left_ns
            took += self._others_turn(0)
        self._left_ns -= need_ns
        return took

    def rest(self, gap_ns: int) -> int:
        """The holder has nothing for `gap_ns`; how long it waits after that. Without a gap it goes on with its turn."""
        return self._others_turn(gap_ns) - gap_ns if gap_ns > 0 else 0

    def _others_turn(self, until_ns: int) -> int:
        """Until the holder has the device, for which it asks from `until_ns` on; ns from now."""
        at = self._switch_ns
        ends = at + self._slice_ns
        while at < ends or at < until_ns:
            if at >= ends:
                ends = at + self._slice_ns  # nobody else has anything: another turn
            kernel = next(self._kernels)
            at += kernel
            self.kernels += 1
            self.filled_ns += kernel
        self._left_ns = self._slice_ns
        return at + self._switch_ns
