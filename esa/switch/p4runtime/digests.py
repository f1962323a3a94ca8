"""Digest lists over P4Runtime: what is buffered, when it is sent, what is not sent twice (P4Runtime 1.4, 9.6.3)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from itertools import islice
from typing import Any

from esa.p4runtime import p4runtime_pb2
from esa.switch.p4runtime.bytestrings import encode
from esa.switch.p4runtime.status import Code, P4RuntimeError
from esa.switch.p4runtime.translation import Translation

Update = p4runtime_pb2.Update
Values = tuple[int, ...]
MAX_BUFFERED = 4096  # digests of a list whose size nobody limits
MAX_UNACKNOWLEDGED = 1 << 17  # digests that are kept to send none twice; beyond, the oldest list is forgotten


class DigestLists:
    """One digest's configuration, buffer and cache. `fill(values, P4Data)` writes the values of a digest's fields."""

    def __init__(self, id_: int, name: str, fill: Callable[[Values, Any], None]) -> None:
        self.id = id_
        self.name = name
        self._fill = fill
        self._entry: Any = None
        self._buffer: dict[Values, None] = {}
        self._buffered_ns = 0  # when the first of the buffer came
        self._next_list = 1
        self._sent: dict[int, tuple[int, tuple[Values, ...]]] = {}  # by list id: when, what
        self._cache: set[Values] = set()

    # --- configuration ------------------------------------------------------------------------------------------

    def write(self, update_type: int, entry: Any) -> None:
        """Carry out one update of the configuration."""
        what = f"digest {self.name}"
        if update_type == Update.INSERT and self._entry is not None:
            raise P4RuntimeError(Code.ALREADY_EXISTS, f"{what} is configured already: use MODIFY")
        if update_type != Update.INSERT and self._entry is None:
            raise P4RuntimeError(Code.NOT_FOUND, f"{what} is not configured")
        if update_type == Update.DELETE:
            self._entry = None
            self._buffer.clear()
            self._sent.clear()
            self._cache.clear()
            return
        for name in ("max_timeout_ns", "max_list_size", "ack_timeout_ns"):
            if getattr(entry.config, name) < 0:
                raise P4RuntimeError(Code.INVALID_ARGUMENT, f"{what}: {name} is negative")
        self._entry = deepcopy(entry)

    def read(self) -> Any | None:
        """The configuration as it was written; None where there is none."""
        return self._entry

    # --- data ---------------------------------------------------------------------------------------------------

    def learn(self, digests: Iterable[Values], now_ns: int) -> Iterator[Any]:
        """Take digests from the data plane; yields the lists that are full."""
        if self._entry is None:
            return
        self._expire(now_ns)
        for values in digests:
            if values in self._cache or values in self._buffer:
                continue
            if not self._buffer:
                self._buffered_ns = now_ns
            self._buffer[values] = None
            if len(self._buffer) >= self._size:
                yield self._list(now_ns)

    def due(self, now_ns: int) -> Iterator[Any]:
        """Yields what has waited for long enough, or is more than a list may now have."""
        while self._buffer and (
            len(self._buffer) >= self._size or now_ns - self._buffered_ns >= self._entry.config.max_timeout_ns
        ):
            yield self._list(now_ns)

    @property
    def _size(self) -> int:
        """How many digests a list has at most."""
        config = self._entry.config
        return min(config.max_list_size or MAX_BUFFERED, MAX_BUFFERED) if config.max_timeout_ns else 1

    def acknowledge(self, list_id: int) -> None:
        """The client has acted on a list: what is in it may be sent again."""
        _, digests = self._sent.pop(list_id, (0, ()))
        self._cache.difference_update(digests)

    def _expire(self, now_ns: int) -> None:
        for list_id, (sent_ns, _) in list(self._sent.items()):
            if now_ns - sent_ns < self._entry.config.ack_timeout_ns and len(self._cache) <= MAX_UNACKNOWLEDGED:
                return
            self.acknowledge(list_id)

    def _list(self, now_ns: int) -> Any:
        response = p4runtime_pb2.StreamMessageResponse()
        message = response.digest
        message.digest_id, message.list_id = self.id, self._next_list
        listed = tuple(islice(self._buffer, self._size))
        for values in listed:
            self._fill(values, message.data.add())
            del self._buffer[values]
        if self._entry.config.ack_timeout_ns:
            self._sent[self._next_list] = (now_ns, listed)
            self._cache.update(listed)
        self._next_list += 1
        return response


def filler(
    name: str, spec: Any, type_info: Any, bits: tuple[int, ...], translation: Translation
) -> Callable[[Values, Any], None] | None:
    """What writes the fields of a digest, `bits` wide each, as P4Info's type `spec`; None for a type of other parts."""
    leaves = _leaves(spec, type_info, 0)
    kind = spec.WhichOneof("type_spec")
    if leaves is None or kind not in ("bitstring", "struct", "tuple", "bool"):
        return None
    if len(leaves) != len(bits):
        raise P4RuntimeError(
            Code.INVALID_ARGUMENT,
            f"P4Info and device config differ: digest {name} has {len(leaves)} fields in one, {len(bits)} in the other",
        )

    strings = [
        translation.strings(leaf, width) if leaf not in ("bit", "int", "bool") else None
        for leaf, width in zip(leaves, bits, strict=True)
    ]

    def write(leaf: str, width: int, value: int, data: Any) -> None:
        if leaf == "bool":
            data.bool = bool(value)
        elif leaf == "int":
            data.bitstring = encode(value - (1 << width) if value >> (width - 1) else value, signed=True)
        else:
            data.bitstring = encode(value)

    def fill(values: Values, data: Any) -> None:
        for leaf, width, value, names in zip(leaves, bits, values, strings, strict=True):
            part = data if kind in ("bitstring", "bool") else getattr(data, kind).members.add()
            if names is None:
                write(leaf, width, value, part)
            else:
                part.bitstring = names.text(value)

    return fill


def _leaves(spec: Any, type_info: Any, depth: int) -> list[str] | None:
    """The kinds of a type's members: bit, int, bool, or the name of a translated type; None where it has others."""
    kind = spec.WhichOneof("type_spec")
    if kind == "bitstring":
        inner = spec.bitstring.WhichOneof("type_spec")
        return [inner] if inner in ("bit", "int") else None
    if kind == "bool":
        return ["bool"]
    if kind == "new_type" and depth < 16:
        new = type_info.new_types.get(spec.new_type.name)
        if new is None or new.WhichOneof("representation") != "original_type":
            return [spec.new_type.name] if new is not None else None
        return _leaves(new.original_type, type_info, depth + 1)
    if depth or kind not in ("struct", "tuple"):
        return None
    members = list(spec.tuple.members)
    if kind == "struct":
        members = [member.type_spec for member in type_info.structs[spec.struct.name].members]
    parts = [_leaves(member, type_info, 1) for member in members]
    return None if any(part is None or len(part) != 1 for part in parts) else [part[0] for part in parts if part]
