"""Meters beside BMv2's: the same rates, the same packets, the same colours.

BMv2's clock runs by itself, so the rates are such that time decides nothing: none, or more than any packet takes.
An index that a meter has not ends a BMv2 that is built with NDEBUG; test_meters has what it does here.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from esa.switch import MeterRates, Pipeline
from tests.switch import bmv2_files
from tests.switch.test_differential import same

PROGRAM = Path(__file__).parent / "programs" / "meters.json"
FAST = 10**9  # per microsecond


@pytest.mark.supports("externs: meters, of packets and of bytes", "externs: direct meters")
@pytest.mark.bmv2
def test_colours_are_bmv2s() -> None:
    rng = random.Random(5)
    packets = {
        0: [bytes([rng.randrange(4), rng.randrange(4), 0, 0]) + bytes(rng.randrange(60)) for _ in range(300)],
    }
    pipeline = Pipeline.load(PROGRAM.read_text())
    commands = []

    def rates(meter: str, index: int, committed: tuple[int, int], peak: tuple[int, int]) -> MeterRates:
        (cir, cburst), (pir, pburst) = committed, peak
        commands.append(f"meter_set_rates {meter} {index} {cir}:{cburst} {pir}:{pburst}")
        return MeterRates(cir * 10**6, cburst, pir * 10**6, pburst)

    for index, (committed, peak) in enumerate([((0, 5), (0, 12)), ((0, 0), (FAST, 9)), ((FAST, 1), (FAST, 1))]):
        pipeline.meters["I.by_packet"].set(index, rates("I.by_packet", index, committed, peak))
    for index, (committed, peak) in enumerate([((0, 300), (0, 900)), ((0, 40), (FAST, 50)), ((FAST, 20), (FAST, 40))]):
        pipeline.meters["I.by_byte"].set(index, rates("I.by_byte", index, committed, peak))
    entries = {"I.t": pipeline.tables["I.t"], "I.u": pipeline.tables["I.u"]}
    for handle, kind in enumerate((1, 2)):
        entries["I.t"].add((kind,), "I.police", (kind,))
        commands.append(f"table_add I.t I.police {kind} => {kind}")
        row = entries["I.t"].row((kind,))
        pipeline.direct_meters["I.t"].set(row, rates("I.of_entry", handle, (0, 10 * kind), (0, 30)))
    entries["I.u"].add(((1, 1),), "I.mark", (), 2)
    commands.append("table_add I.u I.mark 1&&&1 => 1")
    row = entries["I.u"].row(((1, 1),), 2)
    pipeline.direct_meters["I.u"].set(row, rates("I.of_index", 0, (0, 1000), (0, 2000)))

    theirs = bmv2_files.run(PROGRAM, packets, "\n".join([*commands, ""]))
    colors = {(packet[2] & 15, packet[2] >> 4, packet[3] & 15, packet[3] >> 4) for packet in theirs[1]}
    assert all({one[at] for one in colors} == {0, 1, 2} for at in range(4)), "every colour of every meter"
    mine = {port: [] for port in range(bmv2_files.PORTS)}
    for at, packet in enumerate(packets[0]):
        for port, copy in pipeline.process(0, packet, 1000 * at):
            mine[port].append(copy)
    same(theirs, mine)


@pytest.mark.bmv2
@pytest.mark.supports("externs: meters, of packets and of bytes")
@pytest.mark.parametrize("seed", [81, 82])
def test_colours_of_random_rates_are_bmv2s(seed: int) -> None:
    rng = random.Random(seed)
    packets = {0: [bytes([rng.randrange(4), rng.randrange(4), 0, 0]) + bytes(rng.randrange(60)) for _ in range(300)]}
    pipeline = Pipeline.load(PROGRAM.read_text(), compiled=False)
    commands = []
    for name, burst in (("I.by_packet", 20), ("I.by_byte", 1500)):
        for index in range(pipeline.meters[name].size):
            committed = rng.choice([0, 0, FAST])
            peak = FAST if committed else rng.choice([0, 0, FAST])
            bursts = sorted(rng.randrange(burst) for _ in range(2))
            commands.append(f"meter_set_rates {name} {index} {committed}:{bursts[0]} {peak}:{bursts[1]}")
            rates = MeterRates(committed * 10**6, bursts[0], peak * 10**6, bursts[1])
            pipeline.meters[name].set(index, rates)
    theirs = bmv2_files.run(PROGRAM, packets, "\n".join([*commands, ""]))
    colours = {packet[at] >> shift & 15 for packet in theirs[1] for at in (2, 3) for shift in (0, 4)}
    assert colours == {0, 1, 2}, f"seed {seed}"
    mine: dict[int, list[bytes]] = {port: [] for port in range(bmv2_files.PORTS)}
    for at, packet in enumerate(packets[0]):
        for port, copy in pipeline.process(0, packet, 1000 * at):
            mine[port].append(copy)
    same(theirs, mine)
