"""The port of serving to a network: what a collective of a tensor-parallel group takes, and what a message does.

    port = TablePort("a100-dgx")
    port.collective(Group(4, 4), "all-reduce", 8 * 2**20)      # ns
    port.flow(same_host=True, octets=2**20)                    # ns

Two back ends answer: `TablePort` from what was measured on the fabric of that name (`costs/all_reduce.csv`), and
`esa/serving/fabric.py` from the network of the simulator.
"""

from __future__ import annotations

import csv
from bisect import bisect_left
from functools import cache
from pathlib import Path
from typing import NamedTuple, Protocol

from esa.errors import BadInput

_TABLES = Path(__file__).parent / "costs"
ALL_REDUCE = "all-reduce"
KINDS = (ALL_REDUCE,)


class Group(NamedTuple):
    """Of GPUs; per_host: how many of them share a host."""

    workers: int
    per_host: int


class Port(Protocol):
    """Answers in ns for bytes of payload; 0 for a group of one."""

    def collective(self, group: Group, kind: str, octets: int) -> int:
        """Until the last worker has the result, if all come at once."""
        ...

    def flow(self, *, same_host: bool, octets: int) -> int:
        """From the first byte to the last."""
        ...


class Curve(NamedTuple):
    """Milliseconds by size; between points linear, below the first as there."""

    sizes: tuple[int, ...]
    ms: tuple[float, ...]

    def at(self, size: float) -> float:
        """Beyond the last point it goes in parts as large as that, one after the other: nothing is extrapolated."""
        sizes, ms = self.sizes, self.ms
        if size <= sizes[0]:
            return ms[0]
        last = sizes[-1]
        if size > last:
            whole, rest = divmod(size, last)
            return whole * ms[-1] + (self.at(rest) if rest else 0.0)
        after = bisect_left(sizes, size)
        part = (size - sizes[after - 1]) / (sizes[after] - sizes[after - 1])
        return ms[after - 1] + part * (ms[after] - ms[after - 1])


@cache
def measured(kind: str) -> dict[str, dict[Group, Curve]]:
    """By fabric and group. kind: `all_reduce`, `send_recv`."""
    found: dict[str, dict[Group, tuple[list[int], list[float]]]] = {}
    with (_TABLES / f"{kind}.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            groups = found.setdefault(row["fabric"], {})
            sizes, ms = groups.setdefault(Group(int(row["workers"]), int(row["per_node"])), ([], []))
            sizes.append(int(row["bytes"]))
            ms.append(float(row["ms"]))
    return {
        fabric: {group: Curve(tuple(sizes), tuple(ms)) for group, (sizes, ms) in groups.items()}
        for fabric, groups in found.items()
    }


FABRICS = tuple(measured("all_reduce"))


class TablePort:
    """What was measured on a fabric. BadInput for a fabric or a group that was not."""

    def __init__(self, fabric: str) -> None:
        if fabric not in FABRICS:
            raise BadInput(f"fabric: unknown fabric '{fabric}'; allowed: {', '.join(FABRICS)}")
        self._fabric = fabric

    def collective(self, group: Group, kind: str, octets: int) -> int:
        if kind not in KINDS:
            raise BadInput(f"collective: unknown kind '{kind}'; allowed: {', '.join(KINDS)}")
        if group.workers == 1:
            return 0
        groups = measured("all_reduce")[self._fabric]
        if group not in groups:
            allowed = ", ".join(f"{one.workers} with {one.per_host} on a host" for one in groups)
            raise BadInput(
                f"{self._fabric}: {group.workers} GPUs, {group.per_host} on a host, were not measured; "
                f"allowed: {allowed}"
            )
        return round(1e6 * groups[group].at(octets))

    def flow(self, *, same_host: bool, octets: int) -> int:
        groups = measured("send_recv").get(self._fabric)
        if groups is None:
            raise BadInput(f"{self._fabric}: messages were not measured; allowed: pp = 1")
        return round(1e6 * groups[Group(2, 2 if same_host else 1)].at(octets))
