"""A simulated network's timers: those that suit it (`esa/sim/timers.py`), and in their place what the file sets."""

from __future__ import annotations

from esa.protocol.timers import Timers
from esa.sim.timers import PATIENCE_CEILING_NS, PATIENCE_INITIAL_NS, RTO_CEILING_NS, RTO_INITIAL_NS, timers_for
from experiments.specs.scenario import Scenario
from experiments.specs.timers import TimerSpec
from experiments.virtual.fabric import slowest_cable, spine_cable, wire_bytes

_US = 1000


def base_round_trip_ns(scenario: Scenario) -> int:
    """A packet's way from a worker to a PS and back, in the racks farthest apart, over the slowest and longest cables,
    where nothing else is under way.
    """
    virtual = scenario.virtual
    bits = 8 * wire_bytes(scenario.lanes)
    rate_bps, delay_us = slowest_cable(scenario)
    one_way = 2 * (bits / (rate_bps / 1e9) + delay_us * _US) + virtual.switch_ns
    if scenario.network.leaf_spine or scenario.network.fat_tree is not None:
        rate_bps, delay_us = spine_cable(scenario)
        delay_us += scenario.network.delay_spread_us
        one_way += 2 * (bits / (rate_bps / 1e9) + delay_us * _US) + 2 * virtual.switch_ns
    return round(2 * one_way) + virtual.send_ns + 2 * virtual.server_ns + virtual.receive_ns


def timers_of(spec: TimerSpec, round_trip_ns: int) -> Timers:
    """Timers for a network of that base round trip, except for those that the file sets.

    ValueError where the file's do not lie in order.
    """
    suited = timers_for(round_trip_ns)
    rto = _in_order(spec, "rto", suited.rto_floor_ns, RTO_INITIAL_NS, RTO_CEILING_NS)
    patience = _in_order(spec, "patience", suited.patience_floor_ns, PATIENCE_INITIAL_NS, PATIENCE_CEILING_NS)

    def single(key: str) -> int:
        asked_us: float | None = getattr(spec, f"{key}_us")
        return int(getattr(suited, f"{key}_ns")) if asked_us is None else max(1, round(asked_us * _US))

    return Timers(
        *rto,
        single("overtaken_floor"),
        *patience,
        answer_initial_ns=single("answer_initial"),
        answer_floor_ns=single("answer_floor"),
        ask_ahead=spec.ask_ahead,
        ask_peer=spec.ask_peer,
    )


def _in_order(spec: TimerSpec, name: str, floor_ns: int, initial_ns: int, ceiling_ns: int) -> tuple[int, int, int]:
    """(initial, floor, ceiling): what the file sets, and around it what it leaves open."""

    def chosen(key: str, otherwise_ns: int) -> int:
        asked_us: float | None = getattr(spec, f"{name}_{key}_us")
        return otherwise_ns if asked_us is None else max(1, round(asked_us * _US))

    asked = {key: getattr(spec, f"{name}_{key}_us") for key in ("floor", "initial", "ceiling")}
    highest = min((round(us * _US) for us in asked.values() if us is not None), default=floor_ns)
    floor_ns = chosen("floor", min(floor_ns, highest))
    initial_ns = chosen("initial", max(initial_ns, floor_ns))
    ceiling_ns = chosen("ceiling", max(ceiling_ns, 4 * floor_ns, initial_ns))
    if asked["initial"] is None:
        initial_ns = min(initial_ns, ceiling_ns)
    if not floor_ns <= initial_ns <= ceiling_ns:
        raise ValueError(
            f"timers.{name}_initial_us: {initial_ns / _US:g}; allowed: from {name}_floor_us, {floor_ns / _US:g}, "
            f"to {name}_ceiling_us, {ceiling_ns / _US:g}"
        )
    return initial_ns, floor_ns, ceiling_ns
