"""All-reduces: the embedded switch next to BMv2, the switch that adds next to gloo's ring and to what is the limit.

The limit: the same packets over the null forwarder, of ranks that count answers and do nothing else with them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from experiments.studies.bench.beside import bmv2_is_there, not_there
from experiments.studies.bench.forwarder import FORWARDER
from experiments.studies.bench.ranks import Measured, Rack, measured
from experiments.studies.bench.row import Row, row

FLOAT_BYTES = 4


@dataclass(frozen=True)
class Setting:
    """`repeats` all-reduces of `values` float32 by the ranks of a rack, after `warm_up` that are not measured."""

    rack: Rack
    values: int
    repeats: int = 5
    warm_up: int = 3


SETTINGS = (
    *(Setting(Rack(workers, 50.0, lanes), 1 << 19) for workers in (2, 4) for lanes in (64, 256)),
    Setting(Rack(8, 100.0, 256), 1 << 22),
    *(Setting(Rack(workers, None, 256), 1 << 22) for workers in (2, 4)),
)


@dataclass(frozen=True)
class Taken:
    """Seconds of each all-reduce, those of the last rank; the switch's CPU time per gradient packet, 0 under gloo."""

    seconds: tuple[float, ...]
    cpu_us: float


def _measured(setting: Setting, ranks: str) -> Measured:
    arguments = ["--values", str(setting.values), "--repeats", str(setting.repeats), "--warm-up", str(setting.warm_up)]
    return measured(setting.rack, f"experiments.studies.bench.{ranks}", arguments)


def run(setting: Setting) -> Taken:
    """All-reduces on a rack of its own. BenchError."""
    found = _measured(setting, "worker")
    slowest = tuple(max(each) for each in zip(*found.said, strict=True))
    return Taken(slowest, 1e6 * found.switch_s / found.gradients if found.gradients else 0.0)


@dataclass(frozen=True)
class Limit:
    """Seconds that the packets of each all-reduce take, of the last rank; how many of all were lost."""

    seconds: tuple[float, ...]
    lost: int


def limit(setting: Setting) -> Limit:
    """The packets of all-reduces, answered by the null forwarder on a rack of its own. BenchError."""
    said = _measured(replace(setting, rack=replace(setting.rack, switch=FORWARDER)), "counting").said
    slowest = tuple(max(each) for each in zip(*(rank["seconds"] for rank in said), strict=True))
    return Limit(slowest, sum(rank["lost"] for rank in said))


def measure(say: Callable[[str], None]) -> Iterator[Row]:
    """Rows of ratios: seconds by gloo over seconds over the switch; BMv2's only where it is installed."""
    if bmv2_is_there():
        say("all-reduce over the embedded switch and over BMv2, 2 workers, 20 Mb/s")
        setting = Setting(Rack(2, 20.0), 1 << 18)
        bmv2, embedded = run(replace(setting, rack=replace(setting.rack, switch="bmv2"))), run(setting)
        what = "CPU of the switch, 2 workers on links of 20 Mb/s"
        yield row(what, "us per gradient packet", embedded.cpu_us, "BMv2", bmv2.cpu_us)
    else:
        say(not_there())
    for setting in SETTINGS:
        rack, size = setting.rack, setting.values * FLOAT_BYTES
        links = "unshaped links" if rack.mbps is None else f"links of {rack.mbps:g} Mb/s"
        what = f"all-reduce of {size >> 20} MiB by {rack.workers} workers, {rack.lanes} lanes, {links}"
        say(what)
        gloo, esa, most = run(replace(setting, rack=replace(rack, gloo=True))), run(setting), limit(setting)
        rates = [[size * 8e-6 / seconds for seconds in each.seconds] for each in (esa, gloo, most)]
        yield row(what, "Mb/s of gradient", rates[0], "gloo", rates[1])
        note = f"{most.lost:,} packets lost there" if most.lost else ""
        yield row(what, "Mb/s of gradient", rates[0], "null forwarder", rates[2], note)
