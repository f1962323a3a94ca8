"""`esactl cert`: certificates to develop with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def cert(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to write to.", show_default=False)],
    host: Annotated[
        list[str] | None,
        typer.Option(metavar="HOST", help="Further name or IP address of the switch; repeatable.", show_default=False),
    ] = None,
    days: Annotated[int, typer.Option(min=1, help="How long they are valid.")] = 30,
    force: Annotated[bool, typer.Option("--force", help="Replace a set that is there.")] = False,
) -> None:
    """Make certificates to develop with: a CA, one for the switch, one for the controller.

    Writes ca.pem, server.pem, client.pem and their keys (ca-key.pem, ...), readable by you alone.

    The switch's is good for localhost, 127.0.0.1, ::1 and every --host.

    Whoever has ca-key.pem can make more: keep it to yourself, or delete it.
    """
    from controller import development_set  # cryptography, of which no other command has need

    development_set.make(folder, host or (), days, force=force)
    print(
        f"wrote a CA, a server's and a client's certificate, valid for {days} days, to {folder}\n"
        f"switch:     esa-switch --no-p4 -- --grpc-server-ssl --grpc-server-cacert {folder}/ca.pem"
        f" --grpc-server-cert {folder}/server.pem --grpc-server-key {folder}/server-key.pem"
        " --grpc-server-with-client-auth\n"
        f"controller: esactl --cacert {folder}/ca.pem --cert {folder}/client.pem --key {folder}/client-key.pem load"
    )
