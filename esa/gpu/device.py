"""The device: it runs one kernel at a time, to its end unless a rule stops it. Compiled."""

from __future__ import annotations

from esa.gpu.dispatch import FILLER
from esa.gpu.host import comes_back, duration
from esa.gpu.rules import FIKIT, PENDING, TIME_SLICE, Rule
from esa.gpu.state import NEVER, World
from esa.native import native_uncounted as native


@native
def start_next(world: World, rule: Rule, now: int) -> None:
    """Let the idle device begin with what comes next, if there is anything."""
    device = world.device[0]
    task, filler, cost = -1, False, 0
    if rule.kind == TIME_SLICE:
        task = _next_by_slice(world, now)
        if task >= 0 and task != device["owner"]:
            cost = rule.switch_ns if device["owner"] >= 0 else 0
            device["owner"] = task
            device["slice_ends"] = now + cost + rule.slice_ns
        elif task >= 0 and now >= device["slice_ends"]:
            device["slice_ends"] = now + rule.slice_ns
        if task >= 0:
            world.tasks[task]["submitted"] += 1
    elif device["head"] < device["tail"]:
        entry = world.fifo[device["head"] % len(world.fifo)]
        device["head"] += 1
        filler = entry >= FILLER
        task = entry - FILLER if filler else entry
    if task < 0:
        return
    free = max(now, device["accounted"])
    device["idle_ns"] += free - device["accounted"]
    device["switch_ns"] += cost
    device["running"] = task
    device["is_filler"] = filler
    device["began"] = free + cost
    device["accounted"] = free + cost
    device["ends"] = free + cost + duration(world, task, world.tasks[task]["done"])


@native
def _next_by_slice(world: World, now: int) -> int:
    """The slice's owner, until it is over or has nothing; then whoever is next and has something."""
    device = world.device[0]
    owner, count = device["owner"], len(world.tasks)
    if owner >= 0 and world.tasks[owner]["issued"] > world.tasks[owner]["done"] and now < device["slice_ends"]:
        return int(owner)
    for step in range(1, count + 1):
        task = (owner + step) % count
        if world.tasks[task]["issued"] > world.tasks[task]["done"]:
            return int(task)
    return -1


@native
def finish(world: World, rule: Rule, now: int) -> int:
    """The running kernel ends now; returns its task."""
    device = world.device[0]
    task = device["running"]
    mine = world.tasks[task]
    launch = mine["done"]
    slot, place = launch % PENDING, launch % mine["count"]
    delay = device["began"] - max(world.requested[task, slot], mine["last_done"])
    mine["delay_ns"] += delay
    if comes_back(mine, launch):
        mine["first_delay_ns"] += delay
    else:
        mine["worst_delay_ns"] = max(mine["worst_delay_ns"], delay)
        if rule.kind == FIKIT and mine["checked"] and delay > world.allowed[task, slot]:
            mine["late"] += 1
    if device["logged"] < len(world.log):
        row = world.log[device["logged"]]
        row[0], row[1], row[2] = task, launch, world.requested[task, slot]
        row[3], row[4], row[5] = device["began"], now, device["is_filler"]
        device["logged"] += 1
    mine["busy_ns"] += now - device["began"]
    if device["is_filler"]:
        mine["filled"] += 1
        mine["filled_ns"] += now - device["began"]
    device["accounted"] = now
    device["running"] = -1
    device["ends"] = NEVER
    mine["done"] += 1
    mine["last_done"] = now
    mine["predicted"] = now + world.kernels[mine["first"] + place]["gap_ns"]
    if place == mine["count"] - 1:
        request = launch // mine["count"]
        mine["requests_done"] += 1
        mine["active"] = mine["arrivals_from"] < 0 and mine["requests_done"] < mine["requests"]
        if mine["requests"] != NEVER:
            kept = world.kept[mine["kept_from"] + request]
            kept[1], kept[2] = now, mine["delay_ns"]
    return int(task)


@native
def stop_lower(world: World, rule: Rule, priority: int, now: int) -> None:
    """REEF: take everything below `priority` off the device; what runs of it is stopped, and will begin anew."""
    device = world.device[0]
    for _ in range(device["tail"] - device["head"]):
        entry = world.fifo[device["head"] % len(world.fifo)]
        device["head"] += 1
        if world.tasks[entry]["priority"] <= priority:
            world.fifo[device["tail"] % len(world.fifo)] = entry
            device["tail"] += 1
    running = device["running"]
    for task in range(len(world.tasks)):
        mine = world.tasks[task]
        if mine["priority"] > priority:
            mine["submitted"] = mine["done"]
    if running >= 0 and world.tasks[running]["priority"] > priority:
        device["wasted_ns"] += max(0, now - device["began"])
        device["switch_ns"] += rule.reset_ns
        device["accounted"] = max(now, device["accounted"]) + rule.reset_ns
        device["running"] = -1
        device["ends"] = NEVER
