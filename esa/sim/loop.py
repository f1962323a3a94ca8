"""The event loop: what happens, in the order of time.

    packet at a line's end    a switch runs the program and sends what leaves; a host's worker or PS takes it in
    endpoint's timer          the state machine is asked what it has to send
    rank has computed         its program goes on, as when a message has come; begun sums are fed to its state machine
    packet held by a fault    goes on

Everything that decides anything is elsewhere: the P4 program, `esa.protocol`, `esa.sim.transport`, `esa.net.faults`.
One reason to change: how packets are carried between them; all of them meet here, and are compiled as one. It returns
to Python when a job is over (its hosts become free, others may start), when memory has to grow, and at the times of the
samples.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from esa.memory import copy_octets
from esa.native import native_inlined
from esa.native import native_uncounted as native
from esa.net.faults import Faults, decide
from esa.protocol import (
    MULTICAST,
    WorkerState,
    server_number,
    server_receive,
    server_send,
    worker_drain,
    worker_feed,
    worker_ready,
    worker_receive,
    worker_room,
    worker_send,
)
from esa.sim.engine.events import SOURCE_BITS, Events, pop, push, replace_top, source_of
from esa.sim.engine.lines import (
    NONE,
    PS_PER_NS,
    PacketPool,
    free_buffer,
    queue_length,
    sending_ps,
    take_buffer,
    take_first,
    transmit,
)
from esa.sim.fabric.switches import MAX_COPIES, Switches, switch_step
from esa.sim.ranks import Ranks, can_go_on, is_over, note_summed, proceed, to_feed
from esa.sim.transport.connections import (
    BACKGROUND,
    SENDS,
    SUMS,
    Connections,
    is_of_flow,
    read_packet,
    write_packet,
)
from esa.sim.transport.endpoints import Servers, Workers, server, worker
from esa.sim.transport.exchange import Exchanges, exchange_begin, exchange_done, exchange_sent, exchange_step
from esa.sim.transport.flow import ACK, flow_answer, flow_message, flow_take_data
from esa.sim.transport.flow_send import flow_has_unsent, flow_offer, flow_room, flow_send, flow_take_ack
from esa.sim.transport.payload import PlainSums, check_sum, fill_lanes
from esa.wire import ENCAPSULATION_BYTES

OUT_PACKETS = 64
SPARE_BUFFERS = 2 * (MAX_COPIES + OUT_PACKETS)  # what one event may take, duplicated by faults
SPARE_EVENTS = 1024
_BURST_EVENTS = SPARE_EVENTS // 2  # what a batch of packets that leave a host may take: faults may hold each, twice
_NEVER = 2**62
_SOURCE_IP = 26
_DESTINATION_IP = 30
_JOB_AT = ENCAPSULATION_BYTES + 4  # where the header has its job

FLOW_FINISHED = -2  # in the place of the job that is over: traffic of none


class StopReason(IntEnum):
    """Why the loop returns."""

    TIME_REACHED = 0
    NO_EVENTS = 1
    JOB_FINISHED = 2
    NEEDS_CAPACITY = 3


SCALARS = np.dtype(
    [
        ("now_ns", np.int64),
        ("seed", np.uint64),
        ("hosts", np.int64),
        ("workers", np.int64),
        ("first_end", np.int64),  # endpoint that is the first flow's first end
        ("first_timer_event", np.int64),  # number of the first event source of each sort; lines begin at 0
        ("first_compute_event", np.int64),
        ("first_fault_event", np.int64),
        ("processor", np.int64),  # the line that is host 0's processor, for what it receives
        ("cores", np.int64),  # 2: another one sends
        ("first_address", np.int64),  # IPv4 address of node 0
        ("send_ps", np.int64),
        ("receive_ps", np.int64),
        ("server_ps", np.int64),
        ("switch_ps", np.int64),
        ("ecn_threshold", np.int64),  # NONE: no ECN
        ("wire_bytes", np.int64),  # of an ESA packet
        ("faulty", np.int64),
        ("finished_job", np.int64),
        ("unfinished", np.int64),  # the endpoint that had more to send than there was room for, or NONE
        # Counters.
        ("packet_hops", np.int64),
        ("server_bytes", np.int64),
        ("dropped", np.int64),
        ("undeliverable", np.int64),  # packets for nobody: a job's that is over
    ]
)


class SimState(NamedTuple):
    """Everything that the loop touches, made by `build`; but the switches, so that no more is compiled by program."""

    scalars: npt.NDArray[np.void]  # (1,): SCALARS
    events: Events
    lines: npt.NDArray[np.void]
    pool: PacketPool
    congested_ports: npt.NDArray[np.int64]  # (switches,): ports whose noted queue is above the mark
    workers: Workers
    servers: Servers
    ranks: Ranks
    exchanges: Exchanges
    connections: Connections
    faults: Faults  # lines 2 * host + direction
    timer_ns: npt.NDArray[np.int64]  # (endpoints,): workers, then PSs, then ends of flows
    host_of: npt.NDArray[np.int64]  # (endpoints,)
    endpoint_at: npt.NDArray[np.int64]  # (places, ids + 1): by the place on a host, and job id; NONE: nobody
    cpu_busy_until_ps: npt.NDArray[np.int64]  # (hosts,): when the processor is through with what is to be sent
    inbox: npt.NDArray[np.uint32]  # (1, words)
    outbox: npt.NDArray[np.uint32]  # (OUT_PACKETS, words)
    member: npt.NDArray[np.int32]  # (OUT_PACKETS,)
    lanes: npt.NDArray[np.int32]  # (lanes,)
    exponents: npt.NDArray[np.int8]  # none: all are 0
    plain: PlainSums


@native
def run(sim: SimState, switches: Switches, until_ns: int) -> int:
    """Let things happen until `until_ns`, not included; return why it stopped."""
    scalars = sim.scalars[0]
    events = sim.events
    scalars["finished_job"] = NONE
    while events.size[0] > 0 or scalars["unfinished"] != NONE:
        if not _has_capacity(sim, SPARE_EVENTS):
            return StopReason.NEEDS_CAPACITY
        now_ns = scalars["now_ns"]
        endpoint = scalars["unfinished"]  # who may have something to say
        if endpoint != NONE:
            scalars["unfinished"] = NONE
        else:
            now_ns = events.key[0] >> SOURCE_BITS
            if now_ns >= until_ns:
                scalars["now_ns"] = until_ns
                return StopReason.TIME_REACHED
            scalars["now_ns"] = now_ns
            source = source_of(events, events.key[0])
            if source < scalars["first_timer_event"]:
                endpoint = _on_arrival(sim, switches, source, now_ns)
            else:
                pop(events)
                endpoint = _on_other_event(sim, source, now_ns)
        if endpoint >= scalars["first_end"]:
            _poll_flow_end(sim, endpoint - scalars["first_end"], now_ns)
        elif endpoint >= scalars["workers"]:
            _poll_server(sim, endpoint - scalars["workers"], now_ns)
        elif endpoint != NONE:
            _poll_worker(sim, endpoint, now_ns)
        if scalars["finished_job"] != NONE:
            return StopReason.JOB_FINISHED
    scalars["now_ns"] = until_ns
    return StopReason.NO_EVENTS


@native_inlined
def _has_capacity(sim: SimState, events: int) -> bool:
    """Whether there are buffers for what one event may take, and places for so many events."""
    return bool(sim.pool.spare[0] >= SPARE_BUFFERS and len(sim.events.key) - sim.events.size[0] >= events)


@native_inlined
def _on_other_event(sim: SimState, source: int, now_ns: int) -> int:
    """A timer runs out, somebody has computed, a fault lets go; return who may have something to say, or NONE."""
    scalars = sim.scalars[0]
    endpoint = NONE
    if source < scalars["first_compute_event"]:
        if sim.timer_ns[source - scalars["first_timer_event"]] == now_ns:
            endpoint = source - scalars["first_timer_event"]
            sim.timer_ns[endpoint] = _NEVER
    elif source < scalars["first_fault_event"]:
        endpoint = source - scalars["first_compute_event"]
        _advance_compute(sim, endpoint, now_ns)
    else:
        endpoint = _release_held(sim, source - scalars["first_fault_event"], now_ns)
    return endpoint


@native
def begin(sim: SimState, w: int, now_ns: int) -> None:
    """A worker begins its job; which of those that begin now sends first is as in every nanosecond."""
    _advance_compute(sim, w, now_ns)
    _set_timer(sim, w, now_ns)
    if sim.ranks.rank[w]["through"]:  # it had nothing to do that takes time
        push(sim.events, now_ns, sim.scalars[0]["first_compute_event"] + w)


# Cables


@native_inlined
def _on_arrival(sim: SimState, switches: Switches, number: int, now_ns: int) -> int:
    """The first packet of a line has arrived; return the endpoint that took it in, or NONE."""
    line = sim.lines[number]
    buffer = take_first(sim.lines, sim.pool, number, now_ns)
    if line["head"] == NONE:
        pop(sim.events)
    else:
        replace_top(sim.events, sim.pool.descriptor[line["head"]]["arrive_ns"], number)
    scalars = sim.scalars[0]
    if line["switch"] != NONE:
        scalars["packet_hops"] += 1
        _switch_forward(sim, switches, line["switch"], line["port"], buffer, now_ns)
        return NONE
    if number >= scalars["processor"]:
        return _deliver(sim, _receiver(sim, buffer), buffer, now_ns)
    scalars["packet_hops"] += 1
    fault_line = 2 * line["host"] + 1
    if scalars["faulty"] and sim.faults.line[fault_line]["on"]:
        return _apply_faults(sim, fault_line, buffer, now_ns)
    return _host_receive(sim, line["host"], buffer, now_ns)


@native_inlined
def _transmit(sim: SimState, host: int, buffer: int, now_ns: int) -> None:
    """A packet leaves a host."""
    number = 2 * host
    from_ps = max(sim.cpu_busy_until_ps[host], now_ns * PS_PER_NS)
    transmit(sim.lines, sim.pool, sim.events, number, buffer, from_ps, sending_ps(sim.lines, sim.pool, number, buffer))


@native
def _apply_faults(sim: SimState, fault_line: int, buffer: int, now_ns: int) -> int:
    """A packet meets what its line does to packets: it goes on never, once or twice, now or later."""
    pool = sim.pool
    copies = decide(sim.faults, fault_line, now_ns)
    if copies == 0:
        free_buffer(pool, buffer)
        return NONE
    pool.descriptor[buffer]["next"] = fault_line
    endpoint = NONE
    for copy in range(copies):
        due_ns = sim.faults.due_ns[copy]
        mine = buffer
        if copy + 1 < copies:
            mine = take_buffer(pool)
            pool.descriptor[mine]["next"] = fault_line
            pool.length[mine], pool.wire_bytes[mine] = pool.length[buffer], pool.wire_bytes[buffer]
            copy_octets(pool.data, mine, 0, pool.data, buffer, 0, pool.length[buffer])
        if due_ns > now_ns:
            push(sim.events, due_ns, sim.scalars[0]["first_fault_event"] + mine)
        else:
            endpoint = max(endpoint, _release_held(sim, mine, now_ns))
    return endpoint


@native
def _release_held(sim: SimState, buffer: int, now_ns: int) -> int:
    """Nothing holds the packet any more; return the endpoint that took it in, or NONE."""
    host, received = divmod(sim.pool.descriptor[buffer]["next"], 2)
    if received:
        return _host_receive(sim, host, buffer, now_ns)
    _transmit(sim, host, buffer, now_ns)
    return NONE


# Switches


@native_inlined
def _switch_forward(sim: SimState, switches: Switches, which: int, port: int, buffer: int, now_ns: int) -> None:
    """A switch runs its program on the packet in `buffer`; the buffer is free afterwards."""
    scalars, pool, lines = sim.scalars[0], sim.pool, sim.lines
    if sim.congested_ports[which] > 0:
        _note_queues(sim, switches, which, now_ns)
    pool.port[buffer] = port
    copies = switch_step(switches, which, pool.data, pool.length, pool.port, buffer, now_ns)
    not_kept = pool.wire_bytes[buffer] - pool.length[buffer]
    free_buffer(pool, buffer)
    from_ps = now_ns * PS_PER_NS + scalars["switch_ps"]
    for k in range(copies):
        out = switches.out_port[k]
        number = switches.line[which, out]
        if number == NONE:
            scalars["undeliverable"] += 1
            continue
        waiting = queue_length(lines, pool, number, now_ns)
        if waiting >= lines[number]["capacity"]:
            lines[number]["dropped"] += 1
            scalars["dropped"] += 1
            continue
        copy = take_buffer(pool)
        length = switches.out_length[k]
        pool.length[copy], pool.wire_bytes[copy] = length, length + not_kept
        copy_octets(pool.data, copy, 0, switches.out_data, k, 0, length)
        transmit(lines, pool, sim.events, number, copy, from_ps, sending_ps(lines, pool, number, copy))
        if scalars["ecn_threshold"] != NONE:
            at = switches.build.queue_depth + out
            noted = switches.m64[which, at]
            sim.congested_ports[which] += (waiting + 1 > scalars["ecn_threshold"]) - (noted > scalars["ecn_threshold"])
            switches.m64[which, at] = waiting + 1


@native
def _note_queues(sim: SimState, switches: Switches, which: int, now_ns: int) -> None:
    """Bring the queues up to date that the program would take for long."""
    scalars = sim.scalars[0]
    for port in range(switches.line.shape[1]):
        at = switches.build.queue_depth + port
        if switches.m64[which, at] > scalars["ecn_threshold"]:
            waiting = queue_length(sim.lines, sim.pool, switches.line[which, port], now_ns)
            sim.congested_ports[which] -= waiting <= scalars["ecn_threshold"]
            switches.m64[which, at] = waiting


# Hosts


@native_inlined
def _receiver(sim: SimState, buffer: int) -> int:
    """The endpoint on a host that a packet is for, by its address and job, or NONE: its job is over."""
    data, at = sim.pool.data, sim.endpoint_at
    if is_of_flow(sim.pool, buffer):
        flow, kind = read_packet(sim.connections, sim.pool, buffer)
        if sim.connections.record[flow]["open"]:
            return int(sim.scalars[0]["first_end"] + 2 * flow + (kind != ACK))
        return NONE
    place = _address(data, buffer, _DESTINATION_IP) - sim.scalars[0]["first_address"]
    job = np.int64(data[buffer, _JOB_AT]) << 8 | data[buffer, _JOB_AT + 1]
    return int(at[place, job]) if 0 <= place < at.shape[0] and job < at.shape[1] else NONE


@native_inlined
def _address(data: npt.NDArray[np.uint8], buffer: int, at: int) -> int:
    """The IPv4 address at byte `at` of a packet."""
    address = np.int64(0)
    for b in range(at, at + 4):
        address = address << 8 | data[buffer, b]
    return int(address)


@native_inlined
def _host_receive(sim: SimState, host: int, buffer: int, now_ns: int) -> int:
    """The host's processor has a packet to receive; return the endpoint that took it in, NONE if it is not through."""
    scalars = sim.scalars[0]
    endpoint = _receiver(sim, buffer)
    cost_ps = scalars["receive_ps"]
    if endpoint >= scalars["first_end"]:
        cost_ps = 0
    elif endpoint >= scalars["workers"]:
        cost_ps = scalars["server_ps"]
        scalars["server_bytes"] += sim.pool.wire_bytes[buffer]
    if cost_ps == 0:
        return _deliver(sim, endpoint, buffer, now_ns)
    number = scalars["processor"] + host
    transmit(sim.lines, sim.pool, sim.events, number, buffer, now_ns * PS_PER_NS, cost_ps)
    return NONE


@native_inlined
def _deliver(sim: SimState, endpoint: int, buffer: int, now_ns: int) -> int:
    """A worker or PS receives the packet in `buffer`; the buffer is free afterwards."""
    scalars, pool = sim.scalars[0], sim.pool
    free_buffer(pool, buffer)
    if endpoint == NONE:
        scalars["undeliverable"] += 1
        return NONE
    if endpoint >= scalars["first_end"]:
        connections = sim.connections
        flow, kind = read_packet(connections, pool, buffer)
        if kind == ACK:
            flow_take_ack(connections.flows, flow, connections.inbox, now_ns)
        else:
            flow_take_data(connections.flows, flow, connections.inbox, now_ns)
        return endpoint
    octets = sim.inbox.view(np.uint8)
    copy_octets(octets, 0, 0, pool.data, buffer, ENCAPSULATION_BYTES, octets.shape[1])
    if endpoint < scalars["workers"]:
        worker_receive(worker(sim.workers, endpoint), sim.inbox, 1, now_ns)
        return endpoint
    k = endpoint - scalars["workers"]
    sim.member[0] = sim.servers.member_at[k, _address(pool.data, buffer, _SOURCE_IP) - scalars["first_address"]]
    server_receive(server(sim.servers, k), sim.inbox, sim.member, 1, now_ns)
    return endpoint


@native_inlined
def _poll_worker(sim: SimState, w: int, now_ns: int) -> None:
    """A worker takes sums out, is fed what is ready, sends what is to be sent; and its timer is set."""
    ranks, scalars = sim.ranks, sim.scalars[0]
    job = ranks.job[ranks.rank[w]["job"]]
    if not job["open"]:
        return
    if job["exchanges"]:
        _poll_exchange(sim, w, now_ns)
        return
    state = worker(sim.workers, w)
    wake_ns = now_ns
    while wake_ns <= now_ns and _has_capacity(sim, _BURST_EVENTS):
        ready = worker_ready(state)
        if ready > 0:
            _take_sums(sim, state, w, ready, now_ns)
        _feed(sim, state, w)
        count, wake_ns = worker_send(state, sim.outbox, now_ns)
        first = sim.workers.templates[w]
        for i in range(count):
            t = first + server_number(sim.outbox, i, sim.workers.templates[w + 1] - first)
            stays = sim.workers.stays[t]
            _send(sim, sim.host_of[w], sim.workers.template, t, i, scalars["send_ps"], stays, now_ns)
    if wake_ns <= now_ns:
        scalars["unfinished"] = w
    else:
        _set_timer(sim, w, wake_ns)
    if state.worker[0]["failed"]:
        job["failed"] = 1
        scalars["finished_job"] = ranks.rank[w]["job"]


@native_inlined
def _take_sums(sim: SimState, state: WorkerState, w: int, ready: int, now_ns: int) -> None:
    """So many sums have come: perhaps the worker can go on computing, or is through."""
    ranks, scalars = sim.ranks, sim.scalars[0]
    me = ranks.rank[w]
    job = ranks.job[me["job"]]
    if len(sim.lanes) == 0:
        worker_drain(state, sim.lanes, 0, ready, sim.exponents)
    else:
        for k in range(ready):
            worker_drain(state, sim.lanes, 0, 1, sim.exponents)
            right = check_sum(sim.lanes, scalars["seed"], job["id"], job["ranks"], me["summed"] + k, sim.plain)
            me["wrong"] += not right
    note_summed(ranks, w, ready, now_ns)
    if can_go_on(ranks, w):
        _advance_compute(sim, w, now_ns)
    elif is_over(ranks, sim.connections.flows, w):
        scalars["finished_job"] = me["job"]


@native
def _advance_compute(sim: SimState, w: int, now_ns: int) -> None:
    """A rank has computed, or what it waited for has come."""
    scalars = sim.scalars[0]
    flows, me = sim.connections.flows, sim.ranks.rank[w]
    if proceed(sim.ranks, flows, w, now_ns):
        push(sim.events, me["until_ns"], scalars["first_compute_event"] + w)
    elif is_over(sim.ranks, flows, w):
        scalars["finished_job"] = me["job"]
    for f in range(me["first_flow"], me["first_flow"] + me["sends"]):
        if flows.sender[f]["begun"] < flows.sender[f]["offered"]:
            _poll_sender(sim, f, now_ns)


@native_inlined
def _feed(sim: SimState, state: WorkerState, w: int) -> None:
    """Give a worker's state machine as much of what is ready as it takes."""
    ranks = sim.ranks
    me = ranks.rank[w]
    job = ranks.job[me["job"]]
    while me["fed"] < me["ready"]:
        count, priority = to_feed(ranks, w)
        count = min(count, worker_room(state))
        if count <= 0:
            return
        if len(sim.lanes) == 0:
            worker_feed(state, sim.lanes, 0, count, priority, sim.exponents)
        else:
            for k in range(count):
                fill_lanes(sim.lanes, sim.scalars[0]["seed"], job["id"], w - job["first_rank"], me["fed"] + k)
                worker_feed(state, sim.lanes, 0, 1, priority, sim.exponents)
        me["fed"] += count


@native
def _poll_server(sim: SimState, k: int, now_ns: int) -> None:
    """A PS sends what it has to say; and its timer is set."""
    servers, scalars = sim.servers, sim.scalars[0]
    if not sim.ranks.job[servers.job[k]]["open"]:
        return
    endpoint = scalars["workers"] + k
    state = server(servers, k)
    wake_ns = now_ns
    while wake_ns <= now_ns and _has_capacity(sim, _BURST_EVENTS):
        count, wake_ns = server_send(state, sim.outbox, sim.member, now_ns)
        for i in range(count):
            to = sim.member[i]
            template = servers.templates[k] + (0 if to == MULTICAST else to)
            stays = servers.stays[template]
            _send(sim, sim.host_of[endpoint], servers.template, template, i, scalars["server_ps"], stays, now_ns)
            if not stays:
                scalars["server_bytes"] += scalars["wire_bytes"]
    if wake_ns <= now_ns:
        scalars["unfinished"] = endpoint
    else:
        _set_timer(sim, endpoint, wake_ns)


@native_inlined
def _set_timer(sim: SimState, endpoint: int, wake_ns: int) -> None:
    """See to it that the endpoint is asked at `wake_ns`, or before."""
    if wake_ns < sim.timer_ns[endpoint]:
        sim.timer_ns[endpoint] = wake_ns
        push(sim.events, wake_ns, sim.scalars[0]["first_timer_event"] + endpoint)


@native_inlined
def _send(
    sim: SimState,
    host: int,
    template: npt.NDArray[np.uint8],
    t: int,
    i: int,
    cost_ps: int,
    stays: bool,
    now_ns: int,
) -> None:
    """Packet i of the outbox, behind the addresses of template t, leaves a host: processor, faults, cable.

    What stays on the host has the processor alone to pass.
    """
    pool = sim.pool
    buffer = take_buffer(pool)
    octets = sim.outbox.view(np.uint8)
    copy_octets(pool.data, buffer, 0, template, t, 0, ENCAPSULATION_BYTES)
    copy_octets(pool.data, buffer, ENCAPSULATION_BYTES, octets, i, 0, octets.shape[1])
    pool.length[buffer], pool.wire_bytes[buffer] = pool.data.shape[1], sim.scalars[0]["wire_bytes"]
    if cost_ps > 0:
        processor = sim.lines[sim.scalars[0]["processor"] + host]
        one = sim.scalars[0]["cores"] == 1
        busy_ps = processor["idle_from_ps"] if one else sim.cpu_busy_until_ps[host]
        sim.cpu_busy_until_ps[host] = max(busy_ps, now_ns * PS_PER_NS) + cost_ps
        if one:
            processor["idle_from_ps"] = sim.cpu_busy_until_ps[host]
    if stays:
        is_server = _receiver(sim, buffer) >= sim.scalars[0]["workers"]
        number = sim.scalars[0]["processor"] + host
        from_ps = max(sim.cpu_busy_until_ps[host], now_ns * PS_PER_NS)
        receive_ps = sim.scalars[0]["server_ps"] if is_server else sim.scalars[0]["receive_ps"]
        transmit(sim.lines, pool, sim.events, number, buffer, from_ps, receive_ps)
    elif sim.scalars[0]["faulty"] and sim.faults.line[2 * host]["on"]:
        _apply_faults(sim, 2 * host, buffer, now_ns)
    else:
        _transmit(sim, host, buffer, now_ns)


# Flows


@native
def _poll_exchange(sim: SimState, w: int, now_ns: int) -> None:
    """A rank whose sums are messages begins sums, takes what has come and takes its steps."""
    ranks, exchanges, flows, scalars = sim.ranks, sim.exchanges, sim.connections.flows, sim.scalars[0]
    me = ranks.rank[w]
    while True:
        if exchanges.rank[w]["octets"] == 0:
            octets, _ = to_feed(ranks, w)
            if octets == 0:
                break
            me["fed"] += octets
            exchange_begin(exchanges, w, octets)
        octets, f = exchange_step(exchanges, w)
        if octets > 0:
            before = exchanges.rank[w]["flow"]
            if flow_room(flows, f) == 0 or (before != NONE and before != f and flow_has_unsent(flows, before)):
                break
            flow_offer(flows, f, octets, 0)
            exchange_sent(exchanges, w, f)
            _poll_sender(sim, f, now_ns)
            continue
        octets = exchange_done(exchanges, w)
        if octets == 0:
            break
        note_summed(ranks, w, octets, now_ns)
        if can_go_on(ranks, w):
            _advance_compute(sim, w, now_ns)
        elif is_over(ranks, flows, w):
            scalars["finished_job"] = me["job"]


@native
def _poll_flow_end(sim: SimState, end: int, now_ns: int) -> None:
    """An end of a flow has got something, or its timer has run out: it answers, and a rank may go on, at once."""
    connections = sim.connections
    f, receives = divmod(end, 2)
    flow = connections.record[f]
    if not flow["open"]:
        return
    if receives:
        w, news = flow["target"], False
        tag = flow_message(connections.flows, f)
        while tag != NONE:
            news = True
            if flow["kind"] == SENDS:
                sim.ranks.arrived[tag] += 1
            elif flow["kind"] == SUMS:
                sim.exchanges.come[f] += 1
            tag = flow_message(connections.flows, f)
        count, wake_ns = flow_answer(connections.flows, f, connections.outbox, now_ns)
        if count > 0:
            _transmit_of_flow(sim, end, 0, now_ns)
        _set_timer(sim, sim.scalars[0]["first_end"] + end, wake_ns)
    else:
        sending = flow["kind"] == SUMS and flow_has_unsent(connections.flows, f)
        _poll_sender(sim, f, now_ns)
        w, done = flow["source"], connections.flows.sender[f]["done"]
        news = done > flow["done"] or (sending and not flow_has_unsent(connections.flows, f))
        flow["done"] = done
    if news and flow["kind"] == BACKGROUND:
        flow["end_ns"] = now_ns
        sim.scalars[0]["finished_job"] = FLOW_FINISHED
    elif news:
        push(sim.events, now_ns, sim.scalars[0]["first_compute_event"] + w)


@native
def _poll_sender(sim: SimState, f: int, now_ns: int) -> None:
    """A flow sends what it may; and its timer is set: at once, if memory has to grow first."""
    connections = sim.connections
    flow, line = connections.record[f], sim.lines[2 * sim.host_of[sim.scalars[0]["first_end"] + 2 * f]]
    wake_ns = max(now_ns, -(-flow["before_ps"] // PS_PER_NS))
    while wake_ns <= now_ns and _has_capacity(sim, _BURST_EVENTS):
        count, wake_ns = flow_send(connections.flows, f, connections.outbox, now_ns)
        for i in range(count):
            _transmit_of_flow(sim, 2 * f, i, now_ns)
        if count > 0:
            flow["before_ps"], flow["leaves_ps"] = flow["leaves_ps"], line["idle_from_ps"]
            wake_ns = max(wake_ns, -(-flow["before_ps"] // PS_PER_NS))
    _set_timer(sim, sim.scalars[0]["first_end"] + 2 * f, wake_ns)


@native
def _transmit_of_flow(sim: SimState, end: int, i: int, now_ns: int) -> None:
    """Packet i of the flows' outbox leaves the host of an end: faults, cable. Network cards see to the work."""
    host = sim.host_of[sim.scalars[0]["first_end"] + end]
    buffer = take_buffer(sim.pool)
    write_packet(sim.connections, end, i, sim.pool, buffer)
    if sim.scalars[0]["faulty"] and sim.faults.line[2 * host]["on"]:
        _apply_faults(sim, 2 * host, buffer, now_ns)
    else:
        _transmit(sim, host, buffer, now_ns)
