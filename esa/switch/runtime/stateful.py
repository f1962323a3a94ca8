"""Registers, counters, multicast groups and clone sessions: views of the words that generated code works on."""

from __future__ import annotations

from collections import Counter as Counts
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from esa.switch.compiler.layout import CLONE_SESSIONS, MULTICAST_GROUPS, Layout
from esa.switch.compiler.program import words_of


class Register:
    """A register array: `size` cells of `width` bits, unsigned as in BMv2 (`signed` is always False there)."""

    def __init__(self, name: str, width: int, cells: npt.NDArray[np.uint32] | npt.NDArray[np.int64]) -> None:
        self.name = name
        self.width = width
        self.size = len(cells)
        self.signed = False
        self._cells = cells

    def read(self, index: int) -> int:
        """The number in a cell. Raises IndexError out of range."""
        self._check(index)
        return int(self._cells[index]) & ((1 << self.width) - 1)

    def write(self, index: int, value: int) -> None:
        """Put a number into a cell, cut to `width` bits. Raises IndexError out of range."""
        self._check(index)
        value &= (1 << self.width) - 1
        self._cells[index] = value - (1 << 64) if value >> 63 else value

    def part(self, cells: range) -> Register:
        """A copy of some cells next to one another, whatever changes from here on; they are numbered from 0."""
        return type(self)(self.name, self.width, self._cells[cells.start : cells.stop].copy())

    def read_all(self) -> npt.NDArray[Any]:
        """A copy of all cells, shape (size,): uint64, or Python's integers where a cell has more than 64 bits."""
        return self._cells.astype(np.int64).view(np.uint64)

    def clear(self) -> None:
        """Zero every cell."""
        self._cells[:] = 0

    def _check(self, index: int) -> None:
        if not 0 <= index < self.size:
            raise IndexError(f"register {self.name}: cell {index} of {self.size}")


class WideRegister(Register):
    """A register array with cells of more than 64 bits: int64 words, shape (size, words), the lowest first."""

    def read(self, index: int) -> int:
        self._check(index)
        return int.from_bytes(self._cells[index].astype("<i8").tobytes(), "little")

    def write(self, index: int, value: int) -> None:
        self._check(index)
        self._cells[index] = np.array(words_of(value, self.width), np.uint64).view(np.int64)

    def read_all(self) -> npt.NDArray[Any]:
        values = np.empty(self.size, object)
        values[:] = [self.read(index) for index in range(self.size)]
        return values


class Counter:
    """Packets and bytes per cell; both arrays, shape (size,), are live views."""

    def __init__(self, name: str, packets: npt.NDArray[np.uint64], octets: npt.NDArray[np.uint64]) -> None:
        self.name = name
        self.packets = packets
        self.bytes = octets

    def clear(self) -> None:
        """Zero every cell."""
        self.packets[:] = 0
        self.bytes[:] = 0


class MulticastGroups:
    """Multicast groups: copies of a packet, each to an egress port with a replica id ("instance", egress_rid).

    Copies leave ordered by instance, then port, as simple_switch's replication engine makes them.
    """

    kind = "multicast group"

    def __init__(self, layout: Layout, m64: npt.NDArray[np.int64], index: int, limit: int, pool: _NodePool) -> None:
        self._m64 = m64
        self._index = index
        self._limit = limit
        self._pool = pool
        self._groups: dict[int, tuple[tuple[int, int], ...]] = {}
        self._sizes: Counts[int] = Counts()  # how many groups make so many copies
        pool.owners.append(self)

    def set(self, group_id: int, replicas: Iterable[tuple[int, int]]) -> None:
        """Make or change a group of (port, instance) copies. Raises ValueError for a bad id, port or repeated copy."""
        if not 0 < group_id < self._limit:
            raise ValueError(f"{self.kind} {group_id}: ids go from 1 to {self._limit - 1}")
        nodes = [(int(port), int(instance)) for port, instance in replicas]
        if len(set(nodes)) != len(nodes):
            raise ValueError(f"{self.kind} {group_id}: the same port and instance twice")
        for port, instance in nodes:
            if not (0 <= port < 65536 and 0 <= instance < 65536):
                raise ValueError(f"{self.kind} {group_id}: port {port}, instance {instance} is out of range")
        before = len(self._groups.get(group_id, ()))
        if not self._pool.has_room(len(nodes) - before):
            raise ValueError(f"{self.kind} {group_id}: more copies than the switch can hold")
        self._groups[group_id] = tuple(sorted(nodes, key=lambda node: (node[1], node[0])))
        self._count(before, len(nodes))
        self._pool.place(self, group_id)

    def delete(self, group_id: int) -> None:
        """Remove a group. Raises KeyError if there is none."""
        if group_id not in self._groups:
            raise KeyError(f"{self.kind} {group_id} does not exist")
        self._count(len(self._groups.pop(group_id)), 0)
        self._m64[self._index + 2 * group_id : self._index + 2 * group_id + 2] = 0
        self._pool.note_largest()

    def get(self, group_id: int) -> list[tuple[int, int]]:
        """The (port, instance) copies of a group. Raises KeyError if there is none."""
        if group_id not in self._groups:
            raise KeyError(f"{self.kind} {group_id} does not exist")
        return list(self._groups[group_id])

    def ids(self) -> list[int]:
        """The ids in use, ascending."""
        return sorted(self._groups)

    def clear(self) -> None:
        """Remove every group."""
        for group_id in self.ids():
            self.delete(group_id)

    def write(self, group_id: int, at: int) -> int:
        """Write a group's copies to the words from `at` on; returns where they stop."""
        nodes = self._groups[group_id]
        self._m64[at : at + 2 * len(nodes)] = [number for node in nodes for number in node]
        self._m64[self._index + 2 * group_id] = at
        self._m64[self._index + 2 * group_id + 1] = len(nodes)
        return at + 2 * len(nodes)

    def largest(self) -> int:
        """The most copies that one group makes."""
        return max(self._sizes, default=0)

    def _count(self, before: int, after: int) -> None:
        self._sizes[after] += 1
        self._sizes[before] -= 1
        self._sizes = +self._sizes  # keeps what is above zero
        self._pool.used += after - before


class CloneSessions(MulticastGroups):
    """Clone sessions: where copies made by clone() go; as multicast groups, by session id."""

    kind = "clone session"

    def __init__(self, layout: Layout, m64: npt.NDArray[np.int64], index: int, limit: int, pool: _NodePool) -> None:
        super().__init__(layout, m64, index, limit, pool)
        self._lengths = m64[layout.clone_limits : layout.clone_limits + CLONE_SESSIONS]
        self._classes = m64[layout.clone_classes : layout.clone_classes + CLONE_SESSIONS]

    def truncate(self, session_id: int, length: int) -> None:
        """Let the clones of a session have `length` bytes at most, 0: any. Raises KeyError if there is none."""
        self.get(session_id)
        self._lengths[session_id] = length

    def serve(self, session_id: int, priority: int) -> None:
        """Let the clones of a session wait in the queues of this priority, 0: in those that the program says.

        Raises KeyError if there is none.
        """
        self.get(session_id)
        self._classes[session_id] = priority

    def delete(self, group_id: int) -> None:
        """Remove a session. Raises KeyError if there is none."""
        super().delete(group_id)
        self._lengths[group_id] = self._classes[group_id] = 0


class _NodePool:
    """The words that hold the copies of all groups and sessions: written one behind the other, moved up when full."""

    def __init__(self, layout: Layout, m64: npt.NDArray[np.int64]) -> None:
        self._m64 = m64
        self._start = self._next = layout.group_nodes
        self._end = layout.group_nodes + 2 * layout.group_capacity
        self._capacity = layout.group_capacity
        self._largest = layout.lost + 1
        self.owners: list[MulticastGroups] = []
        self.used = 0
        self.note_largest()

    def has_room(self, copies: int) -> bool:
        """Whether `copies` more fit."""
        return self.used + copies <= self._capacity

    def place(self, owner: MulticastGroups, group_id: int) -> None:
        """Write a group that is new or has changed; its copies of before become a gap."""
        if self._next + 2 * len(owner.get(group_id)) <= self._end:
            self._next = owner.write(group_id, self._next)
        else:
            self._next = self._start
            for each in self.owners:
                for id_ in each.ids():
                    self._next = each.write(id_, self._next)
        self.note_largest()

    def note_largest(self) -> None:
        """Tell the generated code how much room the copies of a packet may take."""
        self._m64[self._largest] = max(1, sum(owner.largest() for owner in self.owners) + 1)


def groups_and_sessions(
    layout: Layout, m64: npt.NDArray[np.int64], clones: bool
) -> tuple[MulticastGroups, CloneSessions | None]:
    """The multicast groups, and the clone sessions of a program that clones."""
    pool = _NodePool(layout, m64)
    groups = MulticastGroups(layout, m64, layout.groups, MULTICAST_GROUPS, pool)
    sessions = CloneSessions(layout, m64, layout.clones, CLONE_SESSIONS, pool) if clones else None
    return groups, sessions
