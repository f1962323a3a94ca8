"""Where hosts stand, read from a file as Alibaba's: racks and pods, what is refused, and who is placed where."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from esa.cluster.packing import one_rack
from esa.errors import BadInput
from esa.laboratory.inputs.topology import read_topology
from experiments.laboratory.run import laboratory_of
from experiments.specs.cluster import ClusterScenario

LINGJUN = Path(__file__).resolve().parents[3] / "shared" / "data" / "lingjun" / "topo.csv"
TOPOLOGY = """ip,DSW,PSW,ASW
a,G1,P1,S1
b,G1,P2,S1
c,G1,P1,S2
d,G1,P1,S1
e,G1,P2,S1
f,G1,P2,S3
"""
SCENARIO = """name = "pods"
[cluster]
topology = "topo.csv"
gpus = 2
placement = "one-rack"
[synthetic]
jobs = 5
mean_interval_s = 10
most_gpus = 4
"""


def write(folder: Path, text: str = TOPOLOGY) -> Path:
    path = folder / "topo.csv"
    path.write_text(text)
    return path


def test_a_rack_is_a_path_of_switches_and_its_hosts_are_together(tmp_path: Path) -> None:
    found = [(one.name, one.rack, one.pod) for one in read_topology(write(tmp_path))]
    assert found == [("a", 0, 0), ("d", 0, 0), ("c", 1, 0), ("b", 2, 1), ("e", 2, 1), ("f", 3, 1)]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("ip,DSW,PSW\na,G1,P1\n", "line 1: no column ASW among ip,DSW,PSW; allowed: ip,DSW,PSW,ASW, and others"),
        (TOPOLOGY.replace("c,G1,P1,S2", "c,G1,,S2"), "line 4, column PSW: ''; allowed: a name"),
        (TOPOLOGY.replace("d,", "a,"), "line 5, column ip: 'a'; allowed: a host once; it is in line 2, too"),
        (TOPOLOGY.replace("e,G1,P2", "e,G1"), "line 6: 3 fields; allowed: 4, as in the header"),
        ("", "line 1: the file is empty; allowed: ip,DSW,PSW,ASW, then a line for each"),
    ],
)
def test_a_wrong_file_is_refused_by_line_and_column(text: str, problem: str, tmp_path: Path) -> None:
    path = write(tmp_path, text)
    with pytest.raises(BadInput) as refused:
        read_topology(path)
    assert str(refused.value).startswith(f"{path}: {problem}")


def test_a_scenarios_cluster_has_those_hosts_and_jobs_go_to_a_rack_else_to_a_pod(tmp_path: Path) -> None:
    write(tmp_path)
    path = tmp_path / "pods.toml"
    path.write_text(SCENARIO)
    cluster = laboratory_of(ClusterScenario.load(path), tmp_path).cluster
    assert [(host.rack, host.pod, host.gpus) for host in cluster.hosts] == [
        *[(0, 0, 2)] * 2, (1, 0, 2), *[(2, 1, 2)] * 2, (3, 1, 2)
    ]  # fmt: skip
    assert one_rack(cluster, [2, 2, 2, 1, 2, 0], 3) == [(4, 2), (3, 1)]  # the rack with the least to spare
    assert one_rack(cluster, [1, 2, 2, 2, 1, 0], 5) == [(1, 2), (2, 2), (0, 1)]  # no rack holds five, a pod does
    assert sum(some for _, some in one_rack(cluster, [2, 2, 2, 2, 2, 2], 8)) == 8  # nor eight


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('topology = "topo.csv"\n', "", "hosts: neither hosts nor topology; allowed: one of them"),
        ("gpus = 2", "gpus = 2\nhosts = 3", "hosts: both hosts and topology; allowed: one of them"),
        ("gpus = 2", "gpus = 2\nracks = 3", "racks: 3 with topology, which says which there are; allowed: without"),
    ],
)
def test_hosts_are_said_once(old: str, new: str, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "pods.toml"
    path.write_text(SCENARIO.replace(old, new))
    with pytest.raises(BadInput, match=problem):
        ClusterScenario.load(path)


@pytest.mark.skipif(not LINGJUN.is_file(), reason=f"topo.csv of alibaba/alibaba-lingjun-dataset-2023 not at {LINGJUN}")
def test_the_published_file_has_847_hosts_in_three_pods_and_racks_of_eight_at_most() -> None:
    places = read_topology(LINGJUN)
    racks = Counter(one.rack for one in places)
    assert (len(places), len(racks), max(racks.values())) == (847, 119, 8)
    assert sorted(Counter(one.pod for one in places).values()) == [179, 306, 362]
