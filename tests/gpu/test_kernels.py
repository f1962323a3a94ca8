"""Kernels: those of Orion's files, and those that are drawn; what measuring makes of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from esa.errors import BadInput
from esa.gpu import Task, issued, measure, read_kernels, share, synthetic_kernels
from esa.gpu.rules import fikit, time_slice

pytestmark = pytest.mark.timeout(300)  # the first one compiles the device

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "orion"
HEADER = "Name,Profile,Memory_footprint,SM_usage,Duration\n"
US = 1000


def file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "model"
    path.write_text(text)
    return path


def test_a_file_of_orions_is_read(tmp_path: Path) -> None:
    found = read_kernels(file(tmp_path, HEADER + "Conv,1,0,98,100480\nBatchNorm,0,0,64,40480\nConv,1,0,98,100000\n"))
    assert found.names == ("Conv", "BatchNorm", "Conv")
    assert found.identity.tolist() == [0, 1, 0]
    assert found.profile.tolist() == [1, 0, 1]
    assert found.duration_ns.tolist() == [100480, 40480, 100000]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "line 1: the file is empty"),
        ("Name,Profile\n", "line 1: no column SM_usage, Duration among Name,Profile"),
        (HEADER + "Conv,2,0,98,100\n", "line 2, column Profile: '2'; allowed: 1, 0, -1"),
        (HEADER + "Conv,1,0,98,0\n", "line 2, column Duration: '0'; allowed: a whole number from 1"),
        (HEADER + "Conv,1,0,-1,10\n", "line 2, column SM_usage: '-1'; allowed: a whole number from 0"),
        (HEADER + ",1,0,9,10\n", "line 2, column Name: ''; allowed: a kernel's name"),
        (HEADER + "Conv,1,0,9,7\nConv,1,0,9,7\n", "column Duration: every kernel takes 7 ns, which is a placeholder"),
    ],
)
def test_other_files_are_refused_by_line(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(BadInput, match=problem):
        read_kernels(file(tmp_path, text))


def test_drawn_kernels_are_blocks_of_the_same_kinds() -> None:
    found = synthetic_kernels(3, 5, seed=4)
    assert len(found) == 15
    assert found.duration_ns[:5].tolist() == found.duration_ns[5:10].tolist()
    assert found.duration_ns.min() >= US
    assert synthetic_kernels(3, 5, seed=5).duration_ns.tolist() != found.duration_ns.tolist()
    with pytest.raises(ValueError, match="blocks 0, kinds 5"):
        synthetic_kernels(0, 5)


def test_by_identity_gaps_are_means_that_no_place_has() -> None:
    kernels = synthetic_kernels(2, 1, median_us=10, spread=0, seed=1)  # one kind, twice
    launches = issued(kernels, 0)._replace(issue_ns=np.array([30 * US, 50 * US]), waits=np.array([True, True]))
    one = Task("one", 0, launches)
    by_position, by_identity = (measure(one, by=by).profile for by in ("position", "identity"))
    assert by_position is not None
    assert by_identity is not None
    assert by_position.gap_ns.tolist() == [50 * US, 30 * US]
    assert by_identity.gap_ns.tolist() == [40 * US, 40 * US]
    low = measure(one, by="identity", gap="min").profile
    assert low is not None
    assert low.gap_ns.tolist() == [30 * US, 30 * US]


@pytest.mark.skipif(not DATA.is_dir(), reason=f"model_kernels of eth-easl/orion are not at {DATA}")
def test_orions_files_are_as_long_as_was_counted_and_holders_are_much_faster_than_by_slices() -> None:
    for name, kernels, sum_ms in (
        ("resnet50_4_fwd", 175, 6.50),
        ("mobilenetv2_4_fwd", 152, 2.26),
        ("bert_2_fwd", 572, 48.63),
        ("bert_8_fb1", 4777, 190.77),
    ):
        found = read_kernels(DATA / name)
        assert len(found) == kernels
        assert found.duration_ns.sum() / 1e6 == pytest.approx(sum_ms, abs=0.005)
    holder = measure(
        Task("holder", 0, issued(read_kernels(DATA / "mobilenetv2_4_fwd"), 15 * US, wait_every=1), requests=10)
    )
    low = measure(Task("low", 5, issued(read_kernels(DATA / "bert_2_fwd"), 10 * US), background=True))
    slow, fast = (share([holder, low], rule).task("holder") for rule in (time_slice(), fikit(epsilon_ns=0, depth=1)))
    assert slow.mean_jct_ns / fast.mean_jct_ns > 1.32


@pytest.mark.skipif(not DATA.is_dir(), reason=f"model_kernels of eth-easl/orion are not at {DATA}")
def test_over_the_surface_holders_are_faster_by_what_was_published() -> None:
    """Published: 1.32 to 16.41, more than half above 3.4. Six pairs, the corners of the surface and its middle."""
    ratios: dict[tuple[int, int], list[float]] = {}
    for high, low in (
        ("resnet50_4_fwd", "resnet50_32_fb1"),
        ("resnet101_4_fwd", "bert_8_fb1"),
        ("mobilenetv2_4_fwd", "bert_2_fwd"),
        ("transformer_xl_4_fwd", "transformer_xl_8_fb1"),
        ("bert_2_fwd", "mobilenetv2_64_fb1"),
        ("mobilenetv2_4_fwd", "mobilenetv2_64_fb1"),
    ):
        both = [
            measure(Task("high", 0, issued(read_kernels(DATA / high), 15 * US, wait_every=1), requests=20)),
            measure(Task("low", 5, issued(read_kernels(DATA / low), 8 * US), requests=5)),
        ]
        ours = share(both, fikit(500, 10 * US, depth=1)).task("high").mean_jct_ns
        for place in ((500, 0), (500, 200), (2000, 50), (4000, 0)):
            theirs = share(both, time_slice(place[0] * US, place[1] * US)).task("high").mean_jct_ns
            assert ours is not None
            assert theirs is not None
            ratios.setdefault(place, []).append(theirs / ours)
    assert all(1.3 < each < 16.41 for found in ratios.values() for each in found)
    assert all(sorted(found)[2] > 2.5 for found in ratios.values())
    costly, free = ratios[500, 200], ratios[500, 0]
    assert all(one > other for one, other in zip(costly, free, strict=True))
