"""A single rack on Mininet: one P4 switch, N hosts, a bandwidth per link, as a graph says."""

from __future__ import annotations

import math
from collections.abc import Sequence
from ipaddress import IPv4Address
from pathlib import Path

from esa.errors import BadInput
from esa.fabric import End, Graph, Link, rack
from topologies.interfaces import QUEUE_BYTES, SWITCH_MAC, NotRootError, require_root
from topologies.network import MAX_BANDWIDTH_MBPS, MAX_HOSTS, Network
from topologies.p4switch import P4Switch

__all__ = ["MAX_HOSTS", "QUEUE_BYTES", "SWITCH_IP", "NotRootError", "SingleRack", "rack_graph", "require_root"]

SWITCH_IP = IPv4Address("10.0.0.254")  # where a PS sends what is for the switch itself


def rack_graph(hosts: int, bandwidth_mbps: float | Sequence[float] | None = None) -> Graph:
    """The graph of a rack whose switch is at SWITCH_IP. bandwidth_mbps: of all links, of each, or None: unshaped.

    Host i (from 0) is at 10.0.0.(i+1), MAC 02:00:00:00:00:(i+1) in hexadecimal, behind switch port i+1.
    """
    if not 1 <= hosts <= MAX_HOSTS:
        raise BadInput(f"hosts: {hosts}; allowed: 1 to {MAX_HOSTS}")
    rates = list(bandwidth_mbps) if isinstance(bandwidth_mbps, Sequence) else [bandwidth_mbps] * hosts
    if len(rates) != hosts:
        raise BadInput(f"bandwidth_mbps: {len(rates)} numbers for {hosts} hosts")
    for rate in rates:
        if rate is not None and not 0 < rate <= MAX_BANDWIDTH_MBPS:
            raise BadInput(f"bandwidth_mbps: {rate}; allowed: above 0, at most {MAX_BANDWIDTH_MBPS:.0f}")
    graph = rack([Link(math.inf if rate is None else rate * 1e6) for rate in rates], first_port=1)
    switch = graph.nodes[-1]._replace(ip=SWITCH_IP, mac=SWITCH_MAC)
    return Graph((*graph.nodes[:-1], switch), graph.cables)


class SingleRack(Network):
    """N hosts behind one P4 switch, gone when the block is left, however it is left.

        with SingleRack(hosts=4, bandwidth_mbps=25) as net:
            controller(net.switch.grpc_address, net.switch.device_id)
            net.popen(0, ["ping", "-c1", "10.0.0.2"]).wait()

    hosts:          how many, with `bandwidth_mbps`, as in `rack_graph`; or a graph of one switch
    faults:         the switch's, as in `Network`, which says the rest
    """

    def __init__(
        self,
        hosts: int | Graph,
        *,
        bandwidth_mbps: float | Sequence[float] | None = None,
        queue_bytes: int = QUEUE_BYTES,
        switch: str = "embedded",
        static_arp: bool = False,
        log_dir: Path | None = None,
        pcap_dir: Path | None = None,
        faults: Path | None = None,
        metrics: Sequence[str] = (),
        switch_queue_packets: int | None = None,
        switch_options: Sequence[str] = (),
    ) -> None:
        if isinstance(hosts, Graph) and bandwidth_mbps is not None:
            raise BadInput("bandwidth_mbps: a graph has rates of its own")
        graph = hosts if isinstance(hosts, Graph) else rack_graph(hosts, bandwidth_mbps)
        if len(graph.switches) != 1:
            raise BadInput(f"graph: {len(graph.switches)} switches; allowed: 1")
        super().__init__(
            graph,
            queue_bytes=queue_bytes,
            switch=switch,
            static_arp=static_arp,
            log_dir=log_dir,
            pcap_dir=pcap_dir,
            faults=None if faults is None else {0: faults},
            metrics=metrics,
            switch_queue_packets=switch_queue_packets,
            switch_options=switch_options,
        )

    @property
    def switch(self) -> P4Switch:
        return self.switches[0]

    def _switch_name(self, _node: int) -> str:
        return "s1"

    def _interface_number(self, end: End, _number: int) -> int:
        return end.port
