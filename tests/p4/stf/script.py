"""STF, the language of p4c's packet tests: text to commands.

A line is a command: `packet PORT HEX`, `expect PORT [HEX, * for any digit, $ for the end]`, `add TABLE [PRIORITY]
FIELD:VALUE ... ACTION(NAME:VALUE, ...) [= LABEL]`, `setdefault TABLE ACTION(...)`, `wait`, `check_counter NAME(CELL)
[packets == COUNT]`, or one of simple_switch_CLI's.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

# As simple_switch_CLI has them; their arguments are numbers and names.
CLI_COMMANDS = {
    *("mirroring_add", "mirroring_add_mc", "mirroring_delete", "mirroring_get"),
    *("mc_mgrp_create", "mc_node_create", "mc_node_update", "mc_node_associate"),
    *("counter_read", "counter_write", "register_read", "register_write", "register_reset"),
    *("meter_get_rates", "meter_set_rates", "meter_array_set_rates"),
}
_TOKEN = re.compile(
    r'\s*(?:"(?P<quoted>[^"]+)"|(?P<name>[A-Za-z_$][\w$]*(?:\[\d+\])?(?:\.[A-Za-z_$][\w$]*(?:\[\d+\])?)*)'
    r"|(?P<number>0[xX][0-9a-fA-F*]+|0[bB][01*]+|0[oO][0-7*]+|\d+)|(?P<sign>[:,()/=]))"
)
_CHECK = re.compile(r"([\w.]+)\s*\(\s*([\w$]+)\s*\)\s*(?:(packets|bytes)\s*([=!<>]=|[<>])\s*(\d+))?")


class ScriptError(ValueError):
    """A line that is no command; the message names the line."""


@dataclass(frozen=True)
class Packet:
    port: int
    data: bytes


@dataclass(frozen=True)
class Expect:
    """A packet that leaves; `digits` None: any. `whole`: nothing comes after the digits."""

    port: int
    digits: str | None
    whole: bool


@dataclass(frozen=True)
class Call:
    """An action with its arguments, by name."""

    action: str
    arguments: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Add:
    table: str
    priority: int | None
    match: tuple[tuple[str, str], ...]  # (field, value as written)
    call: Call
    label: str = ""  # what later commands call the entry


@dataclass(frozen=True)
class SetDefault:
    table: str
    call: Call


@dataclass(frozen=True)
class Cli:
    words: tuple[str, ...]


@dataclass(frozen=True)
class CheckCounter:
    """`cell` of a counter: a number, or an entry's label; its `unit` ("packets", "bytes") compares so with a count."""

    counter: str
    cell: str
    unit: str
    comparison: str
    count: int


Command = Packet | Expect | Add | SetDefault | Cli | CheckCounter
COMPARISONS: dict[str, Callable[[int, int], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<=": operator.le,
    "<": operator.lt,
    ">=": operator.ge,
    ">": operator.gt,
}


def parse(text: str) -> tuple[Command, ...]:
    """The commands of an STF file. Raises ScriptError."""
    commands = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split("#", 1)[0].split(None, 1)
        if not words:
            continue
        try:
            command = _command(words[0].lower(), words[1].strip() if len(words) > 1 else "")
        except (ValueError, StopIteration) as error:
            raise ScriptError(f"line {number}: {line.strip()!r}: {error or 'it ends too early'}") from None
        if command is not None:
            commands.append(command)
    return tuple(commands)


def _command(keyword: str, rest: str) -> Command | None:
    if keyword == "wait":
        return None
    if keyword in ("packet", "expect"):
        port, _, data = rest.partition(" ")
        digits = "".join(data.split()).upper()
        if keyword == "packet":
            return Packet(int(port), bytes.fromhex(digits))
        if not re.fullmatch(r"[0-9A-F*]*\$?", digits):
            raise ValueError("the packet is no hexadecimal digits")
        return Expect(int(port), digits.rstrip("$") or None, digits.endswith("$"))
    if keyword in CLI_COMMANDS:
        return Cli((keyword, *rest.split()))
    if keyword == "check_counter":
        return _check_counter(rest)
    if keyword not in ("add", "setdefault"):
        raise ValueError(f"there is no command {keyword!r}")
    tokens = list(_tokens(rest))
    at = iter(tokens)
    table = next(at)
    if keyword == "setdefault":
        return SetDefault(table, _call(next(at), at))
    priority, match = None, []
    word = next(at)
    if word.isdigit():
        priority, word = int(word), next(at)
    while (sign := next(at)) == ":":
        value, following = next(at), next(at)
        if following == "/":
            value, following = f"{value}/{next(at)}", next(at)
        match.append((word, value))
        word = following
    call = _arguments(word, sign, at)
    label = next(at) if next(at, None) == "=" else ""
    return Add(table, priority, tuple(match), call, label)


def _check_counter(rest: str) -> CheckCounter | None:
    found = _CHECK.fullmatch(rest)
    if found is None:
        raise ValueError("NAME(CELL), and perhaps `packets == COUNT`, is what follows")
    counter, cell, unit, comparison, count = found.groups()
    # without a comparison it only prints
    return CheckCounter(counter, cell, unit, comparison, int(count)) if unit else None


def _call(name: str, rest: Iterator[str]) -> Call:
    return _arguments(name, next(rest), rest)


def _arguments(name: str, sign: str, rest: Iterator[str]) -> Call:
    """`(name:value, ...)`."""
    if sign != "(":
        raise ValueError(f"{name} has no arguments in parentheses")
    arguments = []
    word = next(rest)
    while word != ")":
        if word == ",":
            word = next(rest)
        if next(rest) != ":":
            raise ValueError(f"argument {word} has no value")
        arguments.append((word, next(rest)))
        word = next(rest)
    return Call(name, tuple(arguments))


def _tokens(text: str) -> Iterator[str]:
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise ValueError(f"{text[at:]!r} is no name, number or sign")
        yield next(group for group in found.groups() if group is not None)
        at = found.end()


def number(text: str) -> int:
    """A number as STF writes it: 12, 0x0c, 0b1100 or 0o14."""
    return int(text, 0) if text[:2].lower() in ("0x", "0b", "0o") else int(text)
