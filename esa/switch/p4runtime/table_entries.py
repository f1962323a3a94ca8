"""Table entries and default entries over P4Runtime (P4Runtime 1.4, section 9.1)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

from esa.p4runtime import p4runtime_pb2
from esa.switch.errors import NoSuchEntry, TableError
from esa.switch.p4runtime.actions import format_action, parse_action
from esa.switch.p4runtime.arrays import Freeze, wrapped_int64
from esa.switch.p4runtime.infos import TableInfo
from esa.switch.p4runtime.match_fields import Match, format_field, invalid, normal_field, parse_key, refuse
from esa.switch.p4runtime.meters import check_counts, format_counts, format_rates, rates_of, set_rates
from esa.switch.p4runtime.status import Code, refusal
from esa.switch.runtime.tables import Entry

Update = p4runtime_pb2.Update
_COUNTER_MODULUS = 1 << 64
_FREE = nullcontext()


class Notes:
    """What a client attaches to entries for itself: (controller_metadata, metadata), by table, match and priority."""

    def __init__(self) -> None:
        self._notes: dict[tuple[int, Match | None, int], tuple[int, bytes]] = {}

    def put(self, key: tuple[int, Match | None, int], entry: Any) -> None:
        if entry.controller_metadata or entry.metadata:
            self._notes[key] = (entry.controller_metadata, entry.metadata)
        elif self._notes:
            self._notes.pop(key, None)

    def drop(self, key: tuple[int, Match | None, int]) -> None:
        self._notes.pop(key, None)

    def of(self, key: tuple[int, Match | None, int]) -> tuple[int, bytes]:
        return self._notes.get(key, (0, b""))


def write_table_entry(
    info: TableInfo, notes: Notes, update_type: int, entry: Any, guard: AbstractContextManager[object]
) -> None:
    """Carry out one update of a table; `guard` keeps packets away while it is entered."""
    if entry.is_const and update_type != Update.DELETE:
        raise invalid(info, "is_const must not be set in a write")
    try:
        if entry.is_default_action:
            with guard:
                _write_default(info, notes, update_type, entry)
        elif info.plain and not entry.HasField("counter_data"):
            info.table.guard = guard  # for the part of the change that packets could see
            try:
                _write_entry(info, notes, update_type, entry)
            finally:
                info.table.guard = _FREE
        else:
            with guard:
                _write_entry(info, notes, update_type, entry)
    except TableError as error:
        raise refusal(error) from None


def _write_default(info: TableInfo, notes: Notes, update_type: int, entry: Any) -> None:
    if update_type != Update.MODIFY:
        raise invalid(info, "the default entry can only be modified, neither inserted nor deleted")
    if entry.match or entry.priority:
        raise invalid(info, "the default entry has neither match nor priority")
    if entry.idle_timeout_ns:
        raise invalid(info, "the default entry has no idle timeout")
    _check_extras(info, entry)
    if entry.HasField("counter_data"):
        raise refuse(Code.UNIMPLEMENTED, info, "the default entry's direct counter is not supported by this target")
    if entry.HasField("meter_config") or entry.HasField("meter_counter_data"):
        raise refuse(
            Code.UNIMPLEMENTED, info, "a miss executes no direct meter, as in BMv2: the default entry has none"
        )
    if info.constant_default or info.profile is not None:
        raise refuse(Code.PERMISSION_DENIED, info, "its default action is constant")
    key = (info.id, None, 0)
    if entry.HasField("action"):
        info.table.set_default(*_action(info, entry.action, default=True))
        notes.put(key, entry)
    else:
        info.table.reset_default()
        notes.drop(key)


def _write_entry(info: TableInfo, notes: Notes, update_type: int, entry: Any) -> None:
    if info.constant and (update_type != Update.MODIFY or entry.HasField("action")):
        raise refuse(Code.PERMISSION_DENIED, info, "its entries are constant")
    match, priority = parse_key(info, entry)
    key = (info.id, match, priority)
    if update_type == Update.DELETE:
        _delete(info, match, priority)
        notes.drop(key)
        return
    _check_extras(info, entry)
    meter = info.direct_meter
    rates = None if meter is None else rates_of(meter, entry, "meter_config")
    forget = meter is not None and check_counts(meter.name, entry, "meter_counter_data")
    if update_type == Update.INSERT:
        if not info.fields:
            raise invalid(info, "it has no key: only its default entry can be set")
        if not entry.HasField("action"):
            raise invalid(info, "an entry needs an action")
        row = _put(info, info.table.add, match, priority, entry.action)
    elif entry.HasField("action"):
        row = _put(info, info.table.modify, match, priority, entry.action)
    else:
        row = row_of(info, match, priority)
    if not info.constant:
        notes.put(key, entry)
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


def _put(info: TableInfo, put: Callable[..., int], match: Match, priority: int, table_action: Any) -> int:
    """Give an entry, by the table's `add` or `modify`, what the message says; returns its row."""
    if info.profile is None:
        action, params = _action(info, table_action, default=False)
        return put(match, action, params, priority)
    before = _find(info, match, priority)
    reference = info.profile.reference(info.name, table_action)
    try:
        row = put(match, reference, (), priority)
    except TableError:
        info.profile.drop(reference)
        raise
    for entry in before:
        info.profile.drop(entry.action)
    return row


def _delete(info: TableInfo, match: Match, priority: int) -> None:
    before = _find(info, match, priority) if info.profile is not None else []
    if info.idle is not None:
        info.idle.drop(row_of(info, match, priority))
    info.table.delete(match, priority)
    for entry in before:
        assert info.profile is not None
        info.profile.drop(entry.action)


def _check_extras(info: TableInfo, entry: Any) -> None:
    """Refuse what comes with an entry and this table does not have."""
    if (entry.HasField("meter_config") or entry.HasField("meter_counter_data")) and info.direct_meter is None:
        raise invalid(info, "it has no direct meter")
    if entry.HasField("counter_data") and info.direct_counter is None:
        raise invalid(info, "it has no direct counter")
    if entry.HasField("time_since_last_hit"):
        raise invalid(info, "time_since_last_hit must not be set in a write")
    if entry.idle_timeout_ns and (info.idle is None or info.constant):
        raise invalid(info, "it does not support idle timeouts" if info.idle is None else "its entries are constant")
    if entry.idle_timeout_ns < 0:
        raise invalid(info, "idle_timeout_ns is negative")


def _action(info: TableInfo, table_action: Any, *, default: bool) -> tuple[str, list[int]]:
    """Return the action's name and its parameters in order."""
    if table_action.WhichOneof("type") != "action":
        raise invalid(info, "it takes an action, not a member or group of an action profile")
    given = table_action.action
    if given.action_id in (info.table_only if default else info.default_only):
        only = "in entries" if default else "as the default action"
        name = info.actions[given.action_id].name
        raise refuse(Code.PERMISSION_DENIED, info, f"action {name} may only be used {only}")
    return parse_action(info.owner, info.actions, given)


def row_of(info: TableInfo, match: Match, priority: int) -> int:
    """Return the entry's row; NOT_FOUND if there is none."""
    try:
        row: int = info.table.row(match, priority)
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
    for match, entry, row, count in select(info, request, frozen):
        result = p4runtime_pb2.Entity()
        message = result.table_entry
        format_entry(info, match, entry, message)
        priority = entry.priority if info.needs_priority else 0
        message.controller_metadata, message.metadata = notes.of((info.id, match, priority))
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
    """An entry as a read finds it: match None is the default entry, which has no row."""

    match: Match | None
    entry: Any
    row: int | None
    counts: tuple[int, int] | None  # packets, bytes


def select(info: TableInfo, request: Any, frozen: Freeze) -> Iterator[Selected]:
    """Yield the entries that a TableEntry's key, action and priority select."""
    table, counter = info.table, info.direct_counter
    if request.is_default_action:
        if request.match or request.priority:
            raise invalid(info, "the default entry has neither match nor priority")
        if table.default is not None:
            yield Selected(None, Entry((), *table.default), None, None)
        return
    if request.match and info.needs_priority and not request.priority:
        raise invalid(info, "a read with a match needs the entry's priority as well")
    key = parse_key(info, request) if request.match else None
    with frozen():
        # No more than a copy: packets wait for as long as this takes.
        if key is None:
            found, rows = table.snapshot(), range(table.row_limit)
        else:
            found, rows = _find_row(info, *key)
        counted = slice(rows.start, rows.stop)
        packets, bytes_ = (counter.packets[counted].copy(), counter.bytes[counted].copy()) if counter else ([], [])
    for row, entry in found:
        match = tuple(normal_field(field, value) for field, value in zip(info.fields, entry.match, strict=True))
        if info.needs_priority and request.priority not in (0, entry.priority):
            continue
        if request.HasField("action") and not _has_action(info, entry, request.action):
            continue
        count = (wrapped_int64(packets[row - rows.start]), wrapped_int64(bytes_[row - rows.start])) if counter else None
        yield Selected(match, entry, row, count)


def _has_action(info: TableInfo, entry: Any, asked: Any) -> bool:
    if info.profile is None:
        return bool(info.action_named(entry.action).id == asked.action.action_id)
    found = p4runtime_pb2.TableAction()
    info.profile.format(entry.action, found)
    return bool(found == asked)


def _find(info: TableInfo, match: Match, priority: int) -> list[Entry]:
    """The one entry, or none."""
    return [entry for _, entry in _find_row(info, match, priority)[0]]


def _find_row(info: TableInfo, match: Match, priority: int) -> tuple[Iterator[tuple[int, Entry]], range]:
    """The one entry, or none, and the rows it takes."""
    try:
        row = info.table.row(match, priority)
    except NoSuchEntry:
        return iter(()), range(0)
    return iter([(row, info.table.get(match, priority))]), range(row, row + 1)


def format_entry(info: TableInfo, match: Match | None, entry: Any, message: Any) -> None:
    """Write an entry, or the default one (match None), into a TableEntry."""
    message.table_id = info.id
    if match is None:
        message.is_default_action = True
        message.is_const = info.constant_default
    else:
        message.is_const = info.const_entries
        for field, value in zip(info.fields, match, strict=True):
            format_field(field, value, message)
        if info.needs_priority:
            message.priority = entry.priority
    if info.profile is None:
        format_action(info.action_named(entry.action), entry.params, message.action.action)
    else:
        info.profile.format(entry.action, message.action)
