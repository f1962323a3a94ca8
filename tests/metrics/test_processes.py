"""What switch, PS, workers and controller offer are the numbers that they count."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller import Controller, Switch
from controller.metrics import JobMetrics
from esa.errors import BadInput
from esa.hosts.metrics import WORKER, read_server, read_worker
from esa.metrics import MetricsServer
from tests.controller.jobs import make_job as job_on_switch
from tests.hosts.test_endpoints import Hosts, make_job, random_lanes
from tests.metrics.asking import asked, check_with_promtool, needs_promtool, values
from tests.switches import running_switch

FETCH = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1], timeout=30).read().decode())"
PING = "import socket, sys; s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW); s.bind((sys.argv[1], 0)); "
PING += "[s.send(bytes(60)) for _ in range(5)]"


@pytest.fixture
def namespace(root: None, request: pytest.FixtureRequest) -> Iterator[str]:
    """A network of its own, with a cable from `one` to `two`."""
    name = f"metrics-{time.monotonic_ns() % 10**9}"
    subprocess.run(["ip", "netns", "add", name], check=True, timeout=30)
    inside = ["ip", "netns", "exec", name]
    try:
        subprocess.run([*inside, "sh", "-c", "ip link add one type veth peer name two; "
                        "for i in lo one two; do ip link set $i up; done"], check=True, timeout=30)  # fmt: skip
        yield name
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=True, timeout=30)


@needs_promtool
def test_a_switch_offers_its_ports_counters(namespace: str) -> None:
    inside = ["ip", "netns", "exec", namespace]
    arguments = ("--metrics", "127.0.0.1:0")
    with running_switch("embedded", interfaces={3: "one"}, namespace=namespace, arguments=arguments) as switch:
        (url,) = re.findall(r"^esa-switch: metrics at (\S+)$", switch.log(), re.MULTILINE)

        def fetched() -> str:
            return subprocess.run(
                [*inside, sys.executable, "-c", FETCH, url], capture_output=True, text=True, timeout=60, check=True
            ).stdout

        before = values(fetched())["esa_switch_port_received_packets_total", ("one", "3")]
        subprocess.run([*inside, sys.executable, "-c", PING, "two"], check=True, timeout=60)
        deadline = time.monotonic() + 20
        while values(text := fetched())["esa_switch_port_received_packets_total", ("one", "3")] < before + 5:
            assert time.monotonic() < deadline, text
        assert values(text)["esa_switch_program_loaded", ()] == 0
        assert values(text)["esa_switch_port_received_bytes_total", ("one", "3")] >= 300
        check_with_promtool(text)
        with Switch.connect(switch.address, switch.device_id) as client:
            Controller(client).load(64)
        assert values(fetched())["esa_switch_program_loaded", ()] == 1


def test_a_switch_refuses_an_address_in_one_line() -> None:
    command = [sys.executable, "-m", "esa.switch", "--no-p4", "--metrics", "nowhere"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "esa-switch: metrics: 'nowhere'; allowed: HOST:PORT, say 127.0.0.1:9100\n"


@needs_promtool
def test_workers_and_ps_offer_what_they_count() -> None:
    with Hosts(make_job(2)) as hosts:
        hosts.all_reduce(random_lanes(1, 2, 5000))

        def read() -> list:
            return [*(s for worker in hosts.workers for s in read_worker(worker)), *read_server(hosts.server)]

        with MetricsServer("127.0.0.1:0", read) as server:
            text = asked(server.url)
        found, stats = values(text), hosts.workers[1].stats()
        job = hosts.job.name
        for name, family in WORKER.items():
            assert found[family.name, (job, "1")] == stats[name], name
        assert found["esa_worker_results_total", (job, "0")] == -(-5000 // hosts.job.lanes)
        assert found["esa_worker_waiting_seconds", (job, "0")] == 0
        assert 0 < found["esa_worker_round_trip_seconds", (job, "0")] < 10
        assert found["esa_ps_completed_fragments_total", (job,)] == hosts.server.stats()["via_ps"] > 0
        assert found["esa_worker_epoch", (job, "0")] == hosts.job.epoch
        check_with_promtool(text)
        hosts.workers[0].all_reduce(random_lanes(2, 10))
        time.sleep(0.3)
        assert 0.2 < {s.family.name: s.value for s in read_worker(hosts.workers[0])}["esa_worker_waiting_seconds"] < 10
        hosts.workers[1].all_reduce(random_lanes(3, 10))


@needs_promtool
def test_the_controller_offers_jobs_rows_and_denials_of_a_switch_and_says_when_it_is_gone(tmp_path: Path) -> None:
    with running_switch("embedded") as process, Switch.connect(process.address, process.device_id) as switch:
        controller = Controller(switch, tmp_path / "jobs.json")
        controller.load(64)
        job = controller.add_job(job_on_switch("alpha"))
        metrics = JobMetrics(lambda: Switch.connect(process.address, process.device_id), tmp_path / "jobs.json")
        with MetricsServer("127.0.0.1:0", metrics.read) as server:
            text = asked(server.url)
            found = values(text)
            assert found["esa_controller_switch_up", ()] == 1
            assert found["esa_job_info", (str(job.epoch), "alpha", "esa")] == 1
            assert found["esa_job_rows", ("alpha",)] == 0
            assert found["esa_job_gradients_total", ("(none)",)] == 0
            assert found["esa_switch_rows", ()] == 8192
            assert found["esa_switch_denied_packets_total", ("unknown sender",)] == 0
            check_with_promtool(text)
            process.process.terminate()
            process.process.wait(30)
            assert values(asked(server.url)) == {
                ("esa_controller_switch_up", ()): 0,
                ("esa_controller_restorations_total", ()): 0,
            }
        metrics.close()


def test_a_worker_whose_address_for_metrics_is_wrong_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    from esa.hosts.metrics import serve_workers

    monkeypatch.setenv("ESA_METRICS", "9100")
    with pytest.raises(BadInput, match=r"^ESA_METRICS: metrics: '9100'; allowed: HOST:PORT"):
        serve_workers()
