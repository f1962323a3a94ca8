"""P4Runtime errors, and how they travel in gRPC: one status for a call, one `p4.v1.Error` for each item of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import grpc
from google.protobuf import any_pb2
from google.rpc import status_pb2

from esa.p4runtime import p4runtime_pb2
from esa.switch.errors import DuplicateEntry, EntryInUse, NoSuchEntry, TableError, TableFull

Code = grpc.StatusCode
_MAX_DETAILS_BYTES = 5500  # base64 makes a third more of it, and the message comes on top


class P4RuntimeError(Exception):
    """A request, or one update of a batch, is refused with a canonical code and a message for a person."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


_CODES = {
    DuplicateEntry: Code.ALREADY_EXISTS,
    NoSuchEntry: Code.NOT_FOUND,
    TableFull: Code.RESOURCE_EXHAUSTED,
    EntryInUse: Code.FAILED_PRECONDITION,
}


def refusal(error: TableError) -> P4RuntimeError:
    """The error to raise for what a table or an action profile has refused."""
    return P4RuntimeError(_CODES.get(type(error), Code.INVALID_ARGUMENT), str(error))


def code_number(code: grpc.StatusCode) -> int:
    """Return google.rpc.Code's number."""
    return int(code.value[0])


def abort(context: Any, error: P4RuntimeError) -> NoReturn:
    """End the call with the error's code and message."""
    context.abort(error.code, error.message)
    raise AssertionError("abort raises")


def abort_batch(context: Any, errors: Sequence[P4RuntimeError | None], message: str) -> NoReturn:
    """End a call of which some items failed (None: succeeded): UNKNOWN, with one `p4.v1.Error` per item, in order.

    The details travel in HTTP/2 trailers, of which gRPC takes 8 KiB. Where those of a long batch do not fit, the
    message names the first item that failed.
    """
    details = _details(errors, message)
    if details is None:
        at, first = next((at, error) for at, error in enumerate(errors) if error is not None)
        message += f", too many to name them all; number {at}: {first.code.name}: {first.message[:500]}"
        details = status_pb2.Status(code=code_number(Code.UNKNOWN), message=message)
    context.set_trailing_metadata((("grpc-status-details-bin", details.SerializeToString()),))
    abort(context, P4RuntimeError(Code.UNKNOWN, message))


def _details(errors: Sequence[P4RuntimeError | None], message: str) -> status_pb2.Status | None:
    """The status with its details; None where they are too long."""
    status = status_pb2.Status(code=code_number(Code.UNKNOWN), message=message)
    room = _MAX_DETAILS_BYTES
    for error in errors:
        detail = p4runtime_pb2.Error()
        if error is not None:
            detail.canonical_code = code_number(error.code)
            detail.message = error.message
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
        room -= packed.ByteSize() + 3
        if room < 0:
            return None
    return status
