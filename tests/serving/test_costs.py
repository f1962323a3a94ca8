"""Iteration times: Vidur's formula to measurements of others, tables to profiles, fits to arithmetic."""

from __future__ import annotations

import csv
import statistics
from pathlib import Path

import pytest

from esa.errors import BadInput
from esa.serving.batches import Shape, decode_shape, prompt_shape
from esa.serving.costs.forest import forest_ms
from esa.serving.costs.make_tables import DEGREES, PROFILED, collective_ms, kept_sizes, kept_tokens, layer_ms
from esa.serving.costs.stages import FOREST, stage_time, stage_times, token_operators
from esa.serving.network import Group, TablePort, measured

DATA = Path(__file__).parents[3] / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.exists(), reason="the profiles are not at hand")
# Prompts of Llama-2-70B on A100: milliseconds by this formula with unrounded tables, and as Splitwise measured them.
PREFILL = {
    (2, 512): (195.2, 195.5),
    (2, 1024): (391.7, 377.1),
    (2, 2048): (734.7, 688.1),
    (2, 4096): (1504.4, 1485.3),
    (4, 512): (116.0, 127.0),
    (4, 1024): (227.9, 227.1),
    (4, 2048): (413.5, 403.3),
    (4, 4096): (829.2, 965.2),
    (8, 512): (82.3, 93.0),
    (8, 1024): (144.5, 154.5),
    (8, 2048): (266.2, 274.2),
    (8, 4096): (499.8, 661.2),
}


@pytest.mark.parametrize(("tp", "tokens"), PREFILL)
def test_prompts_take_what_the_formula_says_and_about_what_was_measured(tp: int, tokens: int) -> None:
    reckoned, measured_ms = PREFILL[tp, tokens]
    found = stage_time("llama-2-70b", "a100", tp, 1, prompt_shape(tokens)) / 1e6
    assert found == pytest.approx(reckoned, rel=0.001)
    if tokens <= 2048:
        assert found == pytest.approx(measured_ms, rel=0.12)


@pytest.mark.parametrize(
    ("gpu", "model", "tp", "tokens", "ms"),
    [
        ("a100", "llama-2-7b", 1, 2048, 4.171),
        ("a100", "llama-2-7b", 4, 512, 0.318),
        ("a100", "llama-2-70b", 8, 8, 0.179),
        ("h100", "llama-2-70b", 4, 4096, 2.778),
        ("a40", "llama-2-70b", 1, 128, 3.498),
    ],
)
def test_a_layers_operators_are_the_profiles(gpu: str, model: str, tp: int, tokens: int, ms: float) -> None:
    assert token_operators()[gpu, model, tp].at(tokens) == pytest.approx(ms, rel=0.005)


@needs_data
def test_points_of_the_profiles_that_are_not_in_the_table_lie_where_it_says() -> None:
    errors = []
    for model, name in PROFILED.items():
        found = layer_ms(DATA / "vidur" / "compute" / "a100" / name / "mlp.csv")
        kept = set(kept_tokens(tokens for _, tokens in found))
        for tp in DEGREES:
            curve = token_operators()["a100", model, tp]
            errors += [abs(curve.at(at) / ms - 1) for (of, at), ms in found.items() if of == tp and at not in kept]
    assert len(errors) == 64 * 12
    assert statistics.mean(errors) < 0.03


@pytest.mark.slow
@needs_data
def test_a_forest_is_made_again_and_is_within_3_percent_of_points_that_it_was_not_trained_on() -> None:
    found = layer_ms(DATA / "vidur" / "compute" / "a100" / PROFILED["llama-2-7b"] / "mlp.csv")
    points = {tokens: ms for (degree, tokens), ms in found.items() if degree == 4}
    table = token_operators(FOREST)["a100", "llama-2-7b", 4]
    again = forest_ms(points, [64, 512, 4096])
    assert again == pytest.approx([table.at(tokens) for tokens in (64, 512, 4096)], rel=0.01)
    kept = set(kept_tokens(points))
    held_out = [tokens for tokens in points if tokens not in kept]
    predicted = forest_ms({tokens: points[tokens] for tokens in kept}, held_out)
    assert statistics.mean(abs(ms / points[at] - 1) for at, ms in zip(held_out, predicted, strict=True)) < 0.03


def test_a_forests_times_are_near_the_lines_and_refused_where_there_is_no_profile() -> None:
    for tokens in (64, 512, 2048):
        by_lines, by_forest = (
            stage_times("llama-2-70b", "a100", 4, 1, source=source).stage_ns(prompt_shape(tokens))
            for source in ("profile", "forest")
        )
        assert by_forest == pytest.approx(by_lines, rel=0.03)
        assert by_forest != by_lines
    with pytest.raises(BadInput, match="no profile of opt-13b on a100 with tp 1"):
        stage_times("opt-13b", "a100", 1, 1, source="forest")


@needs_data
def test_sizes_of_all_reduces_that_are_not_in_the_table_lie_where_it_says() -> None:
    found = collective_ms(DATA / "vidur" / "network" / "a100_dgx" / "all_reduce.csv", "all_reduce")
    for group in ((2, 2), (4, 4), (8, 8)):
        kept = set(kept_sizes(found[group]))
        curve = measured("all_reduce")["a100-dgx"][Group(*group)]
        errors = [abs(curve.at(size) / ms - 1) for size, ms in found[group].items() if size not in kept]
        assert statistics.mean(errors) < 0.15


@needs_data
def test_attention_is_as_far_from_its_profile_as_is_said() -> None:
    from esa.serving.costs.attention import attention_ms
    from esa.serving.models import GPUS, MODELS

    model, gpu = MODELS["llama-2-70b"], GPUS["a100"]
    decodes, prompts = [], []
    with (DATA / "vidur" / "compute" / "a100" / "attention-70b-tp2-old.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            kv, batch, chunk = int(row["kv_cache_size"]), int(row["batch_size"]), int(row["prefill_chunk_size"])
            if row["is_prefill"] == "True":
                shape = Shape(chunk, 0, 0, 1, chunk, chunk * chunk, chunk * kv)
                prompts.append(attention_ms(model, gpu, 2, shape) / float(row["time_stats.attn_prefill.median"]) - 1)
            elif batch * kv * 4 * 128 * 4 > 20e6:
                # without what Vidur adds for grouped queries: the profile has them
                found = attention_ms(model, gpu, 2, decode_shape(batch, batch * kv)) / (1.1 if batch > 1 else 1.0)
                decodes.append(found / float(row["time_stats.attn_decode.median"]) - 1)
    assert statistics.mean(map(abs, decodes)) < 0.10
    assert statistics.mean(map(abs, prompts)) < 0.10


def test_fits_of_opt_are_arithmetic() -> None:
    for tokens, ms in ((128, 31), (512, 72), (1024, 130), (2048, 257)):
        assert stage_time("opt-13b", "a100", 1, 1, prompt_shape(tokens)) / 1e6 == pytest.approx(ms, abs=0.6)
    assert stage_time("opt-13b", "a100", 1, 1, decode_shape(16, 16 * 512)) / 1e6 == pytest.approx(25.7, abs=0.05)
    both = Shape(513, 1, 100, 1, 512, 512 * 512)
    alone = stage_time("opt-13b", "a100", 1, 1, prompt_shape(512))
    assert stage_time("opt-13b", "a100", 1, 1, both) - alone == pytest.approx(
        1e6 * (19.9347 - 18.1025 + 6.26936e-4 * 100 + 0.038507), abs=1
    )


def test_stages_share_layers_and_the_last_one_does_not_send() -> None:
    whole, halves = (stage_times("llama-2-7b", "a100", 2, pp) for pp in (1, 2))
    shape = prompt_shape(1000)
    assert halves.stage_ns(shape) == pytest.approx(whole.stage_ns(shape) / 2, abs=1)
    assert whole.send_ns(shape) == 0
    assert halves.send_ns(shape) == TablePort("a100-dgx").flow(same_host=True, octets=1000 * 4096 * 2)


def test_a_profile_without_a_column_or_with_no_number_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "all_reduce.csv"
    path.write_text("num_workers,size,time_stats.all_reduce.median\n2,2048,0.1\n")
    with pytest.raises(BadInput, match="line 1: no column devices_per_node; allowed: all of num_workers"):
        collective_ms(path, "all_reduce")
    path.write_text("num_workers,devices_per_node,size,time_stats.all_reduce.median\n2,2,2048,0.1\n2,2,4096,fast\n")
    with pytest.raises(BadInput, match=r"line 3, column time_stats\.all_reduce\.median: 'fast'; allowed: a number"):
        collective_ms(path, "all_reduce")
    with pytest.raises(BadInput, match="no column num_tensor_parallel_workers"):
        layer_ms(path)


def test_a_message_larger_than_any_that_was_measured_goes_in_parts() -> None:
    port, most = TablePort("a100-dgx"), 1 << 26
    whole, rest = (port.collective(Group(4, 4), "all-reduce", size) for size in (most, 12_345_678))
    assert port.collective(Group(4, 4), "all-reduce", 3 * most + 12_345_678) == pytest.approx(3 * whole + rest, abs=2)
    assert port.collective(Group(4, 4), "all-reduce", 2 * most) == pytest.approx(2 * whole, abs=2)


def test_a_group_of_one_uses_no_network() -> None:
    assert TablePort("a40").collective(Group(1, 1), "all-reduce", 10**9) == 0


def test_where_there_is_neither_profile_nor_fit_a_roofline_answers() -> None:
    times = [stage_time("opt-175b", "a100", 8, 1, prompt_shape(tokens)) for tokens in (1, 512, 1024)]
    assert times[0] < times[1] < times[2] < 3 * times[1]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("llama-3", "a100", 1, 1), "model: unknown model 'llama-3'; allowed: llama-2-7b, "),
        (("llama-2-7b", "b200", 1, 1), "gpu: unknown GPU 'b200'; allowed: a100, "),
        (("opt-13b", "a100", 3, 1), "tp: 3; allowed: a divisor of opt-13b's 40 heads"),
        (("llama-2-7b", "a100", 1, 5), "pp: 5; allowed: a divisor of llama-2-7b's 32 layers"),
        (("llama-2-70b", "h100", 16, 1), "h100-dgx: 16 GPUs, 8 on a host, were not measured; allowed: 2 with 2"),
        (("llama-2-70b", "a40", 4, 2), "a40: messages were not measured; allowed: pp = 1"),
    ],
)
def test_what_there_is_no_time_for_is_refused(arguments: tuple[str, str, int, int], problem: str) -> None:
    def ask() -> None:
        times = stage_times(*arguments)
        times.stage_ns(prompt_shape(8))
        times.send_ns(prompt_shape(8))

    with pytest.raises(BadInput) as refused:
        ask()
    assert problem in str(refused.value)


def test_a_source_without_the_model_is_refused_by_what_it_has() -> None:
    with pytest.raises(BadInput, match="no profile of opt-13b on a100 with tp 1; allowed: llama-2-7b, codellama-34b"):
        stage_times("opt-13b", "a100", 1, 1, source="profile")
    with pytest.raises(BadInput, match="no fit of llama-2-7b on a100 with tp 1; allowed: opt-13b with tp 1, "):
        stage_times("llama-2-7b", "a100", 1, 1, source="fit")
