"""The moves: everything that can happen in a world, one at a time. Each says whether there was something to move."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from esa import wire
from esa.job import Pool
from esa.policy import POLICIES
from esa.protocol import NEVER
from esa.wire import Flag
from tests.model.hosts import Run, WorkerHost
from tests.model.plan import US, JobPlan

if TYPE_CHECKING:
    from tests.model.world import World

Move = tuple[Any, ...]  # name, arguments
MOVES: dict[str, Callable[..., bool]] = {}


def move(function: Callable[..., bool]) -> Callable[..., bool]:
    MOVES[function.__name__.replace("_", "-")] = function
    return function


@move
def deliver(world: World, label: str) -> bool:
    packet = world.flight.pop(label, None)
    if packet is None:
        return False
    world.now_ns += 1 * US
    if packet.port >= 0:
        world.through_switch(packet)
    else:
        world.to_host(packet)
    return True


@move
def drop(world: World, label: str) -> bool:
    packet = world.flight.pop(label, None)
    if packet is not None:
        world.say(f"{label}", "lost")
    return packet is not None


@move
def copy(world: World, label: str) -> bool:
    packet = world.flight.get(label)
    if packet is None or len(world.flight) > 400:
        return False
    copy = replace(packet, label=world.unique(label.split(" #")[0]))
    world.flight[copy.label] = copy
    world.say(label, f"duplicated: {copy.label}")
    return True


@move
def mark(world: World, label: str) -> bool:
    packet = world.flight.get(label)
    if packet is None:
        return False
    at = wire.ENCAPSULATION_BYTES + 1
    packet.frame = packet.frame[:at] + bytes([packet.frame[at] | Flag.ECN]) + packet.frame[at + 1 :]
    world.say(label, "marked")
    return True


@move
def wait(world: World, us: int) -> bool:
    """Let time pass, but never so long that somebody could give up: that would be no fault of the protocol's."""
    if world.now_ns + us * US > world.patience_ns():
        return False
    world.now_ns += us * US
    world.say("", f"{us} us pass")
    return True


@move
def timer(world: World, name: str) -> bool:
    """A host's timer runs out: at its time, or late if that has passed."""
    host = world.by_name.get(name)
    if host is None or not host.alive or host.wake_ns >= NEVER:
        return False
    if host.wake_ns > max(world.now_ns, world.patience_ns()):
        return False
    world.now_ns = max(world.now_ns, host.wake_ns)
    world.say(name, "timer")
    host.pump()
    world.after_host(host)
    return True


@move
def submit(world: World, name: str) -> bool:
    host = world.by_name.get(name)
    if not isinstance(host, WorkerHost) or not host.alive or host.failed:
        return False
    world.say(name, f"all-reduce {host.submitted}: {host.run.size(host.submitted)} fragments")
    host.submit()
    return True


@move
def policy(world: World, number: int, name: str) -> bool:
    run = world.runs.get(number)
    if run is None or world.down:
        return False
    run.policy = POLICIES[name]
    world.switch.change(run.job, run.policy, run.pool(run.policy, number))
    world.say(f"job {run.name}", f"policy is now {name}")
    return True


@move
def place(world: World, number: int, base: int, size: int) -> bool:
    """Give a running job other rows; what it has in the old ones stays there. A slice is not moved."""
    run = world.runs.get(number)
    if run is None or world.down or run.policy.pool in ("slice", "none"):
        return False
    run.placed = Pool(base=base, size=size)
    world.switch.change(run.job, run.policy, run.placed)
    world.say(f"job {run.name}", f"is on rows {base}..{base + size - 1} now")
    return True


@move
def tell_server(world: World, number: int, name: str) -> bool:
    """A PS hears of a policy, that of the switch or one that was."""
    run = world.runs.get(number)
    if run is None or not any(server.alive for server in run.servers):
        return False
    for server in run.servers:
        if server.alive:
            server.tell(name)
            world.say(server.name, f"is told that the policy is {name}")
    return True


@move
def remove(world: World, number: int) -> bool:
    """Take a job out of the switch; its hosts' processes end, its packets and rows stay."""
    run = world.runs.get(number)
    if run is None or world.down:
        return False
    world.switch.remove(run.job)
    world.end(run)
    world.say(f"job {run.name}", "removed")
    return True


@move
def add(world: World, number: int, policy: str, workers: int, window: int, first_seq: int, servers: int = 1) -> bool:
    """Add a job under an id that was used before, with the next epoch."""
    if number in world.runs or world.down:
        return False
    run = Run(world, number, _draw_epoch(world, number), JobPlan(policy, workers, window, first_seq, servers))
    world.start(run)
    world.say(f"job {run.name}", f"added under {policy}, {workers} workers, window {window}")
    return True


@move
def run_again(world: World, number: int, server_lives: bool) -> bool:
    """Workers stop wherever they are and the job starts anew; its packets and rows stay, a PS may live on."""
    old = world.runs.get(number)
    if old is None or world.down:
        return False
    new = Run(world, number, _draw_epoch(world, number), old.plan)
    new.policy, new.placed = old.policy, old.placed
    first = old.servers[0]  # of several, the others are new
    lives = server_lives and first.alive and number not in world.late
    world.end(old)
    world.switch.start_run(old.job, new.job)
    world.take_up(new)
    if lives:
        first.alive = True
        world.late[number] = world.hosts[first.address] = first
    world.say(f"job {new.name}", f"run again, {'its PS has not heard of it' if lives else 'with a new PS'}")
    return True


@move
def tell(world: World, number: int) -> bool:
    """The PS that lives on hears of the new run."""
    old, run = world.late.pop(number, None), world.runs.get(number)
    if old is None or run is None:
        return False
    old.alive = False
    world.hosts[old.address] = run.servers[0]
    world.say(run.servers[0].name, "hears of the new run")
    return True


def _draw_epoch(world: World, number: int) -> int:
    return max(e for n, e in world.truths if n == number) + (1 if world.new_epochs else 0)


@move
def restart(world: World) -> bool:
    world.switch.restart(world.now_ns // US)
    world.down = True
    world.say("switch", "restarted empty")
    return True


@move
def reload(world: World) -> bool:
    if not world.down:
        return False
    world.down = False
    for run in world.runs.values():
        world.install(run)
    world.say("switch", "entries loaded")
    return True


@move
def restart_server(world: World, number: int, which: int = 0) -> bool:
    run = world.runs.get(number)
    if run is None or which >= len(run.servers) or not run.servers[which].alive:
        return False
    run.servers[which].restart()
    world.say(run.servers[which].name, "restarted empty")
    return True


@move
def kill(world: World, name: str) -> bool:
    host = world.by_name.get(name)
    if host is None or not host.alive:
        return False
    host.alive = False
    world.say(name, "dies")
    return True
