"""Which rows a job may use: one pool that jobs share, or a slice of its own.

Shared pools may overlap each other (that is what they are for); a slice overlaps nothing. Release on reuse needs two
windows: a worker sends seq + window as soon as it has seq, so a row is free again only two windows later.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from esa.errors import BadInput
from esa.job import Pool
from esa.policy import Policy


class Claim(NamedTuple):
    """Rows that a job has or wants; `kind` is that of its policy: "shared", "slice" or "none"."""

    name: str
    kind: str
    pool: Pool


def rows_text(pool: Pool) -> str:
    return f"rows {pool.base}..{pool.base + pool.size - 1}"


def slice_size(window: int) -> int:
    """Rows of a slice: two windows, rounded up to a power of two."""
    return 1 << (2 * window - 1).bit_length()


def check(claim: Claim, others: Iterable[Claim], rows: int, window: int | None = None) -> None:
    """Refuse a claim beyond the switch's `rows`, on another's slice, or as a slice smaller than two windows."""
    if claim.kind == "none":
        return
    if claim.pool.base + claim.pool.size > rows:
        raise BadInput(f"pool: job {claim.name}: {rows_text(claim.pool)} exceed the switch's {rows} rows")
    if claim.kind == "slice" and window is not None and claim.pool.size < slice_size(window):
        raise BadInput(
            f"pool: job {claim.name}: a slice of {claim.pool.size} rows is too small:"
            f" a window of {window} needs {slice_size(window)}"
        )
    for other in others:
        if claim.kind == other.kind == "shared" or other.kind == "none":
            continue
        if _overlap(claim.pool, other.pool):
            raise BadInput(
                f"pool: job {claim.name}: {claim.kind} {rows_text(claim.pool)} overlap"
                f" {other.kind} {rows_text(other.pool)} of job {other.name}"
            )


def allocate(name: str, policy: Policy, window: int, others: Sequence[Claim], rows: int) -> Pool:
    """Rows for one more job: the pool that jobs share already, or the largest free one; or the highest free slice."""
    if policy.pool == "none":
        return Pool(base=0, size=1)
    if policy.pool == "slice":
        size = slice_size(window)
        taken = others
    else:
        shared = [other for other in others if other.kind == "shared"]
        if shared:
            return max((other.pool for other in shared), key=lambda pool: pool.size)
        size = _power_of_two_within(rows)
        taken = [other for other in others if other.kind == "slice"]
    taken = [other for other in taken if other.kind != "none"]
    while size:
        bases = range(0, rows - size + 1, size)
        # Slices fill the memory from the top, which leaves the largest pool to share at the bottom.
        for base in reversed(bases) if policy.pool == "slice" else bases:
            pool = Pool(base=base, size=size)
            if not any(_overlap(pool, other.pool) for other in taken):
                return pool
        size = 0 if policy.pool == "slice" else size // 2
    holders = ", ".join(f"{rows_text(other.pool)} of job {other.name}" for other in taken) or "none taken"
    wanted = f"a slice of {slice_size(window)} rows" if policy.pool == "slice" else "a pool to share"
    raise BadInput(f"pool: job {name}: no room for {wanted} in {rows} rows ({holders})")


def plan(requests: Sequence[tuple[str, Policy, int]], rows: int) -> list[Pool]:
    """Pools for several new jobs of one switch, each (name, policy, window): slices first, then the pool to share."""
    pools: dict[int, Pool] = {}
    claims: list[Claim] = []
    for kind in ("slice", "shared", "none"):
        for position, (name, policy, window) in enumerate(requests):
            if policy.pool == kind:
                pools[position] = allocate(name, policy, window, claims, rows)
                claims.append(Claim(name, kind, pools[position]))
    return [pools[position] for position in range(len(requests))]


def _overlap(a: Pool, b: Pool) -> bool:
    return a.base < b.base + b.size and b.base < a.base + a.size


def _power_of_two_within(rows: int) -> int:
    return 1 << (rows.bit_length() - 1)
