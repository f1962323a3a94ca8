"""The links of a live run: rates and queues as Mininet's shaper takes them."""

from __future__ import annotations

from esa.wire import packet_bytes
from experiments.live.places import places
from experiments.specs.scenario import Scenario
from topologies.single_rack import QUEUE_BYTES


def link_rates_mbps(scenario: Scenario) -> list[float]:
    """By host, Mb/s."""
    network = scenario.network
    of_job = places(scenario)
    servers = {of_job[job.name][-1] for job in scenario.job_specs if scenario.has_server(job)}
    rates = [
        network.rates.get(host, (network.server_rate or network.rate) if number in servers else network.rate)
        for number, host in enumerate(scenario.host_names())
    ]
    return [rate / 1e6 for rate in rates]


def queue_bytes(scenario: Scenario) -> int:
    """That may wait at each end of a link."""
    packets = scenario.network.queue_packets
    return QUEUE_BYTES if packets is None else packets * packet_bytes(scenario.lanes)
