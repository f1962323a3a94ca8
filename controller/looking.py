"""Looking at one switch again and again: connect anew when it is lost, say each problem once, stop when told to."""

from __future__ import annotations

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable

from controller.client import Switch
from esa.errors import BadInput, SwitchError, Unreachable
from esa.log import area, event

_log = area("controller")
LOOK_S = 0.1
COMPARE_S = 1.0


class Looking(ABC):
    """What `Supervisor` and `Keeper` have in common; what a look does is theirs.

    connect: opens a connection; called again whenever one is lost. say: told in words what was found and done, each
    once.
    """

    def __init__(self, connect: Callable[[], Switch], say: Callable[[str], None] | None) -> None:
        self.restorations = 0  # how often the switch had lost everything
        self._connect = connect
        self._say = say or (lambda _: None)
        self._switch: Switch | None = None
        self._generation: int | None = None  # of the program that it ran when it was last looked at
        self._compare_at = 0.0
        self._problem = ""
        self._lost_at: float | None = None  # since when it does not answer
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @abstractmethod
    def _look(self) -> None:
        """Do what is to be done. SwitchError, BadInput; Unreachable: the switch is lost."""

    def look(self) -> None:
        """Look at the switch once, and do what is to be done."""
        try:
            self._look()
            self._problem = ""
        except Unreachable as error:
            # A fresh connection finds a restarted switch at once; this one's channel would wait, longer every time.
            self._disconnect()
            if self._lost_at is None:
                self._lost_at = time.monotonic()
                event(_log, logging.WARNING, "the switch is lost", why=error)
                self._say(f"{error}; waiting for it")
        except (SwitchError, BadInput) as error:
            if str(error) != self._problem:
                self._problem = str(error)
                event(_log, logging.WARNING, "a look at the switch failed", why=error)
                self._say(self._problem)

    def run(self) -> None:
        """Look again and again until `close` is called."""
        while not self._stop.wait(LOOK_S):
            self.look()

    def close(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        self._disconnect()

    def _look_from_now_on(self, name: str) -> None:
        self._thread = threading.Thread(target=self.run, name=name, daemon=True)
        self._thread.start()

    def _connected(self) -> Switch:
        if self._switch is None:
            self._switch = self._connect()
        return self._switch

    def _disconnect(self) -> None:
        if self._switch is not None:
            self._switch.close()
            self._switch = None
