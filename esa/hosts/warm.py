"""Compiling both engines ahead, so that of several processes that start together each finds them compiled.

`python -m esa.hosts warm`; the machine code is kept where `esa.native` says.
"""

from __future__ import annotations

import fcntl
from collections.abc import Callable
from typing import Any

from numba.core import event

from esa.hosts import channel, operations, server, worker
from esa.hosts.compiled import done_file
from esa.hosts.membership import say
from esa.protocol import server_receive, server_send, worker_receive, worker_send

# The engines' loops and what they call, in about the order in which it is compiled; a few seconds each at most.
LOOPS: tuple[Any, ...] = (server._run, worker._run)
CALLED: tuple[Any, ...] = (
    channel.receive,
    channel.void_wrong_lengths,
    server._senders,
    server_receive,
    server_send,
    channel.send_all,
    channel.wait,
    worker_receive,
    operations.drain,
    operations.feed,
    worker_send,
)
PARTS = (*LOOPS, *(function.part for function in CALLED))


def say_compiling(done: int, parts: int) -> None:
    """Tell a person, once, why it takes so long."""
    if done == 0:
        say("compiling the packet loops for this machine, once; about half a minute")


def warm(tell: Callable[[int, int], None]) -> None:
    """Compile what is not compiled yet, telling `tell` how many parts are done, of how many.

    One process compiles at a time; the next one finds everything done, and once it is, nobody waits for another.
    OSError: no room for the code, or no sockets.
    """
    done = done_file()
    if done.exists():
        return
    progress = _Progress(tell)
    event.register("numba:compile", progress)
    try:
        with done.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            server.ServerEndpoint.compile()
            worker.WorkerEndpoint.compile()
            done.touch()
    finally:
        event.unregister("numba:compile", progress)


class _Progress(event.Listener):  # type: ignore[misc]
    """Counts the parts that were compiled; what comes from the cache is not."""

    def __init__(self, tell: Callable[[int, int], None]) -> None:
        self._tell = tell
        self._done: set[Any] = set()

    def on_start(self, event: Any) -> None:
        if not self._done and event.data["dispatcher"] in LOOPS:
            self._tell(0, len(PARTS))

    def on_end(self, event: Any) -> None:
        part = event.data["dispatcher"]
        if part in PARTS and part not in self._done:
            self._done.add(part)
            self._tell(len(self._done), len(PARTS))
