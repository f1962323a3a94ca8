"""Weights and one-shot entries beside BMv2's P4Runtime server: the same writes, the same choice for every packet."""

from __future__ import annotations

from collections import defaultdict

import pytest

from tests.switch import bmv2_files, bmv2_served
from tests.switch.control import Client, config, delete, insert, modify
from tests.switch.served import inject, primary_client
from tests.switch.test_differential import same
from tests.switch.test_p4runtime_profiles import action, entry, group, member


def write(client: Client) -> None:
    client.write(*[insert(member(at, "flood", at)) for at in (1, 2)])
    client.write(insert(group(5, (1, 3), (2, 1))), insert(group(6, (1, 2), (2, 2))))
    client.write(insert(member(3, "flood", 3)))
    client.write(modify(group(5, (1, 1), (2, 4), (3, 1))))
    client.write(modify(member(2, "forward", 3, 9)))
    client.write(insert(entry(1, group=5)), insert(entry(2, group=6)), insert(entry(3, member=3)))
    client.write(delete(entry(2)), delete(group(6)), insert(member(4, "flood", 4)))
    client.write(insert(group(7, (4, 2), (1, 2))), insert(entry(2, group=7)))
    for port in (1, 2):
        shot = entry(port, table="choose")
        chosen = shot.table_entry.action.action_profile_action_set.action_profile_actions
        for at in range(1, 4):
            chosen.add(action=action("flood", 0x100 * port + at), weight=at)
        client.write(insert(shot))
    again = entry(1, table="choose")
    chosen = again.table_entry.action.action_profile_action_set.action_profile_actions
    for at in range(4):
        chosen.add(action=action("forward", at, 0x700 + at), weight=2)
    client.write(modify(again))
    hit = entry(5, table="also", member=1)
    client.write(insert(member(1, "forward", 1, 0x55, profile="shared")), insert(hit))


@pytest.mark.supports("P4Runtime: members, groups with weights, one-shot entries")
@pytest.mark.bmv2
def test_choices_are_bmv2s() -> None:
    packets = [
        bytes([0, tos, port, flow, flow ^ port, flow & 0xE0, 0, 0, 0, 0, 0])
        for tos in (0, 5)
        for port in (1, 2, 3)
        for flow in range(100)
    ]
    mine: dict[int, list[bytes]] = defaultdict(list)
    with primary_client(push=False) as (client, device):
        client.push(message=config("selectors"))
        write(client)
        for packet in packets:
            for port, copy in inject(device, 0, packet):
                mine[port].append(copy)
    theirs = bmv2_served.run(config("selectors"), write, {0: packets})
    marks = {packet[7:9] for port in theirs for packet in theirs[port]}
    assert len(marks) >= 12, "every member is chosen"
    same(theirs, {port: mine[port] for port in range(bmv2_files.PORTS)})
