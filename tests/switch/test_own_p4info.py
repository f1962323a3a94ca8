"""A program that comes without P4Info, on the command line, can be read and written over P4Runtime all the same."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from esa.switch import Pipeline, UnsupportedError
from esa.switch.p4runtime.own_p4info import p4info_of
from esa.switch.p4runtime.p4info import P4InfoMap
from esa.switch.p4runtime.service import P4RuntimeServicer
from esa.switch.runtime.device import Device, Ports
from tests.switch.control import PROGRAMS, Client, SetConfig, p4, p4info, serving


def load(program: bytes) -> Pipeline:
    return Pipeline.load(program, compiled=False)


@pytest.mark.parametrize("path", sorted(PROGRAMS.glob("*.json")), ids=lambda path: path.stem)
def test_everything_that_a_program_has_is_in_it(path: Path) -> None:
    pipeline = load(path.read_bytes())
    known = P4InfoMap(p4info_of(pipeline), pipeline, Ports())
    assert known.absent == {}
    for kind, have in (
        (known.tables, pipeline.tables),
        (known.counters, pipeline.counters),
        (known.registers, pipeline.registers),
        (known.meters, pipeline.meters),
        (known.profiles, pipeline.action_profiles),
        (known.value_sets, pipeline.value_sets),
    ):
        assert {info.name for info in kind.values()} == set(have)
    for info in known.tables.values():
        assert (info.direct_counter is None) == (info.name not in pipeline.direct_counters)
        assert (info.direct_meter is None) == (info.name not in pipeline.direct_meters)


def test_names_and_widths_are_those_of_the_compiler() -> None:
    own, compilers = p4info_of(load((PROGRAMS / "control_plane.json").read_bytes())), p4info()
    tables = {table.preamble.name: table for table in own.tables}
    for table in compilers.tables:
        mine = tables[table.preamble.name]
        assert [field.bitwidth for field in mine.match_fields] == [field.bitwidth for field in table.match_fields]
    for kind in ("counters", "direct_counters", "registers"):
        names = {each.preamble.name for each in getattr(own, kind)}
        assert {each.preamble.name for each in getattr(compilers, kind)} <= names


@pytest.mark.supports("P4Runtime: a program of the command line, without a P4Info of the compiler")
def test_the_program_of_the_command_line_is_served_until_a_client_brings_one() -> None:
    device = Device(1)
    servicer = P4RuntimeServicer(device, load)
    program = (PROGRAMS / "control_plane.json").read_bytes()
    with serving(servicer) as port:
        client = Client(port)
        servicer.begin(program)
        assert device.pipeline is not None
        names = {table.preamble.name for table in _served(client).p4info.tables}
        assert names == set(device.pipeline.tables)
        client.elect(1)
        client.push(SetConfig.VERIFY_AND_COMMIT)
        pushed = device.pipeline
        servicer.begin(program)
        assert device.pipeline is pushed
        assert _served(client).p4info == p4info()
        client.close()


def test_whoever_asks_for_a_program_that_is_being_compiled_waits_for_it() -> None:
    device = Device(1)
    servicer = P4RuntimeServicer(device, load)
    servicer.expect()
    with serving(servicer) as port, ThreadPoolExecutor() as pool:
        client = Client(port)
        client.elect(1)
        asked = [pool.submit(_served, client), pool.submit(client.read, p4.Entity(table_entry=p4.TableEntry()))]
        time.sleep(0.3)
        assert not any(each.done() for each in asked)
        servicer.begin((PROGRAMS / "control_plane.json").read_bytes())
        config, entries = (each.result(10) for each in asked)
        assert config.p4info.tables
        assert {entry.table_entry.is_const for entry in entries} == {True}
        client.close()


def test_a_program_that_does_not_load_keeps_nobody_waiting() -> None:
    servicer = P4RuntimeServicer(Device(1), load)
    servicer.expect()
    with pytest.raises(UnsupportedError):
        servicer.begin(b"{}")
    with serving(servicer) as port:
        client = Client(port)
        assert not _served(client).p4_device_config
        client.close()


def _served(client: Client) -> p4.ForwardingPipelineConfig:
    return client.stub.GetForwardingPipelineConfig(
        p4.GetForwardingPipelineConfigRequest(device_id=1), timeout=10
    ).config
