"""Ranks of one job on a rack of its own, each a process that says what it measured: over the switch, or by gloo."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controller import Controller, Switch
from controller.coordinator import Coordinator
from esa.job import Job, Member, Pool
from esa.wire import ESA_PORT
from experiments.studies.bench.cpu import cpu_s
from experiments.studies.bench.errors import BenchError
from experiments.studies.bench.forwarder import FORWARDER, in_place_of_the_switch
from topologies.single_rack import SWITCH_IP, SingleRack

LIMIT_S = 240
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": SingleRack.interface, "TORCH_CPP_LOG_LEVEL": "ERROR"}


@dataclass(frozen=True)
class Rack:
    """`workers` hosts and a PS on links of `mbps`, behind a switch of this kind with the program of so many lanes.

    switch: "embedded", "bmv2", or FORWARDER: what comes is answered, and nothing added.
    """

    workers: int
    mbps: float | None  # None: unshaped
    lanes: int = 64
    switch: str = "embedded"
    gloo: bool = False


@dataclass(frozen=True)
class Measured:
    """What each rank said; of the switch, its CPU time and the gradient packets that it got meanwhile."""

    said: tuple[Any, ...]
    switch_s: float
    gradients: int  # 0: the switch does not count them


def _member(net: SingleRack, host: int, udp_port: int) -> Member:
    return Member(ip=net.ip(host), mac=net.mac(host), udp_port=udp_port, switch_port=net.port(host))


def _job(net: SingleRack, rack: Rack) -> Job:
    return Job(
        name="bench",
        job=1,
        policy="esa",
        lanes=rack.lanes,
        workers=tuple(_member(net, host, ESA_PORT + 1) for host in range(rack.workers)),
        server=_member(net, rack.workers, ESA_PORT),
        switch_ip=SWITCH_IP,
        pool=Pool(base=0, size=4096),
        window=128,
    )


def _said(rank: int, process: subprocess.Popen[bytes]) -> bytes:
    assert process.stdout is not None
    if line := process.stdout.readline():
        return line
    raise BenchError(f"rank {rank} ended (status {process.wait()}) before it was measured")


def measured(rack: Rack, module: str, arguments: Sequence[str]) -> Measured:
    """Start `module` for each rank, which says "ready", waits for a line, and says one of JSON. BenchError.

    Its arguments: --job FILE --rank NUMBER, --gloo where the rack is for that, and `arguments`.
    """
    kind = "embedded" if rack.switch == FORWARDER else rack.switch
    with (
        tempfile.TemporaryDirectory(prefix="esa-bench-") as folder,
        SingleRack(rack.workers + 1, bandwidth_mbps=rack.mbps, switch=kind, static_arp=True) as net,
        Switch.connect(net.switch.grpc_address, net.switch.device_id, wait_s=10.0) as client,
        ExitStack() as stack,
    ):
        node = net.switch
        controller = Controller(client)
        controller.load(rack.lanes)
        node.deepen_queues()
        controller.add_hosts({net.mac(host): net.port(host) for host in range(rack.workers + 1)})
        job = _job(net, rack)
        index = controller.add_job(job).index
        path = Path(folder) / "job.json"
        job.save(path)
        meeting = f"unix:{folder}/runs"
        coordinator = stack.enter_context(Coordinator(lambda: Switch.connect(node.grpc_address, node.device_id)))
        coordinator.serve(meeting)
        switch = node.process
        environment = os.environ | ENVIRONMENT | {"ESA_CONTROLLER": meeting}
        if rack.switch == FORWARDER:
            switch = stack.enter_context(in_place_of_the_switch(net, answer=True))
        elif not rack.gloo:
            command = [sys.executable, "-m", "esa.hosts", "server", "--job", path]
            net.popen(rack.workers, command, stdout=subprocess.DEVNULL, env=environment)
        command = [sys.executable, "-m", module, "--job", path, *arguments, *(["--gloo"] if rack.gloo else [])]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "env": environment}
        ranks = [net.popen(rank, [*command, "--rank", rank], **pipes) for rank in range(rack.workers)]
        for rank, process in enumerate(ranks):
            _said(rank, process)  # ready
        before_s = cpu_s(switch.pid)
        for process in ranks:
            process.stdin.write(b"go\n")
            process.stdin.flush()
        said = tuple(json.loads(_said(rank, process)) for rank, process in enumerate(ranks))
        used_s = cpu_s(switch.pid) - before_s
        gradients = 0 if rack.switch == FORWARDER else controller.read_counters([index])[0]["gradients"]
        for process in ranks:
            process.communicate(b"", timeout=LIMIT_S)
    return Measured(said, used_s, gradients)
