"""`esa-switch-cli [FILE ...]`: simple_switch_CLI's commands, from files or standard input, to a running switch.

Files, and input that is no terminal, are read and checked as a whole before the first command is carried out.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NoReturn

import grpc

from esa.errors import BadInput
from esa.exits import exit_status
from esa.switch.cli import arrays, profiles, program, queues, replication, tables  # noqa: F401  # each registers its commands
from esa.switch.cli.client import CommandError, SwitchClient
from esa.switch.cli.names import Names
from esa.switch.cli.registry import prepare, words_of
from esa.switch.cli.session import Prepared, Session

_PROMPT = "RuntimeCmd: "
Line = tuple[str, list[str]]  # where it is, its words


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise BadInput(message)


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out commands; returns the exit status.

    0: all were carried out; 2: bad input, or the switch has refused a command: one line on standard error names it,
    and says how many were carried out before it.
    """
    return exit_status("esa-switch-cli", _main, sys.argv[1:] if arguments is None else arguments)


def _main(arguments: Sequence[str]) -> int:
    parser = _Parser(prog="esa-switch-cli", allow_abbrev=False, description=main.__doc__)
    parser.add_argument("files", nargs="*", metavar="FILE", help="of commands; none, or -: standard input")
    parser.add_argument(
        "--grpc-server-addr", default="127.0.0.1:9559", metavar="HOST:PORT", help="the switch's (default %(default)s)"
    )
    parser.add_argument("--device-id", type=int, default=0, metavar="N", help="the switch's (default 0)")
    parser.add_argument("--cacert", type=Path, metavar="FILE", help="TLS: the CA of the switch's certificate")
    parser.add_argument("--cert", type=Path, metavar="FILE", help="TLS: a certificate of one's own, with --key")
    parser.add_argument("--key", type=Path, metavar="FILE", help="TLS: its private key")
    options = parser.parse_args(arguments)
    credentials = _credentials(options)
    terminal = options.files in ([], ["-"]) and sys.stdin.isatty()
    lines = [] if terminal else [line for name in options.files or ["-"] for line in _read(name)]
    client = SwitchClient(options.grpc_server_addr, options.device_id, credentials)
    try:
        session = Session(client, Names(client.config().p4info), print)
        return _converse(session) if terminal else run(session, lines)
    finally:
        client.close()


def _credentials(options: argparse.Namespace) -> grpc.ChannelCredentials | None:
    if options.cacert is None:
        if options.cert is not None or options.key is not None:
            raise BadInput("--cert and --key are allowed with --cacert only")
        return None
    if (options.cert is None) != (options.key is None):
        raise BadInput("a certificate of one's own needs both --cert and --key")
    from esa.certificates import CertificateError, read_authority, read_identity  # costs a start 40 ms

    try:
        authority = read_authority(options.cacert)
        if options.cert is None:
            return grpc.ssl_channel_credentials(authority)
        identity = read_identity(options.cert, options.key)
    except CertificateError as error:
        raise BadInput(str(error)) from None
    return grpc.ssl_channel_credentials(authority, identity.key, identity.cert)


def _read(name: str) -> Iterable[Line]:
    try:
        text = sys.stdin.read() if name == "-" else Path(name).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"cannot read {name}: {getattr(error, 'strerror', None) or 'it is no text'}") from None
    where = "standard input" if name == "-" else name
    return [(f"{where}:{at + 1}", words) for at, line in enumerate(text.splitlines()) if (words := words_of(line))]


def run(session: Session, lines: Sequence[Line]) -> int:
    """Check all commands, then carry them out in order; CommandError names the place of the first that fails."""
    prepared: list[tuple[str, list[str], Prepared]] = []
    for where, words in lines:
        try:
            prepared.append((where, words, prepare(session, words)))
        except CommandError as error:
            raise CommandError(f"{where}: {error}; nothing was carried out") from None
    for done, (where, words, carry_out) in enumerate(prepared):
        try:
            carry_out()
        except CommandError as error:
            before = f"{done} of {len(prepared)} commands were carried out before it" if done else "none before it"
            raise CommandError(f"{where}: {words[0]}: {error}; {before}") from None
    return 0


def _converse(session: Session) -> int:
    """Commands from a terminal, one at a time; what is wrong with one is said, and the next is asked for."""
    while True:
        try:
            words = words_of(input(_PROMPT))
        except EOFError:
            print()
            return 0
        try:
            if words:
                prepare(session, words)()
        except CommandError as error:
            print(f"Error: {error}")


if __name__ == "__main__":
    sys.exit(main())
