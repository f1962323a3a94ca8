"""Entries, groups and counter cells as P4Runtime messages, and back, by the names of the program that a switch runs."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Any, TypeAlias

from controller.p4names import P4Names
from esa.entries.job_entries import Entry, Group, Replica, mac_text
from esa.errors import BadInput, Refused

Item: TypeAlias = Entry | Group | tuple[str, int, int]  # what a write changes; a tuple is (counter, index, count)


class Messages:
    """Messages of the program that the switch at `address` runs, whose P4Info is `names`."""

    def __init__(self, names: P4Names, address: str) -> None:
        self.names = names
        self.address = address

    def find(self, kind: str, name: str) -> Any:
        """Return the P4Info of a table, action or counter; Refused if the switch's program has none of that name."""
        found = self.names.find(kind, name)
        if found is None:
            text = f"the switch at {self.address} runs another program: it has no {kind} {name}"
            raise Refused(text, address=self.address)
        return found

    def entry_of(self, message: Any) -> Entry:
        """Return what a TableEntry says."""
        table = self.names.with_id(message.table_id)
        given = {match.field_id: _number(match.exact.value) for match in message.match}
        action = message.action.action
        values = {param.param_id: _number(param.value) for param in action.params}
        info = self.names.with_id(action.action_id)
        return Entry(
            table.preamble.name,
            tuple(given[field.id] for field in table.match_fields),
            info.preamble.name,
            tuple(values[param.id] for param in info.params),
        )

    def fill(self, entity: Any, item: Item, *, key_only: bool) -> None:
        """Write an item into an Entity; key_only: what names it alone, as a DELETE wants it."""
        if isinstance(item, Group):
            group = entity.packet_replication_engine_entry.multicast_group_entry
            group.multicast_group_id = item.id
            for port, instance in () if key_only else item.replicas:
                group.replicas.add(egress_port=port, instance=instance)
        elif isinstance(item, Entry):
            self._fill_entry(entity.table_entry, item, key_only=key_only)
        else:
            name, index, count = item
            entity.counter_entry.counter_id = self.find("counter", name).preamble.id
            entity.counter_entry.index.index = index
            entity.counter_entry.data.packet_count = count

    def _fill_entry(self, message: Any, entry: Entry, *, key_only: bool) -> None:
        table = self.find("table", entry.table)
        message.table_id = table.preamble.id
        message.is_default_action = not table.match_fields
        for field, value in zip(table.match_fields, entry.match, strict=True):
            message.match.add(field_id=field.id).exact.value = _bytes(value, field, entry.table)
        if key_only:
            return
        action = self.find("action", entry.action)
        message.action.action.action_id = action.preamble.id
        for param, value in zip(action.params, entry.params, strict=True):
            message.action.action.params.add(param_id=param.id, value=_bytes(value, param, entry.action))

    def describe(self, item: Item) -> str:
        """Name an item as a person would."""
        if isinstance(item, Group):
            return f"multicast group {item.id}"
        if not isinstance(item, Entry):
            return f"counter {item[0]}[{item[1]}]"
        fields = self.find("table", item.table).match_fields
        key = ", ".join(f"{field.name}={_text(value, field)}" for field, value in zip(fields, item.match, strict=True))
        return f"entry {item.table.rpartition('.')[2]}({key})"


def group_of(message: Any) -> Group:
    """Return what a MulticastGroupEntry says."""
    replicas = (Replica(_replica_port(replica), replica.instance) for replica in message.replicas)
    return Group(message.multicast_group_id, tuple(replicas))


def _number(value: bytes) -> int:
    return int.from_bytes(value, "big")


def _bytes(value: int, field: Any, owner: str) -> bytes:
    """The shortest big-endian form, which is P4Runtime's canonical one."""
    if not 0 <= value < 1 << field.bitwidth:
        raise BadInput(f"{owner}: {field.name}: {value} does not fit in {field.bitwidth} bits")
    return value.to_bytes(max(1, (value.bit_length() + 7) // 8), "big")


def _text(value: int, field: Any) -> str:
    if field.bitwidth == 48:
        return mac_text(value)
    return str(IPv4Address(value)) if field.name.endswith("ip") else str(value)


def _replica_port(replica: Any) -> int:
    if replica.WhichOneof("port_kind") == "port":
        return _number(replica.port)
    return int(replica.egress_port)
