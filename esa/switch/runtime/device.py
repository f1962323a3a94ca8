"""The running device: the program that packets meet, and the turns that packets and the control plane take with it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


class Device:
    """What the packet loop and the P4Runtime server share.

    `pipeline` is the program in service, None before the first. Two hooks connect the CPU port: the packet loop calls
    `on_packet_in(bytes)`, the server calls `on_packet_out(bytes)`; either may be replaced. `set_port` calls a third.
    """

    def __init__(self, device_id: int = 0, cpu_port: int | None = None, pipeline: Any = None) -> None:
        self.device_id = device_id
        self.cpu_port = cpu_port
        self.pipeline = pipeline
        self.on_packet_in: Callable[[bytes], None] = lambda packet: None
        self.on_packet_out: Callable[[bytes], None] = lambda packet: None
        self.down_ports: set[int] = set()
        self.on_port: Callable[[int, bool], None] = lambda port, up: None
        # A lock is not fair: the packet loop, which takes the pipeline's lock again right after giving it up, would
        # starve the control plane. Whoever changes state holds the turnstile while it waits, and the loop passes
        # through it before every batch.
        self._turnstile = threading.Lock()

    def set_port(self, port: int, up: bool) -> None:
        """Note that a port's link is up or down, which it is taken to be until then, and tell the server."""
        (self.down_ports.discard if up else self.down_ports.add)(port)
        self.on_port(port, up)

    @contextmanager
    def exclusive(self, pipeline: Any) -> Iterator[None]:
        """Hold `pipeline` still, ahead of waiting packets."""
        with self._turnstile, pipeline.lock:
            yield

    def give_way(self) -> None:
        """Let a waiting control plane go first; the packet loop calls it before it takes the pipeline's lock."""
        with self._turnstile:
            pass
