"""Table entries, default entries and direct counters over P4Runtime (P4Runtime 1.4, section 9.1)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from esa.p4runtime import p4runtime_pb2
from esa.switch.errors import BadEntry, DuplicateEntry, NoSuchEntry, TableError, TableFull
from esa.switch.p4runtime.arrays import Freeze, require_modify, wrapped_int64
from esa.switch.p4runtime.bytestrings import decode, encode
from esa.switch.p4runtime.match_fields import Match, format_field, invalid, normal_field, parse_key, refuse
from esa.switch.p4runtime.p4info import TableInfo
from esa.switch.p4runtime.status import Code, P4RuntimeError
from esa.switch.runtime.tables import Entry

Update = p4runtime_pb2.Update
_COUNTER_MODULUS = 1 << 64

_CODES = {
    DuplicateEntry: Code.ALREADY_EXISTS,
    NoSuchEntry: Code.NOT_FOUND,
    TableFull: Code.RESOURCE_EXHAUSTED,
    BadEntry: Code.INVALID_ARGUMENT,
}


class Notes:
    """What a client attaches to entries for itself: (controller_metadata, metadata), by table, match and priority."""

    def __init__(self) -> None:
        self._notes: dict[tuple[int, Match | None, int], tuple[int, bytes]] = {}

    def put(self, key: tuple[int, Match | None, int], entry: Any) -> None:
        self._notes.pop(key, None)
        if entry.controller_metadata or entry.metadata:
            self._notes[key] = (entry.controller_metadata, entry.metadata)

    def drop(self, key: tuple[int, Match | None, int]) -> None:
        self._notes.pop(key, None)

    def of(self, key: tuple[int, Match | None, int]) -> tuple[int, bytes]:
        return self._notes.get(key, (0, b""))


def write_table_entry(info: TableInfo, notes: Notes, update_type: int, entry: Any) -> None:
    """Carry out one update of a table; the caller holds the data plane still."""
    if entry.is_const and update_type != Update.DELETE:
        raise invalid(info, "is_const must not be set in a write")
    try:
        if entry.is_default_action:
            _write_default(info, notes, update_type, entry)
        else:
            _write_entry(info, notes, update_type, entry)
    except TableError as error:
        raise P4RuntimeError(_CODES.get(type(error), Code.INVALID_ARGUMENT), str(error)) from None


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
    if info.constant_default:
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
        info.table.delete(match, priority)
        notes.drop(key)
        return
    _check_extras(info, entry)
    if update_type == Update.INSERT:
        if not info.fields:
            raise invalid(info, "it has no key: only its default entry can be set")
        if not entry.HasField("action"):
            raise invalid(info, "an entry needs an action")
        action, params = _action(info, entry.action, default=False)
        info.table.add(match, action, params, priority)
    elif entry.HasField("action"):
        action, params = _action(info, entry.action, default=False)
        info.table.modify(match, action, params, priority)
    row = _row(info, match, priority)
    if not info.constant:
        notes.put(key, entry)
    if entry.HasField("counter_data"):
        _set_counter(info, row, entry.counter_data)


def _check_extras(info: TableInfo, entry: Any) -> None:
    """Refuse what comes with an entry and this table does not have."""
    if entry.HasField("meter_config") or entry.HasField("meter_counter_data"):
        raise invalid(info, "it has no direct meter")
    if entry.HasField("counter_data") and info.direct_counter is None:
        raise invalid(info, "it has no direct counter")
    if entry.HasField("time_since_last_hit"):
        raise invalid(info, "time_since_last_hit must not be set in a write")
    if entry.idle_timeout_ns:
        if info.idle_timeout:
            raise refuse(Code.UNIMPLEMENTED, info, "idle timeouts are not supported by this target")
        raise invalid(info, "it does not support idle timeouts")


def _action(info: TableInfo, table_action: Any, *, default: bool) -> tuple[str, list[int]]:
    """Return the action's name and its parameters in order."""
    if table_action.WhichOneof("type") != "action":
        raise invalid(info, "it takes an action, not a member or group of an action profile")
    given = table_action.action
    action = info.actions.get(given.action_id)
    if action is None:
        raise invalid(info, f"no action of it has the id {given.action_id} (0x{given.action_id:08x})")
    if action.id in (info.table_only if default else info.default_only):
        only = "in entries" if default else "as the default action"
        raise refuse(Code.PERMISSION_DENIED, info, f"action {action.name} may only be used {only}")
    values: dict[int, bytes] = {}
    for param in given.params:
        if param.param_id in values:
            raise invalid(info, f"action {action.name}: parameter {param.param_id} occurs twice")
        values[param.param_id] = param.value
    params = []
    for param in action.params:
        if param.id not in values:
            raise invalid(info, f"action {action.name}: parameter {param.name} is missing")
        params.append(decode(values.pop(param.id), param.bits, f"action {action.name}, parameter {param.name}"))
    if values:
        raise invalid(info, f"action {action.name} has no parameter with the id {min(values)}")
    return action.name, params


def _row(info: TableInfo, match: Match, priority: int) -> int:
    """Return the entry's row; NOT_FOUND if there is none."""
    try:
        row: int = info.table.row(match, priority)
    except TableError as error:
        raise P4RuntimeError(_CODES.get(type(error), Code.INVALID_ARGUMENT), str(error)) from None
    return row


def _set_counter(info: TableInfo, row: int, data: Any) -> None:
    info.direct_counter.packets[row] = data.packet_count % _COUNTER_MODULUS
    info.direct_counter.bytes[row] = data.byte_count % _COUNTER_MODULUS


def read_table_entries(info: TableInfo, notes: Notes, request: Any, frozen: Freeze) -> Iterator[Any]:
    """Yield the entries that the request's set fields select: match, action id, priority, metadata; or the default."""
    with_counters = request.HasField("counter_data") and info.direct_counter is not None
    for match, entry, count in _select(info, request, frozen):
        result = p4runtime_pb2.Entity()
        message = result.table_entry
        _format_entry(info, match, entry, message)
        priority = entry.priority if info.needs_priority else 0
        message.controller_metadata, message.metadata = notes.of((info.id, match, priority))
        if request.controller_metadata not in (0, message.controller_metadata):
            continue
        if request.metadata not in (b"", message.metadata):
            continue
        if with_counters and count is not None:
            message.counter_data.packet_count, message.counter_data.byte_count = count
        yield result


def _select(
    info: TableInfo, request: Any, frozen: Freeze
) -> Iterator[tuple[Match | None, Any, tuple[int, int] | None]]:
    """Yield (match, entry, (packets, bytes)) by a TableEntry's key, action and priority; match None: the default."""
    table, counter = info.table, info.direct_counter
    if request.is_default_action:
        if request.match or request.priority:
            raise invalid(info, "the default entry has neither match nor priority")
        if table.default is not None:
            yield None, Entry((), *table.default), None
        return
    if request.match and info.needs_priority and not request.priority:
        raise invalid(info, "a read with a match needs the entry's priority as well")
    key = parse_key(info, request) if request.match else None
    with frozen():
        entries = list(table.entries()) if key is None else _find(info, *key)
        rows = [table.row(entry.match, entry.priority) for entry in entries] if counter is not None else []
        packets, bytes_ = (counter.packets[rows], counter.bytes[rows]) if rows else ([], [])
    for position, entry in enumerate(entries):
        match = tuple(normal_field(field, value) for field, value in zip(info.fields, entry.match, strict=True))
        if info.needs_priority and request.priority not in (0, entry.priority):
            continue
        if request.HasField("action") and info.action_named(entry.action).id != request.action.action.action_id:
            continue
        count = (wrapped_int64(packets[position]), wrapped_int64(bytes_[position])) if rows else None
        yield match, entry, count


def _find(info: TableInfo, match: Match, priority: int) -> list[Any]:
    try:
        return [info.table.get(match, priority)]
    except NoSuchEntry:
        return []


def _format_entry(info: TableInfo, match: Match | None, entry: Any, message: Any) -> None:
    message.table_id = info.id
    if match is None:
        message.is_default_action = True
        message.is_const = info.constant_default
    else:
        message.is_const = info.constant
        for field, value in zip(info.fields, match, strict=True):
            format_field(field, value, message)
        if info.needs_priority:
            message.priority = entry.priority
    action = info.action_named(entry.action)
    message.action.action.action_id = action.id
    for param, value in zip(action.params, entry.params, strict=True):
        message.action.action.params.add(param_id=param.id, value=encode(int(value)))


def write_direct_counter(info: TableInfo, update_type: int, entry: Any) -> None:
    """Set the counter of one entry; the caller holds the data plane still."""
    require_modify(update_type, f"table {info.name}: a direct counter")
    row = _counter_row(info, entry.table_entry)
    if entry.HasField("data"):
        _set_counter(info, row, entry.data)


def _counter_row(info: TableInfo, table_entry: Any) -> int:
    if info.direct_counter is None:
        raise invalid(info, "it has no direct counter")
    if table_entry.is_default_action:
        raise refuse(Code.UNIMPLEMENTED, info, "the default entry's direct counter is not supported by this target")
    return _row(info, *parse_key(info, table_entry))


def read_direct_counters(info: TableInfo, request: Any, frozen: Freeze) -> Iterator[Any]:
    """Yield the counter of the entry that `request.table_entry` names, or of all where it names no match."""
    if request.table_entry.match:
        with frozen():
            _counter_row(info, request.table_entry)
    elif info.direct_counter is None:
        raise invalid(info, "it has no direct counter")
    for match, entry, count in _select(info, request.table_entry, frozen):
        if match is None or count is None:
            raise refuse(Code.UNIMPLEMENTED, info, "the default entry's direct counter is not supported by this target")
        result = p4runtime_pb2.Entity()
        message = result.direct_counter_entry
        _format_entry(info, match, entry, message.table_entry)
        message.table_entry.ClearField("action")
        message.data.packet_count, message.data.byte_count = count
        yield result
