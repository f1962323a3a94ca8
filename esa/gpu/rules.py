"""Who may launch when: the rules by which tasks share a device, and their parameters.

`fikit` is FIKIT (arXiv 2311.10359): its abstract has task priorities, kernel identities, measured kernels, and kernels
of low priority in the idle time between those of the high-priority task; a public summary has ten queues, the rule's
name BestPrioFit and instant pre-emption. What BestPrioFit compares, `epsilon_ns`, and how many fillers are in flight is
this project's reading; docs/laboratory.md says which. The others are named after the systems whose rule they resemble,
within a model that runs one kernel at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

# What `kind` is.
FIFO, TIME_SLICE, FIKIT, XSCHED, ORION, REEF = range(6)
PENDING = 1024  # launches of a task that may be under way; a host waits before it makes more
US = 1000  # ns


class Rule(NamedTuple):
    """A rule as the simulator takes it; times in ns.

    hook_ns:     what interception adds to the host's work on each launch
    depth:       kernels of a task that may be on the device at a time
    fills:       kernels of others go into predicted gaps
    ahead:       all that fit at once; else the next one when the last is through
    epsilon_ns:  gaps up to this are not filled
    slice_ns, switch_ns: of time slices: how long a task has the device, and what it costs to change
    reset_ns:    what stopping a running kernel costs
    most_sms, most_ns: of ORION's lower tasks: SMs of kernels on the device beside the high-priority task, and time of
                       kernels since they last waited for their own end
    """

    kind: int
    hook_ns: int = 0
    depth: int = PENDING
    fills: int = 0
    ahead: int = 0
    epsilon_ns: int = 0
    slice_ns: int = 0
    switch_ns: int = 0
    reset_ns: int = 0
    most_sms: int = 0
    most_ns: int = 0


def fifo() -> Rule:
    """Every launch to the device at once, which runs them in their order."""
    return Rule(FIFO)


def time_slice(slice_ns: int = 2000 * US, switch_ns: int = 50 * US) -> Rule:
    """What GPUs do by default, as a model: round robin, a slice each, to the end of the kernel; idle tasks pass it on.

    Vendors do not document it: slice and cost are parameters, and what depends on them is a surface.
    """
    return Rule(TIME_SLICE, slice_ns=slice_ns, switch_ns=switch_ns)


def fikit(hook_ns: int = 0, epsilon_ns: int = 100 * US, *, ahead: bool = False, depth: int = PENDING) -> Rule:
    """FIKIT: the task of the highest priority that is active holds the device, others fill its predicted gaps."""
    return Rule(FIKIT, hook_ns=hook_ns, epsilon_ns=epsilon_ns, fills=1, ahead=int(ahead), depth=depth)


def exclusive(hook_ns: int = 0, *, depth: int = PENDING) -> Rule:
    """Priorities without filling: while a request of the highest priority is under way, no other launches."""
    return Rule(FIKIT, hook_ns=hook_ns, depth=depth)


def xsched_like(in_flight: int = 16, hook_ns: int = 0) -> Rule:
    """As XSched's first level with highest priority first: a queue that is ready holds back all below it.

    in_flight: commands of a queue that are on the device and are not taken back, 16 by default there; 1: plain
    priorities of a device that cannot interrupt a kernel.
    """
    return Rule(XSCHED, hook_ns=hook_ns, depth=in_flight)


def orion_like(most_sms: int = 80, most_ns: int = 1000 * US, hook_ns: int = 0) -> Rule:
    """As Orion: one high-priority task launches at once; a kernel of others passes while that has no request, or if its
    profile differs (or is unknown) and there are SMs; after `most_ns` of such kernels they wait for their own end.
    """
    return Rule(ORION, hook_ns=hook_ns, most_sms=most_sms, most_ns=most_ns)


def reef_like(reset_ns: int = 40 * US, in_flight: int = 16, hook_ns: int = 0) -> Rule:
    """As REEF's reset: a launch of higher priority stops the running kernel, which begins anew later."""
    return Rule(REEF, hook_ns=hook_ns, depth=in_flight, reset_ns=reset_ns)


RULES: dict[str, Callable[[], Rule]] = {
    "time-slice": time_slice,
    "fifo": fifo,
    "exclusive": exclusive,
    "priority": lambda: xsched_like(1),
    "xsched-like": xsched_like,
    "orion-like": orion_like,
    "reef-like": reef_like,
    "fikit": fikit,
}
NAMES = tuple(RULES)
