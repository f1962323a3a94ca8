"""What engines count, as log lines of the area `protocol`: what was gained between two looks."""

from __future__ import annotations

import logging

from esa.log import area, event
from esa.protocol.packets import Records

_log = area("protocol")


class CountLog:
    """Logs gains at level debug; where nobody wants that, a look costs nothing. fields: whose they are."""

    def __init__(self, **fields: object) -> None:
        self._fields = fields
        self._before: dict[str, int] = {}

    def look(self, counter: Records, seq: int | None = None) -> None:
        """counter: (1,), an engine's. seq: of the oldest fragment without a sum, if that is known."""
        if not _log.isEnabledFor(logging.DEBUG):
            return
        now = {name: int(counter[0][name]) for name in counter.dtype.names or ()}
        gained = {name: value - self._before.get(name, 0) for name, value in now.items()}
        self._before = now
        if any(gained.values()):
            event(_log, logging.DEBUG, "counted", **self._fields, seq=seq, **{k: v for k, v in gained.items() if v})
