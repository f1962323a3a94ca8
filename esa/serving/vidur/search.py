"""Vidur-Search: what each configuration can take, what that costs, and which ones nobody would give up.

    space = configurations(model, {"a100": 16}, ...)
    found = search(space, work, limits)           # capacity, figures at it, dollars
    cheapest(found, Slo()), front(found, "ttft_p90_s")

The capacity of a configuration is the most requests a second at which the 99th percentile of scheduling delay stays
below a limit (`capacity.py`); figures are those of the run at that rate. All configurations get the same requests.

Pruned: a configuration is asked first for the rate at which it would cost what the cheapest found so far does; where
it cannot take that it is left, by the same monotony that bisection rests on. Its run ends as soon as so many requests
have waited too long that the others cannot make up for it. The front is what was found until then.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from esa.errors import BadInput
from esa.serving.arrivals import Arrivals, drawn_requests
from esa.serving.batches import decode_shape
from esa.serving.core import Outcome, Replica, Run
from esa.serving.costs.stages import stage_times
from esa.serving.kv_memory import Blocks, replica_blocks
from esa.serving.lengths import lengths_of
from esa.serving.metrics import figures, utilisation
from esa.serving.models import gpu_of, model_of
from esa.serving.routers import RoundRobin
from esa.serving.vidur.base import Limits
from esa.serving.vidur.capacity import LIMIT_S, capacity
from esa.serving.vidur.names import SCHEDULERS, replica_scheduler

SARATHI = "sarathi"
MOST_RATE = 1e5  # requests a second: beyond, they come as good as together


@dataclass(frozen=True)
class Configuration:
    """chunk: of sarathi's batches; 0: another scheduler. cap: requests of a stage's batch. replicas: as many as fit."""

    model: str
    gpu: str
    tp: int
    pp: int
    scheduler: str
    chunk: int
    cap: int
    replicas: int

    @property
    def gpus(self) -> int:
        return self.tp * self.pp * self.replicas

    @property
    def dollars(self) -> float:
        """An hour, of all GPUs. BadInput for a GPU whose price is not known."""
        price = gpu_of(self.gpu).dollars
        if price is None:
            known = [name for name in ("a100", "h100", "a40") if gpu_of(name).dollars is not None]
            raise BadInput(f"gpu: {self.gpu} has no price; allowed: {', '.join(known)}")
        return price * self.gpus

    @property
    def text(self) -> str:
        chunk = f"-{self.chunk}" if self.chunk else ""
        return f"{self.gpu} tp {self.tp} pp {self.pp} x {self.replicas} {self.scheduler}{chunk} cap {self.cap}"


@dataclass(frozen=True)
class Work:
    """The requests that all get. start: requests a second that the first search begins with; delay_s: the limit."""

    lengths: str = "lmsys-chat"
    requests: int = 300
    start: float = 8.0
    request_tokens: int = 4096
    delay_s: float = LIMIT_S
    seed: int = 1


@dataclass(frozen=True)
class Slo:
    """90th percentile of the time to the first token, 99th of that between tokens; by default Vidur's dashboard's."""

    ttft_p90_s: float = 2.0
    tbt_p99_s: float = 0.2

    def __post_init__(self) -> None:
        for name in ("ttft_p90_s", "tbt_p99_s"):
            if not getattr(self, name) > 0:
                raise BadInput(f"slo.{name}: {getattr(self, name):g}; allowed: above 0")
        if self.tbt_p99_s > self.ttft_p90_s:
            raise BadInput(
                f"slo: tbt_p99_s {self.tbt_p99_s:g} above ttft_p90_s {self.ttft_p90_s:g}; "
                "allowed: a first token that may take longer than the next"
            )


@dataclass(frozen=True)
class Found:
    """rate: the capacity, 0: none. Figures at it, None where there is none. pruned: it was left, and could not have
    been the cheapest. refused: why it cannot be.
    """

    configuration: Configuration
    rate: float = 0.0
    ttft_p90_s: float | None = None
    tbt_p99_s: float | None = None
    mfu: float | None = None
    probes: int = 0
    pruned: bool = False
    refused: str | None = None

    @property
    def per_dollar(self) -> float:
        """Requests for a dollar."""
        return 3600 * self.rate / self.configuration.dollars

    def meets(self, slo: Slo) -> bool:
        if self.ttft_p90_s is None or self.tbt_p99_s is None:
            return False
        return self.ttft_p90_s <= slo.ttft_p90_s and self.tbt_p99_s <= slo.tbt_p99_s


def configurations(
    model: str,
    gpus: Mapping[str, int],
    *,
    per_host: Mapping[str, int],
    tp: Sequence[int] = (1, 2, 4, 8),
    pp: Sequence[int] = (1, 2, 4),
    schedulers: Sequence[str] = ("vllm", SARATHI),
    chunks: Sequence[int] = (256, 512, 1024, 2048, 4096),
    caps: Sequence[int] = (32, 64, 128),
) -> list[Configuration]:
    """All that can be placed, in a fixed order; a group of tensor parallelism is within a host.

    gpus: how many there are, at most; per_host: of them in one. BadInput for names that are not known.
    """
    shape = model_of(model)
    for name in schedulers:
        if name not in SCHEDULERS:
            raise BadInput(f"schedulers: unknown scheduler '{name}'; allowed: {', '.join(SCHEDULERS)}")
    for gpu in gpus:
        Configuration(model, gpu, 1, 1, "vllm", 0, 1, 1).dollars  # noqa: B018 - BadInput

    def all_of() -> Iterator[Configuration]:
        for gpu, most in gpus.items():
            for t in tp:
                for p in pp:
                    if t > per_host[gpu] or t * p > most or shape.heads % t or shape.layers % p:
                        continue
                    for name in schedulers:
                        for chunk in chunks if name == SARATHI else (0,):
                            for cap in caps:
                                yield Configuration(model, gpu, t, p, name, chunk, cap, most // (t * p))

    return [*all_of()]


class Prober:
    """A configuration under load: its figures by rate, each run once.

    BadInput where the model does not fit, or its network was not measured.
    """

    def __init__(self, configuration: Configuration, work: Work) -> None:
        one = self._one = configuration
        self._work = work
        self._lengths = lengths_of(work.lengths)
        self._times = stage_times(one.model, one.gpu, one.tp, one.pp)
        self._blocks = replica_blocks(model_of(one.model), gpu_of(one.gpu), one.tp, one.pp, work.request_tokens)
        for asked in (self._times.stage_ns, self._times.send_ns):
            asked(decode_shape(1, 1))
        self._known: dict[float, tuple[float, Found]] = {}

    def delay_s(self, rate: float) -> float:
        """inf beyond `MOST_RATE`, at which they come as good as together."""
        return self._run(rate)[0] if rate <= MOST_RATE else math.inf

    def found(self, rate: float, probes: int) -> Found:
        """Figures at a rate that was asked for."""
        one = self._run(rate)[1]
        return Found(one.configuration, one.rate, one.ttft_p90_s, one.tbt_p99_s, one.mfu, probes)

    def takes(self, rate: float) -> bool:
        """Whether the delay is within the limit: what `delay_s` says, sooner where it is not."""
        if rate not in self._known:
            run = self._begun(rate)
            if not run.loop(None, lambda: hopeless(run.found, self._work.delay_s)):
                return False
            self._known[rate] = self._figures(rate, run.found)
        return self._known[rate][0] <= self._work.delay_s

    def _run(self, rate: float) -> tuple[float, Found]:
        if rate not in self._known:
            run = self._begun(rate)
            run.loop(None, None)
            self._known[rate] = self._figures(rate, run.found)
        return self._known[rate]

    def _begun(self, rate: float) -> Run:
        one, work = self._one, self._work
        limits = Limits(cap=one.cap * one.pp, chunk=one.chunk or 512, pp=one.pp, request_tokens=work.request_tokens)
        replicas = [
            Replica(replica_scheduler(one.scheduler, Blocks(self._blocks, 16), limits), self._times, one.pp)
            for _ in range(one.replicas)
        ]
        requests = drawn_requests(work.requests, Arrivals(rate), self._lengths, work.seed)
        return Run(requests, replicas, RoundRobin())

    def _figures(self, rate: float, outcome: Outcome) -> tuple[float, Found]:
        one = self._one
        known = figures(outcome)
        mfu = utilisation(outcome, model_of(one.model), gpu_of(one.gpu), one.gpus)
        assert known.wait is not None
        ttft = None if known.ttft is None else known.ttft.p90
        tbt = None if known.tbt is None else known.tbt.p99
        return known.wait.p99, Found(one, rate, ttft, tbt, mfu)


def hopeless(outcome: Outcome, limit_s: float) -> bool:
    """Whether so many requests have waited longer that the 99th percentile (interpolated) will be above the limit."""
    lives, limit_ns, now_ns = outcome.lives, limit_s * 1e9, outcome.end_ns
    late = sum((now_ns if life.first_ns is None else life.first_ns) - life.arrival_ns > limit_ns for life in lives)
    return late >= len(lives) - (99 * (len(lives) - 1)) // 100


def probe(configuration: Configuration, work: Work, beats: float = 0.0) -> Found:
    """One configuration. beats: requests for a dollar that it has to be able to take; 0: whatever it can."""
    try:
        prober = Prober(configuration, work)
    except BadInput as error:
        return Found(configuration, refused=str(error))
    asked = beats * configuration.dollars / 3600
    if asked > 0 and not prober.takes(asked):
        return Found(configuration, probes=1, pruned=True)
    if prober.takes(MOST_RATE):
        why = f"requests: {work.requests} never wait {work.delay_s:g} s, however fast they come; allowed: more"
        return Found(configuration, probes=1 + (asked > 0), refused=why)
    known = capacity(prober.delay_s, work.start, limit_s=work.delay_s)
    probes = len(known.probes) + (asked > 0)
    if known.rate == 0:
        return Found(configuration, probes=probes)
    return prober.found(known.rate, probes)


def search(
    space: Sequence[Configuration],
    work: Work,
    slo: Slo | None = None,
    *,
    several: Callable[[Callable[..., Found], Iterable[tuple[Configuration, Work, float]]], Iterable[Found]]
    | None = None,
    width: int = 1,
    progress: Callable[[float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> list[Found]:
    """Of each configuration, in their order. slo: prune by the cheapest that meets it; None: prune nothing.

    several: runs `width` probes side by side; what is pruned goes by what was known before each such group, so for one
    width the outcome is the same whoever is first. It ends early, with what it has, where it is asked to.
    """
    found: list[Found] = []
    for start in range(0, len(space), width):
        if should_stop is not None and should_stop():
            break
        best = 0.0 if slo is None else max((one.per_dollar for one in found if one.meets(slo)), default=0.0)
        group = [(one, work, best) for one in space[start : start + width]]
        found += [probe(*one) for one in group] if several is None else several(probe, group)
        if progress is not None:
            progress(len(found) / len(space))
    return found


def cheapest(found: Iterable[Found], slo: Slo) -> Found | None:
    """Most requests for a dollar among those that meet the limits; of equals the first."""
    return max((one for one in found if one.meets(slo)), key=lambda one: one.per_dollar, default=None)


def front(found: Iterable[Found], latency: str) -> list[Found]:
    """Those that none beats in both requests for a dollar and a latency, `ttft_p90_s` or `tbt_p99_s`; by latency."""
    known = [one for one in found if getattr(one, latency) is not None and one.rate > 0]
    known.sort(key=lambda one: (getattr(one, latency), -one.per_dollar))
    best, kept = 0.0, []
    for one in known:
        if one.per_dollar > best:
            best = one.per_dollar
            kept.append(one)
    return kept
