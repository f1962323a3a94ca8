"""Who may write: P4Runtime 1.4, section 5."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import grpc
import pytest
from google.rpc import code_pb2

from esa.switch.p4runtime.service import P4RuntimeServicer
from esa.switch.runtime.device import Device
from tests.switch.control import Client, entry, insert, p4, serving


def no_program(program: bytes):
    raise ValueError("not needed here")


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with serving(P4RuntimeServicer(Device(1), no_program)) as port:
        yield port


@contextmanager
def client(port: int, **options) -> Iterator[Client]:
    each = Client(port, **options)
    try:
        yield each
    finally:
        each.close()


@pytest.fixture
def fresh() -> Iterator[int]:
    """A server that has never seen an election id."""
    with serving(P4RuntimeServicer(Device(1), no_program)) as port:
        yield port


def code(message) -> int:
    return message.arbitration.status.code


def test_the_highest_election_id_is_primary_and_all_are_told(fresh: int) -> None:
    with client(fresh) as low, client(fresh) as high:
        assert code(low.elect(5)) == code_pb2.OK
        answer = high.elect(7)
        assert code(answer) == code_pb2.OK
        assert answer.arbitration.election_id.low == 7
        told = low.receive()
        assert code(told) == code_pb2.ALREADY_EXISTS
        assert told.arbitration.election_id.low == 7
        assert told.arbitration.device_id == 1


def test_a_lower_id_is_backup_and_only_it_is_told(fresh: int) -> None:
    with client(fresh) as high, client(fresh) as low:
        high.elect(7)
        assert code(low.elect(5)) == code_pb2.ALREADY_EXISTS
        assert high.nothing()


def test_when_the_primary_leaves_nobody_inherits_until_a_client_asks(fresh: int) -> None:
    with client(fresh) as high, client(fresh) as low:
        high.elect(7)
        low.elect(5)
        high.close()
        told = low.receive()
        assert code(told) == code_pb2.NOT_FOUND
        assert told.arbitration.election_id.low == 7
        assert code(low.elect(6)) == code_pb2.NOT_FOUND
        assert code(low.elect(7)) == code_pb2.OK


def test_a_primary_can_step_down(fresh: int) -> None:
    with client(fresh) as first, client(fresh) as second:
        first.elect(7)
        second.elect(5)
        assert code(first.elect(4)) == code_pb2.NOT_FOUND
        assert code(second.receive()) == code_pb2.NOT_FOUND


def test_without_an_election_id_a_client_never_becomes_primary(fresh: int) -> None:
    with client(fresh) as standby, client(fresh) as zero:
        answer = standby.elect(None)
        assert code(answer) == code_pb2.NOT_FOUND
        assert not answer.arbitration.HasField("election_id")
        assert code(zero.elect(0)) == code_pb2.OK
        assert code(standby.receive()) == code_pb2.ALREADY_EXISTS


@pytest.mark.supports("P4Runtime: several clients, roles")
def test_roles_have_primaries_of_their_own(fresh: int) -> None:
    with client(fresh) as a, client(fresh, role="telemetry") as b:
        assert code(a.elect(9)) == code_pb2.OK
        answer = b.elect(1)
        assert code(answer) == code_pb2.OK
        assert answer.arbitration.role.name == "telemetry"


def test_one_id_belongs_to_one_live_client(port: int) -> None:
    with client(port) as first, client(port) as second:
        first.elect(50)
        error = second.elect(50)
        assert error.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_an_unknown_device_ends_the_stream(port: int) -> None:
    with client(port) as stranger:
        assert stranger.elect(1, device_id=9).code() == grpc.StatusCode.NOT_FOUND


def test_a_session_keeps_its_device_and_role(port: int) -> None:
    with client(port) as each:
        each.elect(60)
        assert each.elect(61, device_id=9).code() == grpc.StatusCode.FAILED_PRECONDITION
    with client(port) as each:
        each.elect(62)
        each.role = "other"
        assert each.elect(63).code() == grpc.StatusCode.FAILED_PRECONDITION


@pytest.mark.refuses("P4Runtime: role definitions")
def test_role_definitions_are_refused(port: int) -> None:
    with client(port) as each:
        request = p4.StreamMessageRequest()
        request.arbitration.device_id = 1
        request.arbitration.role.config.SetInParent()
        each.send(request)
        assert each.receive().code() == grpc.StatusCode.INVALID_ARGUMENT


def refused(call, *arguments) -> grpc.StatusCode:
    with pytest.raises(grpc.RpcError) as caught:
        call(*arguments)
    return caught.value.code()


def test_checks_come_in_the_specifications_order(fresh: int) -> None:
    update = insert(entry("exact_dst"))
    with client(fresh) as primary, client(fresh) as backup:
        assert refused(primary.write, update) == grpc.StatusCode.PERMISSION_DENIED
        primary.elect(2)
        backup.elect(1)
        assert refused(backup.write, update) == grpc.StatusCode.PERMISSION_DENIED
        assert refused(backup.push) == grpc.StatusCode.PERMISSION_DENIED
        assert refused(primary.write, update) == grpc.StatusCode.FAILED_PRECONDITION
        assert refused(primary.read, p4.Entity()) == grpc.StatusCode.FAILED_PRECONDITION
        primary.device_id = 3
        assert refused(primary.write, update) == grpc.StatusCode.NOT_FOUND
        assert refused(primary.push) == grpc.StatusCode.NOT_FOUND
        assert refused(primary.read, p4.Entity()) == grpc.StatusCode.NOT_FOUND
        primary.device_id, primary.role = 1, "nobody"
        assert refused(primary.write, update) == grpc.StatusCode.NOT_FOUND


@pytest.mark.supports("P4Runtime: Capabilities")
def test_capabilities_name_the_version(port: int) -> None:
    with client(port) as each:
        assert each.stub.Capabilities(p4.CapabilitiesRequest()).p4runtime_api_version == "1.4.1"
