"""How long packets wait while a control plane writes: frames at a steady pace over veth, and entries that come and go.

The entries are the router's of docs/switch.md, routes and rules. Beside BMv2, and beside the same pace with nothing
written: on a machine with few cores a process that waits for one is an interruption, too.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from experiments.studies.bench.beside import beside_bmv2, bmv2_is_there
from experiments.studies.bench.errors import BenchError
from experiments.studies.bench.p4runtime import writer
from experiments.studies.bench.router import PROGRAMS, RULES, route_entries, rule_entries
from experiments.studies.bench.row import Row
from topologies.single_rack import SingleRack

RATE = 5000  # packets a second: few, so that BMv2 keeps up
PRESENT, WRITTEN = 100, 10_000  # routes
QUIET_S = 1.0
REPEATS = 3


class Pace:
    """A host of the rack that sends `rate` frames a second to the switch, which sends them back, for each `during`."""

    def __init__(self, net: SingleRack, frames: str, entries: int, rate: int = RATE) -> None:
        command = ["-m", "experiments.studies.bench.steady", SingleRack.interface, frames, str(entries), str(rate)]
        self._host = net.popen(0, [sys.executable, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        if self._host.stdout.readline() != b"ready\n":
            raise BenchError(f"{frames}: the host ended (status {self._host.wait()}) before it was measured")

    def __enter__(self) -> Pace:
        return self

    def __exit__(self, *_: object) -> None:
        self._host.communicate(b"", timeout=20)

    def during(self, work: Callable[[], None]) -> dict[str, float]:
        """What the frames met while this was done, and `s`: how long that took. BenchError."""
        self._say(b"go\n")
        time.sleep(QUIET_S / 4)
        start = time.monotonic()
        work()
        taken_s = time.monotonic() - start
        self._say(b"stop\n")
        found: dict[str, float] = json.loads(self._host.stdout.readline() or b"{}")
        if not found.get("returned"):
            raise BenchError("no packet came back while entries were written")
        return found | {"s": taken_s}

    def _say(self, line: bytes) -> None:
        self._host.stdin.write(line)
        self._host.stdin.flush()


def interruptions(
    kind: str, program: Path, *, routes: int = WRITTEN, rules: int = RULES, repeats: int = REPEATS
) -> dict[str, float]:
    """With `routes` and `rules` that are inserted and deleted under way, so many times. BenchError.

    `longest_ms` and `quiet_ms`: the longest interruption meanwhile, and while nothing is written for as long; the
    shortest of the repeats, for what else runs on the machine only makes them longer. `updates_per_s`: the most of
    them, the client's work included. `lost`: of all packets.
    """
    taken: list[dict[str, float]] = []
    with SingleRack(1, switch=kind) as net, writer(net.switch.grpc_address, net.switch.device_id, program) as switch:
        port = net.port(0)
        entries = [*route_entries(switch, routes, port), *rule_entries(switch, rules)]
        switch.insert(entries[:PRESENT])
        with Pace(net, "routes", PRESENT) as pace:
            pace.during(lambda: time.sleep(QUIET_S))  # caches are warm
            for _ in range(repeats):
                inserted = pace.during(lambda: switch.insert(entries[PRESENT:]))
                deleted = pace.during(lambda: switch.delete(entries[PRESENT:]))
                quiet = pace.during(partial(time.sleep, inserted["s"] + deleted["s"]))
                lost = sum(each["sent"] - each["returned"] for each in (inserted, deleted, quiet))
                taken.append({
                    "longest_ms": max(inserted["longest_ms"], deleted["longest_ms"]),
                    "quiet_ms": quiet["longest_ms"],
                    "updates_per_s": 2 * (len(entries) - PRESENT) / (inserted["s"] + deleted["s"]),
                    "lost": lost,
                })  # fmt: skip
    return {
        "longest_ms": min(each["longest_ms"] for each in taken),
        "quiet_ms": min(each["quiet_ms"] for each in taken),
        "updates_per_s": max(each["updates_per_s"] for each in taken),
        "lost": sum(each["lost"] for each in taken),
    }


def measure(say: Callable[[str], None]) -> Iterator[Row]:
    """Rows beside BMv2, where it is installed."""
    say(f"interruptions while {WRITTEN:,} routes and {RULES:,} rules come and go")
    own = interruptions("embedded", PROGRAMS / "filter")
    theirs = interruptions("bmv2", PROGRAMS / "filter") if bmv2_is_there() else None
    figures = (
        ("longest_ms", f"longest interruption of {RATE:,} packets/s while entries are written", "ms"),
        ("quiet_ms", "the same while none are", "ms"),
        ("updates_per_s", "entries inserted and deleted meanwhile", "a second"),
    )
    yield from beside_bmv2(figures, own, theirs)
