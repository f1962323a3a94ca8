"""From BMv2 JSON to the typed program; anything unknown is refused by name."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from esa.switch.compiler.externs_json import (
    action_profiles,
    counter_arrays,
    digests,
    field_lists,
    meter_arrays,
    profile_of,
    register_arrays,
    selector_calculations,
    use_value_set,
    value_sets,
)
from esa.switch.compiler.headers_json import part_of, read_headers, read_union_stacks, read_unions
from esa.switch.compiler.older_json import modern
from esa.switch.compiler.program import (
    MAX_BITS,
    Action,
    Bool,
    Calculation,
    CallNode,
    Checksum,
    ConditionNode,
    Const,
    ConstEntry,
    Control,
    Expr,
    Field,
    Header,
    LastField,
    Lookahead,
    Node,
    Object,
    Op,
    Param,
    ParserState,
    Primitive,
    Program,
    TableKey,
    TableNode,
    Transition,
)
from esa.switch.compiler.soundness import check
from esa.switch.errors import UnsupportedError

Json = Mapping[str, Any]


_OBJECTS = {
    *("header", "header_stack", "header_union", "header_union_stack"),
    *("register_array", "counter_array", "meter_array", "calculation", "string"),
}


def hex_to_int(text: str) -> int:
    """A BMv2 hexadecimal string, with or without "-" and "0x"."""
    return int(text, 16)


def parse_value(value: Json, where: str) -> Expr:
    """A type-value object of the JSON as an expression."""
    kind, content = value["type"], value["value"]
    if kind == "expression":
        # p4c wraps an expression in an object of type "expression" once or twice
        if content.get("type") is not None:
            return parse_value(content, where)
        return Op(
            content["op"],
            _operand(content.get("left"), where),
            _operand(content.get("right"), where),
            _operand(content.get("cond"), where),
        )
    if kind == "field":
        return Field(content[0], content[1])
    if kind == "hexstr":
        return Const(hex_to_int(content))
    if kind == "bool":
        return Bool(bool(content))
    if kind in ("runtime_data", "local"):
        return Param(content)
    if kind == "stack_field":
        return LastField(content[0], content[1])
    if kind == "lookahead":
        if not 1 <= content[1] <= MAX_BITS:
            raise UnsupportedError(f"{where}: lookahead of {content[1]} bits; 1 to {MAX_BITS} are allowed")
        return Lookahead(content[0], content[1])
    if kind == "union_stack_field":
        return LastField(part_of(content[0], content[1]), content[2])
    if kind in _OBJECTS:
        return Object(kind, content)
    raise UnsupportedError(f"{where}: operands of type {kind!r} ({content!r}) are not supported")


def _operand(value: Any, where: str) -> Expr | None:
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool):  # access_field's offset
        return Const(value)
    return parse_value(value, where)


def _where(item: Json, fallback: str) -> str:
    info = item.get("source_info")
    return f"{info['filename']}({info['line']})" if info and "line" in info else fallback


def _text(item: Json) -> str:
    """The statement or expression in the source, if all of it stands on one line."""
    text = str((item.get("source_info") or {}).get("source_fragment", ""))
    statement, ended, _ = text.partition(";")
    return "" if not ended and text.endswith("...") else statement.strip()


def _primitive(item: Json, inside: str) -> Primitive:
    where = _where(item, inside)
    return Primitive(item["op"], tuple(_arguments(item.get("parameters", ()), where)), where, _text(item))


def _arguments(parameters: Iterable[Json], where: str) -> Iterator[Expr]:
    for item in parameters:
        if item["type"] == "parameters_vector":
            yield from (parse_value(each, where) for each in item["value"] or ())
        else:
            yield parse_value(item, where)


def _split(text: str, widths: Iterable[int]) -> tuple[int, ...]:
    """A concatenation of byte-padded numbers, `widths` bits each, as numbers."""
    sizes = [(bits + 7) // 8 for bits in widths]
    data = hex_to_int(text).to_bytes(sum(sizes), "big")
    out, at = [], 0
    for size in sizes:
        out.append(int.from_bytes(data[at : at + size], "big"))
        at += size
    return tuple(out)


def _key_bits(expr: Expr, headers: Mapping[str, Header], stacks: Mapping[str, tuple[str, ...]]) -> int:
    if isinstance(expr, Lookahead):
        return expr.bits
    if isinstance(expr, LastField):
        expr = Field(stacks[expr.stack][0], expr.name)
    assert isinstance(expr, Field)
    if expr.name == "$valid$":
        return 1
    return next(field.bits for field in headers[expr.header].fields if field.name == expr.name)


def _extracted(item: Json, inside: str) -> tuple[str, Object]:
    """What an extract is, and its header or stack."""
    kind, name = item["type"], item["value"]
    if kind == "union_stack":
        return "extract_union_stack", Object("header_union_stack", part_of(*name))
    if kind not in ("regular", "stack"):
        raise UnsupportedError(f"{inside}: extract to a {kind} ({name})")
    return "extract" if kind == "regular" else "extract_stack", Object("header", name)


def _parser_op(item: Json, inside: str) -> Primitive:
    op, params = item["op"], item["parameters"]
    if op == "extract":
        kind, target = _extracted(params[0], inside)
        return Primitive(kind, (target,), inside)
    if op == "extract_VL":
        kind, target = _extracted(params[0], inside)
        return Primitive(f"{kind}_varbit", (target, parse_value(params[1], inside)), inside)
    if op == "primitive":
        return _primitive(params[0], inside)
    if op == "shift":
        return Primitive("advance", (Const(8 * int(params[0])),), inside)
    if op in ("set", "verify", "advance"):
        return Primitive(op, tuple(parse_value(p, inside) for p in params), inside)
    raise UnsupportedError(f"{inside}: parser operation {op!r} is not supported")


def _states(
    parser: Json,
    headers: Mapping[str, Header],
    stacks: Mapping[str, tuple[str, ...]],
    used: dict[str, tuple[int, ...]],
) -> tuple[ParserState, ...]:
    """The parser's states; the widths of the keys that are looked up in value sets go into `used`."""
    states = []
    for item in parser["parse_states"]:
        inside = f"parser state {item['name']}"
        key = tuple(parse_value(k, inside) for k in item["transition_key"])
        widths = [_key_bits(k, headers, stacks) for k in key]
        transitions = []
        for t in item["transitions"]:
            if t["type"] == "default":
                transitions.append(Transition(None, None, t["next_state"]))
                continue
            mask = _split(t["mask"], widths) if t.get("mask") else None
            if t["type"] == "parse_vset":
                use_value_set(used, t["value"], tuple(widths), inside)
                transitions.append(Transition((), mask, t["next_state"], t["value"]))
                continue
            transitions.append(Transition(_split(t["value"], widths), mask, t["next_state"]))
        ops = tuple(_parser_op(o, inside) for o in item["parser_ops"])
        states.append(ParserState(item["name"], ops, key, tuple(transitions)))
    return tuple(states)


def _const_match(keys: Iterable[Json]) -> tuple[Any, ...]:
    out: list[Any] = []
    for key in keys:
        kind = key["match_type"]
        if kind == "valid":
            out.append(int(bool(key["key"])))
        elif kind == "exact":
            out.append(hex_to_int(key["key"]))
        elif kind == "lpm":
            out.append((hex_to_int(key["key"]), key["prefix_length"]))
        elif kind in ("ternary", "optional"):
            out.append((hex_to_int(key["key"]), hex_to_int(key["mask"])))
        else:
            out.append((hex_to_int(key["start"]), hex_to_int(key["end"])))
    return tuple(out)


def _table(item: Json, program_fields: Mapping[str, Header], actions: Mapping[int, Action]) -> TableNode:
    name = item["name"]
    keys = []
    for key in item["key"]:
        kind, target = key["match_type"], key["target"]
        if kind == "valid":
            field, bits = Field(target if isinstance(target, str) else target[0], "$valid$"), 1
        else:
            field = Field(target[0], target[1])
            bits = _key_bits(field, program_fields, {})
        mask = hex_to_int(key["mask"]) if key.get("mask") else None
        keys.append(TableKey(key.get("name") or ".".join(target), kind, field, bits, mask))
    ids = tuple(item["action_ids"])
    by_name = {actions[identity].name: identity for identity in ids}
    nexts = item["next_tables"]
    by_hit = "__HIT__" in nexts or "__MISS__" in nexts
    default = item.get("default_entry") or {}
    entries = None
    if "entries" in item:
        entries = tuple(
            ConstEntry(
                _const_match(entry["match_key"]),
                actions[entry["action_entry"]["action_id"]].name,
                tuple(hex_to_int(d) for d in entry["action_entry"]["action_data"]),
                int(entry.get("priority", 0)),
            )
            for entry in item["entries"]
        )
    return TableNode(
        name=name,
        key=tuple(keys),
        match_type=item["match_type"],
        size=int(item["max_size"]),
        action_ids=ids,
        default_action=default.get("action_id"),
        default_params=tuple(hex_to_int(d) for d in default.get("action_data", ())),
        const_default=bool(default.get("action_const") or default.get("action_entry_const")),
        counters=bool(item.get("with_counters")),
        entries=entries,
        next_by_action=() if by_hit else tuple((by_name[a], to) for a, to in nexts.items()),
        next_hit=nexts.get("__HIT__", item.get("base_default_next")),
        next_miss=nexts.get("__MISS__", item.get("base_default_next")),
        by_hit=by_hit,
        base_next=item.get("base_default_next"),
        meter=item.get("direct_meters"),
        ages=bool(item.get("support_timeout")),
        profile=profile_of(item),
    )


def _control(item: Json, headers: Mapping[str, Header], actions: Mapping[int, Action]) -> Control:
    nodes: dict[str, Node] = {}
    for table in item["tables"]:
        nodes[table["name"]] = _table(table, headers, actions)
    for condition in item.get("conditionals", ()):
        where = _where(condition, f"condition {condition['name']}")
        nodes[condition["name"]] = ConditionNode(
            condition["name"],
            parse_value(condition["expression"], where),
            condition["true_next"],
            condition["false_next"],
            where,
            _text(condition),
        )
    for call in item.get("action_calls", ()):
        nodes[call["name"]] = CallNode(call["name"], call["action_id"], call["next_node"])
    return Control(item["name"], item["init_table"], nodes)


def _calculation(item: Json, headers: Mapping[str, Header]) -> Calculation:
    inputs: list[tuple[str, Any, int]] = []
    payload = False
    for value in item["input"]:
        kind = value["type"]
        if kind == "field":
            field = Field(*value["value"])
            inputs.append(("field", field, _key_bits(field, headers, {})))
        elif kind == "hexstr":
            inputs.append(("const", hex_to_int(value["value"]), int(value["bitwidth"])))
        elif kind == "header":
            name = value["value"]
            inputs.extend(("field", Field(name, f.name), f.bits) for f in headers[name].fields)
        elif kind == "payload":
            payload = True
        else:
            raise UnsupportedError(f"calculation {item['name']}: input of type {kind!r}")
    return Calculation(item["name"], item["algo"], tuple(inputs), payload)


def load_program(source: str | bytes | Json) -> Program:
    """The typed program of a BMv2 JSON document (text or parsed). Raises UnsupportedError, naming what and where."""
    root: Json = json.loads(source) if isinstance(source, (str, bytes)) else source
    if "pipelines" not in root or "parsers" not in root:
        raise UnsupportedError("this is not a BMv2 JSON program: it has no parsers or pipelines")
    root = modern(root)
    for item in root.get("extern_instances", ()):
        raise UnsupportedError(f"{item.get('name')}: extern instances are not supported")
    headers, stacks = read_headers(root)
    for header in headers.values():
        for field in header.fields:
            if field.bits > MAX_BITS:
                raise UnsupportedError(f"field {header.name}.{field.name} has {field.bits} bits, more than {MAX_BITS}")
    actions = {}
    for item in root["actions"]:
        params = tuple((p["name"], int(p["bitwidth"])) for p in item["runtime_data"])
        for name, bits in (each for each in params if each[1] > MAX_BITS):
            raise UnsupportedError(f"action {item['name']}: parameter {name} has {bits} bits, more than {MAX_BITS}")
        body = tuple(_primitive(p, f"action {item['name']}") for p in item["primitives"])
        actions[int(item["id"])] = Action(int(item["id"]), item["name"], params, body)
    pipelines = {item["name"]: _control(item, headers, actions) for item in root["pipelines"]}
    parser, deparser = root["parsers"][0], root["deparsers"][0]
    used: dict[str, tuple[int, ...]] = {}
    program = Program(
        headers=headers,
        stacks=stacks,
        states=_states(parser, headers, stacks, used),
        first_state=parser["init_state"],
        deparse_order=tuple(deparser["order"]),
        deparse_primitives=tuple(_primitive(p, "deparser") for p in deparser.get("primitives", ())),
        actions=actions,
        ingress=pipelines["ingress"],
        egress=pipelines["egress"],
        calculations={
            item["name"]: _calculation(item, headers) for item in [*root["calculations"], *selector_calculations(root)]
        },
        checksums=tuple(
            Checksum(
                Field(*item["target"]),
                item["calculation"],
                bool(item.get("verify", True)),
                bool(item.get("update", True)),
                parse_value(item["if_cond"], f"checksum {item['name']}") if item.get("if_cond") else None,
            )
            for item in root["checksums"]
        ),
        registers=register_arrays(root),
        counters=counter_arrays(root),
        field_lists=field_lists(root),
        errors={name: int(value) for name, value in root.get("errors", ())},
        aliases={alias: Field(*target) for alias, target in root.get("field_aliases", ())},
        meters=meter_arrays(root),
        profiles=action_profiles(root, pipelines, actions),
        digests=digests(root),
        value_sets=value_sets(root, used),
        unions=read_unions(root),
        union_stacks={name: tuple(parts) for name, parts in read_union_stacks(root).items()},
    )
    check(program)
    return program
