"""Tiresias and Optimus on Pollux's workloads: every job's JCT is the one that its authors published."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from esa.cluster.policies import LABORATORY
from esa.errors import BadInput
from esa.laboratory import simulate_cluster
from esa.laboratory.inputs.applications import Application, read_applications
from esa.laboratory.inputs.pollux import POLLUX_CLOCK, POLLUX_CLUSTER, PolluxTimes, read_workload

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "pollux"
pytestmark = pytest.mark.skipif(
    not DATA.is_dir(), reason=f"petuum/adaptdl, branch osdi21-artifact, its folder simulator, is not at {DATA}"
)
MEANS = {"tiresias": 3469.69375, "optimus": 5301.875}  # of workload 6, as published


@pytest.fixture(scope="module")
def applications() -> dict[str, Application]:
    return read_applications(DATA / "traces")


@pytest.mark.parametrize(
    "workload", [6, *(pytest.param(other, marks=pytest.mark.slow) for other in (1, 2, 3, 4, 5, 7, 8))]
)
@pytest.mark.parametrize("name", MEANS)
def test_every_jct_is_the_published_one(name: str, workload: int, applications: dict[str, Application]) -> None:
    published = json.loads((DATA / f"results-jobload/{name}-1.0/summary.json").read_text())
    path = DATA / f"workloads/workload-{workload}.csv"
    jobs = read_workload(path, applications, elastic=name == "optimus")
    outcome = simulate_cluster(POLLUX_CLUSTER, jobs, LABORATORY[name], PolluxTimes(applications), **POLLUX_CLOCK)
    found = {job.name: job.jct_ns for job in outcome.jobs}
    assert found == {job: 10**9 * jct for job, jct in published["jcts"][f"workload-{workload}"].items()}
    if workload == 6:
        assert sum(found.values()) / len(found) / 1e9 == MEANS[name]
    assert outcome.by_level == {0: outcome.held}


def test_two_hosts_with_two_gpus_are_slower_than_four_with_one(applications: dict[str, Application]) -> None:
    """GPUs of a host share its link: measured so for models that are bound by communication."""
    for name, samples in {"bert": 8, "yolov3": 8, "deepspeech2": 28, "imagenet": 81, "cifar10": 182}.items():
        step = applications[name].step
        assert step((2, 2), samples).step_s > step((1, 1, 1, 1), samples).step_s > step((4,), samples).sum_s


def test_what_was_not_measured_is_refused(applications: dict[str, Application]) -> None:
    with pytest.raises(BadInput, match=r"application bert: 13 samples on 4\+4 GPUs were not measured, nor around"):
        applications["bert"].step((4, 4), 13)
    with pytest.raises(BadInput, match="application bert: a batch of 385 samples; allowed: 12 to 384"):
        applications["bert"].gain(0, 385)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("a,5,bert,2,96", "line 3, column time: '5'; allowed: times that do not go backwards; the line before has 60"),
        (
            "a,70,gpt,2,96",
            "line 3, column application: 'gpt'; allowed: bert, cifar10, deepspeech2, imagenet, ncf, yolo",
        ),
        ("a,70,bert,0,96", "line 3, column num_replicas: '0'; allowed: a whole number from 1 to 1024"),
        ("a,70,bert,2,9600", "line 3, column batch_size: '9600'; allowed: a whole number from 12 to 384"),
        ("a,70,bert,2", "line 3: 4 fields; allowed: 5, as in the header"),
    ],
)
def test_a_wrong_line_is_refused_by_file_line_and_column(
    line: str, problem: str, applications: dict[str, Application], tmp_path: Path
) -> None:
    path = tmp_path / "workload.csv"
    path.write_text(f"name,time,application,num_replicas,batch_size\nfirst,60,cifar10,1,128\n{line}\n")
    with pytest.raises(BadInput) as refused:
        read_workload(path, applications)
    assert str(refused.value).startswith(f"{path}: {problem}")
