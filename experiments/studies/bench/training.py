"""Where the time of a training iteration goes: 10 million parameters, 4 workers, over the switch and by gloo.

What several buckets do at a time counts once in each phase, and phases overlap: their parts of an iteration are no sum.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch

from experiments.studies.bench.ranks import Rack, measured
from experiments.studies.bench.row import Row, row

WIDTH, LAYERS = 1600, 4  # 10.2 million parameters
ITERATIONS = 4
RACK = Rack(4, None, 256)
PHASES = {
    "compute": "forward and backward, until the last bucket is handed over",
    "quantise": "floats to integers",
    "send": "from a bucket's first fragment sent to its last",
    "switch": "from a bucket's first fragment sent to its first sum",
    "receive": "from a bucket's first sum to its last",
    "dequantise": "from a bucket's last sum to the average in place",
    "idle": "none of these",
}


def measure(say: Callable[[str], None]) -> Iterator[Row]:
    """An iteration beside gloo's, then its phases, each beside the whole iteration: figures of all ranks."""
    yield from _on(say, "cpu", "")
    if torch.cuda.is_available():
        yield from _on(say, "cuda", ", models on one GPU")


def _on(say: Callable[[str], None], device: str, where: str) -> Iterator[Row]:
    say(f"training of {WIDTH * (WIDTH + 1) * LAYERS / 1e6:.1f} million parameters by {RACK.workers} workers{where}")
    arguments = ["--width", str(WIDTH), "--layers", str(LAYERS), "--iterations", str(ITERATIONS), "--device", device]
    module = "experiments.studies.bench.trainer"
    esa, gloo = (measured(replace(RACK, gloo=by_gloo), module, arguments).said for by_gloo in (False, True))
    whole, whole_by_gloo = ([each["iteration"] for rank in said for each in rank] for said in (esa, gloo))
    yield row(f"iteration of training over the switch{where}", "s", whole, "gloo", whole_by_gloo)
    for phase, meaning in PHASES.items():
        seconds = [each[phase] for rank in esa for each in rank]
        yield row(f"{phase}{where}", "s", seconds, "of the iteration", whole, meaning)
