"""Congestion control held against its limits: sixteen workers into one PS, and two jobs beside TCP over one bottleneck.

Both are scenarios that `esa run` takes as they are (`scenarios/incast.toml`, `fairness.toml`). Each is run twice: as it
is, and with windows that no mark changes, in the same queues. Rates are those of frames. Live, how busy the machine was
while the jobs trained stands beside each: where more tasks want a core than there are, it is cores that bound goodput.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from esa.errors import EsaError
from esa.report import load_run
from esa.report.records import Summary
from esa.wire import packet_bytes
from experiments.common.machine_load import MachineLoad
from experiments.specs.scenario import Check, Scenario

SCENARIOS = Path(__file__).resolve().parents[1] / "scenarios"
MOST_LOSS, LEAST_GOODPUT, LEAST_JAIN = 0.001, 0.9, 0.95
_TCP_FRAME, _TCP_PAYLOAD = 1514, 1448  # of a full packet with time stamps, as Linux sends it

Run = Callable[[Scenario], tuple[Summary, float | None]]
"""What a run has shown, and, of a live one, how many tasks ran or could, per core."""


class FallsShort(EsaError, RuntimeError):  # noqa: N818
    """A figure is on the wrong side of its limit; one line."""


@dataclass(frozen=True)
class Figure:
    """What was found. limit: at most, or at least; None: it is there to compare."""

    what: str
    figure: float
    limit: float | None = None
    at_least: bool = False

    @property
    def holds(self) -> bool:
        if self.limit is None:
            return True
        return self.figure >= self.limit if self.at_least else self.figure <= self.limit


def loss(summary: Summary) -> float:
    """The part of the jobs' packets that a full queue lost."""
    return (summary.dropped or 0) / sum(job.fragments + job.resends for job in summary.jobs)


def goodput(scenario: Scenario, summary: Summary) -> float:
    """What of the PS's link carried fragments, each counted once, while there was something to send: a part of it.

    0 where the job gave up.
    """
    (job,) = summary.jobs
    if job.jct_s is None:
        return 0.0
    return 8 * job.fragments * packet_bytes(scenario.lanes) / _known(job.comm_s) / scenario.network.rate


def shares_bps(scenario: Scenario, summary: Summary) -> list[float]:
    """The rate at which each job's results, and each flow's packets, went over the link that they share."""
    fragment_bits = 8 * packet_bytes(scenario.lanes)
    jobs = [fragment_bits * job.fragments / job.workers / _known(job.jct_s) for job in summary.jobs]
    flows = [_known(flow.goodput_bps) * _TCP_FRAME / _TCP_PAYLOAD for flow in summary.flows or ()]
    return jobs + flows


def jain(rates: Sequence[float]) -> float:
    """Jain's index of fairness: 1 where all are equal, 1 / n where one has everything."""
    return sum(rates) ** 2 / (len(rates) * sum(rate**2 for rate in rates))


def _known(figure: float | None) -> float:
    if figure is None:
        raise FallsShort("a run did not come to its end; its summary says why")
    return figure


def figures(run: Run, check: Check, ways: Sequence[bool] = (True, False)) -> list[Figure]:
    """Run both scenarios, as they are (True) and with windows that no mark changes (False)."""
    found = []
    for controlled in ways:  # without control a job may give up: that is a figure, too
        settings = {} if controlled else {"job_defaults": {"congestion": "none"}}
        how = "" if controlled else ", no window follows marks"
        incast = Scenario.load(SCENARIOS / "incast.toml", check, **settings)
        summary, load = run(incast)
        limits = (MOST_LOSS, LEAST_GOODPUT, LEAST_JAIN) if controlled else (None, None, None)
        found.append(Figure(f"incast: lost{how}", loss(summary), limits[0]))
        found.append(Figure(f"incast: goodput / link{how}", goodput(incast, summary), limits[1], True))
        found += _load(f"incast: load per core{how}", load)
        shared = Scenario.load(SCENARIOS / "fairness.toml", check, **settings)
        summary, load = run(shared)
        found.append(Figure(f"two jobs and TCP: Jain{how}", jain(shares_bps(shared, summary)), limits[2], True))
        found += _load(f"two jobs and TCP: load per core{how}", load)
    return found


def _load(what: str, load: float | None) -> list[Figure]:
    return [] if load is None else [Figure(what, load)]


def _run_live(scenario: Scenario, results: Path, console: Console) -> tuple[Summary, float | None]:
    from experiments.live.run import run

    began = time.monotonic()
    with MachineLoad() as load:
        summary, folder = run(scenario, results, console)
    records = load_run(folder).records  # times count from the run's start
    trained = [record["t"] for record in records if record["event"] in ("submit", "iteration")]
    return summary, load.mean(began + min(trained), began + max(trained)) if trained else None


def congestion(live: bool, results: Path) -> None:
    """Print each figure beside its limit; FallsShort, one line, if one is on the wrong side."""
    console = Console(width=max(Console().width, 100))
    if live:
        from experiments.live.check import check_live as check

        found = figures(lambda scenario: _run_live(scenario, results, console), check)
    else:
        from experiments.virtual.check import check_virtual as check
        from experiments.virtual.run import run_virtual

        found = figures(lambda scenario: (run_virtual(scenario, results, console)[0], None), check)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for name in ("what", "figure", "limit", ""):
        table.add_column(name)
    for one in found:
        limit = "" if one.limit is None else f"{'at least' if one.at_least else 'at most'} {one.limit:g}"
        table.add_row(one.what, f"{one.figure:.4f}", limit, "" if one.limit is None else _verdict(one))
    console.print(table)
    short = [one for one in found if not one.holds]
    if short:
        raise FallsShort(f"{len(short)} fall short: {short[0].what}, {short[0].figure:.4f}")


def _verdict(figure: Figure) -> str:
    return "holds" if figure.holds else "falls short"
