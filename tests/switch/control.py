"""A P4Runtime client as bare as can be, and the updates and requests that the tests make with it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import grpc
from google.protobuf import text_format
from google.rpc import status_pb2

from esa.p4runtime import p4info_pb2, p4runtime_pb2_grpc
from esa.p4runtime import p4runtime_pb2 as p4
from esa.switch.p4runtime.service import start_server

PROGRAMS = Path(__file__).parent / "programs"
SetConfig = p4.SetForwardingPipelineConfigRequest


def p4info(name: str = "control_plane") -> p4info_pb2.P4Info:
    copy = p4info_pb2.P4Info()
    copy.CopyFrom(_parsed((PROGRAMS / f"{name}.p4info.txt").read_text()))
    return copy


@cache
def _parsed(text: str) -> p4info_pb2.P4Info:
    return text_format.Parse(text, p4info_pb2.P4Info())


def config(name: str = "control_plane", cookie: int | None = None) -> p4.ForwardingPipelineConfig:
    message = p4.ForwardingPipelineConfig(
        p4info=p4info(name), p4_device_config=(PROGRAMS / f"{name}.json").read_bytes()
    )
    if cookie is not None:
        message.cookie.cookie = cookie
    return message


class Ids:
    """Ids by alias, as P4Info has them: ids.table("exact_dst")."""

    def __init__(self, info: p4info_pb2.P4Info) -> None:
        self._info = info

    def __getattr__(self, kind: str):
        return lambda alias: next(
            each.preamble.id for each in getattr(self._info, f"{kind}s") if each.preamble.alias == alias
        )


IDS = Ids(p4info())


class Client:
    """One channel and one stream to a server; `election_id` None sends none."""

    def __init__(self, where: int | str, *, device_id: int = 1, role: str = "", credentials=None) -> None:
        """`where`: a port on this machine, or gRPC's unix:PATH."""
        host = "localhost" if credentials is not None else "127.0.0.1"
        target = where if isinstance(where, str) else f"{host}:{where}"
        self.channel = (
            grpc.secure_channel(target, credentials) if credentials is not None else grpc.insecure_channel(target)
        )
        self.stub = p4runtime_pb2_grpc.P4RuntimeStub(self.channel)
        self.where, self.device_id, self.role = where, device_id, role
        self.election_id: int | None = None
        self._out: queue.Queue = queue.Queue()
        self._in: queue.Queue = queue.Queue()
        self._stream = None

    def close(self) -> None:
        if self._stream is not None:
            self._out.put(None)
            self._reader.join(10)
        self.channel.close()

    def open(self) -> None:
        self._stream = self.stub.StreamChannel(iter(self._out.get, None))
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        try:
            for message in self._stream:
                self._in.put(message)
        except grpc.RpcError as error:
            self._in.put(error)

    def send(self, message: p4.StreamMessageRequest) -> None:
        if self._stream is None:
            self.open()
        self._out.put(message)

    def receive(self, timeout: float = 5):
        return self._in.get(timeout=timeout)

    def nothing(self, timeout: float = 0.3) -> bool:
        try:
            self._in.get(timeout=timeout)
        except queue.Empty:
            return True
        return False

    def elect(self, election_id: int | None, *, device_id: int | None = None):
        """Send a MasterArbitrationUpdate and return the answer: a message, or the error that ended the stream."""
        request = p4.StreamMessageRequest()
        request.arbitration.device_id = self.device_id if device_id is None else device_id
        if self.role:
            request.arbitration.role.name = self.role
        if election_id is not None:
            request.arbitration.election_id.low = election_id
        self.election_id = election_id
        self.send(request)
        return self.receive()

    def become_primary(self, election_id: int) -> None:
        """Be elected, whatever news of earlier elections are still to be read."""
        answer = self.elect(election_id)
        while (answer.arbitration.status.code, answer.arbitration.election_id.low) != (0, election_id):
            answer = self.receive()

    def _identify(self, request):
        request.device_id, request.role = self.device_id, self.role
        if self.election_id is not None:
            request.election_id.low = self.election_id
        return request

    def push(
        self,
        action=SetConfig.VERIFY_AND_COMMIT,
        message: p4.ForwardingPipelineConfig | None = None,
        timeout_s: float = 100,
    ) -> None:
        request = SetConfig(action=action)
        if action != SetConfig.COMMIT or message is not None:
            request.config.CopyFrom(config() if message is None else message)
        self.stub.SetForwardingPipelineConfig(self._identify(request), timeout=timeout_s)

    def write(self, *updates: p4.Update, atomicity=p4.WriteRequest.CONTINUE_ON_ERROR) -> None:
        request = p4.WriteRequest(updates=updates, atomicity=atomicity)
        self.stub.Write(self._identify(request), timeout=10)

    def read(self, *entities: p4.Entity) -> list[p4.Entity]:
        request = p4.ReadRequest(device_id=self.device_id, entities=entities)
        return [entity for response in self.stub.Read(request, timeout=20) for entity in response.entities]

    def codes(self, *updates: p4.Update) -> list[grpc.StatusCode]:
        """Write, and return each update's code."""
        try:
            self.write(*updates)
        except grpc.RpcError as error:
            return item_codes(error)
        return [grpc.StatusCode.OK] * len(updates)


def item_codes(error: grpc.RpcError) -> list[grpc.StatusCode]:
    """Return the canonical code of each item of a failed batch; checks the envelope on the way."""
    assert error.code() == grpc.StatusCode.UNKNOWN, error
    status = status_pb2.Status.FromString(dict(error.trailing_metadata())["grpc-status-details-bin"])
    assert status.code == grpc.StatusCode.UNKNOWN.value[0]
    assert status.message == error.details()
    by_number = {code.value[0]: code for code in grpc.StatusCode}
    codes = []
    for detail in status.details:
        item = p4.Error()
        assert detail.Unpack(item)
        assert bool(item.message) == bool(item.canonical_code)
        codes.append(by_number[item.canonical_code])
    return codes


@contextmanager
def serving(servicer, credentials=None) -> Iterator[int]:
    """Serve on a free port of loopback; yields the port."""
    server, port = start_server(servicer, "127.0.0.1:0", credentials)
    try:
        yield port
    finally:
        server.stop(grace=0.2).wait()


def insert(entity: p4.Entity) -> p4.Update:
    return p4.Update(type=p4.Update.INSERT, entity=entity)


def modify(entity: p4.Entity) -> p4.Update:
    return p4.Update(type=p4.Update.MODIFY, entity=entity)


def delete(entity: p4.Entity) -> p4.Update:
    return p4.Update(type=p4.Update.DELETE, entity=entity)


def entry(table: str, match: dict | None = None, action: str | None = None, *params: bytes, **fields) -> p4.Entity:
    """A table entry; match {field id: {"exact": {...}}}, params in order."""
    entity = p4.Entity()
    message = entity.table_entry
    message.table_id = IDS.table(table) if table else 0
    for field_id, value in (match or {}).items():
        message.match.add(field_id=field_id, **value)
    if action is not None:
        message.action.action.action_id = IDS.action(action)
        for i, value in enumerate(params):
            message.action.action.params.add(param_id=i + 1, value=value)
    for name, value in fields.items():
        if isinstance(value, dict):
            getattr(message, name).CopyFrom(type(getattr(message, name))(**value))
        else:
            setattr(message, name, value)
    return entity


def exact(value: bytes) -> dict:
    return {"exact": {"value": value}}


def register(name: str, index: int | None = None, value: bytes | None = None) -> p4.Entity:
    entity = p4.Entity()
    entity.register_entry.register_id = IDS.register(name) if name else 0
    if index is not None:
        entity.register_entry.index.index = index
    if value is not None:
        entity.register_entry.data.bitstring = value
    return entity


def counter(name: str, index: int | None = None, packets: int | None = None, size: int = 0) -> p4.Entity:
    entity = p4.Entity()
    entity.counter_entry.counter_id = IDS.counter(name) if name else 0
    if index is not None:
        entity.counter_entry.index.index = index
    if packets is not None:
        entity.counter_entry.data.packet_count = packets
        entity.counter_entry.data.byte_count = size
    return entity


def group(id_: int, *replicas: tuple[bytes | int, int]) -> p4.Entity:
    entity = p4.Entity()
    message = entity.packet_replication_engine_entry.multicast_group_entry
    message.multicast_group_id = id_
    for port, instance in replicas:
        kind = "port" if isinstance(port, bytes) else "egress_port"
        message.replicas.add(instance=instance, **{kind: port})
    return entity


def session(id_: int, *replicas: tuple[bytes | int, int], **fields) -> p4.Entity:
    entity = p4.Entity()
    message = entity.packet_replication_engine_entry.clone_session_entry
    message.session_id = id_
    for port, instance in replicas:
        kind = "port" if isinstance(port, bytes) else "egress_port"
        message.replicas.add(instance=instance, **{kind: port})
    for name, value in fields.items():
        setattr(message, name, value)
    return entity
