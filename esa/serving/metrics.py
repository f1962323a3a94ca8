"""What a run of serving is judged by: over requests, and over the gaps between tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from esa.serving.core import Outcome
from esa.serving.models import Gpu, Llm
from esa.serving.requests import Life

SECOND_NS = 1e9


class Spread(NamedTuple):
    """Seconds. Percentiles of requests are interpolated; of gaps, the least that so many do not exceed."""

    mean: float
    p50: float
    p90: float
    p95: float
    p99: float
    most: float


_QUANTILES = (50, 90, 95, 99)


def spread(values_ns: Sequence[float]) -> Spread | None:
    """None of nothing."""
    if not len(values_ns):
        return None
    seconds = np.asarray(values_ns, float) / SECOND_NS
    p50, p90, p95, p99 = (float(each) for each in np.percentile(seconds, _QUANTILES))
    return Spread(float(seconds.mean()), p50, p90, p95, p99, float(seconds.max()))


def spread_of_counts(counts: Mapping[int, int]) -> Spread | None:
    """Of values in ns, and how often each is there."""
    if not counts:
        return None
    values = np.array(sorted(counts), float) / SECOND_NS
    often = np.array([counts[value] for value in sorted(counts)], float)
    until = np.cumsum(often)
    marks = [float(values[np.searchsorted(until, part / 100 * until[-1])]) for part in _QUANTILES]
    return Spread(float(values @ often / until[-1]), marks[0], marks[1], marks[2], marks[3], float(values[-1]))


class Figures(NamedTuple):
    """ttft: to the first token; tbt: between tokens; latency: to the last one, by output token; wait: to the first
    iteration; iteration: a batch's time. busy: part of the stages' time. A figure over requests is over those that are
    over, so it is None where none is.
    """

    ttft: Spread | None
    tbt: Spread | None
    latency: Spread | None
    wait: Spread | None
    iteration: Spread | None
    tokens_per_s: float
    requests_per_s: float
    busy: float
    batch_tokens: float
    restarts: int


def figures(outcome: Outcome, *, skip: int = 0) -> Figures:
    """Of a run. skip: requests at its beginning that are left out of what is over requests."""
    lives = outcome.lives[skip:]
    over = [life for life in lives if life.end_ns is not None]
    seconds = (outcome.end_ns - min(life.arrival_ns for life in outcome.lives)) / SECOND_NS
    done = sum(life.end_ns is not None for life in outcome.lives)
    return Figures(
        ttft=spread([life.first_token_ns - life.arrival_ns for life in lives if life.first_token_ns is not None]),
        tbt=spread_of_counts(outcome.gaps),
        latency=spread([normalised_ns(life) for life in over]),
        wait=spread([life.first_ns - life.arrival_ns for life in lives if life.first_ns is not None]),
        iteration=spread_of_counts(outcome.iterations),
        tokens_per_s=sum(life.output for life in outcome.lives if life.end_ns is not None) / seconds
        if seconds
        else 0.0,
        requests_per_s=done / seconds if seconds else 0.0,
        busy=outcome.busy_ns / (outcome.stages * seconds * SECOND_NS) if seconds else 0.0,
        batch_tokens=outcome.tokens / outcome.batches if outcome.batches else 0.0,
        restarts=sum(life.restarts for life in outcome.lives),
    )


def model_flops(model: Llm, tokens: float, attended: float) -> float:
    """Of a forward pass: two for each parameter and token, and attention's two products; without embedding and output.

    attended: keys that tokens look at, together.
    """
    return model.layers * (2 * model.layer_parameters() * tokens + 4 * model.heads * model.head_size * attended)


def utilisation(outcome: Outcome, model: Llm, gpu: Gpu, gpus: int) -> float | None:
    """Model FLOPs (MFU): of what the GPUs' peak would be in the run's time; None of no time."""
    seconds = (outcome.end_ns - min(life.arrival_ns for life in outcome.lives)) / SECOND_NS
    if seconds <= 0:
        return None
    return model_flops(model, outcome.tokens, outcome.attended) / (gpus * gpu.tflops * 1e12 * seconds)


def normalised_ns(life: Life) -> float:
    """From arrival to the end, by output token."""
    assert life.end_ns is not None
    return (life.end_ns - life.arrival_ns) / life.output
