"""`esa gpu`: a scenario's tasks, figures and files."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from esa.report import load_run
from experiments.cli import app
from experiments.specs.gpu import GpuScenario

pytestmark = pytest.mark.timeout(300)  # the first one compiles the device

SHIPPED = Path(__file__).parents[2] / "experiments" / "scenarios" / "gpu" / "detector.toml"
KERNELS = "Name,Profile,Memory_footprint,SM_usage,Duration\nConv,1,0,98,30000\nBatchNorm,0,0,64,20000\n"
SCENARIO = """name = "two"
[rules]
hook_us = 0
epsilon_us = 0
[measuring]
by = "position"
[[tasks]]
name = "holder"
priority = 0
kernels = "model"
issue_us = 100
wait_every = 1
requests = 3
[[tasks]]
name = "filler"
priority = 5
kernels = "model"
issue_us = 1
start_us = 110
requests = 2
"""


def scenario(folder: Path, text: str = SCENARIO) -> Path:
    (folder / "model").write_text(KERNELS)
    path = folder / "scenario.toml"
    path.write_text(text)
    return path


def test_figures_and_files_of_a_run(tmp_path: Path) -> None:
    done = CliRunner().invoke(
        app, ["gpu", str(scenario(tmp_path)), "--results", str(tmp_path / "results"), "--surface"]
    )
    assert done.exit_code == 0, done.output
    assert "JCT by time slices / by fikit" in done.output
    (folder,) = (tmp_path / "results").iterdir()
    summary = load_run(folder).summary
    holder, filler = summary.jobs
    # 100 + 30 + 100 + 20 us, whoever fills its gaps; of the filler's four kernels three fit into the first.
    assert (holder.jct_s, holder.inflation) == (pytest.approx(250e-6), pytest.approx(1))
    assert filler.jct_s is not None
    assert summary.gpu is not None
    assert [task.filled for task in summary.gpu.tasks] == [0, 4]
    assert summary.gpu.tasks[0].worst_delay_s == 0
    busy = sum(task.busy_s for task in summary.gpu.tasks)
    assert busy + summary.gpu.idle_s == pytest.approx(summary.gpu.elapsed_s)
    assert (folder / "requests.csv").read_text().splitlines()[1] == "holder,0,250000,250000,0"
    assert GpuScenario.load(folder / "scenario.toml") == GpuScenario.load(tmp_path / "scenario.toml")


def test_rules_one_after_the_other_and_equal_bytes(tmp_path: Path) -> None:
    path = scenario(tmp_path, SHIPPED.read_text().replace("requests = 50", "requests = 3"))
    for results in ("one", "other"):
        arguments = ["gpu", str(path), "--rule", "time-slice,fikit", "--results", str(tmp_path / results)]
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == 0, done.output
    for rule in ("time-slice", "fikit"):
        one, other = (next((tmp_path / results).glob(f"*-{rule}-*")) for results in ("one", "other"))
        for name in ("summary.json", "requests.csv", "scenario.toml"):
            assert (one / name).read_bytes() == (other / name).read_bytes()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (('name = "two"', 'name = "two"\nrule = "mps"'), "rule: unknown rule 'mps'; allowed: time-slice, fifo, "),
        (("priority = 5", "priority = 10"), "tasks[1].priority: 10: input should be less than 10"),
        (('kernels = "model"\nissue_us = 1\n', "issue_us = 1\n"), "tasks[1].kernels: none; allowed: one of both"),
        (('"position"', '"name"'), "measuring.by: unknown by 'name'; allowed: identity, position"),
        (('name = "filler"', 'name = "holder"'), "tasks: two of name 'holder'"),
        (('"model"\nissue_us = 1\n', '"no-model"\nissue_us = 1\n'), "no-model: cannot read it"),
        (("requests = 2", "requests = 2\nbackground = true\ninterval_us = 5"), "interval_us: in the background"),
    ],
)
def test_what_cannot_be_run_is_refused_before_it_starts(tmp_path: Path, change: tuple[str, str], problem: str) -> None:
    path = scenario(tmp_path, SCENARIO.replace(*change))
    done = CliRunner().invoke(app, ["gpu", str(path), "--results", str(tmp_path / "results")])
    assert done.exit_code == 2, done.output
    assert problem in " ".join(done.output.split())
    assert not [*(tmp_path / "results").glob("*")]
