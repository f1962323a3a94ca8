"""Byte strings (the tables of P4Runtime 1.4, section 8.4) and the encodings done by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from p4.v1 import p4runtime_pb2 as p4

from esa.switch.p4runtime.bytestrings import decode, encode
from esa.switch.p4runtime.device_config import program_json
from esa.switch.p4runtime.status import Code, P4RuntimeError
from esa.switch.p4runtime.wire_format import counter_entity, read_response, register_entity


@pytest.mark.parametrize(
    ("bits", "signed", "value", "data", "canonical"),
    [
        (8, False, 99, b"\x63", True),
        (16, False, 99, b"\x00\x63", False),
        (16, False, 12388, b"\x30\x64", True),
        (16, False, 12388, b"\x00\x30\x64", False),
        (12, False, 99, b"\x00\x00\x63", False),
        (8, True, 99, b"\x63", True),
        (8, True, -99, b"\x9d", True),
        (8, True, -99, b"\xff\x9d", False),
        (12, True, -739, b"\xfd\x1d", True),
        (16, True, 0, b"\x00\x00", False),
        (16, True, 0, b"\x00", True),
    ],
)
def test_valid_strings(bits: int, signed: bool, value: int, data: bytes, canonical: bool) -> None:
    assert decode(data, bits, "x", signed=signed) == value
    assert (encode(value, signed=signed) == data) == canonical


@pytest.mark.parametrize(
    ("bits", "signed", "data"),
    [
        (8, False, b"\x01\x63"),
        (8, False, b""),
        (16, False, b"\x01\x00\x63"),
        (12, False, b"\x10\x63"),
        (12, False, b"\x00\x40\x63"),
        (8, True, b"\x00\x9d"),
        (12, True, b"\x8d\x1d"),
        (16, True, b""),
    ],
)
def test_invalid_strings_are_refused_with_the_callers_code(bits: int, signed: bool, data: bytes) -> None:
    with pytest.raises(P4RuntimeError, match="field x") as caught:
        decode(data, bits, "field x", signed=signed, code=Code.OUT_OF_RANGE)
    assert caught.value.code == Code.OUT_OF_RANGE


@given(st.integers(1, 130), st.data())
def test_encode_is_shortest_and_decode_undoes_it(bits: int, data: st.DataObject) -> None:
    value = data.draw(st.integers(0, 2**bits - 1))
    encoded = encode(value)
    assert decode(encoded, bits, "x") == value
    assert len(encoded) == 1 or encoded[0] != 0
    signed = data.draw(st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1))
    assert decode(encode(signed, signed=True), bits, "x", signed=True) == signed


INT64 = st.integers(-(2**63), 2**63 - 1)
UINT32 = st.integers(1, 2**32 - 1)
INDEX = st.integers(0, 2**40)


@given(UINT32, INDEX, INT64, INT64)
def test_counter_cells_are_read_back_by_protobuf(id_: int, index: int, packets: int, octets: int) -> None:
    expected = p4.Entity()
    expected.counter_entry.counter_id = id_
    expected.counter_entry.index.index = index
    expected.counter_entry.data.packet_count, expected.counter_entry.data.byte_count = packets, octets
    encoded = counter_entity(id_, index, packets % 2**64, octets % 2**64)
    assert encoded == expected.SerializeToString()
    assert list(p4.ReadResponse.FromString(read_response([encoded] * 3)).entities) == [expected] * 3


@given(UINT32, INDEX, st.one_of(st.booleans(), st.binary(min_size=1, max_size=200)))
def test_register_cells_are_read_back_by_protobuf(id_: int, index: int, value: bytes | bool) -> None:
    expected = p4.Entity()
    expected.register_entry.register_id = id_
    expected.register_entry.index.index = index
    if isinstance(value, bool):
        expected.register_entry.data.bool = value
    else:
        expected.register_entry.data.bitstring = value
    assert register_entity(id_, index, value) == expected.SerializeToString()


def test_the_program_is_found_bare_or_wrapped() -> None:
    program = b'{"header_types": []}'
    reassign, extras = b"\x08\x01", b"\x12\x04\x0a\x02ab"
    assert program_json(program) == program
    assert program_json(b"\n " + program) == b"\n " + program
    assert program_json(reassign + extras + b"\x1a" + bytes([len(program)]) + program) == program
    for junk in (b"", b"\x00", b"hello", b"\x1a\xff\xff", b"\x1a\x02ab", b"\x1a"):
        with pytest.raises(ValueError, match="not BMv2 JSON"):
            program_json(junk)
