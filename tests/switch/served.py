"""A served device that runs the control-plane test program, uncompiled: these tests look at the control plane."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from esa.switch.p4runtime.service import P4RuntimeServicer
from esa.switch.runtime.device import Device
from esa.switch.runtime.pipeline import Pipeline
from tests.switch.control import Client, serving

CPU_PORT = 510


def load(program: bytes) -> Pipeline:
    return Pipeline.load(program, compiled=False)


@contextmanager
def primary_client(
    *, push: bool = True, ports: Iterable[int] | Mapping[int, str] | None = None
) -> Iterator[tuple[Client, Device]]:
    """A server of its own, and its primary client; with the program in service unless `push` is false."""
    device = Device(1, CPU_PORT, ports=ports)
    with serving(P4RuntimeServicer(device, load)) as port:
        client = Client(port)
        try:
            client.elect(1)
            if push:
                client.push()
            yield client, device
        finally:
            client.close()


def inject(device: Device, port: int, packet: bytes) -> list[tuple[int, bytes]]:
    """Send one packet through the program in service."""
    with device.exclusive():
        return device.pipeline.process(port, packet)
