"""Requests that no well-meaning client sends: refused by name, never a crash, never a hang, nothing changed."""

from __future__ import annotations

import copy
import json
import random
import threading
import time

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from esa.switch import Pipeline, UnsupportedError
from esa.switch.p4runtime.forwarding import ForwardingConfig
from esa.switch.p4runtime.status import P4RuntimeError
from esa.switch.runtime.device import Device, Ports
from tests.effort import tries
from tests.switch.control import (
    IDS,
    PROGRAMS,
    Client,
    config,
    counter,
    delete,
    entry,
    exact,
    group,
    insert,
    modify,
    p4,
    register,
    session,
)
from tests.switch.mutation import mutate_json, mutate_message
from tests.switch.served import load

pytestmark = pytest.mark.timeout(60)
OK, INVALID = grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT
DST = b"\x02\x00\x00\x00\x00\xa1"
VAGUE = (grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL)  # what a refusal never is


@pytest.fixture
def client(module_served: tuple[Client, Device]) -> Client:
    module_served[0].push()
    return module_served[0]


def forward(dst: bytes = DST, port: bytes = b"\x03", **fields) -> p4.Entity:
    return entry("exact_dst", {1: exact(dst)}, "forward", port, **fields)


def everything(client: Client) -> list[bytes]:
    """All state that a control plane can read."""
    default = p4.Entity()
    default.table_entry.is_default_action = True
    asked = [entry(""), default, group(0), session(0), register(""), counter("")]
    return [found.SerializeToString() for found in client.read(*asked)]


def edited(entity: p4.Entity, path: str, value: object) -> p4.Entity:
    """`entity` with the field at a dotted path set; "match.0.field_id"."""
    *parents, last = path.split(".")
    message = entity
    for part in parents:
        message = message[int(part)] if part.isdigit() else getattr(message, part)
    setattr(message, last, value)
    return entity


def from_the_future() -> p4.Entity:
    """An entity of a kind that this version of P4Runtime does not have."""
    return p4.Entity.FromString(bytes((0xFA, 0x7F, 2, 8, 1)))


@pytest.mark.parametrize(
    "entity",
    [
        edited(forward(), "table_entry.table_id", 1),
        edited(forward(), "table_entry.table_id", IDS.action("forward")),
        edited(forward(), "table_entry.table_id", 2**32 - 1),
        edited(forward(), "table_entry.match.0.field_id", 9),
        edited(forward(), "table_entry.match.0.field_id", 2**32 - 1),
        edited(forward(), "table_entry.action.action.action_id", 7),
        edited(forward(), "table_entry.action.action.params.0.param_id", 2),
        edited(forward(), "table_entry.action.action.params.0.value", b"\xff" * 100),
        edited(forward(), "table_entry.action.action_profile_member_id", 3),
        edited(forward(), "table_entry.priority", -5),
        forward(dst=b"\xff" * 1000),
        entry("ternary_both", {1: exact(b"\x01")}, "count_type", b"\x01", priority=-(2**31)),
        entry("exact_dst", {1: {}}, "forward", b"\x03"),
        from_the_future(),
        p4.Entity(),
        group(0, (1, 1)),
        group(2**32 - 1, (1, 1)),
        group(5, (1 << 16, 1)),
        group(5, (1, 65536)),
        group(5, (b"", 1)),
        session(0, (1, 1)),
        p4.Entity(packet_replication_engine_entry=p4.PacketReplicationEngineEntry()),
        edited(register("words", 0, b"\x01"), "register_entry.register_id", 5),
    ],
)
def test_what_names_nothing_or_does_not_fit_is_refused_and_changes_nothing(client: Client, entity: p4.Entity) -> None:
    client.write(insert(forward(b"\x01")), insert(group(3, (1, 1))))
    before = everything(client)
    for update in (insert(entity), modify(entity), delete(entity)):
        (code,) = client.codes(update)
        assert code not in (OK, *VAGUE)
    assert everything(client) == before


@pytest.mark.parametrize(
    "entity",
    [
        register("words", 2**40, b"\x01"),
        register("words", -1, b"\x01"),
        register("words", 0, b"\xff" * 50),
        register("words", 0),
        counter("port_counter", 2**62, 1),
        counter("port_counter", -1, 1),
    ],
)
def test_cells_that_are_not_there(client: Client, entity: p4.Entity) -> None:
    before = everything(client)
    assert client.codes(modify(entity))[0] in (INVALID, grpc.StatusCode.OUT_OF_RANGE)
    assert everything(client) == before


def test_an_empty_batch_and_one_that_says_everything_twice(client: Client) -> None:
    client.write()
    updates = [insert(forward(b"\x01")), insert(forward(b"\x01")), delete(forward(b"\x01")), delete(forward(b"\x01"))]
    assert client.codes(*updates) == [OK, grpc.StatusCode.ALREADY_EXISTS, OK, grpc.StatusCode.NOT_FOUND]
    assert client.codes(p4.Update(type=9, entity=forward()))[0] == INVALID


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"election_id": None}, grpc.StatusCode.PERMISSION_DENIED),
        ({"election_id": p4.Uint128()}, grpc.StatusCode.PERMISSION_DENIED),
        ({"election_id": p4.Uint128(high=2**64 - 1, low=2**64 - 1)}, grpc.StatusCode.PERMISSION_DENIED),
        ({"device_id": 2**64 - 1}, grpc.StatusCode.NOT_FOUND),
        ({"device_id": 0}, grpc.StatusCode.NOT_FOUND),
        ({"role": "nobody"}, grpc.StatusCode.NOT_FOUND),
        ({"atomicity": 17}, INVALID),
    ],
)
def test_who_may_not_write_is_told_why(client: Client, changes: dict, code: grpc.StatusCode) -> None:
    fields = {"device_id": 1, "election_id": p4.Uint128(low=1), "updates": [insert(forward())], **changes}
    with pytest.raises(grpc.RpcError) as caught:
        client.stub.Write(p4.WriteRequest(**fields), timeout=10)
    assert caught.value.code() == code
    assert client.read(entry("exact_dst")) == []


# Size


@pytest.mark.slow
def test_ten_thousand_updates_in_one_batch(client: Client) -> None:
    count = 10_000
    with pytest.raises(grpc.RpcError, match=r"9996 of 10000 updates failed, .* number 4: RESOURCE_EXHAUSTED") as caught:
        client.write(*(insert(forward(n.to_bytes(3, "big"))) for n in range(count)))
    assert caught.value.code() == grpc.StatusCode.UNKNOWN
    assert len(client.read(entry("exact_dst"))) == 4
    client.write(*(insert(group(n + 1, (n % 511, 1))) for n in range(count)))
    assert len(client.read(group(0))) == count  # in time: a test has two minutes


def test_a_message_above_the_limit_is_refused_and_the_server_lives(client: Client) -> None:
    huge = p4.ForwardingPipelineConfig(p4_device_config=bytes(65 << 20))
    with pytest.raises(grpc.RpcError) as caught:
        client.push(message=huge)
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert client.codes(insert(forward())) == [OK]


# Programs


def absurd(kind: str, size: int) -> bytes:
    root = json.loads((PROGRAMS / "control_plane.json").read_text())
    part = root["pipelines"][0]["tables"][0] if kind == "table" else root[f"{kind}_arrays"][0]
    part["max_size" if kind == "table" else "size"] = size
    return json.dumps(root).encode()


def constant(value: str) -> bytes:
    """The program with `1 << value` assigned somewhere."""
    root = json.loads((PROGRAMS / "control_plane.json").read_text())
    one, by = {"type": "hexstr", "value": "0x01"}, {"type": "hexstr", "value": value}
    shift = {"type": "expression", "value": {"op": "<<", "left": one, "right": by}}
    target = {"type": "field", "value": ["standard_metadata", "egress_spec"]}
    root["actions"][0]["primitives"].append({"op": "assign", "parameters": [target, shift]})
    return json.dumps(root).encode()


CONFIGS = {
    "nothing": (b"", "p4_device_config"),
    "bytes": (bytes(range(256)), "not BMv2 JSON"),
    "an endless number": (b"\x80" * 1_000_000, "not BMv2 JSON"),
    "cut short": ((PROGRAMS / "control_plane.json").read_bytes()[:-100], "not JSON"),
    "too deep": (b'{"a":' * 100_000, "RecursionError"),
    "an empty object": (b"{}", "not a BMv2 JSON program"),
    "wrong types": (b'{"pipelines": 5, "parsers": null, "header_types": {}, "headers": 7}', "not a program"),
    "not UTF-8": (b'{"pipelines": "\xff\xfe"}', "not a program"),
    "a huge register": (absurd("register", 1 << 40), r"register \S+ has 1099511627776 cells"),
    "a huge counter": (absurd("counter", 1 << 40), r"counter \S+ has 1099511627776 cells"),
    "a huge table": (absurd("table", 1 << 40), r"table \S+ has 1099511627776 cells"),
    "a negative register": (absurd("register", -3), r"register \S+ has -3 cells"),
    "a huge number": (constant("0xffffffffff"), "a constant of more than"),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_programs_that_are_none_are_refused_and_what_runs_stays(
    client: Client, module_served: tuple[Client, Device], name: str
) -> None:
    text, said = CONFIGS[name]
    running = module_served[1].pipeline
    message = config()
    message.p4_device_config = text
    with pytest.raises(grpc.RpcError, match=said) as caught:
        client.push(message=message)
    assert caught.value.code() == INVALID
    assert module_served[1].pipeline is running
    assert client.codes(insert(forward())) == [OK]


def test_programs_that_take_all_memory_together() -> None:
    root = json.loads((PROGRAMS / "control_plane.json").read_text())
    wide = {"bitwidth": 64, "size": 1 << 25}
    arrays = root["register_arrays"]
    arrays += [{**arrays[0], "name": f"r{n}", "id": 100 + n, **wide} for n in range(9)]
    with pytest.raises(UnsupportedError, match=r"registers, counters and tables take 2\.3 GiB; 2 are allowed"):
        Pipeline.load(root, compiled=False)


def test_a_parser_that_would_never_end() -> None:
    root = json.loads((PROGRAMS / "control_plane.json").read_text())
    (first, *_) = root["parsers"][0]["parse_states"]
    idle = {"name": "idle", "id": 99, "parser_ops": [], "transition_key": []}
    root["parsers"][0]["parse_states"].append({**idle, "transitions": [{"type": "default", "next_state": "idle"}]})
    first["transitions"] = [{"type": "default", "next_state": "idle", "value": None, "mask": None}]
    with pytest.raises(UnsupportedError, match="parser state idle: the parser can come back to it"):
        Pipeline.load(root, compiled=False)


def params_of(info):
    return next(action.params for action in info.actions if action.params)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda info: info.tables.add().CopyFrom(info.tables[0]), "tables: id"),
        (lambda info: setattr(info.registers[0], "size", 1 << 30), "register .* cells in one"),
        (lambda info: setattr(info.counters[0], "size", 2), "counter .* cells in one"),
        (lambda info: info.tables[0].action_refs.pop(), "in the device config only"),
        (lambda info: params_of(info).add().CopyFrom(params_of(info)[0]), "two of its params have one id"),
        (lambda info: setattr(params_of(info)[0], "bitwidth", -8), "parameter .*: -8 bits"),
        (lambda info: setattr(info.controller_packet_metadata[0].metadata[0], "bitwidth", -1), "a field of -1 bits"),
    ],
)
def test_a_p4info_of_another_program(client: Client, change, said: str) -> None:
    message = config()
    change(message.p4info)
    with pytest.raises(grpc.RpcError, match=said) as caught:
        client.push(message=message)
    assert caught.value.code() == INVALID


# Several clients


def test_of_writers_at_the_same_time_only_the_primary_writes(client: Client, module_served) -> None:
    rivals = [Client(client.where) for _ in range(4)]
    codes: list[list[grpc.StatusCode]] = [[] for _ in rivals]

    def write(number: int) -> None:
        for n in range(20):
            try:
                rivals[number].write(modify(register("words", number, bytes((n + 1,)))))
                codes[number].append(OK)
            except grpc.RpcError as error:
                codes[number].append(error.code())

    try:
        for number, rival in enumerate(rivals):
            rival.elect(10 + number)
        threads = [threading.Thread(target=write, args=(number,)) for number in range(len(rivals))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert codes == [[grpc.StatusCode.PERMISSION_DENIED] * 20] * 3 + [[OK] * 20]
        cells = [found.register_entry.data.bitstring for found in client.read(register("words"))]
        assert cells[:4] == [b"\0"] * 3 + [b"\x14"]
    finally:
        for rival in rivals:
            rival.close()
        client.become_primary(20)


def test_streams_that_never_say_who_they_are_do_not_lock_others_out(client: Client) -> None:
    silent = [Client(client.where) for _ in range(60)]
    try:
        for each in silent:
            each.open()
        refused = []
        deadline = time.monotonic() + 10
        while len(refused) < 28 and time.monotonic() < deadline:
            refused = [each for each in silent if not each._in.empty()]
            time.sleep(0.05)
        assert {each.receive().code() for each in refused} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
        assert client.codes(insert(forward())) == [OK]
    finally:
        for each in silent:
            each.close()


# Anything at all

VALID = [
    insert(forward()),
    modify(forward(port=b"\x05", metadata=b"note")),
    delete(forward()),
    insert(
        entry("ternary_both", {1: exact(b"\x01"), 2: {"ternary": {"value": b"\x10", "mask": b"\xf0"}}}, "count_type",
              b"\x01", priority=5)
    ),
    insert(entry("lpm_src", {1: {"lpm": {"value": DST[:1] + bytes(5), "prefix_len": 16}}}, "count_type", b"\x01")),
    insert(entry("optional_type", {1: {"optional": {"value": b"\x08\x06"}}}, "count_type", b"\x01", priority=1)),
    modify(entry("keyless", None, "count_type", b"\x05", is_default_action=True)),
    insert(group(4, (b"\x01", 1), (2, 2))),
    insert(session(7, (2, 2))),
    modify(register("words", 3, b"\x2a")),
    modify(counter("port_counter", 2, 11, 22)),
]  # fmt: skip
ANY = settings(derandomize=True, max_examples=tries(100), deadline=None, suppress_health_check=list(HealthCheck))


@ANY
@given(rng=st.randoms(use_true_random=False))
def test_any_update_is_done_or_refused_by_name_without_a_trace(module_served, rng: random.Random) -> None:
    client = module_served[0]
    if module_served[1].pipeline is None or rng.random() < 0.1:
        client.push()
    update = copy.deepcopy(rng.choice(VALID))
    for _ in range(rng.randint(1, 3)):
        mutate_message(update, rng)
    before = everything(client)
    (code,) = client.codes(update)
    assert code not in VAGUE
    assert code == OK or everything(client) == before


def refused(call):
    """What `call` returns, or the refusal that it raises; any other exception is a failure."""
    try:
        return call()
    except (P4RuntimeError, UnsupportedError) as refusal:
        return refusal


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return load((PROGRAMS / "control_plane.json").read_bytes())


@ANY
@given(rng=st.randoms(use_true_random=False))
def test_any_p4info_is_taken_or_refused_by_name(pipeline: Pipeline, rng: random.Random) -> None:
    message = config()
    for _ in range(rng.randint(1, 3)):
        mutate_message(message.p4info, rng)
    pipeline.reset()
    taken = refused(lambda: ForwardingConfig(message, lambda text: pipeline, Ports()))
    if isinstance(taken, P4RuntimeError):
        assert taken.code == INVALID
        return
    for update in VALID:
        refusal = refused(lambda update=update: taken.write(update))
        assert refusal is None or refusal.code not in VAGUE
    for asked in (entry(""), group(0), register(""), counter("")):
        list(taken.read(asked, lambda: threading.Lock()))


@ANY
@given(rng=st.randoms(use_true_random=False), name=st.sampled_from(["control_plane", "features", "ipv6", "passes"]))
def test_any_program_is_taken_or_refused_by_name(rng: random.Random, name: str) -> None:
    root = json.loads((PROGRAMS / f"{name}.json").read_text())
    for _ in range(rng.randint(1, 3)):
        mutate_json(root, rng)
    assert str(refused(lambda: Pipeline.load(root, compiled=False)))
