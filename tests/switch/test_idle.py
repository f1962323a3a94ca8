"""Idle time-outs: entries that no packet hits, by a given clock and over P4Runtime."""

from __future__ import annotations

import time

import grpc
import numpy as np
import pytest

from esa.switch.p4runtime.idle import IdleTimeouts
from esa.switch.runtime.device import Device
from tests.switch.control import Client, Ids, config, delete, insert, modify, p4, p4info
from tests.switch.served import inject

IDS = Ids(p4info("ageing"))
MS = 10**6


class Clock:
    now = 0

    def __call__(self) -> int:
        return self.now


def idle_rows(idle: IdleTimeouts) -> list[int]:
    """The priorities of the entries that notifications name."""
    return [entry.priority for each in idle.expired() for entry in each.idle_timeout_notification.table_entry]


def timed(row: int, timeout_ns: int) -> p4.TableEntry:
    return p4.TableEntry(table_id=1, priority=row, idle_timeout_ns=timeout_ns)


@pytest.mark.supports("tables: idle time-outs")
def test_an_entry_is_told_of_each_time_that_it_was_idle_for_long() -> None:
    hits, clock = np.zeros(4, np.int64), Clock()
    idle = IdleTimeouts(hits, clock)
    for row, timeout_ns in ((1, 10), (2, 25), (3, 0)):
        idle.begin(row)
        idle.put(row, timed(row, timeout_ns))
    seen = {}
    for clock.now in range(1, 61):
        if clock.now == 15:
            hits[2] += 1
        if rows := idle_rows(idle):
            seen[clock.now] = rows
    assert seen == {10: [1], 20: [1], 30: [1], 40: [1, 2], 50: [1], 60: [1]}
    assert [idle.since_hit_ns(row) for row in (1, 2)] == [60, 45]


def test_a_hit_moves_the_time() -> None:
    hits, clock = np.zeros(2, np.int64), Clock()
    idle = IdleTimeouts(hits, clock)
    idle.begin(1)
    idle.put(1, timed(1, 10))
    for clock.now in (9, 18, 27):
        hits[1] += 1
        assert idle_rows(idle) == []
    clock.now = 37
    assert idle_rows(idle) == [1]
    idle.drop(1)
    clock.now = 99
    assert idle_rows(idle) == []


def test_a_new_time_out_begins_anew() -> None:
    clock = Clock()
    idle = IdleTimeouts(np.zeros(2, np.int64), clock)
    idle.begin(1)
    idle.put(1, timed(1, 10))
    clock.now = 8
    idle.put(1, timed(1, 5))
    assert idle_rows(idle) == []
    clock.now = 13
    assert idle_rows(idle) == [1]


@pytest.mark.slow
def test_a_large_tables_entries_cost_little_and_come_in_messages_that_clients_take() -> None:
    rows, clock = 100_000, Clock()
    idle = IdleTimeouts(np.zeros(rows, np.int64), clock)
    for row in range(rows):
        idle.begin(row)
        entry = timed(row, 10**9)
        entry.match.add(field_id=1).exact.value = bytes(16)
        idle.put(row, entry)
    began = time.thread_time()
    assert [list(idle.expired()) for clock.now in range(10)] == [[]] * 10
    assert time.thread_time() - began < 0.1  # a look takes less than the 10 ms until the next one
    clock.now = 10**9
    messages = list(idle.expired())
    assert max(message.ByteSize() for message in messages) < 4 << 20
    named = [entry.priority for each in messages for entry in each.idle_timeout_notification.table_entry]
    assert named == list(range(rows))


# --- over P4Runtime -------------------------------------------------------------------------------------------------


SERVED = "ageing"


def entry(table: str, value: int | None = None, timeout_ns: int = 0, **fields) -> p4.Entity:
    entity = p4.Entity()
    message = entity.table_entry
    message.table_id, message.idle_timeout_ns = IDS.table(table), timeout_ns
    if value is None:
        return entity
    message.action.action.action_id = IDS.action("forward")
    message.action.action.params.add(param_id=1, value=b"\x01")
    if table == "ternary_b":
        message.match.add(field_id=1).ternary.value = bytes([value])
        message.match[0].ternary.mask, message.priority = b"\xff", 1
    else:
        message.match.add(field_id=1).exact.value = bytes([value])
    for name, given in fields.items():
        setattr(message, name, given)
    return entity


@pytest.mark.supports("P4Runtime: idle time-outs")
def test_idle_entries_are_told_to_the_primary_client(served: tuple[Client, Device]) -> None:
    client, device = served
    kept = entry("exact_a", 1, 200 * MS)
    idle = entry("exact_a", 2, 100 * MS, controller_metadata=7, metadata=b"note")
    client.write(insert(kept), insert(idle), insert(entry("ternary_b", 3)))
    end = time.monotonic() + 0.5
    while time.monotonic() < end:  # longer than both
        inject(device, 0, b"\x01\x00")
        time.sleep(0.02)
    told = client.receive().idle_timeout_notification
    assert told.timestamp > 1.6e18
    expected = p4.TableEntry()
    expected.CopyFrom(idle.table_entry)
    expected.ClearField("action")
    assert list(told.table_entry) == [expected]
    client.write(modify(entry("exact_a", 2)))  # no time-out any more
    while not client.nothing(0.01):
        pass
    assert [each.table_entry for each in client.read(entry("exact_a"))] == [
        kept.table_entry,
        entry("exact_a", 2).table_entry,
    ]
    assert client.receive().idle_timeout_notification.table_entry[0].match == kept.table_entry.match
    client.write(delete(entry("exact_a", 1)))


def test_the_time_since_the_last_hit_is_read(served: tuple[Client, Device]) -> None:
    client, device = served
    client.write(insert(entry("exact_a", 1)), insert(entry("ternary_b", 3)))
    time.sleep(0.3)
    inject(device, 0, b"\x00\x03")
    asked = [entry("exact_a"), entry("ternary_b"), entry("ageless")]
    assert not any(each.table_entry.HasField("time_since_last_hit") for each in client.read(*asked))
    for each in asked:
        each.table_entry.time_since_last_hit.SetInParent()
    untouched, hit = (each.table_entry.time_since_last_hit.elapsed_ns for each in client.read(*asked))
    assert untouched >= 300 * MS > hit >= 0


def test_what_breaks_a_rule_is_refused(served: tuple[Client, Device]) -> None:
    client = served[0]
    default = entry("exact_a", timeout_ns=5)
    default.table_entry.is_default_action = True
    invalid = grpc.StatusCode.INVALID_ARGUMENT
    assert (
        client.codes(insert(entry("exact_a", 1, -1)), insert(entry("ageless", 1, 5)), modify(default)) == [invalid] * 3
    )
    message = config("ageing")
    for table in message.p4info.tables:
        table.idle_timeout_behavior = table.NOTIFY_CONTROL
    with pytest.raises(grpc.RpcError) as caught:
        client.push(message=message)
    assert caught.value.code() == invalid


def test_reconciling_keeps_the_time_outs(served: tuple[Client, Device]) -> None:
    client = served[0]
    client.write(insert(entry("exact_a", 1, 10**15)))
    client.push(p4.SetForwardingPipelineConfigRequest.RECONCILE_AND_COMMIT, config("ageing"))
    assert client.read(entry("exact_a")) == [entry("exact_a", 1, 10**15)]
