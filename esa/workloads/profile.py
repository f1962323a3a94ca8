"""What a training job does in one iteration, layer by layer: bytes to be summed, nanoseconds of computing.

    >>> vgg16 = profile("vgg16")
    >>> vgg16.bytes, vgg16.forward_ns, vgg16.backward_ns
    (553430176, 146000000, 279000000)

A network sees nothing else of a model. What a profile does not know (which workers, which iterations, when) is
elsewhere: `arrivals.py` and the simulation.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from esa.workloads.architectures import Layer, layers

FLOAT_BYTES = 4  # gradients are float32


@dataclass(frozen=True)
class Bucket:
    """What is summed at once: the gradients of neighbouring layers. Times are those of one worker for these layers."""

    bytes: int
    forward_ns: int
    backward_ns: int


@dataclass(frozen=True)
class LayerGroup:
    """Layers whose gradients are there together; `bytes` of float32 gradients."""

    name: str
    bytes: int
    forward_ns: int
    backward_ns: int


@dataclass(frozen=True)
class Profile:
    """A model; `groups` with the one next to the input first. A group may have no bytes or take no time.

    Raises ValueError, in one line, for negative figures, for bytes that are not whole float32 and for no bytes at all.
    """

    name: str
    groups: tuple[LayerGroup, ...]

    def __post_init__(self) -> None:
        for group in self.groups:
            if group.bytes < 0 or group.bytes % FLOAT_BYTES:
                allowed = f"multiples of {FLOAT_BYTES}, from 0"
                raise ValueError(f"profile {self.name}, {group.name}: {group.bytes} bytes; allowed: {allowed}")
            if group.forward_ns < 0 or group.backward_ns < 0:
                times = f"forward {group.forward_ns} ns, backward {group.backward_ns} ns"
                raise ValueError(f"profile {self.name}, {group.name}: {times}; allowed: from 0")
        if self.bytes == 0:
            raise ValueError(f"profile {self.name}: no gradients; at least one float32 is needed")

    @property
    def bytes(self) -> int:
        return sum(group.bytes for group in self.groups)

    @property
    def forward_ns(self) -> int:
        return sum(group.forward_ns for group in self.groups)

    @property
    def backward_ns(self) -> int:
        return sum(group.backward_ns for group in self.groups)

    def scaled(self, size: float, time: float | None = None) -> Profile:
        """The model with its bytes times `size` and its times times `time` (None: the same factor).

        For a simulation of fewer packets. One factor for both, with bucket caps times that factor, keeps the ratio of
        communication to computation at a given link rate, each layer's part of both, and the buckets. It does not keep
        what counts in packets or in absolute time: round trips, windows, rows and time-outs weigh more in a short
        iteration, and a bucket's last, partly filled packet too. Rounding (to 4 bytes and to 1 ns) is of running
        totals: sums stay right, and a layer far smaller than the rounding gets nothing.

        Raises ValueError for a factor outside 0..1000 (0 excluded), and if no gradients are left.
        """
        time = size if time is None else time
        for key, factor in (("size", size), ("time", time)):
            if not 0 < factor <= 1000:
                raise ValueError(f"{key}: a factor of {factor}; allowed: above 0, to 1000")
        if round(size * self.bytes / FLOAT_BYTES) == 0:
            raise ValueError(f"size: a factor of {size} leaves nothing of the {self.bytes} bytes of {self.name}")
        values = _shares([group.bytes / FLOAT_BYTES for group in self.groups], size)
        forward = _shares([group.forward_ns for group in self.groups], time)
        backward = _shares([group.backward_ns for group in self.groups], time)
        groups = (
            replace(group, bytes=FLOAT_BYTES * count, forward_ns=forward_ns, backward_ns=backward_ns)
            for group, count, forward_ns, backward_ns in zip(self.groups, values, forward, backward, strict=True)
        )
        return Profile(self.name, tuple(groups))


def _shares(quantities: Iterable[float], factor: float) -> list[int]:
    """Whole numbers near `quantities` times `factor` whose running totals are rounded, so that errors do not add up."""
    shares, total, given = [], 0.0, 0
    for quantity in quantities:
        total += quantity
        shares.append(round(total * factor) - given)
        given += shares[-1]
    return shares


def measured_profile(name: str, model: Sequence[Layer], forward_s: float, backward_s: float) -> Profile:
    """A profile from a model's layers (front first) and the measured seconds of one worker's forward and backward pass.

    Both times are split in proportion to the layers' multiplications. `layers("mlp")` and `layers("cnn")` are the
    models that `experiments` trains; for others give `Layer(name, parameters, work)`, work 1 each to split evenly.
    Raises ValueError for times that are negative or not finite, and if no layer has any work.
    """
    for key, seconds in (("forward_s", forward_s), ("backward_s", backward_s)):
        if not 0 <= seconds < 86_400:
            raise ValueError(f"profile {name}: {key}: {seconds} s; allowed: from 0 to a day")
    work = [layer.multiplications for layer in model]
    if sum(work) <= 0 or min(work) < 0:
        raise ValueError(f"profile {name}: multiplications of the layers: {work}; allowed: from 0, not all 0")
    forward = _shares(work, forward_s * 1e9 / sum(work))
    backward = _shares(work, backward_s * 1e9 / sum(work))
    groups = (
        LayerGroup(layer.name, FLOAT_BYTES * layer.parameters, forward_ns, backward_ns)
        for layer, forward_ns, backward_ns in zip(model, forward, backward, strict=True)
    )
    return Profile(name, tuple(groups))


# Forward and backward ms of an iteration on one V100, summed over the layers: SwitchML-omnetpp's tables (ModelStats.cc
# at commit 65440a9), to the full ms. Its batch sizes are not stated, so these do not compare the models' speed. Its
# sizes are those of our layers: its layer groups are what PyTorch's rule for buckets makes of them from the front, with
# 1 and 25 MiB. How it splits the times over these groups is not taken over. Multiplications give the front too little,
# where layers wait for memory. Parts of the time in the first group, by multiplications and as measured there (forward,
# backward): GoogLeNet 0.39 (0.39, 0.38), ResNet-50 0.25 (0.33, 0.37), VGG-16 0.36 (0.53, 0.65), VGG-11 0.25 (0.46,
# 0.63). BERT's encoder layers are alike and get the same; its backward table has 0.62 in the second of 38 groups.
_V100_MS: dict[str, tuple[float, float]] = {
    "alexnet": (133, 122),
    "bert": (31, 198),
    "googlenet": (77, 174),
    "inception": (159, 340),
    "resnet50": (99, 224),
    "resnet101": (99, 197),
    "resnet152": (140, 281),
    "vgg11": (74, 107),
    "vgg16": (146, 279),
    "vgg19": (174, 345),
}

# Ours, since the tables of ESA's own DNN A and DNN B could not be read: eight equal groups, floats each, forward and
# backward ms. At 100 Gb/s the bytes of one worker take 10.2 and 2.6 ms, 12.2 and 3.0 in packets of 64 lanes, so
# communication takes three times as long as computation, and a third.
_SYNTHETIC = {
    "communication-heavy": (4_000_000, 1.25, 2.5),
    "computation-heavy": (1_000_000, 3.0, 6.0),
}

MODELS = (*_V100_MS, *_SYNTHETIC)


def profile(model: str) -> Profile:
    """The profile called `model`, one of `MODELS`; ValueError names them."""
    if model in _V100_MS:
        forward_ms, backward_ms = _V100_MS[model]
        return measured_profile(model, layers(model), forward_ms / 1e3, backward_ms / 1e3)
    if model in _SYNTHETIC:
        floats, forward_ms, backward_ms = _SYNTHETIC[model]
        groups = [Layer(f"group.{number}", floats, 1) for number in range(8)]
        return measured_profile(model, groups, forward_ms / 1e3, backward_ms / 1e3)
    raise ValueError(f"model: unknown model '{model}'; allowed: {', '.join(MODELS)}")
