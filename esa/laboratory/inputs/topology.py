"""Where hosts stand, as Alibaba published it of one of its GPU clusters: which switches each is connected to.

    places = read_topology(Path("topo.csv"))
    places[0].rack, places[0].pod

Format: topo.csv of alibaba/alibaba-lingjun-dataset-2023 (Apache-2.0), a row for each host: `ip`, a name; `ASW`, its
rack's switch; `PSW`, the aggregation switches above; `DSW`, the core's. It says nothing of GPUs, sockets and NVLink.
There 48 names of ASW occur under up to three PSW each: a rack is taken to be a path of names, so that it is in one pod.
Racks then have eight hosts at most.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from esa.laboratory.inputs.rows import InputError, read_rows

HOST = "ip"
CORE, POD, RACK = "DSW", "PSW", "ASW"
MAX_HOSTS = 100_000


class Place(NamedTuple):
    """Of a host: its rack, numbered from 0 in the order in which pods and racks come up; likewise its pod, a PSW."""

    name: str
    rack: int
    pod: int


def read_topology(path: Path) -> tuple[Place, ...]:
    """Hosts pod by pod, in these rack by rack, else in the file's order. InputError says file, line and column: for a
    host that is there twice, a name that is missing, more hosts than can be.
    """
    racks: dict[tuple[str, str], dict[str, list[str]]] = {}
    line_of: dict[str, int] = {}
    for row in read_rows(path, (HOST, CORE, POD, RACK)):
        name, core, pod, rack = (row.text[column].strip() for column in (HOST, CORE, POD, RACK))
        for column in (HOST, CORE, POD, RACK):
            if not row.text[column].strip():
                raise row.error(column, "a name")
        if name in line_of:
            raise row.error(HOST, f"a host once; it is in line {line_of[name]}, too")
        line_of[name] = row.line
        if len(line_of) > MAX_HOSTS:
            raise InputError(f"{path}: line {row.line}: more hosts; allowed: {MAX_HOSTS}")
        racks.setdefault((core, pod), {}).setdefault(rack, []).append(name)
    found: list[Place] = []
    number = 0
    for pod_number, of_pod in enumerate(racks.values()):
        for hosts in of_pod.values():
            found += [Place(name, number, pod_number) for name in hosts]
            number += 1
    return tuple(found)
