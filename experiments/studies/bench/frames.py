"""Jobs for the bench, and their workers' gradients as frames.

The addresses are no host's: what a switch sends to them ends at the interface that it arrives at, as what a forwarder
sends back does, and no Internet stack takes time for it.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address

import numpy as np
import numpy.typing as npt
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from esa import wire
from esa.job import Job, Member, Pool, Run

WORKERS = 4
_NETWORK = int(IPv4Address("10.1.0.0"))


def mac(host: int) -> str:
    """Host's, from 1."""
    return f"02:00:00:00:01:{host:02x}"


def job(lanes: int, *, number: int = 1, pool: Pool, window: int, port: Callable[[int], int] = lambda host: host) -> Job:
    """A job of WORKERS hosts, from host 1, and its PS on the next one."""

    def member(host: int, udp_port: int) -> Member:
        ip = IPv4Address(_NETWORK + 256 * number + host)
        return Member(ip=ip, mac=mac(host), udp_port=udp_port, switch_port=port(host))

    return Job(
        name=f"bench-{number}",
        job=number,
        policy="esa",
        lanes=lanes,
        workers=tuple(member(rank + 1, 5000) for rank in range(WORKERS)),
        server=member(WORKERS + 1, wire.ESA_PORT),
        switch_ip=IPv4Address("10.0.0.254"),
        pool=pool,
        window=window,
    )


def gradients(run: Run, fragments: int) -> npt.NDArray[np.uint8]:
    """Every worker's gradient of each fragment, as frames: uint8 (WORKERS, fragments, bytes); lanes are drawn."""
    lanes = np.random.default_rng(run.job).integers(-(2**20), 2**20, (WORKERS, fragments, run.lanes))
    packets = np.zeros((WORKERS, fragments), wire.packet_dtype(run.lanes))
    packets["version_kind"] = wire.version_kind(wire.Kind.GRADIENT)
    packets["priority"] = 9
    packets["job"], packets["epoch"] = run.job, run.epoch
    packets["seq"] = range(fragments)
    packets["index"] = [wire.aggregator_index(run.job, run.epoch, seq) for seq in range(fragments)]
    packets["bitmap0"] = np.expand_dims([1 << rank for rank in range(WORKERS)], 1)
    packets["bitmap1"] = 1
    packets["lane"] = lanes
    frames = np.empty((WORKERS, fragments, wire.packet_bytes(run.lanes)), np.uint8)
    frames[:, :, wire.ENCAPSULATION_BYTES :] = packets.view(np.uint8).reshape(WORKERS, fragments, -1)
    for rank, worker in enumerate(run.workers):
        udp = UDP(sport=worker.udp_port, dport=wire.ESA_PORT, chksum=0)
        payload = bytes(packets.itemsize)
        first = (
            Ether(dst=run.server.mac, src=worker.mac) / IP(src=str(worker.ip), dst=str(run.server.ip)) / udp / payload
        )
        frames[rank, :, : wire.ENCAPSULATION_BYTES] = list(bytes(first)[: wire.ENCAPSULATION_BYTES])
    return frames
