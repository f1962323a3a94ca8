"""Faults of a run: what the switch is told of its ports' links, and what was injected where."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from esa.net.impairment import Impairment, LinkFaults, PortFaults
from experiments.live.places import places
from experiments.specs.faults import link_seed
from experiments.specs.scenario import Scenario

Injected = dict[str, dict[str, dict[str, int]]]
"""Counters by link, direction and kind."""

_REPORT = "switch.faults.counted.json"


def host_faults(scenario: Scenario, host: str) -> LinkFaults | None:
    """What a host does to ESA's packets on purpose: its link's faults, and the delay of its cable. None: nothing."""
    faults = scenario.link_faults(host, "hosts")
    delay_ms = (scenario.network.delay_us or 0.0) / 1e3
    if delay_ms == 0.0:
        return faults
    faults = faults or LinkFaults(seed=link_seed(scenario.seed, host, "hosts"))
    return faults.model_copy(
        update={"to_switch": _later(faults.to_switch, delay_ms), "from_switch": _later(faults.from_switch, delay_ms)}
    )


def _later(impairment: Impairment | None, delay_ms: float) -> Impairment:
    impairment = impairment or Impairment()
    return impairment.model_copy(update={"delay_ms": impairment.delay_ms + delay_ms})


def write_port_faults(scenario: Scenario, folder: Path) -> Path | None:
    """Write the switch's file into `folder`; None if no port is to have faults. Port i + 1 is the i-th host's."""
    links = [scenario.link_faults(host, "switch") for host in scenario.host_names()]
    ports = {port: faults for port, faults in enumerate(links, start=1) if faults is not None}
    if not ports:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    path = folder.resolve() / "switch.faults.json"
    path.write_text(PortFaults(ports=ports, report=str(path.with_name(_REPORT))).model_dump_json(indent=2) + "\n")
    return path


def injected(scenario: Scenario, ends: Iterable[dict[str, Any]], folder: Path) -> Injected | None:
    """Gather what was counted, from workers' last records and from the PSs' and the switch's files in `folder`.

    None if nothing was asked for. What ended too early to tell is missing.
    """
    if not scenario.faults:
        return None
    hosts, of_job = scenario.host_names(), places(scenario)
    counted: Injected = {hosts[of_job[end["job"]][end["rank"]]]: end.get("faults", {}) for end in ends}
    for job in filter(scenario.has_server, scenario.job_specs):
        counted[hosts[of_job[job.name][-1]]] = _read(folder / f"{job.name}.ps.json").get("faults", {})
    at_switch = _read(folder / _REPORT)
    for port, host in enumerate(hosts, start=1):
        for direction, counters in at_switch.get(str(port), {}).items():
            ours = counted.setdefault(host, {}).setdefault(direction, {})
            for kind, count in counters.items():
                ours[kind] = ours.get(kind, 0) + count
    return {host: counted[host] for host in hosts if counted.get(host)}


def _read(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return content
