"""[network]: hosts, switches and the cables between them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from experiments.specs.keys import MAX_PORTS, MAX_RACKS, Finite, key
from experiments.specs.rate import Rate

VIRTUAL_DELAY_US = 1.0  # of a cable, where a scenario says nothing
_RackSize = Annotated[int, Field(ge=1, le=MAX_PORTS)]
_DELAY = {"unit": "us", "ge": 0, "le": 1_000_000}


class Network(Finite):
    """One rack of `hosts`, `racks` of hosts under spines, or a `fat_tree`. Rates and delays are those of each direction
    of a cable.

    Where neither is said, every worker and every PS has a host of its own in one rack, which is called after it:
    `mlp-0`, `mlp-1`, `mlp-ps`. Otherwise hosts are called `host-0`, `host-1` and so on, rack by rack, and jobs share
    them. The switches of several racks are called `rack-0`, `rack-1` and so on, and `spine-0` and so on.
    """

    rate: Rate = key("of the hosts' links")
    hosts: int | None = key("hosts behind one switch", None, absent="one for each worker and PS", ge=2, le=MAX_PORTS)
    racks: tuple[_RackSize, ...] | None = key(
        "hosts behind each rack's switch, in place of `hosts`; the workers of a job over `ina` are in 32 of them at "
        "most, 32 in each, and its PS in another",
        None,
        absent="one rack",
        min_length=1,
        max_length=MAX_PORTS,
    )
    fat_tree: int | None = key(
        "ports of each switch of a fat tree, in place of `racks`: an even number k, k pods of k/2 racks of k/2 hosts; "
        "jobs over `ina` have to fit into one rack",
        None,
        backend="virtual",
        absent="none",
        ge=2,
        le=16,
        multiple_of=2,
    )
    spines: int = key("switches that connect the racks", 1, ge=1, le=MAX_RACKS)
    server_rate: Rate | None = key(
        "of the links of PSs; in virtual time where it is known which hosts these are: where all have their own, or "
        "every job names its `hosts`",
        None,
        absent="`rate`",
    )
    rates: dict[str, Rate] = key("of single hosts' links, by the host's name", {})
    delay_us: float | None = key(
        "of a host's cable; live, ESA's packets wait as long at the hosts' ends",
        None,
        absent=f"{VIRTUAL_DELAY_US:g} in virtual time, nothing beyond the machine's own live",
        **_DELAY,
    )
    delays_us: dict[str, Annotated[float, Field(ge=0, le=1_000_000)]] = key(
        "of single hosts' cables, by the host's name, in place of `delay_us`; live, all cables are alike",
        {},
        backend="virtual",
        unit="us",
    )
    delay_spread_us: float = key(
        "every cable, also those of spines, is longer by what is drawn for it from the seed, up to this; live, all "
        "cables are alike",
        0.0,
        backend="virtual",
        **_DELAY,
    )
    queue_packets: int | None = key(
        "packets that may wait at a switch's port; one more is lost",
        None,
        unit="packets",
        absent="4096 in virtual time, 512 KiB live",
        ge=1,
        le=1_000_000,
    )
    ecn_packets: int | None = key(
        "switches mark packets that leave more than that waiting; live, the embedded switch's ports then have the "
        "links' rates and queues of their own, in place of Mininet's",
        None,
        unit="packets",
        absent="never",
        ge=1,
        le=1_000_000,
    )
    spine_rate: Rate | None = key("of the cables between switches", None, absent="`rate`")
    spine_delay_us: float | None = key(
        "of the cables between switches; live, the embedded switch's frames wait as long at the rack's end",
        None,
        absent="`delay_us`",
        **_DELAY,
    )

    @model_validator(mode="after")
    def _one_shape(self) -> Network:
        if self.hosts is not None and self.racks is not None:
            raise ValueError("hosts: either 'hosts', the number behind one switch, or 'racks', hosts by rack")
        if self.fat_tree is not None and (self.hosts is not None or self.racks is not None):
            raise ValueError("fat_tree: and 'hosts' or 'racks'; allowed: one of them")
        if not self.leaf_spine:
            for name in ("spines", "spine_rate", "spine_delay_us"):
                if self.fat_tree is not None and name != "spines":
                    continue  # of its cables between switches
                if name in self.model_fields_set and getattr(self, name) != type(self).model_fields[name].default:
                    raise ValueError(f"{name}: one rack has no spines; allowed: with two or more racks")
        elif max(self.rack_sizes or ()) + self.spines > MAX_PORTS:
            widest = max(self.rack_sizes or ())
            raise ValueError(f"racks: {widest} hosts and {self.spines} spines; allowed: {MAX_PORTS} ports")
        return self

    @property
    def rack_sizes(self) -> tuple[int, ...] | None:
        """Hosts by rack; None: as many in one rack as workers and PSs need."""
        if self.fat_tree is not None:
            return (self.fat_tree // 2,) * (self.fat_tree * self.fat_tree // 2)
        return self.racks or (None if self.hosts is None else (self.hosts,))

    @property
    def longest_delay_us(self) -> float:
        """Of hosts' cables, at most, in virtual time."""
        usual = VIRTUAL_DELAY_US if self.delay_us is None else self.delay_us
        return max(usual, *self.delays_us.values(), 0.0) + self.delay_spread_us

    @property
    def leaf_spine(self) -> bool:
        return self.racks is not None and len(self.racks) > 1

    @property
    def spine_cables(self) -> list[tuple[int, int]]:
        """(rack, spine) of every cable between switches."""
        racks = len(self.racks or ()) if self.leaf_spine else 0
        return [(rack, spine) for rack in range(racks) for spine in range(self.spines)]


def spine_cable_name(rack: int, spine: int) -> str:
    """What faults call a cable between switches."""
    return f"rack-{rack}-spine-{spine}"
