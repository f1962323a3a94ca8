"""Members, groups and one-shot sets of actions over P4Runtime."""

from __future__ import annotations

import threading
import time
import zlib

import grpc
import pytest

from esa.switch import Pipeline
from esa.switch.p4runtime.service import P4RuntimeServicer
from esa.switch.runtime.device import Device
from tests.switch.control import Client, Ids, config, delete, insert, item_codes, modify, p4, p4info, serving
from tests.switch.served import CPU_PORT, inject, load, primary_client

IDS = Ids(p4info("selectors"))
Code = grpc.StatusCode
OK, INVALID, NOT_FOUND = Code.OK, Code.INVALID_ARGUMENT, Code.NOT_FOUND
RECONCILE = p4.SetForwardingPipelineConfigRequest.RECONCILE_AND_COMMIT


SERVED = "selectors"


@pytest.fixture
def client(served: tuple[Client, Device]) -> Client:
    return served[0]


def action(name: str | None, *params: int) -> p4.Action:
    message = p4.Action()
    if name is not None:
        message.action_id = IDS.action(name)
        for at, value in enumerate(params):
            message.params.add(param_id=at + 1, value=value.to_bytes(2, "big").lstrip(b"\0") or b"\0")
    return message


def member(id_: int, name: str | None = None, *params: int, profile: str = "by_crc32") -> p4.Entity:
    entity = p4.Entity()
    entity.action_profile_member.action_profile_id = IDS.action_profile(profile) if profile else 0
    entity.action_profile_member.member_id = id_
    if name is not None:
        entity.action_profile_member.action.CopyFrom(action(name, *params))
    return entity


def group(id_: int, *members: tuple[int, int], profile: str = "by_crc32", max_size: int = 0, **watch) -> p4.Entity:
    entity = p4.Entity()
    message = entity.action_profile_group
    message.action_profile_id = IDS.action_profile(profile) if profile else 0
    message.group_id, message.max_size = id_, max_size
    for member_id, weight in members:
        message.members.add(member_id=member_id, weight=weight, **watch)
    return entity


def entry(port: int | None, table: str = "choose_ran", priority: int = 1, **what) -> p4.Entity:
    entity = p4.Entity()
    message = entity.table_entry
    message.table_id = IDS.table(table)
    if port is not None and table == "choose_ran":
        message.match.add(field_id=1).ternary.value = bytes([port])
        message.match[0].ternary.mask = b"\xff"
        message.priority = priority
    elif port is not None:
        message.match.add(field_id=1).exact.value = bytes([port])
    for name, value in what.items():
        setattr(message.action, f"action_profile_{name}_id", value)
    return entity


def one_shot(port: int, *actions: tuple[p4.Action, int], watch_port: bytes = b"") -> p4.Entity:
    entity = entry(port)
    chosen = entity.table_entry.action.action_profile_action_set
    chosen.SetInParent()
    for each, weight in actions:
        chosen.action_profile_actions.add(action=each, weight=weight, watch_port=watch_port)
    return entity


def marks(device: Device, port: int = 7, flows: int = 64) -> list[int]:
    """The mark that packets of flow 0, 1 .. get, -1 for one that is dropped."""
    out = []
    for flow in range(flows):
        sent = inject(device, 0, bytes([0, 0, port, flow >> 8, flow & 255, 0, 0, 0, 0, 0, 0]))
        out.append(int.from_bytes(sent[0][1][7:9], "big") if sent else -1)
    return out


def by_hash(values: list[int], flows: int = 64) -> list[int]:
    return [values[zlib.crc32(flow.to_bytes(2, "big")) % len(values)] for flow in range(flows)]


def read_code(client: Client, entity: p4.Entity) -> Code:
    with pytest.raises(grpc.RpcError) as caught:
        client.read(entity)
    return item_codes(caught.value)[0]


@pytest.mark.supports("P4Runtime: members, groups with weights, one-shot entries")
def test_members_and_groups_choose(served) -> None:
    client, device = served
    client.write(*[insert(member(at, "flood", at)) for at in (1, 2, 3)])
    client.write(insert(group(5, (1, 1), (2, 1), (3, 1))))
    client.write(insert(entry(7, group=5)), insert(entry(8, member=2)))
    assert marks(device) == by_hash([1, 2, 3])
    assert marks(device, 8) == [2] * 64
    client.write(modify(member(2, "forward", 3, 9)))
    assert marks(device) == by_hash([1, 9, 3])
    client.write(modify(group(5, (3, 1))))
    assert marks(device) == [3] * 64
    client.write(modify(entry(7, member=1)), delete(entry(8)))
    assert marks(device) == [1] * 64
    assert marks(device, 8) == [0] * 64


def test_a_weight_is_that_many_members(served) -> None:
    """As BMv2's server has it: the copies of a member come behind all members that were there."""
    client, device = served
    client.write(*[insert(member(at, "flood", at)) for at in (1, 2)])
    client.write(insert(group(5, (1, 3), (2, 1))), insert(entry(7, group=5)))
    assert marks(device) == by_hash([1, 2, 1, 1])
    client.write(insert(member(3, "flood", 3)), insert(group(6, (1, 2), (2, 2))))
    client.write(modify(group(5, (1, 1), (2, 2), (3, 1))))
    # numbers: 1 0 2 of them (0, 2), 2 of them (1, 5), 3 of them (4)
    assert marks(device) == by_hash([1, 2, 3, 2])
    client.write(modify(member(2, "flood", 9)))
    assert marks(device) == by_hash([1, 9, 3, 9])
    client.write(delete(entry(7)), delete(group(5)), delete(group(6)))
    assert device.pipeline.action_profiles["I.by_crc32"].members().keys() == {0, 1, 4}


def test_reads_give_what_was_written(client: Client) -> None:
    members = [member(1, "flood", 1), member(2, "forward", 3, 4)]
    groups = [group(5, (1, 1), (2, 3), max_size=9), group(6)]
    entries = [entry(7, group=5), entry(8, member=1)]
    other = member(1, "drop", profile="shared")
    client.write(*map(insert, [*members, other]))
    client.write(*map(insert, groups))
    client.write(*map(insert, entries))
    assert client.read(member(0)) == members
    assert client.read(member(2)) == [members[1]]
    assert sorted(client.read(member(0, profile="")), key=str) == sorted([*members, other], key=str)
    assert client.read(group(0)) == groups == client.read(group(0, profile=""))
    assert client.read(group(5)) == [groups[0]]
    assert client.read(entry(None)) == entries
    asked = entry(None, group=5)
    assert client.read(asked) == [entries[0]]
    assert [read_code(client, each) for each in (member(9), group(9), member(1, profile=""))] == [
        NOT_FOUND,
        NOT_FOUND,
        INVALID,
    ]


def test_what_is_in_use_cannot_go(client: Client) -> None:
    client.write(insert(member(1, "flood", 1)), insert(member(2, "flood", 2)), insert(member(3, "flood", 2)))
    client.write(insert(group(5, (1, 2))), insert(entry(7, group=5)), insert(entry(8, member=2)))
    in_use = Code.FAILED_PRECONDITION
    assert client.codes(delete(member(1)), delete(member(2)), delete(group(5))) == [in_use] * 3
    assert client.codes(delete(member(3)), delete(member(3)), delete(group(9))) == [OK, NOT_FOUND, NOT_FOUND]
    client.write(delete(entry(7)), delete(entry(8)))
    assert client.codes(delete(group(5)), delete(member(1)), delete(member(2))) == [OK] * 3


@pytest.mark.parametrize(
    ("entity", "code"),
    [
        (member(0, "flood", 1), INVALID),
        (member(1, "flood", 2), Code.ALREADY_EXISTS),
        (member(4), INVALID),
        (member(4, "note", 1), INVALID),
        (member(4, "forward", 1), INVALID),
        (member(4, "forward", 512, 1), INVALID),
        (member(4, "flood", 1, profile=""), INVALID),
        (group(0, (1, 1)), INVALID),
        (group(5), Code.ALREADY_EXISTS),
        (group(6, (9, 1)), NOT_FOUND),
        (group(6, (1, 0)), INVALID),
        (group(6, (1, -1)), INVALID),
        (group(6, (1, 1), (1, 1)), INVALID),
        (group(6, (1, 1), max_size=-1), INVALID),
        (group(6, (1, 3), max_size=2), Code.RESOURCE_EXHAUSTED),
        (group(6, (1, 1 << 30)), Code.RESOURCE_EXHAUSTED),
        (group(6, (1, 16000), (2, 16000)), Code.RESOURCE_EXHAUSTED),
        (group(6, (1, 1), watch_port=b"\x02\x00"), INVALID),
        (group(6, (1, 1), watch=-1), INVALID),
        (group(6, profile="shared"), INVALID),
        (entry(7), INVALID),
        (entry(7, member=9), NOT_FOUND),
        (entry(7, group=9), NOT_FOUND),
        (entry(7, table="plain", group=5), INVALID),
        (one_shot(7, (action("flood", 1), 1)), INVALID),  # next to members
    ],
)
def test_what_breaks_a_rule_is_refused_and_changes_nothing(client: Client, entity: p4.Entity, code: Code) -> None:
    client.write(insert(member(1, "flood", 1)), insert(member(2, "flood", 1)), insert(group(5)))
    everything = [member(0, profile=""), group(0, profile=""), entry(None)]
    before = client.read(*everything)
    assert client.codes(insert(entity)) == [code]
    assert client.read(*everything) == before
    # nothing is left behind in the loaded profile either
    client.write(insert(member(3, "flood", 3)), insert(entry(1, member=3)))


def test_a_direct_action_is_refused_in_an_indirect_table(client: Client) -> None:
    entity = entry(7)
    entity.table_entry.action.action.CopyFrom(action("flood", 1))
    assert client.codes(insert(entity)) == [INVALID]
    default = entry(None)
    default.table_entry.is_default_action = True
    default.table_entry.action.action.CopyFrom(action("flood", 1))
    assert client.codes(modify(default)) == [Code.PERMISSION_DENIED]


def test_sizes_are_those_of_p4info(client: Client) -> None:
    message = config("selectors")
    for info in message.p4info.action_profiles:
        if info.preamble.alias == "by_crc32":
            info.size, info.max_group_size = 3, 4
    client.push(message=message)
    assert client.codes(*[insert(member(at, "flood", at)) for at in (1, 2, 3, 4)]) == [OK] * 3 + [
        Code.RESOURCE_EXHAUSTED
    ]
    assert client.codes(insert(group(1, (1, 5))), insert(group(1, (1, 4))), insert(group(2, max_size=5))) == [
        Code.RESOURCE_EXHAUSTED,
        OK,
        INVALID,
    ]
    assert client.codes(insert(group(3, (1, 1), max_size=2)), modify(group(3, (1, 2), max_size=3))) == [OK, INVALID]
    assert client.codes(modify(group(3, (1, 3))), modify(group(3, (2, 2), max_size=2))) == [Code.RESOURCE_EXHAUSTED, OK]


def test_members_count_where_p4info_says_so(client: Client) -> None:
    message = config("selectors")
    for info in message.p4info.action_profiles:
        if info.preamble.alias == "by_crc32":
            info.max_group_size = 2
            info.sum_of_members.max_member_weight = 7
        if info.preamble.alias == "by_crc16":
            info.weights_disallowed = True
    client.push(message=message)
    client.write(*[insert(member(at, "flood", at)) for at in (1, 2, 3)], insert(member(1, "drop", profile="by_crc16")))
    assert client.codes(
        insert(group(1, (1, 7), (2, 5))),
        insert(group(2, (1, 8))),
        insert(group(2, (1, 1), (2, 1), (3, 1))),
        insert(group(1, (1, 1), profile="by_crc16")),
        insert(group(1, (1, 0), profile="by_crc16")),
    ) == [OK, INVALID, Code.RESOURCE_EXHAUSTED, INVALID, OK]


def test_one_shots_make_what_they_need_and_take_it_along(served) -> None:
    client, device = served
    profile = device.pipeline.action_profiles["I.by_crc32"]
    first = one_shot(7, (action("flood", 1), 1), (action("forward", 3, 2), 2))
    client.write(insert(first), insert(one_shot(8, (action("drop"), 1))))
    assert marks(device) == by_hash([1, 2, 2])
    assert marks(device, 8) == [-1] * 64
    assert client.read(entry(None)) == [first, one_shot(8, (action("drop"), 1))]
    assert client.read(member(0)) == client.read(group(0)) == []
    second = one_shot(7, (action("flood", 4), 1))
    client.write(modify(second))
    assert marks(device) == [4] * 64
    assert len(profile.members()) == 2
    assert client.codes(insert(member(1, "drop")), insert(group(1))) == [INVALID, INVALID]
    assert client.codes(insert(second)) == [Code.ALREADY_EXISTS]
    client.write(delete(entry(7)), delete(entry(8)))
    assert (profile.members(), profile.groups()) == ({}, {})
    client.write(insert(member(1, "drop")))


def test_one_shots_that_break_a_rule_are_refused(served) -> None:
    client, device = served
    profile = device.pipeline.action_profiles["I.by_crc32"]
    good = action("flood", 1)
    assert client.codes(
        insert(one_shot(7, (good, 0))),
        insert(one_shot(7, (good, 1), (action("note", 1), 1))),
        insert(one_shot(7, (good, 1), (action("flood"), 1))),
        insert(one_shot(7, (good, 16384), (good, 16384))),
        modify(one_shot(7, (good, 1))),
    ) == [INVALID, INVALID, INVALID, Code.RESOURCE_EXHAUSTED, NOT_FOUND]
    grouped, random, members = (one_shot(7, (good, 1)) for _ in range(3))
    grouped.table_entry.action.action_profile_action_set.group_action.CopyFrom(good)
    random.table_entry.action.action_profile_action_set.action_selection_mode = p4.ActionProfileActionSet.RANDOM
    members.table_entry.action.action_profile_action_set.size_semantics = p4.ActionProfileActionSet.SUM_OF_MEMBERS
    assert client.codes(insert(grouped), insert(random), insert(members)) == [Code.UNIMPLEMENTED] * 3
    assert (profile.members(), profile.groups()) == ({}, {})


@pytest.mark.supports("P4Runtime: watch ports")
def test_watch_ports_that_are_down_are_passed_over(served) -> None:
    client, device = served
    client.write(*[insert(member(at, "flood", at)) for at in (1, 2)])
    watching = group(5, (1, 2), (2, 1))
    watching.action_profile_group.members[0].watch_port = b"\x03"
    client.write(insert(watching), insert(entry(7, group=5)))
    assert marks(device) == by_hash([1, 2, 1])
    device.set_port(3, False)
    device.set_port(4, False)
    assert marks(device) == [2] * 64
    watching.action_profile_group.members[1].watch_port = b"\x04"
    client.write(modify(watching))
    assert marks(device) == [0] * 64
    client.push(RECONCILE, config("selectors"))
    assert client.read(group(5)) == [watching]
    assert marks(device) == [0] * 64
    device.set_port(4, True)
    assert marks(device) == [2] * 64
    device.set_port(3, True)
    assert marks(device) == by_hash([1, 2, 1])


def test_a_watch_port_is_one_of_the_devices() -> None:
    with primary_client(push=False, ports=(1, 2)) as (client, _):
        client.push(message=config("selectors"))
        client.write(insert(member(1, "flood", 1)))
        there = (b"\x01", b"\x02", CPU_PORT.to_bytes(2, "big"), b"")
        known = [group(at, (1, 1), watch_port=port) for at, port in enumerate(there, 1)]
        assert client.codes(*map(insert, known)) == [OK] * 4
        unknown = (b"\x03", b"\x00", b"\x01\xff")
        codes = client.codes(*[insert(group(9, (1, 1), watch_port=port)) for port in unknown])
        assert codes == [INVALID] * 3
        assert client.codes(insert(group(9, (1, 1), watch=3)), modify(group(1, (1, 1), watch=3))) == [INVALID] * 2
        client.write(*[delete(each) for each in known], delete(member(1)))
        shots = [one_shot(7, (action("drop"), 1), watch_port=port) for port in (b"\x03", b"\x02")]
        assert client.codes(*map(insert, shots)) == [INVALID, OK]
        with pytest.raises(grpc.RpcError) as caught:
            client.write(insert(shots[0]))
        details = dict(caught.value.trailing_metadata())["grpc-status-details-bin"]
        assert b"watch_port 3: there is no such port; there are 1, 2, 510" in details


def test_a_port_that_goes_down_while_a_program_is_loaded_is_down_in_it() -> None:
    device, loaded = Device(1), threading.Event()

    def load_and_say(program: bytes) -> Pipeline:
        pipeline = load(program)
        loaded.set()
        return pipeline

    servicer = P4RuntimeServicer(device, load_and_say)
    with serving(servicer) as port:
        client = Client(port)
        client.elect(1)
        pushing = threading.Thread(target=client.push, kwargs={"message": config("selectors")})
        with servicer._lock:  # what is loaded waits to be put in service
            pushing.start()
            assert loaded.wait(20)
            time.sleep(0.3)
            device.set_port(3, False)
        pushing.join(20)
        client.write(insert(member(1, "flood", 1)), insert(group(5, (1, 1), watch_port=b"\x03")))
        client.write(insert(entry(7, group=5)))
        assert marks(device) == [0] * 64
        client.close()


def test_reconciling_keeps_members_groups_and_one_shots(served) -> None:
    client, device = served
    client.write(insert(member(1, "flood", 1)), insert(member(2, "flood", 2)), insert(group(5, (1, 1), (2, 2))))
    client.write(insert(entry(7, group=5)))
    shot = entry(3, table="choose")
    shot.table_entry.action.action_profile_action_set.action_profile_actions.add(action=action("drop"), weight=1)
    client.write(insert(shot))
    asked = [member(0, profile=""), group(0, profile=""), entry(None), entry(None, table="choose")]
    before, seen = client.read(*asked), marks(device)
    client.push(RECONCILE, config("selectors"))
    assert client.read(*asked) == before
    assert marks(device) == seen


def test_p4info_and_program_must_agree(client: Client) -> None:
    for change in ("selector", "table"):
        message = config("selectors")
        if change == "selector":
            message.p4info.action_profiles[0].with_selector ^= True
        else:
            message.p4info.tables[0].implementation_id = 0
        with pytest.raises(grpc.RpcError) as caught:
            client.push(message=message)
        assert caught.value.code() == INVALID, change
