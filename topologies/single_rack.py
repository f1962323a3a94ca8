"""A single rack on Mininet: one P4 switch, N hosts, a bandwidth per link, as a graph says."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import signal
import subprocess
import tempfile
import warnings
from collections.abc import Iterable, Sequence
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path
from types import TracebackType
from typing import Any

from esa.errors import BadInput
from esa.fabric import Graph, Link, rack
from esa.signals import uninterrupted
from topologies.interfaces import OFFLOADS, SWITCH_MAC, NotRootError
from topologies.p4switch import P4Switch

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from mininet.link import TCLink
    from mininet.net import Mininet
    from mininet.node import Node

MAX_HOSTS = 253
MAX_BANDWIDTH_MBPS = 1000.0  # Mininet's limit for a shaped link
SWITCH_IP = IPv4Address("10.0.0.254")  # where a PS sends what is for the switch itself
QUEUE_BYTES = 512 * 1024  # of each end of a shaped link: about 1,600 fragments of 64 lanes


def require_root() -> None:
    """Raise NotRootError, one line, unless this process may make network namespaces."""
    if os.geteuid() != 0:
        raise NotRootError(
            "Mininet makes network namespaces, veth pairs and raw sockets, which needs root: run with sudo"
        )
    # Mininet waits for ever where its helper fails, as in a container without privileges or in a chroot.
    trial = subprocess.run(["mnexec", "-n", "true"], capture_output=True, text=True, timeout=10, check=False)
    if trial.returncode != 0:
        why = (trial.stderr or trial.stdout).strip().splitlines()
        raise NotRootError(
            f"Mininet's mnexec cannot make a network namespace here: {why[-1] if why else 'no reason given'}"
        )


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


def _check(graph: Graph) -> None:
    """BadInput where this machine cannot build the graph."""
    if len(graph.switches) != 1:
        raise BadInput(f"graph: {len(graph.switches)} switches; allowed: 1")
    if graph.hosts > MAX_HOSTS:
        raise BadInput(f"graph: {graph.hosts} hosts; allowed: 1 to {MAX_HOSTS}")
    for lower, _, link in graph.cables:
        name, mbps = graph.nodes[lower.node].name, link.rate_bps / 1e6
        if mbps > MAX_BANDWIDTH_MBPS and not math.isinf(mbps):
            raise BadInput(f"graph: {name}: {mbps:g} Mb/s; allowed: at most {MAX_BANDWIDTH_MBPS:.0f}, or unshaped")
        if link.delay_ns:
            raise BadInput(f"graph: {name}: a delay of {link.delay_ns} ns; allowed: 0, cables here have none")


class SingleRack:
    """N hosts behind one P4 switch, gone when the block is left, however it is left.

        with SingleRack(hosts=4, bandwidth_mbps=25) as net:
            controller(net.switch.grpc_address, net.switch.device_id)
            net.popen(0, ["ping", "-c1", "10.0.0.2"]).wait()

    Addresses and ports are the graph's; a host's interface is `eth0`. ARP and everything else passes the switch, as far
    as its program forwards it. Each end of a shaped link queues `queue_bytes`, whatever the graph says.

    hosts:          how many, with `bandwidth_mbps`, as in `rack_graph`; or a graph of one switch
    switch:         "embedded" or "bmv2"
    static_arp:     give every host all addresses beforehand (SWITCH_IP is always given: no machine answers for it)
    queue_bytes:    that may wait at each end of a shaped link
    faults:         the embedded switch's file of faults of its ports (`esa-switch --faults`)
    log_dir:        the switch's log; without it, in a temporary folder that goes with the network
    """

    interface = "eth0"  # of every host, in its own namespace

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
    ) -> None:
        if isinstance(hosts, Graph) and bandwidth_mbps is not None:
            raise BadInput("bandwidth_mbps: a graph has rates of its own")
        self.graph = hosts if isinstance(hosts, Graph) else rack_graph(hosts, bandwidth_mbps)
        _check(self.graph)
        require_root()
        self._queue_bytes = queue_bytes
        self._switch_kind = switch
        self._static_arp = static_arp
        self._log_dir = log_dir
        self._pcap_dir = pcap_dir
        self._faults = faults
        self._processes: list[subprocess.Popen[Any]] = []
        self._cleanup = contextlib.ExitStack()
        self.hosts: list[Node] = []
        self.switch: P4Switch

    def ip(self, host: int) -> IPv4Address:
        return self.graph.nodes[host].ip

    def mac(self, host: int) -> str:
        return self.graph.nodes[host].mac

    def port(self, host: int) -> int:
        """Return the switch port that host `host` is behind."""
        return self.graph.port_to_host(host)

    def __enter__(self) -> SingleRack:
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
        net = Mininet(
            switch=partial(
                P4Switch, kind=self._switch_kind, log_dir=log_dir, pcap_dir=self._pcap_dir, faults=self._faults
            ),
            link=TCLink,
            controller=None,
            build=False,
        )
        self._cleanup.callback(_stop, net)
        self.switch = net.addSwitch("s1")
        for (host, _), _, link in sorted(self.graph.cables):
            # The name shows in `ip netns`-like tools and in `ps`; the interfaces' names are our own.
            node = net.addHost(f"h{host + 1}", ip=f"{self.ip(host)}/24", mac=self.mac(host))
            self.hosts.append(node)
            # The switch's ends lie in the root namespace: the process id keeps two networks of one machine apart.
            net.addLink(
                self.switch,
                node,
                port1=self.port(host),
                port2=0,
                intfName1=_interface_name(self.port(host)),
                intfName2=self.interface,
                addr1=f"02:00:00:00:01:{host + 1:02x}",
                addr2=self.mac(host),
                **_shape(link, self._queue_bytes),
            )
        net.build()
        for host, node in enumerate(self.hosts):
            _settle_interface(node, self.interface)
            _settle_interface(self.switch, _interface_name(self.port(host)))
            # The root namespace is no member of this network: it must not answer ARP for an address it happens to own.
            self.switch.cmd(f"ip link set dev {_interface_name(self.port(host))} arp off")
            node.setARP(str(self.graph.nodes[-1].ip), self.graph.nodes[-1].mac)
        if self._static_arp:
            net.staticArp()
        self.switch.start(())

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

    def register(self, process: subprocess.Popen[Any]) -> None:
        """Let a program that was started elsewhere, in a session of its own, end with the network."""
        self._processes.append(process)

    def kill(self, processes: Iterable[subprocess.Popen[Any]], grace_s: float = 2.0) -> None:
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


def _shape(link: Link, queue_bytes: int) -> dict[str, Any]:
    """What Mininet is told of a link."""
    if math.isinf(link.rate_bps):
        return {}
    mbps = link.rate_bps / 1e6
    # TBF: HTB's own quantum arithmetic warns below 100 Mb/s.
    return {"bw": mbps, "use_tbf": True, "latency_ms": queue_bytes * 8e-3 / mbps}


def _interface_name(port: int) -> str:
    return f"esa{os.getpid()}p{port}"  # at most 15 characters: a process id has at most 7 digits


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


def _signal_session(process: subprocess.Popen[Any], number: signal.Signals) -> None:
    try:
        os.killpg(process.pid, number)  # mnexec made it a session, whose members may outlive it
    except ProcessLookupError:
        process.send_signal(number)  # not yet
