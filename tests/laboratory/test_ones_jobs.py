"""Jobs that tell how they learn, jobs such as those of ONES' artefact, and ONES in the laboratory."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import pytest

from esa.cluster.inventory import Cluster
from esa.cluster.kinds import Costs
from esa.cluster.policies import SCHEDULERS, scheduler
from esa.cluster.scheduler import NOTHING, Decision, JobInfo, Resize, Running, Start
from esa.cluster.times import COMPUTING, Times
from esa.cluster.training import Training
from esa.errors import BadInput
from esa.laboratory import Submitted, simulate_cluster
from esa.laboratory.inputs.applications import Application, read_applications
from esa.laboratory.inputs.growing import Curve, GrowingKind, history, pass_samples
from esa.laboratory.inputs.ones_published import PUBLISHED, ROWS, START_S
from esa.laboratory.inputs.ones_trace import KINDS, OnesTimes, earlier, ones_jobs
from esa.laboratory.inputs.pollux import POLLUX_CLUSTER, POLLUX_COSTS
from tests.laboratory.jobs import SECOND, hosts, job
from tests.laboratory.test_core import gpus

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "pollux"
needs_data = pytest.mark.skipif(
    not DATA.is_dir(), reason=f"petuum/adaptdl, branch osdi21-artifact, its folder simulator, is not at {DATA}"
)


class Halving:
    """Reports of 3 samples each; the loss is what is left of ten iterations."""

    epoch_samples = 3
    first_loss = 1.0

    def at(self, progress: Fraction | int) -> tuple[float, float]:
        return float(1 - Fraction(progress) / 10), 0.0


def test_schedulers_hear_of_samples_whole_epochs_and_speed() -> None:
    """A sample a second on a GPU, twice two on two, and a second of nothing after the change."""
    plain = job("a", 0, 1, 10, elastic=(1, 2), rescale=1)
    told = Submitted(
        **vars(plain) | {"reports": Halving(), "kind": plain.kind.__class__(batch=1, costs=plain.kind.costs)}
    )
    heard: list[Training | None] = []
    script = {0: Decision((Start(0, gpus(0), None),)), 5: Decision(resizes=(Resize(0, gpus(0, 1), None),))}

    def decide(
        now_ns: int, cluster: Cluster, waiting: Sequence[JobInfo], running: Sequence[Running], times: Times
    ) -> Decision:
        info = next(iter(waiting), None) or running[0].job
        heard.append(info.training)
        return script.get(len(heard) - 1, NOTHING)

    simulate_cluster(hosts(2), [told], decide, COMPUTING, tick_ns=SECOND)
    found = [one and (one.epochs, one.samples, one.samples_per_s, one.loss) for one in heard]
    assert found == [
        (0, 0.0, 0.0, 1.0),
        (0, 1.0, 1.0, 0.9),
        (0, 2.0, 1.0, 0.8),
        (1, 3.0, 1.0, 0.7),
        (1, 4.0, 1.0, 0.6),
        (1, 5.0, 1.0, 0.5),
        (1, 5.0, 4.0, 0.5),
        (3, 9.0, 4.0, 0.3),
        (4, 13.0, 4.0, 0.1),
    ]


@pytest.fixture(scope="module")
def applications() -> dict[str, Application]:
    return read_applications(DATA / "traces")


@needs_data
def test_batches_grow_with_gpus_up_to_the_largest(applications: dict[str, Application]) -> None:
    kind = GrowingKind("cifar10", 1024, application=applications["cifar10"], asked=4, largest=4096)
    grown = [kind.grown(workers) for workers in range(1, 65)]
    assert grown == sorted(grown)
    assert (grown[0], grown[3], grown[15], grown[63]) == (256, 1024, 4096, 4096)
    assert kind.split(4) == (256, 0)


@needs_data
def test_less_data_converges_alike(applications: dict[str, Application]) -> None:
    whole = applications["imagenet"]
    part = whole.shortened(0.25)
    assert part.end_of(89) == 0.25 * whole.end_of(89)
    assert part.gain(3, 1000) == whole.gain(3, 1000)
    assert pass_samples(part) == 0.25 * pass_samples(whole)
    assert Curve(part, 1).at(part.end_of(40)) == pytest.approx(Curve(whole, 1).at(whole.end_of(40)))


@needs_data
def test_each_kind_is_as_fast_on_its_gpus_as_its_history_says(applications: dict[str, Application]) -> None:
    jobs = ones_jobs(applications, 40, 30, seed=3)
    assert ones_jobs(applications, 25, 30, seed=3) == jobs[:25]
    assert ones_jobs(applications, 40, 30, seed=4) != jobs
    assert sorted(one.name.rsplit("-", 1)[0] for one in jobs) == sorted(kind.name for kind in KINDS for _ in range(4))
    for one in jobs:
        kind = next(kind for kind in KINDS if one.name.rsplit("-", 1)[0] == kind.name)
        rate = one.kind.batch / (one.iteration_ns / 1e9)
        assert rate == pytest.approx(kind.rate, rel=0.025)  # parts of a batch are rounded up
        assert one.workers == kind.gpus
    bert = [kind for kind in KINDS if kind.application == "bert"]
    assert max(kind.per_sample_s for kind in bert) < 1.05 * min(kind.per_sample_s for kind in bert)
    assert all(kind.per_sample_s > 0 for kind in (*KINDS, *PUBLISHED))


@needs_data
def test_on_the_gpus_asked_for_jobs_train_for_the_samples_of_the_history(applications: dict[str, Application]) -> None:
    jobs = ones_jobs(applications, 20, 1e5, seed=1)
    outcome = simulate_cluster(POLLUX_CLUSTER, jobs, SCHEDULERS["fifo"], OnesTimes())
    for one in outcome.jobs:
        kind = next(kind for kind in KINDS if one.name.rsplit("-", 1)[0] == kind.name)
        assert one.jct_ns is not None
        trained = kind.rate * one.jct_ns / 1e9
        assert any(trained == pytest.approx(samples, rel=0.03) for _, samples in kind.lengths), one.name


@needs_data
def test_jobs_as_published_take_as_long_as_in_the_file_of_tiresias(applications: dict[str, Application]) -> None:
    start = Costs(start_ns=round(START_S * SECOND))
    jobs = ones_jobs(applications, 25, 1e5, seed=1, kinds=PUBLISHED, in_turn=True, costs=start)
    outcome = simulate_cluster(POLLUX_CLUSTER, jobs, SCHEDULERS["fifo"], OnesTimes(PUBLISHED))
    for number, one in enumerate(outcome.jobs):
        row = ROWS[number % len(ROWS)]
        assert one.name.startswith(row.kind)
        assert one.jct_ns is not None
        assert one.jct_ns / 1e9 == pytest.approx(row.seconds, rel=0.03)


@pytest.mark.slow
@needs_data
@pytest.mark.parametrize("name", ["ones", "ones-artefact"])
def test_ones_runs_them_to_their_ends_twice_the_same(name: str, applications: dict[str, Application]) -> None:
    before = [*history(earlier(applications))][::40]
    assert all(0 < record.part < 1 for record in before)
    jobs = ones_jobs(applications, 10, 5, seed=2, growing=True, costs=POLLUX_COSTS)
    outcomes = [
        simulate_cluster(POLLUX_CLUSTER, jobs, scheduler(name, 1, before), OnesTimes(), tick_ns=5 * SECOND, spells=True)
        for _ in range(2)
    ]
    assert outcomes[0] == outcomes[1]
    assert all(one.end_ns is not None for one in outcomes[0].jobs)
    assert outcomes[0].by_level == {1: outcomes[0].held}
    assert sum(one.resizes for one in outcomes[0].jobs) > 5
    assert max(len(spell.gpus) for spell in outcomes[0].spells) >= 8
    events = sorted({spell.start_ns for spell in outcomes[0].spells})
    for at in events:
        had = [gpu for one in outcomes[0].spells if one.start_ns <= at < one.end_ns for gpu in one.gpus]
        assert len(had) == len(set(had)) <= 64


@needs_data
@pytest.mark.parametrize(
    ("given", "problem"),
    [((0, 30), "jobs: 0; allowed: 1 to 1000000"), ((1, 0), "mean_interval_s: 0; allowed: above 0, to 1e6")],
)
def test_what_cannot_be_drawn_is_refused(given: tuple, problem: str, applications: dict[str, Application]) -> None:
    with pytest.raises(BadInput, match=problem):
        ones_jobs(applications, *given, seed=1)
