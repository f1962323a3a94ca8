"""Table entries and default entries over P4Runtime (P4Runtime 1.4, section 9.1)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

from esa.p4runtime import p4runtime_pb2
from esa.switch.errors import NoSuchEntry, TableError
from esa.switch.p4runtime.actions import format_action, parse_action
from esa.switch.p4runtime.arrays import Freeze, wrapped_int64
from esa.switch.p4runtime.infos import TableInfo
from esa.switch.p4runtime.match_fields import format_field
from esa.switch.p4runtime.meters import check_counts, format_counts, format_rates, rates_of, set_rates
from esa.switch.p4runtime.status import Code, refusal
from esa.switch.runtime.keys import Key
from esa.switch.runtime.tables import FREE, Entry

Update = p4runtime_pb2.Update
_COUNTER_MODULUS = 1 << 64


class Notes:
    """What a client attaches to entries for itself: (controller_metadata, metadata).

    By table and row, which is None for the default entry.
    """

    def __init__(self) -> None:
        self._notes: dict[tuple[int, int | None], tuple[int, bytes]] = {}

    def put(self, table_id: int, row: int | None, entry: Any) -> None:
        if entry.controller_metadata or entry.metadata:
            self._notes[table_id, row] = (entry.controller_metadata, entry.metadata)
        else:
            self.drop(table_id, row)

    def drop(self, table_id: int, row: int | None) -> None:
        if self._notes:
            self._notes.pop((table_id, row), None)

    def of(self, table_id: int, row: int | None) -> tuple[int, bytes]:
        return self._notes.get((table_id, row), (0, b""))


def write_table_entry(
    info: TableInfo, notes: Notes, update_type: int, entry: Any, guard: AbstractContextManager[object]
) -> None:
    """Carry out one update of a table; `guard` keeps packets away while it is entered."""
    if entry.is_const and update_type != Update.DELETE:
        raise info.invalid("is_const must not be set in a write")
    try:
        if entry.is_default_action:
            with guard:
                _write_default(info, notes, update_type, entry)
        elif info.plain and not entry.HasField("counter_data"):
            _write_entry(info, notes, update_type, entry, guard)  # for the part of it that packets could see
        else:
            with guard:
                _write_entry(info, notes, update_type, entry, FREE)
    except TableError as error:
        raise refusal(error) from None


def _write_default(info: TableInfo, notes: Notes, update_type: int, entry: Any) -> None:
    if update_type != Update.MODIFY:
        raise info.invalid("the default entry can only be modified, neither inserted nor deleted")
    if entry.match or entry.priority:
        raise info.invalid("the default entry has neither match nor priority")
    if entry.idle_timeout_ns:
        raise info.invalid("the default entry has no idle timeout")
    _check_extras(info, entry)
    if entry.HasField("counter_data"):
        raise info.refuse(Code.UNIMPLEMENTED, "the default entry's direct counter is not supported by this target")
    if entry.HasField("meter_config") or entry.HasField("meter_counter_data"):
        raise info.refuse(Code.UNIMPLEMENTED, "a miss executes no direct meter, as in BMv2: the default entry has none")
    if info.constant_default or info.profile is not None:
        raise info.refuse(Code.PERMISSION_DENIED, "its default action is constant")
    if entry.HasField("action"):
        info.table.set_default(*_action(info, entry.action, default=True))
        notes.put(info.id, None, entry)
    else:
        info.table.reset_default()
        notes.drop(info.id, None)


def _write_entry(
    info: TableInfo, notes: Notes, update_type: int, entry: Any, guard: AbstractContextManager[object]
) -> None:
    if info.constant and (update_type != Update.MODIFY or entry.HasField("action")):
        raise info.refuse(Code.PERMISSION_DENIED, "its entries are constant")
    key = info.key_of(entry)
    if update_type == Update.DELETE:
        row = info.table.find(key)
        _delete(info, row, guard)
        notes.drop(info.id, row)
        return
    _check_extras(info, entry)
    meter = info.direct_meter
    rates = None if meter is None else rates_of(meter, entry, "meter_config")
    forget = meter is not None and check_counts(meter.name, entry, "meter_counter_data")
    if update_type == Update.INSERT:
        if not info.fields:
            raise info.invalid("it has no key: only its default entry can be set")
        if not entry.HasField("action"):
            raise info.invalid("an entry needs an action")
        row = _put(info, update_type, key, entry, guard)
    elif entry.HasField("action"):
        row = _put(info, update_type, key, entry, guard)
    else:
        row = info.table.find(key)
    if not info.constant:
        notes.put(info.id, row, entry)
        if info.idle is not None:
            if update_type == Update.INSERT:
                info.idle.begin(row)
            info.idle.put(row, entry)
    if entry.HasField("counter_data"):
        set_counter(info, row, entry.counter_data)
    if meter is not None:
        set_rates(meter.array, row, rates)
        if forget:
            meter.array.forget(row)


def _put(info: TableInfo, update_type: int, key: Key, entry: Any, guard: AbstractContextManager[object]) -> int:
    """Add an entry, or change it, to the action of the message; returns its row."""
    table, profile, before = info.table, info.profile, None
    action: Any
    params: Sequence[int] = ()
    if profile is None:
        action, params = _action(info, entry.action, default=False)
    else:
        action = profile.reference(info.name, entry.action)
    try:
        if update_type == Update.INSERT:
            row: int = table.insert(key, action, params, entry.priority, guard)
        else:
            row = table.find(key)
            before = None if profile is None else table.entry(row).action
            table.change(row, action, params, guard)
    except TableError:
        if profile is not None:
            profile.drop(action)
        raise
    if profile is not None and before is not None:
        profile.drop(before)
    return row


def _delete(info: TableInfo, row: int, guard: AbstractContextManager[object]) -> None:
    before = info.table.entry(row).action if info.profile is not None else None
    if info.idle is not None:
        info.idle.drop(row)
    info.table.remove(row, guard)
    if info.profile is not None:
        info.profile.drop(before)


def _check_extras(info: TableInfo, entry: Any) -> None:
    """Refuse what comes with an entry and this table does not have."""
    if (entry.HasField("meter_config") or entry.HasField("meter_counter_data")) and info.direct_meter is None:
        raise info.invalid("it has no direct meter")
    if entry.HasField("counter_data") and info.direct_counter is None:
        raise info.invalid("it has no direct counter")
    if entry.HasField("time_since_last_hit"):
        raise info.invalid("time_since_last_hit must not be set in a write")
    if entry.idle_timeout_ns and (info.idle is None or info.constant):
        raise info.invalid("it does not support idle timeouts" if info.idle is None else "its entries are constant")
    if entry.idle_timeout_ns < 0:
        raise info.invalid("idle_timeout_ns is negative")


def _action(info: TableInfo, table_action: Any, *, default: bool) -> tuple[str, Sequence[int]]:
    """Return the action's name and its parameters in order."""
    if table_action.WhichOneof("type") != "action":
        raise info.invalid("it takes an action, not a member or group of an action profile")
    given = table_action.action
    if given.action_id in (info.table_only if default else info.default_only):
        only = "in entries" if default else "as the default action"
        name = info.actions[given.action_id].name
        raise info.refuse(Code.PERMISSION_DENIED, f"action {name} may only be used {only}")
    return parse_action(info.owner, info.actions, given)


def row_of(info: TableInfo, key: Key) -> int:
    """Return the entry's row; NOT_FOUND if there is none."""
    try:
        row: int = info.table.find(key)
    except TableError as error:
        raise refusal(error) from None
    return row


def set_counter(info: TableInfo, row: int, data: Any) -> None:
    """Set the direct counter of a row; the counts wrap as P4Runtime's do."""
    info.direct_counter.packets[row] = data.packet_count % _COUNTER_MODULUS
    info.direct_counter.bytes[row] = data.byte_count % _COUNTER_MODULUS


def read_table_entries(info: TableInfo, notes: Notes, request: Any, frozen: Freeze) -> Iterator[Any]:
    """Yield the entries that the request's set fields select: match, action id, priority, metadata; or the default."""
    with_counters = request.HasField("counter_data") and info.direct_counter is not None
    if info.idle is not None:
        info.idle.look()
    meter = info.direct_meter if request.HasField("meter_config") else None
    counted = info.direct_meter if request.HasField("meter_counter_data") else None
    for key, entry, row, count in select(info, request, frozen):
        result = p4runtime_pb2.Entity()
        message = result.table_entry
        format_entry(info, key, entry, message)
        message.controller_metadata, message.metadata = notes.of(info.id, row)
        if request.controller_metadata not in (0, message.controller_metadata):
            continue
        if request.metadata not in (b"", message.metadata):
            continue
        if with_counters and count is not None:
            message.counter_data.packet_count, message.counter_data.byte_count = count
        if info.idle is not None and row is not None:
            message.idle_timeout_ns = info.idle.timeout_ns(row)
            if request.HasField("time_since_last_hit"):
                message.time_since_last_hit.elapsed_ns = info.idle.since_hit_ns(row)
        if meter is not None and row is not None and (rates := meter.array.get(row)) is not None:
            format_rates(rates, message.meter_config)
        if counted is not None and row is not None:
            format_counts(counted.array.counts(row), message.meter_counter_data)
        yield result


class Selected(NamedTuple):
    """An entry as a read finds it: key None is the default entry, which has no row."""

    key: Key | None
    entry: Any
    row: int | None
    counts: tuple[int, int] | None  # packets, bytes


def select(info: TableInfo, request: Any, frozen: Freeze) -> Iterator[Selected]:
    """Yield the entries that a TableEntry's key, action and priority select."""
    table, counter = info.table, info.direct_counter
    if request.is_default_action:
        if request.match or request.priority:
            raise info.invalid("the default entry has neither match nor priority")
        if table.default is not None:
            yield Selected(None, Entry((), *table.default), None, None)
        return
    if request.match and info.needs_priority and not request.priority:
        raise info.invalid("a read with a match needs the entry's priority as well")
    key = info.key_of(request) if request.match else None
    with frozen():
        # No more than a copy: packets wait for as long as this takes.
        if key is None:
            found, rows = table.snapshot(), range(table.row_limit)
        else:
            found, rows = _find_row(info, key)
        counted = slice(rows.start, rows.stop)
        packets, bytes_ = (counter.packets[counted].copy(), counter.bytes[counted].copy()) if counter else ([], [])
    for row, entry in found:
        if info.needs_priority and request.priority not in (0, entry.priority):
            continue
        if request.HasField("action") and not _has_action(info, entry, request.action):
            continue
        count = (wrapped_int64(packets[row - rows.start]), wrapped_int64(bytes_[row - rows.start])) if counter else None
        yield Selected(entry.key, entry, row, count)


def _has_action(info: TableInfo, entry: Any, asked: Any) -> bool:
    if info.profile is None:
        return bool(info.action_named(entry.action).id == asked.action.action_id)
    found = p4runtime_pb2.TableAction()
    info.profile.format(entry.action, found)
    return bool(found == asked)


def _find_row(info: TableInfo, key: Key) -> tuple[Iterator[tuple[int, Entry]], range]:
    """The one entry, or none, and the rows it takes."""
    try:
        row = info.table.find(key)
    except NoSuchEntry:
        return iter(()), range(0)
    return iter([(row, info.table.entry(row))]), range(row, row + 1)


def format_entry(info: TableInfo, key: Key | None, entry: Any, message: Any) -> None:
    """Write an entry, or the default one (key None), into a TableEntry."""
    message.table_id = info.id
    if key is None:
        message.is_default_action = True
        message.is_const = info.constant_default
    else:
        message.is_const = info.const_entries
        for field, first, second in zip(info.fields, key[::2], key[1::2], strict=False):
            format_field(field, first, second, message)
        if info.needs_priority:
            message.priority = entry.priority
    if info.profile is None:
        format_action(info.action_named(entry.action), entry.params, message.action.action)
    else:
        info.profile.format(entry.action, message.action)
