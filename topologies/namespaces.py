"""Namespaces of other processes."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager


def enter(pid: int, kind: str) -> None:
    """Move the calling thread into a process's namespace of this kind, such as "net". OSError, which names it."""
    with open(f"/proc/{pid}/ns/{kind}", "rb") as namespace:
        _set(namespace.fileno(), namespace.name)


@contextmanager
def inside(pid: int, kind: str) -> Iterator[None]:
    """The calling thread is there for as long as the block lasts. OSError, which names the namespace."""
    with open(f"/proc/thread-self/ns/{kind}", "rb") as own:
        enter(pid, kind)
        try:
            yield
        finally:
            _set(own.fileno(), own.name)


def _set(fd: int, name: str) -> None:
    if ctypes.CDLL(None, use_errno=True).setns(fd, 0):
        number = ctypes.get_errno()
        raise OSError(number, f"setns: {os.strerror(number)}", name)
