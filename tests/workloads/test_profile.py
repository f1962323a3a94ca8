"""Profiles: the published figures, the shapes behind them, scaling, what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esa.workloads import MODELS, Layer, LayerGroup, Profile, buckets, layers, measured_profile, profile
from esa.workloads.architectures import SHAPES, architectures
from esa.workloads.make_shapes import shapes_text
from experiments.live.models import MODELS as TRAINED
from tests.effort import tries

# Megabytes of float32, forward and backward ms: SwitchML-omnetpp's tables.
PUBLISHED = {
    "alexnet": (244, 133, 122),
    "bert": (1341, 31, 198),
    "googlenet": (26.5, 77, 174),
    "inception": (95, 159, 340),
    "resnet50": (102, 99, 224),
    "resnet101": (178, 99, 197),
    "resnet152": (241, 140, 281),
    "vgg11": (532, 74, 107),
    "vgg16": (553, 146, 279),
    "vgg19": (575, 174, 345),
}
# Its layer groups in parameters, front first: PyTorch's buckets, filled from the front, of 1 and 25 MiB.
PUBLISHED_GROUPS = {
    "vgg16": (555328, 7079936, 7079424, 102764544, 16781312, 4097000),
    "resnet50": (405824, 6755584, 7417344, 7875584, 3102696),
}
# As torchvision's documentation has them (without auxiliary classifiers).
PARAMETERS = {
    "alexnet": 61_100_840,
    "googlenet": 6_624_904,
    "inception": 23_834_568,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
    "vgg11": 132_863_336,
    "vgg16": 138_357_544,
    "vgg19": 143_667_240,
}
SYNTHETIC = ("communication-heavy", "computation-heavy")

quantities = st.integers(0, 10**9)
groups = st.builds(LayerGroup, st.just("group"), quantities.map(lambda floats: 4 * floats), quantities, quantities)
profiles = st.lists(groups, min_size=1, max_size=30).filter(lambda of: any(g.bytes for g in of)).map(tuple)
factors = st.floats(1e-6, 10)


@pytest.mark.parametrize("model", PUBLISHED)
def test_sums_are_the_published_ones(model: str) -> None:
    megabytes, forward_ms, backward_ms = PUBLISHED[model]
    of = profile(model)
    assert of.bytes / 1e6 == pytest.approx(megabytes, abs=0.6)
    assert (of.forward_ns, of.backward_ns) == (forward_ms * 10**6, backward_ms * 10**6)


def test_the_shapes_are_what_their_script_writes() -> None:
    assert SHAPES.read_text() == shapes_text()


@pytest.mark.parametrize("model", PARAMETERS)
def test_parameters_are_those_of_torchvision(model: str) -> None:
    assert sum(layer.parameters for layer in layers(model)) == PARAMETERS[model]


@pytest.mark.parametrize("model", PUBLISHED_GROUPS)
def test_layers_add_up_to_the_published_groups(model: str) -> None:
    front_last = Profile(model, profile(model).groups[::-1])
    parts = buckets(front_last, 25 * 2**20, 2**20)
    assert tuple(part.bytes // 4 for part in parts) == PUBLISHED_GROUPS[model]


def test_work_is_where_the_shapes_put_it() -> None:
    # 4.09 and 15.47 billion multiplications an image, of ResNet-50 and VGG-16 (torchvision's documentation: GFLOPS).
    assert sum(layer.multiplications for layer in layers("resnet50")) == pytest.approx(4.09e9, rel=1e-3)
    assert sum(layer.multiplications for layer in layers("vgg16")) == pytest.approx(15.47e9, rel=1e-3)
    vgg = profile("vgg16").groups
    largest = max(vgg, key=lambda group: group.bytes)
    assert largest.name == "classifier.0"
    assert largest.bytes > 0.7 * profile("vgg16").bytes
    assert largest.backward_ns < 0.01 * profile("vgg16").backward_ns


@pytest.mark.parametrize("model", TRAINED)
def test_the_trained_models_are_described_as_they_are(model: str) -> None:
    modules = {name.rpartition(".")[0]: 0 for name, _ in TRAINED[model]().named_parameters()}
    for name, parameter in TRAINED[model]().named_parameters():
        modules[name.rpartition(".")[0]] += parameter.numel()
    assert [(layer.name, layer.parameters) for layer in layers(model)] == list(modules.items())


def test_the_synthetic_models_are_what_they_are_called() -> None:
    ratio = {}
    for model in SYNTHETIC:
        of = profile(model)
        on_the_wire_s = of.bytes * 304 / 256 * 8 / 100e9  # 64 lanes: 280 bytes of frame and 24 around it
        ratio[model] = on_the_wire_s / ((of.forward_ns + of.backward_ns) / 1e9)
    assert 2 < ratio["communication-heavy"] < 4
    assert 2 < 1 / ratio["computation-heavy"] < 4


def test_all_models_have_a_profile_and_others_are_refused() -> None:
    assert set(MODELS) == {*PUBLISHED, *SYNTHETIC}
    for model in MODELS:
        assert profile(model).name == model
    with pytest.raises(ValueError, match=r"^model: unknown model 'vgg17'; allowed: alexnet, .*computation-heavy$"):
        profile("vgg17")
    with pytest.raises(ValueError, match=r"^model: unknown architecture 'vgg17'; allowed: alexnet, .*cnn$"):
        layers("vgg17")


@settings(max_examples=tries(100), deadline=None)
@given(profiles, factors, st.none() | factors)
def test_scaling_keeps_sums_order_and_the_place_of_every_boundary(
    of: tuple[LayerGroup, ...], size: float, time: float | None
) -> None:
    original = Profile("model", of)
    if round(size * original.bytes / 4) == 0:
        with pytest.raises(ValueError, match="leaves nothing"):
            original.scaled(size, time)
        return
    scaled = original.scaled(size, time)
    assert [group.name for group in scaled.groups] == [group.name for group in of]
    time_factor = size if time is None else time
    for key, factor, rounding in (("bytes", size, 4), ("forward_ns", time_factor, 1), ("backward_ns", time_factor, 1)):
        before = after = 0
        for group, small in zip(of, scaled.groups, strict=True):
            before += getattr(group, key)
            after += getattr(small, key)
            assert abs(after - factor * before) <= rounding / 2 + 1e-9 * after


@settings(max_examples=tries(100), deadline=None)
@given(profiles)
def test_a_factor_of_one_changes_nothing(of: tuple[LayerGroup, ...]) -> None:
    assert Profile("model", of).scaled(1) == Profile("model", of)


@pytest.mark.parametrize("factor", [0.0, -1.0, float("nan"), float("inf"), 1001.0])
def test_factors_that_are_none_are_refused(factor: float) -> None:
    with pytest.raises(ValueError, match=r"^size: a factor of .*; allowed: above 0, to 1000$"):
        profile("vgg16").scaled(factor)
    with pytest.raises(ValueError, match=r"^time: a factor of .*; allowed: above 0, to 1000$"):
        profile("vgg16").scaled(1.0, factor)


@pytest.mark.parametrize(
    ("group", "message"),
    [
        (LayerGroup("a", 6, 0, 0), "model, a: 6 bytes; allowed: multiples of 4"),
        (LayerGroup("a", -4, 0, 0), "model, a: -4 bytes; allowed: multiples of 4, from 0"),
        (LayerGroup("a", 4, -1, 0), "model, a: forward -1 ns, backward 0 ns; allowed: from 0"),
        (LayerGroup("a", 4, 0, -1), "model, a: forward 0 ns, backward -1 ns; allowed: from 0"),
        (LayerGroup("a", 0, 1, 1), "model: no gradients"),
    ],
)
def test_impossible_groups_are_refused(group: LayerGroup, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Profile("model", (group,))


def test_measured_times_are_split_by_work() -> None:
    model = (Layer("front", 10, 1), Layer("norm", 2, 0), Layer("back", 20, 3))
    of = measured_profile("small", model, forward_s=0.004, backward_s=0.008)
    assert [(g.bytes, g.forward_ns, g.backward_ns) for g in of.groups] == [
        (40, 1_000_000, 2_000_000),
        (8, 0, 0),
        (80, 3_000_000, 6_000_000),
    ]


@pytest.mark.parametrize("seconds", [-1e-9, float("nan"), float("inf")])
def test_times_that_are_none_are_refused(seconds: float) -> None:
    with pytest.raises(ValueError, match=r"profile mlp: forward_s: .* allowed: from 0 to a day"):
        measured_profile("mlp", layers("mlp"), seconds, 0.1)
    with pytest.raises(ValueError, match=r"profile mlp: backward_s: .* allowed: from 0 to a day"):
        measured_profile("mlp", layers("mlp"), 0.1, seconds)


@pytest.mark.parametrize("model", [(), (Layer("a", 1, 0),), (Layer("a", 1, 2), Layer("b", 1, -1))])
def test_work_that_is_none_is_refused(model: tuple[Layer, ...]) -> None:
    with pytest.raises(ValueError, match=r"profile x: multiplications .* allowed: from 0, not all 0"):
        measured_profile("x", model, 0.1, 0.1)


def test_every_architecture_names_each_layer_once() -> None:
    for model in architectures():
        names = [layer.name for layer in layers(model)]
        assert len(set(names)) == len(names)
