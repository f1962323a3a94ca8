"""The end of a world: the network turns benign, everything must come to its end, and every row must drain."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from esa import wire
from esa.job import Pool
from esa.protocol import NEVER
from esa.wire import Kind
from tests.model import moves, truth
from tests.model.checks import RuleError, check_end
from tests.model.hosts import Run, ServerHost, WorkerHost
from tests.model.plan import TTL_US, US, JobPlan, S
from tests.model.rows import ROWS
from tests.p4.traffic import frame_of

if TYPE_CHECKING:
    from tests.model.world import World

SETTLE_NS = 60 * S  # within this, everything ends once the network is benign
SWEEPERS = 20, 21  # jobs of the end


def settle(world: World) -> None:
    """From now on nothing is lost, all ranks submit what any rank did: everything must end, and rows drain."""
    world.say("", "--- the network is benign from here on")
    if world.down:
        moves.reload(world)
    for number in list(world.late):
        moves.tell(world, number)
    for run in world.runs.values():
        for worker in run.workers:
            while worker.alive and not worker.failed and worker.submitted < len(run.sizes):
                moves.submit(world, worker.name)
    _quiesce(world)
    _sweep(world)
    _quiesce(world)
    for run in world.runs.values():
        check_end(run)
        if run.crippled:
            world.abandoned += len(run.sizes) - run.checked
    _, taken, _ = world.switch.occupancy()
    if taken:
        raise RuleError("rows drain", f"rows {world.switch.taken()} are taken for ever")


def _quiesce(world: World) -> None:
    limit_ns = world.now_ns + SETTLE_NS
    while True:
        if world.flight:
            moves.deliver(world, next(iter(world.flight)))
            continue
        live = [h for run in world.runs.values() for h in run.hosts if h.alive and h.wake_ns < NEVER]
        if not live:
            return
        host = min(live, key=lambda h: h.wake_ns)
        if host.wake_ns > limit_ns:
            raise RuleError("every all-reduce ends", f"{host.name} still has something to do after {SETTLE_NS / S} s")
        world.now_ns = max(world.now_ns, host.wake_ns)
        world.say(host.name, "timer")
        host.pump()
        world.after_host(host)


def _sweep(world: World) -> None:
    """Newcomers take any row, whoever's it is, and hand it over: odd rows by aging alone, even ones by the TTL."""
    taken = world.switch.taken()
    _sweep_rows(world, [slot for slot in taken if slot & 1], SWEEPERS[0], ttl_us=0, tries=9)
    world.now_ns += 2 * TTL_US * US if taken else 0
    _sweep_rows(world, [slot for slot in taken if not slot & 1], SWEEPERS[1], ttl_us=TTL_US, tries=1)


def _sweep_rows(world: World, slots: list[int], number: int, ttl_us: int, tries: int) -> None:
    run = Run(world, number, 0, JobPlan("esa" if ttl_us else "esa-paper", 2, 1, 0), ttl_us)
    run.sizes = [ROWS]
    world.truths[run.key] = run
    world.switch.add(run.job, run.policy, Pool(base=0, size=ROWS))
    for slot in slots:
        for _ in range(tries):
            _sweep_row(world, run, run.workers[0], Kind.GRADIENT, slot)
            if world.switch.row(slot).owner[0] == number:
                break
        else:
            raise RuleError("rows drain", f"row {slot} outlives its TTL" if ttl_us else f"row {slot} does not age")
        _sweep_row(world, run, run.servers[0], Kind.REMINDER, slot)
    world.switch.remove(run.job)


def _sweep_row(world: World, run: Run, host: WorkerHost | ServerHost, kind: Kind, slot: int) -> None:
    to_ip = run.job.switch_ip.packed if kind == Kind.REMINDER else None
    frame = frame_of(host.member, run.job.server, _sweeping(run, kind, slot, world.plan.lanes), to_ip)
    moves.deliver(world, world.fly(host.name, frame, host.member.switch_port))


def _sweeping(run: Run, kind: Kind, slot: int, lanes: int) -> bytes:
    packet = np.zeros(1, wire.packet_dtype(lanes))
    packet["version_kind"], packet["job"], packet["epoch"] = wire.version_kind(kind), *run.key
    packet["seq"] = packet["index"] = slot
    packet["bitmap0"] = packet["bitmap1"] = 1
    if kind == Kind.GRADIENT:
        packet["priority"] = 1
        packet["exponent"] = truth.exponent(*run.truth, slot, 0)
        packet["lane"] = truth.contribution(*run.truth, slot, 0, lanes)
    return packet.tobytes()
