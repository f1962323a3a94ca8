"""The running device: the program that packets meet, and the turns that packets and the control plane take with it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from esa.switch.runtime.queue_settings import QueueSettings
from esa.switch.runtime.queues import split
from esa.switch.runtime.turns import Turns, end_turn, take_turn


@dataclass
class Ports:
    """Which ports there are, None where nobody has said, and those of them whose links are `down`."""

    numbers: frozenset[int] | None = None
    down: set[int] = field(default_factory=set)
    names: Mapping[str, int] = field(default_factory=dict)  # the numbers of those that have one

    def __contains__(self, port: int) -> bool:
        return self.numbers is None or port in self.numbers


class Device:
    """What the packet loop and the P4Runtime server share.

    `pipeline` is the program in service, None before the first. Two hooks connect the CPU port: the packet loop calls
    `on_packet_in(bytes)`, the server calls `on_packet_out(bytes)`; either may be replaced. `set_port` calls a third,
    and `on_change` is called when there is another program, or other queues.
    `ports`: the numbers of its ports beside the CPU port, with their names where they have some, None where
    any may come to be. `queues`: what those of the
    ports are to be, None: as fast as they can. `progress` is told when a change of them makes the program compile anew.
    """

    def __init__(
        self,
        device_id: int = 0,
        cpu_port: int | None = None,
        pipeline: Any = None,
        ports: Iterable[int] | Mapping[int, str] | None = None,
        queues: QueueSettings | None = None,
        progress: Callable[[str], None] | None = None,
    ) -> None:
        self.device_id = device_id
        self.cpu_port = cpu_port
        self._pipeline = pipeline
        self.on_packet_in: Callable[[bytes], None] = lambda packet: None
        self.on_packet_out: Callable[[bytes], None] = lambda packet: None
        own = () if cpu_port is None else (cpu_port,)
        names = {name: number for number, name in ports.items()} if isinstance(ports, Mapping) else {}
        self.ports = Ports(None if ports is None else frozenset((*ports, *own)), names=names)
        self.on_port: Callable[[int], None] = lambda port: None
        self.on_change: Callable[[], None] = lambda: None
        self.queues = QueueSettings((*(ports or ()), *own)) if queues is None else queues
        self._progress = progress
        self.turns = Turns()
        self._splitting = threading.Lock()

    @property
    def pipeline(self) -> Any:
        """The program in service."""
        return self._pipeline

    @pipeline.setter
    def pipeline(self, pipeline: Any) -> None:
        self._pipeline = pipeline
        self.on_change()

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
        self.on_change()

    def fit_for_queues(self, pipeline: Any) -> None:
        """Make a program ready for queues, if there are any; it may be one that packets meet."""
        if self.queues.used and pipeline.halves is None:
            with self._splitting:
                split(pipeline, self._progress)

    def set_port(self, port: int, up: bool) -> None:
        """Note that a port's link is up or down, which it is taken to be until then, and tell the server."""
        (self.ports.down.discard if up else self.ports.down.add)(port)
        self.on_port(port)

    def exclusive(self) -> Turns:
        """What keeps packets away while it is entered, ahead of those that have not waited for long."""
        return self.turns

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Have the state for a batch of packets, behind a control plane that waits."""
        take_turn(self.turns.words)
        try:
            yield
        finally:
            end_turn(self.turns.words)
