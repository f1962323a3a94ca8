"""SetForwardingPipelineConfig and its counterpart: P4Runtime 1.4, sections 14 and 15."""

from __future__ import annotations

import json
from collections.abc import Iterator

import grpc
import pytest

from esa.switch.runtime.device import Device
from tests.switch.control import Client, SetConfig, config, counter, entry, exact, group, insert, modify, p4, register
from tests.switch.served import inject, primary_client

DST = bytes.fromhex("0200000000a1")
FRAME = DST + bytes.fromhex("0200000000a2") + b"\x12\x34" + bytes(50)
FORWARD = insert(entry("exact_dst", {1: exact(DST)}, "forward", b"\x03"))


@pytest.fixture
def served() -> Iterator[tuple[Client, Device]]:
    with primary_client(push=False) as pair:
        yield pair


def get(client: Client, kind: int = 0) -> p4.GetForwardingPipelineConfigResponse:
    request = p4.GetForwardingPipelineConfigRequest(device_id=1, response_type=kind)
    return client.stub.GetForwardingPipelineConfig(request)


def code_of(call, *arguments) -> grpc.StatusCode:
    with pytest.raises(grpc.RpcError) as caught:
        call(*arguments)
    return caught.value.code()


def test_before_the_first_config_there_is_none(served) -> None:
    client, device = served
    assert not get(client).HasField("config")
    client.push(SetConfig.VERIFY)
    assert not get(client).HasField("config")
    assert device.pipeline is None
    assert code_of(client.push, SetConfig.COMMIT) == grpc.StatusCode.NOT_FOUND


def test_what_was_set_is_what_one_gets(served) -> None:
    client, _ = served
    wanted = config(cookie=77)
    client.push(SetConfig.VERIFY_AND_COMMIT, wanted)
    assert get(client).config == wanted
    kinds = p4.GetForwardingPipelineConfigRequest
    fields = {"cookie", "p4info", "p4_device_config"}
    for kind, present in (
        (kinds.COOKIE_ONLY, {"cookie"}),
        (kinds.P4INFO_AND_COOKIE, {"cookie", "p4info"}),
        (kinds.DEVICE_CONFIG_AND_COOKIE, {"cookie", "p4_device_config"}),
    ):
        listed = {field.name for field, _ in get(client, kind).config.ListFields()}
        assert listed == present & fields
    client.device_id = 5
    request = p4.GetForwardingPipelineConfigRequest(device_id=5)
    assert code_of(client.stub.GetForwardingPipelineConfig, request) == grpc.StatusCode.NOT_FOUND


def test_a_commit_clears_the_forwarding_state(served) -> None:
    client, device = served
    client.push()
    client.write(FORWARD)
    assert [port for port, _ in inject(device, 1, FRAME)] == [3]
    client.push()
    assert client.read(entry("exact_dst")) == []
    assert inject(device, 1, FRAME) == []


@pytest.mark.supports("P4Runtime: all actions of SetForwardingPipelineConfig")
def test_a_saved_config_is_written_to_before_it_is_in_service(served) -> None:
    client, device = served
    client.push()
    client.push(SetConfig.VERIFY_AND_SAVE)
    client.write(FORWARD)
    assert inject(device, 1, FRAME) == []
    client.push(SetConfig.COMMIT)
    assert [port for port, _ in inject(device, 1, FRAME)] == [3]
    assert code_of(client.push, SetConfig.COMMIT) == grpc.StatusCode.NOT_FOUND


@pytest.mark.supports("P4Runtime: all actions of SetForwardingPipelineConfig")
def test_reconciling_keeps_the_forwarding_state(served) -> None:
    client, device = served
    client.push()
    everything = [
        FORWARD,
        insert(
            entry(
                "ternary_both",
                {1: exact(b"\x01"), 3: {"range": {"low": b"\x01", "high": b"\x02"}}},
                "count_type",
                b"\x01",
                priority=9,
                metadata=b"mine",
            )
        ),
        modify(entry("keyless", None, "count_type", b"\x05", is_default_action=True)),
        insert(group(4, (b"\x01", 1), (b"\x02", 2))),
        modify(register("words", 3, b"\x2a")),
        modify(counter("port_counter", 2, 11, 22)),
    ]
    client.write(*everything)
    before = device.pipeline
    client.push(SetConfig.RECONCILE_AND_COMMIT)
    assert device.pipeline is not before
    assert [port for port, _ in inject(device, 0, FRAME)] == [3]
    assert client.read(entry("ternary_both")) == [everything[1].entity]
    assert client.read(register("words", 3)) == [register("words", 3, b"\x2a")]
    assert client.read(counter("port_counter", 2)) == [counter("port_counter", 2, 11, 22)]
    assert client.read(group(0)) == [everything[3].entity]


def test_reconciling_keeps_what_was_written_and_no_more(served) -> None:
    """A program's own defaults, and what nobody has put anything into, are no state that a new one must have."""
    client, _ = served
    client.push(SetConfig.VERIFY_AND_COMMIT, config("value_sets"))
    client.push(SetConfig.RECONCILE_AND_COMMIT)
    default = entry("exact_dst", is_default_action=True)
    other = config()
    root = json.loads(other.p4_device_config)
    changed = next(table for table in root["pipelines"][0]["tables"] if table["name"] == "MyIngress.exact_dst")
    (nothing,) = (at for at in changed["action_ids"] if root["actions"][at]["name"] == "NoAction")
    changed["default_entry"]["action_id"] = nothing
    other.p4_device_config = json.dumps(root).encode()
    (before,) = client.read(default)
    client.push(SetConfig.RECONCILE_AND_COMMIT, other)
    (after,) = client.read(default)
    assert after.table_entry.action != before.table_entry.action
    client.write(modify(after))
    client.push(SetConfig.RECONCILE_AND_COMMIT)
    assert client.read(default) == [after]


@pytest.mark.parametrize("field", ["p4info", "p4_device_config"])
def test_half_a_config_is_refused(served, field: str) -> None:
    client, device = served
    half = config()
    half.ClearField(field)
    assert code_of(client.push, SetConfig.VERIFY, half) == grpc.StatusCode.INVALID_ARGUMENT
    assert code_of(client.push, SetConfig.VERIFY_AND_COMMIT, half) == grpc.StatusCode.INVALID_ARGUMENT
    assert device.pipeline is None


def test_what_cannot_be_realized_is_refused_and_what_runs_stays(served) -> None:
    client, device = served
    client.push()
    running = device.pipeline
    for broken in (b"{", b"{}", b"\x00\x01", b'{"nothing": "here"}'):
        message = config()
        message.p4_device_config = broken
        assert code_of(client.push, SetConfig.VERIFY_AND_COMMIT, message) == grpc.StatusCode.INVALID_ARGUMENT
    message = config()
    message.p4info.tables[0].match_fields[0].bitwidth = 47
    with pytest.raises(grpc.RpcError, match="47 bits"):
        client.push(SetConfig.VERIFY_AND_COMMIT, message)
    assert device.pipeline is running


def test_actions_that_make_no_sense_are_refused(served) -> None:
    client, _ = served
    assert code_of(client.push, SetConfig.UNSPECIFIED) == grpc.StatusCode.INVALID_ARGUMENT
    client.push(SetConfig.VERIFY_AND_SAVE)
    assert code_of(client.push, SetConfig.COMMIT, config()) == grpc.StatusCode.INVALID_ARGUMENT
    request = SetConfig(device_id=1, action=SetConfig.VERIFY)
    request.election_id.low = 1
    assert code_of(client.stub.SetForwardingPipelineConfig, request) == grpc.StatusCode.INVALID_ARGUMENT
