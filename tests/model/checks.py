"""The invariants: what every sum, every row, every packet that leaves the switch and every end must be.

What is wrong raises `RuleError`, with the short name of the rule.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

from tests.model import truth
from tests.model.rows import KEPT, Header, Row, Switch, rule

if TYPE_CHECKING:
    from tests.model.hosts import Run, WorkerHost


class RuleError(AssertionError):
    """An invariant does not hold; `rule` is a short name of which."""

    def __init__(self, rule: str, what: str):
        super().__init__(f"{rule}: {what}")
        self.rule = rule


def check_sum(rule: str, what: str, run: Run, seq: int, bitmap: int, found: bytes, exponent: int) -> None:
    """`found` is the sum over exactly the workers of `bitmap`, and `exponent` the largest of theirs."""
    lanes = run.world.plan.lanes
    name = f"{what} of {run.name}, seq {run.relative(seq)}, workers {bitmap:b}"
    if not 0 <= run.relative(seq) < run.fragments or bitmap & ~run.full or not bitmap:
        raise RuleError(rule, f"{name}: nobody sent that")
    if found != truth.sum_bytes(*run.truth, seq, bitmap, lanes):
        raise RuleError(rule, f"{name}: has {truth.decode(*run.truth, seq, found)}")
    if exponent != truth.merged_exponent(*run.truth, seq, bitmap):
        raise RuleError(rule, f"{name}: has exponent {exponent}")


def judge(
    switch: Switch,
    label: str,
    header: Header,
    slot: int | None,
    row: Row | None,
    left: dict[str, bytes],
    now_us: int,
) -> str:
    """Compare what the switch did with the rule; return its name. left: label and frame of what left the switch."""
    known = switch.jobs.get((header.job, header.epoch))
    kinds = Counter(Header.of(frame).kind for frame in left.values())
    if known is None:
        if left:
            raise RuleError("admission", f"{label}: its job is not in the switch, and it left as {list(left)}")
        return "denied"
    if slot is None or row is None:
        return "passed through"
    after = switch.row(slot)
    owner_known = row.owner[:2] in switch.jobs
    swapped = after.owner == (header.job, header.epoch, header.seq) and row.owner != after.owner
    must = rule(row, header, known[1], now_us, owner_known, swapped)
    expected = Counter({must.out[0]: must.out[1]}) if must.out else Counter()
    empty = after.bitmap == must.row.bitmap == 0 and not (after.flags | must.row.flags) & KEPT
    same_row = after == must.row or empty
    if not same_row or kinds != expected:
        raise RuleError(
            "the rule for a row",
            f"{label} met {row}: {must.verdict} makes it {must.row} and sends {must.out};"
            f" the switch made it {after} and sent {list(left)}",
        )
    return must.verdict


def check_row(switch: Switch, slot: int, runs: Mapping[tuple[int, int], Run]) -> None:
    """What a row has is the sum over its bitmap, or over everybody if it keeps a sum."""
    row = switch.row(slot)
    kept = bool(row.flags & KEPT)
    if row.bitmap and kept:
        raise RuleError("kept rows are free", f"row {slot} is taken and says that it keeps a sum: {row}")
    if row.bitmap or kept:
        run = runs[row.owner[:2]]
        found = switch.row_lanes(slot)
        check_sum("exactly once", f"row {slot}", run, row.owner[2], row.bitmap or run.full, found, row.exponent)


def check_end(run: Run) -> None:
    """Every rank alive has every sum, or names who is dead; the PS has nothing open."""
    run.count()
    for worker in run.workers:
        if worker.alive and not worker.failed and worker.drained < run.fragments:
            raise RuleError("every all-reduce ends", f"{worker.name} lacks fragment {worker.drained} and is silent")
        if worker.failed:
            _check_names_the_dead(worker)
    for server in run.servers:
        server.check_all()
        if not run.crippled and not server.idle:
            raise RuleError("every all-reduce ends", f"{server.name} has open fragments and is silent")


def _check_names_the_dead(worker: WorkerHost) -> None:
    run = worker.run
    dead = sum(1 << w.rank for w in run.workers if not w.alive)
    if not all(server.alive for server in run.servers) or not dead:
        return
    named = worker.error_names or 0
    if named & ~dead or not named:
        raise RuleError("an error names ranks", f"{worker.name} names {named:b}, dead are {dead:b}")
