"""Rates and depths of queues over gRPC, beside P4Runtime on its address."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest
from google.protobuf.struct_pb2 import Struct

from esa.p4runtime import p4runtime_pb2 as p4
from esa.switch import Pipeline
from esa.switch.p4runtime.queue_rpc import METHOD, SERVICE, set_queue
from esa.switch.p4runtime.replication import ReplicationEngine
from esa.switch.p4runtime.service import P4RuntimeServicer, start_server
from esa.switch.p4runtime.status import P4RuntimeError
from esa.switch.runtime.device import Device
from esa.switch.runtime.queue_limits import QueueLimit
from esa.switch.runtime.queue_settings import QueueSettings
from tests.switch.control import PROGRAMS

PROGRAM = (PROGRAMS / "queues.json").read_text()


@pytest.fixture
def device() -> Device:
    pipeline = Pipeline.load(PROGRAM, compiled=False, priorities=2)
    return Device(0, None, pipeline, (1, 2), QueueSettings((1, 2), 2))


@pytest.fixture
def channel(device: Device) -> Iterator[grpc.Channel]:
    server, port = start_server(P4RuntimeServicer(device, Pipeline.load), "127.0.0.1:0")
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel
    server.stop(0).wait()


def test_queues_are_set_one_by_one_or_all(device: Device, channel: grpc.Channel) -> None:
    set_queue(channel, rate_pps=1000)
    set_queue(channel, port=2, depth=5)
    set_queue(channel, port=1, priority=1, rate_pps=0)
    assert device.queues.limits() == {
        (1, 0): QueueLimit(rate_pps=1000),
        (2, 0): QueueLimit(rate_pps=1000, depth=5),
        (2, 1): QueueLimit(rate_pps=1000, depth=5),
    }
    assert device.pipeline.halves is not None


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"port": 7, "depth": 1}, "port 7: no such port; allowed: 1, 2"),
        ({"priority": 2, "depth": 1}, "priority 2: 0 to 1 are allowed"),
        ({"depth": 0}, "depth 0: from 1 to 1000000"),
        ({"depth": 1.5}, "depth 1.5: a whole number"),
        ({"depth": "9"}, "depth '9': a whole number"),
        ({"rate_pps": True}, "rate_pps True: a number"),
        ({"rate_pps": float("inf")}, "rate_pps inf: 0"),
        ({"port": float("nan"), "depth": 1}, "port nan: a whole number"),
        ({"port": 1}, "rate_pps or depth is missing"),
        ({"queue": 1, "depth": 3}, "queue: port, priority, rate_pps, depth are allowed"),
    ],
)
def test_what_cannot_be_is_refused_by_name(
    device: Device, channel: grpc.Channel, request_: dict[str, object], message: str
) -> None:
    call = channel.unary_unary(
        f"/{SERVICE}/{METHOD}", request_serializer=Struct.SerializeToString, response_deserializer=Struct.FromString
    )
    struct = Struct()
    struct.update(request_)
    with pytest.raises(grpc.RpcError) as caught:
        call(struct, timeout=20)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert message in caught.value.details()
    assert device.queues.limits() == {}


def session(class_of_service: int) -> p4.PacketReplicationEngineEntry:
    entry = p4.PacketReplicationEngineEntry()
    entry.clone_session_entry.session_id = 5
    entry.clone_session_entry.class_of_service = class_of_service
    entry.clone_session_entry.replicas.add(egress_port=2, instance=1)
    return entry


def test_a_clone_session_has_a_class_of_service_that_ports_have_a_queue_for(device: Device) -> None:
    engine = ReplicationEngine(device.pipeline)
    engine.write(p4.Update.INSERT, session(1))
    assert [each.packet_replication_engine_entry for each in engine.read(session(0))] == [session(1)]
    with pytest.raises(P4RuntimeError, match="class_of_service 2: ports have 2 queues"):
        engine.write(p4.Update.MODIFY, session(2))
    alone = ReplicationEngine(Pipeline.load(PROGRAM, compiled=False))
    with pytest.raises(P4RuntimeError, match="ports have 1 queue"):
        alone.write(p4.Update.INSERT, session(1))
