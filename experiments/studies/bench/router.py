"""A plain IPv4 router and an access list on both switches: packets/s, CPU and restarts over veth; look-ups in memory.

The program is that of docs/switch.md; with the access list every packet looks at all of its rules before its route.
"""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from esa.p4runtime import p4runtime_pb2
from esa.switch import PacketBatch, Pipeline
from experiments import examples
from experiments.studies.bench.beside import beside_bmv2, bmv2_is_there
from experiments.studies.bench.cpu import cpu_s
from experiments.studies.bench.errors import BenchError
from experiments.studies.bench.p4runtime import Writer, writer
from experiments.studies.bench.row import Row, row
from topologies.single_rack import SingleRack

PROGRAMS = Path(examples.__file__).parent / "router"
MTU = 256
MAC = bytes.fromhex("0200000000fe")
RULES = 1000
ROUTES = {"router": 10_000, "filter": 100}
SECONDS = 4.0
REPEATS = 9
LIMIT_S = 120.0


def prefix(route: int) -> int:
    """The /24 of a route: 10.x.y.0, spread."""
    return 0x0A000000 + (route * 7919 % (1 << 16) << 8)


def frames(routes: int, count: int = 4096) -> list[bytes]:
    """UDP packets of 64 bytes to hosts behind these routes."""
    rng = np.random.default_rng(1)
    return [frame(prefix(int(route)) + int(host)) for route, host in
            zip(rng.integers(0, routes, count), rng.integers(1, 255, count), strict=True)]  # fmt: skip


def frame(destination: int) -> bytes:
    """A UDP packet of 64 bytes to an IPv4 address."""
    words = [0x4500, 50, 0, 0, 0x4011, 0, 0xC0A8, 0x0001, destination >> 16, destination & 0xFFFF]
    total = sum(words)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    words[5] = ~total & 0xFFFF
    udp = struct.pack(">4H", 1000, 2000, 30, 0)
    return MAC + bytes.fromhex("020000000001 0800") + struct.pack(">10H", *words) + udp + bytes(22)


def rule(number: int) -> tuple[tuple[int, int], ...]:
    """(value, mask) of each key of a rule that no frame meets: other networks, ports and protocols."""
    destination = (0xAC200000 + (number << 4), 0xFFFFFFF0)
    return ((0xAC100000 + number, 0xFFFFFFFF), destination, (6 + number % 2, 0xFF), (3000 + number, 0xFFFF))


def route_entries(switch: Writer, count: int, port: int) -> Iterator[p4runtime_pb2.TableEntry]:
    """Routes that all lead to `port`."""
    for number in range(count):
        entry = switch.entry("routes", "forward", MAC, bytes([port]))
        entry.match.add(field_id=1, lpm={"value": prefix(number).to_bytes(4, "big"), "prefix_len": 24})
        yield entry


def rule_entries(switch: Writer, count: int) -> Iterator[p4runtime_pb2.TableEntry]:
    """Rules that no packet meets."""
    for number in range(count):
        entry = switch.entry("filter", "drop")
        entry.priority = number + 1
        for field, (value, mask) in enumerate(rule(number), 1):
            size = (4, 4, 1, 2)[field - 1]
            ternary = {"value": value.to_bytes(size, "big"), "mask": mask.to_bytes(size, "big")}
            entry.match.add(field_id=field, ternary=ternary)
        yield entry


def over_veth(kind: str, name: str, rules: int, seconds: float = SECONDS) -> dict[str, float]:
    """Packets/s from a host through the switch and back, and the switch's CPU time per packet in us. BenchError."""
    with SingleRack(1, switch=kind) as net, _controlled(net, name, rules):
        host = Host(net, "routes", ROUTES[name], seconds)
        before_s = cpu_s(net.switch.process.pid)
        host.go()
        rate = host.said()
        used_s = cpu_s(net.switch.process.pid) - before_s
    if rate <= 0:
        raise BenchError(f"{name} on {kind}: no packet came back")
    return {"packets_per_s": rate, "cpu_us": 1e6 * used_s / (rate * seconds)}


def restart(kind: str, name: str, rules: int) -> float:
    """Seconds from a switch's end by SIGKILL until a packet comes back from the one that is started at once."""
    with SingleRack(1, switch=kind) as net:
        with _controlled(net, name, rules):
            host = Host(net, "routes", ROUTES[name], 0.0)
        net.switch.kill()
        killed_ns = time.monotonic_ns()
        host.go()
        net.switch.restart()
        with _controlled(net, name, rules):
            return (host.said() - killed_ns) / 1e9


@contextmanager
def _controlled(net: SingleRack, name: str, rules: int) -> Iterator[None]:
    """The switch has the program and its entries, and a primary client."""
    with writer(net.switch.grpc_address, net.switch.device_id, PROGRAMS / name) as switch:
        switch.insert([*route_entries(switch, ROUTES[name], net.port(0)), *rule_entries(switch, rules)])
        yield


class Host:
    """`reflect` on the rack's host, ready."""

    def __init__(self, net: SingleRack, kind: str, entries: int, seconds: float) -> None:
        command = ["-m", "experiments.studies.bench.reflect", SingleRack.interface, kind, entries, seconds]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "env": os.environ}
        self._process = net.popen(0, [sys.executable, *command], **pipes)
        if self._process.stdout.readline() != b"ready\n":
            raise BenchError(f"{kind}: the host ended (status {self._process.wait()}) before it was measured")

    def go(self) -> None:
        self._process.stdin.write(b"go\n")
        self._process.stdin.flush()

    def said(self) -> float:
        """What it measured; 0 where it ended without."""
        said = float(self._process.stdout.readline() or 0)
        self._process.communicate(b"", timeout=LIMIT_S)
        return said


def look_ups(name: str, routes: int, rules: int, say: Callable[[str], None]) -> list[float]:
    """Million packets/s through the program in memory, on one core, for each of the repeats."""
    pipeline = Pipeline.load((PROGRAMS / f"{name}.json").read_text(), progress=say)
    table = pipeline.tables["RouterIngress.routes"]
    for number in range(routes):
        table.add(((prefix(number), 24),), "RouterIngress.forward", (int.from_bytes(MAC, "big"), 1))
    for number in range(rules):
        pipeline.tables["RouterIngress.filter"].add(rule(number), "RouterIngress.drop", (), priority=number + 1)
    packets = frames(routes)
    batch, out = PacketBatch(len(packets), MTU), PacketBatch(len(packets), MTU)
    for packet in packets:
        batch.append(1, packet)
    taken = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        sent = pipeline.process_batch(batch, 0, out)
        taken.append(time.perf_counter() - start)
        if sent != len(packets):
            raise BenchError(f"{name}: {sent} packets left instead of {len(packets)}")
    return [len(packets) / each / 1e6 for each in taken]


def measure(say: Callable[[str], None]) -> Iterator[Row]:
    """Rows beside BMv2, where it is installed; then look-ups in large tables beside the same in small ones."""
    there = bmv2_is_there()
    for name, rules, what in (("router", 0, f"{ROUTES['router']:,} routes"), ("filter", RULES, f"{RULES:,} rules")):
        say(f"{name} over veth, {what}")
        own = over_veth("embedded", name, rules)
        theirs = over_veth("bmv2", name, rules) if there else None
        figures = (
            ("packets_per_s", f"{name} of {what}, over veth", "packets/s"),
            ("cpu_us", f"CPU of the switch, {name} of {what}", "us per packet"),
        )
        yield from beside_bmv2(figures, own, theirs)
    say("kill and restart")
    own = {"restart": restart("embedded", "filter", RULES)}
    theirs = {"restart": restart("bmv2", "filter", RULES)} if there else None
    yield from beside_bmv2([("restart", f"kill to forwarding, filter of {RULES:,} rules", "s")], own, theirs)
    for name, many, few, what in (
        ("router", (ROUTES["router"], 0), (1, 0), f"{ROUTES['router']:,} routes"),
        ("filter", (1, RULES), (1, 1), f"{RULES:,} rules"),
    ):
        say(f"{name} in memory, {what}")
        figures = look_ups(name, *many, say), look_ups(name, *few, say)
        yield row(f"{name} of {what}, in memory", "million packets/s", figures[0], "of one", figures[1])
