"""A short run, whole; and runs that are cut short leave nothing behind but what they measured."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from esa.report import Run, Summary, load_run
from esa.report.live_trace import live_trace
from esa.report.reading import read_run
from experiments.live.check import check_live
from experiments.live.run import run
from experiments.specs.scenario import Scenario, sums_by
from tests.dissecting import check_capture
from tests.experiments.started import STARTED
from tests.metrics.asking import asked, free_ports, values
from tests.report.trace_format import problems

LIMIT_S = 100.0  # of a machine that does other things, too
pytestmark = pytest.mark.timeout(3 * LIMIT_S)

SHORT = """
name = "short"
[network]
rate = "100 Mb/s"
[[jobs]]
name = "mlp"
model = "mlp"
iterations = 6
window = 64
[[jobs]]
name = "cnn"
model = "cnn"
iterations = 8
batch_size = 16
learning_rate = 0.02
window = 64
submit_s = 0.5
"""


def load(tmp_path: Path, text: str = SHORT, **overrides: object) -> Scenario:
    path = tmp_path / "short.toml"
    path.write_text(text)
    return Scenario.load(path, check_live, **overrides)


def run_quietly(scenario: Scenario, results: Path, **options: Any) -> tuple[Summary, Path]:
    return run(scenario, results, Console(quiet=True), **options)


def leftovers(pid: int, tmp_path: Path) -> list[str]:
    """Interfaces of the run with this process id, processes that work in this folder."""
    interfaces = [path.name for path in Path("/sys/class/net").iterdir() if path.name.startswith(f"esa{pid}p")]
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    return interfaces + [line for line in listed.splitlines() if str(tmp_path) in line or f"@esa{pid}p" in line]


def test_esa_and_gloo_train_to_the_same_loss(root: None, tmp_path: Path) -> None:
    metrics = free_ports(2)
    seen = threading.Event()
    threading.Thread(target=_until_counted, args=(metrics, seen), daemon=True).start()
    esa, folder = run_quietly(load(tmp_path, policy="esa"), tmp_path, pcap=True, metrics=metrics)
    assert seen.is_set()
    gloo, folder_of_gloo = run_quietly(load(tmp_path, **sums_by("gloo")), tmp_path)
    assert esa.incomplete is gloo.incomplete is None
    for ours, theirs in zip(esa.jobs, gloo.jobs, strict=True):
        assert ours.final_loss == pytest.approx(theirs.final_loss, rel=0.01)
        assert ours.jct_s is not None
        assert ours.jct_s > 0
        assert ours.compute_s is not None
        assert ours.fragments > 0 == theirs.fragments
    assert esa.total("completed") > 0
    assert gloo.switch_counters == {}
    # What a run leaves.
    again = load_run(folder)
    assert again.summary == esa
    assert Scenario.load(folder / "scenario.toml") == load(tmp_path, policy="esa")
    assert {record["event"] for record in again.records} == {"ready", "submit", "iteration", "occupancy", "end"}
    assert len([r for r in again.of("iteration") if r["job"] == "cnn" and r["rank"] == 1]) == 8
    _check_times_of_buckets(again, load_run(folder_of_gloo))
    assert problems(live_trace(read_run(folder)).text()) == []
    submitted = {record["job"]: record["t"] for record in again.of("submit")}
    assert submitted["cnn"] - submitted["mlp"] == pytest.approx(0.5, abs=0.3)
    captures = sorted((folder / "pcaps").glob("*_in.pcap"))
    assert any(capture.stat().st_size > 1000 for capture in captures)
    if shutil.which("tshark"):  # where it is missing, tests/test_wireshark.py is skipped by name
        assert sum(check_capture(capture, tmp_path, packets=200) for capture in captures) > 200
    assert leftovers(os.getpid(), tmp_path) == []


def _until_counted(metrics: str, seen: threading.Event) -> None:
    """Set it once the run says, by name, that a job's gradients have come."""
    while not seen.wait(0.2):
        with contextlib.suppress(OSError):
            if values(asked(f"http://{metrics}/metrics")).get(("esa_job_gradients_total", ("mlp",)), 0) > 0:
                seen.set()


def _check_times_of_buckets(esa: Run, gloo: Run) -> None:
    """Of every bucket of every iteration, in the order of its way."""
    for record in (*esa.of("iteration"), *gloo.of("iteration")):
        assert record["buckets"]
        for _, *times in record["buckets"]:
            # Between an iteration's end and its line its rank reads what was counted.
            assert record["t"] - record["seconds"] - 0.2 <= times[0] <= times[-1] <= record["t"]
    for record in esa.of("iteration"):
        for _, *times in record["buckets"]:
            launched, taken_up, quantised, first_fed, last_fed, first_sum, last_sum, written = times
            assert launched <= taken_up <= quantised
            assert first_fed <= last_fed <= last_sum <= written
            assert first_fed <= first_sum <= last_sum
    for record in esa.of("occupancy"):
        assert set(record["counters"]) == {"mlp", "cnn"}
    assert esa.of("iteration")[-1]["via_ps"] > 0 or not esa.summary.total("preemptions")


CONTENDED = SHORT.replace('name = "short"', 'name = "short"\naggregators = 16').replace("submit_s = 0.5", "")


@pytest.fixture(scope="module")
def contended(root: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Summary]:
    """By policy, a run of two jobs that contend for few rows."""
    folder = tmp_path_factory.mktemp("contended")
    return {policy: run_quietly(load(folder, CONTENDED, policy=policy), folder)[0] for policy in ("esa", "atp")}


# That `switchml` does neither: tests/p4/test_rules.py and tests/sim/test_exactness.py.
def test_few_aggregators_make_esa_preempt_and_atp_collide(contended: dict[str, Summary]) -> None:
    esa, atp = contended["esa"], contended["atp"]
    assert all(esa.total(counter) > 0 for counter in ("preemptions", "evicted", "reminders"))
    assert atp.total("collisions") > 0
    assert atp.total("preemptions") == 0
    losses = [[job.final_loss for job in summary.jobs] for summary in (esa, atp)]
    assert losses[0] == losses[1], "sums are exact whatever the policy"


def test_pss_share_their_jobs_fragments_and_sums_are_the_same(contended: dict[str, Summary], tmp_path: Path) -> None:
    one = contended["esa"]
    text = CONTENDED.replace("window = 64", "window = 64\nservers = 2")
    two, folder = run_quietly(load(tmp_path, text, policy="esa"), tmp_path)
    assert two.incomplete is None
    assert [job.final_loss for job in two.jobs] == [job.final_loss for job in one.jobs]
    assert two.total("evicted") > 0
    for job in two.jobs:
        counted = [json.loads((folder / "jobs" / f"{job.name}-ps-{number}.json").read_text()) for number in (0, 1)]
        assert all(each["via_ps"] > 0 and each["partials"] > 0 and each["malformed"] == 0 for each in counted)


def test_of_two_jobs_that_find_too_few_rows_one_is_a_ring_of_the_same_integers(
    contended: dict[str, Summary], tmp_path: Path
) -> None:
    text = CONTENDED.replace("aggregators = 16", "aggregators = 8")  # an eighth of one window
    run, folder = run_quietly(load(tmp_path, text, policy="esa"), tmp_path)
    assert run.incomplete is None
    assert run.unseated == 1
    (ring,) = (job for job in run.jobs if job.unseated)
    (other,) = (job for job in run.jobs if not job.unseated)
    assert ring.fragments == 0 < other.fragments
    assert set(run.switch_counters) == {other.name}
    assert not list((folder / "jobs").glob(f"{ring.name}-ps*"))
    assert [job.final_loss for job in run.jobs] == [job.final_loss for job in contended["esa"].jobs]


COMMAND = [sys.executable, "-m", "experiments", "run"]
RANKS = 4  # of both jobs


def start(tmp_path: Path, text: str = SHORT) -> subprocess.Popen[str]:
    path = tmp_path / "cut.toml"
    path.write_text(text.replace("iterations = 6", "iterations = 5000"))
    process = subprocess.Popen(
        [*COMMAND, str(path), "--results", str(tmp_path / "results")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    STARTED.append(process)
    return process


def wait_for_iterations(tmp_path: Path) -> Path:
    """The folder of a run whose every rank has finished one."""
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        for path in tmp_path.glob("results/*/records.jsonl"):
            whole = [line for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
            records = [json.loads(line) for line in whole if '"iteration"' in line]
            if len({(record["job"], record["rank"]) for record in records}) == RANKS:
                return path.parent
        time.sleep(0.1)
    raise AssertionError(f"no iteration within {LIMIT_S} s")


def _imports(pid: int) -> bool:
    return "_multiarray_umath" in Path(f"/proc/{pid}/maps").read_text()  # NumPy's


def _has_network(pid: int) -> bool:
    return any(path.name.startswith(f"esa{pid}p") for path in Path("/sys/class/net").iterdir())


def _has_switch(pid: int) -> bool:
    return any(f"@esa{pid}p".encode() in _command_of(path) for path in Path("/proc").iterdir() if path.name.isdigit())


@pytest.mark.parametrize("begun", [_imports, _has_network, _has_switch])  # while it trains: test_watched_run.py
def test_ctrl_c_at_any_time_leaves_nothing_behind(root: None, tmp_path: Path, begun: Callable[[int], bool]) -> None:
    process = start(tmp_path)
    deadline = time.monotonic() + LIMIT_S
    while not begun(process.pid):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: everybody in the group
    _, errors = process.communicate(timeout=LIMIT_S)
    # While it imports its modules it ends by the signal itself, a shell's 130.
    assert process.returncode in (130, -signal.SIGINT), errors
    assert "Traceback" not in errors
    assert leftovers(process.pid, tmp_path) == []


def test_a_lost_worker_fails_its_job_alone_and_is_named(root: None, tmp_path: Path) -> None:
    process = start(tmp_path)
    folder = wait_for_iterations(tmp_path)
    victim = next(
        int(path.name)
        for path in Path("/proc").iterdir()
        if path.name.isdigit() and f"{folder}/jobs/mlp.task.json 1".encode() in _command_of(path)
    )
    os.kill(victim, signal.SIGKILL)
    _, errors = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 1
    assert "job mlp rank 1 ended by signal 9 before its training was done" in errors
    assert "mlp-1.log" in errors
    summary = json.loads((folder / "summary.json").read_text())
    assert "rank 1" in summary["incomplete"]
    mlp, cnn = summary["jobs"]
    assert mlp["jct_s"] is None
    assert cnn["jct_s"] > 0, "the other job is done"
    (said,) = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines() if '"error"' in line]
    assert (said["job"], said["rank"]) == ("mlp", 0)
    assert "rank 1 (10.0.0.2) has ended: it ended without a word" in said["message"]
    assert leftovers(process.pid, tmp_path) == []


def test_a_run_survives_a_killed_switch_and_a_killed_ps(contended: dict[str, Summary], tmp_path: Path) -> None:
    undisturbed = contended["esa"]  # sums are exact whatever the rows
    text = SHORT.replace("submit_s = 0.5", "")
    over = threading.Event()

    def kill() -> None:
        while not over.wait(0.05):
            if any('"iteration"' in path.read_text() for path in tmp_path.glob("*-esa-*/records.jsonl")):
                os.kill(one(f"@esa{os.getpid()}p", "esa.switch"), signal.SIGKILL)
                os.kill(one(f"{tmp_path}", "esa.hosts"), signal.SIGKILL)
                return

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        disturbed, folder = run_quietly(load(tmp_path, text, policy="esa"), tmp_path)
    finally:
        over.set()
        killer.join()
    assert {record["what"] for record in load_run(folder).of("restart")} >= {"the switch"}
    assert disturbed.incomplete is None
    assert [job.final_loss for job in disturbed.jobs] == [job.final_loss for job in undisturbed.jobs]
    assert disturbed.total("completed") > 0
    assert leftovers(os.getpid(), tmp_path) == []


def one(word: str, module: str) -> int:
    """The process that runs `module` with `word` in its arguments."""
    commands = ((path, _command_of(path)) for path in Path("/proc").iterdir() if path.name.isdigit())
    return next(int(path.name) for path, c in commands if module.encode() in c and word.encode() in c)


def _command_of(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except OSError:
        return b""
