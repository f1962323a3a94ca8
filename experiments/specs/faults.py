"""What a scenario asks of bad links: entries of a TOML file, and what they come to for one host's link."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any, Literal

from esa.net.impairment import Impairment, LinkFaults
from experiments.specs.keys import key


class FaultSpec(Impairment):
    """What a link does to packets on purpose, in one direction or both; later entries replace the keys they set."""

    link: str = key(
        'a host\'s name, or all; with where = "switch" also a cable between switches, and all includes those',
        allowed="all, a host's name ([network]), or a cable's between switches, as rack-0-spine-0",
    )
    direction: Literal["to_switch", "from_switch", "both"] = key(
        "of the packets; of a cable between switches, to and from the rack's", "both"
    )
    where: Literal["hosts", "switch"] = key(
        "hosts: ESA's packets, at the host's end; switch: every frame, at the embedded switch's, live", "hosts"
    )


def link_faults(faults: Iterable[FaultSpec], seed: int, link: str, where: str) -> LinkFaults | None:
    """What a link does to packets on purpose, at its host's end or at the switch's; None: nothing."""
    asked: dict[str, dict[str, Any]] = {}
    for fault in faults:
        if fault.where == where and fault.link in ("all", link):
            keys = fault.model_dump(exclude_unset=True, exclude={"link", "direction", "where"})
            for way in ("to_switch", "from_switch"):
                if fault.direction in (way, "both"):
                    asked[way] = asked.get(way, {}) | keys
    if not asked:
        return None
    return LinkFaults(seed=link_seed(seed, link, where), **{way: Impairment(**keys) for way, keys in asked.items()})


def link_seed(seed: int, link: str, where: str) -> int:
    """Of one link's faults, from the scenario's."""
    return int.from_bytes(hashlib.sha256(f"{seed} {link} {where}".encode()).digest()[:6], "big")


def dump_faults(faults: Iterable[FaultSpec]) -> list[dict[str, Any]]:
    """The entries as they were written: only what each sets, the rest is left to others for the same link."""
    return [fault.model_dump(mode="json", exclude_unset=True) for fault in faults]
