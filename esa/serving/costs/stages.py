"""What a stage of a replica takes for a batch, in whole nanoseconds.

    times = stage_times("llama-2-70b", "a100", tp=4, pp=1)
    times.stage_ns(prompt_shape(512)), times.send_ns(prompt_shape(512)), times.overhead_ns

Where Vidur's profiles have model and GPU: token-level operators from their table, attention by a fit, two all-reduces a
layer from the port (the formula is Vidur's: tokens rounded up to a multiple of 8, embedding and output left out). Where
DistServe has fits of the whole model (OPT): those. Elsewhere a roofline. The engine's own time comes on top, is the
same for each iteration, and 0 unless one says so: Vidur leaves it out, too.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from typing import Protocol

from esa.errors import BadInput
from esa.serving.batches import Shape
from esa.serving.costs.attention import attention_ms
from esa.serving.costs.fits import FITS, Fit
from esa.serving.models import HALF, Gpu, Llm, gpu_of, model_of
from esa.serving.network import ALL_REDUCE, Curve, Group, Port, TablePort

MOST_TOKENS = 4096  # of the profiles; what is beyond goes as passes of so many
LAUNCH_MS = 0.02  # of a collective
OPERATORS = Path(__file__).with_name("token_operators.csv")
FOREST = Path(__file__).with_name("token_forest.csv")
_ROUND = 8
# An RTX A6000 has the A40's chip and NVLink.
FABRIC_OF = {"a100": "a100-dgx", "a100-40": "a100-dgx", "h100": "h100-dgx", "a40": "a40", "a6000": "a40"}


class StageTimes(Protocol):
    """Times of one replica's stages."""

    @property
    def overhead_ns(self) -> int:
        """Of the engine, before each iteration."""
        ...

    def stage_ns(self, shape: Shape) -> int:
        """One stage's computing, collectives included."""
        ...

    def send_ns(self, shape: Shape) -> int:
        """From a stage to the next; the sender is busy meanwhile."""
        ...


@cache
def token_operators(table: Path = OPERATORS) -> dict[tuple[str, str, int], Curve]:
    """Milliseconds of a layer's token-level operators by tokens: by (GPU, model, degree of tensor parallelism)."""
    found: dict[tuple[str, str, int], tuple[list[int], list[float]]] = {}
    with table.open(newline="") as file:
        for row in csv.DictReader(file):
            for column in row:
                if column.startswith("tp"):
                    tokens, ms = found.setdefault((row["gpu"], row["model"], int(column[2:])), ([], []))
                    tokens.append(int(row["tokens"]))
                    ms.append(float(row[column]))
    return {of: Curve(tuple(tokens), tuple(ms)) for of, (tokens, ms) in found.items()}


def rounded(tokens: int) -> int:
    return -(-tokens // _ROUND) * _ROUND


@dataclass(frozen=True)
class _Sharded:
    """A model over the GPUs of a group and the stages of a pipeline. same_host: stages send within a host."""

    model: Llm
    gpu: Gpu
    tp: int
    pp: int
    port: Port
    group: Group
    same_host: bool
    overhead_ns: int = 0

    def padded(self, tokens: int) -> int:
        """How many a batch of so many computes with and sends."""
        return tokens

    def all_reduce_ms(self, tokens: int) -> float:
        if self.tp == 1:
            return 0.0
        return LAUNCH_MS + self.port.collective(self.group, ALL_REDUCE, tokens * self.model.hidden * HALF) / 1e6

    def send_ns(self, shape: Shape) -> int:
        if self.pp == 1:
            return 0
        octets = self.padded(shape.tokens) * self.model.hidden * HALF
        return self.port.flow(same_host=self.same_host, octets=octets)


@dataclass(frozen=True)
class Profiled(_Sharded):
    """By operator profiles. table: lines through them, or a forest."""

    table: Path = OPERATORS
    _by_tokens: dict[int, float] = field(default_factory=dict, compare=False)

    def padded(self, tokens: int) -> int:
        return rounded(tokens)

    def stage_ns(self, shape: Shape) -> int:
        tokens = self.padded(shape.tokens)
        known = self._by_tokens.get(tokens)
        if known is None:
            known = self._by_tokens[tokens] = self.tokens_ms(tokens)
        layers = self.model.layers // self.pp
        return round(1e6 * layers * (known + attention_ms(self.model, self.gpu, self.tp, shape)))

    def tokens_ms(self, tokens: int) -> float:
        """Of a layer: what goes by the number of tokens, operators and all-reduces."""
        curve = token_operators(self.table)[self.gpu.name, self.model.name, self.tp]
        passes, rest = divmod(tokens, MOST_TOKENS)
        parts = [MOST_TOKENS] * passes + ([rest] if rest else [])
        return sum(curve.at(part) + 2 * self.all_reduce_ms(part) for part in parts)


@dataclass(frozen=True)
class Fitted:
    """By fits of the whole model; a batch of both prompts and decodes has the larger of the two constants, once."""

    fit: Fit
    pp: int
    overhead_ns: int = 0

    def stage_ns(self, shape: Shape) -> int:
        return round(1e6 * self.fit.ms(shape) / self.pp)

    def send_ns(self, shape: Shape) -> int:
        return 0  # in the fits


@dataclass(frozen=True)
class Roofline(_Sharded):
    """By peak and bandwidth: a layer's products at `peak` of the GPU's, or its weights at `bandwidth`; attention as
    elsewhere. Both parts are guesses; ExeGPT's OPT-13B on A40, 37 % of the peak (its Table 6), is one point.
    """

    peak: float = 0.5
    bandwidth: float = 0.8

    def stage_ns(self, shape: Shape) -> int:
        parameters = self.model.layer_parameters(self.tp)
        compute_ms = 2 * parameters * shape.tokens / (self.gpu.tflops * self.peak) / 1e9
        memory_ms = HALF * parameters / (self.gpu.bandwidth_gbs * self.bandwidth) / 1e6
        layer = (
            max(compute_ms, memory_ms)
            + attention_ms(self.model, self.gpu, self.tp, shape)
            + 2 * self.all_reduce_ms(shape.tokens)
        )
        return round(1e6 * self.model.layers / self.pp * layer)


SOURCES = ("auto", "profile", "forest", "fit", "roofline")


def stage_times(
    model: str,
    gpu: str,
    tp: int,
    pp: int,
    *,
    port: Port | None = None,
    per_host: int = 8,
    overhead_ms: float = 0.0,
    source: str = "auto",
) -> StageTimes:
    """The best that there is for model and GPU, or what `source` says: `profile`, `forest`, `fit`, `roofline`.

    port: the network; by default what was measured on the GPU's own fabric. per_host: GPUs of a host.
    BadInput for a degree that does not divide, a source that has not got it, a name that is not known.
    """
    shape, device = model_of(model), gpu_of(gpu)
    shape.check_split(tp, pp)
    if source not in SOURCES:
        raise BadInput(f"times: unknown source '{source}'; allowed: {', '.join(SOURCES)}")
    overhead_ns = round(1e6 * overhead_ms)
    network = port or TablePort(FABRIC_OF[gpu])
    group, same_host = Group(tp, min(tp, per_host)), tp * pp <= per_host
    profiled = (gpu, model, tp) in token_operators()
    if source in ("profile", "forest") or (source == "auto" and profiled):
        if not profiled:
            raise BadInput(f"times: no profile of {model} on {gpu} with tp {tp}; allowed: {_known_profiles()}")
        table = FOREST if source == "forest" else OPERATORS
        return Profiled(shape, device, tp, pp, network, group, same_host, overhead_ns, table)
    fitted = (model, tp) in FITS and gpu.startswith("a100")
    if source == "fit" or (source == "auto" and fitted):
        if not fitted:
            known = ", ".join(f"{name} with tp {degree}" for name, degree in FITS)
            raise BadInput(f"times: no fit of {model} on {gpu} with tp {tp}; allowed: {known}, on a100")
        return Fitted(FITS[model, tp], pp, overhead_ns)
    return Roofline(shape, device, tp, pp, network, group, same_host, overhead_ns)


def _known_profiles() -> str:
    gpus = dict.fromkeys(gpu for gpu, _, _ in token_operators())
    models = dict.fromkeys(model for _, model, _ in token_operators())
    degrees = dict.fromkeys(str(tp) for _, _, tp in token_operators())
    return f"{', '.join(models)} on {', '.join(gpus)}, tp {', '.join(degrees)}"


@lru_cache(maxsize=64)
def _kept(model: str, gpu: str, tp: int, pp: int) -> StageTimes:
    return stage_times(model, gpu, tp, pp)


def stage_time(model: str, gpu: str, tp: int, pp: int, shape: Shape) -> int:
    """Nanoseconds of one stage for a batch, by the best source and the GPU's own fabric."""
    return _kept(model, gpu, tp, pp).stage_ns(shape)
