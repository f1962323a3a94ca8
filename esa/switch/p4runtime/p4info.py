"""P4Info's ids and types next to the loaded program's names: the dictionary that the P4Runtime server works with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from esa.p4runtime import p4info_pb2
from esa.switch.compiler.program import Action
from esa.switch.p4runtime.action_profiles import ProfileEntries
from esa.switch.p4runtime.actions import ActionInfo, ParamInfo
from esa.switch.p4runtime.digests import DigestLists, filler
from esa.switch.p4runtime.idle import IdleTimeouts
from esa.switch.p4runtime.infos import ArrayInfo, TableInfo, ValueSetInfo
from esa.switch.p4runtime.match_fields import FieldInfo
from esa.switch.p4runtime.meters import EXCESS
from esa.switch.p4runtime.packet_io import ControllerHeader
from esa.switch.p4runtime.status import Code, P4RuntimeError
from esa.switch.p4runtime.translation import Strings, Translation
from esa.switch.runtime.device import Ports
from esa.switch.runtime.profiles import IndirectTable
from esa.switch.runtime.tables import Table

_T = TypeVar("_T")

_MATCH_NAMES = {
    p4info_pb2.MatchField.EXACT: "exact",
    p4info_pb2.MatchField.LPM: "lpm",
    p4info_pb2.MatchField.TERNARY: "ternary",
    p4info_pb2.MatchField.RANGE: "range",
    p4info_pb2.MatchField.OPTIONAL: "optional",
}
# What the compiler turns a kind into: BMv2's tables have no `optional` next to other kinds.
_COMPILED_KINDS = {"optional": ("optional", "ternary"), "exact": ("exact", "valid")}


class P4InfoMap:
    """Every id of a P4Info, resolved against the program that was loaded with it.

    Raises P4RuntimeError (INVALID_ARGUMENT) where the two do not belong together.
    """

    def __init__(self, p4info: Any, pipeline: Any, ports: Ports) -> None:
        self.p4info = p4info
        _check_ids(p4info)
        self.absent: dict[int, str] = {}
        self.digest_names: dict[str, int] = {}  # ids by the loaded program's names
        self.translation = Translation(p4info.type_info, ports.names)
        compiled = {action.name: action for action in pipeline.program.actions.values()}
        self.actions = {
            action.preamble.id: _action(action, compiled.get(action.preamble.name), self.translation)
            for action in p4info.actions
        }
        self.direct_meters = {each.direct_table_id: each for each in p4info.direct_meters}
        self.profiles = dict(self._profiles(p4info, pipeline, ports))
        self.value_sets = dict(self._value_sets(p4info, pipeline))
        self.digests = dict(self._digests(p4info, pipeline))
        self.tables = dict(self._tables(p4info, pipeline))
        self.counters = dict(self._arrays(p4info.counters, pipeline.counters, "counter"))
        self.registers = dict(self._arrays(p4info.registers, pipeline.registers, "register"))
        self.meters = dict(self._arrays(p4info.meters, pipeline.meters, "meter"))
        headers = {
            each.preamble.name: ControllerHeader(each, self.translation, pipeline.program)
            for each in p4info.controller_packet_metadata
        }
        self.packet_in = headers.get("packet_in")
        self.packet_out = headers.get("packet_out")

    def table(self, id_: int) -> TableInfo:
        return self._find(self.tables, id_, "table")

    def counter(self, id_: int) -> ArrayInfo:
        return self._find(self.counters, id_, "counter")

    def register(self, id_: int) -> ArrayInfo:
        return self._find(self.registers, id_, "register")

    def profile(self, id_: int) -> ProfileEntries:
        return self._find(self.profiles, id_, "action profile")

    def digest(self, id_: int) -> DigestLists:
        return self._find(self.digests, id_, "digest")

    def value_set(self, id_: int) -> ValueSetInfo:
        return self._find(self.value_sets, id_, "value set")

    def meter(self, id_: int) -> ArrayInfo:
        return self._find(self.meters, id_, "meter")

    def _find(self, where: Mapping[int, _T], id_: int, kind: str) -> _T:
        """INVALID_ARGUMENT for an id that P4Info does not have; UNIMPLEMENTED for one that this target cannot serve."""
        found = where.get(id_)
        if found is None:
            if id_ in self.absent:
                raise P4RuntimeError(Code.UNIMPLEMENTED, self.absent[id_])
            raise P4RuntimeError(Code.INVALID_ARGUMENT, f"no {kind} has the id {id_} (0x{id_:08x})")
        return found

    def _tables(self, p4info: Any, pipeline: Any) -> Iterator[tuple[int, TableInfo]]:
        for info in p4info.tables:
            name = info.preamble.name
            table = pipeline.tables.get(name)
            if table is None:
                self.absent[info.preamble.id] = f"table {name} is not in the compiled program"
                continue
            scopes = {ref.id: ref.scope for ref in info.action_refs}
            _check_actions(name, [self._action_of(name, id_) for id_ in scopes], table)
            yield (
                info.preamble.id,
                TableInfo(
                    id=info.preamble.id,
                    name=name,
                    fields=_fields(name, info.match_fields, table.key, self.translation),
                    actions={id_: self._action_of(name, id_) for id_ in scopes},
                    default_only=frozenset(
                        id_ for id_, scope in scopes.items() if scope == p4info_pb2.ActionRef.DEFAULT_ONLY
                    ),
                    table_only=frozenset(
                        id_ for id_, scope in scopes.items() if scope == p4info_pb2.ActionRef.TABLE_ONLY
                    ),
                    # BMv2 JSON does not tell preinitialised tables from constant ones, and gives them no more room.
                    constant=info.is_const_table or table.const,
                    const_entries=info.is_const_table,
                    constant_default=info.const_default_action_id != 0,
                    table=table,
                    direct_counter=pipeline.direct_counters.get(name),
                    direct_meter=self._direct_meter(info, pipeline.direct_meters.get(name)),
                    idle=_idle(info, pipeline.hits.get(name)),
                    profile=self._profile_of(info, table),
                ),
            )

    def _profiles(self, p4info: Any, pipeline: Any, ports: Ports) -> Iterator[tuple[int, ProfileEntries]]:
        for info in p4info.action_profiles:
            name = info.preamble.name
            profile = pipeline.action_profiles.get(name)
            if profile is None:
                self.absent[info.preamble.id] = f"action profile {name} is not in the compiled program"
                continue
            if info.with_selector != profile.selects:
                raise _differ(f"action profile {name} is a selector in one, none in the other")
            tables = [table for table in p4info.tables if table.preamble.id in info.table_ids]
            refs = [ref for table in tables for ref in table.action_refs]
            actions = {ref.id: self._action_of(name, ref.id) for ref in refs}
            _check_actions(name, list(actions.values()), profile)
            for ref in refs:
                if ref.scope == p4info_pb2.ActionRef.DEFAULT_ONLY:
                    actions.pop(ref.id, None)  # no member can be one
            yield info.preamble.id, ProfileEntries(info, actions, profile, ports, self.translation)

    def _value_sets(self, p4info: Any, pipeline: Any) -> Iterator[tuple[int, ValueSetInfo]]:
        for info in p4info.value_sets:
            id_, name = info.preamble.id, info.preamble.name
            values = pipeline.value_sets.get(name)
            if values is None:
                self.absent[id_] = f"value set {name} is not used in the compiled program"
                continue
            widths = [match.bitwidth for match in info.match]
            if len(widths) != len(values.bits) or any(
                w not in (0, b) for w, b in zip(widths, values.bits, strict=True)
            ):
                raise _differ(f"value set {name} has fields of other widths in one than in the other")
            kinds = [_MATCH_NAMES.get(match.match_type) for match in info.match]
            if not set(kinds) <= {"exact", "lpm", "ternary", "optional"}:
                self.absent[id_] = f"value set {name}: only exact, lpm, ternary and optional fields are supported"
                continue
            fields = []
            for match, kind, bits in zip(info.match, kinds, values.bits, strict=True):
                strings = _strings(f"value set {name}", match, str(kind), bits, self.translation)
                fields.append(FieldInfo(match.id, match.name, str(kind), bits, strings))
            yield id_, ValueSetInfo(id_, name, info.size, tuple(fields), values)

    def _digests(self, p4info: Any, pipeline: Any) -> Iterator[tuple[int, DigestLists]]:
        compiled = {} if pipeline.digests is None else dict(pipeline.digests.bits)
        named = {info.preamble.id: info.preamble.name for info in p4info.digests if info.preamble.name in compiled}
        # p4c names those that have no name differently in its two outputs, in one order
        others = iter(name for name in compiled if name not in named.values())
        for info in p4info.digests:
            name = named.get(info.preamble.id) or next(others, None)
            if name is None:
                self.absent[info.preamble.id] = f"digest {info.preamble.name} is not in the compiled program"
                continue
            fill = filler(info.preamble.name, info.type_spec, p4info.type_info, compiled[name], self.translation)
            if fill is None:
                self.absent[info.preamble.id] = f"digest {info.preamble.name}: only bit, int and bool are supported"
                continue
            self.digest_names[name] = info.preamble.id
            yield info.preamble.id, DigestLists(info.preamble.id, info.preamble.name, fill)

    def _profile_of(self, info: Any, table: Any) -> ProfileEntries | None:
        profile = self.profiles.get(info.implementation_id)
        compiled = table.profile.name if isinstance(table, IndirectTable) else None
        if (profile.name if profile is not None else None) != compiled:
            raise _differ(f"table {info.preamble.name} has another action profile in one than in the other")
        return profile

    def _action_of(self, table: str, id_: int) -> ActionInfo:
        if id_ not in self.actions:
            raise P4RuntimeError(
                Code.INVALID_ARGUMENT, f"P4Info: table {table} names action id {id_}, which is not there"
            )
        return self.actions[id_]

    def _arrays(self, infos: Any, arrays: Mapping[str, Any], kind: str) -> Iterator[tuple[int, ArrayInfo]]:
        for info in infos:
            name = info.preamble.name
            if name not in arrays:
                self.absent[info.preamble.id] = f"{kind} {name} is not in the compiled program"
                continue
            array = arrays[name]
            cells = len(array.packets) if kind == "counter" else array.size
            if info.size != cells:
                raise _differ(f"{kind} {name} has {info.size} cells in one, {cells} in the other")
            data_kind: str | None = "counter"
            if kind == "register":
                data_kind = self._register_kind(info)
            elif kind == "meter":
                data_kind = _meter_kind(info, array)
            if data_kind is None:
                allowed = "registers of bit, int and bool" if kind == "register" else "meters of MeterSpec's types"
                self.absent[info.preamble.id] = f"{kind} {name}: only {allowed} are supported"
                continue
            yield info.preamble.id, ArrayInfo(info.preamble.id, name, info.size, data_kind, array)

    def _direct_meter(self, table: Any, array: Any) -> ArrayInfo | None:
        info = self.direct_meters.get(table.preamble.id)
        if (info is None) != (array is None):
            raise _differ(f"table {table.preamble.name} has a direct meter in one, none in the other")
        if info is None:
            return None
        if info.preamble.name != array.name:
            raise _differ(f"table {table.preamble.name} has the meters {info.preamble.name} and {array.name}")
        kind = _meter_kind(info, array)
        if kind is None:
            raise P4RuntimeError(
                Code.INVALID_ARGUMENT,
                f"meter {array.name}: type {info.spec.type} is not supported by this target",
            )
        return ArrayInfo(info.preamble.id, array.name, array.size, kind, array)

    def _register_kind(self, info: Any) -> str | None:
        spec = info.type_spec
        seen: set[str] = set()
        while spec.HasField("new_type"):
            if spec.new_type.name in seen:
                raise _differ(f"type {spec.new_type.name} is defined by itself")
            seen.add(spec.new_type.name)
            new_type = self.p4info.type_info.new_types[spec.new_type.name]
            if new_type.HasField("translated_type"):
                return "bit"
            spec = new_type.original_type
        if spec.HasField("bool"):
            return "bool"
        kind: str | None = spec.bitstring.WhichOneof("type_spec")
        return kind if kind in ("bit", "int") else None


def _idle(info: Any, hits: Any) -> IdleTimeouts | None:
    if info.idle_timeout_behavior != p4info_pb2.Table.NOTIFY_CONTROL:
        return None
    if hits is None:
        raise _differ(f"table {info.preamble.name} has idle time-outs in the P4Info only")
    return IdleTimeouts(hits)


def _meter_kind(info: Any, meter: Any) -> str | None:
    """How many rates its configuration has, by MeterSpec; None for what that does not have."""
    unit = {p4info_pb2.MeterSpec.BYTES: "bytes", p4info_pb2.MeterSpec.PACKETS: "packets"}.get(info.spec.unit)
    if unit != meter.unit:
        raise _differ(f"meter {meter.name} counts {unit} in one, {meter.unit} in the other")
    kinds = {
        p4info_pb2.MeterSpec.TWO_RATE_THREE_COLOR: "two rates",
        p4info_pb2.MeterSpec.SINGLE_RATE_TWO_COLOR: "one rate",
        p4info_pb2.MeterSpec.SINGLE_RATE_THREE_COLOR: EXCESS,
    }
    return kinds.get(info.spec.type)


def _differ(how: str) -> P4RuntimeError:
    return P4RuntimeError(Code.INVALID_ARGUMENT, f"P4Info and device config differ: {how}")


def _check_ids(p4info: Any) -> None:
    """Each id names one thing, for good."""
    for attribute in (
        "tables",
        "actions",
        "counters",
        "registers",
        "meters",
        "direct_meters",
        "action_profiles",
        "digests",
        "value_sets",
    ):
        ids: dict[int, str] = {}
        for each in getattr(p4info, attribute):
            id_, name = each.preamble.id, each.preamble.name
            if id_ == 0 or id_ in ids:
                again = f" and {ids[id_]}" if id_ in ids else ""
                raise P4RuntimeError(Code.INVALID_ARGUMENT, f"P4Info: {attribute}: id {id_} is that of {name}{again}")
            ids[id_] = name
    for what, infos, parts in (("table", p4info.tables, "match_fields"), ("action", p4info.actions, "params")):
        for info in infos:
            numbers = [part.id for part in getattr(info, parts)]
            if len(set(numbers)) != len(numbers):
                raise P4RuntimeError(
                    Code.INVALID_ARGUMENT, f"P4Info: {what} {info.preamble.name}: two of its {parts} have one id"
                )


def _check_actions(table: str, infos: list[ActionInfo], compiled: Table) -> None:
    missing = set(compiled.actions) - {info.name for info in infos}
    if missing:
        raise _differ(f"table {table} has the action {min(missing)} in the device config only")
    for info in infos:
        if info.name in compiled.actions and len(info.params) != compiled.parameters(info.name):
            raise _differ(
                f"action {info.name} has {len(info.params)} parameters in one, "
                f"{compiled.parameters(info.name)} in the other"
            )


def _action(info: Any, compiled: Action | None, translation: Translation) -> ActionInfo:
    """`compiled` None: the program has no such action, and no table can name it."""
    name, params = info.preamble.name, []
    widths = [bits for _, bits in compiled.params] if compiled is not None else []
    for at, each in enumerate(info.params):
        strings = translation.strings(each.type_name.name, widths[at]) if at < len(widths) else None
        bits = each.bitwidth if strings is None else strings.bits
        if bits < 0:
            raise P4RuntimeError(Code.INVALID_ARGUMENT, f"P4Info: action {name}, parameter {each.name}: {bits} bits")
        params.append(ParamInfo(each.id, each.name, bits, f"action {name}, parameter {each.name}", strings))
    return ActionInfo(info.preamble.id, name, tuple(params))


def _fields(table: str, infos: Any, key: Any, translation: Translation) -> tuple[FieldInfo, ...]:
    if len(infos) != len(key):
        raise _differ(f"table {table} has {len(infos)} key fields in one, {len(key)} in the other")
    return tuple(_field(table, info, compiled, translation) for info, compiled in zip(infos, key, strict=True))


def _field(table: str, info: Any, compiled: Any, translation: Translation) -> FieldInfo:
    match = _MATCH_NAMES.get(info.match_type)
    if match is None:
        raise P4RuntimeError(
            Code.INVALID_ARGUMENT, f"table {table}, field {info.name}: this match kind is not supported"
        )
    # A type that is translated to another number has the controller's width in P4Info, and the value must fit both. A
    # string and an `error` have no width there.
    same_width = info.bitwidth in (0, compiled.bits) or info.HasField("type_name")
    if compiled.match_type not in _COMPILED_KINDS.get(match, (match,)) or not same_width:
        raise _differ(
            f"table {table}, field {info.name} is {match} of {info.bitwidth} bits in one, "
            f"{compiled.match_type} of {compiled.bits} bits in the other"
        )
    strings = _strings(f"table {table}", info, match, compiled.bits, translation)
    return FieldInfo(info.id, info.name, match, compiled.bits, strings)


def _strings(owner: str, info: Any, match: str, bits: int, translation: Translation) -> Strings | None:
    found = translation.strings(info.type_name.name, bits)
    if found is not None and match not in ("exact", "optional"):
        raise P4RuntimeError(
            Code.INVALID_ARGUMENT,
            f"{owner}, field {info.name}: a string is matched {match}; exact and optional are allowed",
        )
    return found
