"""Models whose gradients cannot be summed, told before the training starts."""

from __future__ import annotations

import torch
from torch import nn

_DEVICES = ("cpu", "cuda")


def check_model(model: nn.Module) -> None:
    """TypeError, in one line, if a gradient of `model` will not be dense floating point, in host memory or on a GPU.

    Complex parameters are fine: DDP hands their gradients over as pairs of real numbers.
    """
    for name, module in model.named_modules():
        if isinstance(module, nn.Embedding | nn.EmbeddingBag) and module.sparse and module.weight.requires_grad:
            raise TypeError(
                f"{name or 'the model'}: {type(module).__name__}(sparse=True) makes sparse gradients; "
                "esa_hook sums dense ones: make it with sparse=False"
            )
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        if parameter.layout != torch.strided or parameter.device.type not in _DEVICES:
            raise TypeError(
                f"parameter {name} is {parameter.dtype}, {parameter.layout}, on {parameter.device}; esa_hook sums "
                "dense floating-point gradients in host memory or on a GPU: move the model with .to('cpu') or .cuda()"
            )


def check_bucket(index: int, buffer: torch.Tensor) -> None:
    """The same for a bucket of gradients, for what a model does not show."""
    if buffer.layout != torch.strided or buffer.device.type not in _DEVICES or not buffer.is_floating_point():
        raise TypeError(
            f"bucket {index}: gradients are {buffer.dtype}, {buffer.layout}, on {buffer.device}; "
            "esa_hook sums dense floating-point gradients in host memory or on a GPU"
        )
