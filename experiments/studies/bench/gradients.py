"""Gradients of 4 workers through a switch over veth, at a pace: how many pass without loss, and what each costs.

One core is the switch's, another the workers'. The embedded switch, BMv2 where it is installed, and the null forwarder,
which is what packet sockets give at best; each with the same frames over the same interfaces. A switch that adds sends
as many packets as it gets, as the forwarder does: 4 gradients become a result for each of 4 workers.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from controller import Controller, Switch
from esa.job import Pool
from experiments.studies.bench import frames
from experiments.studies.bench.beside import bmv2_is_there, not_there
from experiments.studies.bench.cpu import cpu_s
from experiments.studies.bench.curve import draw_curves
from experiments.studies.bench.errors import BenchError
from experiments.studies.bench.forwarder import FORWARDER, PYTHON, in_place_of_the_switch, wait_until_ready
from experiments.studies.bench.frames import WORKERS
from experiments.studies.bench.row import Curves, Point, Row, row
from topologies.single_rack import SingleRack

LANES = (64, 256)
FRAGMENTS = 1024
SECONDS, REPEATS = 0.7, 3
SLOW = 20_000  # gradients/s
STEPS = (0.1, 0.25, 0.5, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25)  # of what passes flat out
SWITCH_CORE, WORKERS_CORE = 0, 1  # of those that this process may use
LIMIT_S = 60.0
SHOWN = {"embedded": "embedded switch", "bmv2": "BMv2", FORWARDER: "null forwarder"}


@dataclass(frozen=True)
class Sweep:
    """What one switch did with rates from few to as many as the workers can send."""

    slow: Point
    paced: tuple[Point, ...]
    flat_out: Point

    @property
    def points(self) -> tuple[Point, ...]:
        """From few to many."""
        return tuple(sorted((self.slow, *self.paced, self.flat_out), key=lambda each: each.offered_per_s))

    @property
    def clean_per_s(self) -> float:
        """The most that passed without loss, none with fewer having lost any; 0 where the fewest did."""
        clean = itertools.takewhile(lambda point: not point.lost, self.points)
        return max((point.passed_per_s for point in clean), default=0.0)


class Workers:
    """`source` on a rack, whose hosts' interfaces it has, ready."""

    def __init__(self, net: SingleRack, job: Path, epoch: int) -> None:
        hosts = [net.hosts[rank].pid for rank in range(WORKERS)]
        arguments = [job, epoch, FRAGMENTS, _core(WORKERS_CORE), *hosts]
        command = ["-m", "experiments.studies.bench.source", *map(str, arguments)]
        self._process = subprocess.Popen([*PYTHON, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        wait_until_ready(self._process, "gradients: the workers")

    def offer(self, rate: float, seconds: float, switch: int) -> Point:
        """Send `rate` gradients a second, as many as can be with 0, to the switch that is this process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        before_s = cpu_s(switch)
        self._process.stdin.write(f"{rate} {seconds}\n".encode())
        self._process.stdin.flush()
        said = json.loads(self._process.stdout.readline() or b"null")
        if said is None:
            raise BenchError(f"gradients: the workers ended (status {self._process.wait()})")
        sent = said["sent"]
        came = min(said["came"], sent)  # another packet of the rack may have come, too
        cpu_us = 1e6 * (cpu_s(switch) - before_s) / came if came else 0.0
        return Point(sent / said["seconds"], came / said["seconds"], sent - came, cpu_us)

    def close(self) -> None:
        self._process.communicate(timeout=LIMIT_S)


def sweep(
    kind: str, lanes: int, seconds: float = SECONDS, steps: Sequence[float] = STEPS, repeats: int = REPEATS
) -> list[Sweep]:
    """So many sweeps with one switch: "embedded", "bmv2", or the null forwarder. BenchError."""
    with _rack(kind, lanes) as (workers, switch):
        workers.offer(0, seconds, switch)  # caches are warm
        sweeps = []
        for _ in range(repeats):
            flat_out = workers.offer(0, seconds, switch)
            slow = workers.offer(SLOW, seconds, switch)
            paced = tuple(workers.offer(step * flat_out.passed_per_s, seconds, switch) for step in steps)
            sweeps.append(Sweep(slow, paced, flat_out))
    if not sweeps[0].flat_out.passed_per_s:
        raise BenchError(f"gradients, {kind}: nothing came back")
    return sweeps


@contextmanager
def _rack(kind: str, lanes: int) -> Iterator[tuple[Workers, int]]:
    """The workers of a rack, and the process that is its switch, on a core of its own."""
    with (
        tempfile.TemporaryDirectory(prefix="esa-bench-") as folder,
        SingleRack(WORKERS + 1, switch="bmv2" if kind == "bmv2" else "embedded") as net,
        Switch.connect(net.switch.grpc_address, net.switch.device_id, wait_s=10.0) as client,
    ):
        controller = Controller(client)
        controller.load(lanes)
        net.switch.deepen_queues()
        controller.add_hosts({frames.mac(host + 1): net.port(host) for host in range(WORKERS + 1)})
        job = frames.job(
            lanes, pool=Pool(base=0, size=FRAGMENTS), window=FRAGMENTS, port=lambda host: net.port(host - 1)
        )
        path = Path(folder) / "job.json"
        job.save(path)
        epoch = controller.add_job(job).epoch
        with ExitStack() as stack:
            null = stack.enter_context(in_place_of_the_switch(net)) if kind == FORWARDER else None
            switch = net.switch.process if null is None else null
            _keep_to_core(switch.pid, _core(SWITCH_CORE))
            workers = Workers(net, path, epoch)
            stack.callback(workers.close)
            yield workers, switch.pid


def _core(number: int) -> int:
    """That of the cores that this process may use; where there are fewer, one that is another's, too."""
    cores = sorted(os.sched_getaffinity(0))
    return cores[number % len(cores)]


def _keep_to_core(pid: int, core: int) -> None:
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), {core})


def measure(say: Callable[[str], None]) -> Iterator[Row]:
    """Rows beside the null forwarder and BMv2; the curves go with the first ones. Loss is said of each."""
    kinds = ["embedded", FORWARDER, *(["bmv2"] if bmv2_is_there() else [])]
    for lanes in LANES:
        found: dict[str, list[Sweep]] = {}
        for kind in kinds:
            say(f"gradients of {WORKERS} workers over veth, {lanes} lanes: {SHOWN[kind]}")
            found[kind] = sweep(kind, lanes)
        own = found["embedded"]
        for kind in (FORWARDER, "bmv2"):
            other = SHOWN[kind]
            if kind not in found:
                yield row(f"gradients without loss, {lanes} lanes", "a second", _clean(own), not_there())
                continue
            peer = found[kind]
            what = f"gradients without loss, {lanes} lanes"
            curves = {SHOWN[name]: _middle(found[name]).points for name in ("embedded", kind)}
            note = ", ".join(_flat_out(SHOWN[name], found[name]) for name in ("embedded", kind))
            yield row(what, "a second", _clean(own), other, _clean(peer), note, curves)
            for when, name in (("flat out", "flat_out"), (f"at {SLOW:,} a second", "slow")):
                what = f"CPU of the switch per gradient, {lanes} lanes, {when}"
                costs = [[getattr(each, name).cpu_us for each in sweeps] for sweeps in (own, peer)]
                yield row(what, "us", costs[0], other, costs[1])


def _clean(sweeps: Sequence[Sweep]) -> list[float]:
    return [each.clean_per_s for each in sweeps]


def _flat_out(name: str, sweeps: Sequence[Sweep]) -> str:
    """What a switch made of all that the workers could send, in the median."""
    offered, lost = (
        median(each.flat_out.offered_per_s for each in sweeps),
        median(1 - each.flat_out.passed_per_s / each.flat_out.offered_per_s for each in sweeps),
    )
    return f"{name}: of {offered:,.0f} sent {lost:.0%} lost"


def _middle(sweeps: Sequence[Sweep]) -> Sweep:
    return sorted(sweeps, key=lambda each: each.clean_per_s)[len(sweeps) // 2]


def draw(results: Path, rows: Sequence[Row]) -> Path:
    """Rate against loss and CPU of every switch, a line each."""
    path = results / "gradients.png"
    draw_curves({f"{lanes} lanes": _curves(rows, lanes) for lanes in LANES}, path)
    return path


def _curves(rows: Sequence[Row], lanes: int) -> Curves:
    return {name: points for each in rows if f"{lanes} lanes" in each.what for name, points in each.curves.items()}
