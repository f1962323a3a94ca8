"""What an iteration of a model is to a network: buckets, and when each is ready."""

from __future__ import annotations

from functools import lru_cache
from itertools import accumulate, pairwise

from esa.errors import BadInput
from esa.network_times.component import Member
from esa.workloads import DDP_CAP_BYTES, DDP_FIRST_CAP_BYTES, MODELS, Bucket, buckets, profile


@lru_cache
def parts_of(model: str) -> tuple[Bucket, ...]:
    """A model's buckets, as DDP makes them; BadInput for one that is not known."""
    if model not in MODELS:
        raise BadInput(f"model: unknown model '{model}'; allowed: {', '.join(MODELS)}")
    return buckets(profile(model), DDP_CAP_BYTES, DDP_FIRST_CAP_BYTES)


def bytes_of(model: str) -> int:
    """Gradients of an iteration."""
    return sum(part.bytes for part in parts_of(model))


def scaled(part: Bucket, scale: float) -> Bucket:
    """So much of a bucket, in whole lanes."""
    return Bucket(
        max(4, 4 * round(part.bytes * scale / 4)), round(part.forward_ns * scale), round(part.backward_ns * scale)
    )


@lru_cache(maxsize=4096)
def own_parts(member: Member) -> tuple[Bucket, ...]:
    """A job's buckets, with the computing that it says it has shared as the model's is. Earlier passes, whose gradients
    a rank adds up by itself, count as forward.
    """
    parts = parts_of(member.model)
    whole = sum(part.forward_ns + part.backward_ns for part in parts)
    pace = (member.compute_ns - member.before_ns) / whole
    forward, backward = (
        _rounded([pace * getattr(part, name) for part in parts]) for name in ("forward_ns", "backward_ns")
    )
    forward[-1] += member.before_ns
    return tuple(Bucket(part.bytes, f, b) for part, f, b in zip(parts, forward, backward, strict=True))


def _rounded(values: list[float]) -> list[int]:
    """Whole numbers whose running totals are those of the values, rounded."""
    totals = [0, *(round(total) for total in accumulate(values))]
    return [b - a for a, b in pairwise(totals)]


@lru_cache(maxsize=4096)
def ready_s(member: Member) -> tuple[tuple[float, int], ...]:
    """(seconds after the iteration's start, bytes) of each bucket, in the order in which they are sent."""
    parts = own_parts(member)
    at = sum(part.forward_ns for part in parts)
    found = []
    for part in parts:
        at += part.backward_ns
        found.append((at / 1e9, part.bytes))
    return tuple(found)
