"""Groups with several GPUs on a host: NVLink inside as measured, between hosts the fabric, a rank for each host."""

from __future__ import annotations

import pytest

from esa.errors import BadInput
from esa.serving.core import Replica, simulate_serving
from esa.serving.costs.stages import stage_times
from esa.serving.kv_memory import Blocks
from esa.serving.models import model_of
from esa.serving.network import ALL_REDUCE, Group, Port, TablePort
from esa.serving.routers import RoundRobin
from esa.serving.vidur.base import Limits
from esa.serving.vidur.names import replica_scheduler
from esa.serving_network.hosts_first import HostsFirst
from esa.serving_network.network import SharedNetwork
from esa.serving_network.port import SimulatedPort
from esa.serving_network.together import NoNetwork, Placed, Together, serve_together
from tests.serving.test_together import BESIDE, FOUR, MANY, MODEL, ONE, ends

NVLINK = TablePort("a100-dgx")
TWO = SharedNetwork(hosts=2)


def replica(port: Port, tp: int, per_host: int) -> Replica:
    times = stage_times(MODEL, "a100", tp, 1, port=port, per_host=per_host)
    return Replica(replica_scheduler("vllm", Blocks(4000, 16), Limits()), times)


def together(network: SharedNetwork, tp: int, per_host: int, *trainings: object, requests: object = MANY) -> Together:
    placed = Placed(
        replica(HostsFirst(NVLINK, NoNetwork()), tp, per_host),
        model_of(MODEL),
        tp,
        tuple(range(tp // per_host)),
        per_host,
    )
    return serve_together(requests, [placed], RoundRobin(), network, trainings, layers=1, check=True)  # type: ignore[arg-type]


def test_a_sum_is_the_hosts_own_and_then_one_between_hosts() -> None:
    between = SimulatedPort(TWO)
    port = HostsFirst(NVLINK, between)
    octets = 1 << 20
    inside_ns = NVLINK.collective(Group(4, 4), ALL_REDUCE, octets)
    across_ns = between.collective(Group(2, 1), ALL_REDUCE, octets)
    assert port.collective(Group(8, 4), ALL_REDUCE, octets) == inside_ns + across_ns
    assert port.collective(Group(4, 4), ALL_REDUCE, octets) == inside_ns
    assert port.collective(Group(2, 1), ALL_REDUCE, octets) == across_ns
    assert port.flow(same_host=False, octets=octets) == between.flow(same_host=False, octets=octets)


def test_a_group_on_one_host_takes_what_the_table_says_whoever_sends_beside() -> None:
    table = simulate_serving(MANY, [replica(NVLINK, 4, 4)], RoundRobin())
    found = together(FOUR, 4, 4, BESIDE)
    assert ends(found.serving) == pytest.approx(ends(table), rel=1e-4)  # nanoseconds of a layer, rounded
    assert [job.name for job in found.network.jobs] == ["beside"]


def test_a_group_on_two_hosts_is_two_ranks_and_takes_what_the_port_says() -> None:
    found = together(TWO, 8, 4)
    by_port = simulate_serving(MANY, [replica(HostsFirst(NVLINK, SimulatedPort(TWO)), 8, 4)], RoundRobin())
    assert ends(found.serving) == pytest.approx(ends(by_port), rel=0.005)
    (job,) = together(TWO, 8, 4, requests=ONE).network.jobs
    octets = [TWO.sum_bytes(tokens * 4096 * 2) for tokens in (64, 8, 8, 8)]
    assert job.fragments == 2 * 2 * sum(-(-each // (4 * TWO.lanes)) for each in octets)  # hosts, sums of the layer


def test_hosts_with_unequal_parts_of_a_group_are_refused() -> None:
    port = HostsFirst(NVLINK, NoNetwork())
    with pytest.raises(BadInput, match="group: 8 GPUs, 3 on a host; allowed: as many on each"):
        port.collective(Group(8, 3), ALL_REDUCE, 1024)
    with pytest.raises(BadInput, match="per_host: 3 of a group of 8; allowed: a divisor"):
        Placed(replica(port, 4, 4), model_of(MODEL), 8, (0, 1), 3)
    with pytest.raises(BadInput, match="allowed: 2, one for each 4 GPUs"):
        Placed(replica(port, 4, 4), model_of(MODEL), 8, (0, 1, 2), 4)
