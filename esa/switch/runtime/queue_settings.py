"""What the queues of a switch's ports are to be: what command line and clients say, and the packet loop reads.

settings = QueueSettings(ports=(1, 2, 3), priorities=8)
settings.change(rate_pps=1000.0)                     # every queue of every port, as set_queue_rate 1000
settings.change(depth=16, port=1, priority=7)        # one queue, as set_queue_depth 16 1 7
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import replace

from esa.errors import BadInput
from esa.switch.runtime.queue_limits import QueueLimit

MAX_RATE = 1e12
MAX_DEPTH = 1_000_000  # of one queue, and of all that have a rate together
MAX_PRIORITIES = 32


class QueueSettings:
    """Rates and depths by (port, priority). `version` changes with them; callable from any thread."""

    def __init__(
        self, ports: Iterable[int] = (), priorities: int = 1, limits: Mapping[int, QueueLimit] | None = None
    ) -> None:
        self.priorities = priorities
        self.version = 0
        self._lock = threading.Lock()
        self._limits = {
            (port, priority): QueueLimit()
            for port in sorted({*ports, *(limits or {})})
            for priority in range(priorities)
        }
        for (port, priority), limit in self._limits.items():
            self._limits[port, priority] = (limits or {}).get(port, limit)
        self._used = bool(self._limits) and (priorities > 1 or bool(limits))

    @property
    def used(self) -> bool:
        """Whether a queue has or had a rate, or a port several queues: whether programs have to be split at them."""
        return self._used

    def limits(self) -> dict[tuple[int, int], QueueLimit]:
        """Of the queues that have a rate, by (port, priority)."""
        with self._lock:
            return {queue: limit for queue, limit in self._limits.items() if _has_rate(limit)}

    def change(
        self,
        *,
        port: int | None = None,
        priority: int | None = None,
        rate_pps: float | None = None,
        depth: int | None = None,
    ) -> None:
        """Set the rate (packets/s, 0: as fast as it can), the depth (packets), or both of a queue.

        `port` None: of all ports; `priority` None: of all queues of a port. Raises BadInput, and changes nothing then.
        """
        with self._lock:
            chosen = self._chosen(port, priority)
            if rate_pps is not None and rate_pps != 0 and not 1 <= rate_pps <= MAX_RATE:
                raise BadInput(f"rate_pps {rate_pps:g}: 0 (no rate), or from 1 to {MAX_RATE:g} is allowed")
            if depth is not None and not 1 <= depth <= MAX_DEPTH:
                raise BadInput(f"depth {depth}: from 1 to {MAX_DEPTH} is allowed")
            changed = dict(self._limits)
            for queue in chosen:
                limit = changed[queue]
                if rate_pps is not None:
                    limit = replace(limit, rate_pps=rate_pps or None, rate_bps=None)
                changed[queue] = limit if depth is None else replace(limit, depth=depth)
            total = sum(limit.depth for limit in changed.values() if _has_rate(limit))
            if total > MAX_DEPTH:
                raise BadInput(f"the queues with a rate would hold {total} packets together; {MAX_DEPTH} are allowed")
            self._limits = changed
            self._used = self._used or any(map(_has_rate, changed.values()))
            self.version += 1

    def _chosen(self, port: int | None, priority: int | None) -> list[tuple[int, int]]:
        ports = sorted({number for number, _ in self._limits})
        if port is not None and port not in ports:
            raise BadInput(f"port {port}: no such port; allowed: {', '.join(map(str, ports)) or 'none'}")
        if not ports:
            raise BadInput("no port of this switch has queues")
        if priority is not None and not 0 <= priority < self.priorities:
            raise BadInput(f"priority {priority}: 0 to {self.priorities - 1} are allowed (--priority-queues)")
        return [(p, q) for p, q in self._limits if port in (None, p) and priority in (None, q)]


def _has_rate(limit: QueueLimit) -> bool:
    return limit.rate_pps is not None or limit.rate_bps is not None
