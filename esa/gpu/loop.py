"""Tasks on a device, event by event, in integers of nanoseconds. Compiled."""

from __future__ import annotations

from esa.gpu.device import finish, start_next, stop_lower
from esa.gpu.dispatch import dispatch
from esa.gpu.host import comes_back, host_goes_on
from esa.gpu.rules import FIKIT, PENDING, REEF, Rule
from esa.gpu.state import NEVER, UNCHECKED, World
from esa.native import native_uncounted as native


@native
def run_loop(world: World, rule: Rule, most_kernels: int) -> int:
    """Until all that are not in the background have ended, or so many kernels have run; returns the time then, ns.

    What happens at one instant is taken together, ends of kernels first, and then the rule decides.
    """
    device = world.device[0]
    count = len(world.tasks)
    ran = 0
    now = 0
    for task in range(count):
        host_goes_on(world, task, 0, rule.hook_ns)
    while ran < most_kernels:
        at = device["ends"]
        for task in range(count):
            at = min(at, world.tasks[task]["host_at"])
        if at == NEVER:
            break
        now = at
        if device["ends"] == now:
            task = finish(world, rule, now)
            ran += 1
            if world.tasks[task]["priority"] == device["top"]:
                device["gap_is_new"] = True
            if world.tasks[task]["host_at"] == NEVER:
                host_goes_on(world, task, now, rule.hook_ns)
            if _over(world):
                break
        for task in range(count):
            mine = world.tasks[task]
            while mine["host_at"] == now:
                mine["host_at"] = NEVER
                _launch(world, rule, task, now)
                host_goes_on(world, task, now, rule.hook_ns)
        dispatch(world, rule, now)
        if device["running"] < 0:
            start_next(world, rule, now)
    _account_until(world, now)
    return now


@native
def _over(world: World) -> bool:
    for task in range(len(world.tasks)):
        mine = world.tasks[task]
        if mine["requests"] != NEVER and mine["requests_done"] < mine["requests"]:
            return False
    return True


@native
def _launch(world: World, rule: Rule, task: int, now: int) -> None:
    """The host makes its next launch now."""
    mine = world.tasks[task]
    device = world.device[0]
    launch = mine["issued"]
    slot = launch % PENDING
    world.requested[task, slot] = now
    world.allowed[task, slot] = UNCHECKED
    if rule.kind == FIKIT and not comes_back(mine, launch):
        world.allowed[task, slot] = 0
        if mine["priority"] == device["top"] and device["in_gap"]:
            late = device["gap_predicted"] - (now - device["gap_began"])
            world.allowed[task, slot] = max(0, late) + device["gap_error"]
    if mine["priority"] == device["top"]:  # a launch of the holder ends the filling
        device["in_gap"] = False
        device["gap_left"] = 0
    mine["active"] = True
    mine["issued"] += 1
    if rule.kind == REEF:
        stop_lower(world, rule, mine["priority"], now)


@native
def _account_until(world: World, now: int) -> None:
    """Count the device's time up to the end, of a kernel that still runs, too."""
    device = world.device[0]
    if device["running"] >= 0:
        if now >= device["began"]:
            world.tasks[device["running"]]["busy_ns"] += now - device["began"]
        else:
            device["switch_ns"] -= device["began"] - now
    elif now >= device["accounted"]:
        device["idle_ns"] += now - device["accounted"]
    else:
        device["switch_ns"] -= device["accounted"] - now
