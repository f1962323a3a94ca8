"""Traffic of no job: the flows of a plan, from their start to what became of them. The event loop does the rest."""

from __future__ import annotations

from esa.sim.engine.events import push
from esa.sim.loop import SimState
from esa.sim.plan import MAX_FLOW_BYTES, FlowOutcome, Plan
from esa.sim.transport.connections import BACKGROUND, Pair, open_connection
from esa.sim.transport.flow import NEVER
from esa.sim.transport.flow_send import flow_is_idle, flow_offer

_LATE_NS = 10_000_000  # what of a constant flow has not come by then is taken for lost


def background_pairs(plan: Plan) -> list[Pair]:
    """A connection for each flow of the plan, in order. ValueError, one line, for hosts that there are not."""
    for flow in plan.flows:
        if not (0 <= flow.source < plan.fabric.hosts and 0 <= flow.target < plan.fabric.hosts):
            hosts = f"hosts {flow.source} and {flow.target}"
            raise ValueError(f"flow {flow.name}: {hosts}; allowed: 0 to {plan.fabric.hosts - 1}")
    payload_bits = 8 * plan.flow.payload_bytes
    return [
        Pair(
            BACKGROUND,
            flow.source,
            flow.target,
            gap_ns=0 if flow.rate_bps is None else max(1, round(payload_bits * 1e9 / flow.rate_bps)),
            proportional=flow.congestion == "dctcp",
        )
        for flow in plan.flows
    ]


def start_flows(plan: Plan, sim: SimState) -> None:
    """Each has its one message, and a time at which it begins to send it."""
    scalars, nodes = sim.scalars[0], plan.fabric.graph.nodes
    for f, flow in enumerate(plan.flows, start=_first(plan, sim)):
        end = int(scalars["first_end"]) + 2 * f
        sim.host_of[end], sim.host_of[end + 1] = flow.source, flow.target
        open_connection(sim.connections, f, nodes[flow.source], nodes[flow.target])
        flow_offer(sim.connections.flows, f, MAX_FLOW_BYTES if flow.bytes is None else flow.bytes, 0)
        sim.timer_ns[end] = flow.start_ns
        push(sim.events, flow.start_ns, int(scalars["first_timer_event"]) + end)


def stop_flows(plan: Plan, sim: SimState, now_ns: int) -> int:
    """Cut off those whose time has come; return when the next one's will."""
    next_ns = NEVER
    for f, flow in enumerate(plan.flows, start=_first(plan, sim)):
        record = sim.connections.record[f]
        if flow.stop_ns is None or not record["open"]:
            continue
        if flow.stop_ns > now_ns:
            next_ns = min(next_ns, flow.stop_ns)
            continue
        record["open"] = 0
        if not flow_is_idle(sim.connections.flows, f):
            record["end_ns"] = flow.stop_ns
    return next_ns


def flows_are_over(plan: Plan, sim: SimState) -> bool:
    """Whether all that was to arrive has, or will not any more."""
    flows = enumerate(plan.flows, start=_first(plan, sim))
    return all(flow.bytes is None or _is_over(sim, f) for f, flow in flows)


def _is_over(sim: SimState, f: int) -> bool:
    """Of a constant flow nobody says that its last packets have come: they are given some time."""
    record = sim.connections.record[f]
    if not record["open"]:
        return True
    if not flow_is_idle(sim.connections.flows, f):
        return False
    sender, receiver = sim.connections.flows.sender[f], sim.connections.flows.receiver[f]
    all_came = sender["gap_ns"] == 0 or receiver["next"] == sender["next"]
    return bool(all_came or sim.scalars["now_ns"][0] >= record["end_ns"] + _LATE_NS)


def flow_outcomes(plan: Plan, sim: SimState) -> tuple[FlowOutcome, ...]:
    """By flow, in the order of the plan."""
    sender, receiver = sim.connections.flows.sender, sim.connections.flows.receiver
    record = sim.connections.record
    return tuple(
        FlowOutcome(
            name=flow.name,
            bytes=int(receiver[f]["bytes"]),
            end_s=int(record[f]["end_ns"]) / 1e9 if sender[f]["done"] or not record[f]["open"] else None,
            packets=int(sender[f]["packets"]),
            resends=int(sender[f]["resends"]),
            lost=_lost(plan, sim, f),
        )
        for f, flow in enumerate(plan.flows, start=_first(plan, sim))
    )


def _lost(plan: Plan, sim: SimState, f: int) -> int:
    receiver = sim.connections.flows.receiver[f]
    if sim.connections.flows.sender[f]["gap_ns"] == 0:  # all that is lost is sent again
        return 0
    arrived = -(-int(receiver["bytes"]) // plan.flow.payload_bytes)
    return max(0, int(receiver["next"]) - arrived)  # faults may bring one twice


def _first(plan: Plan, sim: SimState) -> int:
    """Behind those of the jobs."""
    return len(sim.connections.record) - len(plan.flows)
