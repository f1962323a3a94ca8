"""What each exercise's README has one do at Mininet's prompt, and what is to be seen there with the solution."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

from tests.p4.tutorials.mininet_run import MininetRun

Seen = dict[str, Any]
_LIMIT_S = 15.0
_PROBED = ((1, 1), (1, 3), (1, 4), (2, 3), (2, 4), (3, 1), (3, 2), (4, 1), (4, 2))  # link_monitor's send.py: its way


def _basic(net: MininetRun) -> Seen:
    return {"lost": _lost(net.run("pingall"))}


def _basic_tunnel(net: MininetRun) -> Seen:
    _receive(net, "h2", "h3")
    net.script("h1", "send.py 10.0.2.2 plain")
    net.script("h1", "send.py 10.0.2.2 tunneled --dst_id 2")
    net.script("h1", "send.py 10.0.3.3 elsewhere --dst_id 2")
    _wait(net, "h2.log", "got a packet", 3)
    return {
        "h2": _found(net, "h2.log", r"load *= *b?'?(\w+)"),
        "tunnels at h2": _found(net, "h2.log", r"dst_id *= *(\d+)"),
        "h3": _found(net, "h3.log", "got a packet"),
    }


def _calc(net: MininetRun) -> Seen:
    asked = ["1+1", "7-9", "12&10", "12|3", "6^5"]
    lines = "\\n".join([*asked, "quit", ""])
    printed = net.run(f"h1 printf '{lines}' | python3 -u calc.py")
    return {"results": re.findall(r"^(\d+)\r?$", printed, re.MULTILINE)}


def _ecn(net: MininetRun) -> Seen:
    _congest(net)
    return {"tos": sorted(set(_found(net, "h2.log", r"tos *= (0x\w+)")))}


def _mri(net: MininetRun) -> Seen:
    _congest(net)
    return {
        "switches": sorted(set(_found(net, "h2.log", r"swid *= (\d+)"))),
        "a queue": any(int(depth) > 0 for depth in _found(net, "h2.log", r"qdepth *= (\d+)")),
        "none after it": _found(net, "h2.log", r"qdepth *= (\d+)")[-1],
    }


def _firewall(net: MininetRun) -> Seen:
    seen = {}
    for server, client in (("h2", "h1"), ("h3", "h1"), ("h1", "h3")):
        net.run(f"{server} iperf -s -p 5566 > {server}.log 2>&1 &")
        time.sleep(1)
        net.run(f"{client} timeout -s KILL 8 iperf -c {server} -p 5566 -t 1 > {client}.log 2>&1")
        seen[f"{client} to {server}"] = bool(_found(net, f"{client}.log", r"bits/sec"))
        net.run(f"{server} kill %iperf")
    return seen


def _flowcache(net: MininetRun) -> Seen:
    _control(net)
    lost = _lost(net.run("h1 ping -c 5 -i 0.5 h2"))
    _wait(net, "controller.log", "Deleted flow_cache entry", 1)
    return {
        "answered": lost != "100%",  # those that met the controller may be lost
        "entries": sorted(set(_found(net, "controller.log", r"switch (s\d) flow \(SA=([\d.]+), DA=([\d.]+)"))),
        "idle": bool(_found(net, "controller.log", "Deleted flow_cache entry")),
    }


def _link_monitor(net: MininetRun) -> Seen:
    net.script("h1", "send.py", log="send.log")
    _receive(net, "h1")
    net.run("h4 iperf -s > h4.log 2>&1 &")
    time.sleep(1)
    net.run("h1 timeout -s KILL 10 iperf -c h4 -t 4 > iperf.log 2>&1")
    _wait(net, "h1.log", "Switch 1 - Port 4", 4)
    busiest = dict.fromkeys(sorted(set(_found(net, "h1.log", r"(Switch \d - Port \d)"))), 0.0)
    for link, rate in _found(net, "h1.log", r"(Switch \d - Port \d): ([\d.e-]+) Mbps"):
        busiest[link] = max(busiest[link], float(rate))
    # In Mbps: the probes make less than 0.01, TCP's answers a fortieth of its data.
    least = max(0.1, *(rate / 5 for rate in busiest.values()))
    return {"links": list(busiest), "busy": [link for link, rate in busiest.items() if rate >= least]}


def _load_balance(net: MininetRun) -> Seen:
    _receive(net, "h2", "h3")
    for _ in range(12):
        net.script("h1", "send.py 10.0.0.1 hello")
    time.sleep(1)
    counts = [len(_found(net, log, "got a packet")) for log in ("h2.log", "h3.log")]
    return {"received": sum(counts), "by both": all(counts)}


def _p4runtime(net: MininetRun) -> Seen:
    _control(net)
    lost = _lost(net.run("h1 ping -c 4 -i 0.5 h2"))
    _wait(net, "controller.log", "4 packets", 4)
    return {
        "lost": lost,
        "rules": len(_found(net, "controller.log", "Installed .* rule")),
        "counters": sorted(set(_found(net, "controller.log", r"(s\d \S+) (\d+): 4 packets \((\d+) bytes"))),
    }


def _qos(net: MininetRun) -> Seen:
    _receive(net, "h2")
    for protocol in ("UDP", "TCP"):
        net.script("h1", f'send.py --p={protocol} --des=10.0.2.2 --m="P4 is cool" --dur=2')
    _wait(net, "h2.log", "tos  .*= 0xb1", 2)
    # h2's own answers are in the log, too.
    return {"tos": [tos for tos in ("0xb1", "0xb9") if tos in _found(net, "h2.log", r"tos *= (0x\w+)")]}


def _source_routing(net: MininetRun) -> Seen:
    _receive(net, "h2")
    net.run("h1 printf '2 3 2 2 1\\n2 1\\nq\\n' | python3 -u send.py 10.0.2.2")
    _wait(net, "h2.log", "got a packet", 2)
    return {"ttl": _found(net, "h2.log", r"ttl *= (\d+)")}


RUNS: dict[str, tuple[Callable[[MininetRun], Seen], Seen]] = {
    "basic": (_basic, {"lost": "0%"}),
    "basic_tunnel": (
        _basic_tunnel,
        {"h2": ["plain", "tunneled", "elsewhere"], "tunnels at h2": ["2", "2"], "h3": []},
    ),
    "calc": (_calc, {"results": ["2", str(2**32 - 2), "8", "15", "3"]}),
    "ecn": (_ecn, {"tos": ["0x1", "0x3"]}),
    "firewall": (_firewall, {"h1 to h2": True, "h1 to h3": True, "h3 to h1": False}),
    "flowcache": (
        _flowcache,
        {
            "answered": True,
            "entries": [
                ("s1", "10.0.1.1", "10.0.2.2"),
                ("s1", "10.0.2.2", "10.0.1.1"),
                ("s2", "10.0.1.1", "10.0.2.2"),
                ("s2", "10.0.2.2", "10.0.1.1"),
            ],
            "idle": True,
        },
    ),
    "link_monitor": (
        _link_monitor,
        {
            "links": [f"Switch {switch} - Port {port}" for switch, port in _PROBED],
            "busy": ["Switch 1 - Port 4", "Switch 4 - Port 1"],
        },
    ),
    "load_balance": (_load_balance, {"received": 12, "by both": True}),
    "mri": (_mri, {"switches": ["1", "2"], "a queue": True, "none after it": "0"}),
    "multicast": (_basic, {"lost": "0%"}),
    "p4runtime": (
        _p4runtime,
        {
            "lost": "0%",
            "rules": 6,
            "counters": [
                ("s1 MyIngress.egressTunnelCounter", "200", "408"),
                ("s1 MyIngress.ingressTunnelCounter", "100", "392"),
                ("s2 MyIngress.egressTunnelCounter", "100", "408"),
                ("s2 MyIngress.ingressTunnelCounter", "200", "392"),
            ],
        },
    ),
    "qos": (_qos, {"tos": ["0xb1", "0xb9"]}),
    "source_routing": (_source_routing, {"ttl": ["59", "62"]}),
}  # fmt: skip


def _receive(net: MininetRun, *hosts: str) -> None:
    for host in hosts:
        net.script(host, "receive.py", log=f"{host}.log")
    for host in hosts:
        _wait(net, f"{host}.log", "sniffing", 1)
    time.sleep(0.5)  # scapy says so before it does


_PACKETS = 22  # as many seconds: what 5 s of iperf leave in an interface's queue takes 8 s more, of BMv2's 64 packets 2


def _congest(net: MininetRun) -> None:
    """A packet a second from h1 to h2, and for some of the time more than the link takes from h11 to h22."""
    _receive(net, "h2")
    net.run("h22 iperf -s -u > h22.log 2>&1 &")
    net.script("h1", f'send.py 10.0.2.2 "P4 is cool" {_PACKETS}', log="send.log")
    net.run("h11 iperf -c h22 -t 5 -u > h11.log 2>&1")
    _wait(net, "h2.log", "got a packet", _PACKETS)


def _control(net: MininetRun) -> None:
    net.run("sh python3 -u mycontroller.py > controller.log 2>&1 &")
    _wait(net, "controller.log", "Installed P4 Program using SetForwardingPipelineConfig on s2", 1)
    time.sleep(2)


def _lost(printed: str) -> str:
    return re.findall(r"(\d+%) (?:dropped|packet loss)", printed)[-1]


def _found(net: MininetRun, log: str, pattern: str) -> list[Any]:
    return re.findall(pattern, net.read(log))


def _wait(net: MininetRun, log: str, pattern: str, count: int) -> None:
    """Until a log has so much of it; what it has after a while is what there is to see."""
    end = time.monotonic() + _LIMIT_S
    while time.monotonic() < end and len(_found(net, log, pattern)) < count:
        time.sleep(0.2)
