"""Being told to end: Ctrl-C, SIGTERM and a closed terminal are one thing to whoever waits for a result."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def ending_interrupts() -> Iterator[None]:
    """Any of them raises KeyboardInterrupt."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    with _handled_by(interrupt):
        yield


@contextlib.contextmanager
def ending_asks() -> Iterator[Callable[[], bool]]:
    """The first of them makes the yielded function say True; a second one raises KeyboardInterrupt."""
    asked = False

    def ask(_number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True

    with _handled_by(ask):
        yield lambda: asked


@contextlib.contextmanager
def ending_signals() -> Iterator[list[int]]:
    """They are noted, in the order in which they came, in the yielded list."""
    came: list[int] = []
    with _handled_by(lambda number, _: came.append(number)):
        yield came


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """They must not cut cleaning up short: where something ends already, they are ignored; else heard afterwards.

    Other threads than the main one get none.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ends = sys.exc_info()[0] is not None
    with ending_signals() as came:
        yield
    if came and not ends:
        signal.raise_signal(came[0])


@contextlib.contextmanager
def _handled_by(handler: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    previous = {number: signal.signal(number, handler) for number in _ENDING}
    try:
        yield
    finally:
        for number, before in previous.items():
            signal.signal(number, before)
