"""The event loop: what happens, in the order of time.

    packet at a line's end    a switch runs the program and sends what leaves; a host's worker or PS takes it in
    endpoint's timer          the state machine is asked what it has to send
    rank has computed         its program goes on, as when a message has come; begun sums are fed to its state machine
    packet held by a fault    goes on

Everything that decides anything is elsewhere: the P4 program, `esa.protocol`, `esa.sim.transport`, `esa.net.faults`.
This file carries packets between them; it is long because all of them meet here, and are compiled as one. It returns to
Python when a job is over (its hosts become free, others may start), when memory has to grow, and at the times of the
samples.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from esa.native import native_inlined
from esa.native import native_uncounted as native
from esa.net.faults import Faults, decide
from esa.protocol import (
    MULTICAST,
    WorkerState,
    server_receive,
    server_send,
    worker_drain,
    worker_feed,
    worker_ready,
    worker_receive,
    worker_room,
    worker_send,
)
from esa.sim.engine.events import SOURCE_BITS, Events, pop, push, replace, source_of
from esa.sim.engine.lines import (
    NONE,
    PS_PER_NS,
    Pool,
    give_back,
    queue_length,
    sending_ps,
    take_first,
    take_row,
    transmit,
)
from esa.sim.fabric.switches import MAX_COPIES, Switches, switch_step
from esa.sim.ranks import Ranks, can_go_on, is_over, note_summed, proceed, to_feed
from esa.sim.transport.connections import (
    BACKGROUND,
    RING,
    SENDS,
    Connections,
    is_of_flow,
    mark,
    read_packet,
    write_packet,
)
from esa.sim.transport.endpoints import Servers, Workers, server, worker
from esa.sim.transport.flow import ACK, flow_answer, flow_message, flow_take_data
from esa.sim.transport.flow_send import flow_offer, flow_room, flow_send, flow_take_ack
from esa.sim.transport.payload import check_sum, fill_lanes
from esa.sim.transport.ring import ring_begin, ring_done, ring_sent, ring_step
from esa.wire import ENCAPSULATION_BYTES

# Why the loop returns.
UNTIL, IDLE, JOB_OVER, NEEDS_ROOM = 0, 1, 2, 3
FLOW_OVER = -2  # in the place of the job that is over: traffic of none

OUT_PACKETS = 64
SPARE_ROWS = 2 * (MAX_COPIES + OUT_PACKETS)  # what one event may take, duplicated by faults
SPARE_EVENTS = 1024
_NEVER = 2**62
_SOURCE_IP = 26
_DESTINATION_IP = 30
_JOB_AT = ENCAPSULATION_BYTES + 4  # where the header has its job

NUMBERS = np.dtype(
    [
        ("now_ns", np.int64),
        ("seed", np.uint64),
        ("hosts", np.int64),
        ("workers", np.int64),
        ("first_end", np.int64),  # endpoint that is the first flow's first end
        ("endpoint_source", np.int64),  # number of the first event source of each sort; lines begin at 0
        ("compute_source", np.int64),
        ("held_source", np.int64),
        ("processor", np.int64),  # the line that is host 0's processor, for what it receives
        ("cores", np.int64),  # 2: another one sends
        ("first_address", np.int64),  # IPv4 address of node 0
        ("send_ps", np.int64),
        ("receive_ps", np.int64),
        ("server_ps", np.int64),
        ("switch_ps", np.int64),
        ("mark_above", np.int64),  # NONE: no ECN
        ("wire_bytes", np.int64),  # of an ESA packet
        ("faulty", np.int64),
        ("job_over", np.int64),
        ("unfinished", np.int64),  # the endpoint that had more to send than there was room for, or NONE
        # Counters.
        ("packet_hops", np.int64),
        ("server_bytes", np.int64),
        ("dropped", np.int64),
        ("astray", np.int64),  # packets for nobody: a job's that is over
    ]
)


class World(NamedTuple):
    """Everything that the loop touches; made by `build`."""

    numbers: npt.NDArray[np.void]  # (1,): NUMBERS
    events: Events
    lines: npt.NDArray[np.void]
    pool: Pool
    switches: Switches
    hot: npt.NDArray[np.int64]  # (switches,): ports whose noted queue is above the mark
    workers: Workers
    servers: Servers
    ranks: Ranks
    rings: npt.NDArray[np.void]  # (workers,): RING
    connections: Connections
    faults: Faults  # lines 2 * host + direction
    timer_ns: npt.NDArray[np.int64]  # (endpoints,): workers, then PSs, then ends of flows
    host_of: npt.NDArray[np.int64]  # (endpoints,)
    endpoint_at: npt.NDArray[np.int64]  # (places, ids + 1): by the place on a host, and job id; NONE: nobody
    sending_ps: npt.NDArray[np.int64]  # (hosts,): when the processor is through with what is to be sent
    inbox: npt.NDArray[np.uint32]  # (1, words)
    outbox: npt.NDArray[np.uint32]  # (OUT_PACKETS, words)
    member: npt.NDArray[np.int32]  # (OUT_PACKETS,)
    lanes: npt.NDArray[np.int32]  # (lanes,)
    exponents: npt.NDArray[np.int8]  # none: all are 0


@native
def run(world: World, until_ns: int) -> int:
    """Let things happen until `until_ns`, not included; return why it stopped."""
    numbers = world.numbers[0]
    events = world.events
    numbers["job_over"] = NONE
    while events.fill[0] > 0 or numbers["unfinished"] != NONE:
        if world.pool.spare[0] < SPARE_ROWS or len(events.key) - events.fill[0] < SPARE_EVENTS:
            return NEEDS_ROOM
        now_ns = numbers["now_ns"]
        endpoint = numbers["unfinished"]  # who may have something to say
        if endpoint != NONE:
            numbers["unfinished"] = NONE
        else:
            now_ns = events.key[0] >> SOURCE_BITS
            if now_ns >= until_ns:
                numbers["now_ns"] = until_ns
                return UNTIL
            numbers["now_ns"] = now_ns
            source = source_of(events, events.key[0])
            if source < numbers["endpoint_source"]:
                endpoint = _end_of_line(world, source, now_ns)
            else:
                pop(events)
                endpoint = _not_a_packet(world, source, now_ns)
        if endpoint >= numbers["first_end"]:
            _converse(world, endpoint - numbers["first_end"], now_ns)
        elif endpoint >= numbers["workers"]:
            _serve(world, endpoint - numbers["workers"], now_ns)
        elif endpoint != NONE:
            _work(world, endpoint, now_ns)
        if numbers["job_over"] != NONE:
            return JOB_OVER
    numbers["now_ns"] = until_ns
    return IDLE


@native_inlined
def _not_a_packet(world: World, source: int, now_ns: int) -> int:
    """A timer runs out, somebody has computed, a fault lets go; return who may have something to say, or NONE."""
    numbers = world.numbers[0]
    endpoint = NONE
    if source < numbers["compute_source"]:
        if world.timer_ns[source - numbers["endpoint_source"]] == now_ns:
            endpoint = source - numbers["endpoint_source"]
            world.timer_ns[endpoint] = _NEVER
    elif source < numbers["held_source"]:
        endpoint = source - numbers["compute_source"]
        _proceed(world, endpoint, now_ns)
    else:
        endpoint = _go_on(world, source - numbers["held_source"], now_ns)
    return endpoint


@native
def begin(world: World, w: int, now_ns: int) -> None:
    """A worker begins its job; which of those that begin now sends first is as in every nanosecond."""
    _proceed(world, w, now_ns)
    _set_timer(world, w, now_ns)
    if world.ranks.rank[w]["through"]:  # it had nothing to do that takes time
        push(world.events, now_ns, world.numbers[0]["compute_source"] + w)


# Cables


@native_inlined
def _end_of_line(world: World, number: int, now_ns: int) -> int:
    """The first packet of a line has arrived; return the endpoint that took it in, or NONE."""
    line = world.lines[number]
    row = take_first(world.lines, world.pool, number, now_ns)
    if line["first"] == NONE:
        pop(world.events)
    else:
        replace(world.events, world.pool.link[line["first"]]["arrive_ns"], number)
    numbers = world.numbers[0]
    if line["switch"] != NONE:
        numbers["packet_hops"] += 1
        _through_switch(world, line["switch"], line["port"], row, now_ns)
        return NONE
    if number >= numbers["processor"]:
        return _take_in(world, _receiver(world, row), row, now_ns)
    numbers["packet_hops"] += 1
    fault_line = 2 * line["host"] + 1
    if numbers["faulty"] and world.faults.line[fault_line]["on"]:
        return _hold_copies(world, fault_line, row, now_ns)
    return _into_host(world, line["host"], row, now_ns)


@native_inlined
def _onto_cable(world: World, host: int, row: int, now_ns: int) -> None:
    """A packet leaves a host."""
    number = 2 * host
    from_ps = max(world.sending_ps[host], now_ns * PS_PER_NS)
    transmit(
        world.lines, world.pool, world.events, number, row, from_ps, sending_ps(world.lines, world.pool, number, row)
    )


@native
def _hold_copies(world: World, fault_line: int, row: int, now_ns: int) -> int:
    """A packet meets what its line does to packets: it goes on never, once or twice, now or later."""
    pool = world.pool
    copies = decide(world.faults, fault_line, now_ns)
    if copies == 0:
        give_back(pool, row)
        return NONE
    pool.link[row]["next"] = fault_line
    endpoint = NONE
    for copy in range(copies):
        due_ns = world.faults.due_ns[copy]
        mine = row
        if copy + 1 < copies:
            mine = take_row(pool)
            pool.link[mine]["next"] = fault_line
            pool.length[mine], pool.wire_bytes[mine] = pool.length[row], pool.wire_bytes[row]
            for b in range(pool.length[row]):
                pool.data[mine, b] = pool.data[row, b]
        if due_ns > now_ns:
            push(world.events, due_ns, world.numbers[0]["held_source"] + mine)
        else:
            endpoint = max(endpoint, _go_on(world, mine, now_ns))
    return endpoint


@native
def _go_on(world: World, row: int, now_ns: int) -> int:
    """Nothing holds the packet any more; return the endpoint that took it in, or NONE."""
    host, received = divmod(world.pool.link[row]["next"], 2)
    if received:
        return _into_host(world, host, row, now_ns)
    _onto_cable(world, host, row, now_ns)
    return NONE


# Switches


@native_inlined
def _through_switch(world: World, which: int, port: int, row: int, now_ns: int) -> None:
    """A switch runs its program on the packet in `row`; the row is free afterwards."""
    numbers, pool, lines, switches = world.numbers[0], world.pool, world.lines, world.switches
    if world.hot[which] > 0:
        _note_queues(world, which, now_ns)
    pool.port[row] = port
    copies = switch_step(switches, which, pool.data, pool.length, pool.port, row, now_ns)
    not_kept = pool.wire_bytes[row] - pool.length[row]
    give_back(pool, row)
    from_ps = now_ns * PS_PER_NS + numbers["switch_ps"]
    for k in range(copies):
        out = switches.out_port[k]
        number = switches.line[which, out]
        if number == NONE:
            numbers["astray"] += 1
            continue
        waiting = queue_length(lines, pool, number, now_ns)
        if waiting >= lines[number]["room"]:
            lines[number]["dropped"] += 1
            numbers["dropped"] += 1
            continue
        copy = take_row(pool)
        length = switches.out_length[k]
        pool.length[copy], pool.wire_bytes[copy] = length, length + not_kept
        for b in range(length):
            pool.data[copy, b] = switches.out_data[k, b]
        # The P4 program marks ESA's packets by itself; others are marked as a queue of a real switch would.
        if numbers["mark_above"] != NONE and waiting > numbers["mark_above"] and is_of_flow(pool, copy):
            mark(pool, copy)
        transmit(lines, pool, world.events, number, copy, from_ps, sending_ps(lines, pool, number, copy))
        if numbers["mark_above"] != NONE:
            at = switches.build.queue_depth + out
            noted = switches.m64[which, at]
            world.hot[which] += (waiting + 1 > numbers["mark_above"]) - (noted > numbers["mark_above"])
            switches.m64[which, at] = waiting + 1


@native
def _note_queues(world: World, which: int, now_ns: int) -> None:
    """Bring the queues up to date that the program would take for long."""
    numbers, switches = world.numbers[0], world.switches
    for port in range(switches.line.shape[1]):
        at = switches.build.queue_depth + port
        if switches.m64[which, at] > numbers["mark_above"]:
            waiting = queue_length(world.lines, world.pool, switches.line[which, port], now_ns)
            world.hot[which] -= waiting <= numbers["mark_above"]
            switches.m64[which, at] = waiting


# Hosts


@native_inlined
def _receiver(world: World, row: int) -> int:
    """The endpoint on a host that a packet is for, by its address and job, or NONE: its job is over."""
    data, at = world.pool.data, world.endpoint_at
    if is_of_flow(world.pool, row):
        flow, kind = read_packet(world.connections, world.pool, row)
        if world.connections.record[flow]["open"]:
            return int(world.numbers[0]["first_end"] + 2 * flow + (kind != ACK))
        return NONE
    place = _address(data, row, _DESTINATION_IP) - world.numbers[0]["first_address"]
    job = np.int64(data[row, _JOB_AT]) << 8 | data[row, _JOB_AT + 1]
    return int(at[place, job]) if 0 <= place < at.shape[0] and job < at.shape[1] else NONE


@native_inlined
def _address(data: npt.NDArray[np.uint8], row: int, at: int) -> int:
    """The IPv4 address at byte `at` of a packet."""
    address = np.int64(0)
    for b in range(at, at + 4):
        address = address << 8 | data[row, b]
    return int(address)


@native_inlined
def _into_host(world: World, host: int, row: int, now_ns: int) -> int:
    """The host's processor has a packet to receive; return the endpoint that took it in, NONE if it is not through."""
    numbers = world.numbers[0]
    endpoint = _receiver(world, row)
    cost_ps = numbers["receive_ps"]
    if endpoint >= numbers["first_end"]:
        cost_ps = 0
    elif endpoint >= numbers["workers"]:
        cost_ps = numbers["server_ps"]
        numbers["server_bytes"] += world.pool.wire_bytes[row]
    if cost_ps == 0:
        return _take_in(world, endpoint, row, now_ns)
    number = numbers["processor"] + host
    transmit(world.lines, world.pool, world.events, number, row, now_ns * PS_PER_NS, cost_ps)
    return NONE


@native_inlined
def _take_in(world: World, endpoint: int, row: int, now_ns: int) -> int:
    """A worker or PS receives the packet in `row`; the row is free afterwards."""
    numbers, pool = world.numbers[0], world.pool
    give_back(pool, row)
    if endpoint == NONE:
        numbers["astray"] += 1
        return NONE
    if endpoint >= numbers["first_end"]:
        connections = world.connections
        flow, kind = read_packet(connections, pool, row)
        if kind == ACK:
            flow_take_ack(connections.flows, flow, connections.inbox, now_ns)
        else:
            flow_take_data(connections.flows, flow, connections.inbox, now_ns)
        return endpoint
    octets = world.inbox.view(np.uint8)
    for b in range(octets.shape[1]):
        octets[0, b] = pool.data[row, ENCAPSULATION_BYTES + b]
    if endpoint < numbers["workers"]:
        worker_receive(worker(world.workers, endpoint), world.inbox, 1, now_ns)
        return endpoint
    k = endpoint - numbers["workers"]
    world.member[0] = world.servers.member_at[k, _address(pool.data, row, _SOURCE_IP) - numbers["first_address"]]
    server_receive(server(world.servers, k), world.inbox, world.member, 1, now_ns)
    return endpoint


@native_inlined
def _work(world: World, w: int, now_ns: int) -> None:
    """A worker takes sums out, is fed what is ready, sends what is to be sent; and its timer is set."""
    ranks, pool, numbers = world.ranks, world.pool, world.numbers[0]
    job = ranks.job[ranks.rank[w]["job"]]
    if not job["open"]:
        return
    if job["ring"]:
        _turn(world, w, now_ns)
        return
    state = worker(world.workers, w)
    wake_ns = now_ns
    while wake_ns <= now_ns and pool.spare[0] >= SPARE_ROWS:
        ready = worker_ready(state)
        if ready > 0:
            _take_sums(world, state, w, ready, now_ns)
        _feed(world, state, w)
        count, wake_ns = worker_send(state, world.outbox, now_ns)
        for i in range(count):
            _send(world, world.host_of[w], world.workers.template, w, i, numbers["send_ps"], now_ns)
    if wake_ns <= now_ns:
        numbers["unfinished"] = w
    else:
        _set_timer(world, w, wake_ns)
    if state.worker[0]["failed"]:
        job["failed"] = 1
        numbers["job_over"] = ranks.rank[w]["job"]


@native_inlined
def _take_sums(world: World, state: WorkerState, w: int, ready: int, now_ns: int) -> None:
    """So many sums have come: perhaps the worker can go on computing, or is through."""
    ranks, numbers = world.ranks, world.numbers[0]
    me = ranks.rank[w]
    job = ranks.job[me["job"]]
    if len(world.lanes) == 0:
        worker_drain(state, world.lanes, 0, ready, world.exponents)
    else:
        for k in range(ready):
            worker_drain(state, world.lanes, 0, 1, world.exponents)
            right = check_sum(world.lanes, numbers["seed"], job["id"], job["ranks"], me["summed"] + k)
            me["wrong"] += not right
    note_summed(ranks, w, ready, now_ns)
    if can_go_on(ranks, w):
        _proceed(world, w, now_ns)
    elif is_over(ranks, world.connections.flows, w):
        numbers["job_over"] = me["job"]


@native
def _proceed(world: World, w: int, now_ns: int) -> None:
    """A rank has computed, or what it waited for has come."""
    numbers = world.numbers[0]
    flows, me = world.connections.flows, world.ranks.rank[w]
    if proceed(world.ranks, flows, w, now_ns):
        push(world.events, me["until_ns"], numbers["compute_source"] + w)
    elif is_over(world.ranks, flows, w):
        numbers["job_over"] = me["job"]
    for f in range(me["first_flow"], me["first_flow"] + me["sends"]):
        if flows.sender[f]["begun"] < flows.sender[f]["offered"]:
            _speak(world, f, now_ns)


@native_inlined
def _feed(world: World, state: WorkerState, w: int) -> None:
    """Give a worker's state machine as much of what is ready as it takes."""
    ranks = world.ranks
    me = ranks.rank[w]
    job = ranks.job[me["job"]]
    while me["fed"] < me["ready"]:
        count, priority = to_feed(ranks, w)
        count = min(count, worker_room(state))
        if count <= 0:
            return
        if len(world.lanes) == 0:
            worker_feed(state, world.lanes, 0, count, priority, world.exponents)
        else:
            for k in range(count):
                fill_lanes(world.lanes, world.numbers[0]["seed"], job["id"], w - job["first_rank"], me["fed"] + k)
                worker_feed(state, world.lanes, 0, 1, priority, world.exponents)
        me["fed"] += count


@native
def _serve(world: World, k: int, now_ns: int) -> None:
    """A PS sends what it has to say; and its timer is set."""
    servers, numbers = world.servers, world.numbers[0]
    if not world.ranks.job[k]["open"]:
        return
    endpoint = numbers["workers"] + k
    state = server(servers, k)
    wake_ns = now_ns
    while wake_ns <= now_ns and world.pool.spare[0] >= SPARE_ROWS:
        count, wake_ns = server_send(state, world.outbox, world.member, now_ns)
        for i in range(count):
            to = world.member[i]
            template = servers.templates[k] + (0 if to == MULTICAST else to)
            _send(world, world.host_of[endpoint], servers.template, template, i, numbers["server_ps"], now_ns)
            numbers["server_bytes"] += numbers["wire_bytes"]
    if wake_ns <= now_ns:
        numbers["unfinished"] = endpoint
    else:
        _set_timer(world, endpoint, wake_ns)


@native_inlined
def _set_timer(world: World, endpoint: int, wake_ns: int) -> None:
    """See to it that the endpoint is asked at `wake_ns`, or before."""
    if wake_ns < world.timer_ns[endpoint]:
        world.timer_ns[endpoint] = wake_ns
        push(world.events, wake_ns, world.numbers[0]["endpoint_source"] + endpoint)


@native_inlined
def _send(world: World, host: int, template: npt.NDArray[np.uint8], t: int, i: int, cost_ps: int, now_ns: int) -> None:
    """Packet i of the outbox, behind the addresses of template t, leaves a host: processor, faults, cable."""
    pool = world.pool
    row = take_row(pool)
    octets = world.outbox.view(np.uint8)
    for b in range(ENCAPSULATION_BYTES):
        pool.data[row, b] = template[t, b]
    for b in range(octets.shape[1]):
        pool.data[row, ENCAPSULATION_BYTES + b] = octets[i, b]
    pool.length[row], pool.wire_bytes[row] = pool.data.shape[1], world.numbers[0]["wire_bytes"]
    if cost_ps > 0:
        processor = world.lines[world.numbers[0]["processor"] + host]
        one = world.numbers[0]["cores"] == 1
        busy_ps = processor["free_ps"] if one else world.sending_ps[host]
        world.sending_ps[host] = max(busy_ps, now_ns * PS_PER_NS) + cost_ps
        if one:
            processor["free_ps"] = world.sending_ps[host]
    if world.numbers[0]["faulty"] and world.faults.line[2 * host]["on"]:
        _hold_copies(world, 2 * host, row, now_ns)
    else:
        _onto_cable(world, host, row, now_ns)


# Flows


@native
def _turn(world: World, w: int, now_ns: int) -> None:
    """A rank of a ring begins sums, takes what has come and passes it on."""
    ranks, rings, flows, numbers = world.ranks, world.rings, world.connections.flows, world.numbers[0]
    me = ranks.rank[w]
    f = me["first_flow"] + me["sends"]
    while True:
        if rings[w]["octets"] == 0:
            octets, _ = to_feed(ranks, w)
            if octets == 0:
                break
            me["fed"] += octets
            ring_begin(rings, w, octets)
        octets = ring_step(rings, w)
        if octets > 0:
            if flow_room(flows, f) == 0:
                break
            flow_offer(flows, f, octets, 0)
            ring_sent(rings, w)
            continue
        octets = ring_done(rings, w)
        if octets == 0:
            break
        note_summed(ranks, w, octets, now_ns)
        if can_go_on(ranks, w):
            _proceed(world, w, now_ns)
        elif is_over(ranks, flows, w):
            numbers["job_over"] = me["job"]
    if rings[w]["ranks"] > 1 and flows.sender[f]["begun"] < flows.sender[f]["offered"]:
        _speak(world, f, now_ns)


@native
def _converse(world: World, end: int, now_ns: int) -> None:
    """An end of a flow has got something, or its timer has run out: it answers, and a rank may go on, at once."""
    connections = world.connections
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
                world.ranks.arrived[tag] += 1
            elif flow["kind"] == RING:
                world.rings[w]["waiting"] += 1
            tag = flow_message(connections.flows, f)
        count, wake_ns = flow_answer(connections.flows, f, connections.outbox, now_ns)
        if count > 0:
            _depart(world, end, 0, now_ns)
        _set_timer(world, world.numbers[0]["first_end"] + end, wake_ns)
    else:
        _speak(world, f, now_ns)
        w, done = flow["source"], connections.flows.sender[f]["done"]
        news = done > flow["done"]
        flow["done"] = done
    if news and flow["kind"] == BACKGROUND:
        flow["end_ns"] = now_ns
        world.numbers[0]["job_over"] = FLOW_OVER
    elif news:
        push(world.events, now_ns, world.numbers[0]["compute_source"] + w)


@native
def _speak(world: World, f: int, now_ns: int) -> None:
    """A flow sends what it may; and its timer is set: at once, if memory has to grow first."""
    connections, events = world.connections, world.events
    flow, line = connections.record[f], world.lines[2 * world.host_of[world.numbers[0]["first_end"] + 2 * f]]
    wake_ns = max(now_ns, -(-flow["before_ps"] // PS_PER_NS))
    while (
        wake_ns <= now_ns
        and world.pool.spare[0] >= SPARE_ROWS
        and len(events.key) - events.fill[0] >= SPARE_EVENTS // 2  # faults may hold each packet, twice
    ):
        count, wake_ns = flow_send(connections.flows, f, connections.outbox, now_ns)
        for i in range(count):
            _depart(world, 2 * f, i, now_ns)
        if count > 0:
            flow["before_ps"], flow["leaves_ps"] = flow["leaves_ps"], line["free_ps"]
            wake_ns = max(wake_ns, -(-flow["before_ps"] // PS_PER_NS))
    _set_timer(world, world.numbers[0]["first_end"] + 2 * f, wake_ns)


@native
def _depart(world: World, end: int, i: int, now_ns: int) -> None:
    """Packet i of the flows' outbox leaves the host of an end: faults, cable. Network cards see to the work."""
    host = world.host_of[world.numbers[0]["first_end"] + end]
    row = take_row(world.pool)
    write_packet(world.connections, end, i, world.pool, row)
    if world.numbers[0]["faulty"] and world.faults.line[2 * host]["on"]:
        _hold_copies(world, 2 * host, row, now_ns)
    else:
        _onto_cable(world, host, row, now_ns)
