"""The embedded switch behind a P4Runtime server in this process, and commands to it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from esa.switch import Pipeline
from esa.switch.cli.__main__ import run
from esa.switch.cli.client import SwitchClient
from esa.switch.cli.names import Names
from esa.switch.cli.registry import words_of
from esa.switch.cli.session import Session
from esa.switch.p4runtime.service import P4RuntimeServicer
from esa.switch.runtime.device import Device
from tests.switch.control import PROGRAMS, serving


class Switch:
    """A program without a P4Info of the compiler, as a command line starts it; `said`: what the commands printed."""

    def __init__(self, program: str, port: int, device: Device) -> None:
        self.port, self.device, self.said = port, device, list[str]()
        self.client = SwitchClient(f"127.0.0.1:{port}", 1)
        self.session = Session(self.client, Names(self.client.config().p4info), self._say)

    def _say(self, text: str) -> None:
        self.said += text.splitlines()

    def run(self, commands: str) -> list[str]:
        """Carry out command lines; returns what they print."""
        first = len(self.said)
        lines = [(f"here:{at + 1}", words_of(line)) for at, line in enumerate(commands.splitlines())]
        run(self.session, [(where, words) for where, words in lines if words])
        return self.said[first:]

    def again(self) -> None:
        """As another run of the command line would find it."""
        self.session = Session(self.client, self.session.names, self._say)

    @property
    def pipeline(self) -> Pipeline:
        return self.device.pipeline

    def send(self, packets: Sequence[tuple[int, bytes]]) -> dict[int, list[bytes]]:
        """What leaves, by port."""
        out: dict[int, list[bytes]] = {}
        for port, packet in packets:
            for egress, sent in self.pipeline.process(port, packet):
                out.setdefault(egress, []).append(sent)
        return out


@contextmanager
def switch(program: str, ports: Sequence[int] | None = None) -> Iterator[Switch]:
    device = Device(1, ports=ports)
    servicer = P4RuntimeServicer(device, lambda text: Pipeline.load(text, compiled=False))
    servicer.begin((PROGRAMS / f"{program}.json").read_bytes())
    with serving(servicer) as port:
        started = Switch(program, port, device)
        try:
            yield started
        finally:
            started.client.close()
