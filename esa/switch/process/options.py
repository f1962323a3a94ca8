"""The command line of `esa-switch`: simple_switch_grpc's, so that what starts the one can start the other."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, TypeVar

from esa import __version__
from esa.errors import BadInput
from esa.switch.runtime.queue_limits import DEFAULT_DEPTH, QueueLimit
from esa.switch.runtime.queue_settings import MAX_DEPTH, MAX_PRIORITIES, MAX_RATE

LOG_LEVELS = ("trace", "debug", "info", "warn", "error", "off")
DEFAULT_DROP_PORT = 511
_PORTS = 512
_MOST_DUMPED = 1 << 16  # bytes of a packet
_LONGEST_WAIT_S = 86_400
_RATE_UNITS = {"pps": 1.0, "bps": 1.0, "kbps": 1e3, "Mbps": 1e6, "Gbps": 1e9}
_UNITS_TEXT = "bps, kbps, Mbps, Gbps"
_OPTIONAL = {"--pcap": ".", "--trace": "-"}  # options that may stand alone, and what they are then
T = TypeVar("T")
# BMv2's own, about parts that this switch does not have: (option, takes a value).
_IGNORED = (
    ("--thrift-port", True),
    ("--nanolog", True),
    ("--notifications-addr", True),
    ("--max-port-count", True),
    ("--log-flush", False),
    ("--log-file-max-size", True),
    ("--log-file-max-files", True),
)
# And those that ask for something, why it is not had: (option, takes a value, what is allowed in its place).
_REFUSED = (
    ("--packet-in", True, "there is no nanomsg socket for packets here; -i and --use-files are allowed"),
    ("--restore-state", True, "there is no saved state here; esa-switch-cli sets tables and registers anew"),
    ("--debugger", False, "there is no debugger here; --log-level trace tells most"),
    ("--debugger-addr", True, "there is no debugger here; --log-level trace tells most"),
)
_IGNORED_TARGET = (
    ("--disable-swap", False),
    ("--enable-swap", False),
    ("--max-mc-groups", True),
    ("--max-l1-entries", True),
    ("--max-l2-entries", True),
)
_REFUSED_TARGET = (
    ("--load-modules", True, "externs in .so files are not loaded here"),
    ("--dp-grpc-server-addr", True, "there is no dataplane over gRPC here; -i and --use-files are allowed"),
)
# Of BMv2's JSON, what p4c writes; older ones of the same major version are read, too.
JSON_VERSION = "2.23"


class UsageError(BadInput):
    """The command line is wrong; the message says what, and what is allowed."""


@dataclass(frozen=True)
class Options:
    """A checked command line.

    `program` None: wait for a client to push one. `log_file` ends in .txt, which BMv2 adds, so this does. `ignored`:
    options that were given and have no effect here. `queues`: of the ports that have a rate; each port has
    `priority_queues` such. `use_files`: seconds until the interfaces' files are read, None for real interfaces.
    `dump_packet_data`: bytes of each packet that are logged. `trace` "-": to standard output.
    """

    program: Path | None
    interfaces: dict[int, str]
    device_id: int
    log_level: str
    log_console: bool
    log_file: Path | None
    pcap: Path | None
    trace: Path | None
    faults: Path | None
    queues: dict[int, QueueLimit]
    priority_queues: int
    port_counters: Path | None
    metrics: str | None
    use_files: int | None
    dump_packet_data: int
    real_time: bool
    grpc_address: str
    cpu_port: int | None
    ssl: bool
    ssl_cacert: Path | None
    ssl_cert: Path | None
    ssl_key: Path | None
    ssl_client_auth: bool
    ignored: tuple[str, ...]


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def _number(name: str, low: int, high: int, text: str) -> int:
    try:
        value = int(text, 0)
    except ValueError:
        value = low - 1
    if not low <= value <= high:
        raise UsageError(f"{name} {text}: a number from {low} to {high} is allowed")
    return value


def _interface(text: str, taken: dict[int, str]) -> tuple[int, str]:
    number, separator, name = text.partition("@")
    if not separator or not name:
        raise UsageError(f"-i {text}: PORT@INTERFACE is allowed, say 1@veth0")
    port = _number("-i: port", 0, _PORTS - 1, number)
    if port in taken:
        raise UsageError(f"-i {text}: port {port} is {taken[port]} already")
    if name in taken.values():
        raise UsageError(f"-i {text}: interface {name} is another port already")
    return port, name


def _parsers() -> tuple[argparse.ArgumentParser, argparse.ArgumentParser]:
    general = _Parser(
        prog="esa-switch",
        allow_abbrev=False,
        usage="esa-switch [options] (PROGRAM.json | --no-p4) [-- target options]",
        description="A v1model switch: runs any BMv2 JSON program, speaks P4Runtime, and takes the options of "
        "simple_switch_grpc.",
        epilog="Target options, after --: --grpc-server-addr HOST:PORT, --cpu-port N, --drop-port N, "
        "--priority-queues N, "
        "--grpc-server-ssl, --grpc-server-cacert FILE, --grpc-server-cert FILE, --grpc-server-key FILE, "
        "--grpc-server-with-client-auth.",
    )
    general.add_argument("program", nargs="?", metavar="PROGRAM.json", help="program compiled by p4c-bm2-ss")
    general.add_argument("--no-p4", action="store_true", help="start without a program; a P4Runtime client pushes one")
    general.add_argument("-i", "--interface", action="append", default=[], metavar="PORT@IFACE", help="repeatable")
    general.add_argument("--device-id", default="0", metavar="N", help="P4Runtime device id (default 0)")
    general.add_argument("-L", "--log-level", default="info", metavar="LEVEL", help=", ".join(LOG_LEVELS))
    general.add_argument("--log-console", action="store_true", help="log to standard output")
    general.add_argument("--log-file", metavar="FILE", help="log to FILE.txt")
    general.add_argument("--pcap", nargs="?", const=".", metavar="DIR", help="captures per interface (default: here)")
    general.add_argument(
        "--trace",
        nargs="?",
        const="-",
        metavar="FILE",
        help="what each packet meets, step by step, to FILE or (default, or -) standard output; slow: for debugging",
    )
    general.add_argument("--faults", metavar="FILE.json", help="faults of the ports' links (not BMv2's)")
    general.add_argument(
        "--queue-rate",
        action="append",
        default=[],
        metavar="[PORT@]RATE",
        help=f"how fast a port, or each, sends: 1000pps as BMv2's set_queue_rate, or {_UNITS_TEXT}; repeatable",
    )
    general.add_argument(
        "--queue-depth",
        action="append",
        default=[],
        metavar="[PORT@]PACKETS",
        help=f"that may wait at a port with a rate, as BMv2's set_queue_depth (default {DEFAULT_DEPTH}); repeatable",
    )
    general.add_argument("--dump-packet-data", default="0", metavar="N", help="log N bytes of each packet (default 0)")
    general.add_argument(
        "--use-files", metavar="SECONDS", help="ports are files, IFACE_in.pcap and IFACE_out.pcap, read after a while"
    )
    general.add_argument(
        "--real-time", action="store_true", help="packets go before all else on the machine (SCHED_RR; not BMv2's)"
    )
    general.add_argument("--version", "-v", action="version", version=__version__)
    general.add_argument("--json-version", action="version", version=JSON_VERSION)
    general.add_argument("--metrics", metavar="HOST:PORT", help="offer what ports count to Prometheus (not BMv2's)")
    general.add_argument("--port-counters", metavar="FILE.json", help="where the ports' counters go at the end")
    target = _Parser(prog="esa-switch --", allow_abbrev=False, add_help=False)
    target.add_argument("--grpc-server-addr", default="127.0.0.1:9559")
    target.add_argument("--cpu-port")
    target.add_argument("--drop-port", default=str(DEFAULT_DROP_PORT))
    target.add_argument("--priority-queues", default="1")
    target.add_argument("--grpc-server-ssl", action="store_true")
    target.add_argument("--grpc-server-cacert")
    target.add_argument("--grpc-server-cert")
    target.add_argument("--grpc-server-key")
    target.add_argument("--grpc-server-with-client-auth", action="store_true")
    for parser, ignored, refused in ((general, _IGNORED, _REFUSED), (target, _IGNORED_TARGET, _REFUSED_TARGET)):
        for option, takes_value in ignored:
            action = "store" if takes_value else "store_true"
            parser.add_argument(option, action=action, help="accepted, without effect")
        for option, takes_value, _ in refused:
            parser.add_argument(option, action="store" if takes_value else "store_true", help=argparse.SUPPRESS)
    return general, target


def _join_optional(arguments: Sequence[str]) -> list[str]:
    """Bind what may follow --pcap and --trace to them, so that they do not take the program's name for it."""
    joined: list[str] = []
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        if argument in _OPTIONAL:
            takes_next = bool(rest) and not rest[0].endswith(".json") and (rest[0] == "-" or rest[0][:1] != "-")
            argument = f"{argument}={rest.pop(0) if takes_next else _OPTIONAL[argument]}"
        joined.append(argument)
    return joined


def parse(arguments: Sequence[str]) -> Options:
    """Return the options in `arguments` (without the program's own name); raises UsageError."""
    split = list(arguments).index("--") if "--" in arguments else len(arguments)
    general_parser, target_parser = _parsers()
    general = general_parser.parse_args(_join_optional(arguments[:split]))
    target = target_parser.parse_args(list(arguments[split + 1 :]))
    _refuse(general, _REFUSED)
    _refuse(target, _REFUSED_TARGET)
    if general.no_p4 == (general.program is not None):
        raise UsageError("give a program (BMv2 JSON) or --no-p4, one of the two")
    interfaces: dict[int, str] = {}
    for text in general.interface:
        port, name = _interface(text, interfaces)
        interfaces[port] = name
    if general.log_level not in LOG_LEVELS:
        raise UsageError(f"--log-level {general.log_level}: {', '.join(LOG_LEVELS)} are allowed")
    cpu_port = _cpu_port(target.cpu_port, interfaces)
    if _number("--drop-port", 0, _PORTS - 1, target.drop_port) != DEFAULT_DROP_PORT:
        raise UsageError(f"--drop-port {target.drop_port}: only {DEFAULT_DROP_PORT} is allowed")
    if DEFAULT_DROP_PORT in (cpu_port, *interfaces):
        raise UsageError(f"port {DEFAULT_DROP_PORT} is where dropped packets go: other numbers are allowed")
    _check_address(target.grpc_server_addr)
    _check_ssl(target)
    return Options(
        program=_path(general.program),
        interfaces=interfaces,
        device_id=_number("--device-id", 0, (1 << 64) - 1, general.device_id),
        log_level=general.log_level,
        log_console=general.log_console,
        log_file=_path(general.log_file and f"{general.log_file}.txt"),
        pcap=_path(general.pcap),
        trace=_path(general.trace),
        faults=_path(general.faults),
        queues=_queues(general.queue_rate, general.queue_depth, interfaces),
        priority_queues=_number("--priority-queues", 1, MAX_PRIORITIES, target.priority_queues),
        port_counters=_path(general.port_counters),
        metrics=general.metrics,
        use_files=_use_files(general),
        dump_packet_data=_number("--dump-packet-data", 0, _MOST_DUMPED, general.dump_packet_data),
        real_time=general.real_time,
        grpc_address=target.grpc_server_addr,
        cpu_port=cpu_port,
        ssl=target.grpc_server_ssl,
        ssl_cacert=_path(target.grpc_server_cacert),
        ssl_cert=_path(target.grpc_server_cert),
        ssl_key=_path(target.grpc_server_key),
        ssl_client_auth=target.grpc_server_with_client_auth,
        ignored=tuple(_given(general, _IGNORED) + _given(target, _IGNORED_TARGET)),
    )


def _queues(rates: Sequence[str], depths: Sequence[str], interfaces: dict[int, str]) -> dict[int, QueueLimit]:
    """The queues of the ports that have a rate, their own or the default."""
    rate_of = _by_port("--queue-rate", rates, interfaces, _rate)
    depth_of = _by_port("--queue-depth", depths, interfaces, lambda text: _number("--queue-depth", 1, MAX_DEPTH, text))
    limits = {
        port: QueueLimit(*rate, depth_of.get(port, depth_of.get(None, DEFAULT_DEPTH)))
        for port in interfaces
        if (rate := rate_of.get(port, rate_of.get(None))) is not None
    }
    for port in depth_of:
        if port not in limits and not (port is None and limits):
            raise UsageError(f"--queue-depth: {'ports' if port is None else f'port {port}'} without a rate; allowed: "
                             "with --queue-rate")  # fmt: skip
    return limits


def _by_port(
    option: str, texts: Sequence[str], interfaces: dict[int, str], read: Callable[[str], T]
) -> dict[int | None, T]:
    """What an option says of each port, and of None: all that it does not name."""
    said: dict[int | None, T] = {}
    for text in texts:
        number, separator, value = text.rpartition("@")
        port = _number(f"{option}: port", 0, _PORTS - 1, number) if separator else None
        if port is not None and port not in interfaces:
            allowed = ", ".join(map(str, interfaces)) or "none without -i"
            raise UsageError(f"{option} {text}: no such port; allowed: {allowed}")
        if port in said:
            raise UsageError(f"{option} {text}: {'the default' if port is None else f'port {port}'} is given twice")
        said[port] = read(value)
    return said


def _rate(text: str) -> tuple[float | None, float | None]:
    """(packets/s, bits/s), one of them."""
    number = text.rstrip("".join({*"".join(_RATE_UNITS)}))
    unit = text[len(number) :]
    try:
        value = float(number) * _RATE_UNITS[unit]
    except (KeyError, ValueError):
        value = 0.0
    if not 1 <= value <= MAX_RATE:
        raise UsageError(f"--queue-rate {text}: from 1 to {MAX_RATE:g} in {_UNITS_TEXT} or pps is allowed, say 20Mbps")
    return (value, None) if unit == "pps" else (None, value)


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)


def _use_files(general: argparse.Namespace) -> int | None:
    if general.use_files is None:
        return None
    for other in ("faults", "pcap", "queue_rate", "real_time"):
        if getattr(general, other):
            raise UsageError(
                f"--use-files does not go with --{other.replace('_', '-')}: files have no links and no time"
            )
    return _number("--use-files", 0, _LONGEST_WAIT_S, general.use_files)


def _refuse(parsed: argparse.Namespace, options: Sequence[tuple[str, bool, str]]) -> None:
    for name, _, reason in options:
        if _given(parsed, [(name, True)]):
            raise UsageError(f"{name}: {reason}")


def _given(parsed: argparse.Namespace, options: Sequence[tuple[str, bool]]) -> list[str]:
    return [name for name, _ in options if getattr(parsed, name[2:].replace("-", "_"))]


def _cpu_port(text: str | None, interfaces: dict[int, str]) -> int | None:
    if text is None:
        return None
    port = _number("--cpu-port", 1, _PORTS - 1, text)
    if port in interfaces:
        raise UsageError(f"--cpu-port {port}: {interfaces[port]} is that port; a port without an interface is allowed")
    return port


def _check_address(address: str) -> None:
    if address.startswith("unix:"):
        return
    host, separator, port = address.rpartition(":")
    if not separator or not host:
        raise UsageError(f"--grpc-server-addr {address}: HOST:PORT or unix:PATH is allowed, say 127.0.0.1:9559")
    _number("--grpc-server-addr: port", 0, 65535, port)


def _check_ssl(target: argparse.Namespace) -> None:
    files = [name for name in ("cacert", "cert", "key") if getattr(target, f"grpc_server_{name}")]
    if not target.grpc_server_ssl:
        if files or target.grpc_server_with_client_auth:
            option = f"--grpc-server-{files[0]}" if files else "--grpc-server-with-client-auth"
            raise UsageError(f"{option} is allowed with --grpc-server-ssl only")
        return
    for name in ("cert", "key"):
        if name not in files:
            raise UsageError(f"--grpc-server-ssl needs --grpc-server-{name} FILE")
    if target.grpc_server_with_client_auth and "cacert" not in files:
        raise UsageError("--grpc-server-with-client-auth needs --grpc-server-cacert FILE")
