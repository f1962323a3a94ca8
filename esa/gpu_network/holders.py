"""A training whose first ranks share their GPUs with fillers, on the packet simulator: what a filled gap costs whom.

    found = run_holder(holder, SharedNetwork(carrier="esa"), Filling("learned", [kernels_ns]), neighbours)

The gap that is filled is the wait for gradients: from the end of a rank's backward pass to the last sum of the
iteration. Its end nobody knows before, so FIKIT predicts it from earlier ones; a kernel that runs when the sums come
makes the rank late, a late rank is a straggler for all workers of its job, and until its fragments come the others'
hold rows, of which the neighbours' jobs find fewer.

Ranks begin an iteration together, when the last of them has its sums (on one switch they come to all within a packet's
time); a rank that is late begins later by that. The first iterations are not filled: there the gaps are measured.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from esa.errors import BadInput
from esa.gpu.gap import Filled, Filler, fill
from esa.gpu.slices import Slices
from esa.protocol import NEVER
from esa.serving_network.jobs import Training, holder_job, plan_of, training_job
from esa.serving_network.network import SharedNetwork
from esa.sim import simulate
from esa.sim.guests import again
from esa.sim.loop import SimState
from esa.sim.plan import Outcome
from esa.workloads.program import COMPUTE

SLICED = "time-slice"
PREDICTORS = ("none", "learned", "least", "endless", SLICED)
SAMPLE_NS = 50_000  # between two looks at the rows
MEASURED = 2  # iterations before fillers may run, the first of which is not looked at


@dataclass(frozen=True)
class Filling:
    """predictor: of a gap: "none": nothing is filled; "learned": the mean of those before; "least": their least;
    "endless": no prediction, priority alone; "time-slice": no priority, the rank and the task take turns, while the
    rank computes, too. kernels_ns: of the fillers' tasks. ranks: the first so many share. slice_ns, switch_ns: of time
    slices, as of `Slices`.
    """

    predictor: str
    kernels_ns: Sequence[Sequence[int]] = ()
    ranks: int = 1
    epsilon_ns: int = 0
    exact: bool = False
    slice_ns: int = 500_000
    switch_ns: int = 50_000

    def __post_init__(self) -> None:
        if self.predictor not in PREDICTORS:
            raise BadInput(f"predictor: unknown predictor '{self.predictor}'; allowed: {', '.join(PREDICTORS)}")
        if self.predictor != "none" and not self.kernels_ns:
            raise BadInput("fillers: none; allowed: at least one, or predictor none")
        if self.predictor == SLICED and len(self.kernels_ns) > 1:
            raise BadInput(f"fillers: {len(self.kernels_ns)} in turns with a rank; allowed: one, or other predictors")
        if self.ranks < 1 or self.epsilon_ns < 0:
            raise BadInput(f"ranks: {self.ranks}, epsilon_ns: {self.epsilon_ns}; allowed: from 1, from 0")


@dataclass(frozen=True)
class Held:
    """Of a run, the iterations after those that were measured; seconds, means.

    iteration_s: the holder's; neighbours_s: of each neighbour, while the holder ran. gap_s: of ranks that share;
    filled_s: of an iteration, on one GPU; late_s, late_most_s: by iteration, of those ranks the latest: how long it
    had to wait for its GPU.
    rows: part of the switches' that held something; waited: that waited for workers.
    """

    iteration_s: float
    neighbours_s: tuple[float, ...]
    gap_s: float
    filled_s: float
    late_s: float
    late_most_s: float
    rows: float
    waited: float
    network: Outcome


class _Holder:
    """A `Guest`: the holder's iterations, one pass of its program each."""

    def __init__(self, filling: Filling, computing_ns: Sequence[int], iterations: int) -> None:
        self.filling, self.computing_ns, self.left = filling, computing_ns, iterations
        self.jobs = (0,)
        self.next_ns = 0
        self.begun_ns = 0
        self.over_ns: int | None = None
        self.ended = False
        self.spans: list[int] = []
        self.late = [0] * filling.ranks
        self.gaps: list[list[int]] = [[] for _ in range(filling.ranks)]
        self.filled: list[list[Filled]] = []
        self.fillers = [
            [Filler(kernels, exact=filling.exact) for kernels in filling.kernels_ns] for _ in range(filling.ranks)
        ]
        self.turns = [
            Slices(filling.kernels_ns[0], filling.slice_ns, filling.switch_ns)
            for _ in range(filling.ranks if filling.predictor == SLICED else 0)
        ]
        self.waits: list[list[int]] = [[0] * (1 + len(computing_ns)) for _ in range(filling.ranks)]

    def happen(self, sim: SimState, now_ns: int) -> Sequence[int]:
        if self.next_ns == 0:
            self.next_ns = NEVER
            self.begun_ns = now_ns
            again(sim, 0, now_ns)
        if self.over_ns is None or self.ended:
            return []
        self.ended = True
        return [number for number in range(len(sim.ranks.job)) if sim.ranks.job[number]["open"]]

    def stays(self, sim: SimState, number: int, now_ns: int) -> bool:
        if number != 0:
            return False
        if self.over_ns is not None:
            return True
        self.spans.append(now_ns - self.begun_ns)
        self.left -= 1
        fills = len(self.spans) > MEASURED
        found = [self._fill(rank, now_ns, fills=fills) for rank in range(self.filling.ranks)]
        self.filled.append(found)
        if not self.left:
            self.over_ns = now_ns
            return True
        self.late = [one.late_ns for one in found]
        self.begun_ns = now_ns
        for rank, waits in enumerate(self.waits):
            me = sim.ranks.rank[rank]
            mine = sim.ranks.operation[me["first"] : me["end"]]
            assert mine[0]["kind"] == COMPUTE
            mine["ns"][mine["kind"] == COMPUTE] = [
                wait + own for wait, own in zip(waits, (0, *self.computing_ns), strict=True)
            ]
        again(sim, 0, now_ns)
        return True

    def _fill(self, rank: int, now_ns: int, *, fills: bool) -> Filled:
        """A rank's gap, which ends now; and how long it will wait for its GPU before each of its operations."""
        gap_ns = max(0, now_ns - (self.begun_ns + self.late[rank] + sum(self.computing_ns)))
        before = self.gaps[rank][1:]
        self.gaps[rank].append(gap_ns)
        if not fills or self.filling.predictor == "none":
            return Filled(0, 0, 0)
        if self.filling.predictor == SLICED:
            turns = self.turns[rank]
            kernels, filled_ns = turns.kernels, turns.filled_ns
            self.waits[rank] = [turns.rest(gap_ns), *(turns.compute(own) - own for own in self.computing_ns)]
            return Filled(turns.kernels - kernels, turns.filled_ns - filled_ns, sum(self.waits[rank]))
        expected = {"learned": fmean(before), "least": min(before), "endless": math.inf}[self.filling.predictor]
        found = fill(gap_ns, expected, self.fillers[rank], epsilon_ns=self.filling.epsilon_ns)
        self.waits[rank][0] = found.late_ns
        return found


def run_holder(
    holder: Training,
    network: SharedNetwork,
    filling: Filling,
    neighbours: Sequence[Training] = (),
    *,
    iterations: int = 10,
    scale: float = 1.0,
    starts_ns: Sequence[int] = (),
    seed: int = 1,
    should_stop: Callable[[], bool] | None = None,
) -> Held:
    """Iterations of the holder, beside neighbours that train as long as it does. scale: of all bytes and computing.

    starts_ns: when the neighbours begin; 0 for those it does not say.

    BadInput for hosts that there are not, too few iterations, more ranks that share than there are.
    """
    if iterations < MEASURED + 2:
        raise BadInput(f"iterations: {iterations}; allowed: {MEASURED + 2} and more, {MEASURED} of them unfilled")
    if not network.in_network:
        raise BadInput(f"carrier: {network.carrier}; allowed: sums in the network, whose rows a late rank holds")
    if filling.ranks > len(holder.hosts):
        raise BadInput(f"ranks: {filling.ranks} of {len(holder.hosts)} that share; allowed: up to all")
    if not 0 < scale <= 1:
        raise BadInput(f"scale: {scale:g}; allowed: above 0 to 1")
    mine = holder_job(holder, network, scale)
    assert mine.programs is not None
    operations = mine.programs[0].operations
    computing_ns = operations["ns"][operations["kind"] == COMPUTE][1:].tolist()
    if min(starts_ns, default=0) < 0:
        raise BadInput(f"starts_ns: {min(starts_ns)}; allowed: from 0")
    jobs = [mine]
    for number, one in enumerate(neighbours):
        start_ns = starts_ns[number] if number < len(starts_ns) else 0
        jobs.append(replace(training_job(replace(one, iterations=None), network, scale), submit_ns=start_ns))
    guest = _Holder(filling, computing_ns, iterations)
    plan = replace(plan_of(jobs, network, seed), sample_ns=SAMPLE_NS)
    outcome = simulate(plan, guest=guest, should_stop=should_stop)
    if guest.over_ns is None:
        raise RuntimeError(f"holder: {outcome.incomplete}")
    since_ns = guest.over_ns - sum(guest.spans[MEASURED + 1 :])
    filled = guest.filled[MEASURED:-1]  # what ran in a gap makes the next iteration late
    lates = [max(one.late_ns for one in each) for each in filled]
    return Held(
        fmean(guest.spans[MEASURED + 1 :]) / 1e9,
        tuple(_mean_span(outcome, one.name, since_ns, guest.over_ns) for one in neighbours),
        fmean(gap for gaps in guest.gaps for gap in gaps[MEASURED:-1]) / 1e9,
        fmean(one.filled_ns for each in filled for one in each) / 1e9,
        fmean(lates) / 1e9,
        max(lates) / 1e9,
        outcome.occupancy_mean,
        outcome.useful_mean,
        outcome,
    )


def _mean_span(outcome: Outcome, name: str, since_ns: int, until_ns: int) -> float:
    """Of a neighbour's iterations that lie between; of all whole ones if none does."""
    begun = [max(each) for each in zip(*([ns for _, ns in marks] for marks in outcome.marks_ns[name]), strict=False)]
    inside = [ns for ns in begun if since_ns <= ns <= until_ns]
    chosen = inside if len(inside) > 1 else begun
    if len(chosen) < 2:
        raise BadInput(f"neighbour {name}: no whole iteration; allowed: more iterations of the holder")
    return float(chosen[-1] - chosen[0]) / (len(chosen) - 1) / 1e9
