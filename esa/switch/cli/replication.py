"""Commands for multicast groups, their nodes, and mirroring (clone) sessions.

simple_switch_CLI makes nodes first and puts them into groups later; P4Runtime has groups of replicas alone. So nodes
live here, for one run, and begin with those that the groups on the switch come to: one for each rid of a group.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from esa.p4runtime import p4runtime_pb2
from esa.switch.cli.client import DELETE, INSERT, MODIFY, CommandError
from esa.switch.cli.registry import command
from esa.switch.cli.session import Prepared, Session, allowed, lowest_free
from esa.switch.cli.values import decode, integer

_MAX_16 = (1 << 16) - 1
_MAX_SESSION = (1 << 15) - 1
_KEY = "multicast"


@dataclass
class _Node:
    rid: int
    ports: list[int]


@dataclass
class _Multicast:
    """`groups`: the nodes of each by handle, in the order of associating; `mirrors`: sessions that copy to a group."""

    nodes: dict[int, _Node] = field(default_factory=dict)
    groups: dict[int, list[int]] = field(default_factory=dict)
    mirrors: dict[int, set[int]] = field(default_factory=dict)

    def replicas(self, group: int) -> list[tuple[int, int]]:
        nodes = [self.nodes[handle] for handle in self.groups[group]]
        return [(port, node.rid) for node in nodes for port in node.ports]

    def group(self, group: int) -> list[int]:
        if group not in self.groups:
            raise CommandError(f"there is no multicast group {group}; {allowed(self.groups)}")
        return self.groups[group]

    def node(self, handle: int) -> _Node:
        if handle not in self.nodes:
            raise CommandError(f"there is no multicast node {handle}; {allowed(self.nodes)}")
        return self.nodes[handle]


def _multicast(session: Session) -> _Multicast:
    if _KEY not in session.kept:
        session.kept[_KEY] = found = _Multicast()
        entity = p4runtime_pb2.Entity()
        entity.packet_replication_engine_entry.multicast_group_entry.multicast_group_id = 0  # all
        for each in session.client.read(entity):
            group = each.packet_replication_engine_entry.multicast_group_entry
            by_rid: dict[int, list[int]] = {}
            for replica in group.replicas:
                by_rid.setdefault(replica.instance, []).append(_port(replica))
            handles = found.groups[group.multicast_group_id] = []
            for rid, ports in by_rid.items():
                handle = lowest_free(found.nodes)
                found.nodes[handle] = _Node(rid, ports)
                handles.append(handle)
    kept: _Multicast = session.kept[_KEY]
    return kept


def _port(replica: Any) -> int:
    return decode(replica.port) if replica.WhichOneof("port_kind") == "port" else int(replica.egress_port)


def _write_group(session: Session, kind: int, group: int, replicas: Sequence[tuple[int, int]]) -> None:
    entity = p4runtime_pb2.Entity()
    message = entity.packet_replication_engine_entry.multicast_group_entry
    message.multicast_group_id = group
    for port, rid in replicas:
        message.replicas.add(egress_port=port, instance=rid)
    session.client.write(kind, entity)


def _write_mirror(session: Session, mirror: int, replicas: Sequence[tuple[int, int]]) -> None:
    """Set a session, as simple_switch does, whether or not it is there."""
    kind = MODIFY if mirror in _mirrors(session) else INSERT
    entity = p4runtime_pb2.Entity()
    message = entity.packet_replication_engine_entry.clone_session_entry
    message.session_id = mirror
    for port, rid in replicas:
        message.replicas.add(egress_port=port, instance=rid)
    session.client.write(kind, entity)


def _mirrors(session: Session) -> dict[int, Any]:
    entity = p4runtime_pb2.Entity()
    entity.packet_replication_engine_entry.clone_session_entry.session_id = 0  # all
    found = [each.packet_replication_engine_entry.clone_session_entry for each in session.client.read(entity)]
    return {each.session_id: each for each in found}


def _changed(session: Session, group: int, nodes: list[int]) -> None:
    """Give a group other nodes, and the sessions that copy to it the same."""
    known = _multicast(session)
    before, known.groups[group] = known.groups[group], nodes
    try:
        _write_group(session, MODIFY, group, known.replicas(group))
    except CommandError:
        known.groups[group] = before
        raise
    for mirror in known.mirrors.get(group, ()):
        _write_mirror(session, mirror, known.replicas(group))


def _ports(words: Sequence[str]) -> list[int]:
    if "|" in words:
        raise CommandError("LAGs, after '|', are not supported: multicast groups have none over P4Runtime")
    ports = sorted(integer(word, "port", 0, _MAX_16) for word in words)
    if len(set(ports)) < len(ports):
        raise CommandError("a port is given twice")
    return ports


@command("mc_mgrp_create <group>", 1)
def _mgrp_create(session: Session, words: Sequence[str]) -> Prepared:
    group = integer(words[0], "group", 1, _MAX_16)

    def run() -> None:
        known = _multicast(session)
        _write_group(session, INSERT, group, ())
        known.groups[group] = []
        session.say(f"Creating multicast group {group}")

    return run


@command("mc_mgrp_destroy <group>", 1)
def _mgrp_destroy(session: Session, words: Sequence[str]) -> Prepared:
    group = integer(words[0], "group", 1, _MAX_16)

    def run() -> None:
        known = _multicast(session)
        known.group(group)
        _write_group(session, DELETE, group, ())
        del known.groups[group]

    return run


@command("mc_node_create <rid> [<ports>]", 1, None)
def _node_create(session: Session, words: Sequence[str]) -> Prepared:
    node = _Node(integer(words[0], "rid", 0, _MAX_16), _ports(words[1:]))

    def run() -> None:
        known = _multicast(session)
        handle = lowest_free(known.nodes)
        known.nodes[handle] = node
        session.say(f"node was created with handle {handle}")

    return run


@command("mc_node_update <node handle> <ports>", 2, None)
def _node_update(session: Session, words: Sequence[str]) -> Prepared:
    handle, ports = integer(words[0], "node handle"), _ports(words[1:])

    def run() -> None:
        known = _multicast(session)
        node = known.node(handle)
        before, node.ports = node.ports, ports
        try:
            for group, nodes in known.groups.items():
                if handle in nodes:
                    _changed(session, group, nodes)
        except CommandError:
            node.ports = before
            raise

    return run


def _in_group(session: Session, group: int, handle: int, wanted: bool) -> list[int]:
    known = _multicast(session)
    known.node(handle)
    nodes = known.group(group)
    if (handle in nodes) != wanted:
        raise CommandError(f"node {handle} is {'not' if wanted else 'already'} in multicast group {group}")
    return nodes


@command("mc_node_associate <group> <node handle>", 2)
def _node_associate(session: Session, words: Sequence[str]) -> Prepared:
    group, handle = integer(words[0], "group", 1, _MAX_16), integer(words[1], "node handle")
    return lambda: _changed(session, group, [*_in_group(session, group, handle, False), handle])


@command("mc_node_dissociate <group> <node handle>", 2)
def _node_dissociate(session: Session, words: Sequence[str]) -> Prepared:
    group, handle = integer(words[0], "group", 1, _MAX_16), integer(words[1], "node handle")
    return lambda: _changed(
        session, group, [each for each in _in_group(session, group, handle, True) if each != handle]
    )


@command("mc_node_destroy <node handle>", 1)
def _node_destroy(session: Session, words: Sequence[str]) -> Prepared:
    handle = integer(words[0], "node handle")

    def run() -> None:
        known = _multicast(session)
        known.node(handle)
        for group, nodes in known.groups.items():
            if handle in nodes:
                _changed(session, group, [each for each in nodes if each != handle])
        del known.nodes[handle]

    return run


@command("mc_dump", 0)
def _mc_dump(session: Session, words: Sequence[str]) -> Prepared:
    def run() -> None:
        known = _multicast(session)
        session.say("==========\nMC ENTRIES")
        for group, handles in sorted(known.groups.items()):
            session.say(f"**********\nmgrp({group})")
            for handle in handles:
                node = known.nodes[handle]
                ports = ", ".join(map(str, node.ports))
                session.say(f"  -> (L1h={handle}, rid={node.rid}) -> (ports=[{ports}], lags=[])")
        session.say("==========")

    return run


@command("mirroring_add <mirror id> <egress port>", 2)
def _mirroring_add(session: Session, words: Sequence[str]) -> Prepared:
    mirror = integer(words[0], "mirror id", 1, _MAX_SESSION)
    port = integer(words[1], "egress port", 0, _MAX_16)

    def run() -> None:
        _unlink(session, mirror)
        _write_mirror(session, mirror, [(port, 0)])

    return run


@command("mirroring_add_mc <mirror id> <group>", 2)
def _mirroring_add_mc(session: Session, words: Sequence[str]) -> Prepared:
    mirror, group = integer(words[0], "mirror id", 1, _MAX_SESSION), integer(words[1], "group", 1, _MAX_16)

    def run() -> None:
        known = _multicast(session)
        known.group(group)
        _unlink(session, mirror)
        _write_mirror(session, mirror, known.replicas(group))
        known.mirrors.setdefault(group, set()).add(mirror)

    return run


@command("mirroring_delete <mirror id>", 1)
def _mirroring_delete(session: Session, words: Sequence[str]) -> Prepared:
    entity = p4runtime_pb2.Entity()
    mirror = integer(words[0], "mirror id", 1, _MAX_SESSION)
    entity.packet_replication_engine_entry.clone_session_entry.session_id = mirror

    def run() -> None:
        session.client.write(DELETE, entity)
        _unlink(session, mirror)

    return run


@command("mirroring_get <mirror id>", 1)
def _mirroring_get(session: Session, words: Sequence[str]) -> Prepared:
    mirror = integer(words[0], "mirror id", 1, _MAX_SESSION)

    def run() -> None:
        there = _mirrors(session)
        if mirror not in there:
            raise CommandError(f"there is no mirroring session {mirror}; {allowed(there)}")
        copies = ", ".join(f"port {_port(each)} rid {each.instance}" for each in there[mirror].replicas)
        session.say(f"mirroring session {mirror}: {copies or 'no copies'}")

    return run


def _unlink(session: Session, mirror: int) -> None:
    for mirrors in _multicast(session).mirrors.values():
        mirrors.discard(mirror)
