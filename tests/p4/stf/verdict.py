"""Whether what left the ports is what an STF expects, by the rules of p4c's own runner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.p4.stf.script import Command, Expect, Packet


def ports(commands: Sequence[Command]) -> list[int]:
    """The ports that a test has."""
    return sorted({command.port for command in commands if isinstance(command, (Packet, Expect))})


def difference(commands: Sequence[Command], sent: Mapping[int, Sequence[bytes]]) -> str | None:
    """The first thing in which packets by port differ from those expected; None if they are as expected."""
    for port in ports(commands):
        expected = [command for command in commands if isinstance(command, Expect) and command.port == port]
        packets = sent.get(port, ())
        if len(expected) != len(packets):
            return f"port {port}: {len(expected)} packets are expected, {len(packets)} left"
        for at, (wanted, packet) in enumerate(zip(expected, packets, strict=True)):
            if not _fits(wanted, packet.hex().upper()):
                return f"port {port}, packet {at}: {wanted.digits} is expected, {packet.hex().upper()} left"
    return None


def _fits(wanted: Expect, packet: str) -> bool:
    digits = wanted.digits or ""
    if len(packet) < len(digits) or (wanted.whole and len(packet) > len(digits)):
        return False
    return all(one in ("*", other) for one, other in zip(digits, packet, strict=False))
