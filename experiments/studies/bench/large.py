"""Tables of 100,000 entries on both switches: how fast entries come and go, how long packets wait meanwhile, look-ups.

Each kind of match has a table of its own (large.p4), and is measured by itself. The writes are made beforehand, so
that the client takes next to nothing of the time.

python -m experiments.studies.bench.large [embedded] [real-time] [bmv2] prints all of it (esa-switch --real-time).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from esa.p4runtime import p4runtime_pb2
from experiments.studies.bench.beside import beside_bmv2, bmv2_is_there
from experiments.studies.bench.errors import BenchError
from experiments.studies.bench.interruption import Pace
from experiments.studies.bench.p4runtime import Writer, writer
from experiments.studies.bench.router import Host, frame
from experiments.studies.bench.router import frames as route_frames
from experiments.studies.bench.row import Row, row
from topologies.single_rack import SingleRack

PROGRAM = Path(__file__).with_name("large")
KINDS = ("exact", "lpm", "ternary", "range")
TABLES = dict(zip(KINDS, ("exact_match", "longest_prefix", "masked", "ranges"), strict=True))
ENTRIES = 100_000
BESIDE = {"ternary": 10_000, "range": 10_000}  # BMv2 looks at all entries for each that it inserts
RATE = 1000  # packets a second meanwhile
FIRST = 100  # entries that the packets meet while the others come and go
CHURN = 10_000  # entries that go and come with all of them there
SECONDS = 2.0
SOURCE = 0xC0A80001
REACH = 60  # addresses to either side of a range's middle, which is a power of two's multiple: no prefix is a range


def address(entry: int) -> int:
    """The address that an entry is about: 10.x.y.1 or .129, spread."""
    return 0x0A000001 + (entry * 7919 % (1 << 17) << 7)


def frames(entries: int, count: int = 4096) -> list[bytes]:
    """UDP packets of 64 bytes that each meet one of these entries, in every kind of table."""
    return [frame(address(int(entry))) for entry in np.random.default_rng(1).integers(0, entries, count)]


FRAMES = {"routes": route_frames, "large": frames}  # by what the hosts' commands call them


def match(kind: str, entry: int) -> list[dict[str, dict[str, Any]]]:
    """The fields of an entry's match. Of ternary ones there are 80 combinations of masks."""
    here = address(entry)
    if kind == "exact":
        return [{"exact": {"value": _bytes(here)}}]
    if kind == "lpm":
        return [{"lpm": {"value": _bytes(here & ~0x7F), "prefix_len": 25}}]
    if kind == "range":
        return [{"range": {"low": _bytes(here - REACH), "high": _bytes(here + REACH)}}]
    masks = 0xFFFFFFFF << entry % 10 & 0xFFFFFFFF, 0xFFFFFFFF << entry // 10 % 8 & 0xFFFFFFFF
    return [
        *({"ternary": {"value": _bytes(value & mask), "mask": _bytes(mask)}}
          for value, mask in zip((SOURCE, here), masks, strict=True)),
        {"ternary": {"value": b"\x11", "mask": b"\xff"}},
    ]  # fmt: skip


def _bytes(number: int) -> bytes:
    return number.to_bytes(4, "big").lstrip(b"\0") or b"\0"


def entries(switch: Writer, kind: str, count: int, port: int) -> Iterator[p4runtime_pb2.TableEntry]:
    """So many entries of one table, all to `port`."""
    for number in range(count):
        entry = switch.entry(TABLES[kind], "forward", bytes([port]))
        if kind in ("ternary", "range"):
            entry.priority = number + 1
        for field, each in enumerate(match(kind, number), 1):
            entry.match.add(field_id=field, **each)
        yield entry


def large(
    switch: str, kind: str, count: int = ENTRIES, churn: int = CHURN, seconds: float = SECONDS, rate: int = RATE
) -> dict[str, float]:
    """One kind of table of one switch, with `count` entries, of which `churn` go and come again. BenchError.

    `inserts_per_s`, `deletes_per_s`: from none to all and back. `churn_per_s`, `longest_ms`: updates with all of them
    present, and the longest interruption of `rate` packets/s meanwhile; `quiet_ms`: with none written; `packets_per_s`:
    as many as the switch takes, over veth, that each meet one of all entries.
    """
    with _rack(switch) as net, writer(net.switch.grpc_address, net.switch.device_id, PROGRAM) as client:
        made = list(entries(client, kind, count, net.port(0)))
        first, rest = client.requests("INSERT", made[:FIRST]), client.requests("INSERT", made[FIRST:])
        some = made[-churn:]
        gone, again = client.requests("DELETE", some), client.requests("INSERT", some)
        rest_gone = client.requests("DELETE", made[FIRST:])
        client.send(first)
        with Pace(net, "large", FIRST, rate) as pace:
            pace.during(lambda: time.sleep(1.0))  # caches are warm
            filled = pace.during(lambda: client.send(rest))
            deleted, inserted = pace.during(lambda: client.send(gone)), pace.during(lambda: client.send(again))
            quiet = pace.during(lambda: time.sleep(deleted["s"] + inserted["s"]))
        host = Host(net, "large", count, seconds)
        host.go()
        packets_per_s = host.said()
        with Pace(net, "large", FIRST, rate) as pace:
            emptied = pace.during(lambda: client.send(rest_gone))
        if not packets_per_s:
            raise BenchError(f"{kind} on {switch}: no packet came back")
    each = (filled, deleted, inserted, quiet, emptied)
    return {
        "packets_per_s": packets_per_s,
        "inserts_per_s": (count - FIRST) / filled["s"],
        "deletes_per_s": (count - FIRST) / emptied["s"],
        "churn_per_s": 2 * churn / (deleted["s"] + inserted["s"]),
        "longest_ms": max(deleted["longest_ms"], inserted["longest_ms"]),
        "quiet_ms": quiet["longest_ms"],
        "filling_ms": filled["longest_ms"],
        "emptying_ms": emptied["longest_ms"],
        "lost": sum(phase["sent"] - phase["returned"] for phase in each),
    }


def _rack(switch: str) -> SingleRack:
    if switch == "real-time":
        return SingleRack(1, switch_options=["--real-time"])
    return SingleRack(1, switch=switch)


def measure(say: Callable[[str], None]) -> Iterator[Row]:
    """Rows beside BMv2, where it is installed, with as many entries as it takes in a minute; then all of them."""
    there = bmv2_is_there()
    for kind in KINDS:
        counts = sorted({BESIDE.get(kind, ENTRIES), ENTRIES})
        for count in counts:
            say(f"{count:,} {kind} entries")
            own = large("embedded", kind, count)
            figures = (
                ("inserts_per_s", f"{count:,} {kind} entries inserted over P4Runtime", "a second"),
                ("deletes_per_s", f"{count:,} {kind} entries deleted", "a second"),
                ("longest_ms", f"longest interruption of {RATE:,} packets/s while {CHURN:,} of them go and come", "ms"),
                ("quiet_ms", "the same while none do", "ms"),
                ("packets_per_s", f"packets that each meet one of {count:,} {kind} entries, over veth", "a second"),
            )
            if count == counts[0]:
                yield from beside_bmv2(figures, own, large("bmv2", kind, count) if there else None)
            else:
                yield from (row(what, unit, own[key]) for key, what, unit in figures)


if __name__ == "__main__":
    for name in sys.argv[1:] or ("embedded", "bmv2"):
        for each in KINDS:
            measured = large(name, each)
            print(name, each, ", ".join(f"{what} {figure:,.2f}" for what, figure in measured.items()), flush=True)
