"""simple_switch over pcap files, with commands of simple_switch_CLI before the packets and after them."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence

from tests.switch.bmv2_files import PORTS, cli, simple_switch
from tests.switch.control import PROGRAMS

_WAIT_S = 3


def run(
    program: str, before: str, packets: Sequence[tuple[int, bytes]], after: str
) -> tuple[list[str], dict[int, list[bytes]], list[str]]:
    """What the commands before and after print, and what left in between, by port."""
    entering = {port: [packet for into, packet in packets if into == port] for port in range(PORTS)}
    started = time.monotonic()
    with simple_switch(PROGRAMS / f"{program}.json", entering, _WAIT_S) as (thrift, left):
        said = _said(thrift, before)
        time.sleep(max(0.0, started + _WAIT_S + 1.5 - time.monotonic()))
        read = _said(thrift, after)
    return said, {port: found for port, found in left.items() if found}, read


def _said(thrift: int, commands: str) -> list[str]:
    # It repeats the command before at a blank line.
    lines = "".join(f"{line.strip()}\n" for line in commands.splitlines() if line.strip())
    return [re.sub("^(RuntimeCmd: )+", "", line) for line in cli(thrift, lines).splitlines()]
