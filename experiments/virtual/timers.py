"""Timers that suit a simulated network. Those of real hosts, milliseconds, would be thousands of round trips."""

from __future__ import annotations

from esa.protocol.timers import Timers
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

    An aggregate waits for the slowest worker, so a worker's time-out is many round trips, and so is a PS's patience
    with what it sees for the first time. The other floors are parts of a round trip: what is measured (the shortest
    one, how much is overtaken in vain, how long answers take) lies above them. ValueError where the file's do not lie
    in order.
    """
    rto = _in_order(spec, "rto", max(200 * _US, 20 * round_trip_ns), 1000 * _US, 20_000 * _US)
    patience = _in_order(spec, "patience", max(50 * _US, 2 * round_trip_ns), 500 * _US, 5000 * _US)
    answer_initial_ns = round_trip_ns if spec.answer_initial_us is None else round(spec.answer_initial_us * _US)
    answer_floor_ns = round_trip_ns // 2 if spec.answer_floor_us is None else round(spec.answer_floor_us * _US)
    overtaken_ns = round_trip_ns // 8 if spec.overtaken_floor_us is None else round(spec.overtaken_floor_us * _US)
    return Timers(
        *rto,
        max(1, overtaken_ns),
        *patience,
        answer_initial_ns=max(1, answer_initial_ns),
        answer_floor_ns=max(1, answer_floor_ns),
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
