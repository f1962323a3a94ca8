"""XScheduler: the policy and controls with the most throughput under a limit on latency.

    task = Task.of("exegpt-s")
    cluster = Cluster("opt-13b", "a40", gpus=4)
    found = schedule(measured_profile("opt-13b", "a40", (1, 2, 4)), cluster, task, limit_s=11.5)

Both policies are searched, each degree of tensor parallelism by itself. RRA: over queries of an encoding and iterations
of a phase; how many GPUs are in groups is gone through. WAA: over queries and GPUs in groups; micro-batches of the
decoders and how GPUs are split (WAA-C by computing, WAA-M by memory) are gone through. `search` is branch and bound, or
looks at everything.

Latency is of a query with the 99th percentile's output tokens; prompts count with their mean. What does not fit has no
end. Of RRA's pipeline the pool is cut into as many micro-batches as stages; its iterations are of what decodes in the
mean, by Little's law, and its memory holds what decodes after an encoding. WAA's encoders and decoders each run by
themselves (`waa.py`), encoders with as many GPUs in groups as decoders, if they have so many; no more decode at a time
than were timed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import NamedTuple

from esa.errors import BadInput
from esa.serving.exegpt.phases import Lengths, Phase, pool, truncated_normal
from esa.serving.exegpt.pipeline import passed_s, pipeline, round_s
from esa.serving.exegpt.profiler import Profile
from esa.serving.exegpt.search import Best, branch_and_bound
from esa.serving.exegpt.waa import balanced, split
from esa.serving.lengths import LENGTHS, Independent
from esa.serving.models import gpu_of, model_of

# The 99th percentile of outputs, as ExeGPT's Table 3 has it.
P99 = {"exegpt-s": 63, "exegpt-t": 292, "exegpt-g": 417, "exegpt-c1": 137, "exegpt-c2": 579}
POLICIES = ("rra", "waa-c", "waa-m")
NEVER = float("inf")
NOWHERE = NEVER, NEVER  # what does not fit: a bound of any block that it is a corner of
MARGIN = 0.1  # of a GPU's memory, for other things
REFERENCE = 16  # queries of an encoding that the split of GPUs goes by
PCIE_GBS = 32.0
SLACK = 0.02  # by which the search allows controls not to grow
Search = Callable[..., Best]


class Task(NamedTuple):
    """Mean prompt; output tokens: probabilities, mean, 99th percentile; tokens that a query has on the way."""

    prompt: float
    outputs: Lengths
    mean: float
    p99: int
    context: float

    @classmethod
    def of(cls, name: str) -> Task:
        """BadInput for one that is none of ExeGPT's."""
        lengths = LENGTHS.get(name)
        if name not in P99 or not isinstance(lengths, Independent):
            raise BadInput(f"task: unknown task '{name}'; allowed: {', '.join(P99)}")
        prompts, outputs = (truncated_normal(*one[:3]) for one in (lengths.prompt, lengths.output))
        prompt, mean = (sum(tokens * part for tokens, part in each.items()) for each in (prompts, outputs))
        square = sum(tokens * tokens * part for tokens, part in outputs.items())
        return cls(prompt, outputs, mean, P99[name], prompt + (square / mean + 1) / 2)


class Cluster(NamedTuple):
    """handover: of keys and values from WAA's encoders over the host, GB/s; 0: at once."""

    model: str
    gpu: str
    gpus: int
    handover_gbs: float = PCIE_GBS


@dataclass(frozen=True)
class Plan:
    """policy: rra, waa-c, waa-m. together: GPUs in groups of `degree`, of WAA of the decoders. iterations: of a phase,
    0 for WAA; micro: batches of its decoders, 0 for RRA; encoders: GPUs, 0 for RRA.
    """

    policy: str
    batch: int
    degree: int
    together: int
    iterations: int = 0
    micro: int = 0
    encoders: int = 0

    @property
    def text(self) -> str:
        groups = f"{self.together} GPUs in groups of {self.degree}" if self.degree > 1 else "no groups"
        if self.policy == "rra":
            return f"rra: {self.batch} queries, {self.iterations} iterations, {groups}"
        return f"{self.policy}: {self.batch} queries, {self.micro} micro-batches, {self.encoders} encoders, {groups}"


class Scheduled(NamedTuple):
    """plan: None where nothing is within the limit. evaluations: points that were asked for, of so many `points`."""

    plan: Plan | None
    throughput: float
    latency_s: float
    evaluations: int
    points: int


class Sizes(NamedTuple):
    """How far controls go."""

    batches: int = 64
    iterations: int = 64
    micro: int = 4


class Simulator:
    """XSimulator: throughput and latency of a plan, by expectation."""

    def __init__(self, profile: Profile, cluster: Cluster, task: Task) -> None:
        self._profile = profile
        self._task = task
        self._cluster = cluster
        self._model = model_of(cluster.model)
        self._gpu_bytes = gpu_of(cluster.gpu).memory_gib * 2**30 * (1 - MARGIN)
        self.weights = self._model.weight_bytes()
        self.each = self._model.kv_bytes * (task.prompt + task.p99)
        self._after = lru_cache(maxsize=None)(lambda iterations: pool(task.outputs, 1, iterations, "little"))

    def evaluate(self, plan: Plan) -> tuple[float, float]:
        """Queries a second, and seconds; NEVER for what does not fit."""
        return self._rra(plan) if plan.policy == "rra" else self._waa(plan)

    def split(self, policy: str) -> int:
        """GPUs that encode."""
        task, profile, layers = self._task, self._profile, self._model.layers
        if policy == "waa-m":
            parts = self.weights, self.weights + REFERENCE * task.mean * self.each
        else:
            together = REFERENCE * task.mean
            decode_s = layers * profile.decode_s(1, together, task.context)
            parts = layers * profile.encode_s(1, REFERENCE, task.prompt), task.mean * REFERENCE * decode_s / together
        return split(self._cluster.gpus, *parts)[0]

    def _encode(self, tokens_of: float, gpus: int, degree: int, together: int) -> list[float]:
        row, task = pipeline(self._model.layers, gpus, degree, together), self._task
        queries = max(1.0, tokens_of)
        send_s = self._profile.send_s(queries * task.prompt)
        return row.stages_s(lambda tp: self._profile.encode_s(tp, queries, task.prompt), send_s)

    def _decode(self, queries: float, gpus: int, degree: int, together: int) -> list[float]:
        row, context = pipeline(self._model.layers, gpus, degree, together), self._task.context
        most = max(1.0, queries)
        return row.stages_s(lambda tp: self._profile.decode_s(tp, most, context), self._profile.send_s(most))

    def _rra(self, plan: Plan) -> tuple[float, float]:
        gpus, task = self._cluster.gpus, self._task
        stages = plan.together // plan.degree + gpus - plan.together
        micro = min(stages, plan.batch)
        held = plan.batch * self._after(plan.iterations) * self.each
        if self.weights + held > gpus * self._gpu_bytes:
            return NOWHERE
        encode_s = passed_s(self._encode(plan.batch / micro, gpus, plan.degree, plan.together), micro)
        decoding = plan.batch * task.mean / plan.iterations
        decode_s = round_s(self._decode(decoding / stages, gpus, plan.degree, plan.together), stages)
        phase = Phase(encode_s, decode_s, plan.batch, plan.iterations)
        return phase.throughput, phase.latency_s(task.p99)

    def _waa(self, plan: Plan) -> tuple[float, float]:
        task, encoders = self._task, plan.encoders
        decoders = self._cluster.gpus - encoders
        groups = min(plan.together, encoders // plan.degree * plan.degree)
        stages = self._encode(plan.batch, encoders, plan.degree, groups)

        def decode_s(queries: float) -> float:
            return round_s(self._decode(queries / plan.micro, decoders, plan.degree, plan.together), plan.micro)

        timed = plan.micro * self._profile.most_decodes
        most = min(timed, (decoders * self._gpu_bytes - self.weights) / self.each)
        kept = plan.batch * self._model.kv_bytes * task.prompt
        if most < 1 or self.weights + kept > encoders * self._gpu_bytes:
            return NOWHERE
        throughput, together = balanced(plan.batch / max(stages), task.mean, decode_s, most)
        rate = self._cluster.handover_gbs
        handover_s = kept / rate / 1e9 if rate else 0.0
        return throughput, passed_s(stages, 1) + handover_s + task.p99 * decode_s(together)


def schedule(
    profile: Profile,
    cluster: Cluster,
    task: Task,
    limit_s: float,
    *,
    sizes: Sizes = Sizes(),  # noqa: B008 - frozen
    policies: Sequence[str] = POLICIES,
    search: Search = branch_and_bound,
    options: Mapping[str, float] | None = None,
) -> Scheduled:
    """The best plan of these policies. search: `branch_and_bound`, or `exhaustive`; options: what it takes besides, by
    default `SLACK` of the former. BadInput for a cluster of no GPU, a limit that is none, and what the profile has not.
    """
    if cluster.gpus < 1 or not limit_s > 0:
        raise BadInput(f"{cluster.gpus} GPUs, limit {limit_s:g} s; allowed: from 1, above 0")
    unknown = next((one for one in policies if one not in POLICIES), None)
    if unknown is not None:
        raise BadInput(f"policy: unknown policy '{unknown}'; allowed: {', '.join(POLICIES)}")
    simulator = Simulator(profile, cluster, task)
    more = {"slack": SLACK} if options is None and search is branch_and_bound else dict(options or {})
    best: tuple[float, float, Plan] | None = None
    evaluations = points = 0
    for columns, rows, plan_of in _grids(simulator, profile, cluster, sizes, policies):
        least = 0.0 if best is None else best[0]
        found = search(partial(_at, simulator, plan_of), columns, rows, limit_s, least=least, **more)
        evaluations += found.evaluations
        points += columns * rows
        if found.point is not None:
            best = found.throughput, found.latency, plan_of(*found.point)
    if best is None:
        return Scheduled(None, 0.0, NEVER, evaluations, points)
    return Scheduled(best[2], best[0], best[1], evaluations, points)


def _at(simulator: Simulator, plan_of: Callable[[int, int], Plan], column: int, row: int) -> tuple[float, float]:
    return simulator.evaluate(plan_of(column, row))


def _rra_at(iterations: int, degree: int, together: int, column: int, row: int) -> Plan:
    return Plan("rra", column + 1, degree, together, iterations - row)


def _waa_at(
    policy: str, degree: int, together: Sequence[int], micro: int, encoders: int, column: int, row: int
) -> Plan:
    return Plan(policy, column + 1, degree, together[row], 0, micro, encoders)


def _grids(
    simulator: Simulator, profile: Profile, cluster: Cluster, sizes: Sizes, policies: Sequence[str]
) -> Iterator[tuple[int, int, Callable[[int, int], Plan]]]:
    """Columns, rows and the plan at a point, of each grid on which throughput and latency grow with both."""
    most_stages = model_of(cluster.model).layers

    def grouped(gpus: int, degree: int) -> list[int]:
        """GPUs in groups, at least one group: fewer and fewer, as long as stages have a layer each."""
        each = [0] if degree == 1 else range(gpus // degree * degree, 0, -degree)
        return [one for one in each if one // degree + gpus - one <= most_stages]

    for degree in profile.degrees:
        if degree > cluster.gpus:
            continue
        for together in grouped(cluster.gpus, degree) if "rra" in policies else ():
            yield sizes.batches, sizes.iterations, partial(_rra_at, sizes.iterations, degree, together)
        for policy in (one for one in policies if one != "rra" and cluster.gpus > 1):
            encoders = simulator.split(policy)
            rows = grouped(cluster.gpus - encoders, degree)
            for micro in range(1, sizes.micro + 1) if rows else ():
                yield sizes.batches, len(rows), partial(_waa_at, policy, degree, rows, micro, encoders)
