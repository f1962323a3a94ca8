"""What takes a while, as simulating a run again: done once, in a thread, and kept.

work = Work(lambda progress: simulate_again(progress))
work.state()       # starts it; Working(0.4), then Done(value) or Failed("why")
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from esa.errors import EsaError

Value = TypeVar("Value")
Progress = Callable[[float], None]


@dataclass(frozen=True)
class Working:
    part: float


@dataclass(frozen=True)
class Done(Generic[Value]):
    value: Value


@dataclass(frozen=True)
class Failed:
    """why: one line."""

    why: str


class StopError(Exception):
    """Raised inside of what was told to stop."""


_ONE = threading.Lock()  # at a time: each takes a processor


class Work(Generic[Value]):
    """make: told a function to call with the part that is done; what it raises as an `EsaError` is its failure."""

    def __init__(self, make: Callable[[Progress], Value]) -> None:
        self._make = make
        self._part = 0.0
        self._state: Done[Value] | Failed | None = None
        self._stopped = False
        self._thread: threading.Thread | None = None

    def state(self) -> Working | Done[Value] | Failed:
        if self._state is not None:
            return self._state
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="again", daemon=True)
            self._thread.start()
        return Working(self._part)

    def wait(self, timeout_s: float | None = None) -> Working | Done[Value] | Failed:
        self.state()
        if self._thread is not None:
            self._thread.join(timeout_s)
        return self.state()

    def stop(self) -> None:
        """Let it end at its next word of progress."""
        self._stopped = True

    def _run(self) -> None:
        try:
            with _ONE:
                self._state = Done(self._make(self._progress))
        except StopError:
            self._state = Failed("stopped")
        except EsaError as error:
            self._state = Failed(str(error))
        except Exception as error:
            self._state = Failed(f"{type(error).__name__}: {error}")

    def _progress(self, part: float) -> None:
        if self._stopped:
            raise StopError
        self._part = part
