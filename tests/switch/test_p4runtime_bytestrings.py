"""Byte strings (the tables of P4Runtime 1.4, section 8.4) and the encodings done by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esa.switch.p4runtime.bytestrings import decode, encode
from esa.switch.p4runtime.device_config import program_json
from esa.switch.p4runtime.status import Code, P4RuntimeError


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


def test_the_program_is_found_bare_or_wrapped() -> None:
    program = b'{"header_types": []}'
    reassign, extras = b"\x08\x01", b"\x12\x04\x0a\x02ab"
    assert program_json(program) == program
    assert program_json(b"\n " + program) == b"\n " + program
    assert program_json(reassign + extras + b"\x1a" + bytes([len(program)]) + program) == program
    for junk in (b"", b"\x00", b"hello", b"\x1a\xff\xff", b"\x1a\x02ab", b"\x1a"):
        with pytest.raises(ValueError, match="not BMv2 JSON"):
            program_json(junk)
