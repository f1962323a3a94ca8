"""Replicas and training jobs on one simulated network, in one run.

    found = serve_together(requests, replicas, router, network, trainings, layers=4, seed=1)
    found.serving            # as of simulate_serving
    found.trainings[0]       # its iterations, how long each took

Each stage of a replica is a job of the simulator whose ranks, one on each host of its tensor-parallel group, compute
half a layer and sum its activations, twice a layer; what it sends on is another job's messages. Sums inside a host are
part of its computing. `esa/serving/core.py`
decides what runs next while the simulator runs (`esa/sim/guests.py`), so that a batch waits for what its packets wait
for, and packets for those of all others.

layers: simulated of a stage's, and of it alone; then all that is beside shrinks alike: intervals between requests, the
engine's time, bytes and computing of trainings. Sums are as large and as far apart as they were, so a link has as much
to do. Times are multiplied again in what is found. A training's last fragment's way, once an iteration, is too long by
that factor then.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from esa.errors import BadInput
from esa.protocol import NEVER
from esa.serving.batches import Batch
from esa.serving.core import Outcome, Replica, Router, Run
from esa.serving.costs.stages import Fitted, rounded
from esa.serving.fastserve.engine import Engine
from esa.serving.models import HALF, Llm
from esa.serving.network import Group
from esa.serving.requests import Request
from esa.serving_network.jobs import Training, boundary_job, layer_priority, plan_of, stage_job, training_job
from esa.serving_network.network import SharedNetwork
from esa.sim import simulate
from esa.sim.guests import again, rewrite
from esa.sim.loop import SimState
from esa.sim.plan import Flow, SimulatedJob
from esa.sim.plan import Outcome as NetworkOutcome


class NoNetwork:
    """A port through which nothing takes time: what is left is computing, and the launch of each collective."""

    def collective(self, group: Group, kind: str, octets: int) -> int:
        return 0

    def flow(self, *, same_host: bool, octets: int) -> int:
        return 0


@dataclass(frozen=True)
class Placed:
    """A replica and where it is. times: with `NoNetwork` as port, inside hosts as measured (`hosts_first.py`).

    hosts: stage by stage, those of its ranks. per_host: GPUs of a rank's, which share its cable.
    """

    replica: Replica
    model: Llm
    tp: int
    hosts: tuple[int, ...]
    per_host: int = 1

    def __post_init__(self) -> None:
        pp = self.replica.pp
        if self.per_host < 1 or self.tp % self.per_host:
            raise BadInput(f"per_host: {self.per_host} of a group of {self.tp}; allowed: a divisor")
        if len(self.hosts) != self.ranks * pp:
            each = "GPU" if self.per_host == 1 else f"{self.per_host} GPUs"
            raise BadInput(
                f"hosts: {list(self.hosts)}; allowed: {self.ranks * pp}, one for each {each}, stage by stage"
            )
        for stage in range(pp):
            mine = self.stage_hosts(stage)
            if len(set(mine)) < len(mine):
                raise BadInput(
                    f"hosts: {list(mine)} of stage {stage}; allowed: each once, with per_host for GPUs that share one"
                )
        if isinstance(self.replica.times, Fitted) and self.tp * pp > 1:
            raise BadInput("times: a fit has its collectives in it; allowed on a network: profile, roofline")

    @property
    def ranks(self) -> int:
        """Of a stage, on the network."""
        return self.tp // self.per_host

    def stage_hosts(self, stage: int) -> tuple[int, ...]:
        return self.hosts[stage * self.ranks : (stage + 1) * self.ranks]


@dataclass(frozen=True)
class Trained:
    """iterations_s: how long each took, the first left out; while requests were served, whole ones. jct_s: if it ended
    by itself.
    """

    name: str
    iterations_s: tuple[float, ...]
    jct_s: float | None


@dataclass(frozen=True)
class Together:
    """network: of the simulator, its times as simulated. layer_part: of the layers that were."""

    serving: Outcome
    trainings: tuple[Trained, ...]
    network: NetworkOutcome
    layer_part: float


class _Stage:
    """A stage's part of the network: the numbers of its jobs, None for those that are none."""

    def __init__(self, placed: Placed, stage: int, layers: int) -> None:
        self.placed = placed
        self.stage = stage
        self.layers = layers
        self.sums: int | None = None
        self.sends: int | None = None
        self.batch: Batch | None = None
        self.sending = False


class _Serving:
    """A `Guest`: the replicas' stages."""

    def __init__(
        self,
        requests: Sequence[Request],
        placed: Sequence[Placed],
        router: Router,
        network: SharedNetwork,
        layers: int | None,
        progress: Callable[[float], None] | None,
        *,
        check: bool,
    ) -> None:
        self._network = network
        self._progress = progress
        own = placed[0].model.layers // placed[0].replica.pp
        self.layer_part = 1.0 if layers is None else layers / own
        self._stages = [[_Stage(one, stage, layers or own) for stage in range(one.replica.pp)] for one in placed]
        scaled = [one._replace(arrival_ns=round(one.arrival_ns * self.layer_part)) for one in requests]
        self.run = Run(scaled, [one.replica for one in placed], router, check=check, runs=self._start)
        self._sim: SimState | None = None
        self._alone: list[tuple[int, int, int]] = []  # stages of one GPU: when over, replica, stage
        self._of: dict[int, tuple[int, int]] = {}
        self._done = 0
        self.endless: list[int] = []
        self.over_ns: int | None = None

    def simulated(self) -> list[SimulatedJob]:
        """The jobs of the stages; they are numbered as they come."""
        found: list[SimulatedJob] = []
        for r, stages in enumerate(self._stages):
            for one in stages:
                hosts = one.placed.stage_hosts(one.stage)
                if len(hosts) > 1:
                    one.sums = len(found)
                    found.append(stage_job(f"replica-{r}-stage-{one.stage}", hosts, one.layers, self._network))
                if one.stage < len(stages) - 1:
                    one.sends = len(found)
                    onward = one.placed.stage_hosts(one.stage + 1)
                    found.append(boundary_job(f"replica-{r}-send-{one.stage}", hosts, onward, self._network))
                for number in (one.sums, one.sends):
                    if number is not None:
                        self._of[number] = r, one.stage
        return found

    @property
    def jobs(self) -> Sequence[int]:
        return [*self._of]

    @property
    def next_ns(self) -> int:
        if self.run.over:
            return NEVER
        when = self.run.next_ns
        due = self._alone[0][0] if self._alone else NEVER
        return due if when is None else min(when, due)

    def happen(self, sim: SimState, now_ns: int) -> Sequence[int]:
        self._sim = sim
        while self.next_ns <= now_ns:
            if self._alone and self._alone[0][0] <= now_ns:
                _, replica, stage = heapq.heappop(self._alone)
                self._computed(replica, stage, now_ns)
            else:
                self.run.advance(now_ns)
        if not self.run.over or self.over_ns is not None:
            return []
        self.over_ns = now_ns
        return [*self._of, *(number for number in self.endless if sim.ranks.job[number]["open"])]

    def stays(self, sim: SimState, number: int, now_ns: int) -> bool:
        if number not in self._of:
            return False
        replica, stage = self._of[number]
        mine = self._stages[replica][stage]
        if number == mine.sums and mine.batch is not None and not mine.sending:
            self._computed(replica, stage, now_ns)
        elif number == mine.sends and mine.sending:
            self._over(replica, stage, now_ns)
        return True

    def _start(self, replica: int, stage: int, batch: Batch, now_ns: int) -> None:
        """A stage begins a batch."""
        assert self._sim is not None
        mine = self._stages[replica][stage]
        mine.batch = batch
        times, layers = mine.placed.replica.times, 2 * mine.layers
        stage_ns = times.stage_ns(batch.shape) * self.layer_part
        engine_ns = round(times.overhead_ns * self.layer_part) if stage == 0 else 0
        if mine.sums is None:
            heapq.heappush(self._alone, (now_ns + max(1, round(stage_ns) + engine_ns), replica, stage))
            return
        octets = self._network.sum_bytes(self._octets(mine))
        each_ns = stage_ns / layers
        priority = layer_priority(self._network, decodes=batch.shape.decodes > 0, octets=octets, computing_ns=each_ns)
        rewrite(self._sim, mine.sums, ns=(engine_ns, round(each_ns)), octets=octets, priority=priority)
        again(self._sim, mine.sums, now_ns)

    @staticmethod
    def _octets(mine: _Stage) -> int:
        """Activations of a batch, in half precision."""
        assert mine.batch is not None
        return rounded(mine.batch.shape.tokens) * mine.placed.model.hidden * HALF

    def _computed(self, replica: int, stage: int, now_ns: int) -> None:
        mine = self._stages[replica][stage]
        if mine.sends is None:
            self._over(replica, stage, now_ns)
            return
        assert self._sim is not None
        mine.sending = True
        rewrite(self._sim, mine.sends, octets=max(1, round(self._octets(mine) * self.layer_part)))
        again(self._sim, mine.sends, now_ns)

    def _over(self, replica: int, stage: int, now_ns: int) -> None:
        mine = self._stages[replica][stage]
        mine.batch, mine.sending = None, False
        self.run.stage_over(replica, stage, now_ns)
        if self._progress is not None:
            self._progress(self.run.part)


def serve_together(
    requests: Sequence[Request],
    placed: Sequence[Placed],
    router: Router,
    network: SharedNetwork,
    trainings: Sequence[Training] = (),
    flows: Sequence[Flow] = (),
    *,
    layers: int | None = None,
    seed: int = 1,
    check: bool = False,
    progress: Callable[[float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Together:
    """Serve requests to their end, beside trainings and flows. layers: simulated of each stage's; None: all.

    BadInput for hosts that there are not, replicas that are not alike, and nothing that sends.
    """
    for one in placed:
        own = one.model.layers // one.replica.pp
        check_layers(one.model, one.replica.pp, layers)
        if (own, one.replica.pp) != (placed[0].model.layers // placed[0].replica.pp, placed[0].replica.pp):
            raise BadInput("replicas: of several kinds; allowed: equal ones")
    guest = _Serving(requests, placed, router, network, layers, progress, check=check)
    for scheduler in (one.replica.scheduler for one in placed):
        if isinstance(scheduler, Engine) and scheduler.pace != guest.layer_part:
            raise BadInput(
                f"replicas: FastServe's clock at {scheduler.pace:g}; allowed: {guest.layer_part:g}, the part of the "
                "layers that are simulated"
            )
    jobs = guest.simulated()
    first = len(jobs)
    jobs += [training_job(one, network, guest.layer_part) for one in trainings]
    if not jobs:
        raise BadInput("network: replicas on one host each, and no job beside; allowed: something that sends")
    guest.endless = [first + k for k, one in enumerate(trainings) if one.iterations is None]
    plan = replace(plan_of(jobs, network, seed), flows=tuple(_shorter(flow, guest.layer_part) for flow in flows))
    outcome = simulate(plan, should_stop=should_stop, guest=guest)
    found = guest.run.found
    found.incomplete = outcome.incomplete
    part = guest.layer_part
    return Together(
        stretched(found, part),
        tuple(_trained(one, outcome, guest.over_ns, part) for one in trainings),
        outcome,
        part,
    )


def check_layers(model: Llm, pp: int, layers: int | None) -> None:
    """BadInput unless a stage has so many."""
    own = model.layers // pp
    if layers is not None and not 1 <= layers <= own:
        raise BadInput(f"layers: {layers}; allowed: 1 to {own}, a stage's")


def train_alone(
    training: Training, network: SharedNetwork, layer_part: float = 1.0, *, iterations: int = 6, seed: int = 1
) -> Trained:
    """The job with the network to itself."""
    own = replace(training, iterations=iterations)
    outcome = simulate(plan_of([training_job(own, network, layer_part)], network, seed))
    return _trained(own, outcome, None, layer_part)


def _shorter(flow: Flow, part: float) -> Flow:
    """As much traffic for its time, in so much of the time."""
    start_ns = round(flow.start_ns * part)
    return replace(
        flow,
        bytes=None if flow.bytes is None else max(1, round(flow.bytes * part)),
        start_ns=start_ns,
        stop_ns=None if flow.stop_ns is None else start_ns + max(1, round((flow.stop_ns - flow.start_ns) * part)),
    )


def stretched(found: Outcome, part: float) -> Outcome:
    """Times of a run of that part of the layers as of one of all."""
    if part == 1.0:
        return found

    def whole(ns: int) -> int:
        return round(ns / part)

    for life in found.lives:
        life.arrival_ns, life.last_ns = whole(life.arrival_ns), whole(life.last_ns)
        for name in ("first_ns", "first_token_ns", "end_ns"):
            value = getattr(life, name)
            setattr(life, name, None if value is None else whole(value))
    for counts in (found.gaps, found.iterations):
        longer: dict[int, int] = {}
        for ns, often in counts.items():
            longer[whole(ns)] = longer.get(whole(ns), 0) + often
        counts.clear()
        counts.update(longer)
    found.busy_ns, found.end_ns = whole(found.busy_ns), whole(found.end_ns)
    return found


def _trained(training: Training, outcome: NetworkOutcome, over_ns: int | None, part: float) -> Trained:
    by_rank = outcome.marks_ns.get(training.name, ())
    begun = [max(each) for each in zip(*([ns for _, ns in marks] for marks in by_rank), strict=False)]
    until = [ns for ns in begun[1:] if over_ns is None or ns <= over_ns]
    spans = tuple((b - a) / 1e9 / part for a, b in pairwise(until))
    job = next(one for one in outcome.jobs if one.name == training.name)
    ended = training.iterations is not None and job.jct_s is not None
    return Trained(training.name, spans, job.jct_s / part if ended and job.jct_s is not None else None)
