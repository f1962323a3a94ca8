"""Numbers of more than 64 bits on BMv2 and here: the same entries, the same packets, the same that leaves."""

from __future__ import annotations

import ipaddress
import json
import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from esa.switch import DuplicateEntry, Pipeline, Table
from tests.switch import bmv2_files
from tests.switch.test_differential import ours, same
from tests.switch.traffic import edge

PROGRAMS = Path(__file__).parent / "programs"
ADDRESSES = [
    0, (1 << 128) - 1, 0xFE80 << 112, (0xFE80 << 112) + 10, 0x20010DB8 << 96, (0x20010DB8 << 96) + 1,
    (0x20010DB8 << 96) + (1 << 64), (0x20010DB8 << 96) + (7 << 63), (0xFF02 << 112) + 1, (1 << 64) - 1, 1 << 64,
    0x20010DB9 << 96, 1 << 127,
]  # fmt: skip
PAIRS = [0, (1 << 512) - 1, 1 << 511, 0x0123456789ABCDEF << 250, (1 << 448) + 3, 1, 1 << 64]


def address(rng: random.Random) -> int:
    picked = rng.choice([*ADDRESSES, rng.choice(ADDRESSES) ^ rng.getrandbits(4), rng.choice(ADDRESSES) + (1 << 70)])
    return picked & ((1 << 128) - 1)


class Entries:
    """Random entries into tables here, and the commands that put them into BMv2's."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.commands: list[str] = []

    def default(self, table: str, action: str, params: Sequence[int] = ()) -> None:
        self.pipeline.tables[table].set_default(action, params)
        self.commands.append(f"table_set_default {table} {action} {self._params(table, action, params)}")

    def add(
        self, name: str, match: Sequence[int | tuple[int, int]], action: str, params: Sequence[int], rank: int
    ) -> None:
        """One entry, unless the same match is there; lower ranks win."""
        table = self.pipeline.tables[name]
        try:
            table.add(match, action, params, priority=10_000 - rank if table.needs_priority else 0)
        except DuplicateEntry:
            return
        fields = " ".join(self._field(table, at, item) for at, item in enumerate(match))
        priority = f" {rank}" if table.needs_priority else ""
        self.commands.append(f"table_add {name} {action} {fields} => {self._params(name, action, params)}{priority}")

    def _params(self, table: str, action: str, params: Sequence[int]) -> str:
        widths = [bits for _, bits in self.pipeline.tables[table]._actions[action].params]
        return " ".join(_text(value, bits) for value, bits in zip(params, widths, strict=True))

    def _field(self, table: Table, at: int, item: int | tuple[int, int]) -> str:
        key = table.key[at]
        if not isinstance(item, tuple):
            return _text(item, key.bits)
        if key.match_type == "lpm":
            return f"{_text(item[0], key.bits)}/{item[1]}"
        middle = {"ternary": "&&&", "range": "->"}[key.match_type]
        return middle.join(_text(number, key.bits) for number in item)

    def text(self) -> str:
        return "\n".join([*self.commands, ""])


def _text(number: int, bits: int) -> str:
    """As simple_switch_CLI reads it."""
    return ipaddress.IPv6Address(number).exploded if bits == 128 else hex(number)


def fill(pipeline: Pipeline, rng: random.Random) -> Entries:
    entries = Entries(pipeline)
    for rank in range(60):
        length = rng.choice([0, 1, 10, 32, 63, 64, 65, 96, 127, 128])
        prefix = address(rng) >> (128 - length) << (128 - length) & ((1 << 128) - 1)
        entries.add("I.route", ((prefix, length),), "I.forward", (rng.randrange(1, 4), rng.getrandbits(48)), rank)
        entries.add("I.scoped", (rng.randrange(3), (prefix, length)), "I.note", (rank, address(rng)), rank)
        masks = [rng.choice([0, (1 << 128) - 1, 0xFFFFFFFF << 96, 1 << 64, rng.getrandbits(128)]) for _ in range(2)]
        match = [(address(rng) & mask, mask) for mask in masks]
        proto = rng.choice([(0, 0), (17, 255), (43, 255)])
        action, params = rng.choice(
            [("I.permit", (rank,)), ("I.rewrite", (address(rng), rank, address(rng))), ("I.deny", ())]
        )
        entries.add("I.acl", (*match, proto), action, params, rank + 1)
        low, high = sorted((address(rng), address(rng)))
        entries.add("I.spans", ((low, high), rng.choice([1, 64])), "I.permit", (100 + rank,), rank + 1)
        flow = rng.randrange(2)
        entries.add("I.hosts", (address(rng), flow, address(rng)), "I.note", (500 + rank, rng.getrandbits(128)), rank)
    for rank, pair in enumerate(PAIRS[:5]):
        entries.add("I.pairs", (pair,), "I.note", (rank, edge(rng, 128)), rank)
    entries.add("I.opt", ((ADDRESSES[5], (1 << 128) - 1), (0, 0)), "I.optional_hit", (7,), 2)
    entries.add("I.opt", ((0, 0), (17, 255)), "I.optional_hit", (8,), 3)
    entries.default("I.acl", "I.permit", (222,))
    return entries


def ipv6_packets(rng: random.Random, count: int) -> list[bytes]:
    out = []
    for _ in range(count):
        ethernet = rng.randbytes(12)
        if rng.random() < 0.1:
            out.append(ethernet + b"\x77\x77" + rng.choice(PAIRS).to_bytes(64, "big") + rng.randbytes(4))
            continue
        proto = rng.choice([17, 43, 6])
        head = (6 << 28 | rng.randrange(3) << 20 | rng.randrange(2)).to_bytes(4, "big")
        source, target = address(rng) & ((1 << 128) - 1), address(rng) & ((1 << 128) - 1)
        packet = ethernet + b"\x86\xdd" + head + bytes([0, 40, proto, rng.choice([1, 64])])
        packet += source.to_bytes(16, "big") + target.to_bytes(16, "big")
        if proto == 43:
            segments = [((0x20010DB8 << 96) + rng.getrandbits(66)) for _ in range(rng.randint(0, 4))]
            packet += bytes([17, 4, 4, rng.randrange(5), 1, 0, 0, 0])
            packet += b"".join(each.to_bytes(16, "big") for each in segments) + bytes(rng.choice([0, 16]))
        packet += rng.randbytes(rng.randint(0, 40))
        if rng.random() < 0.1:
            packet = packet[: rng.randint(0, len(packet))]
        out.append(packet)
    return out


@pytest.mark.supports("numbers: more than 64 bits as keys of tables, in hashes and parameters")
@pytest.mark.bmv2
@pytest.mark.parametrize("seed", [11, 12])
def test_ipv6_is_bmv2s(seed: int) -> None:
    rng = random.Random(seed)
    pipeline = Pipeline.load((PROGRAMS / "ipv6.json").read_text())
    entries = fill(pipeline, rng)
    packets = {0: ipv6_packets(rng, 600)}
    same(bmv2_files.run(PROGRAMS / "ipv6.json", packets, entries.text()), ours(pipeline, packets))
    assert int(pipeline.direct_counters["I.route"].packets.sum()) > 0


def test_a_key_matches_whatever_the_order_of_its_fields() -> None:
    rng = random.Random(13)
    root = json.loads((PROGRAMS / "ipv6.json").read_text())
    plain = Pipeline.load(root, compiled=False)
    for control in root["pipelines"]:
        for table in control["tables"]:
            if table["name"] == "I.acl":
                table["key"].reverse()
    turned = Pipeline.load(root, compiled=False)
    for rank in range(40):
        masks = [rng.choice([0, (1 << 128) - 1, 0xFFFFFFFF << 96, 1 << 64]) for _ in range(2)]
        match = [*((address(rng) & mask, mask) for mask in masks), rng.choice([(0, 0), (17, 255), (43, 255)])]
        for pipeline, fields in ((plain, match), (turned, match[::-1])):
            pipeline.tables["I.acl"].add(fields, "I.rewrite", (rank, rank, rank << 64), priority=rank + 1)
    packets = ipv6_packets(rng, 150)
    found = [plain.process(0, packet) for packet in packets]
    assert len({(port, packet[22:54]) for out in found for port, packet in out}) > 20
    assert [turned.process(0, packet) for packet in packets] == found


@pytest.mark.supports("copies: clones from ingress and egress, resubmit, recirculate, with the fields that are kept")
@pytest.mark.bmv2
@pytest.mark.parametrize("what", range(4))
def test_wide_metadata_is_kept_as_on_bmv2(what: int) -> None:
    values = [5, (1 << 128) - 1, 1 << 64, (1 << 64) - 1]
    packets = {0: [bytes([what]) + value.to_bytes(16, "big") + bytes(16) + b"payload" for value in values]}
    pipeline = Pipeline.load((PROGRAMS / "kept.json").read_text())
    assert pipeline.clone_sessions is not None
    pipeline.clone_sessions.set(5, [(2, 0)])
    same(bmv2_files.run(PROGRAMS / "kept.json", packets, "mirroring_add 5 2\n"), ours(pipeline, packets))


def wide_packets(rng: random.Random, count: int) -> list[bytes]:
    widths = (8, 8, 64, 128, 128, 128, 128, 72, 72, 256, 4, 100, 8, 68, 12, 512)
    out = []
    for _ in range(count):
        bits = "".join(format(edge(rng, width), f"0{width}b") for width in widths)
        out.append(int(bits, 2).to_bytes(len(bits) // 8, "big") + rng.randbytes(rng.randint(0, 20)))
    return out


@pytest.fixture(scope="module")
def wide() -> Pipeline:
    """The program of all operations as machine code, which takes a while to make."""
    return Pipeline.load((PROGRAMS / "wide.json").read_text())


@pytest.mark.supports("numbers: arithmetic of up to 2,048 bits")
@pytest.mark.bmv2
@pytest.mark.timeout(300)
def test_wide_arithmetic_is_bmv2s(wide: Pipeline) -> None:
    packets = {0: wide_packets(random.Random(3), 400)}
    same(bmv2_files.run(PROGRAMS / "wide.json", packets), ours(wide, packets))


@pytest.mark.timeout(300)
def test_machine_code_is_the_text(wide: Pipeline) -> None:
    wide.reset()
    plain = Pipeline.load((PROGRAMS / "wide.json").read_text(), compiled=False)
    for packet in wide_packets(random.Random(5), 40):
        assert wide.process(0, packet) == plain.process(0, packet)
    for name, register in wide.registers.items():
        assert register.read_all().tolist() == plain.registers[name].read_all().tolist()
        assert any(register.read_all())
