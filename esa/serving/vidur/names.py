"""Replica schedulers by name."""

from __future__ import annotations

from collections.abc import Mapping

from esa.errors import BadInput
from esa.serving.kv_memory import Blocks
from esa.serving.vidur.base import Limits, ReplicaScheduler
from esa.serving.vidur.paged import LightLlm, Sarathi, Vllm
from esa.serving.vidur.reserving import FasterTransformer, Orca

SCHEDULERS: Mapping[str, type[ReplicaScheduler]] = {
    "faster-transformer": FasterTransformer,
    "orca": Orca,
    "vllm": Vllm,
    "sarathi": Sarathi,
    "lightllm": LightLlm,
}


def replica_scheduler(name: str, blocks: Blocks, limits: Limits) -> ReplicaScheduler:
    """BadInput for one that is not known."""
    if name not in SCHEDULERS:
        raise BadInput(f"scheduler: unknown scheduler '{name}'; allowed: {', '.join(SCHEDULERS)}")
    return SCHEDULERS[name](blocks, limits)
