"""ESA: which fragments are split for want of rows, and what that costs.

A row is held from the first rank's packet to the last one's, in a rack's switch, and above from the first rack's sum to
the last one's: as long as the one waits longer in its cables' queues than the other (`queues.py`). Two fragments of
different jobs that want one row at a time cost whoever is less urgent its sum, and both where they are alike; a row
that has waited for the policy's TTL is anybody's. What a fragment holds, and not how many rows others hold, says how
likely it is to lose.

The parts of a fragment that is split meet at the PS: in one rack the packets that found no row, over racks besides what
all ranks send again once later sums have overtaken it. That takes `WAIT` round trips longer, and in a row that nobody
else wants some part of it blocks those who are less urgent until the TTL. The window shrinks to what
`esa/protocol/aggregator_window.py` is at rest with. All of these rest on each other: a fixed point; where there is
none, as the longest queue goes from one cable to another and back, the mean over such states.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

from esa.network_times.component import Component
from esa.network_times.load import Cables, Load
from esa.network_times.memory import switches_of
from esa.network_times.queues import Queued, queued
from esa.network_times.rates import Share, mixed
from esa.network_times.rows import Slice

# Round trips that a split fragment takes longer: until it is overtaken and the PS has been asked or told; over racks
# what the upper switch holds is fetched, besides. From the protocol's timers; see docs/laboratory.md for how little
# hangs on them.
WAIT, WAIT_OVER_RACKS = 2.0, 3.0
# The rule of esa/protocol/aggregator_window.py, which brings a compiler; a test holds them to it.
LEAST_PART = 0.3
INCREASE, DECREASE = 8.0, 4.0
_MOST_STEPS, _SETTLED = 24, 1e-3


class _Sender(NamedTuple):
    """switches: that add for it; wait_ns: that a split fragment takes longer."""

    load: Load
    own: Slice
    urgency: int
    switches: tuple[Hashable, ...]
    wait_ns: float

    def window(self, split: float) -> float:
        """At which as much is added by those that are summed as those that are split take away."""
        full = self.own.window
        return max(LEAST_PART * full, min(full, INCREASE / DECREASE * (1 - split) / split)) if split > 0 else full

    def cables(self, split: float) -> Cables:
        if len(self.switches) == 1:
            return mixed(self.load, split)
        summed, beside = self.load.summed, self.load.beside
        return {c: summed.get(c, 0.0) + split * beside.get(c, 0.0) for c in {**summed, **beside}}


def split_shares(
    active: Sequence[int],
    component: Component,
    loads: Sequence[Load],
    slices: Sequence[Slice],
    urgency: Sequence[int],
    ttl_ns: float,
) -> dict[int, Share]:
    """By job that sends. urgency: by job, its priority; ttl_ns: after which a row is anybody's."""
    senders = {}
    for job in active:
        switches = switches_of(component, job)
        wait_ns = loads[job].summed_ns * (WAIT if len(switches) == 1 else WAIT_OVER_RACKS)
        senders[job] = _Sender(loads[job], slices[job], urgency[job], switches, wait_ns)
    split = dict.fromkeys(active, 0.0)
    states = []
    for _ in range(_MOST_STEPS):
        rates, waits_ns = _queued(senders, split)
        held_ns = {job: _held_ns(component, job, waits_ns) for job in active}
        before = split
        split = {
            job: (split[job] + 1 - math.exp(-_met(job, senders, rates, held_ns, split, ttl_ns))) / 2 for job in active
        }
        states.append({job: _share(sender, rates[job], held_ns[job], split[job]) for job, sender in senders.items()})
        if all(abs(split[job] - before[job]) <= _SETTLED for job in active):
            return states[-1]
    return {job: _mean([state[job] for state in states[-_MOST_STEPS // 2 :]]) for job in active}


def _share(sender: _Sender, rate: float, held_ns: Mapping[Hashable, float], split: float) -> Share:
    own_ns = max(sender.load.summed.values())  # its packets come one after the other
    long_ns = own_ns + sum(held_ns.values()) / len(held_ns) + split * sender.wait_ns
    return Share(rate, split, min(sender.window(split), rate * long_ns))


def _mean(shares: Sequence[Share]) -> Share:
    """Of a job in states that follow each other, each as long as the others."""
    rate = fmean(share.rate for share in shares)
    beside = fmean(share.rate * share.beside for share in shares) / rate
    return Share(rate, beside, fmean(share.rows for share in shares))


def _queued(senders: Mapping[int, _Sender], split: Mapping[int, float]) -> Queued:
    return queued(
        {job: sender.cables(split[job]) for job, sender in senders.items()},
        {job: sender.load.summed_ns + split[job] * sender.wait_ns for job, sender in senders.items()},
        {job: sender.window(split[job]) for job, sender in senders.items()},
    )


def _held_ns(component: Component, job: int, waits_ns: Mapping[Hashable, float]) -> dict[Hashable, float]:
    """By switch, how long a fragment has a row there: ranks that wait alike are there together."""
    by_rack: dict[int, list[float]] = {}
    for host, _ in component.members[job].hosts:
        by_rack.setdefault(component.racks[host], []).append(waits_ns.get(("up", host), 0.0))
    held: dict[Hashable, float] = {rack: max(waits) - min(waits) for rack, waits in by_rack.items()}
    if len(by_rack) > 1:
        sums_ns = [max(waits) + waits_ns.get(("rack-up", rack), 0.0) for rack, waits in by_rack.items()]
        held["spine"] = max(sums_ns) - min(sums_ns)
    return held


def _met(
    job: int,
    senders: Mapping[int, _Sender],
    rates: Mapping[int, float],
    held_ns: Mapping[int, Mapping[Hashable, float]],
    split: Mapping[int, float],
    ttl_ns: float,
) -> float:
    """How many fragments a fragment of a job meets, over all its switches, that cost it its sum."""
    me, met = senders[job], 0.0
    for other, they in senders.items():
        common = _shared(me.own, they.own) / they.own.size
        if other == job or common == 0.0:
            continue
        for switch in me.switches:
            if switch not in they.switches:
                continue
            mine_ns, theirs_ns = held_ns[job][switch], held_ns[other][switch]
            if they.urgency > me.urgency:
                left_ns = split[other] * min(they.wait_ns, ttl_ns)
                met += common * rates[other] * (mine_ns + min(theirs_ns, ttl_ns) + left_ns)
            elif they.urgency == me.urgency:
                met += common * rates[other] * (mine_ns + theirs_ns)
            else:
                met += common * rates[other] * max(0.0, mine_ns - ttl_ns)
    return met


def _shared(one: Slice, other: Slice) -> float:
    """The part of one's rows that is the other's, too."""
    return max(0, min(one.base + one.size, other.base + other.size) - max(one.base, other.base)) / one.size
