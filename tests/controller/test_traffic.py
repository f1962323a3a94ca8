"""A job that a controller installed, with packets: who gets what, what is counted, which rows are held."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest

from controller import Controller, Switch
from esa import wire
from esa.job import Run
from esa.wire import Flag, Kind
from tests.controller.jobs import make_job, member
from tests.net.veth import Veth
from tests.p4.traffic import Packet
from tests.switches import KINDS, running_switch

WAIT_S = 5.0


@dataclass
class Network:
    """Three hosts on ports 1, 2, 3 of a switch with a controller."""

    controller: Controller
    hosts: dict[int, socket.socket]

    def send(self, job: Run, rank: int, seq: int, value: int, kind: int = Kind.GRADIENT, flags: int = 0) -> None:
        source = job.workers[rank]
        packet = Packet(
            source, job.server, kind, job.job, job.epoch, seq, source.udp_port, flags=flags, bitmap0=1 << rank,
            lanes=(value,) * job.lanes,
        )  # fmt: skip
        self.hosts[source.switch_port].send(packet.frame())

    def receive(self, host: int) -> tuple[bytes, np.void]:
        """(frame, ESA packet) that reached a host."""
        assert select.select([self.hosts[host]], [], [], WAIT_S)[0], f"nothing reaches host {host}"
        frame = self.hosts[host].recv(2048)
        return frame, np.frombuffer(frame[wire.ENCAPSULATION_BYTES :], wire.packet_dtype(64))[0]

    def settled(self, job: int, **expected: int) -> None:
        """Wait until the job's counters are these."""
        for _ in range(50):
            counters = self.controller.counters(job)
            if expected.items() <= counters.items():
                return
            select.select([], [], [], 0.1)
        assert {name: counters[name] for name in expected} == expected


@pytest.fixture(params=KINDS)
def network(root: None, request: pytest.FixtureRequest) -> Iterator[Network]:
    veth = Veth(pairs=3)
    try:
        hosts = {number + 1: veth.socket(f"b{number}") for number in range(3)}
        interfaces = {number + 1: f"a{number}" for number in range(3)}
        with (
            running_switch(request.param, interfaces=interfaces, namespace=veth.name) as process,
            Switch.connect(process.address) as switch,
        ):
            controller = Controller(switch)
            controller.load(64)
            yield Network(controller, hosts)
        for host in hosts.values():
            host.close()
    finally:
        veth.close()


def test_a_job_from_its_first_packet_to_after_its_removal(network: Network) -> None:
    controller = network.controller
    pool = {"base": 0, "size": 1}  # every fragment meets every other
    made = make_job("alpha", 1, workers=[member(1), member(2)], server=member(3, wire.ESA_PORT), pool=pool)
    job = made.run(controller.add_job(made).epoch)

    network.send(job, 0, seq=5, value=30)
    network.send(job, 1, seq=5, value=12)
    for rank, worker in enumerate(job.workers):
        frame, packet = network.receive(worker.switch_port)
        assert (frame[0:6].hex(":"), frame[30:34], frame[36:38]) == (
            worker.mac,
            worker.ip.packed,
            worker.udp_port.to_bytes(2, "big"),
        ), rank
        assert packet["version_kind"] == wire.version_kind(Kind.RESULT)
        assert packet["lane"].tolist() == [42] * 64
    network.settled(1, gradients=2, aggregated=2, completed=1, seated=1, released=1, denied=0)
    assert controller.occupancy().total == 0

    # Another policy takes effect on the running switch: under `ps`, the PS gets each fragment.
    controller.set_policy(1, "ps")
    network.send(job, 0, seq=6, value=1)
    assert network.receive(3)[1]["version_kind"] == wire.version_kind(Kind.GRADIENT)
    controller.set_policy(1, "esa", pool=job.pool)

    # Nobody speaks for another.
    stranger = job.model_copy(update={"workers": job.workers[::-1]})
    network.send(stranger, 0, seq=7, value=1)
    network.settled(1, gradients=3, denied=1)
    assert controller.denied_by_reason()["bitmap"] == 1

    # A row that a removed job holds stays counted until somebody takes it, under any policy; what was in it is dropped.
    network.send(job, 0, seq=8, value=1)
    network.settled(1, seated=2)
    assert controller.occupancy().jobs == {"job-1": 1}
    controller.remove_job(1)
    assert (controller.occupancy().total, controller.occupancy().left_behind) == (1, 1)
    network.send(job, 1, seq=8, value=1)
    heir = make_job("beta", 2, "esa-no-preemption", workers=[member(1), member(2)], server=job.server, pool=pool)
    heir = heir.run(controller.add_job(heir).epoch)
    network.send(heir, 0, seq=8, value=100)
    network.settled(2, seated=1, preemptions=0, collisions=0)
    assert controller.occupancy().left_behind == 0
    network.send(heir, 1, seq=8, value=11)
    assert network.receive(1)[1]["lane"][0] == 111
    assert controller.occupancy().total == 0
    assert controller.denied_by_reason()["unknown sender"] == 1

    # What is not a gradient of its own is passed on: a resend goes to the PS as it is.
    network.send(heir, 0, seq=9, value=3, flags=Flag.RESEND)
    assert network.receive(3)[1]["seq"] == 9
