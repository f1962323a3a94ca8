"""What generated code calls for numbers of more than 64 bits; copied into the generated module like helpers.py.

Such a number lies in words of the packet's vector, the lowest first. A function takes it as the cell `one` of its first
word and a count of words `n`: what lies above them is 0, or, where the count is negative, copies of the sign. Functions
that make a number write it from cell `to` on and return `to`, so that calls nest. `to` is no operand's, unless said.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from esa.switch.compiler.helpers import Array, peek, poke, shift_left, shift_right_unsigned


def wide_word(f: Array, one: int, n: int, k: int) -> Any:
    """Word k of a number, however many it has."""
    if n < 0:
        return np.int64(f[one + k]) if k < -n else np.int64(f[one - n - 1]) >> 63
    return np.int64(f[one + k]) if k < n else np.int64(0)


def wide_put(f: Array, to: int, k: int, word: Any) -> Any:
    f[to + k] = word
    return to


def wide_extend(f: Array, to: int, words: int, one: int, n: int) -> Any:
    """The low `words` words; `to` may be the operand's."""
    for k in range(words):
        f[to + k] = wide_word(f, one, n, k)
    return to


def wide_cut(f: Array, to: int, bits: int, one: int, n: int) -> Any:
    """The low `bits` bits; `to` may be the operand's."""
    for k in range((bits + 63) >> 6):
        word = wide_word(f, one, n, k)
        if bits - 64 * k < 64:
            word &= (np.int64(1) << (bits - 64 * k)) - 1
        f[to + k] = word
    return to


def wide_signed(f: Array, to: int, words: int, bits: int, one: int, n: int) -> Any:
    """The low `bits` bits as a two's complement number of `words` words; `to` may be the operand's."""
    sign = np.int64(0)
    for k in range(words):
        word, left = sign, bits - 64 * k
        if left > 0:
            word = wide_word(f, one, n, k)
            if left < 64:
                word = (word << (64 - left)) >> (64 - left)
            sign = word >> 63
        f[to + k] = word
    return to


def wide_sign(f: Array, one: int, n: int) -> Any:
    """-1 for a negative number, else 0."""
    return np.int64(f[one - n - 1]) >> 63 if n < 0 else np.int64(0)


def wide_beyond(f: Array, one: int, n: int, bits: int) -> Any:
    """Whether bits from number `bits` on are not all copies of the sign."""
    sign = wide_sign(f, one, n)
    first = bits >> 6
    for k in range(first, max(abs(n), first + 1)):
        other = wide_word(f, one, n, k) ^ sign
        if k == first:
            other = shift_right_unsigned(other, bits & 63)
        if other != 0:
            return True
    return False


def wide_keep_signed(f: Array, to: int, words: int, bits: int, one: int, n: int) -> Any:
    """As helpers.keep_signed: BMv2 wraps only below -2**(bits-1) and above 2**bits - 1."""
    top = bits - 1 if wide_sign(f, one, n) != 0 else bits
    if wide_beyond(f, one, n, top):
        return wide_signed(f, to, words, bits, one, n)
    return wide_extend(f, to, words, one, n)


def wide_saturate(f: Array, to: int, words: int, bits: int, signed: int, one: int, n: int) -> Any:
    """The nearest number that `bits` bits hold."""
    sign = wide_sign(f, one, n)
    if signed == 0:
        if sign != 0:
            return wide_extend(f, to, words, one, 0)
        if not wide_beyond(f, one, n, bits):
            return wide_extend(f, to, words, one, n)
        for k in range(words):
            f[to + k] = -1
        return wide_cut(f, to, bits, to, words)
    if not wide_beyond(f, one, n, bits - 1):
        return wide_extend(f, to, words, one, n)
    for k in range(words):
        word = ~sign
        if k == (bits - 1) >> 6:
            word = ~sign ^ (np.int64(-1) << ((bits - 1) & 63))
        elif k > (bits - 1) >> 6:
            word = sign
        f[to + k] = word
    return to


def wide_under(one: Any, other: Any) -> Any:
    """1 where one word is below the other, both unsigned; else 0."""
    if np.uint64(np.int64(one)) < np.uint64(np.int64(other)):
        return np.int64(1)
    return np.int64(0)


def wide_add(f: Array, to: int, words: int, one: int, n: int, other: int, m: int) -> Any:
    carry = np.int64(0)
    for k in range(words):
        left = wide_word(f, one, n, k)
        partial = left + wide_word(f, other, m, k)
        total = partial + carry
        carry = wide_under(partial, left) | wide_under(total, partial)
        f[to + k] = total
    return to


def wide_subtract(f: Array, to: int, words: int, one: int, n: int, other: int, m: int) -> Any:
    borrow = np.int64(0)
    for k in range(words):
        left, right = wide_word(f, one, n, k), wide_word(f, other, m, k)
        partial = left - right
        f[to + k] = partial - borrow
        borrow = wide_under(left, right) | wide_under(partial, borrow)
    return to


def wide_high(one: Any, other: Any) -> Any:
    """The upper 64 bits of the product of two unsigned words."""
    low, high = one & 0xFFFFFFFF, (one >> 32) & 0xFFFFFFFF
    right, left = other & 0xFFFFFFFF, (other >> 32) & 0xFFFFFFFF
    middle = high * right + ((low * right >> 32) & 0xFFFFFFFF)
    return high * left + ((middle >> 32) & 0xFFFFFFFF) + ((low * left + (middle & 0xFFFFFFFF) >> 32) & 0xFFFFFFFF)


def wide_multiply(f: Array, to: int, words: int, one: int, n: int, other: int, m: int) -> Any:
    for k in range(words):
        f[to + k] = 0
    for i in range(words):
        left, carry = wide_word(f, one, n, i), np.int64(0)
        for k in range(words - i):
            right = wide_word(f, other, m, k)
            low = left * right
            partial = low + f[to + i + k]
            total = partial + carry
            carry = wide_high(left, right) + wide_under(partial, low) + wide_under(total, partial)
            f[to + i + k] = total
    return to


def wide_divide(f: Array, to: int, words: int, one: int, n: int, other: int, m: int, remainder: int) -> Any:
    """Unsigned quotient, in cells from `to` on; the remainder in as many after it. Both 0 for a zero divisor."""
    rest = to + words
    for k in range(2 * words):
        f[to + k] = 0
    if wide_equal(f, other, m, other, 0):
        return to
    for bit in range(64 * words - 1, -1, -1):
        for k in range(words - 1, 0, -1):
            f[rest + k] = (f[rest + k] << 1) | ((f[rest + k - 1] >> 63) & 1)
        f[rest] = (f[rest] << 1) | ((wide_word(f, one, n, bit >> 6) >> (bit & 63)) & 1)
        if not wide_below(f, rest, words, other, m):
            wide_subtract(f, rest, words, rest, words, other, m)
            f[to + (bit >> 6)] |= np.int64(1) << (bit & 63)
    return rest if remainder != 0 else to


def wide_and(f: Array, to: int, words: int, one: int, n: int, other: int, m: int) -> Any:
    for k in range(words):
        f[to + k] = wide_word(f, one, n, k) & wide_word(f, other, m, k)
    return to


def wide_or(f: Array, to: int, words: int, one: int, n: int, other: int, m: int) -> Any:
    for k in range(words):
        f[to + k] = wide_word(f, one, n, k) | wide_word(f, other, m, k)
    return to


def wide_xor(f: Array, to: int, words: int, one: int, n: int, other: int, m: int) -> Any:
    for k in range(words):
        f[to + k] = wide_word(f, one, n, k) ^ wide_word(f, other, m, k)
    return to


def wide_invert(f: Array, to: int, words: int, one: int, n: int) -> Any:
    for k in range(words):
        f[to + k] = ~wide_word(f, one, n, k)
    return to


def wide_amount(f: Array, one: int, n: int) -> Any:
    """How far to shift, as one word: a number of more words than one stands for all too far."""
    return np.int64(-1) if wide_beyond(f, one, n, 63) else np.int64(f[one])


def wide_shift_left(f: Array, to: int, words: int, one: int, n: int, by: Any) -> Any:
    """`by` is read as unsigned."""
    skip, left = by >> 6, by & 63
    if by < 0:
        skip = words
    for k in range(words):
        word = np.int64(0)
        if k >= skip:
            word = wide_word(f, one, n, k - skip) << left
            if k > skip:
                word |= shift_right_unsigned(wide_word(f, one, n, k - skip - 1), 64 - left)
        f[to + k] = word
    return to


def wide_shift_right(f: Array, to: int, words: int, one: int, n: int, by: Any) -> Any:
    """`by` is read as unsigned; what comes in from above is the sign."""
    skip, right = by >> 6, by & 63
    if by < 0:
        skip = abs(n)
    for k in range(words):
        low, high = wide_word(f, one, n, k + skip), wide_word(f, one, n, k + skip + 1)
        f[to + k] = shift_right_unsigned(low, right) | shift_left(high, 64 - right)
    return to


def wide_equal(f: Array, one: int, n: int, other: int, m: int) -> Any:
    differ = np.int64(0)
    for k in range(max(abs(n), abs(m)) + 1):
        differ |= wide_word(f, one, n, k) ^ wide_word(f, other, m, k)
    return differ == 0


def wide_below(f: Array, one: int, n: int, other: int, m: int) -> Any:
    """Whether the one number is less than the other."""
    if wide_sign(f, one, n) != wide_sign(f, other, m):
        return wide_sign(f, one, n) < wide_sign(f, other, m)
    for k in range(max(abs(n), abs(m)) - 1, -1, -1):
        left, right = wide_word(f, one, n, k), wide_word(f, other, m, k)
        if left != right:
            return wide_under(left, right) != 0
    return False


def wide_fetch(f: Array, to: int, words: int, m64: Array, at: int) -> Any:
    """A number out of the memory of registers and tables."""
    for k in range(words):
        f[to + k] = m64[at + k]
    return to


def wide_keep(m64: Array, at: int, bits: int, f: Array, one: int, n: int) -> None:
    """The low `bits` bits into that memory."""
    for k in range((bits + 63) >> 6):
        word = wide_word(f, one, n, k)
        if bits - 64 * k < 64:
            word &= (np.int64(1) << (bits - 64 * k)) - 1
        m64[at + k] = word


def wide_load(f: Array, to: int, pkt: Array, at: int, size: int) -> Any:
    """`size` bytes of a packet."""
    for k in range((size + 7) >> 3):
        word = np.int64(0)
        for byte in range(max(size - 8 * k - 8, 0), size - 8 * k):
            word = (word << 8) | np.int64(pkt[at + byte])
        f[to + k] = word
    return to


def wide_peek(f: Array, to: int, pkt: Array, length: int, bit: int, bits: int) -> Any:
    """`bits` packet bits from bit number `bit`; beyond the packet's end they are 0."""
    for k in range((bits + 63) >> 6):
        last = bits - 64 * k
        first = max(last - 64, 0)
        f[to + k] = peek(pkt, length, bit + first, last - first)
    return to


def wide_store(out: Array, at: int, f: Array, one: int, size: int) -> None:
    """The low `size` bytes of a number into a packet."""
    for byte in range(size):
        k = size - 1 - byte
        out[at + byte] = (f[one + (k >> 3)] >> (8 * (k & 7))) & 255


def wide_poke(out: Array, bit: int, f: Array, one: int, bits: int) -> None:
    """Write the low `bits` bits of a number from bit number `bit` on, over what is there."""
    for k in range((bits + 63) >> 6):
        last = bits - 64 * k
        first = max(last - 64, 0)
        poke(out, bit + first, f[one + k], last - first)
