"""Policies: five knobs that a job's table entries set. ESA, ATP and SwitchML are settings of one program."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Preempt(IntEnum):
    """When a packet may take another job's row."""

    NEVER = 0
    HIGHER = 1  # its priority is strictly higher than the row's
    ALWAYS = 2
    COIN = 3  # a hash of packet and row decides


class Aging(IntEnum):
    """What a failed preemption does to the row's priority."""

    NONE = 0
    HALVE = 1


class Release(IntEnum):
    """When a row becomes free."""

    ON_COMPLETION = 0
    ON_ACK = 1  # the PS's RESULT+RELEASE clears it
    ON_REUSE = 2  # the same job's fragment two windows later overwrites it


class Emit(IntEnum):
    """Where a complete sum goes."""

    TO_WORKERS = 0
    TO_SERVER = 1  # the PS, which multicasts it
    TO_ROOT = 2  # the switch above, as one rack's contribution


@dataclass(frozen=True)
class Policy:
    """One job's five knobs. `pool` is "shared" (rows 0..aggregators), "slice" (rows of its own) or "none"."""

    name: str
    pool: str = "shared"
    preempt: Preempt = Preempt.NEVER
    aging: Aging = Aging.NONE
    release: Release = Release.ON_COMPLETION
    emit: Emit = Emit.TO_WORKERS


POLICIES: dict[str, Policy] = {
    policy.name: policy
    for policy in (
        Policy("esa", preempt=Preempt.HIGHER, aging=Aging.HALVE),
        Policy("atp", release=Release.ON_ACK, emit=Emit.TO_SERVER),
        Policy("switchml", pool="slice", release=Release.ON_REUSE),
        Policy("ps", pool="none"),
        # Ablations of esa: one mechanism changed at a time.
        Policy("esa-no-aging", preempt=Preempt.HIGHER),
        Policy("esa-always", preempt=Preempt.ALWAYS),
        Policy("esa-coin", preempt=Preempt.COIN, aging=Aging.HALVE),
        Policy("esa-no-preemption"),
        Policy("esa-ack", preempt=Preempt.HIGHER, aging=Aging.HALVE, release=Release.ON_ACK, emit=Emit.TO_SERVER),
    )
}


def policy(name: str) -> Policy:
    """The policy called `name`; ValueError names those there are."""
    if name not in POLICIES:
        raise ValueError(f"policy: unknown policy '{name}'; allowed: {', '.join(POLICIES)}")
    return POLICIES[name]
