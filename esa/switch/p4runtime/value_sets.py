"""Parser value sets over P4Runtime (P4Runtime 1.4, section 9.5)."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

from esa.p4runtime import p4runtime_pb2
from esa.switch.errors import TableError
from esa.switch.p4runtime.arrays import require_modify
from esa.switch.p4runtime.infos import ValueSetInfo
from esa.switch.p4runtime.match_fields import FieldInfo, left_out, reader
from esa.switch.p4runtime.status import Code, P4RuntimeError, refusal
from esa.switch.runtime.value_sets import Member


class ValueSetEntries:
    """What clients wrote to value sets: reads return it as it was."""

    def __init__(self) -> None:
        self._entries: dict[int, Any] = {}  # none of those that are empty

    def write(self, info: ValueSetInfo, update_type: int, entry: Any) -> None:
        """Replace the members; the caller holds the data plane still."""
        require_modify(update_type, f"value set {info.name}")
        if len(entry.members) > info.size:
            raise P4RuntimeError(
                Code.RESOURCE_EXHAUSTED,
                f"value set {info.name}: {len(entry.members)} members; {info.size} are allowed",
            )
        try:
            info.values.set([_member(info, each) for each in entry.members])
        except TableError as error:
            raise refusal(error) from None
        self._entries.pop(info.id, None)
        if entry.members:
            self._entries[info.id] = deepcopy(entry)

    def read(self, info: ValueSetInfo) -> Any:
        """The entity of a value set: there is always one."""
        entry = self._entries.get(info.id, p4runtime_pb2.ValueSetEntry(value_set_id=info.id))
        return p4runtime_pb2.Entity(value_set_entry=entry)

    def written(self) -> Iterator[Any]:
        """The entities of those that have members."""
        for entry in self._entries.values():
            yield p4runtime_pb2.Entity(value_set_entry=entry)


def _member(info: ValueSetInfo, given: Any) -> Member:
    owner = f"value set {info.name}"
    matches: dict[int, Any] = {}
    ids = {field.id for field in info.fields}
    for match in given.match:
        if match.field_id not in ids or match.field_id in matches:
            how = "occurs twice" if match.field_id in matches else "is none of it"
            raise P4RuntimeError(Code.INVALID_ARGUMENT, f"{owner}: field id {match.field_id} {how}")
        matches[match.field_id] = match
    return tuple(_value_and_mask(field, f"{owner}, field {field.name}", matches.get(field.id)) for field in info.fields)


def _value_and_mask(field: FieldInfo, what: str, match: Any | None) -> tuple[int, int]:
    value, second = left_out(what, field) if match is None else reader(what, field)(match)
    return value, (1 << field.bits) - (1 << (field.bits - second)) if field.match == "lpm" else second
