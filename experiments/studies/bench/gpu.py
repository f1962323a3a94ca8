"""Gradients on a GPU: what quantising them there takes beside copying them, and the way to the host and back.

Rates are of gradients, whatever else moves: 4 bytes a value.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
import torch

from esa.rounds import fragments_of
from esa.scales import adaptive_scale
from esa.torch.staging import DeviceStaging
from esa.torch.tensors import Tables, dequantised, quantised
from experiments.studies.bench.row import Row, row

VALUES = 25 * 2**20 // 4  # a bucket of DDP's default size
LANES, WORKERS = 256, 4
WARM_UP, REPEATS, TURNS = 3, 9, 20


def _rates(device: torch.device, work: Callable[[], object]) -> list[float]:
    """GB/s of gradients, each of so many turns one after the other."""
    found = []
    for repeat in range(WARM_UP + REPEATS):
        torch.cuda.synchronize(device)
        start = time.perf_counter()
        for _ in range(TURNS):
            work()
        torch.cuda.synchronize(device)
        if repeat >= WARM_UP:
            found.append(TURNS * VALUES * 4 / (time.perf_counter() - start) / 1e9)
    return found


def measure(say: Callable[[str], None]) -> Iterator[Row]:
    """Nothing where there is no GPU, which is said."""
    if not torch.cuda.is_available():
        say("gradients on a GPU: not measured, torch finds no GPU")
        return
    device, scale = torch.device("cuda"), adaptive_scale(WORKERS)
    say(f"gradients on {torch.cuda.get_device_name()}: {VALUES * 4 / 2**20:.0f} MiB, {LANES} lanes to a fragment")
    staging, tables = DeviceStaging(device), Tables.of(scale, device)
    values = torch.randn(VALUES, device=device)
    agreed = np.full(fragments_of(VALUES, LANES), 2, np.int8)  # all values are below 2**3
    agreed_there = torch.from_numpy(agreed).to(device)
    lanes_there = quantised(values, agreed_there, LANES, tables).lanes
    lanes = staging.empty(VALUES, np.int32)
    needed, vanished = (staging.empty(agreed.size, kind) for kind in (np.int8, np.int32))
    here, out = torch.from_numpy(lanes), torch.empty_like(values)

    copied = _rates(device, lambda: out.copy_(values))
    quantising = _rates(device, lambda: quantised(values, agreed_there, LANES, tables))
    yield row("quantised where they are", "GB/s", quantising, "a copy there", copied)
    dequantising = _rates(device, lambda: dequantised(lanes_there, agreed_there, LANES, tables, out, WORKERS))
    yield row("dequantised there", "GB/s", dequantising, "a copy there", copied)
    down = _rates(device, lambda: here.copy_(lanes_there, non_blocking=True))
    sent = _rates(device, lambda: staging.quantise(values, agreed, LANES, scale, lanes, needed, vanished))
    yield row("quantised, and in pinned memory", "GB/s", sent, "a copy to pinned memory", down)
    up = _rates(device, lambda: lanes_there.copy_(here, non_blocking=True))
    came = _rates(device, lambda: staging.dequantise(lanes, agreed, LANES, scale, out, WORKERS))
    yield row("sums to averages on the GPU", "GB/s", came, "a copy from pinned memory", up)
