"""An STF on simple_switch, over pcap pipes: all commands, then all packets, in order of their time.

So p4c's own runner does it, too: the switch waits for a packet, or the end, of every port before it takes one. That
runner leaves counters alone; here, each look at them is a run of its own that ends there.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.p4.stf.cli_lines import CliLines, count
from tests.p4.stf.play import check
from tests.p4.stf.script import CheckCounter, Command, Expect, Packet
from tests.p4.stf.verdict import ports
from tests.switch.bmv2_files import Bmv2, simple_switch

# How long packets may take through the switch, and how long it takes until one that nobody expects is out as well.
_LINGER_S = 4.0
_SETTLE_S = 0.4


def run(path: Path, program: dict[str, Any], commands: Sequence[Command]) -> dict[int, list[bytes]]:
    """The packets that left, by port.

    Raises ValueError or OSError where a command or the switch fails, or a counter is not as a command says.
    """
    last = max((at for at, command in enumerate(commands) if isinstance(command, Packet)), default=0)
    for stop in range(1, last + 1):
        if isinstance(commands[stop - 1], CheckCounter) and not isinstance(commands[stop], CheckCounter):
            _run(path, program, commands[:stop])
    return _run(path, program, commands)


def _run(path: Path, program: dict[str, Any], commands: Sequence[Command]) -> dict[int, list[bytes]]:
    """Run commands, then look at the counters that no packet comes after."""
    lines = CliLines(program)
    text = "".join(lines.line(command) for command in commands)
    last = max((at for at, command in enumerate(commands) if isinstance(command, Packet)), default=-1)
    checks = [command for command in commands[last + 1 :] if isinstance(command, CheckCounter)]
    with simple_switch(path, ports(commands)) as switch:
        if text:
            switch.cli(text)
        switch.send([(command.port, command.data) for command in commands if isinstance(command, Packet)])
        sent = _sent(switch, sum(isinstance(command, Expect) for command in commands))
        for command in checks:
            check(command, count(switch.cli(lines.read(command))))
        return sent


def _sent(switch: Bmv2, wanted: int) -> dict[int, list[bytes]]:
    """What has left once as many packets have as are wanted, or none more come; and a while later."""
    deadline = time.monotonic() + _LINGER_S
    while sum(map(len, switch.left().values())) < wanted and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(_SETTLE_S)
    return switch.left()
