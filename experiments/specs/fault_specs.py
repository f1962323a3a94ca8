"""What a scenario asks of bad links: entries of a TOML file, and what they come to for one host's link."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any, Literal

from esa.net.impairment import Impairment, LinkFaults


class FaultSpec(Impairment):
    """What a link does to packets on purpose, in one direction or both; later entries replace the keys they set.

    where: "hosts" (ESA's packets, at the host's end, any switch) or "switch" (every frame, at the embedded switch's).
    """

    link: str  # a host's name, or "all"
    direction: Literal["to_switch", "from_switch", "both"] = "both"
    where: Literal["hosts", "switch"] = "hosts"


def link_faults(faults: Iterable[FaultSpec], seed: int, host: str, where: str) -> LinkFaults | None:
    """What the host's link does to packets on purpose, at its end or at the switch's; None: nothing."""
    asked: dict[str, dict[str, Any]] = {}
    for fault in faults:
        if fault.where == where and fault.link in ("all", host):
            keys = fault.model_dump(exclude_unset=True, exclude={"link", "direction", "where"})
            for way in ("to_switch", "from_switch"):
                if fault.direction in (way, "both"):
                    asked[way] = asked.get(way, {}) | keys
    if not asked:
        return None
    own_seed = int.from_bytes(hashlib.sha256(f"{seed} {host} {where}".encode()).digest()[:6], "big")
    return LinkFaults(seed=own_seed, **{way: Impairment(**keys) for way, keys in asked.items()})


def dump_faults(faults: Iterable[FaultSpec]) -> list[dict[str, Any]]:
    """The entries as they were written: only what each sets, the rest is left to others for the same link."""
    return [fault.model_dump(mode="json", exclude_unset=True) for fault in faults]
