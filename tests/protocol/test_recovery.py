"""A switch, a PS, or both lose everything in the middle of the sums, over a faulty network: the sums are exact and end.

The compiled program and the real state machines, in virtual time.
"""

from __future__ import annotations

import numpy as np
import pytest

from esa.entries import job_entries as entries
from esa.entries.direct import apply
from esa.job import Job
from esa.policy import POLICIES
from tests.p4.rack import items_of
from tests.protocol.network import MS, Faults, Network, Server
from tests.protocol.test_exactness import Run, make_job

pytestmark = pytest.mark.timeout(300)  # the first run compiles the switch and the protocol

SEEDS = 8
ROUGH = Faults(loss=0.05, duplication=0.05, late=0.1)


def restart_switch(network: Network, jobs: list[Job], down_ns: int) -> None:
    """The switch is empty at once; after `down_ns` it holds what a supervisor puts back."""
    pipeline = network.rack.pipeline
    pipeline.reset()

    def put_back() -> None:
        pipeline.reset()
        plain = [item for item in items_of(jobs) if isinstance(item, entries.Entry) and not is_of_a_job(item)]
        apply([entries.flood_group(network.rack.ports), *plain], pipeline)
        for number, job in enumerate(jobs):
            installed = entries.InstalledJob.of(job, index=number + 1)
            apply([entries.job_group(installed), *entries.job_entries(installed)], pipeline)

    network.at(network.now_ns + down_ns, put_back)


def is_of_a_job(entry: entries.Entry) -> bool:
    return entry.table in entries.JOB_TABLES


def restart_server(server: Server, down_ns: int) -> None:
    address = server.job.server.ip.packed, server.job.server.udp_port
    server.network.hosts.pop(address, None)
    server.network.at(server.network.now_ns + down_ns, server.__post_init__)


@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.parametrize("name", ["esa", "atp", "switchml", "ps", "esa-ack"])
def test_a_restarted_switch_costs_no_sum(name: str, seed: int) -> None:
    jobs = [make_job(1, name, 3, 4), make_job(2, name, 2, 8)]
    run = Run(jobs, ROUGH if seed % 2 else Faults(), seed, fragments=40)
    rng = np.random.default_rng(seed)
    for _ in range(1 + seed % 3):
        at_ns, down_ns = int(rng.integers(6 * MS)), int(rng.integers(30 * MS))
        run.network.at(at_ns, lambda down_ns=down_ns: restart_switch(run.network, jobs, down_ns))
    run.check()


@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.parametrize("name", sorted(POLICIES))
def test_a_restarted_ps_costs_no_sum(name: str, seed: int) -> None:
    run = Run([make_job(1, name, 3, 4), make_job(2, "esa", 2, 8)], ROUGH, seed, fragments=40)
    rng = np.random.default_rng(seed)
    for _ in range(1 + seed % 3):
        at_ns, down_ns = int(rng.integers(10 * MS)), int(rng.integers(20 * MS))
        run.network.at(at_ns, lambda down_ns=down_ns: restart_server(run.servers[0], down_ns))
    run.check()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", ["esa", "atp", "switchml", "ps"])
def test_both_at_once(name: str, seed: int) -> None:
    run = Run([make_job(1, name, 3, 4)], ROUGH, seed, fragments=40)
    at_ns = int(np.random.default_rng(seed).integers(6 * MS))
    run.network.at(at_ns, lambda: restart_switch(run.network, run.network.rack.jobs, 5 * MS))
    run.network.at(at_ns, lambda: restart_server(run.servers[0], 8 * MS))
    run.check()
