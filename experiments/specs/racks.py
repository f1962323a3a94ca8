"""Which racks a job's hosts may be in, live and in virtual time."""

from __future__ import annotations

from collections.abc import Sequence

from esa.policy import policy


def aggregates(policy_name: str, has_server: bool) -> bool:
    """Whether switches add for a job of this policy."""
    return has_server and policy(policy_name).pool != "none"


def check_racks(racks: Sequence[int], policy_name: str, has_server: bool) -> None:
    """ValueError, its first word the job's key, unless switches can add for workers and then a PS in these racks."""
    of_workers = racks[:-1]
    if any(of_workers[k] != of_workers[k - 1] and of_workers[k] in of_workers[:k] for k in range(1, len(of_workers))):
        raise ValueError(f"hosts: workers in racks {', '.join(map(str, of_workers))}; allowed: rack by rack")
    if len(set(of_workers)) > 1 and racks[-1] in of_workers and aggregates(policy_name, has_server):
        raise ValueError(
            f"hosts: the PS in rack {racks[-1]}; allowed: a rack without the job's workers, which fill several"
        )
