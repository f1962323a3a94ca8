"""A switch holds what it shall: what is written for that, in which order, and again once it was restarted."""

from __future__ import annotations

import pytest

from controller import Switch, looking
from controller import keeper as module
from controller.keeper import Item, Keeper, changes
from esa.entries import job_entries as e
from esa.entries.job_entries import Entry, Group, InstalledJob, Replica
from esa.errors import BadInput, Refused, Unreachable
from tests.controller.jobs import make_run
from tests.switches import KINDS, SwitchProcess, running_switch

JOB = InstalledJob.of(make_run(), 1)
NEXT = InstalledJob.of(make_run(epoch=8), 1)
HOSTS = [e.flood_group([1, 2, 11]), e.broadcast_entry(), e.host_entry("00:00:0a:00:00:01", 1)]
ITEMS = [*HOSTS, e.job_group(JOB), *e.job_entries(JOB), e.run_entry(1, 7)]
NEW = [*HOSTS, e.job_group(NEXT), *e.job_entries(NEXT), e.run_entry(1, 8)]
DEFAULT = Entry(e.ECN, (), e.MARK_ABOVE, (0x7FFFF,))


def test_a_new_run_is_whole_before_the_old_one_goes() -> None:
    found = changes(ITEMS, NEW)
    groups, parts, policies = found.insert
    assert groups == ()
    assert [entry.match for entry in policies] == [(1, 8)]
    assert {entry.match[-2:] for entry in parts} == {(1, 8)}
    assert found.modify == ()
    gone_policies, gone_parts, gone_groups = found.delete
    assert [entry.match for entry in gone_policies] == [(1, 7)]
    assert {entry.match[-2:] for entry in gone_parts} == {(1, 7)}
    assert gone_groups == ()
    assert found.items == 2 * (len(e.job_entries(JOB)) + 1)


def test_what_is_there_already_is_left_alone() -> None:
    group = e.job_group(JOB)
    other_order = Group(group.id, group.replicas[::-1])
    there = [DEFAULT, *(other_order if item == group else item for item in ITEMS)]
    assert changes(there, ITEMS).items == 0


def test_what_has_changed_is_modified_and_groups_go_last() -> None:
    moved = e.host_entry("00:00:0a:00:00:01", 2)
    found = changes([*HOSTS, e.job_group(JOB), DEFAULT], [*HOSTS[:2], moved, e.ecn_entry(9)])
    assert found.modify == (moved, e.ecn_entry(9))
    assert found.delete == ((), (), (e.job_group(JOB),))
    assert found.insert == ((), (), ())


def keep(process: SwitchProcess, said: list[str]) -> Keeper:
    return Keeper(
        "rack-0", lambda wait_s: Switch.connect(process.address, process.device_id, wait_s=wait_s), 64, said.append
    )


def held(process: SwitchProcess) -> int:
    """How much of what it shall hold a switch lacks, or has too much."""
    with Switch.connect(process.address, process.device_id) as switch:
        return changes([*switch.read_groups(), *switch.read_entries(module.TABLES)], NEW).items


@pytest.mark.parametrize("kind", KINDS)
def test_a_restarted_switch_holds_the_same_again(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "COMPARE_S", 0.0)
    monkeypatch.setattr(looking, "LOOK_S", 3600.0)  # the test looks
    said: list[str] = []
    with running_switch(kind) as first:
        keeper = keep(first, said)
        try:
            keeper.hold(ITEMS)
            assert not keeper.whole
            keeper.start()
            assert keeper.whole
            assert keeper.restorations == 0
            keeper.hold(NEW)
            assert held(first) == 0
            with Switch.connect(first.address) as other:
                other.delete([e.policy_entry(NEXT)])
                other.insert([e.host_entry("00:00:0a:00:00:63", 99)])
            keeper.look()
            assert held(first) == 0
            assert said == ["rack-0: 2 entries and groups were not as they should be"]
            first.process.kill()
            first.process.wait()
            keeper.look()
            keeper.look()
            assert not keeper.whole
            with pytest.raises(Unreachable, match="switch rack-0 is away"):
                keeper.read_counters([1])
            keeper.hold(ITEMS)  # it is to have these, then, and these again
            keeper.hold(NEW)
            keeper.retire(1)
            with running_switch(kind) as second:
                keeper._connect = keep(second, said)._connect
                keeper.look()
                assert keeper.whole
                assert keeper.restorations == 1
                assert held(second) == 0
                assert keeper.read_counters([1])[0]["gradients"] == 0
        finally:
            keeper.close()
    assert sum("waiting for it" in line for line in said) == 1
    assert sum("ran no program" in line for line in said) == 1


@pytest.mark.parametrize(
    ("item", "refused", "said"),
    [
        (e.host_entry("00:00:0a:00:00:02", 600), BadInput, "port: 600 does not fit in 9 bits"),
        (Group(0, (Replica(1, 1),)), Refused, "multicast group 0"),
    ],
)
def test_what_a_switch_refuses_it_is_not_to_hold_any_more(item: Item, refused: type[Exception], said: str) -> None:
    with running_switch("embedded") as process:
        keeper = keep(process, [])
        try:
            keeper.hold(NEW)
            keeper.start()
            with pytest.raises(refused, match=said):
                keeper.hold([*NEW, item])
            keeper.look()
            assert keeper.whole
            assert held(process) == 0
        finally:
            keeper.close()
