"""Strings that stand for numbers of the program: types with `@p4runtime_translation("...", string)`.

P4Runtime (1.4, section 8.4.6) lets a controller name values of such a type as it likes, and leaves to the target which
number a name is. Here a decimal number is itself, a port's interface its port (where the type has a port's width), and
any other name gets a number of its own when it is first used, from the highest down, which no packet need have.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from esa.switch.p4runtime.bytestrings import decode
from esa.switch.p4runtime.status import Code, P4RuntimeError

PORT_BITS = 9
MOST = 1 << 16  # names of a type that are no numbers
_CANNOT = 2  # the two highest: of ports the drop port, and often the CPU's


class Strings:
    """The names of one type, `bits` wide; `ports`: the numbers of those that are known from the start."""

    def __init__(self, name: str, bits: int, ports: Mapping[str, int]) -> None:
        self.name = name
        self.bits = bits
        known = ports if bits == PORT_BITS else {}
        self._numbers: dict[bytes, int] = {port.encode(): number for port, number in known.items()}
        self._texts: dict[int, bytes] = {}  # of names that clients have used
        self._taken: set[int] = set()  # numbers that names were given
        self._next = (1 << bits) - 1 - _CANNOT

    def number(self, text: bytes, what: str) -> int:
        """The number of a name. INVALID_ARGUMENT where it is empty, RESOURCE_EXHAUSTED where there are too many."""
        if not text:
            raise P4RuntimeError(Code.INVALID_ARGUMENT, f"{what}: empty string")
        found = self._numbers.get(text)
        if found is None:
            found = self._numbers[text] = self._own(text) if (value := self._numeral(text)) is None else value
        self._texts.setdefault(found, text)
        return found

    def text(self, number: int) -> bytes:
        """The first name that a client used for a number, or the number itself."""
        return self._texts.get(number) or b"%d" % number

    def _numeral(self, text: bytes) -> int | None:
        if not text.isdigit() or len(text) > 5 * self.bits or (text[:1] == b"0" and len(text) > 1):
            return None
        value = int(text)
        return value if not value >> self.bits and value not in self._taken else None

    def _own(self, text: bytes) -> int:
        while self._next >= 0 and self._next in self._texts:
            self._next -= 1
        if self._next < 0 or len(self._taken) >= MOST:
            name = text.decode(errors="replace")
            raise P4RuntimeError(
                Code.RESOURCE_EXHAUSTED, f"type {self.name}: no number is left for '{name}', after {len(self._taken)}"
            )
        self._taken.add(self._next)
        return self._next


class Translation:
    """The types of a P4Info whose values are strings, by name."""

    def __init__(self, type_info: Any, ports: Mapping[str, int]) -> None:
        self._new_types = type_info.new_types
        self._ports = ports
        self._strings: dict[str, Strings] = {}

    def strings(self, name: str, bits: int) -> Strings | None:
        """The strings of a type; None for a type of numbers, and for `name` "". INVALID_ARGUMENT for two widths."""
        for _ in range(16):  # a type can be a new one of a new one
            new = self._new_types.get(name) if name else None
            if new is None:
                return None
            if new.WhichOneof("representation") == "translated_type":
                break
            name = new.original_type.new_type.name
        if new is None or new.translated_type.WhichOneof("sdn_type") != "sdn_string":
            return None
        found = self._strings.setdefault(name, Strings(name, bits, self._ports))
        if found.bits != bits:
            raise P4RuntimeError(
                Code.INVALID_ARGUMENT,
                f"P4Info and device config differ: type {name} has {found.bits} bits in one place, {bits} in another",
            )
        return found

    @property
    def of_ports(self) -> Strings | None:
        """The strings that name ports: those of the only type with a port's width."""
        found = [each for each in self._strings.values() if each.bits == PORT_BITS]
        return found[0] if len(found) == 1 else None


def port_of(data: bytes, bits: int, what: str, translation: Translation | None) -> int:
    """The port that a message names, where its field is that of no type: by its number, or as strings name ports."""
    strings = None if translation is None else translation.of_ports
    return decode(data, bits, what) if strings is None else strings.number(data, what)
