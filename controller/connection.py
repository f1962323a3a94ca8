"""A P4Runtime client's connection: gRPC channel, stub, and the stream on which it asks to be primary."""

from __future__ import annotations

import queue
import threading
import time
from pathlib import Path
from typing import Any

import grpc
from google.rpc import code_pb2

from controller.tls import Tls
from esa.errors import Unreachable
from esa.p4runtime import p4runtime_pb2, p4runtime_pb2_grpc

RPC_TIMEOUT_S = 10.0
CLOSE_S = 2.0


class Connection:
    """The calls of one device at HOST:PORT or unix:PATH, which nobody need serve yet.

    Reading needs no arbitration, so the stream is opened by the first write only. The receiving thread never keeps a
    process alive.
    """

    def __init__(self, address: str, device_id: int, tls: Tls | None) -> None:
        self.device_id = device_id
        self.election_id = (0, 0)  # (high, low): what we last asked with
        self.closed = False
        self._channel = _channel(address, tls)
        self.stub = p4runtime_pb2_grpc.P4RuntimeStub(self._channel)
        self._stream: Any = None
        self._requests: queue.Queue[Any]
        self._replies: queue.Queue[Any]

    def arbitrate(self, election_id: tuple[int, int]) -> tuple[bool, tuple[int, int]]:
        """Ask to be primary; return whether we are, and the primary's election id. Unreachable, grpc.RpcError."""
        self.election_id = election_id
        if self._stream is None or not self._stream.is_active():
            self._open_stream()
        while not self._replies.empty():  # news of earlier elections
            self._replies.get()
        request = p4runtime_pb2.StreamMessageRequest()
        request.arbitration.device_id = self.device_id
        request.arbitration.election_id.high, request.arbitration.election_id.low = election_id
        self._requests.put(request)
        deadline = time.monotonic() + RPC_TIMEOUT_S
        while True:
            try:
                reply = self._replies.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise Unreachable("the switch does not answer the arbitration") from None
            if isinstance(reply, grpc.RpcError):
                if reply.code() == grpc.StatusCode.INVALID_ARGUMENT:  # somebody has this very id
                    return False, election_id
                raise reply
            primary = reply.arbitration.election_id.high, reply.arbitration.election_id.low
            if reply.arbitration.status.code == code_pb2.OK:
                return True, primary
            if primary >= election_id:
                return False, primary

    def _open_stream(self) -> None:
        # The receiving thread keeps its own queue, so the end of an old stream cannot disturb a new one.
        requests: queue.Queue[Any] = queue.Queue()
        replies: queue.Queue[Any] = queue.Queue()
        self._requests, self._replies = requests, replies
        self._stream = stream = self.stub.StreamChannel(iter(requests.get, None))

        def receive() -> None:
            try:
                for message in stream:
                    if message.HasField("arbitration"):
                        replies.put(message)
            except grpc.RpcError as error:
                replies.put(error)

        threading.Thread(target=receive, name="p4runtime-stream", daemon=True).start()

    def close(self) -> None:
        self.closed = True  # calls that are under way in other threads are cancelled
        if self._stream is not None:
            self._requests.put(None)
            self._stream.cancel()
        # It waits for all calls to end, and an interrupt between the lines of gRPC leaves one that nobody ever ends.
        closing = threading.Thread(target=self._channel.close, name="p4runtime-close", daemon=True)
        closing.start()
        closing.join(CLOSE_S)


def _channel(address: str, tls: Tls | None) -> grpc.Channel:
    if tls is None:
        return grpc.insecure_channel(address)
    credentials = grpc.ssl_channel_credentials(_content(tls.cacert), _content(tls.key), _content(tls.cert))
    return grpc.secure_channel(address, credentials)


def _content(path: Path | None) -> bytes | None:
    return None if path is None else path.read_bytes()
