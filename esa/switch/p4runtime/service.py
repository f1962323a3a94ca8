"""The P4Runtime service of one device (P4Runtime 1.4).

device = Device(device_id=1, cpu_port=510)
server = start_server(P4RuntimeServicer(device, Pipeline.load), "127.0.0.1:9559")
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import nullcontext
from itertools import chain, islice
from typing import Any

import grpc

from esa.p4runtime import p4runtime_pb2, p4runtime_pb2_grpc
from esa.switch.p4runtime.arbitration import MAX_SESSIONS, Arbitration, Session
from esa.switch.p4runtime.atomicity import write_all
from esa.switch.p4runtime.forwarding import ForwardingConfig
from esa.switch.p4runtime.notifications import Notifier
from esa.switch.p4runtime.own_p4info import p4info_of
from esa.switch.p4runtime.packet_io import pack_packet_out, unpack_packet_in
from esa.switch.p4runtime.queue_rpc import queue_handler
from esa.switch.p4runtime.status import Code, P4RuntimeError, abort, abort_batch, code_number
from esa.switch.runtime.device import Device

API_VERSION = "1.4.1"
_ENTITIES_PER_RESPONSE = 256
# A compiled program can be larger than gRPC's default of 4 MB.
_MAX_MESSAGE_BYTES = 64 << 20
_SetConfig = p4runtime_pb2.SetForwardingPipelineConfigRequest
_GetConfig = p4runtime_pb2.GetForwardingPipelineConfigRequest
_WITH_CONFIG = (
    _SetConfig.VERIFY,
    _SetConfig.VERIFY_AND_SAVE,
    _SetConfig.VERIFY_AND_COMMIT,
    _SetConfig.RECONCILE_AND_COMMIT,
)


class P4RuntimeServicer:
    """Answers P4Runtime's calls for `device`; `load` turns BMv2 JSON (bytes) into a pipeline."""

    def __init__(self, device: Device, load: Callable[[bytes], Any]) -> None:
        self.device = device
        self._load = load
        self._arbitration = Arbitration(device.device_id)
        # What reads and writes refer to. After VERIFY_AND_SAVE that is not yet the program which packets meet: writes
        # fill its tables, and COMMIT puts it in service with them, which is what replaying them would come to.
        self._config: ForwardingConfig | None = None
        self._in_service: ForwardingConfig | None = None
        self._lock = threading.RLock()
        self._loading = threading.Lock()
        self._begun = threading.Event()
        self._begun.set()
        self._streams = threading.BoundedSemaphore(MAX_SESSIONS)
        device.on_packet_in = self._packet_in
        device.on_port = self._port
        self._notifier = Notifier(self)

    def expect(self) -> None:
        """`begin` will be called: whoever asks for the program or its entries waits for that."""
        self._begun.clear()

    def begin(self, program: bytes) -> None:
        """Put a program in service that no client sent, unless one has sent another by now.

        Raises ValueError where this target cannot run it.
        """
        try:
            self._begin(program)
        finally:
            self._begun.set()

    def _begin(self, program: bytes) -> None:
        with self._loading:
            message = p4runtime_pb2.ForwardingPipelineConfig(p4_device_config=program)
            pipeline = self._load(program)
            message.p4info.CopyFrom(p4info_of(pipeline))
            config = ForwardingConfig(message, lambda _: pipeline, self.device.ports)
            with self._lock:
                if self._config is None:
                    self._config = config
                    self._put_in_service(config)

    # Unary calls. The names are gRPC's.

    def Capabilities(self, request: Any, context: Any) -> Any:  # noqa: N802
        if request.device_id:
            try:
                self._arbitration.check_device(request.device_id)
            except P4RuntimeError as error:
                abort(context, error)
        return p4runtime_pb2.CapabilitiesResponse(p4runtime_api_version=API_VERSION)

    def SetForwardingPipelineConfig(self, request: Any, context: Any) -> Any:  # noqa: N802
        try:
            self._arbitration.check_primary(request)
            # One program is compiled at a time; reads and writes go on meanwhile.
            with self._loading:
                self._set_config(request)
        except P4RuntimeError as error:
            abort(context, error)
        return p4runtime_pb2.SetForwardingPipelineConfigResponse()

    def _set_config(self, request: Any) -> None:
        action = request.action
        if action == _SetConfig.COMMIT:
            self._commit(request)
            return
        if action not in _WITH_CONFIG:
            raise P4RuntimeError(Code.INVALID_ARGUMENT, "the request's action is not set")
        if not request.HasField("config"):
            raise P4RuntimeError(Code.INVALID_ARGUMENT, "the request has no config")
        config = ForwardingConfig(request.config, self._load, self.device.ports)
        if action == _SetConfig.VERIFY:
            return
        with self._lock:
            # Loading takes seconds: by now another client may be primary, and have set a config of its own.
            self._arbitration.check_primary(request)
            if action == _SetConfig.RECONCILE_AND_COMMIT and self._config is not None:
                config.carry_over(self._config, self.device.exclusive)
            self._config = config
            if action != _SetConfig.VERIFY_AND_SAVE:
                self._put_in_service(config)

    def _commit(self, request: Any) -> None:
        if request.HasField("config"):
            raise P4RuntimeError(Code.INVALID_ARGUMENT, "COMMIT takes no config: it puts the saved one in service")
        with self._lock:
            if self._config is None or self._config is self._in_service:
                raise P4RuntimeError(Code.NOT_FOUND, "there is no saved config: VERIFY_AND_SAVE comes first")
            self._put_in_service(self._config)

    def _put_in_service(self, config: ForwardingConfig) -> None:
        self._in_service = config
        self.device.pipeline = config.pipeline
        if config.notifies:
            self._notifier.start()

    def notify(self) -> None:
        """Send the primary clients what the data plane has for them now."""
        with self._lock:
            config = self._in_service
            if config is None or not config.notifies:
                return
            messages = config.notifications(time.monotonic_ns(), self.device.exclusive)
        for message in messages:
            message_kind = getattr(message, message.WhichOneof("update"))
            message_kind.timestamp = time.time_ns()
            self._arbitration.send_to_primaries(message)

    def GetForwardingPipelineConfig(self, request: Any, context: Any) -> Any:  # noqa: N802
        response = p4runtime_pb2.GetForwardingPipelineConfigResponse()
        try:
            self._arbitration.check_device(request.device_id)
        except P4RuntimeError as error:
            abort(context, error)
        self._begun.wait()
        with self._lock:
            config = self._config
        if config is None:
            return response
        response.config.SetInParent()
        if config.message.HasField("cookie"):
            response.config.cookie.CopyFrom(config.message.cookie)
        if request.response_type in (_GetConfig.ALL, _GetConfig.P4INFO_AND_COOKIE):
            response.config.p4info.CopyFrom(config.message.p4info)
        if request.response_type in (_GetConfig.ALL, _GetConfig.DEVICE_CONFIG_AND_COOKIE):
            response.config.p4_device_config = config.message.p4_device_config
        return response

    def Write(self, request: Any, context: Any) -> Any:  # noqa: N802
        errors: list[P4RuntimeError | None] = []
        try:
            self._arbitration.check_primary(request)
            self._begun.wait()
            with self._lock:
                config = self._require_config()
                _check_atomicity(request.atomicity)
                if request.atomicity == p4runtime_pb2.WriteRequest.CONTINUE_ON_ERROR:
                    for update in request.updates:
                        errors.append(self._write_one(config, update))
                else:
                    errors += self._write_all(config, request)
        except P4RuntimeError as error:
            abort(context, error)
        if any(errors):
            abort_batch(context, errors, f"{sum(map(bool, errors))} of {len(errors)} updates failed")
        return p4runtime_pb2.WriteResponse()

    def _write_one(self, config: ForwardingConfig, update: Any) -> P4RuntimeError | None:
        # Update by update: a long batch must not keep packets waiting for all of it.
        try:
            config.write(update, self.device.exclusive())
        except P4RuntimeError as error:
            return error
        return None

    def _write_all(self, config: ForwardingConfig, request: Any) -> list[P4RuntimeError | None]:
        """Carry out a batch whole or not at all; packets meet none of it before all where that is asked for."""
        if request.atomicity == p4runtime_pb2.WriteRequest.DATAPLANE_ATOMIC:
            return write_all(config, request.updates, self.device.exclusive(), nullcontext)
        return write_all(config, request.updates, nullcontext(), self.device.exclusive)

    def Read(self, request: Any, context: Any) -> Iterator[Any]:  # noqa: N802
        errors: list[P4RuntimeError | None] = []
        found: list[Iterator[Any]] = []
        try:
            self._arbitration.check_device(request.device_id)
            self._begun.wait()
            with self._lock:
                config = self._require_config()
                for entity in request.entities:
                    try:
                        found.append(config.read(entity, self.device.exclusive))
                        errors.append(None)
                    except P4RuntimeError as error:
                        errors.append(error)
        except P4RuntimeError as error:
            abort(context, error)
        # Everything is copied by now: a slow client holds nothing up.
        entities = chain.from_iterable(found)
        while some := list(islice(entities, _ENTITIES_PER_RESPONSE)):
            yield p4runtime_pb2.ReadResponse(entities=some)
        if any(errors):
            abort_batch(context, errors, f"{sum(map(bool, errors))} of {len(errors)} reads failed")

    def _require_config(self) -> ForwardingConfig:
        if self._config is None:
            raise P4RuntimeError(Code.FAILED_PRECONDITION, "no forwarding pipeline config is set for this device")
        return self._config

    # The stream.

    def StreamChannel(self, request_iterator: Any, context: Any) -> Iterator[Any]:  # noqa: N802
        # A stream keeps a thread for as long as it lives, also one that never says who it is.
        if not self._streams.acquire(blocking=False):
            abort(context, P4RuntimeError(Code.RESOURCE_EXHAUSTED, f"{MAX_SESSIONS} clients are connected already"))
        try:
            yield from self._stream(request_iterator, context)
        finally:
            self._streams.release()

    def _stream(self, request_iterator: Any, context: Any) -> Iterator[Any]:
        session = Session()
        context.add_callback(lambda: session.outbox.put(None))
        reader = threading.Thread(target=self._read_stream, args=(session, request_iterator), daemon=True)
        reader.start()
        try:
            while (message := session.outbox.get()) is not None:
                yield message
        finally:
            self._arbitration.remove(session)
        if session.error is not None:
            abort(context, session.error)

    def _read_stream(self, session: Session, requests: Any) -> None:
        try:
            for request in requests:
                kind = request.WhichOneof("update")
                if kind == "arbitration":
                    self._arbitration.update(session, request.arbitration)
                else:
                    self._stream_request(session, kind, request)
        except P4RuntimeError as error:
            session.error = error
        except grpc.RpcError:
            # The client went away.
            pass
        finally:
            session.outbox.put(None)

    def _stream_request(self, session: Session, kind: str | None, request: Any) -> None:
        try:
            if kind == "packet":
                self._packet_out(session, request.packet)
            elif kind == "digest_ack":
                self._digest_ack(session, request.digest_ack)
            else:
                raise P4RuntimeError(Code.UNIMPLEMENTED, f"stream messages of kind {kind} are not supported")
        except P4RuntimeError as error:
            response = p4runtime_pb2.StreamMessageResponse()
            response.error.canonical_code = code_number(error.code)
            response.error.message = error.message
            if kind == "packet":
                response.error.packet_out.packet_out.CopyFrom(request.packet)
            elif kind == "digest_ack":
                response.error.digest_list_ack.digest_list_ack.CopyFrom(request.digest_ack)
            else:
                response.error.other.SetInParent()
            session.outbox.put(response)

    def _digest_ack(self, session: Session, ack: Any) -> None:
        if not self._arbitration.is_primary(session):
            raise P4RuntimeError(Code.PERMISSION_DENIED, "only the primary client may acknowledge digests")
        with self._lock:
            config = self._in_service
            if config is None:
                raise P4RuntimeError(Code.FAILED_PRECONDITION, "no forwarding pipeline config is set for this device")
            config.info.digest(ack.digest_id).acknowledge(ack.list_id)

    def _packet_out(self, session: Session, packet: Any) -> None:
        if not self._arbitration.is_primary(session):
            raise P4RuntimeError(Code.PERMISSION_DENIED, "only the primary client may send packets")
        if self.device.cpu_port is None:
            raise P4RuntimeError(Code.FAILED_PRECONDITION, "this switch was started without a CPU port (--cpu-port)")
        config = self._in_service
        if config is None:
            raise P4RuntimeError(Code.FAILED_PRECONDITION, "no forwarding pipeline config is set for this device")
        self.device.on_packet_out(pack_packet_out(config.info.packet_out, packet))

    def _port(self, port: int) -> None:
        """Tell the programs that a port went up or down."""
        with self._lock:
            for config in {self._config, self._in_service} - {None}:
                assert config is not None
                with self.device.exclusive():
                    config.port_changed(port)

    def _packet_in(self, packet: bytes) -> None:
        """Send on to the primary clients what left at the CPU port."""
        config = self._in_service
        message = unpack_packet_in(config.info.packet_in, packet) if config is not None else None
        if message is not None:
            self._arbitration.send_to_primaries(p4runtime_pb2.StreamMessageResponse(packet=message))


def _check_atomicity(atomicity: int) -> None:
    if atomicity not in p4runtime_pb2.WriteRequest.Atomicity.values():
        raise P4RuntimeError(Code.INVALID_ARGUMENT, f"there is no atomicity {atomicity}")


class BindError(OSError):
    """The server's address cannot be had."""


def start_server(
    servicer: P4RuntimeServicer, address: str, credentials: grpc.ServerCredentials | None = None
) -> tuple[grpc.Server, int]:
    """Start serving at `address` (HOST:PORT, port 0: the system chooses; or unix:PATH); returns server and port.

    With `credentials` over TLS. Raises BindError naming the address.
    """
    # A stream occupies its thread for as long as it lives.
    executor = futures.ThreadPoolExecutor(max_workers=MAX_SESSIONS + 16, thread_name_prefix="p4runtime")
    server = grpc.server(
        executor,
        options=(
            # Else a second switch would silently share the first one's port.
            ("grpc.so_reuseport", 0),
            ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
            ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
        ),
    )
    p4runtime_pb2_grpc.add_P4RuntimeServicer_to_server(servicer, server)
    server.add_generic_rpc_handlers((queue_handler(servicer.device),))
    try:
        if credentials is None:
            port = server.add_insecure_port(address)
        else:
            port = server.add_secure_port(address, credentials)
    except RuntimeError:
        port = 0
    if port == 0:
        raise BindError(f"cannot serve P4Runtime at {address}: the address is in use, or not one of this machine's")
    server.start()
    return server, port
