"""News that the data plane has for clients: looked for again and again, and sent on."""

from __future__ import annotations

import threading
import time
import weakref
from typing import Any

INTERVAL_S = 0.01


class Notifier:
    """Calls `owner.notify()` every INTERVAL_S from a thread of its own, from `start` until the owner is gone."""

    def __init__(self, owner: Any) -> None:
        self._owner = weakref.ref(owner)
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin, if it has not begun."""
        if self._thread is None:
            self._thread = threading.Thread(target=_run, args=(self._owner,), name="notifier", daemon=True)
            self._thread.start()


def _run(owner: weakref.ref[Any]) -> None:
    while True:
        time.sleep(INTERVAL_S)
        found = owner()
        if found is None:
            return
        found.notify()
        del found
