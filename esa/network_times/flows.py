"""Level 2: jobs send at the rates that links and switches' rows leave them, bucket by bucket, iteration by iteration.

From one event to the next (a bucket is ready, what a job had to send is sent, its last sum has come) all rates are
constant: `sharing.py` has them by who sends. Jobs begin apart, and go on until the slowest has done `MEASURED`
iterations after its first.
"""

from __future__ import annotations

import math
from itertools import pairwise
from statistics import fmean

from esa.cluster.times import Answer
from esa.network_times.alone import alone_s
from esa.network_times.answers import answer
from esa.network_times.component import Component
from esa.network_times.load import tail_ns
from esa.network_times.network import FRAGMENT_BYTES, RING, Network
from esa.network_times.offsets import MEASURED, offset_part
from esa.network_times.rates import Share
from esa.network_times.sharing import Shares
from esa.network_times.training import ready_s

LEVEL = 2
_NS = 1e-3  # events that are so near happen together
_FRAGMENTS = 1e-6  # and what is left is nothing
_NOTHING = Share(0.0, 0.0)


def answer_by_flows(component: Component, network: Network) -> list[Answer]:
    """By member. A pure function."""
    shares = Shares(component, network)
    alone = alone_s(component, network)
    jobs = [_Training(number, component, network, alone[number]) for number in range(len(component.members))]
    now_ns = 0.0
    while min(len(job.begun_ns) for job in jobs) < MEASURED + 2:
        rates = shares.of(frozenset(job.number for job in jobs if job.to_send > 0))
        mine = [rates.get(job.number, _NOTHING) for job in jobs]
        next_ns = min(job.next_ns(now_ns, share.rate) for job, share in zip(jobs, mine, strict=True))
        for job, share in zip(jobs, mine, strict=True):
            job.go_on(now_ns, next_ns, share)
        now_ns = next_ns
    return [job.answer(shares) for job in jobs]


class _Training:
    """One job: which of its buckets are ready, how many fragments of these are to be sent.

    begun_ns: when its iterations began; to_send: fragments of the sums that are under way.
    """

    def __init__(self, number: int, component: Component, network: Network, alone_s: float) -> None:
        member = component.members[number]
        self.number = number
        self.to_send = 0.0
        self.begun_ns = [offset_part(number) * alone_s * 1e9]
        self._ready = [(1e9 * after_s, octets / FRAGMENT_BYTES) for after_s, octets in ready_s(member)]
        self._one_at_a_time = network.policy == RING
        self._tail_ns = tail_ns(member, len(component.racks_of(member)), network)
        self._next = 0  # bucket that is ready next
        self._queue: list[float] = []  # sums that wait for the one before
        self._come_ns = math.inf  # when the sum that is sent has come
        self._sent, self._beside, self._sending_ns, self._rows_ns = 0.0, 0.0, 0.0, 0.0

    def next_ns(self, now_ns: float, rate: float) -> float:
        """When something happens to it, if rates stay."""
        ready = self.begun_ns[-1] + self._ready[self._next][0] if self._next < len(self._ready) else math.inf
        sent = now_ns + self.to_send / rate if self.to_send > 0 else math.inf
        return max(now_ns, min(ready, sent, self._come_ns))

    def go_on(self, from_ns: float, to_ns: float, share: Share) -> None:
        """Send until then, and do what is due."""
        if self.to_send > 0:
            sent = share.rate * (to_ns - from_ns)
            self._sent += sent
            self._beside += sent * share.beside
            self._sending_ns += to_ns - from_ns
            self._rows_ns += share.rows * (to_ns - from_ns)
            self.to_send -= sent
            if self.to_send <= _FRAGMENTS:
                self.to_send = 0.0
                if self._one_at_a_time or self._next == len(self._ready):
                    self._come_ns = to_ns + self._tail_ns
        while self._next < len(self._ready) and self.begun_ns[-1] + self._ready[self._next][0] <= to_ns + _NS:
            self._begin(self._ready[self._next][1])
            self._next += 1
        if self._come_ns <= to_ns + _NS:
            self._come_ns = math.inf
            if self._queue:
                self.to_send = self._queue.pop(0)
            elif self._next == len(self._ready) and self.to_send == 0.0:
                self.begun_ns.append(to_ns)
                self._next = 0

    def _begin(self, fragments: float) -> None:
        """A bucket is ready to be summed."""
        if self._one_at_a_time and (self.to_send > 0 or self._come_ns < math.inf):
            self._queue.append(fragments)
        else:
            self.to_send += fragments
            self._come_ns = math.inf

    def answer(self, shares: Shares) -> Answer:
        spans = [b - a for a, b in pairwise(self.begun_ns[1:])]
        part = self._sending_ns / (self.begun_ns[-1] - self.begun_ns[0])
        share = Share(self._sent / self._sending_ns, self._beside / self._sent, self._rows_ns / self._sending_ns)
        return answer(shares, self.number, fmean(spans) / 1e9, share, min(1.0, part), LEVEL)
