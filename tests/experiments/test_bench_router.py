"""The router's benchmark measures what it says: packets that come back, and a switch that is started anew."""

from __future__ import annotations

import ipaddress

from experiments.studies.bench import interruption, large, router


def test_frames_go_to_routes_and_no_rule_meets_them() -> None:
    routes = {router.prefix(number) for number in range(10_000)}
    assert len(routes) == 10_000
    for frame in router.frames(10_000, 64):
        destination = int.from_bytes(frame[30:34], "big")
        assert destination & ~0xFF in routes
        words = [int.from_bytes(frame[at : at + 2], "big") for at in range(14, 34, 2)]
        assert sum(words) % 0xFFFF == 0, ipaddress.ip_address(destination)
        for number in range(router.RULES):
            (value, mask), *_ = router.rule(number)
            assert int.from_bytes(frame[26:30], "big") & mask != value


def test_look_ups_are_of_packets_that_all_leave() -> None:
    assert min(router.look_ups("filter", 100, 50, print)) > 0


def test_packets_come_back_over_veth_also_from_a_switch_that_was_killed(root: None) -> None:
    measured = router.over_veth("embedded", "filter", 10, 0.3)
    assert measured["packets_per_s"] > 100
    assert measured["cpu_us"] > 0
    assert 0 < router.restart("embedded", "filter", 10) < 60


def test_packets_pass_while_entries_come_and_go(root: None) -> None:
    program = router.PROGRAMS / "filter"
    measured = interruption.interruptions("embedded", program, routes=300, rules=100, repeats=1)
    assert 0 < measured["longest_ms"] < 1000
    assert 0 < measured["quiet_ms"] < 1000
    assert measured["updates_per_s"] > 100
    assert measured["lost"] == 0


def test_frames_meet_the_entries_of_large_tables() -> None:
    middles = {large.address(number) for number in range(large.ENTRIES)}
    assert len(middles) == large.ENTRIES
    for frame in large.frames(large.ENTRIES, 64):
        source, destination = frame[26:30], frame[30:34]
        assert (int.from_bytes(source, "big"), int.from_bytes(destination, "big") in middles) == (large.SOURCE, True)
    masks = [tuple(each["ternary"]["mask"] for each in large.match("ternary", number)) for number in range(400)]
    assert len(set(masks)) == 80


def test_packets_meet_large_tables_while_their_entries_come_and_go(root: None) -> None:
    measured = large.large("embedded", "ternary", count=400, churn=100, seconds=0.2)
    assert measured["lost"] == 0
    assert all(measured[each] > 100 for each in ("inserts_per_s", "deletes_per_s", "churn_per_s", "packets_per_s"))
    assert all(0 < measured[each] < 1000 for each in ("longest_ms", "quiet_ms"))
