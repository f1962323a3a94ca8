"""All-reduces over shaped links: the embedded switch next to BMv2, the switch that adds next to gloo's ring."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from controller import Controller, Switch
from controller.coordinator import Coordinator
from esa.job import Job, Member, Pool
from esa.wire import ESA_PORT
from experiments.studies.bench.beside import bmv2_is_there, not_there
from experiments.studies.bench.cpu import cpu_s
from experiments.studies.bench.errors import BenchError
from experiments.studies.bench.row import Row, row
from topologies.single_rack import SWITCH_IP, SingleRack

LIMIT_S = 240
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": SingleRack.interface, "TORCH_CPP_LOG_LEVEL": "ERROR"}


@dataclass(frozen=True)
class Setting:
    """`repeats` all-reduces of `values` float32 by `workers` hosts on links of `mbps`."""

    workers: int
    mbps: float | None  # None: unshaped
    values: int
    switch: str = "embedded"
    lanes: int = 64
    gloo: bool = False
    repeats: int = 5


SETTINGS = (
    *(Setting(workers, 50.0, 1 << 19, lanes=lanes) for workers in (2, 4) for lanes in (64, 256)),
    Setting(8, 100.0, 1 << 22, lanes=256),
    *(Setting(workers, None, 1 << 22, lanes=256) for workers in (2, 4)),
)
FLOAT_BYTES = 4


@dataclass(frozen=True)
class Taken:
    """Seconds of each all-reduce, those of the last rank; the switch's CPU time per gradient packet, 0 under gloo."""

    seconds: tuple[float, ...]
    cpu_us: float


def _member(net: SingleRack, host: int, udp_port: int) -> Member:
    return Member(ip=net.ip(host), mac=net.mac(host), udp_port=udp_port, switch_port=net.port(host))


def _job(net: SingleRack, setting: Setting) -> Job:
    return Job(
        name="bench",
        job=1,
        policy="esa",
        lanes=setting.lanes,
        workers=tuple(_member(net, host, ESA_PORT + 1) for host in range(setting.workers)),
        server=_member(net, setting.workers, ESA_PORT),
        switch_ip=SWITCH_IP,
        pool=Pool(base=0, size=4096),
        window=128,
    )


def _said(rank: int, process: subprocess.Popen[bytes]) -> bytes:
    assert process.stdout is not None
    if line := process.stdout.readline():
        return line
    raise BenchError(f"all-reduce: rank {rank} ended (status {process.wait()}) before it was measured")


def run(setting: Setting) -> Taken:
    """All-reduces on a rack of its own. BenchError."""
    with (
        tempfile.TemporaryDirectory(prefix="esa-bench-") as folder,
        SingleRack(setting.workers + 1, bandwidth_mbps=setting.mbps, switch=setting.switch) as net,
        Switch.connect(net.switch.grpc_address, net.switch.device_id, wait_s=10.0) as client,
        ExitStack() as stack,
    ):
        node = net.switch
        controller = Controller(client)
        controller.load(setting.lanes)
        net.switch.deepen_queues()
        controller.add_hosts({net.mac(host): net.port(host) for host in range(setting.workers + 1)})
        job = _job(net, setting)
        index = controller.add_job(job).index
        path = Path(folder) / "job.json"
        job.save(path)
        meeting = f"unix:{folder}/runs"
        coordinator = stack.enter_context(Coordinator(lambda: Switch.connect(node.grpc_address, node.device_id)))
        coordinator.serve(meeting)
        environment = os.environ | ENVIRONMENT | {"ESA_CONTROLLER": meeting}
        if not setting.gloo:
            command = [sys.executable, "-m", "esa.hosts", "server", "--job", path]
            net.popen(setting.workers, command, stdout=subprocess.DEVNULL, env=environment)
        command = [sys.executable, "-m", "experiments.studies.bench.worker", "--job", path, "--values", setting.values]
        command += ["--repeats", setting.repeats, *(["--gloo"] if setting.gloo else [])]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "env": environment}
        ranks = [net.popen(rank, [*command, "--rank", rank], **pipes) for rank in range(setting.workers)]
        for rank, process in enumerate(ranks):
            _said(rank, process)  # ready
        before_s = cpu_s(net.switch.process.pid)
        for process in ranks:
            process.stdin.write(b"go\n")
            process.stdin.flush()
        seconds = [json.loads(_said(rank, process)) for rank, process in enumerate(ranks)]
        used_s = cpu_s(net.switch.process.pid) - before_s
        gradients = controller.read_counters([index])[0]["gradients"]
        for process in ranks:
            process.communicate(b"", timeout=LIMIT_S)
    slowest = tuple(max(each) for each in zip(*seconds, strict=True))
    return Taken(slowest, 1e6 * used_s / gradients if gradients else 0.0)


def measure(say: Callable[[str], None]) -> Iterator[Row]:
    """Rows of ratios: seconds by gloo over seconds over the switch; BMv2's only where it is installed."""
    if bmv2_is_there():
        say("all-reduce over the embedded switch and over BMv2, 2 workers, 20 Mb/s")
        setting = Setting(workers=2, mbps=20.0, values=1 << 18)
        bmv2, embedded = run(replace(setting, switch="bmv2")), run(setting)
        what = "CPU of the switch, 2 workers on links of 20 Mb/s"
        yield row(what, "us per gradient packet", embedded.cpu_us, "BMv2", bmv2.cpu_us)
    else:
        say(not_there())
    for setting in SETTINGS:
        links = "unshaped links" if setting.mbps is None else f"links of {setting.mbps:g} Mb/s"
        size = setting.values * FLOAT_BYTES
        what = f"all-reduce of {size >> 20} MiB by {setting.workers} workers, {setting.lanes} lanes, {links}"
        say(what)
        gloo, esa = run(replace(setting, gloo=True)), run(setting)
        rates = [[size * 8e-6 / seconds for seconds in each.seconds] for each in (esa, gloo)]
        yield row(what, "Mb/s of gradient", rates[0], "gloo", rates[1])
