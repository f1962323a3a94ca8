"""Write `shapes.csv`: parameters and multiplications of every layer of well-known models, from their architectures.

python -m esa.workloads.make_shapes

Layers are modules with parameters, named and ordered as in torchvision, whose networks these are: AlexNet (arXiv
1404.5997), VGG (1409.1556), GoogLeNet (1409.4842), Inception v3 (1512.00567), ResNet (1512.03385, with the stride in
the 3 x 3); without auxiliary classifiers, for 1000 classes and images of 224 x 224 (Inception v3: 299 x 299). BERT is
the large one of 1810.04805, with a vocabulary padded to 30,528 and an output for question answering.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable

from esa.workloads.architectures import SHAPES, Layer, Layers

Kernel = int | tuple[int, int]  # (height, width); one number: square


def _conv(name: str, channels_in: int, channels_out: int, kernel: Kernel, side: int, *, bias: bool = True) -> Layer:
    """A convolution whose output is `side` x `side`."""
    height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
    weights = channels_in * channels_out * height * width
    return Layer(name, weights + bias * channels_out, weights * side * side)


def _norm(name: str, channels: int) -> Layer:
    # A factor and an offset a channel; its work goes with that of its neighbour, by far the larger.
    return Layer(name, 2 * channels, 0)


def _linear(name: str, values_in: int, values_out: int) -> Layer:
    return Layer(name, values_in * values_out + values_out, values_in * values_out)


def alexnet() -> Layers:
    return (
        _conv("features.0", 3, 64, 11, 55),
        _conv("features.3", 64, 192, 5, 27),
        _conv("features.6", 192, 384, 3, 13),
        _conv("features.8", 384, 256, 3, 13),
        _conv("features.10", 256, 256, 3, 13),
        _linear("classifier.1", 256 * 6 * 6, 4096),
        _linear("classifier.4", 4096, 4096),
        _linear("classifier.6", 4096, 1000),
    )


def _vgg(convolutions: tuple[int, ...]) -> Layers:
    """`convolutions`: how many before each of the five poolings."""
    layers, position, channels_in = [], 0, 3
    for count, channels, side in zip(convolutions, (64, 128, 256, 512, 512), (224, 112, 56, 28, 14), strict=True):
        for _ in range(count):
            layers.append(_conv(f"features.{position}", channels_in, channels, 3, side))
            position += 2  # a ReLU follows
            channels_in = channels
        position += 1  # a pooling
    layers.append(_linear("classifier.0", 512 * 7 * 7, 4096))
    layers.append(_linear("classifier.3", 4096, 4096))
    layers.append(_linear("classifier.6", 4096, 1000))
    return tuple(layers)


def _resnet(blocks: tuple[int, ...]) -> Layers:
    """`blocks`: bottlenecks in each of the four stages."""
    layers = [_conv("conv1", 3, 64, 7, 112, bias=False), _norm("bn1", 64)]
    channels_in, side_in = 64, 56
    for stage, (count, width, side) in enumerate(zip(blocks, (64, 128, 256, 512), (56, 28, 14, 7), strict=True), 1):
        for number in range(count):
            block = f"layer{stage}.{number}"
            layers += [
                _conv(f"{block}.conv1", channels_in, width, 1, side_in, bias=False),
                _norm(f"{block}.bn1", width),
                _conv(f"{block}.conv2", width, width, 3, side, bias=False),
                _norm(f"{block}.bn2", width),
                _conv(f"{block}.conv3", width, 4 * width, 1, side, bias=False),
                _norm(f"{block}.bn3", 4 * width),
            ]
            if number == 0:
                layers.append(_conv(f"{block}.downsample.0", channels_in, 4 * width, 1, side, bias=False))
                layers.append(_norm(f"{block}.downsample.1", 4 * width))
            channels_in, side_in = 4 * width, side
    return (*layers, _linear("fc", 2048, 1000))


def _basic(name: str, channels_in: int, channels_out: int, kernel: Kernel, side: int) -> Layers:
    """A convolution and its normalisation, as both Inception networks have them."""
    conv = _conv(f"{name}.conv", channels_in, channels_out, kernel, side, bias=False)
    return conv, _norm(f"{name}.bn", channels_out)


def googlenet() -> Layers:
    layers = [
        *_basic("conv1", 3, 64, 7, 112),
        *_basic("conv2", 64, 64, 1, 56),
        *_basic("conv3", 64, 192, 3, 56),
    ]
    # Channels in, side; channels of the 1 x 1, before and of the first 3 x 3, before and of the second (5 x 5 in the
    # paper), after the pooling.
    for module, channels, side, one, before_first, first, before_second, second, pool in (
        ("3a", 192, 28, 64, 96, 128, 16, 32, 32),
        ("3b", 256, 28, 128, 128, 192, 32, 96, 64),
        ("4a", 480, 14, 192, 96, 208, 16, 48, 64),
        ("4b", 512, 14, 160, 112, 224, 24, 64, 64),
        ("4c", 512, 14, 128, 128, 256, 24, 64, 64),
        ("4d", 512, 14, 112, 144, 288, 32, 64, 64),
        ("4e", 528, 14, 256, 160, 320, 32, 128, 128),
        ("5a", 832, 7, 256, 160, 320, 32, 128, 128),
        ("5b", 832, 7, 384, 192, 384, 48, 128, 128),
    ):
        branch = f"inception{module}.branch"
        layers += [
            *_basic(f"{branch}1", channels, one, 1, side),
            *_basic(f"{branch}2.0", channels, before_first, 1, side),
            *_basic(f"{branch}2.1", before_first, first, 3, side),
            *_basic(f"{branch}3.0", channels, before_second, 1, side),
            *_basic(f"{branch}3.1", before_second, second, 3, side),
            *_basic(f"{branch}4.1", channels, pool, 1, side),
        ]
    return (*layers, _linear("fc", 1024, 1000))


_Row = tuple[str, int, int, Kernel, int]  # branch, channels in and out, kernel, side of what comes out


def _inception_a(channels: int, pool: int) -> tuple[_Row, ...]:
    return (
        ("1x1", channels, 64, 1, 35),
        ("5x5_1", channels, 48, 1, 35),
        ("5x5_2", 48, 64, 5, 35),
        ("3x3dbl_1", channels, 64, 1, 35),
        ("3x3dbl_2", 64, 96, 3, 35),
        ("3x3dbl_3", 96, 96, 3, 35),
        ("_pool", channels, pool, 1, 35),
    )


_INCEPTION_B: tuple[_Row, ...] = (
    ("3x3", 288, 384, 3, 17),
    ("3x3dbl_1", 288, 64, 1, 35),
    ("3x3dbl_2", 64, 96, 3, 35),
    ("3x3dbl_3", 96, 96, 3, 17),
)


def _inception_c(width: int) -> tuple[_Row, ...]:
    return (
        ("1x1", 768, 192, 1, 17),
        ("7x7_1", 768, width, 1, 17),
        ("7x7_2", width, width, (1, 7), 17),
        ("7x7_3", width, 192, (7, 1), 17),
        ("7x7dbl_1", 768, width, 1, 17),
        ("7x7dbl_2", width, width, (7, 1), 17),
        ("7x7dbl_3", width, width, (1, 7), 17),
        ("7x7dbl_4", width, width, (7, 1), 17),
        ("7x7dbl_5", width, 192, (1, 7), 17),
        ("_pool", 768, 192, 1, 17),
    )


_INCEPTION_D: tuple[_Row, ...] = (
    ("3x3_1", 768, 192, 1, 17),
    ("3x3_2", 192, 320, 3, 8),
    ("7x7x3_1", 768, 192, 1, 17),
    ("7x7x3_2", 192, 192, (1, 7), 17),
    ("7x7x3_3", 192, 192, (7, 1), 17),
    ("7x7x3_4", 192, 192, 3, 8),
)


def _inception_e(channels: int) -> tuple[_Row, ...]:
    return (
        ("1x1", channels, 320, 1, 8),
        ("3x3_1", channels, 384, 1, 8),
        ("3x3_2a", 384, 384, (1, 3), 8),
        ("3x3_2b", 384, 384, (3, 1), 8),
        ("3x3dbl_1", channels, 448, 1, 8),
        ("3x3dbl_2", 448, 384, 3, 8),
        ("3x3dbl_3a", 384, 384, (1, 3), 8),
        ("3x3dbl_3b", 384, 384, (3, 1), 8),
        ("_pool", channels, 192, 1, 8),
    )


def inception_v3() -> Layers:
    layers = [
        *_basic("Conv2d_1a_3x3", 3, 32, 3, 149),
        *_basic("Conv2d_2a_3x3", 32, 32, 3, 147),
        *_basic("Conv2d_2b_3x3", 32, 64, 3, 147),
        *_basic("Conv2d_3b_1x1", 64, 80, 1, 73),
        *_basic("Conv2d_4a_3x3", 80, 192, 3, 71),
    ]
    modules = {
        "5b": _inception_a(192, 32),
        "5c": _inception_a(256, 64),
        "5d": _inception_a(288, 64),
        "6a": _INCEPTION_B,
        "6b": _inception_c(128),
        "6c": _inception_c(160),
        "6d": _inception_c(160),
        "6e": _inception_c(192),
        "7a": _INCEPTION_D,
        "7b": _inception_e(1280),
        "7c": _inception_e(2048),
    }
    for module, rows in modules.items():
        for branch, channels_in, channels_out, kernel, side in rows:
            layers += _basic(f"Mixed_{module}.branch{branch}", channels_in, channels_out, kernel, side)
    return (*layers, _linear("fc", 2048, 1000))


def bert_large() -> Layers:
    """Multiplications without those between the tokens, which need no parameters and are the same in every layer."""
    hidden, feed_forward = 1024, 4096
    layers = [
        Layer("embeddings.word", 30528 * hidden, 0),
        Layer("embeddings.position", 512 * hidden, 0),
        Layer("embeddings.token_type", 2 * hidden, 0),
        _norm("embeddings.norm", hidden),
    ]
    for number in range(24):
        layer = f"layer.{number}"
        layers += [_linear(f"{layer}.attention.{part}", hidden, hidden) for part in ("query", "key", "value", "output")]
        layers += [
            _norm(f"{layer}.attention.norm", hidden),
            _linear(f"{layer}.intermediate", hidden, feed_forward),
            _linear(f"{layer}.output", feed_forward, hidden),
            _norm(f"{layer}.norm", hidden),
        ]
    # The pooler has parameters but sees one token of each sequence.
    return (*layers, _linear("pooler", hidden, hidden)._replace(multiplications=0), _linear("outputs", hidden, 2))


def mlp() -> Layers:
    """The wide model of `experiments/live/models.py`."""
    return _linear("1", 64, 512), _linear("3", 512, 256), _linear("5", 256, 10)


def cnn() -> Layers:
    """The small model of `experiments/live/models.py`."""
    return (
        _conv("1", 1, 16, 3, 16),
        _norm("2", 16),
        _conv("4", 16, 16, 3, 16),
        _norm("5", 16),
        _conv("7", 16, 16, 3, 16),
        _norm("8", 16),
        _linear("12", 256, 10),
    )


ARCHITECTURES: dict[str, Callable[[], Layers]] = {
    "alexnet": alexnet,
    "bert": bert_large,
    "googlenet": googlenet,
    "inception": inception_v3,
    "resnet50": lambda: _resnet((3, 4, 6, 3)),
    "resnet101": lambda: _resnet((3, 4, 23, 3)),
    "resnet152": lambda: _resnet((3, 8, 36, 3)),
    "vgg11": lambda: _vgg((1, 1, 2, 2, 2)),
    "vgg16": lambda: _vgg((2, 2, 3, 3, 3)),
    "vgg19": lambda: _vgg((2, 2, 4, 4, 4)),
    "mlp": mlp,
    "cnn": cnn,
}


def shapes_text() -> str:
    """What `shapes.csv` has to hold."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("model", "layer", "parameters", "multiplications"))
    writer.writerows((model, *layer) for model, layers in ARCHITECTURES.items() for layer in layers())
    return text.getvalue()


if __name__ == "__main__":
    SHAPES.write_text(shapes_text())
