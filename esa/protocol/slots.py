"""A row for each slot of the window, as ATP has it: where a slot's fragments aggregate, and where after a collision.

Slot s is that of the seqs s, s + slots, s + 2 slots, ...: a worker sends one only with the result of the one before in
hand, and that result says, in the upper half of its index, in which row the next one aggregates: the same, or after a
collision one that the PS drew, which no slot of the job was ever in. So workers that have the result agree on the row.

A job's rows are numbered by an affine bijection (`wire.aggregator_index` of small numbers, cut to 16 bits): the slots
start in the first, the PS draws those behind them, in order, and none any more when each was used once.

From the released code (in-ATP/ATP ddca27f): the slots' rows, `hash_map`, in client/p4ml_manager.cc; the shuffled list
in common/HashTable.cc (`HashNew_predefine`); drawing and telling in server/ParameterServer.cc, where the result's
length field carries the row.
"""

from __future__ import annotations

from typing import Any

from esa.native import native_uncounted as native

_ROW = 0xFFFF  # the index of a slot has two halves: the row of its fragment, and that of its next


@native
def nth_row(job: Any, n: int) -> int:
    """Return the n-th row of a job, a worker's or a PS's record; for n below the rows of a pool all are others."""
    return int((n * job["multiplier"] + job["salt"]) & _ROW)


@native
def slot_index(row: int, next_row: int) -> int:
    """Return the index of a fragment in `row` whose slot is in `next_row` from then on."""
    return row | next_row << 16


@native
def row_of(index: int) -> int:
    return int(index & _ROW)


@native
def next_row_of(index: int) -> int:
    return int(index >> 16 & _ROW)
