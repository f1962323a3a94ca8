"""Batches that are carried out whole or not at all: the updates that undo an update (P4Runtime 1.4, section 12.2)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from esa.p4runtime import p4runtime_pb2
from esa.switch.p4runtime.arrays import Freeze
from esa.switch.p4runtime.forwarding import ForwardingConfig
from esa.switch.p4runtime.status import Code, P4RuntimeError

Update = p4runtime_pb2.Update
# What came back would have other numbers, and packets of a group would go to other members.
_FINAL = {
    ("action_profile_member", Update.DELETE),
    ("action_profile_group", Update.DELETE),
    ("action_profile_group", Update.MODIFY),
}
_ARRAYS = ("counter_entry", "register_entry", "meter_entry")


def write_all(
    config: ForwardingConfig, updates: Iterable[Any], held: AbstractContextManager[None], freeze: Freeze
) -> list[P4RuntimeError | None]:
    """Carry out all updates, or none: returns an error per update if one failed, else an empty list.

    `held` is entered for the whole batch: the data plane sees nothing in between if it holds that still, and then
    `freeze()`, entered for each update, need not.
    """
    updates = list(updates)
    undo: list[Any] = []
    with held:
        for position, update in enumerate(updates):
            try:
                with freeze():
                    before = list(_undo(config, update))
                    config.write(update)
            except P4RuntimeError as error:
                for each in reversed(undo):
                    with freeze():
                        config.write(each)
                aborted = P4RuntimeError(Code.ABORTED, f"update {position} failed: the batch is undone")
                return [error if at == position else aborted for at in range(len(updates))]
            # undone last first, but what undoes one update in its own order
            undo += reversed(before)
    return []


def _undo(config: ForwardingConfig, update: Any) -> Iterator[Any]:
    """Yield the updates that bring back what `update` is about to change; none where it is going to be refused."""
    kind = update.entity.WhichOneof("entity")
    if (kind, update.type) in _FINAL:
        raise P4RuntimeError(Code.UNIMPLEMENTED, f"{kind}: this cannot be undone: CONTINUE_ON_ERROR is allowed")
    if update.type == Update.INSERT:
        yield Update(type=Update.DELETE, entity=update.entity)
        return
    for entity in _present(config, kind, update.entity):
        yield Update(type=Update.MODIFY if update.type == Update.MODIFY else Update.INSERT, entity=entity)


def _present(config: ForwardingConfig, kind: str | None, entity: Any) -> list[Any]:
    """What is there now of what `entity` names."""
    try:
        if kind == "table_entry":
            return _table_entry(config, entity.table_entry)
        if kind in ("direct_counter_entry", "direct_meter_entry"):
            return _of_key(config, list(config.read(entity, nullcontext)), kind, getattr(entity, kind).table_entry)
        if kind in _ARRAYS or kind in ("digest_entry", "value_set_entry", "action_profile_member"):
            return list(config.read(entity, nullcontext))
        if kind == "packet_replication_engine_entry" and entity.packet_replication_engine_entry.WhichOneof("type"):
            return list(config.read(entity, nullcontext))
    except P4RuntimeError:
        pass  # it says the same when it is written
    return []


def _table_entry(config: ForwardingConfig, entry: Any) -> list[Any]:
    info = config.info.table(entry.table_id)
    asked = p4runtime_pb2.Entity()
    message = asked.table_entry
    message.table_id, message.is_default_action = entry.table_id, entry.is_default_action
    message.match.extend(entry.match)
    message.priority = entry.priority
    if not entry.is_default_action:
        if info.direct_counter is not None:
            message.counter_data.SetInParent()
        if info.direct_meter is not None:
            message.meter_config.SetInParent()
    found = list(config.read(asked, nullcontext))
    if entry.is_default_action and not found:
        asked.table_entry.ClearField("match")
        return [asked]  # without an action: as the program has it
    if not entry.is_default_action:
        found = _of_key(config, found, "table_entry", entry)
    for each in found:
        each.table_entry.is_const = False  # which says how it is, and must not be written
        if info.constant and not entry.is_default_action:
            each.table_entry.ClearField("action")
    return found


def _of_key(config: ForwardingConfig, found: list[Any], kind: str, entry: Any) -> list[Any]:
    """Those of the entry's own key: one that matches anything is asked for as all are."""
    info = config.info.table(entry.table_id)
    key = info.key_of(entry)

    def key_of(entity: Any) -> Any:
        message = getattr(entity, kind)
        return info.key_of(message if kind == "table_entry" else message.table_entry)

    return [entity for entity in found if key_of(entity) == key]
