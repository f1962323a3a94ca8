"""ESA_LOG: areas and levels, lines that stay lines, and what is refused."""

from __future__ import annotations

import io
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from controller import cli as esactl
from esa import log
from esa.errors import BadInput
from esa.hosts.__main__ import main as hosts
from esa.log import AREAS, area, event, parse
from esa.switch.__main__ import main as switch
from experiments import cli as esa


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    levels = {name: area(name).level for name in AREAS}
    yield
    log.begin("")
    for name, level in levels.items():
        area(name).setLevel(level)


def test_areas_and_levels() -> None:
    assert parse("") == {}
    assert parse("protocol:debug, controller") == {"protocol": logging.DEBUG, "controller": logging.INFO}
    assert parse("all:warning,hosts:debug") == {**dict.fromkeys(AREAS, logging.WARNING), "hosts": logging.DEBUG}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("protocl", "no area 'protocl'; allowed: protocol, hosts, switch, controller, all, as in protocol:debug"),
        ("protocol:loud", "protocol: no level 'loud'; allowed: debug, info, warning, error"),
        ("hosts:", "hosts: no level ''; allowed: debug, info, warning, error"),
    ],
)
def test_a_wrong_value_is_refused_in_one_line(text: str, message: str) -> None:
    with pytest.raises(BadInput) as caught:
        log.begin(text)
    assert str(caught.value) == f"ESA_LOG: {message}"


def test_an_event_is_a_line_of_fields() -> None:
    stream = io.StringIO()
    log.begin("hosts", stream)
    event(area("hosts"), logging.INFO, "a run\nbegins", job='m"l=p', epoch=7, rank=None, seq=0)
    event(area("hosts"), logging.DEBUG, "not asked for")
    event(area("protocol"), logging.ERROR, "another area")
    (line,) = stream.getvalue().splitlines()
    assert line.partition(" ")[0].startswith("time=20")
    assert line.partition(" ")[2] == r'level=info area=hosts job="m\"l=p" epoch=7 seq=0 msg="a run\nbegins"'


def test_what_nobody_asked_for_is_not_written() -> None:
    text = "from logging import ERROR; from esa.log import area, event; event(area('hosts'), ERROR, 'lost')"
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=60, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_asking_again_takes_the_place_of_what_was_asked_before() -> None:
    first, second = io.StringIO(), io.StringIO()
    log.begin("hosts", first)
    log.begin("hosts", second)
    event(area("hosts"), logging.INFO, "once")
    assert (first.getvalue(), second.getvalue().count("\n")) == ("", 1)


@pytest.mark.parametrize(
    "command",
    [
        partial(esactl.run, ["--address", "127.0.0.1:1", "counters"]),
        partial(esa.app, ["stop"], prog_name="esa", standalone_mode=False),
        partial(switch, ["--no-p4"]),
        partial(hosts, ["server", "--job", "none.json"]),
    ],
    ids=["esactl", "esa", "esa-switch", "esa.hosts"],
)
def test_every_command_refuses_a_wrong_value(
    command: Callable[[], int], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ESA_LOG", "nothing")
    assert command() == 2
    out, err = capfd.readouterr()
    assert (out, err.count("\n")) == ("", 1), err
    assert "ESA_LOG: no area 'nothing'" in err
