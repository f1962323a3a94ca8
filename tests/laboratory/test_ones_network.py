"""Jobs such as those of ONES' artefact over a network: their own bytes, their own computing."""

from __future__ import annotations

from pathlib import Path

import pytest

from esa.cluster.times import Asked
from esa.errors import BadInput
from esa.laboratory.inputs.ones_network import OnesNetworkTimes, model_of
from esa.laboratory.inputs.ones_trace import KINDS, OnesTimes
from esa.network_times.levels import NetworkTimes
from esa.network_times.network import Network
from esa.network_times.training import bytes_of
from experiments.specs.cluster import ClusterScenario

NETWORK = Network("ps", rate_bps=10e9, spine_bps=40e9)


def times(tmp_path: Path, level: str = "formula") -> OnesNetworkTimes:
    return OnesNetworkTimes(NetworkTimes(NETWORK, [0, 0, 0, 0], level=level, folder=tmp_path))


def asked(kind: str, *hosts: tuple[int, int], job: int = 0, batch: int = 32) -> Asked:
    return Asked(job, kind, 1, batch, 0, hosts)


def test_models_are_as_large_as_the_artefacts_but_for_bert_and_two_on_small_images() -> None:
    ratios = {kind.name: bytes_of(model_of(kind)) / kind.gradients for kind in KINDS}
    small = [name for name in ratios if name == "resnet18-cifar" or name.startswith("bert")]
    assert len(small) == 4
    assert all(ratios[name] > 2 for name in small)
    assert 0.5 < ratios["googlenet-cifar"] < 0.6  # ours is without the classifiers at its sides
    same = [name for name in ratios if name not in (*small, "googlenet-cifar")]
    assert all(0.85 < ratios[name] < 1.15 for name in same), ratios


def test_a_job_on_one_host_computes_as_long_as_in_the_artefact(tmp_path: Path) -> None:
    for kind in KINDS:
        (answer,) = times(tmp_path)([asked(kind.name, (0, 2))])
        (of_formula,) = OnesTimes()([asked(kind.name, (0, 2))])
        assert answer.level == 0
        assert answer.iteration_s == pytest.approx(of_formula.iteration_s - kind.sum_s(2), rel=1e-6)


def test_what_a_kind_sends_is_its_own_gradients(tmp_path: Path) -> None:
    """One PS takes in what two ranks send: nothing hides that where hardly anything is computed."""
    for kind in KINDS:
        (answer,) = times(tmp_path)([asked(kind.name, (0, 1), (1, 1), batch=0)])
        least_s = 2 * 8 * kind.gradients / NETWORK.rate_bps
        assert least_s < answer.iteration_s < 1.6 * least_s, kind.name  # headers, and the first packets' way


def test_who_shares_a_host_waits_longer(tmp_path: Path) -> None:
    of = times(tmp_path, "flows")
    jobs = [asked(kind, (0, 1), (1, 1), job=job) for job, kind in enumerate(("vgg16", "vgg16-cifar", "alexnet"))]
    (alone,) = of(jobs[:1])
    together = of(jobs)
    assert together[0].iteration_s > 1.05 * alone.iteration_s
    assert {answer.level for answer in together} == {2}


def test_other_kinds_are_refused_and_so_is_a_network_under_measured_times(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="kind 'gpt': no times; allowed: bert-cola, "):
        times(tmp_path)([asked("gpt", (0, 1))])
    path = tmp_path / "scenario.toml"
    for source, problem in (
        ('[pollux]\ntraces = "traces"\nworkload = "workload-1.csv"\n', "network: pollux has measured times"),
        ('[ones]\ntraces = "traces"\nas_published = true\n', "network: jobs as published have times of their own"),
    ):
        path.write_text(f'name = "a"\n[cluster]\nhosts = 2\n[network]\n{source}')
        with pytest.raises(BadInput, match=f"{problem}; allowed: with"):
            ClusterScenario.load(path)
