"""Faults of a run: what switches are told of their ports' links, and what was injected where."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from esa.fabric import Graph
from esa.net.impairment import Impairment, LinkFaults, PortFaults
from experiments.live.links import links_of_ports, network_graph
from experiments.live.places import places
from experiments.specs.faults import link_seed
from experiments.specs.scenario import Scenario

Injected = dict[str, dict[str, dict[str, int]]]
"""Counters by link, direction and kind."""


def host_faults(scenario: Scenario, host: str) -> LinkFaults | None:
    """What a host does to ESA's packets on purpose: its link's faults, and the delay of its cable. None: nothing."""
    return _delayed(scenario, host, "hosts", scenario.network.delay_us)


def spine_cable_faults(scenario: Scenario, name: str) -> LinkFaults | None:
    """What a rack's switch does to a cable's frames from and to a spine: the cable's faults, and its delay."""
    network = scenario.network
    delay_us = network.delay_us if network.spine_delay_us is None else network.spine_delay_us
    return _delayed(scenario, name, "switch", delay_us)


def _delayed(scenario: Scenario, link: str, where: str, delay_us: float | None) -> LinkFaults | None:
    faults = scenario.link_faults(link, where)
    delay_ms = (delay_us or 0.0) / 1e3
    if delay_ms == 0.0:
        return faults
    faults = faults or LinkFaults(seed=link_seed(scenario.seed, link, where))
    return faults.model_copy(
        update={"to_switch": _later(faults.to_switch, delay_ms), "from_switch": _later(faults.from_switch, delay_ms)}
    )


def _later(impairment: Impairment | None, delay_ms: float) -> Impairment:
    impairment = impairment or Impairment()
    return impairment.model_copy(update={"delay_ms": impairment.delay_ms + delay_ms})


def write_port_faults(scenario: Scenario, graph: Graph, folder: Path) -> dict[int, Path]:
    """Write a file for each switch of which a port is to have faults; by its place in `graph.switches`."""
    hosts, written = set(scenario.host_names()), {}
    for switch, links in links_of_ports(scenario, graph).items():
        asked = {
            port: scenario.link_faults(link, "switch") if link in hosts else spine_cable_faults(scenario, link)
            for port, link in links.items()
        }
        ports = {port: faults for port, faults in asked.items() if faults is not None}
        if ports:
            folder.mkdir(parents=True, exist_ok=True)
            path = folder.resolve() / f"{_switch_name(graph, switch)}.faults.json"
            report = str(path.with_name(_report(graph, switch)))
            path.write_text(PortFaults(ports=ports, report=report).model_dump_json(indent=2) + "\n")
            written[switch] = path
    return written


def _switch_name(graph: Graph, switch: int) -> str:
    return graph.nodes[graph.switches[switch]].name


def _report(graph: Graph, switch: int) -> str:
    return f"{_switch_name(graph, switch)}.faults.counted.json"


def injected(scenario: Scenario, ends: Iterable[dict[str, Any]], folder: Path) -> Injected | None:
    """Gather what was counted, from workers' last records and from the PSs' and the switches' files in `folder`.

    None if nothing was asked for. What ended too early to tell is missing.
    """
    if not scenario.faults:
        return None
    hosts, of_job = scenario.host_names(), places(scenario)
    counted: Injected = {}

    def count(host: str, by_direction: dict[str, dict[str, int]]) -> None:
        for direction, counters in by_direction.items():
            ours = counted.setdefault(host, {}).setdefault(direction, {})
            for kind, number in counters.items():
                ours[kind] = ours.get(kind, 0) + number

    for end in ends:
        count(hosts[of_job[end["job"]][end["rank"]]], end.get("faults", {}))
    for job in filter(scenario.has_server, scenario.job_specs):
        for host, name in zip(of_job[job.name][job.workers :], job.server_names, strict=True):
            count(hosts[host], _read(stats_file(folder, f"{job.name}-{name}")).get("faults", {}))
    graph = network_graph(scenario)
    for switch, links in links_of_ports(scenario, graph).items():
        at_switch = _read(folder / _report(graph, switch))
        for port, link in links.items():
            count(link, at_switch.get(str(port), {}))
    between = (link for links in links_of_ports(scenario, graph).values() for link in links.values())
    return {link: counted[link] for link in dict.fromkeys([*hosts, *between]) if counted.get(link)}


def stats_file(folder: Path, name: str) -> Path:
    """What a PS of that name counted."""
    return folder / f"{name}.json"


def _read(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return content
