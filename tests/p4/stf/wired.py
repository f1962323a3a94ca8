"""An STF on switches as processes with veth ports: esa-switch over P4Runtime, simple_switch by its CLI."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import text_format

from esa.p4runtime import p4info_pb2
from esa.p4runtime import p4runtime_pb2 as p4
from tests.p4.stf.cli_lines import CliLines, count
from tests.p4.stf.entries import Entry, whole_name
from tests.p4.stf.play import check, play
from tests.p4.stf.replication import Copies, Replication
from tests.p4.stf.script import CheckCounter, Command, Expect, Packet
from tests.p4.stf.verdict import ports
from tests.p4.stf.wires import MIN_FRAME, Wires
from tests.switch.bmv2_files import OWN_EVENTS, cli
from tests.switch.control import Client, delete, group, insert, modify, session
from tests.switches import free_port, running_switch

_PATIENCE_S = 60.0
_LOAD_S = 600.0  # with compiling


def too_short(commands: Sequence[Command]) -> str | None:
    """Why no wire carries a test's packets; None if one does."""
    for command in commands:
        if isinstance(command, Packet) and len(command.data) < MIN_FRAME:
            return f"a packet of {len(command.data)} bytes, and no frame has less than {MIN_FRAME}"
        if isinstance(command, Expect) and command.whole and len(command.digits or "") < 2 * MIN_FRAME:
            return f"{len(command.digits or '') // 2} bytes are expected, and no frame has less than {MIN_FRAME}"
    return None


@contextlib.contextmanager
def _wires(commands: Sequence[Command]) -> Iterator[Wires]:
    wires = Wires(ports(commands))
    try:
        yield wires
    finally:
        wires.close()


def _wanted(commands: Sequence[Command]) -> int:
    return sum(isinstance(command, Expect) for command in commands)


# --- simple_switch --------------------------------------------------------------------------------------------------


def run_bmv2(path: Path, program: dict[str, Any], commands: Sequence[Command]) -> dict[int, list[bytes]]:
    """The packets that left, by port. Raises ValueError or OSError as `bmv2.run` does."""
    lines, waiting = CliLines(program), ""
    with _wires(commands) as wires, tempfile.TemporaryDirectory() as folder:
        within, thrift = ["ip", "netns", "exec", wires.namespace], free_port()
        interfaces = [word for port, name in wires.interfaces.items() for word in ("-i", f"{port}@{name}")]
        command = [
            *within,
            "simple_switch",
            *OWN_EVENTS,
            "--thrift-port",
            str(thrift),
            *interfaces,
            str(path.resolve()),
        ]
        with (Path(folder) / "log").open("w") as log:
            process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
        try:
            _await_bmv2(process, within, thrift)
            for each in commands:
                if isinstance(each, (Packet, CheckCounter)) and waiting:
                    wires.settle()
                    cli(thrift, waiting, within=within)
                    waiting = ""
                if isinstance(each, Packet):
                    wires.send(each.port, each.data)
                elif isinstance(each, CheckCounter):
                    wires.settle()
                    check(each, count(cli(thrift, lines.read(each), within=within)))
                else:
                    waiting += lines.line(each)
            sent = wires.finish(_wanted(commands))
            if process.poll() is not None:
                raise OSError(f"simple_switch ended with status {process.returncode}")
            return sent
        finally:
            process.kill()
            process.wait(timeout=_PATIENCE_S)


def _await_bmv2(process: subprocess.Popen[bytes], within: Sequence[str], thrift: int) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            cli(thrift, "show_ports\n", within=within)
            return
        time.sleep(0.1)
    raise OSError("simple_switch does not answer")


# --- esa-switch -----------------------------------------------------------------------------------------------------


def run_embedded(
    path: Path, info: Path, program: dict[str, Any], commands: Sequence[Command]
) -> dict[int, list[bytes]]:
    """The packets that left, by port. `info`: the program's P4Info. Raises ValueError, OSError or what gRPC raises."""
    message = text_format.Parse(info.read_text(), p4info_pb2.P4Info())
    with (
        _wires(commands) as wires,
        running_switch("embedded", interfaces=wires.interfaces, device_id=1, namespace=wires.namespace) as process,
    ):
        client = Client(process.address)
        try:
            client.become_primary(1)
            pushed = p4.ForwardingPipelineConfig(p4info=message, p4_device_config=path.read_bytes())
            client.push(message=pushed, timeout_s=_LOAD_S)
            switch = _Served(client, message, wires)
            play(switch, program, commands)
            sent = wires.finish(_wanted(commands))
        finally:
            client.close()
        if process.process.poll() is not None:
            raise OSError(f"esa-switch ended with status {process.process.returncode}")
        return sent


class _Served:
    """A switch behind P4Runtime and wires."""

    def __init__(self, client: Client, info: p4info_pb2.P4Info, wires: Wires) -> None:
        self._client, self._info, self._wires = client, info, wires
        self._groups: dict[int, Copies] = {}
        self._sessions: dict[int, Copies] = {}
        self.send, self.settle = wires.send, wires.settle

    def write(self, new: Entry) -> None:
        entity, table = p4.Entity(), self._of(self._info.tables, new.table)
        action = self._of(self._info.actions, new.action)
        message = entity.table_entry
        message.table_id = table.preamble.id
        message.action.action.action_id = action.preamble.id
        for param, value in zip(action.params, new.params, strict=True):
            message.action.action.params.add(param_id=param.id, value=_bytes(value))
        if new.match is None:
            message.is_default_action = True
            self._write(modify(entity))
            return
        for field, kind, item in zip(table.match_fields, new.kinds, new.match, strict=True):
            _add_match(message, field.id, field.bitwidth, kind, item)
        ternary = {p4info_pb2.MatchField.TERNARY, p4info_pb2.MatchField.RANGE, p4info_pb2.MatchField.OPTIONAL}
        if any(field.match_type in ternary for field in table.match_fields):
            message.priority = (new.priority or 0) + 1
        self._write(insert(entity))

    def replicate(self, replication: Replication) -> None:
        for number, copies in replication.groups().items():
            if copies != self._groups.get(number, []):
                self._write((modify if number in self._groups else insert)(group(number, *copies)))
                self._groups[number] = copies
        sessions = replication.sessions()
        for number in self._sessions.keys() - sessions.keys():
            self._write(delete(session(number, *self._sessions.pop(number))))
        for number, copies in sessions.items():
            if copies != self._sessions.get(number, []):
                self._write((modify if number in self._sessions else insert)(session(number, *copies)))
                self._sessions[number] = copies

    def write_register(self, name: str, index: int | None, value: int) -> None:
        entity = p4.Entity()
        entity.register_entry.register_id = self._of(self._info.registers, name).preamble.id
        entity.register_entry.data.bitstring = _bytes(value)
        if index is not None:
            entity.register_entry.index.index = index
        self._write(modify(entity))

    def write_counter(self, name: str, index: int, packets: int, size: int) -> None:
        entity = p4.Entity()
        entity.counter_entry.counter_id = self._of(self._info.counters, name).preamble.id
        entity.counter_entry.index.index = index
        entity.counter_entry.data.packet_count, entity.counter_entry.data.byte_count = packets, size
        self._write(modify(entity))

    def count(self, counter: str, cell: int | Entry) -> tuple[int, int]:
        entity = p4.Entity()
        if isinstance(cell, int):
            entity.counter_entry.counter_id = self._of(self._info.counters, counter).preamble.id
            entity.counter_entry.index.index = cell
            (found,) = self._client.read(entity)
            data = found.counter_entry.data
        else:
            assert cell.match is not None
            table = self._of(self._info.tables, cell.table)
            message = entity.direct_counter_entry.table_entry
            message.table_id = table.preamble.id
            for field, kind, item in zip(table.match_fields, cell.kinds, cell.match, strict=True):
                _add_match(message, field.id, field.bitwidth, kind, item)
            (found,) = self._client.read(entity)
            data = found.direct_counter_entry.data
        return data.packet_count, data.byte_count

    def _of(self, objects: Any, name: str) -> Any:
        by_name = {each.preamble.name: each for each in objects}
        return by_name[whole_name(name, by_name, "P4Info's")]

    def _write(self, update: p4.Update) -> None:
        (code,) = self._client.codes(update)
        if code != grpc.StatusCode.OK:
            raise ValueError(
                f"P4Runtime refuses with {code.name}: {text_format.MessageToString(update, as_one_line=True)}"
            )


def _bytes(value: int) -> bytes:
    return value.to_bytes(max(1, (value.bit_length() + 7) // 8), "big")


def _add_match(message: p4.TableEntry, field: int, bits: int, kind: str, item: Any) -> None:
    """A match field, unless it matches anything."""
    if kind == "lpm" and item[1]:
        value = item[0] >> (bits - item[1]) << (bits - item[1])
        message.match.add(field_id=field, lpm={"value": _bytes(value), "prefix_len": item[1]})
    elif kind == "ternary" and item[1]:
        message.match.add(field_id=field, ternary={"value": _bytes(item[0] & item[1]), "mask": _bytes(item[1])})
    elif kind in ("exact", "valid"):
        message.match.add(field_id=field, exact={"value": _bytes(item)})
