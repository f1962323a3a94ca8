"""Timers of live runs: those of the real endpoints, except for what a scenario sets."""

from __future__ import annotations

from dataclasses import replace

from esa.protocol.timers import Timers
from experiments.specs.timers import TimerSpec

# Workers share this machine's cores: a peer that computes a little longer must not look like a lost packet, and what is
# resent needlessly the PS has to sum.
RESEND_FLOOR_NS = 100_000_000
_OF_WORKERS = Timers(rto_initial_ns=RESEND_FLOOR_NS, rto_floor_ns=RESEND_FLOOR_NS)


def worker_timers(spec: TimerSpec) -> Timers:
    """Of the processes that train."""
    return _set(_OF_WORKERS, spec)


def server_timers(spec: TimerSpec) -> Timers:
    """Of the PSs."""
    return _set(Timers(), spec)


def check_order(spec: TimerSpec) -> None:
    """ValueError, its first word the key, unless floor, initial value and ceiling are in order."""
    timers = {"rto": worker_timers(spec), "patience": server_timers(spec)}
    for name, of in timers.items():
        floor_us, initial_us, ceiling_us = (
            getattr(of, f"{name}_{k}_ns") / 1e3 for k in ("floor", "initial", "ceiling")
        )
        if not floor_us <= initial_us <= ceiling_us:
            raise ValueError(
                f"timers.{name}_initial_us: {initial_us:g}; allowed: from {name}_floor_us, {floor_us:g}, "
                f"to {name}_ceiling_us, {ceiling_us:g}"
            )


def _set(timers: Timers, spec: TimerSpec) -> Timers:
    asked_us = {name: us for name in TimerSpec.model_fields if name.endswith("_us") and (us := getattr(spec, name))}
    asked_ns = {f"{name.removesuffix('_us')}_ns": max(1, round(us * 1e3)) for name, us in asked_us.items()}
    return replace(timers, **asked_ns, ask_ahead=spec.ask_ahead, ask_peer=spec.ask_peer)
