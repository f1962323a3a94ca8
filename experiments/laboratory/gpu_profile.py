"""Measure a model's kernels and gaps on this machine's GPU: `esa gpu profile`.

profile_model("transformer", batch=4, iterations=50, out=Path("kernels"))     # kernels, kernels.gaps.csv
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

from rich.console import Console

from esa.errors import BadInput
from esa.gpu.profiler import by_position, gaps_text, orion_text, require_gpu, traced_kernels
from experiments.common.folders import make_folder, write_whole

MODELS = ("transformer", "convolutions")


def runner(model: str, batch: int, device: str) -> Callable[[], object]:
    """A forward pass of a model with random weights. BadInput for one that is not known."""
    import torch
    from torch import nn

    if model not in MODELS:
        raise BadInput(f"model: unknown model '{model}'; allowed: {', '.join(MODELS)}")
    if not 1 <= batch <= 4096:
        raise BadInput(f"batch: {batch}; allowed: 1 to 4096")
    torch.manual_seed(1)
    network: nn.Module
    if model == "transformer":
        layer = nn.TransformerEncoderLayer(768, 12, 3072, batch_first=True)
        network, sample = nn.TransformerEncoder(layer, 6, enable_nested_tensor=False), torch.randn(batch, 128, 768)
    else:
        widths = [3, *[64] * 4, *[128] * 4, *[256] * 4]
        blocks = [
            nn.Sequential(nn.Conv2d(a, b, 3, stride=2 if a != b else 1, padding=1), nn.BatchNorm2d(b), nn.ReLU())
            for a, b in pairwise(widths)
        ]
        network, sample = nn.Sequential(*blocks), torch.randn(batch, 3, 224, 224)
    network = network.eval().to(device)
    sample = sample.to(device)

    def run() -> object:
        with torch.no_grad():
            return network(sample)

    return run


def profile_model(model: str, batch: int, iterations: int, out: Path, console: Console) -> None:
    """Write kernels as Orion's files have them, and gaps beside. BadInput or UnavailableGpu before anything runs."""
    if not 1 <= iterations <= 10_000:
        raise BadInput(f"iterations: {iterations}; allowed: 1 to 10000")
    if model not in MODELS:
        raise BadInput(f"model: unknown model '{model}'; allowed: {', '.join(MODELS)}")
    name = require_gpu()
    import torch

    found = by_position(traced_kernels(runner(model, batch, "cuda"), iterations))
    sms = torch.cuda.get_device_properties(0).multi_processor_count
    make_folder(out.parent)
    gaps = out.with_name(f"{out.name}.gaps.csv")
    write_whole(out, orion_text(found, sms))
    write_whole(gaps, gaps_text(found))
    busy_ms = sum(one.duration_ns for one in found) / 1e6
    idle_ms = sum(one.gap_ns or 0 for one in found) / 1e6
    console.print(
        f"{model}, batch {batch}, on {name}: {len(found)} kernels, {busy_ms:.3f} ms of them, {idle_ms:.3f} ms of gaps; "
        f"{out}, {gaps}",
        highlight=False,
        soft_wrap=True,
    )
