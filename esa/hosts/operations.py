"""All-reduces in flight: a ring that Python threads put into and the engine takes out of, without a lock between them.

The caller fills an entry, then counts `submitted` up; the engine, in native code, feeds fragments of the oldest
entries to the protocol and drains results into the arrays, in order, and counts `completed` up. Each counter has one
writer. So a submission starts moving without the interpreter lock ever being asked for. Arrays are known by address
here: whoever submits keeps them alive until the operation is complete.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import carray, types
from numba.extending import intrinsic

from esa.native import native
from esa.protocol import WorkerState, worker_drain, worker_feed
from esa.protocol.packets import Records

CAPACITY = 1024

_OPERATION = np.dtype(
    [
        ("source", np.int64),  # address of the lanes
        ("target", np.int64),  # address of the sums; may be the same
        ("source_exponents", np.int64),  # address of one int8 per fragment
        ("target_exponents", np.int64),
        ("lanes", np.int64),
        ("fragments", np.int64),
        ("taken", np.int64),  # fragments fed
        ("given", np.int64),  # fragments drained
        ("priority", np.int64),
        ("first_fed_ns", np.int64),  # when the first fragment was fed, and the last; drained; 0: not yet
        ("last_fed_ns", np.int64),
        ("first_sum_ns", np.int64),
        ("last_sum_ns", np.int64),
    ]
)
_PROGRESS = np.dtype(
    [
        ("submitted", np.int64),  # operations, written by the submitter
        ("closing", np.int64),  # written by whoever closes
        ("fed", np.int64),  # written by the engine, as all below
        ("completed", np.int64),
    ]
)


class Operations(NamedTuple):
    """Operations by number modulo the capacity, and how far they are."""

    operation: Records  # (capacity,)
    progress: Records  # (1,)


def operations() -> Operations:
    return Operations(np.zeros(CAPACITY, _OPERATION), np.zeros(1, _PROGRESS))


def _as_pointer(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))


@intrinsic  # type: ignore[untyped-decorator]
def _int32s(typing_context: Any, address: Any) -> Any:
    """Return an address as a pointer to int32s."""
    return types.CPointer(types.int32)(types.int64), _as_pointer


@intrinsic  # type: ignore[untyped-decorator]
def _int8s(typing_context: Any, address: Any) -> Any:
    """Return an address as a pointer to int8s."""
    return types.CPointer(types.int8)(types.int64), _as_pointer


@native
def feed(operations: Operations, state: WorkerState, now_ns: int) -> None:
    """Hand the protocol as many fragments of the submitted operations as it takes."""
    progress = operations.progress[0]
    while progress["fed"] < progress["submitted"]:
        operation = operations.operation[progress["fed"] % CAPACITY]
        lanes = carray(_int32s(operation["source"]), (operation["lanes"],))
        exponents = carray(_int8s(operation["source_exponents"]), (operation["fragments"],))
        taken = worker_feed(
            state,
            lanes,
            operation["taken"],
            operation["fragments"] - operation["taken"],
            operation["priority"],
            exponents,
        )
        if taken > 0:
            if operation["taken"] == 0:
                operation["first_fed_ns"] = now_ns
            operation["last_fed_ns"] = now_ns
            operation["taken"] += taken
        if operation["taken"] < operation["fragments"]:
            return
        progress["fed"] += 1


@native
def drain(operations: Operations, state: WorkerState, now_ns: int) -> int:
    """Take the results that are there, in order; return how many operations are complete since the start."""
    progress = operations.progress[0]
    while progress["completed"] < progress["submitted"]:
        operation = operations.operation[progress["completed"] % CAPACITY]
        lanes = carray(_int32s(operation["target"]), (operation["lanes"],))
        exponents = carray(_int8s(operation["target_exponents"]), (operation["fragments"],))
        left = operation["fragments"] - operation["given"]
        given = worker_drain(state, lanes, operation["given"], left, exponents)
        if given > 0:
            if operation["given"] == 0:
                operation["first_sum_ns"] = now_ns
            operation["last_sum_ns"] = now_ns
            operation["given"] += given
        if operation["given"] < operation["fragments"]:
            break
        progress["completed"] += 1
    return int(progress["completed"])
