"""Action profiles and selectors beside BMv2's: the same members and groups, the same choice for every packet."""

from __future__ import annotations

import random
from ipaddress import IPv6Address
from pathlib import Path

import pytest

from esa.switch import Group, Member, Pipeline
from tests.switch import bmv2_files
from tests.switch.test_differential import ours, same

PROGRAM = Path(__file__).parent / "programs" / "selectors.json"


@pytest.mark.supports("tables: action profiles and selectors")
@pytest.mark.bmv2
def test_choices_are_bmv2s() -> None:
    rng = random.Random(7)
    packets = {
        0: [bytes([rng.randrange(4), rng.randrange(6), rng.randrange(4)]) + rng.randbytes(8) for _ in range(500)],
    }
    pipeline = Pipeline.load(PROGRAM.read_text())
    commands: list[str] = []

    def member(profile: str, action: str, *params: int) -> int:
        commands.append(f"act_prof_create_member {profile} {action} {' '.join(map(str, params))}")
        return pipeline.action_profiles[profile].add_member(action, params)

    def group(profile: str, *members: int) -> int:
        number = pipeline.action_profiles[profile].add_group(members)
        commands.append(f"act_prof_create_group {profile}")
        commands.extend(f"act_prof_add_member_to_group {profile} {one} {number}" for one in members)
        return number

    shared = [member("I.shared", "I.forward", port, 0x100 + port) for port in range(4)]
    shared.append(member("I.shared", "I.drop"))
    for kind, number in enumerate(shared[:3]):
        pipeline.tables["I.plain"].add((kind,), Member(number))
        commands.append(f"table_indirect_add I.plain {kind} => {number}")
    for tos, number in ((1, shared[4]), (2, shared[3]), (3, shared[0])):
        pipeline.tables["I.also"].add((tos,), Member(number))
        commands.append(f"table_indirect_add I.also {tos} => {number}")
    for profile, table, keys in (
        ("I.by_crc16", "I.choose", [((port,), f"{port}", 0) for port in range(3)]),
        ("I.by_crc32", "I.choose_ran", [(((port, 3),), f"{port}&&&3", 9 - port) for port in range(3)]),
    ):
        members = [member(profile, "I.forward", port, 0x200 + port) for port in range(4)]
        members += [member(profile, "I.flood", 0x300 + at) for at in range(3)]
        members.append(member(profile, "I.drop"))
        groups = [group(profile, *members), group(profile, *members[1:6:2])]
        references = [Group(groups[0]), Group(groups[1]), Member(members[5])]
        for (match, text, priority), reference in zip(keys, references, strict=True):
            pipeline.tables[table].add(match, reference, (), 10 - priority if priority else 0)
            command = "table_indirect_add" if isinstance(reference, Member) else "table_indirect_add_with_group"
            commands.append(f"{command} {table} {text} => {reference.number} {priority or ''}")
    notes = [member("I.by_identity", "I.note", 0x700 + at) for at in range(5)]
    pipeline.tables["I.everywhere"].add(((0, 0),), Group(group("I.by_identity", *notes)))
    commands.append("table_indirect_add_with_group I.everywhere 0/0 => 0")
    # numbers that are free again are taken again
    extra = member("I.by_crc16", "I.flood", 0x999)
    pipeline.action_profiles["I.by_crc16"].delete_member(extra)
    commands.append(f"act_prof_delete_member I.by_crc16 {extra}")
    again = member("I.by_crc16", "I.flood", 0x998)
    assert again == extra
    profile = pipeline.action_profiles["I.by_crc16"]
    profile.set_group(1, [*profile.group(1)[1:], again])
    commands += [
        "act_prof_remove_member_from_group I.by_crc16 1 1",
        f"act_prof_add_member_to_group I.by_crc16 {again} 1",
    ]

    theirs = bmv2_files.run(PROGRAM, packets, "\n".join([*commands, ""]))
    marks = {packet[7:9] for port in theirs for packet in theirs[port]}
    assert len(marks) > 14, "members of every kind are chosen"
    same(theirs, ours(pipeline, packets))


@pytest.mark.supports("numbers: more than 64 bits as keys of tables, in hashes and parameters")
@pytest.mark.bmv2
def test_wide_keys_hashes_and_parameters_are_bmv2s() -> None:
    rng = random.Random(8)
    program = PROGRAM.with_name("members.json")
    pipeline = Pipeline.load(program.read_text(), compiled=False)
    commands: list[str] = []
    sources = [rng.getrandbits(128) for _ in range(4)]
    first = [(1 << 127) + 5, (0xFE80 << 112) + 1]

    def member(profile: str, action: str, *params: int) -> int:
        commands.append(f"act_prof_create_member {profile} {action} {' '.join(map(hex, params))}")
        return pipeline.action_profiles[profile].add_member(action, params)

    for source in sources[:2]:
        number = member("I.shared", "I.note", rng.getrandbits(104))
        pipeline.tables["I.exactly"].add((source,), Member(number))
        commands.append(f"table_indirect_add I.exactly {IPv6Address(source)} => {number}")
    chosen = [member("I.by_crc32", "I.forward", port, rng.getrandbits(128), port) for port in range(5)]
    chosen += [member("I.by_crc32", "I.note", rng.getrandbits(104))]
    number = pipeline.action_profiles["I.by_crc32"].add_group(chosen)
    commands += ["act_prof_create_group I.by_crc32"]
    commands += [f"act_prof_add_member_to_group I.by_crc32 {one} {number}" for one in chosen]
    for target, length, reference in ((first[0], 128, Group(number)), (first[1], 10, Member(chosen[1]))):
        pipeline.tables["I.choose"].add(((target >> (128 - length) << (128 - length), length),), reference)
        command = "table_indirect_add" if isinstance(reference, Member) else "table_indirect_add_with_group"
        commands.append(f"{command} I.choose {IPv6Address(target)}/{length} => {reference.number}")
    packets = {
        0: [
            b"".join(number.to_bytes(16, "big") for number in (rng.choice(sources), rng.choice([*first, 7])))
            + rng.randbytes(38)
            for _ in range(300)
        ]
    }
    theirs = bmv2_files.run(program, packets, "\n".join([*commands, ""]))
    marks = {packet[41:57] for port in theirs for packet in theirs[port]}
    assert len(marks) > 5, "members of every kind are chosen"
    same(theirs, ours(pipeline, packets))
