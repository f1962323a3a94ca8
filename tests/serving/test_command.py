"""`esa serve`: a scenario's requests, figures and files."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from esa.errors import BadInput
from esa.report import load_run
from esa.serving.batches import decode_shape, prompt_shape
from esa.serving.costs.stages import stage_times
from experiments.cli import app
from experiments.serving.pictures import held, shares
from experiments.specs.serving import ServingScenario

SHIPPED = sorted((Path(__file__).parents[2] / "experiments" / "scenarios" / "serving").glob("*.toml"))
TRACE = """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:00:00.0000000,200,3
2023-11-16 18:00:09.0000000,100,1
2023-11-16 18:00:10.0000000,5000,1
"""
SCENARIO = """name = "two"
scheduler = "vllm"
[replicas]
model = "llama-2-7b"
gpu = "a100"
[trace]
format = "azure"
path = "trace.csv"
"""


DRAWN = """[drawn]
count = 2
lengths = "exegpt-s"
rate = 1000
"""


def scenario(folder: Path, text: str = SCENARIO) -> Path:
    (folder / "trace.csv").write_text(TRACE)
    path = folder / "scenario.toml"
    path.write_text(text)
    return path


def test_a_trace_is_served_and_its_figures_and_requests_are_written(tmp_path: Path) -> None:
    arguments = ["serve", str(scenario(tmp_path)), "--results", str(tmp_path / "results"), "--draw"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "two: 2 requests; 0 rows without an answer, 1 of too many tokens; 1 of llama-2-7b on a100" in done.output
    (folder,) = (tmp_path / "results").iterdir()
    found = load_run(folder).summary.serving
    assert found is not None
    times = stage_times("llama-2-7b", "a100", 1, 1)
    first, second = times.stage_ns(prompt_shape(200)), times.stage_ns(prompt_shape(100))
    more = sum(times.stage_ns(decode_shape(1, 200 + k)) for k in (1, 2))
    assert found.ttft is not None
    assert found.ttft.mean == pytest.approx((first + second) / 2e9)
    assert found.latency_per_token is not None
    assert found.latency_per_token.mean == pytest.approx(((first + more) / 3 + second) / 2e9)
    assert (found.requests, found.finished, found.restarts) == (2, 2, 0)
    assert (folder / "serving.png").read_bytes().startswith(b"\x89PNG")
    with (folder / "requests.csv").open() as file:
        rows = [*csv.DictReader(file)]
    assert [int(row["end_ns"]) for row in rows] == [first + more, 9 * 10**9 + second]
    assert ServingScenario.load(folder / "scenario.toml") == ServingScenario.load(tmp_path / "scenario.toml")


def test_a_picture_counts_who_is_there_and_what_is_within_a_time() -> None:
    seconds, count = held([0, 10**9, 10**9], [2 * 10**9])
    assert [*zip(seconds, count, strict=True)] == [(0, 0), (0, 1), (1, 2), (1, 3), (2, 2)]
    seconds, part = shares({3 * 10**9: 1, 10**9: 3})
    assert [*zip(seconds, part, strict=True)] == [(1, 0.75), (3, 1)]


@pytest.mark.slow
def test_equal_scenarios_give_equal_bytes(tmp_path: Path) -> None:
    path = scenario(tmp_path, (SHIPPED[0].parent / "fastserve.toml").read_text().replace("count = 200", "count = 12"))
    for results in ("one", "other"):
        arguments = ["serve", str(path), "--scheduler", "fastserve,fcfs", "--results", str(tmp_path / results)]
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == 0, done.output
    one, other = (sorted((tmp_path / results).iterdir()) for results in ("one", "other"))
    assert len(one) == len(other) == 2
    for mine, theirs in zip(one, other, strict=True):
        for name in ("summary.json", "requests.csv", "scenario.toml"):
            assert (mine / name).read_bytes() == (theirs / name).read_bytes()
        assert json.loads((mine / "summary.json").read_text())["serving"]["finished"] == 12


NETWORK = """
[[training]]
name = "beside"
model = "communication-heavy"
hosts = [0, 1]
[[flows]]
name = "keys-and-values"
from = "host-1"
to = "host-0"
kind = "constant"
rate = "1 Gb/s"
[network]
hosts = 2
layers = 1
"""


def test_a_training_beside_is_in_the_summary_and_the_scenario_is_read_again(tmp_path: Path) -> None:
    text = SCENARIO.replace('"a100"', '"a100"\ntp = 2').replace('"trace.csv"', '"trace.csv"\npace = 1000')
    path = scenario(tmp_path, text + NETWORK)
    arguments = ["serve", str(path), "--carrier", "esa,ring", "--results", str(tmp_path / "results")]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    folders = sorted((tmp_path / "results").iterdir())
    assert [folder.name.rsplit("-", 2)[0] for folder in folders] == ["two-vllm-esa", "two-vllm-ring"]
    for folder in folders:
        summary = load_run(folder).summary
        assert summary.serving is not None
        assert summary.serving.finished == 2
        assert summary.switch == "virtual"
        assert [job.name for job in summary.jobs] == ["beside"]
        beside = summary.serving.beside["beside"]
        assert beside is not None
        assert beside.mean > 3.75e-3
        assert summary.flows is not None
        assert summary.flows[0].goodput_bps == pytest.approx(1e9, rel=0.05)
        again = ServingScenario.load(folder / "scenario.toml")
        assert again.network is not None
        assert again.network.carrier == summary.serving.carrier


def test_who_slows_whom_is_a_table_of_ratios(tmp_path: Path) -> None:
    text = SCENARIO.replace('"a100"', '"a100"\ntp = 2') + NETWORK
    path = scenario(tmp_path, text[: text.index("[trace]")] + DRAWN + NETWORK)
    done = CliRunner().invoke(app, ["together", str(path), "--carriers", "ring", "--seeds", "2"])
    assert done.exit_code == 0, done.output
    assert "ttft, mean" in " ".join(done.output.split())
    assert "beside the" in done.output
    both = CliRunner().invoke(
        app, ["together", str(path), "--carriers", "ring,switchml", "--rows", "256", "--seeds", "2"]
    )
    assert "beside: no room for a slice of 256 rows in 256 rows" in f"{both.output} {both.exception}"
    assert "sums by" not in both.output


def test_without_a_training_it_is_over_the_first_carriers(tmp_path: Path) -> None:
    text = SCENARIO.replace('"a100"', '"a100"\ntp = 2')
    network = "[network]\nhosts = 2\nidle = true\n"
    path = scenario(tmp_path, text[: text.index("[trace]")] + DRAWN.replace("count = 2", "count = 4") + network)
    arguments = ["together", str(path), "--carriers", "ring,esa", "--rows", "64,128", "--seeds", "2"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "over ring's" in " ".join(done.output.split())
    lines = [line for line in done.output.splitlines() if "ttft, mean" in line]
    assert [[word in line for word in ("ring", " 64 ", " 128 ")] for line in lines] == [
        [True, False, False],
        [False, True, False],
        [False, False, True],
    ]
    wrong = CliRunner().invoke(app, ["together", str(path), "--carriers", "ring,switchml", "--rows", "64"])
    assert wrong.exit_code != 0
    assert "sums by" not in wrong.output
    assert "no room for a slice" in f"{wrong.output} {wrong.exception}"


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_scenarios_are_valid(path: Path) -> None:
    assert ServingScenario.load(path).to_toml()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (('"vllm"', '"vlm"'), "scheduler: unknown scheduler 'vlm'; allowed: faster-transformer, orca, vllm"),
        (('"azure"', '"mooncake"'), "trace.format: unknown format 'mooncake'; allowed: azure, burstgpt"),
        (("[trace]", "[drawn]\n[trace]"), "requests: drawn and trace together; allowed: one of drawn, trace"),
        (('"a100"', '"a100"\ntp = 3'), "tp: 3; allowed: a divisor of llama-2-7b's 32 heads"),
        (('"llama-2-7b"', '"llama-2-70b"'), "llama-2-70b on a100, tp 1, pp 1: no room for the keys and values of 4096"),
        (
            ('"vllm"', '"fastserve"\n[fastserve]\nswap = "lazy"'),
            "fastserve.swap: unknown swap 'lazy'; allowed: proactive",
        ),
        (
            ("[trace]", "[[training]]\nname = 't'\nmodel = 'bert'\nhosts = [0, 1]\n[trace]"),
            "training: without [network]",
        ),
        (('"a100"', '"a100"\nfabric = "a40"\n[network]'), "replicas.fabric: with [network]; allowed: one of them"),
        (('"a100"', '"a100"\ntp = 2\n[network]\nrows = 3'), "rows: 3; allowed: powers of two"),
        (
            ('"a100"', '"a100"\ntp = 8\nper_host = 3\n[network]'),
            "per_host: 3 of 8 on [network]; allowed: a divisor of tp",
        ),
        (
            ('"llama-2-7b"\ngpu = "a100"', '"opt-13b"\ngpu = "a100-40"\ntp = 2\n[network]'),
            "a fit has its collectives in it; allowed on a network: profile, roofline",
        ),
        (
            ('"vllm"', '"vllm"\nvidur = {request_tokens = 8192}'),
            "request 2: 5000 + 1 tokens; allowed: together up to 4096, which profiles have",
        ),
        (("[trace]", "[network]\ncarrier = 'nccl'\n[trace]"), "network.carrier: unknown carrier 'nccl'; allowed: esa"),
        (("[trace]", "[network]\n[trace]"), "allowed: something that sends"),
        (('"a100"', '"a100"\npp = 0'), "replicas.pp: 0: input should be greater than or equal to 1"),
    ],
)
def test_what_is_wrong_is_said_in_a_line_before_anything_is_written(
    tmp_path: Path, change: tuple[str, str], problem: str
) -> None:
    done = CliRunner().invoke(
        app, ["serve", str(scenario(tmp_path, SCENARIO.replace(*change))), "--results", str(tmp_path / "results")]
    )
    said = done.output if done.exit_code == 2 else ""
    error = done.exception if isinstance(done.exception, BadInput) else ""
    assert problem in " ".join(f"{said} {error}".split())
    assert not (tmp_path / "results").exists() or not [*(tmp_path / "results").iterdir()]
