"""Idle time-outs of table entries: who was not hit for how long (P4Runtime 1.4, 9.1.8 and 16.4)."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from esa.p4runtime import p4runtime_pb2


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
        self._asked_ns: dict[int, int] = {}  # when they were last told of

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
            self._entries[row], self._asked_ns[row] = named, self._clock()

    def drop(self, row: int) -> None:
        """The entry of a row is gone, or has no time-out any more."""
        self._entries.pop(row, None)
        self._asked_ns.pop(row, None)

    def timeout_ns(self, row: int) -> int:
        """The time-out of a row's entry; 0 for none."""
        entry = self._entries.get(row)
        return 0 if entry is None else int(entry.idle_timeout_ns)

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

    def expired(self) -> Any | None:
        """The notification of the entries that have been idle for their time since they were hit or last told of."""
        if not self._entries:
            return None
        now = self.look()
        response = p4runtime_pb2.StreamMessageResponse()
        for row, entry in self._entries.items():
            if now - max(int(self._hit_ns[row]), self._asked_ns[row]) >= entry.idle_timeout_ns:
                response.idle_timeout_notification.table_entry.append(entry)
                self._asked_ns[row] = now
        return response if response.HasField("idle_timeout_notification") else None
