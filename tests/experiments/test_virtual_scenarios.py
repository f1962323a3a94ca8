"""A scenario that virtual time cannot have is refused with one line that names the key; others become plans."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from esa.cluster.policies import SCHEDULERS
from esa.job import Pool
from esa.net.impairment import Impairment
from esa.policy import POLICIES
from esa.sim import simulate
from esa.workloads import DDP_CAP_BYTES, MODELS, priorities, profile
from esa.workloads import buckets as buckets_of
from experiments.specs.scenario import Scenario
from experiments.specs.toml_files import ScenarioError
from experiments.virtual.check import check_virtual
from experiments.virtual.translate import plan_of
from tests.experiments.texts import VIRTUAL

SCENARIOS = Path(__file__).parents[2] / "experiments" / "scenarios" / "sim"

ARRIVALS = """
name = "many"
[network]
hosts = 8
rate = "100 Gb/s"
[job_defaults]
scale = 0.001
[arrivals]
count = 5
mean_interval_s = 0.01
models = { vgg16 = 1.0, resnet50 = 3.0 }
workers = [2, 4]
iterations = [3, 5]
"""
MODEL = """
[[models]]
name = "own"
bytes = [400, 800]
forward_ms = [1.0, 2.0]
backward_ms = [3.0, 4.0]
"""


def load(tmp_path: Path, text: str, **overrides: object) -> Scenario:
    path = tmp_path / "scenario.toml"
    path.write_text(text)
    return Scenario.load(path, check_virtual, **overrides)


def refusal(tmp_path: Path, text: str) -> str:
    with pytest.raises(ScenarioError) as refused:
        load(tmp_path, text)
    message = str(refused.value)
    assert "\n" not in message
    return message


def test_the_scenarios_here_are_good() -> None:
    files = sorted(SCENARIOS.glob("*.toml"))
    assert {file.stem for file in files} >= {"contention", "arrivals", "lossy"}
    for file in files:
        for policy in ("esa", "atp", "switchml", "ps"):
            plan_of(Scenario.load(file, check_virtual, policy=policy))


@pytest.mark.parametrize(
    ("old", "new", "key", "allowed"),
    [
        ("count = 5", "count = 0", "arrivals.count", "1"),
        ("count = 5", "count = 20000", "arrivals.count", "10000"),
        ("= 0.01\nm", "= 0.0\nm", "arrivals.mean_interval_s", "greater than 0"),
        ("= 0.01\nm", "= 3000.0\nm", "arrivals", "before 3600 s"),
        ('name = "many"', 'name = "many"\nvirtual.limit_s = 0.001', "arrivals", "before virtual.limit_s, 0.001"),
        ("vgg16 = 1.0", "vgg61 = 1.0", "arrivals.models.vgg61", "vgg16, vgg19"),
        ("vgg16 = 1.0", "vgg16 = 0.0", "arrivals.models.vgg16", "greater than 0"),
        ("models = { vgg16 = 1.0, resnet50 = 3.0 }", "models = {}", "arrivals.models", "1"),
        ("[2, 4]", "[]", "arrivals.workers", "1"),
        ("[2, 4]", "[8]", "arrivals.workers", "1 to 7 on 8 hosts"),
        ("[3, 5]", "[0]", "arrivals.iterations[0]", "1"),
        ("count = 5", 'count = 5\nkind = "uniform"', "arrivals.kind", "poisson"),
        ("[arrivals]", '[[jobs]]\nname = "a"\nmodel = "bert"\n[arrivals]', "jobs", "one of jobs, arrivals, trace"),
    ],
)
def test_arrivals_that_cannot_be_are_refused(tmp_path: Path, old: str, new: str, key: str, allowed: str) -> None:
    assert old in ARRIVALS
    message = refusal(tmp_path, ARRIVALS.replace(old, new, 1))
    assert f"scenario.toml: {key}:" in message
    assert allowed in message


@pytest.mark.parametrize(
    ("old", "new", "key", "allowed"),
    [
        ("[400, 800]", "[400, 801]", "models[0].bytes[1]", "multiple of 4"),
        ("[400, 800]", "[400]", "models[0].forward_ms", "2 values for 1 layers"),
        ("[400, 800]", "[0, 0]", "models[0].bytes", "4 or more"),
        ("[1.0, 2.0]", "[1.0, -2.0]", "models[0].forward_ms[1]", "0"),
        ('"own"', '"vgg16"', "models[0].name", "already"),
    ],
)
def test_models_that_cannot_be_are_refused(tmp_path: Path, old: str, new: str, key: str, allowed: str) -> None:
    message = refusal(tmp_path, VIRTUAL + MODEL.replace(old, new, 1))
    assert f"scenario.toml: {key}:" in message
    assert allowed in message


def test_without_jobs_there_is_nothing_to_do(tmp_path: Path) -> None:
    assert "jobs: none; allowed: one of jobs, arrivals, trace" in refusal(
        tmp_path, VIRTUAL[: VIRTUAL.index("[[jobs]]")]
    )


def test_more_than_32_workers_of_a_job_need_racks_that_hold_no_more(tmp_path: Path) -> None:
    wide = VIRTUAL.replace("workers = 3", "workers = 40").replace("hosts = 8", "hosts = 90")
    assert "jobs[0].workers: 40, and a rack of 90 hosts; allowed: 32" in refusal(tmp_path, wide)
    load(tmp_path, wide.replace("hosts = 90", "racks = [30, 30, 30]"))


@pytest.mark.parametrize(
    ("hosts", "allowed"),
    [
        ("[0, 1, 4, 7]", "the PS in rack 1; allowed: a rack without the job's workers"),
        ("[0, 4, 1, 8]", "workers in racks 0, 1, 0; allowed: rack by rack"),
        ("[0, 1, 4, 12]", "0 to 11"),
    ],
)
def test_hosts_over_several_racks_have_an_order(tmp_path: Path, hosts: str, allowed: str) -> None:
    racks = VIRTUAL.replace("hosts = 8", "racks = [4, 4, 4]")
    message = refusal(tmp_path, racks.replace("window = 16", f"hosts = {hosts}"))
    assert "jobs[1].hosts: " in message
    assert allowed in message
    job = plan_of(load(tmp_path, racks.replace("window = 16", "hosts = [0, 1, 4, 8]"))).jobs[1]
    assert job.hosts == (0, 1, 4, 8)


@pytest.mark.parametrize(
    ("network", "hosts", "allowed"),
    [
        ("racks = [32, 40, 1]", [0, *range(32, 65), 72], "jobs[0].workers: 34, and a rack of 40 hosts; allowed: 32"),
        (f"racks = {[1] * 40}", [*range(40)], "jobs[0].hosts: workers in 39 racks; allowed: 32"),
        (
            "fat_tree = 4",
            [0, 2, 4],
            "jobs[0].hosts: in 3 racks, on a network of 3 tiers of switches; allowed: one",
        ),
    ],
)
def test_hosts_are_no_more_than_switches_can_add(tmp_path: Path, network: str, hosts: list[int], allowed: str) -> None:
    job = f'[[jobs]]\nname = "a"\nmodel = "bert"\nscale = 0.01\nworkers = {len(hosts) - 1}\nhosts = {hosts}\n'
    text = f'name = "wide"\n[network]\nrate = "10 Gb/s"\n{network}\n{job}'
    assert allowed in refusal(tmp_path, text)
    load(tmp_path, text, transport="gloo")


def test_a_job_over_more_than_32_racks_is_refused(tmp_path: Path) -> None:
    text = VIRTUAL.replace("hosts = 8", f"racks = {[1] * 60}").replace("workers = 3", "workers = 33")
    assert "jobs[0].workers: job a: ranks in 33 racks; allowed: 32" in refusal(tmp_path, text)
    load(tmp_path, text.replace("workers = 33", "workers = 32"))
    load(tmp_path, text, transport="gloo")


def test_a_job_over_all_racks_leaves_none_for_its_ps(tmp_path: Path) -> None:
    text = VIRTUAL.replace("hosts = 8", "racks = [4, 4]").replace("workers = 3", "workers = 6")
    assert "jobs[0].workers: job a: no place for 6 workers and a PS" in refusal(tmp_path, text)
    load(tmp_path, text, policy="ps")


def test_slices_that_leave_nothing_are_refused(tmp_path: Path) -> None:
    text = VIRTUAL.replace("aggregators = 64", 'aggregators = 2\npolicy = "switchml"')
    assert "jobs[0].pool: 1 row; 'switchml' needs 2 or more for each job" in refusal(tmp_path, text)


def test_a_trace_is_read_from_beside_the_scenario(tmp_path: Path) -> None:
    (tmp_path / "jobs.csv").write_text(
        "name,model,workers,iterations,submit_s\nlate,own,3,7,0.5\n\nfirst,vgg16,2,5,0.0\n"
    )
    text = VIRTUAL[: VIRTUAL.index("[[jobs]]")].replace("aggregators", 'trace = "jobs.csv"\naggregators') + MODEL
    simulation = load(tmp_path, text)
    jobs = [(job.name, job.model, job.workers, job.iterations, job.submit_s, job.window) for job in simulation.jobs]
    assert jobs == [("first", "vgg16", 2, 5, 0.0, 48), ("late", "own", 3, 7, 0.5, 48)]
    assert Scenario.parse(simulation.to_toml()) == simulation  # the text holds the trace


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("x,vgg16,2,5", "line 3: 4 fields"),
        ("x,vgg16,two,5,0.0", "line 3, column workers: 'two'"),
        ("x,gpt,2,5,0.0", "line 3, column model: 'gpt'; allowed: alexnet"),
        ("x,vgg16,2,5,-1.0", "line 3, column submit_s: '-1.0'"),
        ("a,vgg16,2,5,0.0", "line 3, column name: 'a'"),
    ],
)
def test_a_bad_trace_is_refused_with_its_line(tmp_path: Path, line: str, problem: str) -> None:
    (tmp_path / "jobs.csv").write_text(f"name,model,workers,iterations,submit_s\na,vgg16,2,5,0.0\n{line}\n")
    message = refusal(tmp_path, 'name = "t"\ntrace = "jobs.csv"\n[network]\nhosts = 8\nrate = "1 Gb/s"\n')
    assert f"trace: {tmp_path / 'jobs.csv'}: {problem}" in message


def test_a_trace_that_is_not_there_is_named(tmp_path: Path) -> None:
    message = refusal(tmp_path, 'name = "t"\ntrace = "absent.csv"\n[network]\nhosts = 8\nrate = "1 Gb/s"\n')
    assert "absent.csv: cannot read the trace: No such file" in message


@pytest.mark.parametrize("text", [VIRTUAL, ARRIVALS, VIRTUAL + MODEL + '[[faults]]\nlink = "host-3"\nloss = 0.1\n'])
def test_the_resolved_text_gives_the_same_scenario(tmp_path: Path, text: str) -> None:
    simulation = load(tmp_path, text, policy="atp", seed=7)
    again = Scenario.parse(simulation.to_toml())
    assert again == simulation
    assert again.to_toml() == simulation.to_toml()
    assert (again.policy, again.seed) == ("atp", 7)


def test_a_job_says_otherwise_than_the_defaults(tmp_path: Path) -> None:
    plan = plan_of(load(tmp_path, VIRTUAL))
    assert [(job.workers, job.window, job.submit_ns) for job in plan.jobs] == [(3, 48, 0), (3, 16, 500_000_000)]


@pytest.mark.parametrize("policy", POLICIES)
def test_pools_and_windows_are_those_of_a_real_run(tmp_path: Path, policy: str) -> None:
    plan = plan_of(load(tmp_path, VIRTUAL, policy=policy))
    sliced = POLICIES[policy].pool == "slice"
    pools = {
        "placed": [None] * 2,  # until they start
        "shared": [Pool(base=0, size=64)] * 2,
        "slice": [Pool(base=0, size=32), Pool(base=32, size=32)],
        "none": [Pool(base=0, size=1)] * 2,
    }
    assert [job.pool for job in plan.jobs] == pools[POLICIES[policy].pool]
    assert [job.window for job in plan.jobs] == ([16, 16] if sliced else [48, 16])


def test_priorities_are_those_of_the_model_before_it_is_scaled(tmp_path: Path) -> None:
    text = VIRTUAL.replace('model = "vgg16"\nscale = 0.01', 'model = "vgg16"\nscale = 0.01\nbucket_cap_mb = 25.0')
    text = text.replace("scale = 0.01\n", 'scale = 0.01\npriority = ["ratio", "service", "layer"]\n')
    job = plan_of(load(tmp_path, text)).jobs[0]
    whole = buckets_of(profile("vgg16"), DDP_CAP_BYTES)
    wire = {"rate_bps": 10e9, "fragment_bytes": 256, "wire_bytes": 42 + 24 + 256 + 24}
    assert len(job.buckets) == len(whole)
    difference = job.priority.astype(int) - priorities(whole, job.iterations, **wire)
    assert np.abs(difference).max() <= 1  # sizes are rounded to whole floats


def test_a_priority_may_be_a_number_or_some_factors(tmp_path: Path) -> None:
    fixed = plan_of(load(tmp_path, VIRTUAL.replace("window = 16", "priority = 7"))).jobs[1]
    assert fixed.priority.dtype == np.uint8
    assert (fixed.priority == 7).all()
    level = plan_of(load(tmp_path, VIRTUAL.replace("window = 16", 'priority = ["ratio"]'))).jobs[1]
    assert len(np.unique(level.priority)) == 1  # neither the iteration nor the layer counts


def test_own_models_are_used_layer_by_layer(tmp_path: Path) -> None:
    text = VIRTUAL.replace('model = "vgg16"\nscale = 0.01', 'model = "own"\nbucket_cap_mb = 0.001') + MODEL
    assert "own" not in MODELS
    parts = plan_of(load(tmp_path, text)).jobs[0].buckets
    # The back layer has not reached 1,048 bytes, so the front layer joins it.
    assert [(part.bytes, part.forward_ns, part.backward_ns) for part in parts] == [(1200, 3_000_000, 7_000_000)]


def test_arrivals_are_drawn_from_the_seed(tmp_path: Path) -> None:
    first, again = load(tmp_path, ARRIVALS), load(tmp_path, ARRIVALS)
    assert first.job_specs == again.job_specs
    assert first.job_specs != load(tmp_path, ARRIVALS, seed=2).job_specs
    assert len(first.job_specs) == 5
    assert {job.workers for job in first.job_specs} <= {2, 4}
    assert {job.iterations for job in first.job_specs} <= {3, 5}
    assert all(job.scale == 0.001 for job in first.job_specs)


def test_faults_are_those_of_the_hosts_they_name(tmp_path: Path) -> None:
    text = (
        VIRTUAL
        + '[[faults]]\nlink = "all"\nloss = 0.1\n[[faults]]\nlink = "host-3"\ndirection = "to_switch"\nloss = 0.5'
    )
    faults = plan_of(load(tmp_path, text)).fabric.faults
    assert set(faults) == set(range(8))
    assert faults[3].to_switch == Impairment(loss=0.5)
    assert faults[3].from_switch == faults[2].to_switch == Impairment(loss=0.1)
    assert len({link.seed for link in faults.values()}) == 8


def test_timers_follow_the_network_unless_the_file_says_otherwise(tmp_path: Path) -> None:
    fast = plan_of(load(tmp_path, VIRTUAL.replace("10 Gb/s", "100 Gb/s"))).timers
    # Four cables of 1 us and 27.68 ns, twice through the switch: 4.9 us.
    assert fast.overtaken_floor_ns == 4911 // 8
    assert (fast.rto_initial_ns, fast.rto_floor_ns, fast.rto_ceiling_ns) == (1_000_000, 200_000, 20_000_000)
    patience = (fast.patience_initial_ns, fast.patience_floor_ns, fast.patience_ceiling_ns)
    assert patience == (500_000, 50_000, 5_000_000)
    assert (fast.answer_initial_ns, fast.answer_floor_ns) == (4911, 4911 // 2)
    slow = plan_of(load(tmp_path, VIRTUAL.replace('10 Gb/s"', '100 Gb/s"\ndelay_us = 500.0'))).timers
    assert slow.rto_floor_ns == 20 * slow.answer_initial_ns
    assert slow.rto_floor_ns == slow.rto_initial_ns == slow.rto_ceiling_ns / 4
    plan = plan_of(load(tmp_path, VIRTUAL + "[timers]\nrto_ceiling_us = 100.0\ngive_up_s = 1.0\n"))
    given = plan.timers
    assert (given.rto_initial_ns, given.rto_floor_ns, given.rto_ceiling_ns) == (100_000, 100_000, 100_000)
    assert (plan.give_up_s, plan.wait_limit_s) == (1.0, 1800.0)


def test_racks_become_a_fabric(tmp_path: Path) -> None:
    text = VIRTUAL.replace(
        "hosts = 8", "racks = [4, 4]\nspines = 2\nspine_rate = '40 Gb/s'\necn_packets = 9\nqueue_packets = 77"
    )
    simulation = load(tmp_path, text)
    assert simulation.topology == "leaf-spine"
    fabric = plan_of(simulation).fabric
    graph = fabric.graph
    assert (fabric.racks, len(graph.tier(2)), fabric.ecn_packets) == ((4, 4), 2, 9)
    host_link, spine_link = graph.cables[0].link, graph.cables[-1].link
    assert {cable.link for cable in graph.cables} == {host_link, spine_link}
    assert (host_link.rate_bps, spine_link.rate_bps) == (10e9, 40e9)
    assert (host_link.delay_ns, spine_link.delay_ns) == (1000, 1000)
    assert spine_link.queue_packets == 77
    assert load(tmp_path, VIRTUAL).topology == "single-rack"
    assert plan_of(load(tmp_path, VIRTUAL)).fabric.graph.tiers == 1


def test_without_hosts_every_worker_and_ps_has_its_own(tmp_path: Path) -> None:
    scenario = load(tmp_path, VIRTUAL.replace("hosts = 8\n", ""))
    plan = plan_of(scenario)
    assert plan.fabric.racks == (8,)
    assert [job.hosts for job in plan.jobs] == [(0, 1, 2, 3), (4, 5, 6, 7)]
    assert scenario.host_names() == ["a-0", "a-1", "a-2", "a-ps", "b-0", "b-1", "b-2", "b-ps"]
    many = VIRTUAL.replace("hosts = 8\n", "").replace("workers = 3", "workers = 30") + "".join(
        f'[[jobs]]\nname = "j{i}"\nmodel = "cnn"\n' for i in range(15)
    )
    assert "jobs: 527 workers and PSs; allowed: 500 hosts of their own" in refusal(tmp_path, many)


def test_order_says_when_buckets_are_sent(tmp_path: Path) -> None:
    jobs = plan_of(load(tmp_path, VIRTUAL.replace("window = 16", 'order = "front-first"'))).jobs
    assert [job.order for job in jobs] == ["ddp", "front-first"]


def test_a_rate_may_leave_out_what_frames_a_packet(tmp_path: Path) -> None:
    frames = plan_of(load(tmp_path, VIRTUAL.replace("[job_defaults]", "[virtual]\nframing_bytes = 0\n[job_defaults]")))
    # A frame of 322 bytes takes 8 * 322 / 10e9 s; on the wire are 24 bytes more.
    assert 8 * (322 + 24) / frames.fabric.graph.cables[0].link.rate_bps == pytest.approx(8 * 322 / 10e9)
    assert plan_of(load(tmp_path, VIRTUAL)).fabric.graph.cables[0].link.rate_bps == 10e9


def test_models_that_live_runs_train_compute_by_the_sample(tmp_path: Path) -> None:
    text = VIRTUAL.replace('model = "vgg16"\nscale = 0.01', 'model = "cnn"\nbatch_size = 64')
    (bucket,) = plan_of(load(tmp_path, text)).jobs[0].buckets
    assert bucket.bytes == 4 * 7466
    assert bucket.forward_ns + bucket.backward_ns == pytest.approx(64 * 0.424e6, rel=0.001)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_scheduler_is_called_by_its_name(tmp_path: Path, name: str) -> None:
    scenario = load(tmp_path, f"virtual.scheduler = '{name}'\n" + VIRTUAL)
    assert plan_of(scenario).decide is SCHEDULERS[name]
    assert plan_of(load(tmp_path, VIRTUAL)).decide is SCHEDULERS["fifo"]


def test_hosts_have_as_many_workers_as_gpus(tmp_path: Path) -> None:
    text = "virtual.gpus = 2\n" + VIRTUAL
    fabric = plan_of(load(tmp_path, text.replace("workers = 3", "workers = 15"))).fabric
    assert (fabric.hosts, fabric.gpus, fabric.places) == (8, 2, 16)
    problem = "jobs[0].workers: 16 workers and a PS need a GPU each; allowed: 1 to 15 on 8 hosts of 2 GPUs"
    assert problem in refusal(tmp_path, text.replace("workers = 3", "workers = 16"))


def test_gloo_needs_no_host_for_a_ps(tmp_path: Path) -> None:
    text = VIRTUAL.replace('name = "two"', 'name = "two"\ntransport = "gloo"').replace("workers = 3", "workers = 4")
    outcome = simulate(plan_of(load(tmp_path, text.replace("submit_s = 0.5", ""))))
    assert [job.start_s for job in outcome.jobs] == [0.0, 0.0]  # on four hosts each, of eight
    assert load(tmp_path, text.replace("workers = 4", "workers = 8")).job_specs[0].workers == 8
    problem = "jobs[0].workers: 9 workers need a host each; allowed: 1 to 8 on 8 hosts"
    assert problem in refusal(tmp_path, text.replace("workers = 4", "workers = 9"))
    named = plan_of(load(tmp_path, text.replace("window = 16", "hosts = [1, 3, 5, 7, 0]")))
    assert named.jobs[1].hosts == (1, 3, 5, 7)
    own = plan_of(load(tmp_path, text.replace("hosts = 8\n", "")))
    assert [job.hosts for job in own.jobs] == [(0, 1, 2, 3), (5, 6, 7, 8)]  # called after who is on them: 4 is a's PS


def test_gloo_is_a_ring(tmp_path: Path) -> None:
    scenario = load(tmp_path, VIRTUAL.replace('name = "two"', 'name = "two"\ntransport = "gloo"'))
    assert [job.transport for job in plan_of(scenario).jobs] == ["ring", "ring"]
    outcome = simulate(plan_of(scenario))
    assert outcome.incomplete is None
    assert all(job.jct_s is not None and job.via_ps == 0 for job in outcome.jobs)
