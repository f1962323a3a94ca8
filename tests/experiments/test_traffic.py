"""Flows on real sockets: their two ends over loopback, and beside a job on Mininet."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from rich.console import Console

from esa.report import FlowSummary
from experiments.live.check import check_live
from experiments.live.flows import Traffic
from experiments.live.run import run
from experiments.specs.scenario import Scenario
from experiments.virtual.check import check_virtual
from experiments.virtual.run import evaluate
from tests.experiments.texts import BESIDE

LOOPBACK = "127.0.0.1"
End = subprocess.Popen[str]

STARTED: list[End] = []


@pytest.fixture(autouse=True)
def nothing_goes_on() -> Iterator[None]:
    yield
    while STARTED:
        with STARTED.pop() as process:
            process.kill()


def free_port() -> int:
    with socket.socket() as found:
        found.bind((LOOPBACK, 0))
        return int(found.getsockname()[1])


def start(*arguments: object) -> End:
    command = [sys.executable, "-m", "experiments.live.traffic", *map(str, arguments)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
    )
    STARTED.append(process)
    return process


def both(kind: str, *of_sender: object) -> tuple[End, End]:
    port = free_port()
    ends = (
        start("send", "--kind", kind, "--port", port, "--to", LOOPBACK, *of_sender),
        start("receive", "--kind", kind, "--port", port),
    )
    for end in ends:
        assert json.loads(end.stdout.readline())["event"] == "ready"
    return ends


def tell(word: str, value: float, *ends: End) -> None:
    for end in ends:
        end.stdin.write(f"{word} {value}\n")


def said(end: End) -> dict[str, Any]:
    """What it says at its end, which is a good one."""
    last = json.loads(end.stdout.read().splitlines()[-1])  # stdin stays open: without it the end would be cut off
    assert (end.wait(timeout=30), end.stderr.read()) == (0, "")
    assert last["event"] == "end"
    return last


def test_a_stream_arrives_whole_and_both_ends_know() -> None:
    sender, receiver = both("tcp", "--size-bytes", 3_000_001)
    begun = time.monotonic() + 0.1
    tell("go", begun, receiver, sender)
    assert said(receiver)["bytes"] == 3_000_001
    end = said(sender)
    assert end["resends"] < 50  # a busy machine probes a tail or two
    assert end["t"] > begun


def test_datagrams_keep_their_rate_and_are_counted() -> None:
    sender, receiver = both("constant", "--rate-bps", 4e6, "--size-bytes", 200_003)
    begun = time.monotonic()
    tell("go", begun, receiver, sender)
    packets = said(sender)["packets"]
    assert packets == -(-200_003 // 1472)
    tell("sent", packets, receiver)
    end = said(receiver)
    assert (end["bytes"], end["lost"]) == (200_003, 0)
    assert end["t"] - begun > 0.9 * 8 * 200_003 / 4e6


def test_datagrams_that_never_come_are_lost_and_not_waited_for() -> None:
    receiver = start("receive", "--kind", "constant", "--port", port := free_port())
    receiver.stdout.readline()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for number in (0, 3, 4):
            sender.sendto(number.to_bytes(8, "big") + (1000).to_bytes(4, "big") + bytes(988), (LOOPBACK, port))
    tell("sent", 7, receiver)
    end = said(receiver)
    assert (end["bytes"], end["lost"]) == (3000, 2)


@pytest.mark.parametrize(("kind", "rate"), [("tcp", ()), ("constant", ("--rate-bps", 8e6))])
def test_a_flow_without_end_is_cut_off(kind: str, rate: tuple[object, ...]) -> None:
    sender, receiver = both(kind, *rate)
    begun = time.monotonic()
    tell("go", begun, receiver, sender)
    tell("stop", begun + 0.5, receiver, sender)
    end = said(receiver)
    said(sender)
    assert end["bytes"] > 10_000
    assert begun + 0.5 <= end["t"] < begun + 5


def test_one_that_is_told_to_stop_late_stops_the_other() -> None:
    """The run tells one end after the other: a connection that breaks meanwhile is no failure."""
    sender, receiver = both("tcp")
    tell("go", time.monotonic(), receiver, sender)
    time.sleep(0.2)
    tell("stop", time.monotonic(), receiver, sender)
    said(receiver)
    said(sender)


def test_ends_do_not_outlive_who_started_them() -> None:
    for end in both("tcp"):
        end.stdin.close()
        assert end.wait(timeout=30) == 0


def test_a_receiver_that_is_not_there_is_said_in_a_line() -> None:
    sender = start("send", "--kind", "tcp", "--port", free_port(), "--to", LOOPBACK)
    tell("go", time.monotonic(), sender)
    assert (sender.wait(timeout=30), sender.stderr.read()) == (1, "send tcp: [Errno 111] Connection refused\n")


class Loopback:
    """A network whose hosts are all this machine."""

    def ip(self, _host: int) -> str:
        return LOOPBACK

    def popen(self, _host: int, command: list[str], **options: Any) -> subprocess.Popen[bytes]:
        process: subprocess.Popen[Any] = subprocess.Popen(command, **options)
        STARTED.append(process)
        return process


def test_an_end_that_dies_is_named_and_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "beside.toml").write_text(FLOWS)
    scenario = Scenario.load(tmp_path / "beside.toml", check_live)
    flow = scenario.flows[0].model_copy(update={"start_s": 100.0})
    records: list[dict[str, Any]] = []
    traffic = Traffic(scenario.model_copy(update={"flows": (flow,)}), Loopback(), tmp_path, records.append)
    wait(lambda: traffic.look() and not traffic.waiting)
    traffic.go(time.monotonic())
    assert traffic.awaited == ["flow bulk"]
    sender, receiver = STARTED
    sender.kill()
    wait(lambda: traffic.look() or traffic.failures)
    assert traffic.failures == {
        "bulk": f"flow bulk: its 'from' end ended (status -9): {tmp_path / 'flow-bulk-from.log'} is empty"
    }
    assert traffic.awaited == []
    traffic.end()
    assert receiver.wait(timeout=30) == 0
    assert [(record["flow"], record["side"], record["bytes"]) for record in records] == [("bulk", "to", 0)]
    assert traffic.summaries() == [FlowSummary(name="bulk", kind="tcp")]


def wait(until: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 30
    while not until():
        assert time.monotonic() < deadline
        time.sleep(0.01)


FLOWS = (
    BESIDE
    + """
[[flows]]
name = "bulk"
from = "host-3"
to = "host-4"
size_bytes = 4_000_000
start_s = 0.2
[[flows]]
name = "steady"
from = "host-4"
to = "host-0"
kind = "constant"
rate = "2 Mb/s"
[[flows]]
name = "short"
from = "host-0"
to = "host-4"
kind = "constant"
rate = "1 Mb/s"
duration_s = 0.5
"""
)


@pytest.mark.timeout(240)
def test_flows_share_mininet_with_a_job(root: None, tmp_path: Path) -> None:
    (tmp_path / "beside.toml").write_text(FLOWS)
    summary, folder = run(
        Scenario.load(tmp_path / "beside.toml", check_live), tmp_path / "results", Console(quiet=True)
    )
    virtual, _ = evaluate(Scenario.load(tmp_path / "beside.toml", check_virtual))
    assert summary.incomplete is None
    assert summary.jobs[0].jct_s is not None
    assert summary.flows is not None
    assert virtual.flows is not None
    bulk, steady, short = summary.flows
    assert (bulk.bytes, bulk.kind, bulk.lost) == (4_000_000, "tcp", None)
    assert bulk.goodput_bps == pytest.approx(virtual.flows[0].goodput_bps, rel=0.25)
    assert bulk.resends is not None
    assert steady.goodput_bps == pytest.approx(2e6, rel=0.1)
    assert steady.seconds > bulk.seconds
    assert (steady.lost, steady.resends) == (0, None)
    assert short.seconds == pytest.approx(0.5, abs=0.2)
    assert short.bytes == pytest.approx(0.5 * 1e6 / 8, rel=0.2)
    events = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    assert sorted((record["flow"], record["side"]) for record in events if record["event"] == "flow") == [
        (name, side) for name in ("bulk", "short", "steady") for side in ("from", "to")
    ]
    left = [child.cmdline() for child in psutil.Process(os.getpid()).children(recursive=True)]
    assert not [words for words in left if "experiments.live.traffic" in words]
