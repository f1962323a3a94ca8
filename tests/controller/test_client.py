"""The P4Runtime client against real switches: what goes in comes back, and what fails says so in one line."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from controller import (
    BadInput,
    Controller,
    Entry,
    Group,
    NotPrimary,
    Refused,
    Replica,
    Switch,
    Tls,
    Unreachable,
    connection,
)
from esa.entries import job_entries as e
from esa.program import program
from tests.switches import SwitchProcess, free_port, running_switch

HOST = e.host_entry("00:00:0a:00:00:01", 1)


@pytest.fixture
def loaded(switch: Switch) -> Switch:
    switch.load(program(64))
    return switch


def test_entries_come_back(loaded: Switch) -> None:
    zero = Entry(e.DESTINATION, (0,), e.FORWARD, (0,))
    sender = Entry(e.SENDER, (510, 2**32 - 1, 65535, 65535, 0), e.WORKER, (1 << 31, 1))
    loaded.insert([HOST, zero, sender, e.broadcast_entry()])
    assert set(loaded.read_entries([e.DESTINATION])) == {HOST, zero, e.broadcast_entry()}
    assert loaded.read_entries([e.SENDER]) == [sender]
    loaded.modify([e.host_entry("00:00:0a:00:00:01", 300)])
    loaded.delete([zero])
    assert set(loaded.read_entries([e.DESTINATION, e.SENDER])) == {
        e.host_entry("00:00:0a:00:00:01", 300),
        e.broadcast_entry(),
        sender,
    }


def test_the_default_action_of_a_keyless_table(loaded: Switch) -> None:
    assert loaded.read_entries([e.ECN]) == [e.ecn_entry(0x7FFFF)]
    loaded.modify([e.ecn_entry(20)])
    assert loaded.read_entries([e.ECN]) == [e.ecn_entry(20)]


def test_groups_come_back(loaded: Switch) -> None:
    group = Group(3, (Replica(1, 1), Replica(2, 2), Replica(2, 3)))
    loaded.insert([group, e.flood_group([2, 1, 2])])
    assert {found.id: set(found.replicas) for found in loaded.read_groups()} == {
        3: set(group.replicas),
        1: {Replica(1, 0), Replica(2, 0)},
    }
    loaded.modify([Group(3, (Replica(4, 1),))])
    loaded.delete([e.flood_group([])])
    assert loaded.read_groups() == [Group(3, (Replica(4, 1),))]


def test_counters_come_back(loaded: Switch) -> None:
    seated, released = e.COUNTERS["seated"], e.COUNTERS["released"]
    loaded.write_counters([(seated, 3, 1 << 40), (released, 255, 5)])
    cells = [(released, 255), (seated, 3), (seated, 4), (seated, 3)]
    assert loaded.read_counters(cells) == [5, 1 << 40, 0, 1 << 40]
    loaded.write_counters([(seated, 3, 0)])
    assert loaded.read_counters([(seated, 3)]) == [0]


def test_registers(loaded: Switch, process: SwitchProcess) -> None:
    if process.kind == "bmv2":
        with pytest.raises(Refused, match="UNIMPLEMENTED"):
            loaded.read_registers("row_bitmap", 3)
    else:
        assert loaded.read_registers("row_bitmap", 3) == [0]
        assert len(loaded.read_registers("row_bitmap")) == loaded.loaded.aggregators
    with pytest.raises(BadInput, match="no register 'row'"):
        loaded.read_registers("row")
    with pytest.raises(BadInput, match="8192 cells"):
        loaded.read_registers("row_bitmap", 8192)


def test_the_build_is_known_from_the_switch(loaded: Switch, process: SwitchProcess) -> None:
    with Switch.connect(process.address) as other:
        assert other.loaded == loaded.loaded == (64, 8192)


def test_an_entry_twice_is_refused_by_name_and_the_others_are_done(loaded: Switch) -> None:
    other = e.host_entry("00:00:0a:00:00:02", 2)
    loaded.insert([HOST])
    with pytest.raises(Refused) as caught:
        loaded.insert([HOST, other])
    assert "entry destination(hdr.ethernet.dst=00:00:0a:00:00:01): ALREADY_EXISTS" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [(refused.item, refused.code) for refused in caught.value.items] == [(HOST, "ALREADY_EXISTS")]
    assert (caught.value.code, caught.value.address) == ("UNKNOWN", loaded.address)
    assert isinstance(caught.value.__cause__, grpc.RpcError)
    assert set(loaded.read_entries([e.DESTINATION])) == {HOST, other}


def test_deleting_what_is_not_there_is_refused(loaded: Switch) -> None:
    with pytest.raises(Refused, match=r"entry destination\(.*\): NOT_FOUND"):
        loaded.delete([HOST])
    with pytest.raises(Refused, match=r"multicast group 9: NOT_FOUND"):
        loaded.delete([Group(9, ())])


def test_what_does_not_fit_is_refused_before_it_is_sent(loaded: Switch) -> None:
    with pytest.raises(BadInput, match=r"forward: port: 512 does not fit in 9 bits"):
        loaded.insert([e.host_entry("00:00:0a:00:00:01", 512)])


def test_loading_again_empties_the_switch(loaded: Switch) -> None:
    loaded.insert([HOST, e.flood_group([1])])
    loaded.load(program(64))
    assert loaded.read_entries([e.DESTINATION]) == []
    assert loaded.read_groups() == []


def test_the_newest_writer_wins_and_the_older_one_takes_over_again(loaded: Switch, process: SwitchProcess) -> None:
    loaded.insert([HOST])
    with Switch.connect(process.address) as newer:
        newer.delete([HOST])
        loaded.insert([HOST])
        newer.delete([HOST])
    loaded.insert([HOST])


def test_a_fixed_election_id_below_another_is_not_primary(loaded: Switch, process: SwitchProcess) -> None:
    loaded.insert([HOST])
    with Switch.connect(process.address, election_id=(0, 1)) as lower:
        assert lower.read_entries([e.DESTINATION]) == [HOST]
        with pytest.raises(NotPrimary, match=r"not primary: .* election id 1,\d+"):
            lower.delete([HOST])


def test_the_same_fixed_election_id_twice(loaded: Switch, process: SwitchProcess) -> None:
    highest = (2**63, 1)
    with Switch.connect(process.address, election_id=highest) as first:
        first.insert([HOST])
        with Switch.connect(process.address, election_id=highest) as second, pytest.raises(NotPrimary):
            second.delete([HOST])
        first.delete([HOST])


def test_nothing_listens() -> None:
    started = time.monotonic()
    with pytest.raises(Unreachable, match=r"no switch answers at 127.0.0.1:\d+: Connection refused"):
        Switch.connect(f"127.0.0.1:{free_port()}")
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("address", ["", "localhost", ":9559", "localhost:", "localhost:x", "localhost:70000"])
def test_bad_addresses(address: str) -> None:
    with pytest.raises(BadInput, match="neither HOST:PORT"):
        Switch.connect(address)


@pytest.fixture(params=["embedded", "bmv2"])
def own_process(request: pytest.FixtureRequest) -> Iterator[SwitchProcess]:
    """A switch that the test may end, and that has no program."""
    with running_switch(request.param, device_id=5) as process:
        yield process


def test_a_switch_without_a_program_and_one_that_dies(own_process: SwitchProcess) -> None:
    with Switch.connect(own_process.address, 5) as switch:
        with pytest.raises(Refused, match=r"\(device 5\) runs no program: load one first"):
            switch.read_entries([e.DESTINATION])
        with pytest.raises(Refused, match="runs no program"):
            switch.insert([HOST])
        switch.load(program(64))
        switch.insert([HOST])
        own_process.process.terminate()
        own_process.process.wait(10)
        with pytest.raises(Unreachable, match=f"the switch at {own_process.address} does not answer") as caught:
            switch.insert([HOST])
        assert (caught.value.code, caught.value.address) == ("UNAVAILABLE", own_process.address)
        with pytest.raises(Unreachable):
            switch.read_groups()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(certificate, key) of a server at 127.0.0.1 that signed itself."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not on the PATH: makes a certificate")
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=127.0.0.1"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return cert, key


@pytest.mark.parametrize("kind", ["embedded", "bmv2"])
def test_tls(kind: str, certificate: tuple[Path, Path]) -> None:
    cert, key = certificate
    # BMv2 wants a CA file even where it asks clients for nothing.
    server = ["--grpc-server-ssl", "--grpc-server-cacert", str(cert)]
    server += ["--grpc-server-cert", str(cert), "--grpc-server-key", str(key)]
    tls = Tls(cacert=cert)
    with running_switch(kind, server_arguments=server, tls=tls) as process:
        with Switch.connect(process.address, tls=tls) as switch:
            Controller(switch).load(64)
            switch.insert([HOST])
            assert switch.read_entries([e.DESTINATION]) == [HOST]
        with pytest.raises(Unreachable):
            Switch.connect(process.address)


def test_tls_files_must_exist(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cacert: there is no file"):
        Switch.connect("127.0.0.1:1", tls=Tls(cacert=tmp_path / "nosuch.pem"))
    (tmp_path / "cert.pem").touch()
    with pytest.raises(BadInput, match="cert and key"):
        Switch.connect("127.0.0.1:1", tls=Tls(cert=tmp_path / "cert.pem"))


def test_a_channel_that_waits_for_a_call_torn_by_an_interrupt_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a terminal that was closed during `esa run --watch` left it: gRPC waited, and the run never ended."""
    monkeypatch.setattr(connection, "CLOSE_S", 0.05)
    torn = threading.Event()
    one = connection.Connection(f"127.0.0.1:{free_port()}", 1, None)
    monkeypatch.setattr(one._channel, "close", torn.wait)
    one.close()
    assert not torn.is_set()
    torn.set()
