"""A process group of the state's own, and what its ranks agree on."""

from __future__ import annotations

import socket
from collections import defaultdict
from datetime import timedelta

import torch.distributed as dist


def world_of(process_group: dist.ProcessGroup | None) -> dist.ProcessGroup:
    """The group itself, or the default one."""
    group = process_group if process_group is not None else dist.group.WORLD
    if group is None:
        raise RuntimeError("EsaState needs a process group: call torch.distributed.init_process_group first")
    return group


def gloo_twin(original: dist.ProcessGroup, timeout: timedelta) -> dist.ProcessGroup:
    """A gloo group with the ranks of `original`, which is left to DDP: two threads must not share one. Collective."""
    ranks = dist.get_process_group_ranks(original)
    # Ranks outside the group, such as another job's, need not take part. The name of a group made that way can come
    # again once the group is destroyed, with the old one's addresses behind it: so a twin lives as long as the world.
    local = len(ranks) < dist.get_world_size()
    twin = dist.new_group(ranks, timeout=timeout, backend="gloo", use_local_synchronization=local)
    if not isinstance(twin, dist.ProcessGroup):
        raise ValueError(f"process_group: this rank is not among its ranks {ranks}")
    return twin


def is_destroyed(group: dist.ProcessGroup) -> bool:
    """Whether `destroy_process_group` has ended it."""
    try:
        dist.get_process_group_ranks(group)
    except (KeyError, ValueError):
        return True
    return False


def agree(problem: str, group: dist.ProcessGroup, kind: type[Exception]) -> None:
    """Raise on every rank, in one line, what any rank has to say. Collective."""
    problems: list[str] = [""] * dist.get_world_size(group)
    mine = problem and f"rank {dist.get_rank(group)} ({socket.gethostname()}): {problem}"
    dist.all_gather_object(problems, mine, group=group)
    found = [text for text in problems if text]
    if found:
        same = {text.partition("): ")[2] for text in found}
        raise kind(f"all ranks: {same.pop()}" if len(same) == 1 and len(found) == len(problems) else "; ".join(found))


def hold_alike(name: str, value: str, group: dist.ProcessGroup, kind: type[Exception]) -> None:
    """Raise on every rank, naming the ranks, unless `value` is the same on all of them. Collective."""
    values: list[str] = [""] * dist.get_world_size(group)
    dist.all_gather_object(values, value, group=group)
    ranks: dict[str, list[str]] = defaultdict(list)
    for rank, each in enumerate(values):
        ranks[each].append(str(rank))
    if len(ranks) > 1:
        differing = "; ".join(
            f"{each} on rank{'s' * (len(who) > 1)} {', '.join(who)}" for each, who in sorted(ranks.items())
        )
        raise kind(f"{name} has to be the same on all ranks: {differing}")
