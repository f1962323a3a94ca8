"""Multicast groups and clone sessions over P4Runtime; a read returns what was written."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

from esa.p4runtime import p4runtime_pb2
from esa.switch.p4runtime.status import Code, P4RuntimeError
from esa.switch.p4runtime.translation import Translation, port_of

Update = p4runtime_pb2.Update
# v1model's own widths: standard_metadata.mcast_grp and egress_rid are bit<16>.
MAX_GROUP_ID = (1 << 16) - 1
_MAX_INSTANCE = (1 << 16) - 1
# No interface has a port above 511: as on BMv2 a copy to such a port passes the egress, and leaves nowhere.
_PORT_BITS = 16
# BMv2's limit, and the width of its clone primitives' tables.
MAX_SESSION_ID = (1 << 15) - 1


class ReplicationEngine:
    """The packet replication engine of one pipeline. Reads return what was written, replica ports in the same form."""

    def __init__(self, pipeline: Any, translation: Translation | None = None) -> None:
        self._translation = translation
        self._multicast = pipeline.multicast
        # None for a program that clones nothing: sessions are kept for the client then, and have no effect.
        self._clones = pipeline.clone_sessions
        self._priorities = pipeline.priorities
        self._groups: dict[int, Any] = {}
        self._sessions: dict[int, Any] = {}

    def write(self, update_type: int, entry: Any) -> None:
        kind = entry.WhichOneof("type")
        if kind == "multicast_group_entry":
            self._write_group(update_type, entry.multicast_group_entry)
        elif kind == "clone_session_entry":
            self._write_session(update_type, entry.clone_session_entry)
        else:
            raise P4RuntimeError(Code.INVALID_ARGUMENT, "packet replication engine entry: no type is set")

    def _write_group(self, update_type: int, entry: Any) -> None:
        id_ = entry.multicast_group_id
        what = f"multicast group {id_}"
        if id_ == 0:
            raise P4RuntimeError(Code.INVALID_ARGUMENT, "0 is not a valid multicast group id")
        if id_ > MAX_GROUP_ID:
            raise P4RuntimeError(Code.OUT_OF_RANGE, f"{what}: the highest id is {MAX_GROUP_ID}")
        _check_existence(update_type, id_ in self._groups, what)
        if update_type == Update.DELETE:
            self._multicast.delete(id_)
            del self._groups[id_]
            return
        _set(self._multicast, id_, _replicas(entry.replicas, what, self._translation))
        self._groups[id_] = deepcopy(entry)

    def _write_session(self, update_type: int, entry: Any) -> None:
        id_ = entry.session_id
        what = f"clone session {id_}"
        if not 1 <= id_ <= MAX_SESSION_ID:
            raise P4RuntimeError(Code.INVALID_ARGUMENT, f"{what}: ids are 1 to {MAX_SESSION_ID}")
        _check_existence(update_type, id_ in self._sessions, what)
        if update_type == Update.DELETE:
            if self._clones is not None:
                self._clones.delete(id_)
            del self._sessions[id_]
            return
        if entry.class_of_service >= self._priorities:
            allowed = f"ports have {self._priorities} queues (--priority-queues), so 0 to {self._priorities - 1}"
            raise P4RuntimeError(Code.UNIMPLEMENTED, f"{what}: class_of_service {entry.class_of_service}: {allowed}")
        if entry.packet_length_bytes < 0:
            raise P4RuntimeError(Code.INVALID_ARGUMENT, f"{what}: packet_length_bytes is negative")
        replicas = _replicas(entry.replicas, what, self._translation)
        if self._clones is not None:
            _set(self._clones, id_, replicas)
            self._clones.truncate(id_, entry.packet_length_bytes)
            self._clones.serve(id_, entry.class_of_service)
        self._sessions[id_] = deepcopy(entry)

    def read(self, entry: Any) -> Iterator[Any]:
        kind = entry.WhichOneof("type")
        if kind == "multicast_group_entry":
            id_ = entry.multicast_group_entry.multicast_group_id
            for group in _select(self._groups, id_, f"multicast group {id_}"):
                found = p4runtime_pb2.Entity()
                found.packet_replication_engine_entry.multicast_group_entry.CopyFrom(group)
                yield found
        elif kind == "clone_session_entry":
            id_ = entry.clone_session_entry.session_id
            for session in _select(self._sessions, id_, f"clone session {id_}"):
                found = p4runtime_pb2.Entity()
                found.packet_replication_engine_entry.clone_session_entry.CopyFrom(session)
                yield found
        else:
            raise P4RuntimeError(Code.INVALID_ARGUMENT, "packet replication engine entry: no type is set")


def _set(groups: Any, id_: int, replicas: list[tuple[int, int]]) -> None:
    try:
        groups.set(id_, replicas)
    except ValueError as error:
        # Ids and replicas are checked before; what is left is room for the copies of all groups together.
        raise P4RuntimeError(Code.RESOURCE_EXHAUSTED, str(error)) from None


def _check_existence(update_type: int, exists: bool, what: str) -> None:
    if update_type == Update.INSERT and exists:
        raise P4RuntimeError(Code.ALREADY_EXISTS, f"{what} exists already: use MODIFY")
    if update_type != Update.INSERT and not exists:
        raise P4RuntimeError(Code.NOT_FOUND, f"there is no {what}")


def _select(entries: dict[int, Any], id_: int, what: str) -> list[Any]:
    if id_ == 0:
        return [entries[each] for each in sorted(entries)]
    if id_ not in entries:
        raise P4RuntimeError(Code.NOT_FOUND, f"there is no {what}")
    return [entries[id_]]


def _replicas(replicas: Any, what: str, translation: Translation | None) -> list[tuple[int, int]]:
    """Return (port, instance) of each replica."""
    result: list[tuple[int, int]] = []
    for replica in replicas:
        kind = replica.WhichOneof("port_kind")
        if kind == "port":
            port = port_of(replica.port, _PORT_BITS, f"{what}: replica port", translation)
        elif kind == "egress_port":
            port = replica.egress_port
        else:
            raise P4RuntimeError(Code.INVALID_ARGUMENT, f"{what}: a replica has no port")
        if port >= 1 << _PORT_BITS:
            raise P4RuntimeError(Code.INVALID_ARGUMENT, f"{what}: port {port} does not fit in {_PORT_BITS} bits")
        if replica.instance > _MAX_INSTANCE:
            raise P4RuntimeError(Code.INVALID_ARGUMENT, f"{what}: instance {replica.instance} exceeds {_MAX_INSTANCE}")
        if (port, replica.instance) in result:
            raise P4RuntimeError(
                Code.INVALID_ARGUMENT, f"{what}: port {port} with instance {replica.instance} occurs twice"
            )
        result.append((port, replica.instance))
    return result
