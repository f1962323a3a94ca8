"""The running device: the program that packets meet, and the turns that packets and the control plane take with it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic_ns
from typing import Any

from esa.switch.runtime.queue_settings import QueueSettings
from esa.switch.runtime.queues import split

_PATIENCE_NS = 100_000  # of packets, while one change follows another


@dataclass
class Ports:
    """Which ports there are, None where nobody has said, and those of them whose links are `down`."""

    numbers: frozenset[int] | None = None
    down: set[int] = field(default_factory=set)

    def __contains__(self, port: int) -> bool:
        return self.numbers is None or port in self.numbers


class Device:
    """What the packet loop and the P4Runtime server share.

    `pipeline` is the program in service, None before the first. Two hooks connect the CPU port: the packet loop calls
    `on_packet_in(bytes)`, the server calls `on_packet_out(bytes)`; either may be replaced. `set_port` calls a third.
    `ports`: the numbers of its ports beside the CPU port, None where any may come to be. `queues`: what those of the
    ports are to be, None: as fast as they can. `progress` is told when a change of them makes the program compile anew.
    """

    def __init__(
        self,
        device_id: int = 0,
        cpu_port: int | None = None,
        pipeline: Any = None,
        ports: Iterable[int] | None = None,
        queues: QueueSettings | None = None,
        progress: Callable[[str], None] | None = None,
    ) -> None:
        self.device_id = device_id
        self.cpu_port = cpu_port
        self.pipeline = pipeline
        self.on_packet_in: Callable[[bytes], None] = lambda packet: None
        self.on_packet_out: Callable[[bytes], None] = lambda packet: None
        own = () if cpu_port is None else (cpu_port,)
        self.ports = Ports(None if ports is None else frozenset((*ports, *own)))
        self.on_port: Callable[[int], None] = lambda port: None
        self.on_queues: Callable[[], None] = lambda: None
        self.queues = QueueSettings((*(ports or ()), *own)) if queues is None else queues
        self._progress = progress
        # A lock is not fair: who takes it again right after giving it up starves the other. So whoever changes state
        # holds the turnstile while it waits for the pipeline's lock, and the loop passes through that before every
        # batch. Where changes follow one another, they let the loop go first once it has waited long.
        self._turnstile = threading.Lock()
        self._asking = threading.Lock()
        self._asked_ns = 0  # since when the loop has been waiting; 0: it is not
        self._splitting = threading.Lock()

    def set_queue(
        self,
        *,
        port: int | None = None,
        priority: int | None = None,
        rate_pps: float | None = None,
        depth: int | None = None,
    ) -> None:
        """Set the rate, the depth or both of queues, as `QueueSettings.change`. Raises BadInput.

        The first rate takes as long as the program takes to compile; packets pass meanwhile.
        """
        self.queues.change(port=port, priority=priority, rate_pps=rate_pps, depth=depth)
        pipeline = self.pipeline
        if pipeline is not None:
            self.fit_for_queues(pipeline)
        self.on_queues()

    def fit_for_queues(self, pipeline: Any) -> None:
        """Make a program ready for queues, if there are any; it may be one that packets meet."""
        if self.queues.used and pipeline.halves is None:
            with self._splitting:
                split(pipeline, self._progress)

    def set_port(self, port: int, up: bool) -> None:
        """Note that a port's link is up or down, which it is taken to be until then, and tell the server."""
        (self.ports.down.discard if up else self.ports.down.add)(port)
        self.on_port(port)

    @contextmanager
    def exclusive(self, pipeline: Any) -> Iterator[None]:
        """Hold `pipeline` still, ahead of packets that have not waited for long."""
        self.hold(pipeline)
        try:
            yield
        finally:
            self.release(pipeline)

    def hold(self, pipeline: Any) -> None:
        """Begin what `exclusive` does; `release` ends it."""
        asked_ns = self._asked_ns
        if asked_ns and monotonic_ns() - asked_ns > _PATIENCE_NS:
            with self._asking:
                pass
        self._turnstile.acquire()
        pipeline.lock.acquire()

    def release(self, pipeline: Any) -> None:
        """End what `hold` began."""
        pipeline.lock.release()
        self._turnstile.release()

    def take_turn(self, pipeline: Any) -> None:
        """Take `pipeline.lock` for a batch of packets, behind a control plane that waits; release it after."""
        with self._asking:
            self._asked_ns = monotonic_ns()
            with self._turnstile:
                pass
            pipeline.lock.acquire()
            self._asked_ns = 0
