"""Traffic of no job: the flows of a plan, from their start to what became of them. The event loop does the rest."""

from __future__ import annotations

from esa.sim.engine.events import push
from esa.sim.loop import SimState
from esa.sim.plan import MAX_FLOW_BYTES, FlowOutcome, Plan
from esa.sim.transport.connections import BACKGROUND, Pair, open_connection
from esa.sim.transport.flow_send import flow_is_idle, flow_offer


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


def flows_are_over(plan: Plan, sim: SimState) -> bool:
    """Whether all that was to arrive has."""
    flows = enumerate(plan.flows, start=_first(plan, sim))
    return all(flow.bytes is None or flow_is_idle(sim.connections.flows, f) for f, flow in flows)


def flow_outcomes(plan: Plan, sim: SimState) -> tuple[FlowOutcome, ...]:
    """By flow, in the order of the plan."""
    sender, receiver = sim.connections.flows.sender, sim.connections.flows.receiver
    return tuple(
        FlowOutcome(
            name=flow.name,
            bytes=int(receiver[f]["bytes"]),
            end_s=int(sim.connections.record[f]["end_ns"]) / 1e9 if sender[f]["done"] else None,
            packets=int(sender[f]["packets"]),
            resends=int(sender[f]["resends"]),
        )
        for f, flow in enumerate(plan.flows, start=_first(plan, sim))
    )


def _first(plan: Plan, sim: SimState) -> int:
    """Behind those of the jobs."""
    return len(sim.connections.record) - len(plan.flows)
