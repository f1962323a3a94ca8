"""One run of `esa serve`: its requests, its figures, its folder of results.

    summary, folder = run_serving(ServingScenario.load(path), path.parent, Path("results"), console)

The folder holds the scenario as resolved, `summary.json` and `requests.csv`; equal scenarios and traces: equal bytes.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from esa.errors import BadInput
from esa.report.records import ServingSummary, SpreadSummary, Summary
from esa.serving.arrivals import Arrivals, drawn_requests
from esa.serving.core import Outcome, Replica, simulate_serving
from esa.serving.costs.stages import FABRIC_OF, MOST_TOKENS, Profiled, StageTimes, stage_times
from esa.serving.fastserve.engine import Engine, Rules
from esa.serving.fastserve.instance import instance
from esa.serving.fastserve.orders import POLICIES
from esa.serving.kv_memory import BLOCK_TOKENS, Blocks, replica_blocks, requests_that_fit
from esa.serving.lengths import lengths_of
from esa.serving.metrics import Spread, figures, utilisation
from esa.serving.models import gpu_of, model_of
from esa.serving.network import Port, TablePort
from esa.serving.requests import Request
from esa.serving.routers import router_of
from esa.serving.traces import read_trace
from esa.serving.vidur.base import Limits, ReplicaScheduler
from esa.serving.vidur.names import replica_scheduler
from esa.signals import ending_asks
from experiments.common.folders import give_to_caller, new_folder
from experiments.common.part_progress import PartProgress
from experiments.serving.together import layer_part, port_of, prepared, run_together, with_network
from experiments.specs.serving import ServingScenario

REQUESTS_FILE, PICTURE_FILE = "requests.csv", "serving.png"
_COLUMNS = ("arrival_ns", "prompt", "output", "replica", "first_ns", "first_token_ns", "end_ns", "restarts")


@dataclass(frozen=True)
class Serving:
    """A scenario's requests and replicas. note: what of a trace is not among them, for people."""

    requests: tuple[Request, ...]
    replicas: tuple[Replica, ...]
    note: str = ""


def serving_of(scenario: ServingScenario, folder: Path) -> Serving:
    """Read or draw the requests, make the replicas. folder: where the scenario's other files are. BadInput."""
    requests, note = _requests(scenario, folder)
    own = scenario.replicas
    network = scenario.network
    if network is None:
        times = _times(scenario, TablePort(own.fabric or FABRIC_OF[own.gpu]))
    else:
        times = _times(scenario, port_of(scenario, idle=network.idle))
    if isinstance(times, Profiled):
        _check_profiled(requests)
    make = _fastserve if scenario.scheduler in POLICIES else _vidur
    replicas = tuple(make(scenario, times) for _ in range(own.count))
    if scenario.network is not None:
        prepared(scenario, replicas)
    return Serving(requests, replicas, note)


def _times(scenario: ServingScenario, port: Port) -> StageTimes:
    own = scenario.replicas
    # On a network stages share no host, so what they send is never within one.
    per_host = (own.per_host or 8) if scenario.network is None else scenario.gpus_together
    return stage_times(
        own.model,
        own.gpu,
        own.tp,
        own.pp,
        port=port,
        per_host=per_host,
        overhead_ms=own.overhead_ms,
        source=own.times,
    )


def _check_profiled(requests: Sequence[Request]) -> None:
    """BadInput for more tokens than profiles of attention have: what lies beyond is not extrapolated."""
    for number, one in enumerate(requests):
        if one.prompt + one.output > MOST_TOKENS:
            raise BadInput(
                f"request {number}: {one.prompt} + {one.output} tokens; allowed: together up to {MOST_TOKENS}, which "
                "profiles have, and any number with times = 'roofline'"
            )


def _requests(scenario: ServingScenario, folder: Path) -> tuple[tuple[Request, ...], str]:
    if scenario.trace is not None:
        asked = scenario.trace
        most_tokens = None if scenario.scheduler in POLICIES else scenario.vidur.request_tokens
        found = read_trace(folder / asked.path, asked.format, most_tokens=most_tokens, most=asked.most, pace=asked.pace)
        return found.requests, f"; {found.failed} rows without an answer, {found.long} of too many tokens"
    drawn = scenario.drawn
    assert drawn is not None
    arrivals = Arrivals(drawn.rate, drawn.arrivals, drawn.cv, scenario.vidur.compat)
    return tuple(drawn_requests(drawn.count, arrivals, lengths_of(drawn.lengths), scenario.seed)), ""


def _vidur(scenario: ServingScenario, times: StageTimes) -> Replica:
    own, rules = scenario.replicas, scenario.vidur
    model, gpu, most = model_of(own.model), gpu_of(own.gpu), rules.request_tokens
    size = 1 if scenario.scheduler == "lightllm" else BLOCK_TOKENS
    blocks = own.blocks
    if blocks is None:
        blocks = replica_blocks(model, gpu, own.tp, own.pp, most, tokens=size)
        if scenario.scheduler in ("orca", "faster-transformer"):
            requests_that_fit(model, gpu, own.tp, own.pp, most)
    limits = Limits(**rules.model_dump(), pp=own.pp)
    return Replica(replica_scheduler(scenario.scheduler, Blocks(blocks, size), limits), times, own.pp)


def _fastserve(scenario: ServingScenario, times: StageTimes) -> Replica:
    """Requests join by what first iterations take with nobody beside."""
    own, rules = scenario.replicas, scenario.fastserve
    shared = scenario.network is not None and not scenario.network.idle
    profile = _times(scenario, port_of(scenario, idle=True)) if shared else times
    return instance(
        own.model,
        own.gpu,
        tp=own.tp,
        policy=scenario.scheduler,
        rules=Rules(rules.batch, rules.idle, rules.swap),
        alpha_ns=round(rules.alpha_s * 1e9) or None,
        blocks=own.blocks,
        host_gb=rules.host_gb,
        pcie_gbs=rules.pcie_gbs,
        times=times,
        profile=profile,
        pace=layer_part(scenario),
    )


def evaluate(
    scenario: ServingScenario,
    serving: Serving,
    progress: Callable[[float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> tuple[Summary, Outcome]:
    """The run itself, once: replicas keep what they have come to."""
    router = router_of(scenario.router, seed=scenario.seed, most=scenario.most, compat=scenario.vidur.compat)
    if scenario.network is not None and not scenario.network.idle:
        together = run_together(scenario, serving.requests, serving.replicas, router, progress, should_stop)
        summary = summarise(scenario, serving, together.serving)
        return with_network(summary, scenario, together), together.serving
    outcome = simulate_serving(serving.requests, serving.replicas, router, progress=progress, should_stop=should_stop)
    return summarise(scenario, serving, outcome), outcome


def run_serving(
    scenario: ServingScenario, source: Path, results: Path, console: Console, *, draw: bool = False
) -> tuple[Summary, Path]:
    """Run a scenario; returns its summary and folder. Asked to end, it keeps what it has, and its summary says so.

    draw: with `serving.png` (`pictures.py`).
    """
    serving = serving_of(scenario, source)
    folder = new_folder(results, f"{scenario.name}-{scenario.method}")
    (folder / "scenario.toml").write_text(scenario.to_toml())
    own = scenario.replicas
    console.print(
        f"{scenario.name}: {len(serving.requests)} requests{serving.note}; {own.count} of {own.model} on {own.gpu}, "
        f"tp {own.tp}, pp {own.pp}; scheduler {scenario.method}, results in {folder}",
        highlight=False,
        soft_wrap=True,
    )
    try:
        what, packets = f"{scenario.name}: {scenario.method}", scenario.network is not None
        with ending_asks() as asked, PartProgress(console, what, packets=packets) as shown:
            summary, outcome = evaluate(scenario, serving, shown.part, asked)
        (folder / REQUESTS_FILE).write_text(requests_text(outcome))
        summary.save(folder)
        if draw:
            from experiments.serving.pictures import draw_serving

            draw_serving(outcome, folder / PICTURE_FILE)
    finally:
        give_to_caller(folder)
    return summary, folder


def summarise(scenario: ServingScenario, serving: Serving, outcome: Outcome) -> Summary:
    """The figures of a run, in seconds."""
    found = figures(outcome)
    engines = [one.scheduler for one in serving.replicas if isinstance(one.scheduler, Engine)]
    own = scenario.replicas
    whole = outcome.incomplete is None
    return Summary(
        scenario=scenario.name,
        policy=scenario.scheduler,
        switch="none",
        topology="serving",
        seed=scenario.seed,
        jobs=[],
        makespan_s=outcome.end_ns / 1e9 if whole else None,
        serving=ServingSummary(
            model=own.model,
            gpu=own.gpu,
            gpus=own.count * own.tp * own.pp,
            requests=len(outcome.lives),
            finished=sum(life.end_ns is not None for life in outcome.lives),
            ttft=_spread(found.ttft),
            tbt=_spread(found.tbt),
            latency_per_token=_spread(found.latency),
            scheduling_delay=_spread(found.wait),
            iteration=_spread(found.iteration),
            tokens_per_s=found.tokens_per_s,
            requests_per_s=found.requests_per_s,
            busy=found.busy,
            batch_tokens=found.batch_tokens,
            peak_memory=max(_peak(one) for one in serving.replicas),
            restarts=found.restarts,
            offloads=sum(one.store.offloads for one in engines),
            mfu=utilisation(outcome, model_of(own.model), gpu_of(own.gpu), own.count * own.tp * own.pp),
        ),
        incomplete=outcome.incomplete,
    )


def _peak(replica: Replica) -> float:
    scheduler = replica.scheduler
    assert isinstance(scheduler, (Engine, ReplicaScheduler))
    blocks = scheduler.store.gpu if isinstance(scheduler, Engine) else scheduler.blocks
    return blocks.peak / blocks.total


def _spread(found: Spread | None) -> SpreadSummary | None:
    return None if found is None else SpreadSummary(**found._asdict())


def requests_text(outcome: Outcome) -> str:
    """A line for each request; empty where it did not come to pass."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("number", *_COLUMNS))
    writer.writerows((life.number, *(getattr(life, name) for name in _COLUMNS)) for life in outcome.lives)
    return text.getvalue()


def serving_table(summary: Summary) -> Table:
    """The figures of a run, for people."""
    found = summary.serving
    assert found is not None
    by = "" if found.carrier is None else f", sums by {found.carrier}"
    table = Table(title=f"{summary.scenario}: {summary.policy}{by}, seconds", caption_justify="left")
    for name in ("figure", "mean", "median", "90 %", "95 %", "99 %", "most"):
        table.add_column(name, justify="left" if name == "figure" else "right")
    for what, one in (
        ("to the first token", found.ttft),
        ("between tokens", found.tbt),
        ("latency by token", found.latency_per_token),
        ("scheduling delay", found.scheduling_delay),
        ("iteration", found.iteration),
        *((f"{name}'s iteration", one) for name, one in found.beside.items()),
    ):
        table.add_row(what, *_cells(one))
    table.caption = (
        f"{found.finished} of {found.requests} requests are over; {found.requests_per_s:.3f} requests and "
        f"{found.tokens_per_s:.1f} tokens a second; stages busy {found.busy:.1%}; {found.batch_tokens:.1f} tokens a "
        f"batch; MFU {found.mfu or 0:.1%}; KV memory {found.peak_memory:.1%} at most; {found.restarts} restarts, "
        f"{found.offloads} offloads"
    )
    return table


def _cells(one: SpreadSummary | None) -> Sequence[str]:
    if one is None:
        return ["-"]
    return [f"{value:.4g}" for value in (one.mean, one.p50, one.p90, one.p95, one.p99, one.most)]
