"""simple_switch, with commands of simple_switch_CLI before packets and after them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tests.switch.bmv2_files import PORTS, Bmv2, in_turns, simple_switch
from tests.switch.control import PROGRAMS


def run(
    program: str, before: str, packets: Sequence[tuple[int, bytes]], after: str
) -> tuple[list[str], dict[int, list[bytes]], list[str]]:
    """What the commands before and after print, and what left in between, by port."""
    with simple_switch(PROGRAMS / f"{program}.json") as switch:
        said = _said(switch, before)
        switch.send(in_turns({port: [packet for into, packet in packets if into == port] for port in range(PORTS)}))
        switch.wait_until_still()
        read = _said(switch, after)
        return said, {port: found for port, found in switch.left().items() if found}, read


def _said(switch: Bmv2, commands: str) -> list[str]:
    # It repeats the command before at a blank line.
    lines = "".join(f"{line.strip()}\n" for line in commands.splitlines() if line.strip())
    return [re.sub("^(RuntimeCmd: )+", "", line) for line in switch.cli(lines).splitlines()]
