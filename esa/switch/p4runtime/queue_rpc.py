"""The one call that P4Runtime has no words for: rates and depths of the ports' queues, beside it on the same address.

    set_queue(channel, rate_pps=1000)                   # of every queue: simple_switch_CLI's set_queue_rate 1000
    set_queue(channel, depth=16, port=1, priority=7)    # of one: set_queue_depth 16 1 7

On the wire it is /esa.switch.Queues/Set, from a google.protobuf.Struct with some of rate_pps, depth, port and priority
to an empty one: a client in any language needs no file of ours.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.struct_pb2 import Struct

from esa.errors import BadInput

if TYPE_CHECKING:
    from esa.switch.runtime.device import Device  # with a compiler, which clients do without

SERVICE, METHOD = "esa.switch.Queues", "Set"
_FIELDS = ("port", "priority", "rate_pps", "depth")
_DEADLINE_S = 120.0  # the first rate makes the switch compile its program


def set_queue(
    channel: grpc.Channel,
    *,
    port: int | None = None,
    priority: int | None = None,
    rate_pps: float | None = None,
    depth: int | None = None,
    timeout_s: float = _DEADLINE_S,
) -> None:
    """Set rate (packets/s, 0: none) and depth (packets) of a queue; None: of all ports, of all queues of a port.

    Raises grpc.RpcError: INVALID_ARGUMENT, with what is allowed.
    """
    given = {"port": port, "priority": priority, "rate_pps": rate_pps, "depth": depth}
    request = Struct()
    request.update({name: value for name, value in given.items() if value is not None})
    call: Callable[..., Struct] = channel.unary_unary(
        f"/{SERVICE}/{METHOD}", request_serializer=Struct.SerializeToString, response_deserializer=Struct.FromString
    )
    call(request, timeout=timeout_s)


def queue_handler(device: Device) -> grpc.GenericRpcHandler:
    """What answers `set_queue` for a device."""

    def answer(request: Struct, context: grpc.ServicerContext) -> Struct:
        try:
            device.set_queue(**_read(dict(request.items())))
        except BadInput as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        return Struct()

    handler = grpc.unary_unary_rpc_method_handler(
        answer, request_deserializer=Struct.FromString, response_serializer=Struct.SerializeToString
    )
    return grpc.method_handlers_generic_handler(SERVICE, {METHOD: handler})


def _read(request: dict[str, Any]) -> dict[str, Any]:
    if unknown := sorted(set(request) - set(_FIELDS)):
        raise BadInput(f"{unknown[0]}: {', '.join(_FIELDS)} are allowed")
    if "rate_pps" not in request and "depth" not in request:
        raise BadInput("rate_pps or depth is missing")
    for name, value in request.items():
        if type(value) is not float or (name != "rate_pps" and not value.is_integer()):
            raise BadInput(f"{name} {value!r}: a {'number' if name == 'rate_pps' else 'whole number'} is allowed")
    return {name: value if name == "rate_pps" else int(value) for name, value in request.items()}
