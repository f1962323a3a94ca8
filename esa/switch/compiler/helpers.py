"""What generated code calls: small functions that are copied into the generated module, so that it stands alone.

They are plain Python here (and run as such when the program is loaded uncompiled). Every number is an int64 pattern;
literals stay ints, because Numba turns a uint64 next to an int literal into a float.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = Any  # int64, uint32 or uint8, by the caller


def peek(pkt: Array, length: int, bit: int, bits: int) -> Any:
    """`bits` packet bits from bit number `bit`; beyond the packet's end they are 0."""
    value = np.int64(0)
    while bits > 0:
        at = bit >> 3
        byte = np.int64(0)
        if at < length:
            byte = np.int64(pkt[at])
        room = 8 - (bit & 7)
        take = min(room, bits)
        value = (value << take) | ((byte >> (room - take)) & ((1 << take) - 1))
        bit += take
        bits -= take
    return value


def poke(out: Array, bit: int, value: Any, bits: int) -> None:
    """Write the low `bits` bits of `value` from bit number `bit` on, over what is there."""
    while bits > 0:
        at = bit >> 3
        room = 8 - (bit & 7)
        take = min(room, bits)
        part = (value >> (bits - take)) & ((1 << take) - 1)
        keep = 255 - (((1 << take) - 1) << (room - take))
        out[at] = (np.int64(out[at]) & keep) | (part << (room - take))
        bit += take
        bits -= take


def copy_header(f: Array, target: int, source: int, fields: int) -> None:
    """The fields and, after them, the valid bit; an invalid source leaves the target's fields alone."""
    if f[source + fields] != 0:
        for k in range(fields):
            f[target + k] = f[source + k]
    f[target + fields] = f[source + fields]


def same_header(f: Array, one: int, other: int, fields: int) -> Any:
    same = f[one + fields] != 0 and f[other + fields] != 0
    for k in range(fields):
        same = same and f[one + k] == f[other + k]
    return same


def push_stack(f: Array, first: int, width: int, depth: int, following: int, count: int) -> None:
    """Move every header `count` places back; the first `count` become invalid."""
    f[following] = min(depth, f[following] + count)
    for k in range(depth * width - 1, -1, -1):
        source = k - count * width
        f[first + k] = f[first + source] if source >= 0 else 0


def pop_stack(f: Array, first: int, width: int, depth: int, following: int, count: int) -> None:
    """Move every header `count` places forward; the last `count` become invalid."""
    f[following] = max(0, f[following] - count)
    for k in range(depth * width):
        source = k + count * width
        f[first + k] = f[first + source] if source < depth * width else 0


def push_swapped(f: Array, first: int, width: int, depth: int, count: int) -> None:
    """Exchange every element, from the last on, with the one `count` places before it."""
    if count > 0:
        for k in range(depth * width - 1, count * width - 1, -1):
            f[first + k], f[first + k - count * width] = f[first + k - count * width], f[first + k]


def pop_swapped(f: Array, first: int, width: int, depth: int, count: int) -> None:
    """Exchange every element, from the first on, with the one `count` places behind it."""
    if count > 0:
        for k in range((depth - count) * width):
            f[first + k], f[first + k + count * width] = f[first + k + count * width], f[first + k]


def element(index: int, depth: int, base: int, stride: int, sink: int) -> Any:
    """The cell of element `index` of a stack; out of range, a cell that nothing else uses."""
    if 0 <= index < depth:
        return base + index * stride
    return sink


def keep_signed(value: Any, bits: int) -> Any:
    """What a signed field of `bits` bits holds after `value` was stored: BMv2 wraps only below -2**(bits-1) and
    above 2**bits - 1."""
    if value < -(1 << (bits - 1)) or value > (1 << bits) - 1:
        return (np.int64(value) << (64 - bits)) >> (64 - bits)
    return value


def signed(value: Any, bits: int) -> Any:
    """The low `bits` bits as a two's complement number."""
    return (np.int64(value) << (64 - bits)) >> (64 - bits)


def unsigned(value: Any) -> Any:
    return np.uint64(np.int64(value))


def shift_left(value: Any, by: Any) -> Any:
    if by < 0 or by > 63:
        return np.int64(0)
    return np.int64(value) << by


def shift_right(value: Any, by: Any) -> Any:
    if by < 0 or by > 63:
        return np.int64(value) >> 63
    return np.int64(value) >> by


def shift_right_unsigned(value: Any, by: Any) -> Any:
    if by < 0 or by > 63:
        return np.int64(0)
    return np.int64(np.uint64(np.int64(value)) >> np.uint64(np.int64(by)))


def divide(value: Any, by: Any) -> Any:
    """Unsigned quotient; 0 for a zero divisor, for which BMv2 stops."""
    if by == 0:
        return np.int64(0)
    return np.int64(np.uint64(np.int64(value)) // np.uint64(np.int64(by)))


def modulo(value: Any, by: Any) -> Any:
    """Unsigned remainder; 0 for a zero divisor, for which BMv2 stops."""
    if by == 0:
        return np.int64(0)
    return np.int64(np.uint64(np.int64(value)) % np.uint64(np.int64(by)))


def minimum_unsigned(value: Any, other: Any) -> Any:
    if np.uint64(np.int64(value)) > np.uint64(np.int64(other)):
        return np.int64(other)
    return np.int64(value)


def saturating_add_unsigned(left: Any, right: Any) -> Any:
    total = np.int64(left) + np.int64(right)
    if np.uint64(np.int64(total)) < np.uint64(np.int64(left)):
        return np.int64(-1)
    return total


def saturating_subtract_unsigned(left: Any, right: Any) -> Any:
    if np.uint64(np.int64(left)) < np.uint64(np.int64(right)):
        return np.int64(0)
    return np.int64(left) - np.int64(right)


def saturating_add_signed(left: Any, right: Any) -> Any:
    total = np.int64(left) + np.int64(right)
    if (left < 0) == (right < 0) and (total < 0) != (left < 0):
        return (np.int64(left) >> 63) ^ np.int64(0x7FFFFFFFFFFFFFFF)
    return total


def saturating_subtract_signed(left: Any, right: Any) -> Any:
    total = np.int64(left) - np.int64(right)
    if (left < 0) != (right < 0) and (total < 0) != (left < 0):
        return (np.int64(left) >> 63) ^ np.int64(0x7FFFFFFFFFFFFFFF)
    return total


def mix(value: Any) -> Any:
    """Scatter the bits of a table key over the slots of a hash index (tables.py computes the same)."""
    value = np.int64(value) * np.int64(-7046029254386353131)
    return value ^ ((value >> 29) & 0x7FFFFFFFF)


def random_between(m64: Array, state: int, low: Any, high: Any, otherwise: Any) -> Any:
    """xorshift64*: a number between low and high; `otherwise` where low > high."""
    if np.uint64(np.int64(low)) > np.uint64(np.int64(high)):
        return np.int64(otherwise)
    value = np.uint64(np.int64(m64[state]))
    value ^= value >> np.uint64(12)
    value ^= value << np.uint64(25)
    value ^= value >> np.uint64(27)
    m64[state] = np.int64(value)
    value = value * np.uint64(2685821657736338717)
    span = np.uint64(np.int64(high)) - np.uint64(np.int64(low)) + np.uint64(1)
    if span == np.uint64(0):
        return np.int64(value)
    return np.int64(np.uint64(np.int64(low)) + (value >> np.uint64(11)) % span)


def as_float(pattern: Any) -> Any:
    """The float64 that has this bit pattern."""
    return np.int64(pattern).view(np.float64)


def meter(m64: Array, at: int, now: Any, size: Any, amount: Any) -> Any:
    """The colour that a meter gives a packet of `size` bytes at time `now`, and counts: 0 green, 1 yellow, 2 red.

    It counts `amount`: `size`, or 1. Its words from `at` on: 0 (not configured: green), 1 (two rates), 2 (one rate);
    then of two buckets each: tokens per microsecond (the bits of a float64), burst, tokens, tokens made since time 0;
    then of each colour: packets, bytes. As in BMv2 a configured meter starts with full buckets.
    """
    color = np.int64(0)
    if m64[at] == 1:
        color = meter_of_two_rates(m64, at, now, amount)
    elif m64[at] == 2:
        color = meter_of_one_rate(m64, at, now, amount)
    m64[at + 9 + 2 * color] += 1
    m64[at + 10 + 2 * color] += size
    return color


def meter_of_two_rates(m64: Array, at: int, now: Any, amount: Any) -> Any:
    """RFC 2698, as BMv2 has it: the first bucket is of the peak rate; what it cannot pay for takes nothing of both."""
    for rate in range(2):
        first = at + 1 + 4 * rate
        tokens = min(m64[first + 2] + meter_made(m64, first, now), m64[first + 1])
        m64[first + 2] = tokens
        if tokens < amount:
            return np.int64(2 - rate)
        m64[first + 2] = tokens - amount
    return np.int64(0)


def meter_of_one_rate(m64: Array, at: int, now: Any, amount: Any) -> Any:
    """RFC 2697: the first bucket takes what the second, of the committed rate, has no room for."""
    excess, committed = at + 1, at + 5
    tokens = m64[committed + 2] + meter_made(m64, committed, now)
    over = max(tokens - m64[committed + 1], 0)
    m64[committed + 2] = tokens - over
    m64[excess + 2] = min(m64[excess + 2] + over, m64[excess + 1])
    if m64[committed + 2] >= amount:
        m64[committed + 2] -= amount
        return np.int64(0)
    if m64[excess + 2] >= amount:
        m64[excess + 2] -= amount
        return np.int64(1)
    return np.int64(2)


def meter_made(m64: Array, bucket: int, now: Any) -> Any:
    """How many tokens came into being for a bucket since the last time."""
    since = np.float64(now) * as_float(m64[bucket])
    made = np.int64(0x4000000000000000)
    if since < 4611686018427387904:
        made = np.int64(since)
    more = max(made - m64[bucket + 3], 0)
    m64[bucket + 3] += more
    return more


def choose(m64: Array, group: int, value: Any) -> Any:
    """The member of a group of an action selector by the low 32 bits of a hash, as in BMv2; -1 if it is empty."""
    count = m64[group + 1]
    if count == 0:
        return np.int64(-1)
    return m64[m64[group] + (value & 0xFFFFFFFF) % count]


def hash_offset(value: Any, base: Any, size: Any) -> Any:
    span = np.uint64(np.int64(size))
    if size == 0:
        span = np.uint64(1)
    return np.int64(np.uint64(np.int64(value)) % span + np.uint64(np.int64(base)))


def complement16(total: Any) -> Any:
    """The Internet checksum of a sum of 16-bit words."""
    while total >> 16 != 0:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def csum16(f: Array, first: int, size: int, pkt: Array, start: int, end: int) -> Any:
    """The Internet checksum over `size` bytes in cells, then packet bytes start .. end."""
    total = np.int64(0)
    for k in range(size + end - start):
        byte = np.int64(f[first + k]) if k < size else np.int64(pkt[start + k - size])
        total += byte << (8 - 8 * (k & 1))
    return complement16(total)


def crc_reflected(
    f: Array, first: int, size: int, pkt: Array, start: int, end: int, polynomial: int, initial: int
) -> Any:
    remainder = np.int64(initial)
    for k in range(size + end - start):
        byte = np.int64(f[first + k]) if k < size else np.int64(pkt[start + k - size])
        remainder ^= byte
        for _ in range(8):
            remainder = (remainder >> 1) ^ (polynomial * (remainder & 1))
    return remainder ^ initial


def crc_ccitt(f: Array, first: int, size: int, pkt: Array, start: int, end: int) -> Any:
    remainder = np.int64(0xFFFF)
    for k in range(size + end - start):
        byte = np.int64(f[first + k]) if k < size else np.int64(pkt[start + k - size])
        remainder ^= byte << 8
        for _ in range(8):
            remainder = ((remainder << 1) ^ (0x1021 * ((remainder >> 15) & 1))) & 0xFFFF
    return remainder


def xor_words(f: Array, first: int, size: int, pkt: Array, start: int, end: int, width: int) -> Any:
    """Exclusive or of big-endian words of `width` bytes; the last is padded with zeros."""
    total = np.int64(0)
    for k in range(size + end - start):
        byte = np.int64(f[first + k]) if k < size else np.int64(pkt[start + k - size])
        total ^= byte << (8 * (width - 1 - k % width))
    return total


def identity(f: Array, first: int, size: int, pkt: Array, start: int, end: int) -> Any:
    """The first eight bytes as a number."""
    value = np.int64(0)
    for k in range(min(8, size + end - start)):
        byte = np.int64(f[first + k]) if k < size else np.int64(pkt[start + k - size])
        value = (value << 8) | byte
    return value


def low_ones(count: Any) -> Any:
    """A number whose lowest `count` bits are set."""
    if count >= 64:
        return np.int64(-1)
    return (np.int64(1) << count) - 1
