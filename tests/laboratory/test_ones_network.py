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
    small = [name for name in ratios if name in ("resnet18-cifar", "vgg16-cifar") or name.startswith("bert")]
    assert len(small) == 5
    assert all(ratios[name] > 2 for name in small)
    assert all(0.85 < ratio < 1.15 for name, ratio in ratios.items() if name not in small), ratios


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
    job, other = asked("vgg16", (0, 1), (1, 1)), asked("alexnet", (0, 1), (1, 1), job=1)
    (alone,) = of([job])
    both = of([job, other])
    assert both[0].iteration_s > alone.iteration_s
    assert {answer.level for answer in both} == {2}


def test_other_kinds_are_refused_and_so_is_a_network_under_measured_times(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="kind 'gpt': no times; allowed: bert-cola, "):
        times(tmp_path)([asked("gpt", (0, 1))])
    path = tmp_path / "scenario.toml"
    path.write_text(
        'name = "a"\n[cluster]\nhosts = 2\n[network]\n[pollux]\ntraces = "traces"\nworkload = "workload-1.csv"\n'
    )
    with pytest.raises(BadInput, match="network: pollux has measured times; allowed: with jobs of synthetic, list or"):
        ClusterScenario.load(path)
