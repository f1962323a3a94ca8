"""A process group of the state's own."""

from __future__ import annotations

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
