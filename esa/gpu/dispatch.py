"""Which launches a rule sends to the device, in their order; asked when all that happens now has happened. Compiled."""

from __future__ import annotations

from esa.gpu.host import duration
from esa.gpu.kernels import UNKNOWN
from esa.gpu.rules import FIFO, FIKIT, ORION, PENDING, REEF, XSCHED, Rule
from esa.gpu.state import NEVER, World
from esa.native import native_uncounted as native

FILLER = 1 << 16  # added to a task's number in `fifo`


@native
def dispatch(world: World, rule: Rule, now: int) -> None:
    """Send what may go. Time slices take launches straight from the tasks (`device.next_task`)."""
    if rule.kind == FIFO:
        _send_from(world, -1, rule.depth)
    elif rule.kind == FIKIT:
        _hold_and_fill(world, rule, now)
    elif rule.kind == XSCHED or rule.kind == REEF:
        _send_from(world, _highest_waiting(world), rule.depth)
    elif rule.kind == ORION:
        _let_pass(world, rule)


@native
def _send(world: World, task: int, filler: bool) -> None:
    device = world.device[0]
    world.fifo[device["tail"] % len(world.fifo)] = task + FILLER if filler else task
    device["tail"] += 1
    world.tasks[task]["submitted"] += 1


@native
def _oldest(world: World, priority: int, depth: int) -> int:
    """Of tasks of that priority (-1: of all) the one whose first launch that is not sent is oldest; -1: none may go."""
    chosen, since = -1, NEVER
    for task in range(len(world.tasks)):
        mine = world.tasks[task]
        launch = mine["submitted"]
        if (
            (priority < 0 or mine["priority"] == priority)
            and mine["issued"] > launch
            and launch - mine["done"] < depth
            and world.requested[task, launch % PENDING] < since
        ):
            chosen, since = task, world.requested[task, launch % PENDING]
    return chosen


@native
def _send_from(world: World, priority: int, depth: int) -> None:
    task = _oldest(world, priority, depth)
    while task >= 0:
        _send(world, task, False)
        task = _oldest(world, priority, depth)


@native
def _highest_waiting(world: World) -> int:
    """The highest priority that has a launch under way; a number that no task has if none has."""
    highest = 1 << 30
    for task in range(len(world.tasks)):
        mine = world.tasks[task]
        if mine["issued"] > mine["done"]:
            highest = min(highest, mine["priority"])
    return highest


@native
def _hold_and_fill(world: World, rule: Rule, now: int) -> None:
    device = world.device[0]
    top = -1
    for task in range(len(world.tasks)):
        mine = world.tasks[task]
        if mine["active"] and (top < 0 or mine["priority"] < top):
            top = mine["priority"]
    if top != device["top"]:
        device["top"] = top
        device["in_gap"] = False
        device["gap_is_new"] = True
    if top < 0:
        return
    _send_from(world, top, rule.depth)
    until = NEVER  # the next launch of a holder that is expected
    for task in range(len(world.tasks)):
        mine = world.tasks[task]
        if mine["priority"] == top and mine["active"]:
            if mine["submitted"] > mine["done"]:
                return  # no gap: a kernel of a holder is on the device
            until = min(until, mine["predicted"])
    if device["gap_is_new"]:
        device["gap_is_new"] = False
        device["in_gap"] = True
        device["gap_began"] = now
        device["gap_error"] = 0
        device["gap_predicted"] = until - now
        device["gap_left"] = until - now if until - now > rule.epsilon_ns else 0
    if not rule.fills:
        return
    while rule.ahead or (device["running"] < 0 and device["head"] == device["tail"]):
        room = min(device["gap_left"], until - now - _on_device(world, now))
        task = best_fit(world, top, room)
        if task < 0:
            return
        launch = world.tasks[task]["submitted"]
        expected = world.kernels[world.tasks[task]["first"] + launch % world.tasks[task]["count"]]["expected_ns"]
        device["gap_left"] -= expected
        device["gap_error"] += abs(duration(world, task, launch) - expected)
        _send(world, task, True)


@native
def _on_device(world: World, now: int) -> int:
    """How long the device is expected to have work, ns."""
    device = world.device[0]
    total = 0
    for task in range(len(world.tasks)):
        mine = world.tasks[task]
        for launch in range(mine["done"], mine["submitted"]):
            expected = world.kernels[mine["first"] + launch % mine["count"]]["expected_ns"]
            if device["running"] == task and launch == mine["done"]:
                expected = max(0, device["began"] + expected - now)
            total += expected
    return total


@native
def best_fit(world: World, top: int, room: int) -> int:
    """BestPrioFit: of tasks' first launches that take less than `room` (ns, expected) the longest of the highest
    priority below `top`; among equals the first task's. -1: none fits.
    """
    chosen, best_priority, longest = -1, 1 << 30, 0
    for task in range(len(world.tasks)):
        mine = world.tasks[task]
        launch = mine["submitted"]
        if mine["priority"] <= top or mine["issued"] <= launch:
            continue
        expected = world.kernels[mine["first"] + launch % mine["count"]]["expected_ns"]
        if expected >= room or mine["priority"] > best_priority:
            continue
        if mine["priority"] < best_priority or expected > longest:
            chosen, best_priority, longest = task, mine["priority"], expected
    return chosen


@native
def _let_pass(world: World, rule: Rule) -> None:
    """ORION: the highest priority at once; of others what stands beside it, and all while it has no request."""
    device = world.device[0]
    top = 1 << 30
    for task in range(len(world.tasks)):
        top = min(top, world.tasks[task]["priority"])
    _send_from(world, top, PENDING)
    active, profile, sms, below = False, UNKNOWN, 0, 0
    for task in range(len(world.tasks)):
        mine = world.tasks[task]
        first, count = mine["first"], mine["count"]
        if mine["priority"] == top:
            if mine["active"]:
                active = True
                profile = world.kernels[first + (mine["issued"] - 1) % count]["profile"]
        else:
            below += mine["submitted"] - mine["done"]
            for launch in range(mine["done"], mine["submitted"]):
                sms += world.kernels[first + launch % count]["sms"]
    if below == 0:
        device["passed_ns"] = 0
    while not active or device["passed_ns"] < rule.most_ns:
        chosen, since = -1, NEVER
        for task in range(len(world.tasks)):
            mine = world.tasks[task]
            launch = mine["submitted"]
            if mine["priority"] == top or mine["issued"] <= launch or launch - mine["done"] >= rule.depth:
                continue
            kernel = mine["first"] + launch % mine["count"]
            own = world.kernels[kernel]["profile"]
            stands = sms + world.kernels[kernel]["sms"] <= rule.most_sms and (own != profile or own == UNKNOWN)
            if (not active or stands) and world.requested[task, launch % PENDING] < since:
                chosen, since = task, world.requested[task, launch % PENDING]
        if chosen < 0:
            return
        kernel = world.tasks[chosen]["first"] + world.tasks[chosen]["submitted"] % world.tasks[chosen]["count"]
        sms += world.kernels[kernel]["sms"]
        device["passed_ns"] += world.kernels[kernel]["expected_ns"]
        _send(world, chosen, False)
