"""All-reduces over shaped links: the embedded switch next to BMv2, the switch that adds next to gloo's ring."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from controller import Controller, Switch
from controller.coordinator import Coordinator
from esa.job import Job, Member, Pool
from esa.wire import ESA_PORT
from experiments.studies.bench.cpu import cpu_s
from experiments.studies.bench.errors import BenchError
from topologies.p4switch import BMV2
from topologies.single_rack import SWITCH_IP, SingleRack

LIMIT_S = 240
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": SingleRack.interface, "TORCH_CPP_LOG_LEVEL": "ERROR"}


@dataclass(frozen=True)
class Setting:
    """`repeats` all-reduces of `values` float32 by `workers` hosts on links of `mbps`."""

    workers: int
    mbps: float
    values: int
    switch: str = "embedded"
    lanes: int = 64
    gloo: bool = False
    repeats: int = 5


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


def run(setting: Setting) -> dict[str, float]:
    """Median seconds of an all-reduce, and the switch's CPU time per gradient packet (0 under gloo). BenchError."""
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
        seconds = [float(_said(rank, process)) for rank, process in enumerate(ranks)]
        used_s = cpu_s(net.switch.process.pid) - before_s
        gradients = controller.read_counters([index])[0]["gradients"]
        for process in ranks:
            process.communicate(b"", timeout=LIMIT_S)
    return {"seconds": max(seconds), "cpu_us_per_gradient": 1e6 * used_s / gradients if gradients else 0.0}


def measure(say: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    """Rows of ratios; BMv2's only where it is installed."""
    if shutil.which(BMV2):
        say("all-reduce over the embedded switch and over BMv2, 2 workers, 20 Mb/s")
        setting = Setting(workers=2, mbps=20.0, values=1 << 18)
        bmv2, embedded = run(replace(setting, switch="bmv2")), run(setting)
        yield {
            "what": "CPU of the switch, BMv2",
            "figure": bmv2["cpu_us_per_gradient"],
            "unit": "us per gradient packet",
            "other": "embedded switch",
            "other_figure": embedded["cpu_us_per_gradient"],
        }
    else:
        say(f"not compared with BMv2: {BMV2} is not on the PATH")
    for workers in (2, 4):
        setting = Setting(workers=workers, mbps=50.0, values=1 << 19)
        for lanes in (64, 256):
            say(f"all-reduce over the switch and by gloo, {workers} workers, {lanes} lanes, 50 Mb/s")
            gloo, esa = run(replace(setting, lanes=lanes, gloo=True)), run(replace(setting, lanes=lanes))
            yield {
                "what": f"all-reduce of 2 MiB by gloo, {workers} workers, 50 Mb/s",
                "figure": gloo["seconds"],
                "unit": "s",
                "other": f"over the switch, {lanes} lanes",
                "other_figure": esa["seconds"],
            }
