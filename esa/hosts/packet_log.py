"""Every packet of an engine as a log line, what was decided of it among it: ESA_LOG=protocol:debug.

An engine's loop is machine code, and writes no log. Where somebody wants packets, the same text runs as Python instead,
and the two functions of `esa.protocol` that it calls are told of: what came goes in one packet at a time, and what the
engine counts by it is what was decided. So nothing is written twice, and an engine that nobody asks has no part of it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any

import numpy.typing as npt

from esa.log import area, event
from esa.protocol import (
    MULTICAST,
    UNKNOWN_SENDER,
    Words,
    as_packets,
    server_receive,
    server_send,
    worker_receive,
    worker_send,
)
from esa.protocol.packets import Records
from esa.wire import VERSION, Flag, Kind

_log = area("protocol")


def packets_wanted() -> bool:
    """Whether somebody wants the protocol's log at level debug; an engine asks when it begins."""
    return _log.isEnabledFor(logging.DEBUG)


def with_replaced(loop: Any, **functions: Callable[..., Any]) -> Callable[..., Any]:
    """Return the Python text of a native function, with functions that it calls by these names replaced."""
    text: FunctionType = loop.py_func
    missing = functions.keys() - set(text.__code__.co_names)
    if missing:
        raise ValueError(f"{text.__qualname__} calls no {', '.join(sorted(missing))}")
    return FunctionType(text.__code__, text.__globals__ | functions, text.__name__)


class PacketLog:
    """Tells of one engine's packets. counter: (1,), the engine's. fields: whose they are, such as job, epoch, rank."""

    def __init__(self, counter: Records, **fields: object) -> None:
        self._counter, self._fields = counter, fields

    def worker(self, loop: Any) -> Callable[..., Any]:
        """A worker's loop, which calls `worker_receive` and `worker_send`."""

        def told_receive(state: Any, packets: Words, count: int, now_ns: int) -> None:
            for i in range(count):
                packet, before = packets[i : i + 1], self._counter.copy()
                worker_receive(state, packet, 1, now_ns)
                self._received(packet, before)

        def told_send(state: Any, out: Words, now_ns: int) -> tuple[int, int]:
            count, until_ns = worker_send(state, out, now_ns)
            for i in range(count):
                self._event("sends", out[i : i + 1])
            return count, until_ns

        return with_replaced(loop, worker_receive=told_receive, worker_send=told_send)

    def server(self, loop: Any, members: Sequence[str]) -> Callable[..., Any]:
        """A PS's loop, which calls `server_receive` and `server_send`. members: names, by number."""
        names = dict(enumerate(members))
        senders, receivers = names | {UNKNOWN_SENDER: "unknown"}, names | {MULTICAST: "all workers"}

        def told_receive(state: Any, packets: Words, source: npt.NDArray[Any], count: int, now_ns: int) -> None:
            for i in range(count):
                packet, before = packets[i : i + 1], self._counter.copy()
                server_receive(state, packet, source[i : i + 1], 1, now_ns)
                self._received(packet, before, sender=senders[int(source[i])])

        def told_send(state: Any, out: Words, destination: npt.NDArray[Any], now_ns: int) -> tuple[int, int]:
            count, until_ns = server_send(state, out, destination, now_ns)
            for i in range(count):
                self._event("sends", out[i : i + 1], to=receivers[int(destination[i])])
            return count, until_ns

        return with_replaced(loop, server_receive=told_receive, server_send=told_send)

    def _received(self, packet: Words, before: Records, **more: object) -> None:
        """before: what was counted until it came."""
        counted = [name for name in before.dtype.names or () if before[name][0] != self._counter[name][0]]
        self._event("receives", packet, decided=" ".join(counted) or "nothing", **more)

    def _event(self, text: str, packet: Words, **more: object) -> None:
        header = as_packets(packet)[0]
        version, kind = divmod(int(header["version_kind"]), 16)
        flags = [flag.name or "" for flag in Flag if int(header["flags"]) & flag]
        known = version == VERSION and kind in Kind.__members__.values()
        other = int(header["epoch"]) if int(header["epoch"]) != self._fields.get("epoch") else None
        event(
            _log,
            logging.DEBUG,
            text,
            **self._fields,
            seq=int(header["seq"]),
            kind=Kind(kind).name if known else f"{version}.{kind}",
            flags="+".join(flags) or None,
            priority=int(header["priority"]),
            workers=f"0x{int(header['bitmap0']):x}",
            packet_epoch=other,
            **more,
        )
