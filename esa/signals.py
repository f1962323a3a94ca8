"""Being told to end: Ctrl-C, SIGTERM and a closed terminal are one thing to whoever waits for a result."""

from __future__ import annotations

import contextlib
import signal
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
    """They are ignored: a second Ctrl-C must not cut cleaning up short. (Other threads than the main one get none.)"""
    main = threading.current_thread() is threading.main_thread()
    with _handled_by(signal.SIG_IGN) if main else contextlib.nullcontext():
        yield


@contextlib.contextmanager
def _handled_by(handler: Callable[[int, FrameType | None], object] | signal.Handlers) -> Iterator[None]:
    previous = {number: signal.signal(number, handler) for number in _ENDING}
    try:
        yield
    finally:
        for number, before in previous.items():
            signal.signal(number, before)
