"""The commands by name, and how a line of a command file becomes one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from esa.switch.cli.client import CommandError
from esa.switch.cli.session import Prepared, Session

Prepare = Callable[[Session, Sequence[str]], Prepared]
_NO_THRIFT = "P4Runtime has no such thing"
_PORTS = "ports are given when the switch starts: -i PORT@INTERFACE"
_ONE_PROGRAM = "push a program over P4Runtime in its place"
# simple_switch_CLI's other commands, and why they are not here.
REFUSED = {
    "mc_set_lag_membership": "multicast groups have no LAGs over P4Runtime",
    "table_indirect_set_default": "P4Runtime gives a table with an action profile no other default",
    "table_indirect_set_default_with_group": "P4Runtime gives a table with an action profile no other default",
    "table_indirect_reset_default": "P4Runtime gives a table with an action profile no other default",
    "port_add": _PORTS,
    "port_remove": _PORTS,
    "show_ports": _PORTS,
    "load_new_config_file": _ONE_PROGRAM,
    "swap_configs": _ONE_PROGRAM,
    "serialize_state": _NO_THRIFT,
    "set_crc16_parameters": _NO_THRIFT,
    "set_crc32_parameters": _NO_THRIFT,
    "set_toeplitz_hash_key": _NO_THRIFT,
    "get_time_elapsed": _NO_THRIFT,
    "get_time_since_epoch": _NO_THRIFT,
    "switch_info": _NO_THRIFT,
    "shell": "a shell runs outside of this",
}


@dataclass(frozen=True)
class Command:
    """`prepare` checks the words after the name; what it returns carries the command out. `most` None: any number."""

    usage: str
    prepare: Prepare
    least: int
    most: int | None


COMMANDS: dict[str, Command] = {}


def command(usage: str, least: int, most: int | None = -1) -> Callable[[Prepare], Prepare]:
    """Make a function the command that `usage` starts with, of `least` to `most` (default: as many) words."""

    def register(prepare: Prepare) -> Prepare:
        COMMANDS[usage.split()[0]] = Command(usage, prepare, least, least if most == -1 else most)
        return prepare

    return register


def words_of(line: str) -> list[str]:
    """The words of a line; none for a remark: # or // in front."""
    text = line.strip()
    return [] if text.startswith(("#", "//")) else text.split()


def prepare(session: Session, words: Sequence[str]) -> Prepared:
    """Read one command; CommandError says what is wrong with it."""
    name, *arguments = words
    if name in REFUSED:
        raise CommandError(f"{name} is not supported here: {REFUSED[name]}")
    found = COMMANDS.get(name)
    if found is None:
        raise CommandError(f"there is no command '{name}'; `help` lists them")
    if len(arguments) < found.least or (found.most is not None and len(arguments) > found.most):
        raise CommandError(f"{name} with {len(arguments)} words; allowed: {found.usage}")
    try:
        return found.prepare(session, arguments)
    except CommandError as error:
        raise CommandError(f"{name}: {error}") from None


@command("help [command]", 0, 1)
def _help(session: Session, arguments: Sequence[str]) -> Prepared:
    if arguments and arguments[0] not in COMMANDS:
        prepare(session, arguments)
    names = arguments or sorted(COMMANDS)
    return lambda: session.say("\n".join(COMMANDS[name].usage for name in names))
