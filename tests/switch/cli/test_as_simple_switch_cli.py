"""The same command file on simple_switch and on the embedded switch: the same forwarding, the same numbers read."""

from __future__ import annotations

import re
from typing import NamedTuple

import pytest

from tests.switch.cli import bmv2
from tests.switch.cli.embedded import switch


class Case(NamedTuple):
    program: str
    before: str
    packets: list[tuple[int, bytes]]
    after: str = ""


def ethernet(dst: int, type_: int, src: int = 0x020000000099) -> bytes:
    return dst.to_bytes(6, "big") + src.to_bytes(6, "big") + type_.to_bytes(2, "big") + bytes(46)


TABLES = Case(
    "control_plane",
    """
    table_add exact_dst forward 00:00:00:00:00:01 => 1
    table_add MyIngress.exact_dst MyIngress.multicast 0x000000000002 => 9
    table_add exact_dst mirror 3 => 1
    table_add exact_dst forward 4 => 2
    table_set_default exact_dst forward 3
    mc_mgrp_create 9
    mc_node_create 0 2
    mc_node_create 3 1 2
    mc_node_create 5 3
    mc_node_associate 9 0
    mc_node_associate 9 1
    mc_node_associate 9 2
    mc_node_update 2 0 3
    mc_node_dissociate 9 0
    mirroring_add 7 2
    table_modify exact_dst drop 3 =>
    table_add lpm_src count_type 02:00:00:00:00:00/40 => 1
    table_add lpm_src count_type 0x020000000000/8 => 2
    table_add lpm_src count_type 0/0 => 3
    table_add ternary_both count_type 1 0x1&&&0x1 0x0800->0x08ff => 4 20
    table_add ternary_both count_type 1 0x1&&&0x1 0x0800->0xffff => 5 10
    table_add ternary_both count_type 1 0&&&0 0->0xffff => 6 30
    table_add optional_type count_type 0x88cc&&&0xffff => 7 1
    table_add optional_type count_type 0&&&0 => 10 2
    table_delete exact_dst 3
    register_write words 15 4000000000
    register_write narrow 3 127
    """,
    [
        (port, ethernet(dst, kind, src))
        for port in (0, 1)
        for dst in (1, 2, 3, 4, 5, 6)
        for kind, src in ((0x0800, 0x020000000001), (0x88CC, 0x020000990001), (0x9999, 0x040000000001))
    ],
    """
    register_read words 1
    register_read words
    register_read narrow
    register_read MyIngress.wide 0
    counter_read port_counter 0
    counter_read port_counter 1
    counter_read forward_hits 0
    counter_read forward_hits 1
    table_num_entries exact_dst
    table_num_entries ternary_both
    counter_write MyIngress.port_counter 2 5 77
    counter_read port_counter 2
    counter_reset port_counter
    counter_read port_counter 2
    register_reset words
    register_read words
    counter_reset forward_hits
    counter_read forward_hits 1
    """,
)
PROFILES = Case(
    "selectors",
    """
    act_prof_create_member shared forward 1 0x1111
    act_prof_create_member shared flood 0x2222
    act_prof_create_member I.shared drop
    act_prof_create_member shared forward 3 0x3333
    table_indirect_add plain 1 => 0
    table_indirect_add plain 2 => 1
    table_indirect_add also 2 => 3
    table_indirect_add plain 3 => 2
    act_prof_modify_member shared forward 1 2 0x4444
    act_prof_create_member by_crc16 forward 1 0xaaaa
    act_prof_create_member by_crc16 forward 2 0xbbbb
    table_indirect_create_member choose forward 3 0xcccc
    act_prof_create_group by_crc16
    act_prof_add_member_to_group by_crc16 0 0
    act_prof_add_member_to_group by_crc16 1 0
    act_prof_add_member_to_group by_crc16 2 0
    act_prof_remove_member_from_group by_crc16 1 0
    table_indirect_add_with_group choose 7 => 0
    table_indirect_add choose 8 => 1
    table_indirect_add plain 9 => 0
    table_indirect_delete plain 3
    """,
    [
        (0, bytes([kind, tos, port]) + flow.to_bytes(2, "big") + bytes(6) + bytes(47))
        for kind in (1, 2, 3, 9)
        for tos in (2, 4)
        for port in (7, 8, 9)
        for flow in (1, 77, 40000)
    ],
    "counter_read hits 0\ncounter_read hits 1",
)
METERS = Case(
    "meters",
    """
    meter_array_set_rates by_packet 0.000001:2 0.000002:4
    meter_set_rates by_packet 1 0.000001:1 0.000001:2
    meter_set_rates by_byte 0 0.00001:60 0.00001:120
    table_add t police 5 => 6
    table_add u mark 0&&&0 => 1
    meter_set_rates of_entry 0 0.000001:3 0.000001:5
    meter_set_rates of_index 0 0.00001:200 0.00001:300
    meter_get_rates by_packet 1
    meter_get_rates of_entry 0
    meter_get_rates by_byte 2
    """,
    [(0, bytes([index, kind, 0, 0]) + bytes(56)) for _ in range(3) for index in (0, 1, 2) for kind in (5, 6)],
)
VALUE_SETS = Case(
    "value_sets",
    """
    pvs_add P.kinds 5
    pvs_add P.kinds 9
    pvs_add P.kinds 300
    pvs_remove P.kinds 9
    pvs_get P.kinds
    """,
    [(0, (kind << 7).to_bytes(2, "big") + bytes(58)) for kind in (1, 5, 7, 9, 300)],
)


@pytest.mark.bmv2
@pytest.mark.parametrize("case", [TABLES, PROFILES, METERS, VALUE_SETS], ids=lambda case: case.program)
def test_a_command_file_does_the_same(case: Case) -> None:
    said, left, read = bmv2.run(case.program, case.before, case.packets, case.after)
    with switch(case.program) as ours:
        own_said = ours.run(case.before)
        own_left = ours.send(
            [(port, packet) for into in range(bmv2.PORTS) for port, packet in case.packets if port == into]
        )
        own_read = ours.run(case.after)
    assert not [line for line in said if line.startswith(("Invalid", "Error"))], said
    assert {port: sorted(found) for port, found in own_left.items()} == {
        port: sorted(found) for port, found in left.items()
    }
    assert numbers(own_said) == numbers(said)
    assert numbers(own_read) == numbers(read)


def numbers(lines: list[str]) -> list[str]:
    """The lines that programs read: handles, values, counts."""
    # BMv2 prints a value set in no order
    return sorted(line for line in lines if re.search(r"with handle|\]?= |^\d+$|info rate|^[0-9a-f]+$", line))
