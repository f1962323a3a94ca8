"""Any program and its entries on a P4Runtime switch, as plain as can be: what the benchmark writes to both switches."""

from __future__ import annotations

import queue
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
from google.protobuf import text_format

from esa.p4runtime import p4info_pb2, p4runtime_pb2, p4runtime_pb2_grpc
from experiments.studies.bench.errors import BenchError

LIMIT_S = 120.0
AT_ONCE = 1000  # entries in a write


class Writer:
    """The primary client of a switch that runs one program."""

    def __init__(self, stub: p4runtime_pb2_grpc.P4RuntimeStub, device_id: int, info: p4info_pb2.P4Info) -> None:
        self._stub = stub
        self._device_id = device_id
        self.election = p4runtime_pb2.Uint128(low=1)
        self.tables = {each.preamble.alias: each for each in info.tables}
        self.actions = {each.preamble.alias: each for each in info.actions}

    def entry(self, table: str, action: str, *values: bytes) -> p4runtime_pb2.TableEntry:
        """An entry without its match."""
        entry = p4runtime_pb2.TableEntry(table_id=self.tables[table].preamble.id)
        info = self.actions[action]
        entry.action.action.action_id = info.preamble.id
        for param, value in zip(info.params, values, strict=True):
            entry.action.action.params.add(param_id=param.id, value=value)
        return entry

    def insert(self, entries: Iterable[p4runtime_pb2.TableEntry]) -> None:
        """Insert all of them, `AT_ONCE` at a time."""
        self.send(self.requests("INSERT", entries))

    def delete(self, entries: Iterable[p4runtime_pb2.TableEntry]) -> None:
        """Delete all of them, `AT_ONCE` at a time."""
        self.send(self.requests("DELETE", entries))

    def requests(self, kind: str, entries: Iterable[p4runtime_pb2.TableEntry]) -> list[p4runtime_pb2.WriteRequest]:
        """Writes for all of them, `AT_ONCE` in each; kind is INSERT or DELETE."""
        waiting, made = list(entries), []
        for first in range(0, len(waiting), AT_ONCE):
            request = p4runtime_pb2.WriteRequest(device_id=self._device_id, election_id=self.election)
            for entry in waiting[first : first + AT_ONCE]:
                request.updates.add(type=kind).entity.table_entry.CopyFrom(entry)
            made.append(request)
        return made

    def send(self, requests: Iterable[p4runtime_pb2.WriteRequest]) -> None:
        """Send writes, one after the other."""
        for request in requests:
            self._stub.Write(request, timeout=LIMIT_S)


@contextmanager
def writer(address: str, device_id: int, program: Path) -> Iterator[Writer]:
    """Load PROGRAM.json with PROGRAM.p4info.txt, and write for as long as the block lasts. BenchError."""
    info = text_format.Parse(program.with_suffix(".p4info.txt").read_text(), p4info_pb2.P4Info())
    asked: queue.SimpleQueue[p4runtime_pb2.StreamMessageRequest | None] = queue.SimpleQueue()
    with grpc.insecure_channel(address) as channel:
        stub = p4runtime_pb2_grpc.P4RuntimeStub(channel)
        switch = Writer(stub, device_id, info)
        arbitration = {"device_id": device_id, "election_id": switch.election}
        asked.put(p4runtime_pb2.StreamMessageRequest(arbitration=arbitration))
        try:
            stream = stub.StreamChannel(iter(asked.get, None), wait_for_ready=True)  # primary while it is open
            next(stream)
            load = p4runtime_pb2.SetForwardingPipelineConfigRequest(
                device_id=device_id, election_id=switch.election, action="VERIFY_AND_COMMIT"
            )
            load.config.p4info.CopyFrom(info)
            load.config.p4_device_config = program.with_suffix(".json").read_bytes()
            stub.SetForwardingPipelineConfig(load, timeout=LIMIT_S)
            yield switch
        except grpc.RpcError as error:
            raise BenchError(f"{program.name}: the switch at {address} refused: {error.details()}") from None
        finally:
            asked.put(None)
