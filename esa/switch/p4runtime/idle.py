"""Idle time-outs of table entries: who was not hit for how long (P4Runtime 1.4, 9.1.8 and 16.4)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from esa.p4runtime import p4runtime_pb2

_TOLD_AT_ONCE = 1024  # entries that one notification names: a client takes messages of 4 MiB, where it says nothing


class IdleTimeouts:
    """The time-outs of one table's entries, by row.

    `hits`: how often each row was hit, int64 (rows,), a live view: packets count up, nobody counts down. When a row was
    last hit is known as well as `look` is called often. `clock` returns nanoseconds.
    """

    def __init__(self, hits: npt.NDArray[np.int64], clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._hits = hits
        self._clock = clock
        self._seen = hits.copy()
        self._hit_ns = np.zeros(len(hits), np.int64)
        self._entries: dict[int, Any] = {}  # those that have a time-out, as a notification names them
        self._timeout_ns = np.zeros(len(hits), np.int64)  # 0 for none
        self._asked_ns = np.zeros(len(hits), np.int64)  # when the time-out was given, or last told of

    def begin(self, row: int) -> None:
        """A row has a new entry."""
        self._seen[row], self._hit_ns[row] = self._hits[row], self._clock()

    def put(self, row: int, entry: Any) -> None:
        """Take the time-out of a TableEntry that is written to a row; 0 is none."""
        self.drop(row)
        if entry.idle_timeout_ns:
            named = p4runtime_pb2.TableEntry(
                table_id=entry.table_id,
                match=entry.match,
                priority=entry.priority,
                controller_metadata=entry.controller_metadata,
                metadata=entry.metadata,
                idle_timeout_ns=entry.idle_timeout_ns,
            )
            self._entries[row], self._timeout_ns[row] = named, entry.idle_timeout_ns
            self._asked_ns[row] = self._clock()

    def drop(self, row: int) -> None:
        """The entry of a row is gone, or has no time-out any more."""
        self._entries.pop(row, None)
        self._timeout_ns[row] = 0

    def timeout_ns(self, row: int) -> int:
        """The time-out of a row's entry; 0 for none."""
        return int(self._timeout_ns[row])

    def look(self) -> int:
        """Note which rows were hit since the last look; returns the time now."""
        now = self._clock()
        hits = self._hits.copy()
        self._hit_ns[hits != self._seen] = now
        self._seen = hits
        return now

    def since_hit_ns(self, row: int) -> int:
        """How long ago a row was hit, or its entry added; as of the last look."""
        return max(self._clock() - int(self._hit_ns[row]), 0)

    def expired(self) -> Iterator[Any]:
        """The notifications of the entries that have been idle for their time since they were hit or last told of."""
        if not self._entries:
            return
        now = self.look()
        idle_ns = now - np.maximum(self._hit_ns, self._asked_ns)
        rows = np.flatnonzero((self._timeout_ns != 0) & (idle_ns >= self._timeout_ns))
        self._asked_ns[rows] = now
        for first in range(0, len(rows), _TOLD_AT_ONCE):
            response = p4runtime_pb2.StreamMessageResponse()
            told = (self._entries[row] for row in rows[first : first + _TOLD_AT_ONCE].tolist())
            response.idle_timeout_notification.table_entry.extend(told)
            yield response
