"""FastServe where collectives go over the network: to the port on an idle one, its clock to the run's."""

from __future__ import annotations

import pytest

from esa.errors import BadInput
from esa.serving.core import Outcome, Replica, simulate_serving
from esa.serving.costs.stages import stage_times
from esa.serving.fastserve.engine import Engine, Rules
from esa.serving.fastserve.instance import instance
from esa.serving.models import model_of
from esa.serving.requests import Request
from esa.serving.routers import RoundRobin
from esa.serving_network.network import SharedNetwork
from esa.serving_network.port import SimulatedPort
from esa.serving_network.together import NoNetwork, Placed, Together, serve_together
from tests.serving.test_together import BESIDE, FOUR, MODEL, ends

MS = 1_000_000
PORT = SimulatedPort(FOUR)
# A long prompt, then short ones while it answers: two places, so that somebody is stopped for somebody else.
REQUESTS = [Request(0, 512, 40), Request(MS, 512, 40), *(Request(60 * MS + 20 * MS * k, 16, 3) for k in range(6))]


def engine(policy: str, port: object, pace: float = 1.0, blocks: int | None = None) -> Replica:
    times, known = (stage_times(MODEL, "a100", 4, 1, port=one, per_host=1) for one in (port, PORT))  # type: ignore[arg-type]
    rules = Rules(batch=2, idle=2)
    return instance(
        MODEL, "a100", tp=4, policy=policy, rules=rules, blocks=blocks, times=times, profile=known, pace=pace
    )


def on_network(policy: str, layers: int, *trainings: object, blocks: int | None = None) -> tuple[Together, Engine]:
    replica = engine(policy, NoNetwork(), layers / 32, blocks)
    placed = Placed(replica, model_of(MODEL), 4, (0, 1, 2, 3))
    found = serve_together(REQUESTS, [placed], RoundRobin(), FOUR, trainings, layers=layers, check=True)  # type: ignore[arg-type]
    assert isinstance(replica.scheduler, Engine)
    return found, replica.scheduler


def alone(policy: str) -> Outcome:
    return simulate_serving(REQUESTS, [engine(policy, PORT)], RoundRobin(), check=True)


@pytest.mark.parametrize(
    "policy",
    [
        "fastserve",
        "fcfs",
        *(pytest.param(other, marks=pytest.mark.slow) for other in ("fastserve-artefact", "naive-mlfq", "srpt")),
    ],
)
def test_with_the_network_to_itself_a_run_takes_what_the_port_says_whatever_the_layers(policy: str) -> None:
    """Quanta, alpha and copies shrink with the part of the layers: else requests would change places."""
    known = ends(alone(policy))
    for layers in (1, 2):
        found, _ = on_network(policy, layers)
        assert ends(found.serving) == pytest.approx(known, rel=0.01)


@pytest.mark.slow
def test_short_requests_pass_long_ones_on_the_network_too_and_beside_a_training() -> None:
    for trainings in ((), (BESIDE,)):
        joined, first_come = (on_network(policy, 1, *trainings)[0].serving for policy in ("fastserve", "fcfs"))
        for fast, slow in zip(joined.lives[2:], first_come.lives[2:], strict=True):
            assert fast.end_ns is not None
            assert slow.end_ns is not None
            assert fast.end_ns < slow.end_ns
    assert joined.lives[0].end_ns is not None


def test_keys_and_values_leave_and_return_while_the_network_runs() -> None:
    """Blocks for the long ones and little else: conserved after every event (check)."""
    found, scheduler = on_network("fastserve", 1, BESIDE, blocks=68)
    assert scheduler.store.offloads > 0
    assert all(life.end_ns is not None for life in found.serving.lives)
    assert scheduler.store.gpu.free == scheduler.store.gpu.total


def test_a_clock_that_is_not_the_runs_is_refused() -> None:
    placed = Placed(engine("fastserve", NoNetwork()), model_of(MODEL), 4, (0, 1, 2, 3))
    with pytest.raises(BadInput, match=r"FastServe's clock at 1; allowed: 0\.0625"):
        serve_together(REQUESTS, [placed], RoundRobin(), SharedNetwork(hosts=4), layers=2)
    with pytest.raises(BadInput, match="pace 0; allowed: above 0, to 1"):
        engine("fastserve", NoNetwork(), 0.0)
