"""One P4Runtime switch: load a program, write and read table entries, multicast groups, counters, registers.

with Switch.connect("127.0.0.1:9559") as switch:
    switch.load(program(64))
    switch.insert([host_entry("00:00:00:00:00:01", 1)])
    switch.read_entries([DESTINATION])
"""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, NamedTuple, TypeVar

import grpc

from controller import refusals
from controller.connection import RPC_TIMEOUT_S, Connection
from controller.messages import Item, Messages, group_of
from controller.p4names import P4Names
from controller.refusals import one_line
from controller.tls import Tls, speaks_tls, why_no_handshake
from esa.entries.job_entries import Entry, Group
from esa.errors import BadInput, NotPrimary, Refused, Unreachable
from esa.p4runtime import p4runtime_pb2
from esa.program import Program

# An embedded switch translates the program to native code when it is loaded.
LOAD_TIMEOUT_S = 300.0
WRITE_ATTEMPTS = 20  # against others who write at the same time

Update = p4runtime_pb2.Update
Result = TypeVar("Result")


class Loaded(NamedTuple):
    """What a switch runs, from its own P4Info."""

    lanes: int
    aggregators: int


class Switch:
    """A P4Runtime switch. Reads at any time; becomes primary when it first writes.

    Without an `election_id` the newest writer wins: every write that finds another primary asks again with a higher
    id (the time of day). Controllers keep nothing that could grow stale, so taking turns is safe.
    """

    def __init__(self, connection: Connection, address: str, election_id: tuple[int, int] | None) -> None:
        self.address = address
        self._connection = connection
        self._fixed_election_id = election_id
        self._is_primary = False
        self._known_messages: Messages | None = None

    @classmethod
    def connect(
        cls,
        address: str,
        device_id: int = 0,
        *,
        election_id: tuple[int, int] | None = None,
        tls: Tls | None = None,
        wait_s: float = 0.0,
    ) -> Switch:
        """Connect to HOST:PORT or unix:PATH; `wait_s` is for a switch that is just starting. Raises Unreachable."""
        host, _, port = address.rpartition(":")
        if not address.startswith("unix:") and not (host and port.isdigit() and 0 < int(port) < 1 << 16):
            raise BadInput(f"address: '{address}' is neither HOST:PORT nor unix:PATH")
        if tls is not None:
            tls.check()
        deadline = time.monotonic() + wait_s
        # gRPC backs off for a second and more after a connection that failed, so a plain socket does the waiting.
        while not _listens(address) and time.monotonic() < deadline:
            time.sleep(0.05)
        if tls is not None:
            refusal = why_no_handshake(address, tls)
            if refusal is not None:
                raise Unreachable(f"no TLS with the switch at {address}: {refusal}", details=refusal, address=address)
        connection = Connection(address, device_id, tls)
        try:
            while True:
                problem = _probe(connection)
                if problem is None:
                    return cls(connection, address, election_id)
                if time.monotonic() >= deadline:
                    advice = speaks_tls(address) if tls is None else None
                    text = f"no switch answers at {address}: {advice or problem}"
                    raise Unreachable(text, details=problem, address=address)
                time.sleep(0.1)
        except BaseException:
            connection.close()
            raise

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Switch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def device_id(self) -> int:
        return self._connection.device_id

    # The program

    def load(self, program: Program) -> None:
        """Give the switch this program; whatever it ran and held before is gone."""
        for path in (program.json, program.p4info):
            if not path.is_file():
                raise BadInput(f"lanes: the {program.lanes}-lane build is missing: there is no file {path}")
        request = p4runtime_pb2.SetForwardingPipelineConfigRequest(device_id=self.device_id)
        request.action = p4runtime_pb2.SetForwardingPipelineConfigRequest.VERIFY_AND_COMMIT
        names = P4Names.of_file(program.p4info)
        request.config.p4info.CopyFrom(names.p4info)
        request.config.p4_device_config = program.json.read_bytes()
        request.config.cookie.cookie = time.time_ns()  # tells this load from every other, see `generation`

        def send() -> None:
            request.election_id.high, request.election_id.low = self._connection.election_id
            self._call(lambda: self._connection.stub.SetForwardingPipelineConfig(request, timeout=LOAD_TIMEOUT_S))

        self._as_primary(send)
        self._known_messages = Messages(names, self.address)

    @property
    def loaded(self) -> Loaded:
        """Return which build the switch runs; Refused if it runs none of ours."""
        rows = [
            register for register in self._messages.names.p4info.registers if register.preamble.alias == "row_owner"
        ]
        if not rows:
            text = f"the switch at {self.address} runs another program: load ours first (esactl load)"
            raise Refused(text, address=self.address)
        names = (register.preamble.name for register in self._messages.names.p4info.registers)
        return Loaded(sum(".lanes.lane_" in name for name in names), rows[0].size)

    def generation(self) -> int:
        """Return a number that every load of a program changes; Refused where the switch runs none (it restarted)."""
        request = p4runtime_pb2.GetForwardingPipelineConfigRequest(device_id=self.device_id)
        request.response_type = p4runtime_pb2.GetForwardingPipelineConfigRequest.COOKIE_ONLY
        stub = self._connection.stub
        reply = self._call(lambda: stub.GetForwardingPipelineConfig(request, timeout=RPC_TIMEOUT_S))
        if not reply.HasField("config"):
            raise refusals.no_program(self.address, self.device_id)
        return int(reply.config.cookie.cookie)

    @property
    def _messages(self) -> Messages:
        """Of the program that the switch runs, as it says itself."""
        if self._known_messages is None:
            request = p4runtime_pb2.GetForwardingPipelineConfigRequest(device_id=self.device_id)
            request.response_type = p4runtime_pb2.GetForwardingPipelineConfigRequest.P4INFO_AND_COOKIE
            stub = self._connection.stub
            reply = self._call(lambda: stub.GetForwardingPipelineConfig(request, timeout=RPC_TIMEOUT_S))
            if not reply.config.p4info.tables:
                raise refusals.no_program(self.address, self.device_id)
            self._known_messages = Messages(P4Names(reply.config.p4info), self.address)
        return self._known_messages

    # Entries and groups

    def insert(self, items: Iterable[Entry | Group]) -> None:
        self._write([(Update.INSERT, item) for item in items])

    def modify(self, items: Iterable[Entry | Group]) -> None:
        """Replace action and parameters, or replicas, of what is there; set the default action of a keyless table."""
        self._write([(Update.MODIFY, item) for item in items])

    def delete(self, items: Iterable[Entry | Group]) -> None:
        self._write([(Update.DELETE, item) for item in items])

    def read_entries(self, tables: Sequence[str]) -> list[Entry]:
        """Read all entries of these tables; of a table without a key, its default action."""
        entities = []
        for name in tables:
            entity = p4runtime_pb2.Entity()
            table = self._messages.find("table", name)
            entity.table_entry.table_id = table.preamble.id
            entity.table_entry.is_default_action = not table.match_fields
            entities.append(entity)
        return [self._messages.entry_of(found.table_entry) for found in self._read(entities)]

    def read_groups(self) -> list[Group]:
        entity = p4runtime_pb2.Entity()
        entity.packet_replication_engine_entry.multicast_group_entry.multicast_group_id = 0  # all
        found = self._read([entity])
        return [group_of(each.packet_replication_engine_entry.multicast_group_entry) for each in found]

    # Counters and registers

    def read_counters(self, cells: Sequence[tuple[str, int]]) -> list[int]:
        """Read packet counts of (counter, index) cells, in that order."""
        entities = []
        for name, index in cells:
            entity = p4runtime_pb2.Entity()
            entity.counter_entry.counter_id = self._messages.find("counter", name).preamble.id
            entity.counter_entry.index.index = index
            entities.append(entity)
        ids = [(entity.counter_entry.counter_id, entity.counter_entry.index.index) for entity in entities]
        found = {
            (reply.counter_entry.counter_id, reply.counter_entry.index.index): reply.counter_entry.data.packet_count
            for reply in self._read(entities)
        }
        return [found[cell] for cell in ids]

    def write_counters(self, cells: Sequence[tuple[str, int, int]]) -> None:
        """Set packet counts: (counter, index, count)."""
        self._write([(Update.MODIFY, cell) for cell in cells])

    def read_registers(self, name: str, index: int | None = None) -> list[int]:
        """Read cells of a register array, all or one, as unsigned numbers. BMv2 does not support it (Refused)."""
        if index is not None:
            ((value,),) = self.read_register_cells([name], [index])
            return [value]
        entity = p4runtime_pb2.Entity()
        entity.register_entry.register_id = self._register(name).preamble.id
        return [_cell(reply) for reply in self._read([entity])]

    def read_register_cells(self, names: Sequence[str], indices: Sequence[int]) -> list[list[int]]:
        """Read the same cells of several register arrays, in one request: by register, in the order of `indices`."""
        registers = [self._register(name) for name in names]
        entities = []
        for register in registers:
            for index in indices:
                if not 0 <= index < register.size:
                    name = register.preamble.alias
                    raise BadInput(f"index: {index} is outside register {name}, which has {register.size} cells")
                entity = p4runtime_pb2.Entity()
                entity.register_entry.register_id, entity.register_entry.index.index = register.preamble.id, index
                entities.append(entity)
        found = {
            (reply.register_entry.register_id, reply.register_entry.index.index): _cell(reply)
            for reply in self._read(entities)
        }
        return [[found[register.preamble.id, index] for index in indices] for register in registers]

    def _register(self, name: str) -> Any:
        """Return what P4Info says of a register array, by its name or its alias. BadInput."""
        for register in self._messages.names.p4info.registers:
            if name in (register.preamble.name, register.preamble.alias):
                return register
        raise BadInput(f"register: the program has no register '{name}'")

    def describe(self, item: Item) -> str:
        """Name an item as a person would."""
        return self._messages.describe(item)

    # Calls

    def _write(self, updates: Sequence[tuple[int, Item]]) -> None:
        """Send all updates in one request; Refused names those that the switch did not take, the others are done."""
        if not updates:
            return
        request = p4runtime_pb2.WriteRequest(device_id=self.device_id)
        for kind, item in updates:
            self._messages.fill(request.updates.add(type=kind).entity, item, key_only=kind == Update.DELETE)

        def send() -> None:
            request.election_id.high, request.election_id.low = self._connection.election_id
            try:
                self._call(
                    lambda: self._connection.stub.Write(request, timeout=RPC_TIMEOUT_S),
                    passing=(grpc.StatusCode.UNKNOWN,),
                )
            except grpc.RpcError as error:
                raise refusals.of_write(error, [item for _, item in updates], self._messages) from error

        self._as_primary(send)

    def _read(self, entities: Sequence[Any]) -> list[Any]:
        if not entities:
            return []
        request = p4runtime_pb2.ReadRequest(device_id=self.device_id)
        request.entities.extend(entities)

        def send() -> list[Any]:
            replies = self._connection.stub.Read(request, timeout=RPC_TIMEOUT_S)
            return [entity for reply in replies for entity in reply.entities]

        return self._call(send)

    def _as_primary(self, send: Callable[[], None]) -> None:
        for attempt in range(WRITE_ATTEMPTS):
            try:
                if not self._is_primary:
                    self._become_primary()
                send()
                return
            except NotPrimary:
                self._is_primary = False
                if self._fixed_election_id is not None or attempt == WRITE_ATTEMPTS - 1:
                    raise
                time.sleep(random.uniform(0, 0.002 * attempt))  # else two would take turns for ever

    def _become_primary(self) -> None:
        # p4runtime-shell's default is 1,0: ours are above.
        wanted = self._fixed_election_id or (1, time.time_ns() // 1000)
        self._is_primary, primary = self._call(lambda: self._connection.arbitrate(wanted))
        if not self._is_primary and self._fixed_election_id is None:
            wanted = (primary[0], primary[1] + 1)
            self._is_primary, primary = self._call(lambda: self._connection.arbitrate(wanted))
        if not self._is_primary:
            high, low = primary
            text = f"not primary: another client holds the switch at {self.address} with election id {high},{low}"
            raise NotPrimary(text, address=self.address)

    def _call(self, send: Callable[[], Result], passing: tuple[grpc.StatusCode, ...] = ()) -> Result:
        """Run one RPC; its failure in one line. Codes in `passing` are left to the caller."""
        try:
            return send()
        except grpc.RpcError as error:
            if error.code() in passing:
                raise
            raise refusals.of_call(error, self.address, self.device_id) from error
        except ValueError:  # gRPC's word for a channel that another thread has closed
            if not self._connection.closed:
                raise
            raise Unreachable(f"the connection to {self.address} was closed", address=self.address) from None


def _cell(reply: Any) -> int:
    return int.from_bytes(reply.register_entry.data.bitstring, "big")


def _listens(address: str) -> bool:
    if address.startswith("unix:"):
        with socket.socket(socket.AF_UNIX) as sock:
            return sock.connect_ex(address.removeprefix("unix:")) == 0
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=1).close()
    except OSError:
        return False
    return True


def _probe(connection: Connection) -> str | None:
    """Return why the server does not answer; None when it does."""
    try:
        connection.stub.Capabilities(p4runtime_pb2.CapabilitiesRequest(), timeout=RPC_TIMEOUT_S)
    except grpc.RpcError as error:
        if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
            return one_line(error.details()).rpartition("Failed to connect to remote host: ")[2]
    return None
