"""The P4Info of a program that came without one, on the command line: from what was loaded.

Names are the program's, in JSON as in P4; ids are this module's own. What only P4 source has (annotations, types,
packet-in headers) is not in it: a client that needs that brings the compiler's P4Info with the program.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from esa.p4runtime import p4info_pb2
from esa.switch.runtime.profiles import IndirectTable

# P4Ids.Prefix of p4info.proto, 1.4
_ACTION, _TABLE, _VALUE_SET, _PROFILE, _COUNTER, _DIRECT_COUNTER = 0x01, 0x02, 0x03, 0x11, 0x12, 0x13
_METER, _DIRECT_METER, _REGISTER = 0x14, 0x15, 0x16
_KINDS = {
    "exact": p4info_pb2.MatchField.EXACT,
    "valid": p4info_pb2.MatchField.EXACT,
    "lpm": p4info_pb2.MatchField.LPM,
    "ternary": p4info_pb2.MatchField.TERNARY,
    "range": p4info_pb2.MatchField.RANGE,
    "optional": p4info_pb2.MatchField.OPTIONAL,
}
_UNITS = {"packets": p4info_pb2.MeterSpec.PACKETS, "bytes": p4info_pb2.MeterSpec.BYTES}


def p4info_of(pipeline: Any) -> Any:
    """The P4Info of a loaded program: tables, actions, profiles, counters, meters, registers, value sets."""
    info, program = p4info_pb2.P4Info(), pipeline.program
    info.pkg_info.arch = "v1model"
    actions = _ids(_ACTION, (action.name for action in program.actions.values()))
    tables, profiles = _ids(_TABLE, pipeline.tables), _ids(_PROFILE, pipeline.action_profiles)
    parameters = {action.name: action.params for action in program.actions.values()}
    for name, id_ in actions.items():
        message = _named(info.actions, name, id_)
        for at, (param, bits) in enumerate(parameters[name]):
            message.params.add(id=at + 1, name=param, bitwidth=bits)
    for name, table in pipeline.tables.items():
        message = _named(info.tables, name, tables[name])
        message.size, message.is_const_table = table.size, table.const
        for at, key in enumerate(table.key):
            message.match_fields.add(id=at + 1, name=key.name, bitwidth=key.bits, match_type=_KINDS[key.match_type])
        for action in dict.fromkeys(table.actions):
            message.action_refs.add(id=actions[action])
        if isinstance(table, IndirectTable):
            message.implementation_id = profiles[table.profile.name]
        elif table.const_default and table.default is not None:
            message.const_default_action_id = actions[table.default[0]]
        if name in pipeline.hits:
            message.idle_timeout_behavior = p4info_pb2.Table.NOTIFY_CONTROL
    for name, profile in pipeline.action_profiles.items():
        message = _named(info.action_profiles, name, profiles[name])
        message.size, message.with_selector = program.profiles[name].size, profile.selects
        message.table_ids.extend(t.id for t in _preambles(info.tables, pipeline, name))
    _add_arrays(info, pipeline, tables)
    for name, id_ in _ids(_VALUE_SET, pipeline.value_sets).items():
        message = _named(info.value_sets, name, id_)
        message.size = pipeline.value_sets[name].size
        for at, bits in enumerate(pipeline.value_sets[name].bits):
            message.match.add(id=at + 1, name=f"field{at + 1}", bitwidth=bits, match_type=_KINDS["ternary"])
    return info


def _add_arrays(info: Any, pipeline: Any, tables: dict[str, int]) -> None:
    program = pipeline.program
    for name, id_ in _ids(_COUNTER, pipeline.counters).items():
        message = _named(info.counters, name, id_)
        message.spec.unit, message.size = p4info_pb2.CounterSpec.BOTH, program.counters[name].size
    direct = {name: c.binding for name, c in program.counters.items() if c.direct and c.binding in tables}
    for name, id_ in _ids(_DIRECT_COUNTER, direct).items():
        message = _named(info.direct_counters, name, id_)
        message.spec.unit, message.direct_table_id = p4info_pb2.CounterSpec.BOTH, tables[direct[name]]
    for name, id_ in _ids(_METER, pipeline.meters).items():
        message = _named(info.meters, name, id_)
        message.spec.unit, message.size = _UNITS[pipeline.meters[name].unit], program.meters[name].size
    bound = {meter.name: table for table, meter in pipeline.direct_meters.items()}
    for name, id_ in _ids(_DIRECT_METER, bound).items():
        message = _named(info.direct_meters, name, id_)
        message.spec.unit, message.direct_table_id = _UNITS[program.meters[name].unit], tables[bound[name]]
    for name, id_ in _ids(_REGISTER, pipeline.registers).items():
        message = _named(info.registers, name, id_)
        message.size = program.registers[name].size
        message.type_spec.bitstring.bit.bitwidth = program.registers[name].bits
    for message in (*info.direct_counters, *info.direct_meters):
        table = next(each for each in info.tables if each.preamble.id == message.direct_table_id)
        table.direct_resource_ids.append(message.preamble.id)


def _ids(prefix: int, names: Iterable[str]) -> dict[str, int]:
    return {name: prefix << 24 | at + 1 for at, name in enumerate(dict.fromkeys(names))}


def _named(where: Any, name: str, id_: int) -> Any:
    message = where.add()
    message.preamble.id, message.preamble.name, message.preamble.alias = id_, name, name
    return message


def _preambles(tables: Any, pipeline: Any, profile: str) -> Iterable[Any]:
    for each in tables:
        table = pipeline.tables[each.preamble.name]
        if isinstance(table, IndirectTable) and table.profile.name == profile:
            yield each.preamble
