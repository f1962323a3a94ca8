"""[[failures]]: what dies, when, and when it is back."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Literal

from experiments.specs.flows import FlowSpec
from experiments.specs.keys import MAX_TIME_S, Finite, Name, key

SWITCH, PS, HOST = "switch", "ps", "host"

MAX_FAILURES = 1000


class FailureSpec(Finite):
    """A switch, a PS or a host dies, and what it knew is gone. A switch that is back gets its tables from the control
    plane, a PS knows its job and no fragment. With a host every worker and PS on it is gone: their jobs are stopped,
    and go on from the last iteration that all their workers finished; in virtual time on hosts that are up, live, where
    every job has its hosts from the start, on the same, once they are.
    """

    what: Literal["switch", "ps", "host"] = key("what dies")
    name: Name = key(
        "which one",
        allowed="of a switch `switch-0`, with racks `rack-0`, `spine-0` ...; of a PS its job's; of a host its own",
    )
    at_s: float = key("after the start", unit="s", ge=0, le=MAX_TIME_S)
    down_s: float | None = key("for how long", None, absent="for good", unit="s", ge=0, le=MAX_TIME_S)


def check_failures(failures: Iterable[FailureSpec], servers: Collection[str], hosts: Collection[str]) -> None:
    """ValueError, its first word the key, for a PS or a host that there is not. servers: jobs that have one."""
    for i, failure in enumerate(failures):
        there = {PS: servers, HOST: hosts}.get(failure.what)
        if there is not None and failure.name not in there:
            allowed = ", ".join(list(there)[:8]) + (", ..." if len(there) > 8 else "") or "none"
            what = "job with a PS" if failure.what == PS else "host"
            raise ValueError(f"failures[{i}].name: no {what} '{failure.name}'; allowed: {allowed}")


def check_switches(failures: Iterable[FailureSpec], switches: Sequence[str]) -> None:
    """ValueError, its first word the key, for a switch that there is not."""
    for i, failure in enumerate(failures):
        if failure.what == SWITCH and failure.name not in switches:
            allowed = ", ".join(switches[:8]) + (", ..." if len(switches) > 8 else "")
            raise ValueError(f"failures[{i}].name: no switch '{failure.name}'; allowed: {allowed}")


def check_flows(failures: Iterable[FailureSpec], flows: Iterable[FlowSpec]) -> None:
    """ValueError, its first word the key, for a host on which a flow begins or ends."""
    for i, failure in enumerate(failures):
        for flow in flows:
            if failure.what == HOST and failure.name in (flow.source, flow.target):
                what = f"{failure.name} has the flow '{flow.name}'"
                raise ValueError(f"failures[{i}].name: {what}; allowed: without flows")
