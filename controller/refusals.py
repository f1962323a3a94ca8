"""What gRPC and P4Runtime answer instead, as this project's errors: one line for a person, the data for a program."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import grpc
from google.rpc import code_pb2, status_pb2

from controller.messages import Item, Messages
from esa.errors import AlreadyExists, NotPrimary, Refused, RefusedItem, SwitchError, Unreachable
from esa.p4runtime import p4runtime_pb2


def of_write(error: grpc.RpcError, items: Sequence[Item], messages: Messages) -> Refused:
    """Return the error of a write of `items`: which the switch did not take, and why; the others are done."""
    refused: list[RefusedItem] = []
    metadata: Any = error.trailing_metadata() or ()
    for key, value in metadata:
        if key == "grpc-status-details-bin":
            for item, detail in zip(items, status_pb2.Status.FromString(value).details, strict=False):
                problem = p4runtime_pb2.Error()
                detail.Unpack(problem)
                if problem.canonical_code != code_pb2.OK:
                    refused.append(RefusedItem(item, code_pb2.Code.Name(problem.canonical_code), problem.message))
    code, details = error.code().name, one_line(error.details())
    said: dict[str, Any] = {"code": code, "details": details, "address": messages.address}
    if not refused:
        return Refused(f"the switch refused the write: {error.details() or 'no reason given'}", **said)
    first = f"{messages.describe(refused[0].item)}: {refused[0].code}: {refused[0].message}"
    more = f" (and {len(refused) - 1} more)" if len(refused) > 1 else ""
    kind = AlreadyExists if all(item.code == "ALREADY_EXISTS" for item in refused) else Refused
    return kind(f"the switch refused {first}{more}", items=tuple(refused), **said)


def of_call(error: grpc.RpcError, address: str, device_id: int) -> SwitchError:
    """Return the error of any other call."""
    code, details = error.code(), one_line(error.details())
    said: dict[str, Any] = {"code": code.name, "details": details, "address": address}
    if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED):
        return Unreachable(f"the switch at {address} does not answer: {details}", **said)
    if code == grpc.StatusCode.PERMISSION_DENIED:
        return NotPrimary(f"not primary: the switch at {address} takes no writes from us: {details}", **said)
    if code == grpc.StatusCode.FAILED_PRECONDITION:
        return no_program(address, device_id, details)
    text = f"the switch at {address} (device {device_id}) refused: {code.name}: {details}"
    return Refused(text, **said)


def no_program(address: str, device_id: int, details: str | None = None) -> Refused:
    """Return the error of a switch that runs no program."""
    text = f"the switch at {address} (device {device_id}) runs no program: load one first (esactl load)"
    return Refused(text, code="FAILED_PRECONDITION", details=details, address=address)


def one_line(details: str | None) -> str:
    """Return what gRPC says of a call, in one line."""
    return " ".join((details or "no reason given").split())
