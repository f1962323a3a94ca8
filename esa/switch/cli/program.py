"""Commands for the program as a whole, and for its parsers' value sets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from esa.p4runtime import p4runtime_pb2
from esa.switch.cli.client import MODIFY, CommandError
from esa.switch.cli.names import MATCH_NAMES
from esa.switch.cli.registry import command
from esa.switch.cli.session import Prepared, Session
from esa.switch.cli.values import decode, encode, number


@command("reset_state", 0)
def _reset_state(session: Session, words: Sequence[str]) -> Prepared:
    def run() -> None:
        session.client.reset()
        session.forget()

    return run


@command("write_config_to_file <file>", 1)
def _write_config(session: Session, words: Sequence[str]) -> Prepared:
    def run() -> None:
        try:
            Path(words[0]).write_bytes(session.client.config().p4_device_config)
        except OSError as error:
            raise CommandError(f"cannot write {words[0]}: {error.strerror}") from None

    return run


def _bits(values: Any) -> int:
    return sum(field.bitwidth for field in values.match)


def _member(values: Any, value: int) -> Any:
    """The member that is one number: its fields side by side, the first on top."""
    member, below = p4runtime_pb2.ValueSetMember(), _bits(values)
    for field in values.match:
        below -= field.bitwidth
        part, kind = encode(value >> below & ((1 << field.bitwidth) - 1)), MATCH_NAMES[field.match_type]
        match = member.match.add(field_id=field.id)
        getattr(match, kind).value = part
        if kind == "ternary":
            match.ternary.mask = encode((1 << field.bitwidth) - 1)
        elif kind == "lpm":
            match.lpm.prefix_len = field.bitwidth
    return member


def _value(values: Any, member: Any) -> int:
    given = {match.field_id: getattr(match, match.WhichOneof("field_match_type")).value for match in member.match}
    value = 0
    for field in values.match:
        value = value << field.bitwidth | decode(given.get(field.id, b""))
    return value


def _members(session: Session, values: Any) -> tuple[Any, Any]:
    entity = p4runtime_pb2.Entity()
    entity.value_set_entry.value_set_id = values.preamble.id
    (found,) = session.client.read(entity)
    return found, found.value_set_entry.members


@command("show_pvs", 0)
def _show_pvs(session: Session, words: Sequence[str]) -> Prepared:
    sets = session.names.all("value set")
    return lambda: session.say("\n".join(f"{v.preamble.name:30} [compressed bitwidth:{_bits(v)}]" for v in sets))


def _holding(session: Session, words: Sequence[str], is_in: bool) -> Prepared:
    """Make a value one of a set's, or none of them."""
    values = session.names.find("value set", words[0])
    member = _member(values, number(words[1], _bits(values), "value"))

    def run() -> None:
        entity, members = _members(session, values)
        if (member in members) != is_in:
            (members.append if is_in else members.remove)(member)
            session.client.write(MODIFY, entity)

    return run


@command("pvs_add <value set> <value>", 2)
def _pvs_add(session: Session, words: Sequence[str]) -> Prepared:
    return _holding(session, words, is_in=True)


@command("pvs_remove <value set> <value>", 2)
def _pvs_remove(session: Session, words: Sequence[str]) -> Prepared:
    return _holding(session, words, is_in=False)


@command("pvs_clear <value set>", 1)
def _pvs_clear(session: Session, words: Sequence[str]) -> Prepared:
    entity = p4runtime_pb2.Entity()
    entity.value_set_entry.value_set_id = session.names.find("value set", words[0]).preamble.id
    return lambda: session.client.write(MODIFY, entity)


@command("pvs_get <value set>", 1)
def _pvs_get(session: Session, words: Sequence[str]) -> Prepared:
    values = session.names.find("value set", words[0])
    digits = (_bits(values) + 7) // 8 * 2

    def run() -> None:
        for member in _members(session, values)[1]:
            session.say(f"{_value(values, member):0{digits}x}")

    return run
