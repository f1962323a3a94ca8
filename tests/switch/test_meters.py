"""Meters: colours by a given clock, from configuration to packet, and over P4Runtime.

One reason to change: what a meter does.
"""

from __future__ import annotations

import random
from pathlib import Path

import grpc
import pytest

from esa.switch import MeterRates, Pipeline, UnsupportedError
from esa.switch.runtime.device import Device
from tests.switch.control import Client, Ids, config, delete, insert, item_codes, modify, p4, p4info
from tests.switch.served import inject

PROGRAMS = Path(__file__).parent / "programs"
SOURCE = (PROGRAMS / "meters.json").read_text()
IDS = Ids(p4info("meters"))
GREEN, YELLOW, RED = range(3)
OK, INVALID, NOT_FOUND = grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND


@pytest.fixture
def pipeline() -> Pipeline:
    return Pipeline.load(SOURCE, compiled=False)


def colors(pipeline: Pipeline, index: int, now_us: int = 0, size: int = 4, kind: int = 0) -> dict[str, int]:
    """What a packet of `size` bytes gets from the array by packet, by byte, the entry of `kind` and that of `index`."""
    ((_, packet),) = pipeline.process(0, bytes([index, kind, 0, 0]) + bytes(size - 4), now_us)
    return {
        "packets": packet[2] & 15,
        "entry": packet[2] >> 4,
        "bytes": packet[3] & 15,
        "entry_bytes": packet[3] >> 4,
    }


def test_an_index_that_the_array_has_not_meets_no_meter(pipeline: Pipeline) -> None:
    """As on BMv2, unless that is built with NDEBUG: then it ends."""
    for index in range(pipeline.meters["I.by_packet"].size):
        pipeline.meters["I.by_packet"].set(index, MeterRates(0, 0, 0, 0))
    assert [colors(pipeline, index)["packets"] for index in (3, 4, 255)] == [RED, GREEN, GREEN]


def expected(rates: MeterRates, events: list[tuple[int, int]]) -> list[int]:
    """BMv2's rule (meters.cpp): (time in us, packets or bytes) -> colours."""
    buckets = [[rates.pir / 1e6, rates.pburst, rates.pburst, 0], [rates.cir / 1e6, rates.cburst, rates.cburst, 0]]
    out = []
    for now, amount in events:
        color = GREEN
        for bucket, worse in zip(buckets, (RED, YELLOW), strict=True):
            made = int(now * bucket[0])
            bucket[2] = min(bucket[2] + made - bucket[3], bucket[1])
            bucket[3] = made
            if bucket[2] < amount:
                color = worse
                break
            bucket[2] -= amount
        out.append(color)
    return out


def test_unconfigured_is_green(pipeline: Pipeline) -> None:
    assert colors(pipeline, 1) == {"packets": GREEN, "entry": GREEN, "bytes": GREEN, "entry_bytes": GREEN}


def test_bursts_then_rates(pipeline: Pipeline) -> None:
    pipeline.meters["I.by_packet"].set(1, MeterRates(1000, 2, 2000, 4))
    seen = [colors(pipeline, 1, now)["packets"] for now in (0, 0, 0, 0, 0, 500, 1000, 1000, 10_000)]
    assert seen == [GREEN, GREEN, YELLOW, YELLOW, RED, YELLOW, GREEN, RED, GREEN]
    assert colors(pipeline, 2)["packets"] == GREEN


def test_a_red_packet_costs_the_committed_bucket_nothing(pipeline: Pipeline) -> None:
    pipeline.meters["I.by_byte"].set(0, MeterRates(0, 100, 0, 100))
    assert [colors(pipeline, 0, size=size)["bytes"] for size in (60, 60, 40, 4)] == [GREEN, RED, GREEN, RED]


@pytest.mark.supports("externs: meters, of packets and of bytes")
@pytest.mark.parametrize("seed", range(4))
def test_colours_are_those_of_bmv2s_rule(pipeline: Pipeline, seed: int) -> None:
    rng = random.Random(seed)
    now, events = 0, []
    for _ in range(200):
        now += rng.choice([0, 1, 3, 17, 400, 5000])
        events.append((now, rng.choice([4, 60, 64, 333, 1500])))
    cir = rng.choice([1, 997, 123_457, 2_000_003])
    by_byte = MeterRates(cir, rng.choice([64, 1500, 4000]), cir * rng.choice([1, 3]), rng.choice([1500, 6000]))
    by_packet = MeterRates(cir / 1000, rng.choice([0, 1, 5]), cir / 500, rng.choice([1, 9]))
    pipeline.meters["I.by_byte"].set(3, by_byte)
    pipeline.meters["I.by_packet"].set(3, by_packet)
    seen = [colors(pipeline, 3, now, size) for now, size in events]
    assert [each["bytes"] for each in seen] == expected(by_byte, events)
    assert [each["packets"] for each in seen] == expected(by_packet, [(now, 1) for now, _ in events])


def marked(rates: MeterRates, events: list[tuple[int, int]]) -> list[int]:
    """RFC 2697, colour-blind: (time in us, bytes) -> colours; each token goes to the first bucket that has room."""
    assert rates.eburst is not None
    committed, excess, made, out = rates.cburst, rates.eburst, 0, []
    for now, amount in events:
        total = int(now * (rates.cir / 1e6))
        for _ in range(max(total - made, 0)):
            if committed < rates.cburst:
                committed += 1
            elif excess < rates.eburst:
                excess += 1
        made = max(made, total)
        if committed >= amount:
            committed -= amount
            out.append(GREEN)
        elif excess >= amount:
            excess -= amount
            out.append(YELLOW)
        else:
            out.append(RED)
    return out


@pytest.mark.supports("externs: meters of one rate, RFC 2697")
@pytest.mark.parametrize("seed", range(3))
def test_colours_of_one_rate_are_those_of_rfc_2697(pipeline: Pipeline, seed: int) -> None:
    rng = random.Random(seed)
    cir, cburst = rng.choice([1, 997, 20_000]), rng.choice([0, 60, 1500])
    rates = MeterRates(cir, cburst, cir, cburst, eburst=rng.choice([0, 64, 900]))
    now, events = 0, []
    for _ in range(200):
        now += rng.choice([0, 1, 300, 5000, 70_000])
        events.append((now, rng.choice([4, 60, 64, 333])))
    pipeline.meters["I.by_byte"].set(3, rates)
    assert [colors(pipeline, 3, now, size)["bytes"] for now, size in events] == marked(rates, events)


def test_a_clock_that_goes_back_makes_no_tokens(pipeline: Pipeline) -> None:
    pipeline.meters["I.by_packet"].set(0, MeterRates(1000, 1, 1000, 1))
    assert [colors(pipeline, 0, now)["packets"] for now in (5000, 0, 5500, 6000)] == [GREEN, RED, RED, GREEN]


def test_rates_beyond_all_bounds_are_green(pipeline: Pipeline) -> None:
    most = (1 << 63) - 1
    pipeline.meters["I.by_byte"].set(0, MeterRates(most, most, most, most))
    assert {colors(pipeline, 0, now, 1500)["bytes"] for now in (0, 1, 1 << 40, 1 << 62)} == {GREEN}


def test_compiled_is_as_plain() -> None:
    rates = MeterRates(123_457, 500, 300_001, 900)
    plain, compiled = (Pipeline.load(SOURCE, compiled=compiled) for compiled in (False, True))
    for one in (plain, compiled):
        one.meters["I.by_byte"].set(2, rates)
        one.meters["I.by_packet"].set(2, MeterRates(3000, 2, 3000, 2, eburst=3))
        one.tables["I.t"].add((7,), "I.police", (1,))
        one.direct_meters["I.t"].set(one.tables["I.t"].row((7,)), MeterRates(3, 2, 5, 4))
    rng = random.Random(3)
    for at in range(300):
        args = 2, at * 211, rng.choice([4, 60, 333]), 7
        assert colors(plain, *args) == colors(compiled, *args)
    counts = [one.meters["I.by_packet"].counts(2) for one in (plain, compiled)]
    assert counts[0] == counts[1]
    assert all(packets for packets, _ in counts[0])


@pytest.mark.supports("externs: direct meters")
def test_a_direct_meter_is_that_of_its_entry(pipeline: Pipeline) -> None:
    table, meter = pipeline.tables["I.t"], pipeline.direct_meters["I.t"]
    table.add((1,), "I.police", (0,))
    table.add((2,), "I.none")
    meter.set(table.row((1,)), MeterRates(0, 1, 0, 2))
    assert [colors(pipeline, 0, kind=1)["entry"] for _ in range(3)] == [GREEN, YELLOW, RED]
    assert {colors(pipeline, 0, kind=kind)["entry"] for kind in (2, 3)} == {GREEN}  # no rates, no entry
    table.delete((1,))
    table.add((1,), "I.police", (0,))
    assert colors(pipeline, 0, kind=1)["entry"] == GREEN
    assert meter.configured() == {}


def test_bad_rates_are_refused(pipeline: Pipeline) -> None:
    meter = pipeline.meters["I.by_packet"]
    with pytest.raises(ValueError, match="pir 1 is below cir 2"):
        meter.set(0, MeterRates(2, 1, 1, 1))
    with pytest.raises(ValueError, match="cburst -1"):
        meter.set(0, MeterRates(1, -1, 1, 1))
    with pytest.raises(ValueError, match="cir nan"):
        meter.set(0, MeterRates(float("nan"), 1, 1, 1))
    with pytest.raises(ValueError, match="one rate: pir and pburst must be cir and cburst"):
        meter.set(0, MeterRates(1, 1, 2, 1, eburst=1))
    with pytest.raises(IndexError, match="cell 4 of 4"):
        meter.set(4, MeterRates(1, 1, 1, 1))
    assert meter.get(0) is None


@pytest.mark.refuses("externs: meters whose JSON says other than two rates")
@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('"type":"packets"', '"type":"cells"', "'cells'"),
        ('"rate_count":2', '"rate_count":3', "3 rates"),
        ('"direct_meters":"I.of_entry"', '"direct_meters":"I.by_packet"', "no direct meter of its own"),
        ('"direct_meters":"I.of_index"', '"direct_meters":"I.of_entry"', "no direct meter of its own"),
        ('"result_target"', '"elsewhere"', "no field takes its result"),
        ('"metadata_t.wide"],', '"metadata_t.no"],', "not declared"),
        ('"size":4,"rate_count"', '"size":99999999999,"rate_count"', "99999999999 cells"),
    ],
)
def test_programs_that_cannot_be_are_refused_by_name(old: str, new: str, says: str) -> None:
    assert old in SOURCE or says == "not declared"
    with pytest.raises(UnsupportedError, match=says):
        Pipeline.load(SOURCE.replace(old, new) if old in SOURCE else SOURCE.replace('metadata_t.wide"]', 'no"]'))


# --- over P4Runtime -------------------------------------------------------------------------------------------------


SERVED = "meters"


def meter(name: str, index: int | None = None, *rates: int, **fields: int) -> p4.Entity:
    entity = p4.Entity()
    entity.meter_entry.meter_id = IDS.meter(name) if name else 0
    if index is not None:
        entity.meter_entry.index.index = index
    if rates:
        _fill(entity.meter_entry.config, rates, fields)
    return entity


def _fill(message, rates: tuple[int, ...], fields: dict[str, int] | None = None) -> None:
    for name, value in [*zip(("cir", "cburst", "pir", "pburst"), rates, strict=True), *(fields or {}).items()]:
        setattr(message, name, value)


def entry(kind: int | None, *rates: int, default: bool = False) -> p4.Entity:
    """An entry of the table t, with rates for its meter."""
    entity = p4.Entity()
    message = entity.table_entry
    message.table_id, message.is_default_action = IDS.table("t"), default
    if kind is not None:
        message.match.add(field_id=1).exact.value = bytes([kind])
    message.action.action.action_id = IDS.action("police")
    message.action.action.params.add(param_id=1, value=b"\x07")
    if rates:
        _fill(message.meter_config, rates)
    return entity


def direct(kind: int | None, *rates: int, table: str = "t") -> p4.Entity:
    entity = p4.Entity()
    message = entity.direct_meter_entry
    message.table_entry.table_id = IDS.table(table) if table else 0
    if kind is not None:
        message.table_entry.match.add(field_id=1).exact.value = bytes([kind])
    if rates:
        _fill(message.config, rates)
    return entity


def read_code(client: Client, entity: p4.Entity) -> grpc.StatusCode:
    with pytest.raises(grpc.RpcError) as caught:
        client.read(entity)
    return item_codes(caught.value)[0]


@pytest.mark.supports("P4Runtime: meters, indirect and direct")
def test_cells_are_written_one_and_all_and_read_back(served: tuple[Client, Device]) -> None:
    client, device = served
    client.write(modify(meter("by_packet", None, 1, 2, 3, 4)), modify(meter("by_packet", 2, 0, 1, 0, 1)))
    wanted = [meter("by_packet", i, *((0, 1, 0, 1) if i == 2 else (1, 2, 3, 4))) for i in range(4)]
    assert client.read(meter("by_packet")) == wanted
    assert client.read(meter("by_packet", 2)) == [wanted[2]]
    assert len(client.read(meter(""))) == 8
    packet = bytes([2, 0, 0, 0])
    assert [inject(device, 0, packet)[0][1][2] for _ in range(2)] == [GREEN, RED]
    client.write(modify(meter("by_packet", 2)))
    assert inject(device, 0, packet)[0][1][2] == GREEN
    assert client.read(meter("by_packet", 2)) == [meter("by_packet", 2)]
    client.write(modify(meter("by_packet")))
    assert client.read(meter("by_packet")) == [meter("by_packet", i) for i in range(4)]


@pytest.mark.parametrize(
    ("entity", "code"),
    [
        (meter("by_packet", -1, 1, 1, 1, 1), INVALID),
        (meter("by_packet", 4, 1, 1, 1, 1), grpc.StatusCode.OUT_OF_RANGE),
        (meter("by_packet", 0, 2, 1, 1, 1), INVALID),
        (meter("by_packet", 0, 1, -1, 1, 1), INVALID),
        (meter("by_packet", 0, 1, 1, 1, 1, eburst=1), INVALID),
        (meter("", 0, 1, 1, 1, 1), INVALID),
    ],
)
def test_cells_that_break_a_rule_are_refused(
    served: tuple[Client, Device], entity: p4.Entity, code: grpc.StatusCode
) -> None:
    client = served[0]
    assert client.codes(modify(entity)) == [code]
    assert client.codes(insert(entity), delete(entity)) == [INVALID, INVALID]
    assert client.read(meter("by_packet", 0)) == [meter("by_packet", 0)]


def counted(entity: p4.Entity, *counts: tuple[int, int]) -> p4.Entity:
    """The entity with (packets, bytes) of green, yellow and red; without any: that they are asked for, or to be 0."""
    message = getattr(entity, str(entity.WhichOneof("entity")))
    data = message.meter_counter_data if isinstance(message, p4.TableEntry) else message.counter_data
    data.SetInParent()
    for (packets, octets), each in zip(counts, (data.green, data.yellow, data.red), strict=False):
        each.packet_count, each.byte_count = packets, octets
    return entity


@pytest.mark.supports("P4Runtime: counters per colour of a meter")
def test_meters_count_their_colours(served: tuple[Client, Device]) -> None:
    client, device = served
    client.write(modify(meter("by_packet", 2, 0, 1, 0, 3)), insert(entry(1, 0, 1, 0, 1)))
    for size in (10, 20, 30, 40, 50):
        inject(device, 0, bytes([2, 1, 0, 0]) + bytes(size - 4))
    seen = (1, 10), (2, 50), (2, 90)
    zero = (0, 0)
    assert client.read(counted(meter("by_packet", 2))) == [counted(meter("by_packet", 2, 0, 1, 0, 3), *seen)]
    assert client.read(meter("by_packet", 2)) == [meter("by_packet", 2, 0, 1, 0, 3)]
    assert client.read(counted(meter("by_byte", 2))) == [counted(meter("by_byte", 2), (5, 150), zero, zero)]
    of_entry = (1, 10), zero, (4, 140)
    assert client.read(counted(direct(1))) == [counted(direct(1, 0, 1, 0, 1), *of_entry)]
    asked = p4.Entity()
    asked.table_entry.table_id = IDS.table("t")
    assert client.read(counted(asked)) == [counted(entry(1), *of_entry)]
    client.push(p4.SetForwardingPipelineConfigRequest.RECONCILE_AND_COMMIT, config("meters"))
    assert client.read(counted(meter("by_packet", 2))) == [counted(meter("by_packet", 2, 0, 1, 0, 3), *seen)]
    # rates are changed without a loss of counts, and these are set to 0 where that is asked for
    client.write(modify(meter("by_packet", 2, 1, 1, 1, 1)))
    assert client.read(counted(meter("by_packet", 2))) == [counted(meter("by_packet", 2, 1, 1, 1, 1), *seen)]
    client.write(modify(counted(meter("by_packet", 2))), modify(counted(direct(1))), modify(counted(entry(1))))
    assert client.read(counted(meter("by_packet", 2))) == [counted(meter("by_packet", 2), zero, zero, zero)]
    assert client.read(counted(direct(1))) == [counted(direct(1), zero, zero, zero)]
    other = [modify(counted(each, (0, 0), (1, 0))) for each in (meter("by_packet", 2), direct(1), entry(1))]
    assert client.codes(*other) == [INVALID] * 3
    inject(device, 0, bytes([2, 1, 0, 0]))
    client.write(delete(entry(1)), insert(entry(1)))
    assert client.read(counted(direct(1))) == [counted(direct(1), zero, zero, zero)]


@pytest.mark.supports("P4Runtime: meters, indirect and direct")
def test_an_entry_brings_its_meter(served: tuple[Client, Device]) -> None:
    client, device = served
    client.write(insert(entry(1, 0, 1, 0, 2)), insert(entry(2)))
    packet = bytes([0, 1, 0, 0])
    assert [inject(device, 0, packet)[0][1][2] >> 4 for _ in range(3)] == [GREEN, YELLOW, RED]
    asked = p4.Entity()
    asked.table_entry.table_id = IDS.table("t")
    assert [each.table_entry.HasField("meter_config") for each in client.read(asked)] == [False, False]
    asked.table_entry.meter_config.SetInParent()
    assert client.read(asked) == [entry(1, 0, 1, 0, 2), entry(2)]
    assert client.read(direct(1)) == [direct(1, 0, 1, 0, 2)]
    assert client.read(direct(None)) == [direct(1, 0, 1, 0, 2), direct(2)]
    assert client.read(direct(None, table="")) == client.read(direct(None))
    client.write(modify(direct(2, 5, 6, 7, 8)))
    assert client.read(direct(2)) == [direct(2, 5, 6, 7, 8)]
    client.write(modify(direct(2)), modify(entry(1)))  # without rates: back to green
    assert client.read(direct(None)) == [direct(1), direct(2)]
    assert inject(device, 0, packet)[0][1][2] >> 4 == GREEN


def test_direct_meters_that_are_not_there_are_refused(served: tuple[Client, Device]) -> None:
    client = served[0]
    refused = entry(3, 2, 1, 1, 1)
    assert client.codes(insert(refused), modify(direct(9, 1, 1, 1, 1))) == [INVALID, NOT_FOUND]
    assert client.codes(insert(direct(9)), delete(direct(9))) == [INVALID, INVALID]
    assert read_code(client, direct(9)) == NOT_FOUND
    assert client.codes(modify(entry(None, 1, 1, 1, 1, default=True))) == [grpc.StatusCode.UNIMPLEMENTED]
    assert client.read(direct(None)) == []


def test_reconciling_keeps_the_rates(served: tuple[Client, Device]) -> None:
    client = served[0]
    client.write(insert(entry(1, 1, 2, 3, 4)), modify(meter("by_byte", 1, 5, 6, 7, 8)))
    client.push(p4.SetForwardingPipelineConfigRequest.RECONCILE_AND_COMMIT, config("meters"))
    assert client.read(direct(1), meter("by_byte", 1)) == [direct(1, 1, 2, 3, 4), meter("by_byte", 1, 5, 6, 7, 8)]


def test_p4info_and_program_must_agree(served: tuple[Client, Device]) -> None:
    for change in ("unit", "size", "binding", "name"):
        message = config("meters")
        if change == "unit":
            message.p4info.meters[0].spec.unit = p4info("meters").meters[1].spec.unit
        elif change == "size":
            message.p4info.meters[0].size = 5
        elif change == "binding":
            del message.p4info.direct_meters[0]
        else:
            message.p4info.direct_meters[0].preamble.name = "I.other"
        with pytest.raises(grpc.RpcError) as caught:
            served[0].push(message=message)
        assert caught.value.code() == INVALID, change


def test_one_rate_takes_one_rate(served: tuple[Client, Device]) -> None:
    client, message = served[0], config("meters")
    kinds = type(message.p4info.meters[0].spec)
    message.p4info.meters[0].spec.type = kinds.SINGLE_RATE_TWO_COLOR
    message.p4info.meters[1].spec.type = kinds.SINGLE_RATE_THREE_COLOR
    client.push(message=message)
    excess = meter("by_byte", 0, 1, 2, 1, 2, eburst=3)
    codes = client.codes(
        modify(meter("by_packet", 0, 1, 2, 1, 2)),
        modify(meter("by_packet", 0, 1, 2, 3, 2)),
        modify(meter("by_packet", 0, 1, 2, 1, 2, eburst=3)),
        modify(excess),
        modify(meter("by_byte", 0, 1, 2, 1, 3, eburst=3)),
        modify(meter("by_byte", 0, 1, 2, 1, 2, eburst=-3)),
    )
    assert codes == [OK, INVALID, INVALID, OK, INVALID, INVALID]
    assert client.read(meter("by_byte", 0)) == [excess]
