"""A forwarding-pipeline config in use: a P4Info, the program loaded for it, and what clients wrote through the pair."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import chain
from typing import Any

from esa.p4runtime import p4runtime_pb2
from esa.switch.p4runtime import arrays
from esa.switch.p4runtime.arrays import Freeze
from esa.switch.p4runtime.device_config import program_json
from esa.switch.p4runtime.direct_entries import (
    read_direct_counters,
    read_direct_meters,
    write_direct_counter,
    write_direct_meter,
)
from esa.switch.p4runtime.meters import copy_meters, read_meter, write_meter
from esa.switch.p4runtime.p4info import P4InfoMap
from esa.switch.p4runtime.replication import ReplicationEngine
from esa.switch.p4runtime.status import Code, P4RuntimeError
from esa.switch.p4runtime.table_entries import Notes, read_table_entries, write_table_entry
from esa.switch.p4runtime.value_sets import ValueSetEntries
from esa.switch.runtime.device import Ports

Update = p4runtime_pb2.Update
_UPDATES = (Update.INSERT, Update.MODIFY, Update.DELETE)
_FREE = nullcontext()
_NOT_HERE = {"extern_entry": "extern entries"}


class ForwardingConfig:
    """Reads and writes entities of one loaded program; `message` is the ForwardingPipelineConfig it came from.

    `ports` are the device's, for whatever watches one.
    """

    def __init__(self, message: Any, load: Callable[[bytes], Any], ports: Ports) -> None:
        """Load the program; INVALID_ARGUMENT where there is none, or where it does not fit the P4Info."""
        if not message.HasField("p4info") or not message.p4_device_config:
            missing = "p4info" if not message.HasField("p4info") else "p4_device_config"
            raise P4RuntimeError(Code.INVALID_ARGUMENT, f"the config has no {missing}")
        try:
            self.pipeline = load(program_json(message.p4_device_config))
        except (ValueError, KeyError, TypeError) as error:
            raise P4RuntimeError(Code.INVALID_ARGUMENT, f"this target cannot run the program: {error}") from error
        self.message = message
        self.info = P4InfoMap(message.p4info, self.pipeline, ports)
        self.replication = ReplicationEngine(self.pipeline, self.info.translation)
        self._value_sets = ValueSetEntries()
        self._notes = Notes()

    def write(self, update: Any, guard: AbstractContextManager[object] | None = None) -> None:
        """Carry out one update; `guard` keeps packets away while it is entered, None: the caller does."""
        if update.type not in _UPDATES:
            raise P4RuntimeError(Code.INVALID_ARGUMENT, "the update has no type")
        entity = update.entity
        kind = entity.WhichOneof("entity")
        if kind == "table_entry":
            info = self.info.table(entity.table_entry.table_id)
            write_table_entry(info, self._notes, update.type, entity.table_entry, guard or _FREE)
            return
        with guard or _FREE:
            self._write(kind, update, entity)

    def _write(self, kind: str | None, update: Any, entity: Any) -> None:
        if kind == "counter_entry":
            arrays.write_counter(self.info.counter(entity.counter_entry.counter_id), update.type, entity.counter_entry)
        elif kind in ("direct_counter_entry", "direct_meter_entry"):
            entry = getattr(entity, kind)
            if not entry.HasField("table_entry"):
                raise P4RuntimeError(Code.INVALID_ARGUMENT, f"{kind}: table_entry is missing")
            write_direct = write_direct_counter if kind == "direct_counter_entry" else write_direct_meter
            write_direct(self.info.table(entry.table_entry.table_id), update.type, entry)
        elif kind == "meter_entry":
            write_meter(self.info.meter(entity.meter_entry.meter_id), update.type, entity.meter_entry)
        elif kind == "register_entry":
            entry = entity.register_entry
            arrays.write_register(self.info.register(entry.register_id), update.type, entry)
        elif kind == "value_set_entry":
            values = entity.value_set_entry
            self._value_sets.write(self.info.value_set(values.value_set_id), update.type, values)
        elif kind == "digest_entry":
            self.info.digest(entity.digest_entry.digest_id).write(update.type, entity.digest_entry)
        elif kind == "action_profile_member":
            member = entity.action_profile_member
            self.info.profile(member.action_profile_id).write_member(update.type, member)
        elif kind == "action_profile_group":
            group = entity.action_profile_group
            self.info.profile(group.action_profile_id).write_group(update.type, group)
        elif kind == "packet_replication_engine_entry":
            self.replication.write(update.type, entity.packet_replication_engine_entry)
        else:
            _refuse(kind)

    def read(self, entity: Any, frozen: Freeze) -> Iterator[Any]:
        """Copy now what `entity` asks for, while `frozen()` is held; return an iterator over the entities."""
        kind = entity.WhichOneof("entity")
        if kind == "counter_entry":
            entry = entity.counter_entry
            found = [self.info.counter(entry.counter_id)] if entry.counter_id else self.info.counters.values()
            return chain.from_iterable([arrays.read_counter(array, entry, frozen) for array in found])
        if kind == "register_entry":
            entry = entity.register_entry
            found = [self.info.register(entry.register_id)] if entry.register_id else self.info.registers.values()
            return chain.from_iterable([arrays.read_register(array, entry, frozen) for array in found])
        if kind == "meter_entry":
            entry = entity.meter_entry
            found = [self.info.meter(entry.meter_id)] if entry.meter_id else self.info.meters.values()
            return chain.from_iterable([read_meter(array, entry) for array in found])
        return iter(list(self._messages(entity, kind, frozen)))

    def _messages(self, entity: Any, kind: str | None, frozen: Freeze) -> Iterator[Any]:
        if kind == "table_entry":
            for info in self._tables(entity.table_entry.table_id):
                yield from read_table_entries(info, self._notes, entity.table_entry, frozen)
        elif kind == "direct_counter_entry":
            entry = entity.direct_counter_entry
            for info in self._tables(entry.table_entry.table_id):
                if info.direct_counter is not None or entry.table_entry.table_id:
                    yield from read_direct_counters(info, entry, frozen)
        elif kind == "direct_meter_entry":
            entry = entity.direct_meter_entry
            for info in self._tables(entry.table_entry.table_id):
                if info.direct_meter is not None or entry.table_entry.table_id:
                    yield from read_direct_meters(info, entry, frozen)
        elif kind == "value_set_entry":
            id_ = entity.value_set_entry.value_set_id
            for found in [self.info.value_set(id_)] if id_ else self.info.value_sets.values():
                yield self._value_sets.read(found)
        elif kind == "digest_entry":
            yield from self._digest_entries(entity.digest_entry.digest_id)
        elif kind == "action_profile_member":
            member = entity.action_profile_member
            for profile in self._profiles(member.action_profile_id, member.member_id):
                yield from profile.read_members(member.member_id)
        elif kind == "action_profile_group":
            group = entity.action_profile_group
            for profile in self._profiles(group.action_profile_id, group.group_id):
                yield from profile.read_groups(group.group_id)
        elif kind == "packet_replication_engine_entry":
            yield from self.replication.read(entity.packet_replication_engine_entry)
        else:
            _refuse(kind)

    def _digest_entries(self, id_: int) -> Iterator[Any]:
        for digest in [self.info.digest(id_)] if id_ else self.info.digests.values():
            if (entry := digest.read()) is not None:
                yield p4runtime_pb2.Entity(digest_entry=entry)
            elif id_:
                raise P4RuntimeError(Code.NOT_FOUND, f"digest {digest.name} is not configured")

    @property
    def notifies(self) -> bool:
        """Whether packets can leave news for clients."""
        return self.pipeline.digests is not None or bool(self.pipeline.hits)

    def notifications(self, now_ns: int, frozen: Freeze) -> list[Any]:
        """The stream messages to send at `now_ns` of any clock, but for their timestamps."""
        messages = self._digest_lists(now_ns, frozen)
        for info in self.info.tables.values():
            if info.idle is not None:
                messages += info.idle.expired()
        return messages

    def _digest_lists(self, now_ns: int, frozen: Freeze) -> list[Any]:
        """Take what the data plane has left; return the DigestList messages to send now."""
        if self.pipeline.digests is None:
            return []
        with frozen():
            records = self.pipeline.digests.take()
        found: dict[int, list[tuple[int, ...]]] = {}
        for record in records:
            if record.name in self.info.digest_names:
                found.setdefault(self.info.digest_names[record.name], []).append(record.values)
        messages = []
        for digest in self.info.digests.values():
            messages += [*digest.learn(found.get(digest.id, ()), now_ns), *digest.due(now_ns)]
        return messages

    def _profiles(self, id_: int, of_one: int) -> list[Any]:
        if of_one and not id_:
            raise P4RuntimeError(Code.INVALID_ARGUMENT, "a member or group is one of an action profile: name it")
        return [self.info.profile(id_)] if id_ else list(self.info.profiles.values())

    def port_changed(self, port: int) -> None:
        """Tell what watches `port` that it has gone up or down; the caller holds the data plane still."""
        for profile in self.info.profiles.values():
            profile.port_changed(port)

    def _tables(self, id_: int) -> list[Any]:
        return [self.info.table(id_)] if id_ else list(self.info.tables.values())

    def carry_over(self, old: ForwardingConfig, frozen: Freeze) -> None:
        """Bring `old`'s state here, where packets do not pass yet; INVALID_ARGUMENT where this program has no place.

        Counters, registers and meters are carried over where they have the same name and shape.
        """
        for update in old._forwarding_state(frozen):
            try:
                self.write(update)
            except P4RuntimeError as error:
                raise P4RuntimeError(
                    Code.INVALID_ARGUMENT, f"the new program cannot keep the present state: {error.message}"
                ) from None
        copy_meters(old.pipeline.meters, self.pipeline.meters)
        with frozen():
            arrays.copy_counters(old.pipeline.counters, self.pipeline.counters)
            arrays.copy_registers(old.pipeline.registers, self.pipeline.registers)

    def _forwarding_state(self, frozen: Freeze) -> Iterator[Any]:
        """Yield the updates that bring a fresh program to what clients wrote to this one's tables, groups and so on."""
        for profile in self.info.profiles.values():
            yield from _updates(Update.INSERT, profile.read_members(0))
            yield from _updates(Update.INSERT, profile.read_groups(0))
        for info in self.info.tables.values():
            request = p4runtime_pb2.TableEntry(table_id=info.id)
            if info.direct_counter is not None:
                request.counter_data.SetInParent()
            if info.direct_meter is not None:
                request.meter_config.SetInParent()
            if not info.constant:
                yield from _updates(Update.INSERT, read_table_entries(info, self._notes, request, frozen))
            if info.table.default_is_set:
                request = p4runtime_pb2.TableEntry(table_id=info.id, is_default_action=True)
                yield from _updates(Update.MODIFY, read_table_entries(info, self._notes, request, frozen))
        yield from _updates(Update.INSERT, self._digest_entries(0))
        yield from _updates(Update.MODIFY, self._value_sets.written())
        for kind in ("multicast_group_entry", "clone_session_entry"):
            everything = p4runtime_pb2.PacketReplicationEngineEntry()
            getattr(everything, kind).SetInParent()
            yield from _updates(Update.INSERT, self.replication.read(everything))


def _updates(kind: int, entities: Iterator[Any]) -> Iterator[Any]:
    for entity in entities:
        yield Update(type=kind, entity=entity)


def _refuse(kind: str | None) -> None:
    if kind is None:
        raise P4RuntimeError(Code.INVALID_ARGUMENT, "the entity is not set")
    raise P4RuntimeError(Code.UNIMPLEMENTED, f"{_NOT_HERE.get(kind, kind)} are not supported by this target")
