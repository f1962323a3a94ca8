"""Parser value sets: what the control plane puts in decides the parser's way."""

from __future__ import annotations

import json
from pathlib import Path

import grpc
import pytest

from esa.switch import BadEntry, DuplicateEntry, Pipeline, TableFull, UnsupportedError
from esa.switch.runtime.device import Device
from tests.switch import bmv2_files
from tests.switch.control import Client, Ids, config, delete, insert, modify, p4, p4info
from tests.switch.served import inject
from tests.switch.test_differential import ours, same

PROGRAM = Path(__file__).parent / "programs" / "value_sets.json"
SOURCE = PROGRAM.read_text()
IDS = Ids(p4info("value_sets"))
OK, INVALID = grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT
FULL = (1 << 48) - 1


def packet(kind: int, mac: int = 0) -> bytes:
    return bytes([*(kind << 7).to_bytes(2, "big"), *mac.to_bytes(6, "big"), 0, 0])


def mark(pipeline: Pipeline, kind: int, mac: int = 0) -> int:
    ((_, sent),) = pipeline.process(0, packet(kind, mac))
    return sent[9]


@pytest.mark.supports("parsers: value sets with masks")
@pytest.mark.parametrize("compiled", [False, True])
def test_members_decide_the_way(compiled: bool) -> None:
    pipeline = Pipeline.load(SOURCE, compiled=compiled)
    kinds, pairs = pipeline.value_sets["P.kinds"], pipeline.value_sets["P.pairs"]
    assert [mark(pipeline, kind) for kind in (1, 2, 7, 9, 0x17)] == [1, 0, 3, 0, 3]
    kinds.set([((1, 511),), ((2, 511),), ((0x17, 511),)])
    assert [mark(pipeline, kind) for kind in (1, 2, 7, 9, 0x17)] == [1, 2, 3, 0, 2]  # in the order of the select
    pairs.set([((2, 511), (0xA0, 0xF0)), ((9, 511), (5, FULL))])
    assert [mark(pipeline, 2, mac) for mac in (0xA7, 0xB7)] == [18, 2]
    assert [mark(pipeline, 9, mac) for mac in (5, 4)] == [16, 0]
    pipeline.reset()
    assert [mark(pipeline, kind, 5) for kind in (2, 9)] == [0, 0]


def test_members_that_cannot_be_are_refused() -> None:
    kinds = Pipeline.load(SOURCE, compiled=False).value_sets["P.kinds"]
    kinds.set([((3, 511),)])
    with pytest.raises(TableFull, match="5 members; it has room for 4"):
        kinds.set([((at, 511),) for at in range(5)])
    with pytest.raises(DuplicateEntry, match="twice"):
        kinds.set([((3, 15),), ((0x13, 15),)])
    with pytest.raises(BadEntry, match="does not fit 9 bits"):
        kinds.set([((512, 511),)])
    with pytest.raises(BadEntry, match="has 1 fields, 2 given"):
        kinds.set([((3, 511), (3, 511))])
    assert kinds.members() == (((3, 511),),)


@pytest.mark.refuses("parsers: a value set with keys of several widths")
def test_programs_that_cannot_be_are_refused_by_name() -> None:
    for change, says in (
        ("name", "no value set 'P.none'"),
        ("widths", "P.kinds is used with keys of other widths"),
        ("size", "P.kinds has 1073741824 cells"),
    ):
        root = json.loads(SOURCE)
        states = {state["name"]: state for state in root["parsers"][0]["parse_states"]}
        if change == "size":
            root["parse_vsets"][0]["max_size"] = 1 << 30
        else:
            states["more"]["transitions"][0]["value"] = "P.none" if change == "name" else "P.kinds"
        with pytest.raises(UnsupportedError, match=says):
            Pipeline.load(root, compiled=False)


@pytest.mark.supports("parsers: value sets, exact")
@pytest.mark.bmv2
def test_exact_members_are_bmv2s() -> None:
    packets = {0: [packet(kind, mac) for kind in range(32) for mac in (0, 5, 0xFFFFFFFFFFFF)]}
    pipeline = Pipeline.load(SOURCE, compiled=False)
    pipeline.value_sets["P.kinds"].set([((kind, 511),) for kind in (1, 4, 0x17)])
    pipeline.value_sets["P.pairs"].set([((kind, 511), (5, FULL)) for kind in (1, 4, 9)])
    commands = [f"pvs_add P.kinds {kind}" for kind in (1, 4, 0x17)]
    commands += [f"pvs_add P.pairs {kind << 48 | 5}" for kind in (1, 4, 9)]
    theirs = bmv2_files.run(PROGRAM, packets, "\n".join([*commands, ""]))
    assert {copy[9] for copy in theirs[1]} == {0, 1, 2, 3, 16, 18}
    same(theirs, ours(pipeline, packets))


# --- over P4Runtime -------------------------------------------------------------------------------------------------


SERVED = "value_sets"


def kinds(*values: bytes) -> p4.Entity:
    entity = p4.Entity()
    entity.value_set_entry.value_set_id = IDS.value_set("kinds")
    for value in values:
        entity.value_set_entry.members.add().match.add(field_id=1).exact.value = value
    return entity


def pairs(*members: tuple[bytes, bytes | None, bytes]) -> p4.Entity:
    entity = p4.Entity()
    entity.value_set_entry.value_set_id = IDS.value_set("pairs")
    for kind, value, mask in members:
        member = entity.value_set_entry.members.add()
        member.match.add(field_id=1).exact.value = kind
        if value is not None:
            ternary = member.match.add(field_id=2).ternary
            ternary.value, ternary.mask = value, mask
    return entity


@pytest.mark.supports("P4Runtime: value sets")
def test_members_are_written_and_read_back(served: tuple[Client, Device]) -> None:
    client, device = served
    everything = p4.Entity()
    everything.value_set_entry.SetInParent()
    assert sorted(map(str, client.read(everything))) == sorted(map(str, [kinds(), pairs()]))
    some = kinds(b"\x02", b"\x00\x04")
    client.write(modify(some), modify(pairs((b"\x02", b"\xa0", b"\xf0"), (b"\x09", None, b""))))
    assert client.read(kinds()) == [some]
    sent = [inject(device, 0, packet(kind, mac))[0][1][9] for kind, mac in ((2, 0xA1), (2, 0xB1), (9, 7), (4, 1))]
    assert sent == [18, 2, 16, 2]
    client.push(p4.SetForwardingPipelineConfigRequest.RECONCILE_AND_COMMIT, config("value_sets"))
    assert client.read(kinds()) == [some]
    assert inject(device, 0, packet(9, 7))[0][1][9] == 16
    client.write(modify(kinds()))
    assert inject(device, 0, packet(4, 1))[0][1][9] == 0


def test_what_breaks_a_rule_is_refused(served: tuple[Client, Device]) -> None:
    client = served[0]
    some = kinds(b"\x02")
    client.write(modify(some))
    unknown = kinds(b"\x02")
    unknown.value_set_entry.value_set_id = 5
    other_field = kinds(b"\x02")
    other_field.value_set_entry.members[0].match[0].field_id = 3
    assert client.codes(
        insert(some),
        delete(some),
        modify(kinds(b"\x01", b"\x02", b"\x03", b"\x04", b"\x05")),
        modify(kinds(b"\x01", b"\x00\x01")),
        modify(kinds(b"\x02\x00")),
        modify(unknown),
        modify(other_field),
        modify(pairs((b"\x02", b"\xa1", b"\xf0"))),
    ) == [
        INVALID,
        INVALID,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.ALREADY_EXISTS,
        INVALID,
        INVALID,
        INVALID,
        INVALID,
    ]
    assert client.read(kinds()) == [some]
    message = config("value_sets")
    message.p4info.value_sets[0].match[0].bitwidth = 8
    with pytest.raises(grpc.RpcError) as caught:
        client.push(message=message)
    assert caught.value.code() == INVALID
