"""Policies: what a job's table entries say, and its hosts do. ESA, ATP and SwitchML are settings of one program."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum


class Preempt(IntEnum):
    """When a packet may take another job's row."""

    NEVER = 0
    HIGHER = 1  # its priority is strictly higher than the row's
    ALWAYS = 2
    COIN = 3  # a hash of packet and row decides
    NOT_LOWER = 4  # its priority is the row's or higher


class Aging(IntEnum):
    """What a packet that collides does to the row of the other. (Rows age by time, too: `Policy.ttl_us`.)"""

    NONE = 0
    HALVE = 1  # its priority
    MARK = 2  # its sum says that somebody else wanted the row


class Release(IntEnum):
    """When a row becomes free."""

    ON_COMPLETION = 0
    ON_ACK = 1  # the PS's RESULT+RELEASE clears it
    ON_REUSE = 2  # the same job's fragment two spans later overwrites it
    KEPT = 3  # on completion; until somebody takes it, it answers those who missed the sum
    ON_ACK_OR_RESEND = 4  # as ON_ACK; and a RESEND that meets its fragment's row takes the row's sum along to the PS


class Emit(IntEnum):
    """Where a complete sum goes."""

    TO_WORKERS = 0
    TO_SERVER = 1  # the PS, which multicasts it
    TO_ROOT = 2  # the switch above, as one rack's contribution


EXPIRED_US = 2_000_000  # nobody waits that long: what is left in the row is of a worker that died
HOSTS_ROUND_TRIP_NS = 4_000_000  # through a switch that is a process, between hosts that share its processors


@dataclass(frozen=True)
class Policy:
    """One job's knobs; preempt, aging, release and emit are those of its table entry.

    pool:          whose rows they are, see `esa.entries.pools`: "placed" (a part of the memory, its own while there is
                   room), "shared" (all of it, with all others), "slice" (its own in any case) or "none"
    rows:          how a worker chooses a fragment's row: by a "hash" of its seq; or each "slot" of the span has
                   one, and another one after a collision (`esa.protocol.slots`)
    windows_ahead: how far a worker is ahead of the oldest sum that it lacks, at most: beyond 1, one lost packet does
                   not stop the others
    yields:        a worker has fewer fragments in flight where many of them are split for want of rows
                   (`esa.protocol.aggregator_window`)
    chains:        a worker sends a fragment only with the sum of the one a window before in hand (`Job.chain`), so the
                   slice has no say in how far it is ahead, and one lost packet stops what is in that chain alone
    asks_peer:     a PS that knows nothing of a fragment but that somebody lacks its sum asks a peer of theirs at once
    resends_first: what a PS has to say to those who resent goes out before anything else
    passes_rows:   a worker sends what is beyond its aggregator window past the rows to the PS (`esa.protocol.a2tp`)
    by_class:      its jobs go by `esa.priority`'s classes where they say nothing else, not by its formula
    ttl_parts:     a row of others that has had no news for a round trip by these is anybody's; None: after `EXPIRED_US`
    """

    name: str
    pool: str = "shared"
    preempt: Preempt = Preempt.NEVER
    aging: Aging = Aging.NONE
    release: Release = Release.ON_COMPLETION
    emit: Emit = Emit.TO_WORKERS
    rows: str = "hash"
    windows_ahead: int = 1
    yields: bool = False
    chains: bool = False
    asks_peer: bool = False
    resends_first: bool = False
    passes_rows: bool = False
    by_class: bool = False
    ttl_parts: int | None = None

    def ttl_us(self, round_trip_ns: int = HOSTS_ROUND_TRIP_NS) -> int:
        """After how long without news a row may be taken, in us, by jobs that say nothing else.

        round_trip_ns: of a packet to a PS and back through an idle network, where it is known.
        """
        return EXPIRED_US if self.ttl_parts is None else max(1, round_trip_ns // (1000 * self.ttl_parts))

    @property
    def releases_on_ack(self) -> bool:
        """Whether rows are held until a RESULT of the PS comes by."""
        return self.release in (Release.ON_ACK, Release.ON_ACK_OR_RESEND)

    def span(self, window: int) -> int:
        """How many fragments a worker is ahead at most."""
        return self.windows_ahead * window

    def reuse_span(self, window: int, span: int | None = None) -> int:
        """What a slice holds two of: so many fragments before the next in a row are summed before that is sent.

        span: by how many a worker is ahead at most, where the job says it and not the policy.
        """
        if self.chains:
            return window
        return self.span(window) if span is None else span


_ESA = Policy(
    "esa",
    "placed",
    Preempt.NOT_LOWER,
    release=Release.KEPT,
    windows_ahead=8,
    yields=True,
    asks_peer=True,
    by_class=True,
    ttl_parts=4,
)

_ATP = Policy("atp", release=Release.ON_ACK_OR_RESEND, emit=Emit.TO_SERVER, rows="slot", resends_first=True)

POLICIES: dict[str, Policy] = {
    policy.name: policy
    for policy in (
        _ESA,
        _ATP,
        replace(_ATP, name="a2tp", aging=Aging.MARK, passes_rows=True),
        Policy("switchml", pool="slice", release=Release.ON_REUSE, windows_ahead=8, chains=True),
        Policy("ps", pool="none", windows_ahead=8),
        # ATP's release alone: rows by hash for ever, RESENDs pass them all by.
        Policy("atp-hashed", release=Release.ON_ACK, emit=Emit.TO_SERVER),
        # What could be read of the published idea, and no more: rows by hash over all the memory, empty once complete.
        Policy("esa-paper", preempt=Preempt.HIGHER, aging=Aging.HALVE),
        # Ablations of esa: one mechanism changed at a time, and what rests on it. (Rows by hash: a pool of all rows;
        # one window ahead: a span of a window; a window that does not yield: a `least_window` of all of it; no aging: a
        # `ttl_us` of 0.)
        replace(_ESA, name="esa-formula", by_class=False, aging=Aging.HALVE, ttl_parts=None),
        replace(_ESA, name="esa-higher", preempt=Preempt.HIGHER),
        replace(_ESA, name="esa-always", preempt=Preempt.ALWAYS, ttl_parts=None),
        replace(_ESA, name="esa-coin", preempt=Preempt.COIN, ttl_parts=None),
        replace(_ESA, name="esa-no-preemption", preempt=Preempt.NEVER, ttl_parts=None),
        replace(_ESA, name="esa-ack", release=Release.ON_ACK, emit=Emit.TO_SERVER, asks_peer=False),
    )
}


MOST_AHEAD = max(policy.windows_ahead for policy in POLICIES.values())


def policy(name: str) -> Policy:
    """The policy called `name`; ValueError names those there are."""
    if name not in POLICIES:
        raise ValueError(f"policy: unknown policy '{name}'; allowed: {', '.join(POLICIES)}")
    return POLICIES[name]
