"""Metrics are served as they are when somebody asks, on the address that was named, and nothing is imported before."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import urllib.error

import pytest

from controller import metrics as of_controller
from esa.errors import BadInput
from esa.hosts import metrics as of_hosts
from esa.metrics import Family, MetricsServer, Sample, check_address
from esa.metrics.serving import listening
from esa.switch.process import metrics as of_switch
from tests.metrics.asking import asked, check_with_promtool, needs_promtool, values

ALL = (*of_switch.FAMILIES, *of_hosts.FAMILIES, *of_controller.FAMILIES)
SEEN = Family("esa_seen_total", "What was seen.", ("who",))
HELD = Family("esa_held_seconds", "How long it is held.")
WITHOUT = """
import sys, esa.switch.__main__, esa.hosts.__main__, esa.hosts.joining, controller.cli, topologies.launcher.commands
print([name for name in ("prometheus_client", "http.server") if name in sys.modules])
"""


def test_values_are_read_when_they_are_asked_for() -> None:
    seen = [1.0]

    def read() -> list[Sample]:
        return [Sample(SEEN, seen[0], ('quo"te\n',)), Sample(HELD, 0.5)]

    with MetricsServer("127.0.0.1:0", read) as server:
        assert server.is_local
        assert server.announcement() == f"metrics at {server.url}"
        assert values(asked(server.url)) == {("esa_seen_total", ('quo"te\n',)): 1, ("esa_held_seconds", ()): 0.5}
        seen[0] = 7
        text = asked(server.url)
        assert values(text)["esa_seen_total", ('quo"te\n',)] == 7
        assert "# TYPE esa_seen_total counter" in text
        assert "# TYPE esa_held_seconds gauge" in text
        assert "process_cpu_seconds_total" in text
        assert asked(server.url.replace("/metrics", "/../../etc/passwd")).startswith("#")
    with pytest.raises(urllib.error.URLError):
        asked(server.url)


def test_what_cannot_be_read_is_an_error_of_the_request_alone(capsys: pytest.CaptureFixture[str]) -> None:
    broken = [True]

    def read() -> list[Sample]:
        if broken[0]:
            raise ValueError("no counter")
        return [Sample(HELD, 1)]

    with MetricsServer("127.0.0.1:0", read) as server:
        with pytest.raises((urllib.error.HTTPError, ConnectionError)):
            asked(server.url)
        broken[0] = False
        assert values(asked(server.url)) == {("esa_held_seconds", ()): 1}
    assert "esa: metrics: ValueError: no counter" in capsys.readouterr().err


@pytest.mark.parametrize("address", ["9100", "127.0.0.1", ":9100", "127.0.0.1:x", "127.0.0.1:65536", "fd:x"])
def test_an_address_that_is_none_is_refused_in_one_line(address: str) -> None:
    with pytest.raises(BadInput, match=r"^metrics: '.*'; allowed: HOST:PORT, say 127.0.0.1:9100$"):
        check_address(address)


def test_a_port_that_is_taken_is_refused_in_one_line() -> None:
    with listening("127.0.0.1:0") as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(BadInput, match=f"^metrics: cannot listen at {address}: Address already in use$"):
            MetricsServer(address, list)


def test_a_socket_that_was_passed_on_serves() -> None:
    with listening("127.0.0.1:0") as made, MetricsServer(f"fd:{os.dup(made.fileno())}", list) as server:
        assert server.url == f"http://127.0.0.1:{made.getsockname()[1]}/metrics"
        assert values(asked(server.url)) == {}


def test_an_address_that_others_reach_is_said_so() -> None:
    with MetricsServer("0.0.0.0:0", list) as server:
        assert server.announcement().endswith("/metrics, to whoever reaches this machine")


@pytest.mark.slow
def test_nothing_is_imported_where_nobody_asks() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, timeout=100, check=True)
    assert done.stdout == "[]\n"


def test_names_are_given_once() -> None:
    names = [family.name for family in ALL]
    assert len(names) == len(set(names)) > 40
    assert all(family.help.endswith(".") for family in ALL)


@needs_promtool
def test_names_and_units_follow_the_conventions() -> None:
    samples = [Sample(family, 1, tuple("x" for _ in family.labels)) for family in ALL]
    with MetricsServer("127.0.0.1:0", lambda: samples) as server:
        text = asked(server.url)
    assert set(values(text)) == {(sample.family.name, sample.labels) for sample in samples}
    check_with_promtool(text)


def test_an_ipv6_address() -> None:
    if not socket.has_ipv6 or not os.path.exists("/proc/net/if_inet6"):
        pytest.skip("needs IPv6")
    try:
        server = MetricsServer("[::1]:0", list)
    except BadInput:
        pytest.skip("needs IPv6 on the loopback interface")
    with server:
        assert server.is_local
        assert values(asked(server.url)) == {}
