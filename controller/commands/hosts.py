"""`esactl host`: plain forwarding by MAC address."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from controller.commands.common import JsonOption, make_console, open_controller, print_json
from esa.errors import BadInput
from esa.job import Member


def host_add(
    context: typer.Context,
    mac: Annotated[str, typer.Argument(show_default=False)],
    port: Annotated[int, typer.Argument(min=0, max=510, show_default=False)],
) -> None:
    """Forward frames for MAC to PORT, and broadcasts to every such port."""
    try:
        Member(ip="0.0.0.0", mac=mac, udp_port=1, switch_port=port)  # type: ignore[arg-type]
    except ValueError:
        raise BadInput(f"mac: '{mac}' is not a MAC address in lower case, as 00:00:0a:00:00:01") from None
    with open_controller(context) as controller:
        controller.add_host(mac, port)
    print(f"{mac} is on port {port}")


def host_list(context: typer.Context, as_json: JsonOption = False) -> None:
    """List the hosts that the switch forwards to."""
    with open_controller(context) as controller:
        hosts = controller.hosts()
    if as_json:
        return print_json(hosts)
    table = Table("MAC", "port")
    for mac, port in sorted(hosts.items(), key=lambda host: host[1]):
        table.add_row(mac, str(port))
    return make_console().print(table)
