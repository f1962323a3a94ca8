"""The running switch as the commands see it: its program, one write at a time, reads."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable
from typing import Any, TypeVar

import grpc
from google.rpc import status_pb2

from esa.errors import BadInput
from esa.p4runtime import p4runtime_pb2, p4runtime_pb2_grpc
from esa.switch.p4runtime.queue_rpc import set_queue

# A role of its own: a controller that is primary stays so, as it does beside simple_switch_CLI.
ROLE = "esa-switch-cli"
INSERT, MODIFY, DELETE = (getattr(p4runtime_pb2.Update, name) for name in ("INSERT", "MODIFY", "DELETE"))
_CALL_LIMIT_S = 60.0
_LOAD_LIMIT_S = 300.0
_MAX_MESSAGE_BYTES = 64 << 20
_ATTEMPTS = 5  # against another that becomes primary of the role at the same time
_SetConfig = p4runtime_pb2.SetForwardingPipelineConfigRequest
Result = TypeVar("Result")


class CommandError(BadInput):
    """A command cannot be carried out; the message says why, and what is allowed."""


class SwitchClient:
    """A switch at HOST:PORT or unix:PATH. Reads at any time, becomes primary of its role when it first writes.

    `credentials`: of gRPC, for a switch that speaks TLS.
    """

    def __init__(self, address: str, device_id: int = 0, credentials: grpc.ChannelCredentials | None = None) -> None:
        self.address = address
        self._device_id = device_id
        sizes = [(f"grpc.max_{way}_message_length", _MAX_MESSAGE_BYTES) for way in ("receive", "send")]
        if credentials is None:
            self._channel = grpc.insecure_channel(address, sizes)
        else:
            self._channel = grpc.secure_channel(address, credentials, sizes)
        self._stub = p4runtime_pb2_grpc.P4RuntimeStub(self._channel)
        self._requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._answers: Any = None
        self._election_id = 0

    def close(self) -> None:
        """End the stream and the connection."""
        self._requests.put(None)
        self._channel.close()

    def config(self) -> Any:
        """The switch's ForwardingPipelineConfig; CommandError if it has none, or does not answer."""
        request = p4runtime_pb2.GetForwardingPipelineConfigRequest(device_id=self._device_id)
        response = self._call(lambda: self._stub.GetForwardingPipelineConfig(request, timeout=_LOAD_LIMIT_S))
        if not response.HasField("config"):
            raise CommandError(f"the switch at {self.address} has no program yet: start it with one, or push one first")
        return response.config

    def read(self, entity: Any) -> list[Any]:
        """The entities that match one."""
        request = p4runtime_pb2.ReadRequest(device_id=self._device_id, entities=[entity])
        responses = self._call(lambda: list(self._stub.Read(request, timeout=_CALL_LIMIT_S)))
        return [found for response in responses for found in response.entities]

    def write(self, kind: int, entity: Any) -> None:
        """Carry out one update (INSERT, MODIFY, DELETE)."""
        request = p4runtime_pb2.WriteRequest(device_id=self._device_id, role=ROLE)
        request.updates.add(type=kind, entity=entity)
        self._as_primary(request, lambda: self._stub.Write(request, timeout=_CALL_LIMIT_S))

    def set_queue(self, **change: int) -> None:
        """Set rate_pps or depth of queues; see `queue_rpc.set_queue`."""
        self._call(lambda: set_queue(self._channel, **change))

    def reset(self) -> None:
        """Load the program that runs anew: whatever tables, registers and groups hold is gone."""
        request = _SetConfig(device_id=self._device_id, role=ROLE, action=_SetConfig.VERIFY_AND_COMMIT)
        request.config.CopyFrom(self.config())
        self._as_primary(request, lambda: self._stub.SetForwardingPipelineConfig(request, timeout=_LOAD_LIMIT_S))

    def _as_primary(self, request: Any, send: Callable[[], Any]) -> None:
        for attempt in range(_ATTEMPTS):
            if not self._election_id:
                self._become_primary()
            request.election_id.low = self._election_id
            try:
                send()
                return
            except grpc.RpcError as error:
                if error.code() != grpc.StatusCode.PERMISSION_DENIED or attempt == _ATTEMPTS - 1:
                    raise CommandError(_reason(error, self.address)) from None
                self._election_id = 0

    def _become_primary(self) -> None:
        if self._answers is None:
            self._answers = self._stub.StreamChannel(iter(self._requests.get, None))
        self._election_id = time.time_ns()
        request = p4runtime_pb2.StreamMessageRequest()
        request.arbitration.device_id, request.arbitration.role.name = self._device_id, ROLE
        request.arbitration.election_id.low = self._election_id
        self._requests.put(request)

        def answer() -> None:
            for message in self._answers:
                if message.HasField("arbitration"):
                    return

        self._call(answer)

    def _call(self, send: Callable[[], Result]) -> Result:
        try:
            return send()
        except grpc.RpcError as error:
            raise CommandError(_reason(error, self.address)) from None


def _reason(error: Any, address: str) -> str:
    """What the switch says of a call that failed; of an update or a read the words about that alone."""
    if error.code() == grpc.StatusCode.UNAVAILABLE:
        why = " ".join(str(error.details()).split()).rpartition("Failed to connect to remote host: ")[2]
        return f"no switch answers at {address}: {why}"
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            for detail in status_pb2.Status.FromString(value).details:
                item = p4runtime_pb2.Error()
                if detail.Unpack(item) and item.canonical_code:
                    return str(item.message)
    return str(error.details())
