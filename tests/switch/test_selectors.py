"""Action profiles and selectors in process: which action a packet gets, what is in use, what is refused."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from esa.switch import BadEntry, EntryInUse, Group, Member, NoSuchEntry, Pipeline, TableFull, UnsupportedError

SOURCE = (Path(__file__).parent / "programs" / "selectors.json").read_text()


@pytest.fixture
def pipeline() -> Pipeline:
    return Pipeline.load(SOURCE, compiled=False)


def sent(pipeline: Pipeline, kind: int = 0, tos: int = 0, port: int = 0, flow: int = 0) -> list[tuple[int, int, int]]:
    """(egress port, mark, which action ran by the switch statement) of what leaves."""
    packet = bytes([kind, tos, port, flow >> 8, flow & 255, 0, 0, 0, 0, 0, 0])
    return [(out, int.from_bytes(copy[7:9], "big"), copy[6]) for out, copy in pipeline.process(0, packet)]


def test_entries_name_members_and_follow_them(pipeline: Pipeline) -> None:
    profile, plain = pipeline.action_profiles["I.shared"], pipeline.tables["I.plain"]
    one = profile.add_member("I.forward", (3, 77))
    plain.add((1,), Member(one))
    plain.add((2,), Member(one))
    pipeline.tables["I.also"].add((9,), Member(one))
    assert sent(pipeline, 1) == sent(pipeline, 2) == sent(pipeline, 0, 9) == [(3, 77, 0)]
    assert sent(pipeline, 4) == [(1, 0, 0)]
    profile.modify_member(one, "I.drop")
    assert sent(pipeline, 1) == sent(pipeline, 0, 9) == []
    other = profile.add_member("I.flood", (5,))
    plain.modify((1,), Member(other))
    assert sent(pipeline, 1) == [(2, 5, 0)]
    assert plain.get((1,)).action == Member(other)


@pytest.mark.supports("tables: action profiles and selectors")
def test_a_group_is_chosen_from_by_the_hash(pipeline: Pipeline) -> None:
    profile = pipeline.action_profiles["I.by_crc32"]
    members = [profile.add_member("I.forward", (at, 100 + at)) for at in range(3)]
    group = profile.add_group(members)
    pipeline.tables["I.choose_ran"].add(((7, 255),), Group(group), (), 1)
    for flow in range(50):
        at = zlib.crc32(flow.to_bytes(2, "big")) % 3
        assert sent(pipeline, port=7, flow=flow) == [(at, 100 + at, 1)]
    profile.set_down(group, [members[1]])
    for flow in range(50):
        at = (0, 2)[zlib.crc32(flow.to_bytes(2, "big")) % 2]
        assert sent(pipeline, port=7, flow=flow) == [(at, 100 + at, 1)]
    profile.set_down(group, [])
    profile.set_group(group, [members[2]])
    assert {sent(pipeline, port=7, flow=flow)[0] for flow in range(9)} == {(2, 102, 1)}


def test_the_path_is_that_of_the_action_that_ran(pipeline: Pipeline) -> None:
    profile, table = pipeline.action_profiles["I.by_crc32"], pipeline.tables["I.choose_ran"]
    for port, (action, params) in enumerate([("I.forward", (3, 4)), ("I.flood", (5,))]):
        table.add(((port, 255),), Member(profile.add_member(action, params)), (), 1)
    assert [sent(pipeline, port=port) for port in range(3)] == [[(3, 4, 1)], [(2, 5, 2)], [(1, 0, 0)]]


def test_an_empty_group_runs_no_action(pipeline: Pipeline) -> None:
    profile = pipeline.action_profiles["I.by_crc32"]
    member = profile.add_member("I.forward", (3, 4))
    group = profile.add_group()
    pipeline.tables["I.choose_ran"].add(((7, 255),), Group(group), (), 1)
    assert sent(pipeline, port=7) == [(1, 0, 0)]
    profile.set_group(group, [member])
    assert sent(pipeline, port=7) == [(3, 4, 1)]
    profile.set_down(group, [member])
    assert sent(pipeline, port=7) == [(1, 0, 0)]


def test_a_default_can_name_a_member_or_a_group(pipeline: Pipeline) -> None:
    profile, table = pipeline.action_profiles["I.by_crc32"], pipeline.tables["I.choose_ran"]
    member = profile.add_member("I.flood", (8,))
    group = profile.add_group([member])
    for reference in (Member(member), Group(group)):
        table.set_default(reference)
        assert sent(pipeline) == [(2, 8, 2)]
    with pytest.raises(EntryInUse):
        profile.delete_group(group)
    table.reset_default()
    assert sent(pipeline) == [(1, 0, 0)]
    profile.delete_group(group)


def test_what_is_in_use_stays(pipeline: Pipeline) -> None:
    profile, table = pipeline.action_profiles["I.by_crc16"], pipeline.tables["I.choose"]
    one, two = (profile.add_member("I.flood", (at,)) for at in range(2))
    group = profile.add_group([one])
    table.add((1,), Group(group))
    table.add((2,), Member(two))
    for call in (profile.delete_member, profile.delete_member, profile.delete_group):
        with pytest.raises(EntryInUse, match="in use"):
            call(two if call == profile.delete_member else group)
    with pytest.raises(EntryInUse):
        profile.delete_member(one)
    table.modify((2,), Group(group))
    profile.delete_member(two)
    table.delete((2,))
    table.clear()
    profile.delete_group(group)
    profile.delete_member(one)
    assert (profile.members(), profile.groups()) == ({}, {})


def test_numbers_are_the_lowest_that_are_free(pipeline: Pipeline) -> None:
    profile = pipeline.action_profiles["I.by_crc16"]
    assert [profile.add_member("I.drop") for _ in range(4)] == [0, 1, 2, 3]
    for number in (2, 0):
        profile.delete_member(number)
    assert [profile.add_member("I.drop") for _ in range(3)] == [0, 2, 4]


def test_what_is_not_there_is_refused_by_name(pipeline: Pipeline) -> None:
    shared, selector = pipeline.action_profiles["I.shared"], pipeline.action_profiles["I.by_crc16"]
    plain, choose = pipeline.tables["I.plain"], pipeline.tables["I.choose"]
    with pytest.raises(NoSuchEntry, match="no member 3"):
        plain.add((1,), Member(3))
    with pytest.raises(NoSuchEntry, match="no group 0"):
        choose.add((1,), Group(0))
    with pytest.raises(BadEntry, match="names a Member of it"):
        plain.add((1,), Group(0))
    with pytest.raises(BadEntry, match=r"not 'I\.flood'"):
        plain.add((1,), "I.flood", (3,))
    with pytest.raises(BadEntry, match="no action selector"):
        shared.add_group()
    with pytest.raises(BadEntry, match=r"no action 'I\.note'"):
        shared.add_member("I.note", (1,))
    with pytest.raises(BadEntry, match="does not fit 9 bits"):
        shared.add_member("I.forward", (512, 1))
    with pytest.raises(NoSuchEntry, match="no member 5"):
        selector.add_group([5])
    member = selector.add_member("I.drop")
    with pytest.raises(BadEntry, match="twice"):
        selector.add_group([member, member])
    assert selector.groups() == {}
    for _ in range(64):
        shared.add_member("I.drop")
    with pytest.raises(TableFull, match="all 64 members"):
        shared.add_member("I.drop")


def test_groups_move_up_when_there_is_no_room_behind(pipeline: Pipeline) -> None:
    profile, table = pipeline.action_profiles["I.by_crc32"], pipeline.tables["I.choose_ran"]
    members = [profile.add_member("I.forward", (3, at)) for at in range(9000)]
    first = profile.add_group(members[:1])
    table.add(((7, 255),), Group(first), (), 1)
    other = profile.add_group()
    for size in range(8990, 9000):  # each a larger one, in a place of its own
        profile.set_group(other, members[:size])
    assert sent(pipeline, port=7) == [(3, 0, 1)]
    assert profile.group(other) == tuple(members[:8999])
    groups = [profile.add_group(members) for _ in range(6)]
    with pytest.raises(TableFull, match="65536"):
        profile.add_group(members)
    assert profile.group(groups[-1]) == tuple(members)
    assert sent(pipeline, port=7) == [(3, 0, 1)]


def test_a_reset_takes_everything(pipeline: Pipeline) -> None:
    profile = pipeline.action_profiles["I.by_crc32"]
    group = profile.add_group([profile.add_member("I.flood", (8,))])
    pipeline.tables["I.choose_ran"].add(((7, 255),), Group(group), (), 1)
    pipeline.tables["I.choose_ran"].set_default(Group(group))
    pipeline.reset()
    assert (profile.members(), profile.groups()) == ({}, {})
    assert sent(pipeline, port=7) == [(1, 0, 0)]


Root = dict[str, Any]


def table_of(root: Root, name: str) -> Root:
    return next(table for table in root["pipelines"][0]["tables"] if table["name"] == name)


def unknown_profile(root: Root) -> None:
    table_of(root, "I.plain")["action_profile"] = "I.none"


def unknown_type(root: Root) -> None:
    table_of(root, "I.plain")["type"] = "sideways"


def other_actions(root: Root) -> None:
    table_of(root, "I.plain")["action_ids"].pop()


def own_default(root: Root) -> None:
    table_of(root, "I.plain")["default_entry"] = {"action_id": table_of(root, "I.plain")["action_ids"][0]}


def algorithm(root: Root) -> None:
    root["pipelines"][0]["action_profiles"][1]["selector"]["algo"] = "mystery"


def payload(root: Root) -> None:
    root["pipelines"][0]["action_profiles"][1]["selector"]["input"].append({"type": "payload"})


def twins(root: Root) -> None:
    root["pipelines"][0]["action_profiles"].append(root["pipelines"][0]["action_profiles"][0])


def too_many(root: Root) -> None:
    root["pipelines"][0]["action_profiles"][0]["max_size"] = 1 << 40


def taken_name(root: Root) -> None:
    root["calculations"].append({"name": "select I.by_crc16", "id": 0, "algo": "crc16", "input": []})


@pytest.mark.refuses("tables: a selector over the payload", "tables: two tables with one profile and other actions")
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (unknown_profile, "I.plain: there is no action profile 'I.none'"),
        (unknown_type, "I.plain: type 'sideways'"),
        (other_actions, "I.shared: tables I.plain and I.also differ"),
        (own_default, "I.plain: actions stated by the program"),
        (algorithm, "mystery"),
        (payload, "I.by_crc16: a selector over the payload"),
        (twins, "two action profiles have the name I.shared"),
        (too_many, "I.shared has 1099511627776 cells"),
        (taken_name, "two calculations have the name"),
    ],
)
def test_programs_that_cannot_be_are_refused_by_name(change: Callable[[Root], None], says: str) -> None:
    root = json.loads(SOURCE)
    change(root)
    with pytest.raises(UnsupportedError, match=says):
        Pipeline.load(root, compiled=False)


def test_older_documents_have_the_profile_in_the_table() -> None:
    root = json.loads(SOURCE)
    profiles = {each["name"]: each for each in root["pipelines"][0].pop("action_profiles")}
    for table in root["pipelines"][0]["tables"]:
        if table["type"] != "simple":
            profile = profiles[table.pop("action_profile")]
            if "selector" in profile:
                table["selector"] = profile["selector"]
    pipeline = Pipeline.load(root, compiled=False)
    profile = pipeline.action_profiles["I.choose_ran"]
    pipeline.tables["I.choose_ran"].add(
        ((7, 255),), Group(profile.add_group([profile.add_member("I.flood", (8,))])), (), 1
    )
    assert sent(pipeline, port=7) == [(2, 8, 2)]
