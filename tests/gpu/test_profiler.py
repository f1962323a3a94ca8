"""Kernels and gaps from a profiler's trace, and `esa gpu profile` where there is a GPU and where there is none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from esa.errors import BadInput
from esa.gpu import read_kernels
from esa.gpu.profiler import Measured, by_iteration, by_position, gaps_text, orion_text, parse_trace
from experiments.cli import app
from experiments.laboratory.gpu_profile import MODELS, runner

pytestmark = pytest.mark.timeout(120)


def trace(*kernels: tuple[str, float, float, int]) -> str:
    """name, start and length in us, blocks; beside them what is no kernel."""
    events = [
        {
            "ph": "X", "cat": "kernel", "name": name, "ts": start, "dur": length,
            "args": {"grid": [blocks, 1, 1], "block": [128, 1, 1], "stream": 7},
        }
        for name, start, length, blocks in kernels
    ]  # fmt: skip
    return json.dumps({"traceEvents": [{"ph": "X", "cat": "gpu_memcpy", "name": "Memcpy", "ts": 0, "dur": 1}, *events]})


TWO = trace(("a", 10, 5, 4), ("b", 20, 2.5, 1000), ("a", 110, 7, 4), ("b", 125, 3.5, 1000))


def test_durations_and_gaps_are_means_by_position() -> None:
    found = by_position(by_iteration(parse_trace(TWO), 2))
    assert found == [Measured("a", 4, 6000, 6500), Measured("b", 1000, 3000, None)]
    assert gaps_text(found) == "position,gap_ns\n0,6500\n1,\n"


def test_what_is_written_is_read_as_orions_files(tmp_path: Path) -> None:
    path = tmp_path / "kernels"
    path.write_text(orion_text(by_position(by_iteration(parse_trace(TWO), 2)), sms=108))
    kernels = read_kernels(path)
    assert kernels.names == ("a", "b")
    assert kernels.duration_ns.tolist() == [6000, 3000]
    assert kernels.sms.tolist() == [4, 108]


def test_kernels_that_overlap_leave_no_gap() -> None:
    found = by_position(by_iteration(parse_trace(trace(("a", 0, 10, 1), ("b", 5, 10, 1))), 1))
    assert found[0].gap_ns == 0


@pytest.mark.parametrize(
    ("text", "iterations", "error"),
    [
        ("no JSON", 1, "trace: no trace of torch.profiler"),
        ("[]", 1, "trace: no trace of torch.profiler"),
        (trace(), 1, "trace: no kernels; allowed"),
        (TWO, 3, "trace: 4 kernels in 3 iterations; allowed: as many in each"),
        (TWO, 4, "trace: iteration 1 has other kernels than the first"),
    ],
)
def test_other_traces_are_refused(text: str, iterations: int, error: str) -> None:
    with pytest.raises(BadInput, match=error):
        by_iteration(parse_trace(text), iterations)


@pytest.mark.parametrize("model", MODELS)
def test_models_run(model: str) -> None:
    found = runner(model, 1, "cpu")()
    assert isinstance(found, torch.Tensor)
    assert found.shape[0] == 1


def test_wrong_options_are_refused_by_name() -> None:
    for options, error in (
        (["--model", "bert"], "model: unknown model 'bert'; allowed: transformer, convolutions"),
        (["--iterations", "0"], "iterations: 0; allowed"),
    ):
        done = CliRunner().invoke(app, ["gpu", "profile", *options])
        assert done.exit_code == 2
        assert error in done.output


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_one_line_says_so(tmp_path: Path) -> None:
    out = tmp_path / "kernels" / "one"
    done = CliRunner().invoke(app, ["gpu", "profile", "--out", str(out)])
    assert done.exit_code == 1
    assert done.output.startswith("esa: gpu profile: no GPU here (")
    assert done.output.count("\n") == 1
    assert not out.parent.exists()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_on_a_gpu_kernels_and_gaps_are_written(tmp_path: Path) -> None:
    out = tmp_path / "kernels"
    done = CliRunner().invoke(app, ["gpu", "profile", "--iterations", "5", "--out", str(out)])
    assert done.exit_code == 0, done.output
    kernels = read_kernels(out)
    assert len(kernels) > 10
    assert len((tmp_path / "kernels.gaps.csv").read_text().splitlines()) == 1 + len(kernels)


def test_a_scenario_needs_no_name_of_a_command(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["gpu", str(tmp_path / "none.toml")])
    assert done.exit_code == 2
    assert "cannot read" in done.output
    assert "profile" in CliRunner().invoke(app, ["gpu", "--help"]).output
