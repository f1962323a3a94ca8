"""`esa serve` on a simulated network: the scenario's replicas, jobs and flows as `esa.serving_network` takes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

from esa.errors import BadInput
from esa.report.records import FlowSummary, JobSummary, SpreadSummary, Summary
from esa.serving.core import Replica, Router
from esa.serving.costs.stages import FABRIC_OF
from esa.serving.metrics import spread
from esa.serving.models import model_of
from esa.serving.network import Port, TablePort
from esa.serving.requests import Request
from esa.serving_network.hosts_first import HostsFirst
from esa.serving_network.jobs import Training
from esa.serving_network.network import SharedNetwork
from esa.serving_network.port import SimulatedPort
from esa.serving_network.together import NoNetwork, Placed, Together, check_layers, serve_together
from esa.sim.plan import Flow
from experiments.specs.flows import CONSTANT, TCP, FlowSpec
from experiments.specs.serving import ServingScenario
from experiments.specs.serving_network import NetworkSpec

VIRTUAL = "virtual"


def network_of(spec: NetworkSpec) -> SharedNetwork:
    """BadInput for what does not go together."""
    return SharedNetwork(
        hosts=spec.hosts,
        racks=spec.racks,
        carrier=spec.carrier,
        rows=spec.rows,
        window=spec.window,
        lanes=spec.lanes,
        packed=spec.packed,
        rate_bps=spec.rate,
        spine_bps=spec.spine_rate,
        delay_ns=round(spec.delay_us * 1e3),
        priorities=spec.priorities,
    )


def port_of(scenario: ServingScenario, *, idle: bool) -> Port:
    """What iteration times have of the network: all, or nothing where others use it, too. Inside hosts as measured."""
    spec, own = scenario.network, scenario.replicas
    assert spec is not None
    between = _idle(network_of(spec)) if idle else NoNetwork()
    if scenario.gpus_together == 1:
        return between
    return HostsFirst(TablePort(own.fabric or FABRIC_OF[own.gpu]), between)


def layer_part(scenario: ServingScenario) -> float:
    """Of the layers, that are simulated."""
    spec, own = scenario.network, scenario.replicas
    if spec is None or spec.idle or spec.layers is None:
        return 1.0
    return spec.layers / (model_of(own.model).layers // own.pp)


@cache
def _idle(network: SharedNetwork) -> Port:
    """One for all runs on such a network: what it has simulated is the same."""
    return SimulatedPort(network)


class Prepared(NamedTuple):
    """What a scenario has on its network."""

    network: SharedNetwork
    placed: list[Placed]
    trainings: list[Training]
    flows: list[Flow]


def prepared(scenario: ServingScenario, replicas: Sequence[Replica]) -> Prepared:
    """BadInput for hosts that there are not, and layers."""
    spec, own = scenario.network, scenario.replicas
    assert spec is not None
    network, model, each = network_of(spec), model_of(own.model), scenario.hosts_each
    check_layers(model, own.pp, spec.layers)
    if own.hosts is not None and len(own.hosts) != own.count:
        raise BadInput(f"replicas.hosts: of {len(own.hosts)} replicas; allowed: of {own.count}")
    placed = [
        Placed(
            replica,
            model,
            own.tp,
            tuple((number * each + place) % spec.hosts for place in range(each))
            if own.hosts is None
            else own.hosts[number],
            scenario.gpus_together,
        )
        for number, replica in enumerate(replicas)
    ]
    trainings = [Training(one.name, one.model, one.hosts, one.iterations) for one in scenario.training]
    network.fabric(
        [*(host for one in placed for host in one.hosts), *(host for one in trainings for host in one.hosts)]
    )
    return Prepared(network, placed, trainings, [_flow(one, spec.hosts) for one in scenario.flows])


def run_together(
    scenario: ServingScenario,
    requests: Sequence[Request],
    replicas: Sequence[Replica],
    router: Router,
    progress: Callable[[float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Together:
    """The run itself."""
    assert scenario.network is not None
    network, placed, trainings, flows = prepared(scenario, replicas)
    return serve_together(
        requests,
        placed,
        router,
        network,
        trainings,
        flows,
        layers=scenario.network.layers,
        seed=scenario.seed,
        progress=progress,
        should_stop=should_stop,
    )


def _flow(spec: FlowSpec, hosts: int) -> Flow:
    start_ns = round(spec.start_s * 1e9)
    return Flow(
        spec.name,
        _host(spec.source, hosts),
        _host(spec.target, hosts),
        bytes=spec.size_bytes,
        rate_bps=spec.rate,
        congestion=spec.congestion or "dctcp",
        start_ns=start_ns,
        stop_ns=None if spec.duration_s is None else start_ns + max(1, round(spec.duration_s * 1e9)),
    )


def _host(name: str, hosts: int) -> int:
    names = {f"host-{number}": number for number in range(hosts)}
    if name not in names:
        raise BadInput(f"flows: unknown host '{name}'; allowed: host-0 to host-{hosts - 1}")
    return names[name]


def with_network(summary: Summary, scenario: ServingScenario, found: Together) -> Summary:
    """A summary with what the network has shown; seconds as of all layers, packets as simulated."""
    spec, network, part = scenario.network, found.network, found.layer_part
    assert spec is not None
    assert summary.serving is not None
    beside: dict[str, SpreadSummary | None] = {}
    jobs = []
    for one in found.trainings:
        came = next(job for job in network.jobs if job.name == one.name)
        times = spread([1e9 * seconds for seconds in one.iterations_s])
        beside[one.name] = None if times is None else SpreadSummary(**times._asdict())
        jobs.append(
            JobSummary(
                name=one.name,
                workers=came.workers,
                jct_s=one.jct_s,
                iterations=came.iterations,
                compute_s=came.compute_s / part,
                comm_s=came.comm_s / part,
                fragments=came.fragments,
                resends=came.resends,
                via_ps=came.via_ps,
            )
        )
    update = {
        "switch": VIRTUAL,
        "jobs": jobs,
        "switch_counters": network.switch_counters,
        "occupancy_mean": network.occupancy_mean,
        "useful_mean": network.useful_mean,
        "dropped": network.dropped,
        "packet_hops": network.packet_hops,
        "serving": summary.serving.model_copy(
            update={"carrier": spec.carrier, "layers": spec.layers, "beside": beside}
        ),
    }
    if scenario.flows:
        update["flows"] = [
            FlowSummary.of(
                one.name,
                one.kind,
                round(came.bytes / part),
                (network.end_s if came.end_s is None else came.end_s) / part - one.start_s,
                lost=came.lost if one.kind == CONSTANT else None,
                resends=came.resends if one.kind == TCP else None,
            )
            for one, came in zip(scenario.flows, network.flows, strict=True)
        ]
    return summary.model_copy(update=update).with_means()
