"""Every command ends alike: bad input is one line and 2, an interrupt 130 and a line that says what is kept."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from controller import cli as esactl
from esa.hosts.__main__ import main as hosts
from experiments import cli
from tests.experiments.started import STARTED
from tests.experiments.test_run import leftovers

SCENARIO = """
name = "long"
[live]
switch = "embedded"
[network]
hosts = 3
rate = "100 Mb/s"
[[jobs]]
name = "mlp"
model = "mlp"
workers = 2
quantisation = "fixed"
iterations = 5000
"""
SIMULATED = """
name = "long"
aggregators = 16
[network]
hosts = 3
rate = "100 Gb/s"
[[jobs]]
name = "a"
workers = 2
iterations = 100_000
model = "communication-heavy"
scale = 0.0002
"""
BAD = {
    "up": (["--lanes", "3"], "lanes: no build with 3 lanes; allowed: "),
    "env": (["a", "b"], "unexpected extra argument"),
    "down": (["a", "b"], "unexpected extra argument"),
    "launch": (["absent.py"], "launch: there is no script absent.py"),
    "port": (["1", "--host-machine", "x"], "host-machine: 'x' is not an IP address"),
    "attach": (["x", "--port", "1", "--switch-machine", "10.1.2.3"], "address: 'x' is not an address with its network"),
    "detach": (["--nosuch"], "No such option"),
    "job new": (["--workers", ",", "--server", "10.0.0.1"], "workers: none given"),
    "job check": (["--device-id", "-1", "job.json"], "'--device-id'"),
    "figures": (["nosuch"], "unknown figure 'nosuch'; allowed: claim"),
    "claims": (["map"], "unexpected extra argument"),
    "study": (["nosuch"], "unknown study 'nosuch'; allowed: aryl"),
    "levels": (["--seeds", "0"], "'--seeds'"),
    "gaps": (["--policy", "p4"], "unknown policy 'p4'; allowed: esa"),
    "laboratory": (["absent.toml"], "cannot read absent.toml"),
    "schedulers": (["absent.toml"], "cannot read absent.toml"),
    "ones": (["absent"], "absent: no folder traces"),
    "reality": (["--within", "2"], "within: 2; allowed: above 0, below 1"),
    "congestion": (["--nosuch"], "No such option"),
    "recovery": (["--repeats", "1"], "'--repeats'"),
    "soak": (["--minutes", "0"], "minutes: 0; allowed: above 0, at most 10,000"),
    "again": (["--policies", "best"], "policies: 'best'; allowed: esa, atp, switchml, ps"),
    "bench": (["--seed", "1"], "No such option"),
    "perplexity": (["--steps", "0"], "steps: 0, windows: 4; allowed: 1 to 100000"),
    "accuracy": (["--workers", "0"], "'--workers'"),
    "run": (["absent.toml"], "cannot read absent.toml"),
    "sim": (["absent.toml"], "cannot read absent.toml"),
    "sweep": (["absent.toml"], "cannot read absent.toml"),
    "cluster": (["absent.toml"], "cannot read absent.toml"),
    "gpu share": (["absent.toml"], "cannot read absent.toml"),
    "gpu profile": (["--iterations", "0"], "iterations: 0; allowed: 1 to 10000"),
    "serve": (["absent.toml"], "cannot read absent.toml"),
    "fastserve": (["--seeds", "1"], "'--seeds'"),
    "together": (["absent.toml"], "cannot read absent.toml"),
    "search": (["absent.toml"], "cannot read absent.toml"),
    "vidur-bench": (["absent.toml"], "cannot read absent.toml"),
    "exegpt": (["--limits", "soon"], "--limits: 'soon'; allowed: seconds, separated by commas"),
    "kv": (["absent.toml"], "cannot read absent.toml"),
    "trace": (["absent"], "absent"),
    "doctor": (["now"], "unexpected extra argument"),
    "wireshark": (["now"], "unexpected extra argument"),
    "grafana": (["now"], "unexpected extra argument"),
    "dashboard": (["absent"], "absent: No such file or directory"),
    "explain": (["absent", "3"], "absent"),
    "report": (["absent"], "not the folder of a run"),
    "stop": (["now"], "unexpected extra argument"),
    "switch": (["--nosuch"], "--nosuch"),
}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("live.toml").write_text(SCENARIO)
    Path("sim.toml").write_text(SIMULATED)
    Path("sweep.toml").write_text('name = "long"\nscenario = "sim.toml"\nseeds = 2\n[axes]\npolicy = ["esa", "ps"]\n')


def test_the_table_has_every_command() -> None:
    named = {command.name for command in cli.app.registered_commands}
    for group in cli.app.registered_groups:
        assert group.typer_instance is not None
        named |= {f"{group.name} {command.name}" for command in group.typer_instance.registered_commands}
    assert named == set(BAD)


@pytest.mark.parametrize("command", BAD)
def test_bad_input_is_one_line_and_2(command: str, capfd: pytest.CaptureFixture[str]) -> None:
    arguments, message = BAD[command]
    ended = CliRunner().invoke(cli.app, [*command.split(), *arguments])
    said = ended.stderr + capfd.readouterr().err  # the switch's command writes to the process's own
    assert ended.exit_code == 2, ended.output
    assert message.casefold() in said.casefold()
    assert said.startswith(("esa: ", "esa-switch: "))
    assert said.count("\n") == 1
    assert not Path("results").exists()


@pytest.mark.parametrize("command", ["run", "sim", "sweep", "figures", "reality", "recovery", "soak", "bench"])
def test_results_that_cannot_be_written_are_refused(command: str, root: None) -> None:
    Path("taken").write_text("a file")
    file = {"run": ["live.toml"], "reality": ["live.toml"], "sim": ["sim.toml"], "sweep": ["sweep.toml"]}
    ended = CliRunner().invoke(cli.app, [command, *file.get(command, []), "--results", "taken"])
    assert ended.exit_code == 2, ended.output
    assert ended.stderr.startswith("esa: results: cannot make the folder taken")
    assert ended.stderr.count("\n") == 1


def test_other_programs_end_alike(capsys: pytest.CaptureFixture[str]) -> None:
    assert hosts(["server", "--job", "absent.json"]) == 2
    assert capsys.readouterr().err == "esa.hosts: [Errno 2] No such file or directory: 'absent.json'\n"
    assert esactl.run(["--election-id", "x", "counters"]) == 2
    assert capsys.readouterr().err == "esactl: election-id: 'x' is not HIGH,LOW\n"
    assert esactl.run(["--address", "127.0.0.1:1", "counters"]) == 1
    assert capsys.readouterr().err.count("\n") == 1


# Interrupts


def interrupted(arguments: list[str], under_way: Callable[[], bool], more_s: float) -> str:
    """What a command says on stderr when it gets SIGINT; `more_s` after it is under way."""
    process = subprocess.Popen(
        [sys.executable, "-m", "experiments", *arguments],
        env=os.environ | {"ESA_RUN_FOLDER": str(Path("racks").absolute())},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    STARTED.append(process)
    deadline = time.monotonic() + 60
    while not under_way():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(more_s)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=150)  # a simulator that is being compiled ends afterwards
    # Python ends by SIGINT itself where the interrupt came inside an exec of text (a dataclass's, say), although it was
    # caught; to a shell both are 130.
    assert process.returncode in (130, -signal.SIGINT), said
    assert leftovers(process.pid, Path.cwd()) == []
    return said


@pytest.mark.slow
@pytest.mark.timeout(300)  # on a cold machine it compiles the simulator
@pytest.mark.parametrize(
    ("arguments", "folder", "kept"),
    [
        (["sim", "sim.toml"], "results/long-*", "what was simulated until then is kept"),
        (["sweep", "sweep.toml"], "results/sweep-long", "finished points are kept, the same command goes on"),
        (["figures", "claim", "--quick"], "results/figures/quick", "finished simulations are kept, the same command"),
    ],
)
def test_an_interrupted_simulation_says_what_is_kept(arguments: list[str], folder: str, kept: str) -> None:
    said = interrupted(arguments, lambda: any(Path().glob(folder)), 1.0)
    assert said.startswith(f"esa: interrupted; {kept}")
    assert said.count("\n") == 1


# Early or in the middle; a run at any time: tests/experiments/test_run.py.
@pytest.mark.parametrize(
    ("arguments", "folder", "kept", "more_s"),
    [
        (["run", "live.toml"], "results/long-*", "everything is stopped, what was measured is kept", 0.5),
        (["reality", "live.toml", "--policy", "esa"], "results/reality-*", "what was measured is kept", 3.0),
        (["recovery"], "results", "the lines above are all that there is", 3.0),
        (["soak", "--seed", "4"], "results/soak-*/4", "the table says what was seen until then", 0.5),
        (["bench"], "results", "parts that were through are in results/bench.json", 0.5),
        (["again", "--policies", "esa"], "racks/again-*", "the rack is down, nothing is kept", 3.0),
    ],
)
def test_an_interrupted_study_says_what_is_kept(
    arguments: list[str], folder: str, kept: str, more_s: float, root: None
) -> None:
    said = interrupted(arguments, lambda: any(Path().glob(folder)), more_s)
    assert said.startswith(f"esa: interrupted; {kept}")
    assert said.count("\n") == 1
