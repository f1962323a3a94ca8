"""Jobs with several PSs: every sum is exact, each PS has its part of the work, and it may be on a worker's host."""

from __future__ import annotations

import pytest

from esa.sim import simulate
from tests.sim.plans import PACKET_NS, bad_links, bucket, fragments, job, leaf_spine, ns, only_job, plan, rack
from tests.sim.tap import final_state

pytestmark = pytest.mark.timeout(300)  # the first simulation compiles the event loop

BAD = {"loss": 0.05, "duplicate": 0.05, "reorder": 0.1, "reorder_ms": 0.02}
PLACES = ((2, "hosts"), (4, "hosts"), (2, "workers"), (4, "workers"))


@pytest.mark.parametrize(("servers", "servers_on"), PLACES)
@pytest.mark.parametrize("name", ["esa", "esa-paper", "atp", "a2tp", "switchml", "ps"])
def test_sums_are_exact_over_bad_links_on_few_rows(name: str, servers: int, servers_on: str) -> None:
    given = {"workers": 4, "window": 8, "rows": 8, "buckets": [bucket(50)], "iterations": 2}
    jobs = [
        job(f"job-{k}", policy, first_row=64 * (k + 1), priority=9 + k, servers=servers, servers_on=servers_on, **given)
        for k, policy in enumerate((name, "esa"))
    ]
    fabric = rack(16, faults=bad_links(16, 7, **BAD))
    outcome, sim = final_state(plan(*jobs, fabric=fabric, lanes=64, sample_ns=100_000_000))
    assert outcome.incomplete is None
    assert outcome.checked == sum(map(fragments, jobs))
    assert sum(result.via_ps for result in outcome.jobs) > 0
    counter = sim.servers.state.counter
    assert len(counter) == 2 * servers
    assert (counter["fragments"] + counter["partials"] > 0).all()
    assert not counter["malformed"].any()


def test_a_ps_whose_links_are_full_is_half_as_busy_with_another() -> None:
    # Every worker's packets meet in the PSs' links, and so do their results on the way out.
    times = {}
    for servers in (1, 2, 4):
        summed = job(policy_name="ps", workers=4, window=64, servers=servers, buckets=[bucket(400)])
        times[servers] = ns(only_job(simulate(plan(summed))).jct_s)
    assert times[1] > 4 * 400 * PACKET_NS
    assert times[2] < 0.6 * times[1]
    assert times[4] < 0.6 * times[2]


def test_beside_workers_it_takes_no_host_and_what_stays_on_a_host_takes_no_cable() -> None:
    summed = job(policy_name="ps", workers=2, window=64, servers=2, servers_on="workers", buckets=[bucket(400)])
    outcome = simulate(plan(summed, fabric=rack(2)))
    # Half of what a worker sends is its own host's, and so are half of the results that a PS sends.
    assert only_job(outcome).hosts == (0, 1)
    assert outcome.packet_hops == 2 * (2 * 200 + 2 * 200)
    in_network = job(workers=2, window=64, servers=2, servers_on="workers", buckets=[bucket(400)], rows=64)
    assert simulate(plan(in_network, fabric=rack(2))).packet_hops == 2 * 400 + 2 * 400


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match=r"job job: servers: 3; allowed: 1, 2, 4, 8"):
        plan(job(servers=3))
    with pytest.raises(ValueError, match=r"job job: window: 6 fragments; allowed: a multiple of the job's 4 PSs"):
        plan(job(servers=4, window=6))
    with pytest.raises(ValueError, match=r"job job: servers: 4 on workers' hosts; allowed: up to the 2 workers"):
        plan(job(servers=4, servers_on="workers"))
    with pytest.raises(ValueError, match=r"hosts: \[0, 1, 2\]; allowed: 4, each once, the last 2 for PSs"):
        plan(job(servers=2, hosts=(0, 1, 2)))
    with pytest.raises(ValueError, match=r"no place for 4 workers and 2 PSs .* allowed: in one rack, with 2 PSs"):
        simulate(plan(job(workers=4, servers=2), fabric=leaf_spine((3, 3))))
