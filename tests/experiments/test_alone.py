"""JCT alone, by hand: the same jobs in scenarios of their own; which are simulated once for all."""

from __future__ import annotations

import pytest

from experiments.specs.scenario import Scenario
from experiments.virtual.check import check_virtual
from experiments.virtual.run import evaluate

pytestmark = pytest.mark.timeout(600)  # on a cold machine the first test compiles the simulator

HEAD = """
name = "inflated"
aggregators = 16
[virtual]
sample_us = 1000.0
[network]
rate = "10 Gb/s"
"""
DEFAULTS = """
[job_defaults]
workers = 2
iterations = 2
window = 16
model = "communication-heavy"
scale = 0.0002
"""
A = '[[jobs]]\nname = "a"\n'
B = '[[jobs]]\nname = "b"\nsubmit_s = 0.00001\n'


def load(text: str) -> Scenario:
    return Scenario.of_table(_toml(text), None, "test", check_virtual)


def _toml(text: str) -> dict:
    from experiments.specs.toml_files import parse_toml

    return parse_toml(text, "test")


@pytest.mark.parametrize("shared", ["hosts = 6\n", ""], ids=["shared hosts", "hosts of their own"])
@pytest.mark.parametrize("policy", ["esa", "switchml"])
def test_jct_alone_is_that_of_a_scenario_with_that_job(shared: str, policy: str) -> None:
    head = HEAD.replace("aggregators", f'policy = "{policy}"\naggregators') + shared
    summary, _ = evaluate(load(head + DEFAULTS + A + B))
    alone, _ = evaluate(load(head + DEFAULTS + A))
    jct_s = alone.jobs[0].jct_s
    assert [job.alone_s for job in summary.jobs] == [jct_s, jct_s]
    assert summary.alone_runs == 1  # they are the same
    assert all(job.inflation == job.jct_s / jct_s >= 1 for job in summary.jobs)
    assert summary.mean_inflation == sum(job.inflation for job in summary.jobs) / 2
    assert alone.jobs[0].inflation == 1
    assert all(job.bound_s <= job.alone_s for job in summary.jobs)


def test_computing_times_are_those_that_the_job_had() -> None:
    jittery = DEFAULTS.replace("window = 16", "window = 16\njitter = 0.5")
    summary, _ = evaluate(load(HEAD + "hosts = 6\n" + jittery + A + B))
    assert summary.alone_runs == 2
    one, other = (job.alone_s for job in summary.jobs)
    assert one != other
    assert one == evaluate(load(HEAD + "hosts = 6\n" + jittery + A))[0].jobs[0].jct_s


def test_waiting_for_hosts_inflates() -> None:
    summary, _ = evaluate(load(HEAD + "hosts = 3\n" + DEFAULTS + A + B))
    one, other = summary.jobs
    assert one.inflation == 1
    assert other.wait_s == pytest.approx(one.jct_s - 1e-5)
    assert other.inflation == pytest.approx(1 + other.wait_s / other.alone_s)


def test_what_is_said_of_its_own_hosts_goes_with_a_job() -> None:
    bad = '[[faults]]\nlink = "b-1"\nloss = 0.2\n'
    summary, _ = evaluate(load(HEAD + bad + DEFAULTS + A + B))
    assert summary.alone_runs == 2
    assert summary.jobs[1].alone_s > summary.jobs[0].alone_s


def test_it_can_be_left_out() -> None:
    summary, _ = evaluate(load(HEAD.replace("[virtual]", "[virtual]\nalone = false") + "hosts = 6\n" + DEFAULTS + A))
    assert (summary.alone_runs, summary.jobs[0].alone_s, summary.jobs[0].inflation) == (None, None, None)
    assert summary.jobs[0].bound_s is not None
    assert summary.mean_per_bound == summary.jobs[0].jct_s / summary.jobs[0].bound_s


def test_jobs_that_come_by_chance_have_it_too() -> None:
    text = DEFAULTS.replace('model = "communication-heavy"\n', "") + (
        "[arrivals]\ncount = 4\nmean_interval_s = 0.00002\nmodels = { communication-heavy = 1.0 }\n"
    )
    summary, _ = evaluate(load(HEAD + "hosts = 6\n" + text))
    assert summary.alone_runs == 1
    assert all(job.inflation >= 1 for job in summary.jobs)
