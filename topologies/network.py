"""A network on Mininet as a graph says: P4 switches, hosts, a bandwidth per cable; processes on the hosts."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import signal
import subprocess
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from esa.errors import BadInput
from esa.fabric import End, Graph, Link
from esa.signals import uninterrupted
from topologies.forked import Forked
from topologies.interfaces import OFFLOADS, QUEUE_BYTES, delete_interface, interface_exists, require_root
from topologies.p4switch import P4Switch
from topologies.record import Process

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from mininet.link import TCLink
    from mininet.net import Mininet
    from mininet.node import Node

HostProcess = subprocess.Popen[Any] | Forked

MAX_HOSTS = 253
MAX_BANDWIDTH_MBPS = 1000.0  # Mininet's limit for a shaped link
_OF_24 = 254  # addresses

_Self = TypeVar("_Self", bound="Network")


def _check(graph: Graph) -> None:
    """BadInput where this machine cannot build the graph."""
    if graph.hosts > MAX_HOSTS:
        raise BadInput(f"graph: {graph.hosts} hosts; allowed: 1 to {MAX_HOSTS}")
    for lower, upper, link in graph.cables:
        name, mbps = graph.nodes[lower.node].name, link.rate_bps / 1e6
        if lower.node >= graph.hosts:
            name = f"{name} to {graph.nodes[upper.node].name}"
        if mbps > MAX_BANDWIDTH_MBPS and not math.isinf(mbps):
            raise BadInput(f"graph: {name}: {mbps:g} Mb/s; allowed: at most {MAX_BANDWIDTH_MBPS:.0f}, or unshaped")
        if link.delay_ns:
            raise BadInput(f"graph: {name}: a delay of {link.delay_ns} ns; allowed: 0, cables here have none")


class Network:
    """Hosts and P4 switches, gone when the block is left, however it is left.

        with Network(leaf_spine((4, 4, 1), Link(25e6))) as net:
            for node in net.switches:
                controller(node.grpc_address, node.device_id)
            net.popen(0, ["ping", "-c1", "10.0.0.2"]).wait()

    Addresses and ports are the graph's; a host's interface is `eth0`. ARP and everything else passes the switches, as
    far as their programs forward it. Each end of a shaped cable queues `queue_bytes`, whatever the graph says. A switch
    is called as its node is.

    switch:         "embedded" or "bmv2"
    static_arp:     give every host all addresses beforehand (switches' are always given: no machine answers for them)
    queue_bytes:    that may wait at each end of a shaped cable
    faults:         by switch, in the order of `graph.switches`: the embedded switch's file of faults of its ports
                    (`esa-switch --faults`)
    metrics:        by switch, likewise: where embedded switches offer theirs (`esa-switch --metrics`)
    switch_queue_packets: that may wait at each port of embedded switches, which then have the cables' rates, so that
                    programs see what waits; Mininet shapes the hosts' ends alone, whose TCP asks for marks (RFC 3168)
    switch_options: more of the embedded switches' command lines
    log_dir:        the switches' logs; without it, in a temporary folder that goes with the network
    """

    interface = "eth0"  # of every host, in its own namespace

    def __init__(
        self,
        graph: Graph,
        *,
        queue_bytes: int = QUEUE_BYTES,
        switch: str = "embedded",
        static_arp: bool = False,
        log_dir: Path | None = None,
        pcap_dir: Path | None = None,
        faults: Mapping[int, Path] | None = None,
        metrics: Sequence[str] = (),
        switch_queue_packets: int | None = None,
        switch_options: Sequence[str] = (),
    ) -> None:
        self.graph = graph
        _check(graph)
        require_root()
        self._queue_bytes = queue_bytes
        self._switch_kind = switch
        self._static_arp = static_arp
        self._log_dir = log_dir
        self._pcap_dir = pcap_dir
        self._faults = faults or {}
        self._metrics = dict(enumerate(metrics))
        self._switch_queue_packets = switch_queue_packets
        self._switch_options = switch_options
        self._processes: list[HostProcess] = []
        self._cleanup = contextlib.ExitStack()
        self.hosts: list[Node] = []
        self.switches: list[P4Switch] = []  # in the order of `graph.switches`

    def ip(self, host: int) -> IPv4Address:
        return self.graph.nodes[host].ip

    def mac(self, host: int) -> str:
        return self.graph.nodes[host].mac

    def port(self, host: int) -> int:
        """Return the port of its switch that host `host` is behind."""
        return self.graph.port_to_host(host)

    def __enter__(self: _Self) -> _Self:
        try:
            self._build()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _value: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self.close()

    def _build(self) -> None:
        log_dir = self._log_dir
        if log_dir is None:
            log_dir = Path(tempfile.mkdtemp(prefix="esa-rack-"))
            self._cleanup.callback(shutil.rmtree, log_dir, ignore_errors=True)
        graph = self.graph
        net = Mininet(
            switch=partial(
                P4Switch,
                kind=self._switch_kind,
                log_dir=log_dir,
                pcap_dir=self._pcap_dir,
                options=self._switch_options,
            ),
            link=TCLink,
            controller=None,
            build=False,
        )
        names = dict(self._interface_names())
        self._cleanup.callback(_delete_what_is_left, names.values())
        self._cleanup.callback(_stop, net)
        for number, node in enumerate(graph.switches):
            queues = self._port_queues(node)
            asked = {"faults": self._faults.get(number), "metrics": self._metrics.get(number)}
            self.switches.append(net.addSwitch(self._switch_name(node), **asked, **queues))
        prefix = 24 if len(graph.nodes) <= _OF_24 else 16
        macs = {end: f"02:00:00:01:{number >> 8:02x}:{number & 255:02x}" for number, end in enumerate(names)}
        for lower, upper, link in sorted(graph.cables):
            if lower.node < graph.hosts:
                # The name shows in `ip netns`-like tools and in `ps`; the interfaces' names are our own.
                mac = self.mac(lower.node)
                below = net.addHost(f"h{lower.node + 1}", ip=f"{self.ip(lower.node)}/{prefix}", mac=mac)
                self.hosts.append(below)
            else:
                below, mac = self.switches[lower.node - graph.hosts], macs[lower]
            net.addLink(
                self.switches[upper.node - graph.hosts],
                below,
                port1=upper.port,
                port2=lower.port,
                intfName1=names[upper],
                intfName2=names.get(lower, self.interface),
                addr1=macs[upper],
                addr2=mac,
                **{end: _shape(link, self._queue_bytes) for end in self._shaped_ends(lower)},
            )
        net.build()
        alias = Process.of(os.getpid()).alias
        for end, name in names.items():
            switch = self.switches[end.node - graph.hosts]
            _settle_interface(switch, name)
            # The root namespace is no member of this network: it must not answer ARP for an address it happens to own.
            switch.cmd(f"ip link set dev {name} arp off alias '{alias}'")
        for node in self.hosts:
            _settle_interface(node, self.interface)
            if self._switch_queue_packets is not None:
                node.cmd("sysctl -qe -w net.ipv4.tcp_ecn=1")
            for switch in graph.switches:
                node.setARP(str(graph.nodes[switch].ip), graph.nodes[switch].mac)
        if self._static_arp:
            net.staticArp()
        for switch in self.switches:
            switch.begin()
        for switch in self.switches:
            switch.await_listening()

    def _port_queues(self, switch: int) -> dict[str, Any]:
        """A switch's ports with the cables' rates, if it is to have queues."""
        if self._switch_queue_packets is None:
            return {}
        ends = [(end, link) for lower, upper, link in self.graph.cables for end in (lower, upper)]
        rates = {end.port: link.rate_bps for end, link in ends if end.node == switch and not math.isinf(link.rate_bps)}
        return {"rates_bps": rates, "queue_packets": self._switch_queue_packets}

    def _shaped_ends(self, lower: End) -> tuple[str, ...]:
        """What Mininet calls the ends of a cable that it shapes: the upper switch's, then the lower one's."""
        if self._switch_queue_packets is None:
            return "params1", "params2"
        return ("params2",) if lower.node < self.graph.hosts else ()

    def _switch_name(self, node: int) -> str:
        """What a switch is called, and its log."""
        return self.graph.nodes[node].name

    def _interface_names(self) -> Iterator[tuple[End, str]]:
        """Of the switches' ends, which lie in the root namespace: the process id keeps two networks of a machine apart.

        At most 15 characters, for a process id has at most 7 digits.
        """
        ends = sorted(End(node, port) for node in self.graph.switches for port, _ in self.graph.ports(node))
        for number, end in enumerate(ends):
            yield end, f"esa{os.getpid()}p{self._interface_number(end, number)}"

    def _interface_number(self, _end: End, number: int) -> int:
        return number

    def popen(self, host: int, command: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
        """Start a program on a host; it ends with the network at the latest. `options` are subprocess.Popen's."""
        options = {"stdin": subprocess.DEVNULL, "stdout": None, "stderr": None} | options  # Mininet's are pipes
        node = self.hosts[host]
        # mnexec makes it a session of its own: Ctrl-C reaches this process alone. The kernel ends it if we die, of
        # whatever; setpriv comes first, so that this holds as early as can be.
        enter = ["setpriv", "--pdeathsig", "KILL", "mnexec", "-da", str(node.pid)]
        process: subprocess.Popen[Any] = node.popen([str(word) for word in command], mncmd=enter, **options)
        self._processes.append(process)
        return process

    def fork(self, host: int, function: str, *arguments: Any, **options: Any) -> Forked:
        """Call "module:function" in a process of its own on a host; it ends as by `popen`. `options` are Forked's."""
        process = Forked(function, arguments, namespaces_of=self.hosts[host].pid, **options)
        self._processes.append(process)
        return process

    def register(self, process: subprocess.Popen[Any]) -> None:
        """Let a program that was started elsewhere, in a session of its own, end with the network."""
        self._processes.append(process)

    def kill(self, processes: Iterable[HostProcess], grace_s: float = 2.0) -> None:
        """End programs started by `popen` and what they started: SIGTERM, after `grace_s` SIGKILL."""
        running = [process for process in processes if process.poll() is None]
        for process in running:
            _signal_session(process, signal.SIGTERM)
        for process in running:
            try:
                process.wait(timeout=grace_s)
            except subprocess.TimeoutExpired:
                grace_s = 0.0  # one grace for all
        for process in running:
            _signal_session(process, signal.SIGKILL)
            process.wait()

    def close(self) -> None:
        """End every process, delete every namespace, interface and temporary file. Safe to call twice."""
        with uninterrupted():
            self.kill(self._processes)
            self._processes.clear()
            self._cleanup.close()
            self.hosts.clear()
            self.switches.clear()


def _shape(link: Link, queue_bytes: int) -> dict[str, Any]:
    """What Mininet is told of a link."""
    if math.isinf(link.rate_bps):
        return {}
    mbps = link.rate_bps / 1e6
    # TBF: HTB's own quantum arithmetic warns below 100 Mb/s.
    return {"bw": mbps, "use_tbf": True, "latency_ms": queue_bytes * 8e-3 / mbps}


def _settle_interface(node: Node, interface: str) -> None:
    """Every frame leaves as the switch must see it (no offloads), and nothing leaves that no program asked for."""
    node.cmd("ethtool -K", interface, *(f"{offload} off" for offload in OFFLOADS))
    node.cmd(f"sysctl -qe -w net.ipv6.conf.{interface}.disable_ipv6=1")


def _stop(net: Mininet) -> None:
    """Mininet's stop, which leaves the rest undone where one part of it fails."""
    with contextlib.suppress(Exception):
        net.stop()
        return
    for switch in net.switches:
        with contextlib.suppress(Exception):
            switch.stop()
    for node in (*net.hosts, *net.switches):
        with contextlib.suppress(Exception):
            node.terminate()


def _delete_what_is_left(interfaces: Iterable[str]) -> None:
    """Of a network that was interrupted while Mininet built it, whose own stop then leaves them to the kernel."""
    for name in interfaces:
        if interface_exists(name):
            delete_interface(name)  # unless the kernel, which ends namespaces on its own time, was quicker


def _signal_session(process: HostProcess, number: signal.Signals) -> None:
    try:
        os.killpg(process.pid, number)  # mnexec made it a session, whose members may outlive it
    except ProcessLookupError:
        process.send_signal(number)  # not yet
