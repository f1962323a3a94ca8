"""Inference on the simulated network: to arithmetic and to the port on an idle one, and beside a training."""

from __future__ import annotations

from dataclasses import replace

import pytest

from esa.errors import BadInput
from esa.network_times.training import parts_of
from esa.serving.batches import decode_shape, prompt_shape
from esa.serving.core import Outcome, Replica, simulate_serving
from esa.serving.costs.stages import stage_times
from esa.serving.kv_memory import Blocks
from esa.serving.metrics import figures
from esa.serving.models import model_of
from esa.serving.network import ALL_REDUCE, Group, TablePort
from esa.serving.requests import Request
from esa.serving.routers import RoundRobin
from esa.serving.vidur.base import Limits
from esa.serving.vidur.names import replica_scheduler
from esa.serving_network.calibrated import ring_like
from esa.serving_network.jobs import DECODE, PROMPT, Training, layer_priority, training_job
from esa.serving_network.network import CARRIERS, SharedNetwork
from esa.serving_network.port import SimulatedPort
from esa.serving_network.together import NoNetwork, Placed, Together, serve_together, train_alone
from esa.sim.plan import Flow

MODEL = "llama-2-7b"
FOUR = SharedNetwork(hosts=4)
ONE = [Request(0, 64, 4)]
MANY = [Request(3_000_000 * k, 64, 4 + k) for k in range(4)]
BESIDE = Training("beside", "communication-heavy", (0, 1, 2, 3))


def replica(tp: int, pp: int, port: object = None) -> Replica:
    times = stage_times(MODEL, "a100", tp, pp, port=port or NoNetwork(), per_host=1)  # type: ignore[arg-type]
    return Replica(replica_scheduler("vllm", Blocks(4000, 16), Limits(pp=pp)), times, pp)


def together(
    network: SharedNetwork,
    *trainings: Training,
    requests: list[Request] = MANY,
    tp: int = 4,
    pp: int = 1,
    layers: int | None = 1,
    flows: tuple[Flow, ...] = (),
) -> Together:
    placed = Placed(replica(tp, pp), model_of(MODEL), tp, tuple(k % network.hosts for k in range(tp * pp)))
    return serve_together(requests, [placed], RoundRobin(), network, trainings, flows, layers=layers, check=True)


def by_port(network: SharedNetwork, tp: int, pp: int, requests: list[Request] = MANY) -> Outcome:
    return simulate_serving(requests, [replica(tp, pp, SimulatedPort(network))], RoundRobin())


def ends(found: Outcome) -> list[int | None]:
    return [life.end_ns for life in found.lives]


@pytest.mark.parametrize("carrier", CARRIERS)
def test_with_the_network_to_itself_a_run_takes_what_the_port_says(carrier: str) -> None:
    network = replace(FOUR, carrier=carrier)
    assert ends(together(network).serving) == pytest.approx(ends(by_port(network, 4, 1)), rel=0.005)


def test_over_stages_too() -> None:
    network = SharedNetwork(hosts=4, carrier="ring")
    found = together(network, tp=2, pp=2, layers=2)
    assert ends(found.serving) == pytest.approx(ends(by_port(network, 2, 2)), rel=0.01)


def test_every_layer_of_every_iteration_sends_its_activations_twice() -> None:
    found = together(FOUR, requests=ONE, layers=2)
    (job,) = found.network.jobs
    octets = [FOUR.sum_bytes(tokens * 4096 * 2) for tokens in (64, 8, 8, 8)]  # a prompt, three tokens, in eights
    assert job.fragments == 4 * 2 * 2 * sum(-(-each // (4 * FOUR.lanes)) for each in octets)
    assert sum(life.end_ns is not None for life in found.serving.lives) == 1
    assert found.serving.tokens == 64 + 3


def test_packed_sums_are_half_as_long() -> None:
    whole, half = (together(replace(FOUR, packed=packed), requests=ONE).network.jobs[0] for packed in (False, True))
    assert 2 * half.fragments == whole.fragments


def test_on_an_endless_network_computing_alone_takes_time() -> None:
    endless = SharedNetwork(hosts=4, rate_bps=1e13, delay_ns=0, switch_ns=0, window=16384)
    times = stage_times(MODEL, "a100", 4, 1, port=NoNetwork())
    prompt = times.stage_ns(prompt_shape(64))
    tokens = [times.stage_ns(decode_shape(1, 64 + k)) for k in (1, 2, 3)]
    found = together(endless, requests=ONE).serving
    assert ends(found) == pytest.approx([prompt + sum(tokens)], rel=0.02)


def test_a_replica_of_one_gpu_is_as_fast_as_without_a_network_whoever_sends_beside() -> None:
    found = together(FOUR, BESIDE, requests=ONE, tp=1).serving
    assert ends(found) == pytest.approx(ends(by_port(FOUR, 1, 1, ONE)), rel=1e-4)  # nanoseconds of a layer, rounded


def test_a_part_of_the_layers_says_what_all_do_within_3_percent() -> None:
    own = replace(BESIDE, model="bert")
    part, whole = (figures(together(FOUR, own, requests=ONE, layers=layers).serving) for layers in (4, None))
    for one, other in ((part.ttft, whole.ttft), (part.tbt, whole.tbt)):
        assert one is not None
        assert other is not None
        assert one.mean == pytest.approx(other.mean, rel=0.03)


@pytest.mark.parametrize("carrier", ["esa", "ring"])
def test_who_is_beside_makes_neither_faster(carrier: str) -> None:
    network = replace(FOUR, carrier=carrier)
    alone, beside = together(network), together(network, BESIDE)
    for one, other in zip(ends(alone.serving), ends(beside.serving), strict=True):
        assert one is not None
        assert other is not None
        assert other > one
    train = train_alone(BESIDE, network, beside.layer_part)
    (trained,) = beside.trainings
    mean_s, alone_s = (sum(one.iterations_s) / len(one.iterations_s) for one in (trained, train))
    assert len(trained.iterations_s) > 1
    assert mean_s > alone_s


def test_a_flow_beside_slows_who_shares_its_cables() -> None:
    flow = Flow("keys and values", 1, 0, rate_bps=60e9)
    alone, beside = together(FOUR), together(FOUR, flows=(flow,))
    assert all(a < b for a, b in zip(ends(alone.serving), ends(beside.serving), strict=True))  # type: ignore[operator]
    assert beside.network.flows[0].bytes > 0


def test_a_training_with_an_end_has_a_jct_and_its_iterations() -> None:
    own = replace(BESIDE, iterations=3)
    (trained,) = together(FOUR, own, requests=ONE).trainings
    assert trained.jct_s is not None
    assert trained.jct_s > 3 * sum(part.forward_ns + part.backward_ns for part in parts_of(own.model)) / 1e9
    assert together(FOUR, BESIDE, requests=ONE).trainings[0].jct_s is None


def test_a_run_is_repeated_to_the_nanosecond() -> None:
    one, other = (together(FOUR, BESIDE) for _ in range(2))
    assert ends(one.serving) == ends(other.serving)
    assert one.trainings == other.trainings
    assert one.network.packet_hops == other.network.packet_hops


def test_decodes_come_before_prompts_and_both_before_gradients() -> None:
    job = training_job(BESIDE, FOUR, 1.0)
    assert job.programs is not None
    gradients = job.programs[0].operations["priority"].max()
    asked = [layer_priority(FOUR, decodes=decodes, octets=2**20, computing_ns=1e5) for decodes in (True, False)]
    assert asked == [DECODE, PROMPT]
    assert PROMPT > gradients > 0
    by_formula = replace(FOUR, priorities="formula")
    asked = [layer_priority(by_formula, decodes=decodes, octets=2**20, computing_ns=1e5) for decodes in (True, False)]
    assert asked[0] == asked[1]


def test_a_ring_takes_what_was_measured_between_hosts_from_a_mebibyte_on() -> None:
    """5 %; below, what was measured goes up and down by protocols that a ring has not."""
    group = Group(2, 1)
    port, table = SimulatedPort(ring_like("a100-dgx", group)), TablePort("a100-dgx")
    for power in (20, 21, 22, 23):
        measured = table.collective(group, ALL_REDUCE, 1 << power)
        assert port.collective(group, ALL_REDUCE, 1 << power) == pytest.approx(measured, rel=0.05)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"carrier": "nccl"}, "carrier: unknown 'nccl'; allowed: esa, atp"),
        ({"rows": 3}, "rows: 3; allowed: powers of two"),
        ({"racks": 3}, "racks: 3 of 4 hosts; allowed: racks of equal size"),
        ({"lanes": 128}, "lanes: 128; allowed: 64, 256"),
        ({"delay_ns": -1}, "delay_ns: -1; allowed: 0 to"),
    ],
)
def test_a_network_that_cannot_be_is_refused(change: dict[str, object], problem: str) -> None:
    with pytest.raises(BadInput, match=problem):
        replace(FOUR, **change)


def test_replicas_and_jobs_that_cannot_be_are_refused() -> None:
    with pytest.raises(BadInput, match=r"hosts: \[0, 0\] of stage 0; allowed: each once"):
        Placed(replica(2, 1), model_of(MODEL), 2, (0, 0))
    with pytest.raises(BadInput, match=r"hosts: \[0\]; allowed: 2, one for each GPU"):
        Placed(replica(2, 1), model_of(MODEL), 2, (0,))
    with pytest.raises(BadInput, match="layers: 33; allowed: 1 to 32"):
        together(FOUR, layers=33)
    with pytest.raises(BadInput, match="hosts: 9; allowed: 0 to 3"):
        together(FOUR, replace(BESIDE, hosts=(0, 9)))
    with pytest.raises(BadInput, match="allowed: something that sends"):
        together(FOUR, tp=1)
    with pytest.raises(BadInput, match="training beside: iterations 1; allowed: 2 to"):
        replace(BESIDE, iterations=1)
    with pytest.raises(BadInput, match="allowed: a host for each"):
        SimulatedPort(FOUR).collective(Group(8, 1), ALL_REDUCE, 1024)
