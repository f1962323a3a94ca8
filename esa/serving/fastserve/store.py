"""Where requests' keys and values are, GPU or host, and the two ways between: one link out, one in, at once."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from esa.serving.kv_memory import Blocks


class Link:
    """One way of PCIe: moves one after the other, at a fixed rate. rate_gbs: 1e9 bytes a second; 0: nothing moves."""

    def __init__(self, rate_gbs: float) -> None:
        self._rate_gbs = rate_gbs
        self._free_ns = 0
        self.moved_bytes = 0
        self.busy_ns = 0

    @property
    def works(self) -> bool:
        return self._rate_gbs > 0

    def send(self, octets: int, now_ns: int) -> int:
        """When it will be there."""
        took = round(octets / self._rate_gbs)
        self._free_ns = max(self._free_ns, now_ns) + took
        self.moved_bytes += octets
        self.busy_ns += took
        return self._free_ns


class _Move(NamedTuple):
    end_ns: int
    number: int


class Store:
    """Blocks of GPU and host. A request's lie on one side, on both while they are copied.

    block_bytes: of a GPU's shard; each GPU has links of its own.
    """

    def __init__(self, gpu: Blocks, host: Blocks, rate_gbs: float, block_bytes: int) -> None:
        self.gpu, self.host = gpu, host
        self.out, self.back = Link(rate_gbs), Link(rate_gbs)
        self._block_bytes = block_bytes
        self._leaving, self._coming = deque[_Move](), deque[_Move]()
        self._moving: set[int] = set()
        self._dropped_bytes = 0  # of the host's
        self.offloads = 0

    def resident(self, number: int) -> bool:
        """All of it is on the GPU, and stays."""
        return number not in self._moving and self.gpu.held(number) > 0

    def away(self, number: int) -> bool:
        """All of it is on the host, and stays."""
        return number not in self._moving and self.host.held(number) > 0

    @property
    def idle(self) -> bool:
        return not self._moving

    @property
    def leaving_blocks(self) -> int:
        """Of the GPU, that will be free when they have left."""
        return sum(self.gpu.held(move.number) for move in self._leaving)

    def can_leave(self, number: int) -> bool:
        return self.out.works and self.resident(number) and self.host.free >= self.gpu.held(number)

    def can_come(self, number: int) -> bool:
        return self.away(number) and self.gpu.free >= self.host.held(number)

    def offload(self, number: int, now_ns: int) -> None:
        """Begin to copy it to the host."""
        count = self.gpu.held(number)
        self.host.take(number, count)
        self._moving.add(number)
        self._leaving.append(_Move(self.out.send(count * self._block_bytes, now_ns), number))
        self.offloads += 1

    def upload(self, number: int, now_ns: int) -> None:
        """Begin to copy it to the GPU."""
        count = self.host.held(number)
        self.gpu.take(number, count)
        self._moving.add(number)
        self._coming.append(_Move(self.back.send(count * self._block_bytes, now_ns), number))

    def drop(self, number: int) -> None:
        """It is gone, from whichever side it is on and stays."""
        if self.resident(number):
            self.gpu.give(number)
            return
        self._dropped_bytes += self.host.held(number) * self._block_bytes
        self.host.give(number)

    def settle(self, now_ns: int) -> None:
        """What has been copied until now is on its new side alone."""
        for moves, old in ((self._leaving, self.gpu), (self._coming, self.host)):
            while moves and moves[0].end_ns <= now_ns:
                number = moves.popleft().number
                old.give(number)
                self._moving.discard(number)

    def next_ns(self) -> int | None:
        """When the next copy is whole."""
        ends = [moves[0].end_ns for moves in (self._leaving, self._coming) if moves]
        return min(ends) if ends else None

    def check(self) -> None:
        """Raise AssertionError unless blocks are conserved, each request is on one side or on its way, and bytes that
        went to the host are there, or came back, or were dropped.
        """
        self.gpu.check()
        self.host.check()
        assert {*self.gpu.owners} & {*self.host.owners} == self._moving
        stay = self.host.total - self.host.free - sum(self.host.held(move.number) for move in self._coming)
        assert self.out.moved_bytes == self.back.moved_bytes + self._dropped_bytes + stay * self._block_bytes
