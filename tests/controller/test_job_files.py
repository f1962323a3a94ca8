"""Bad job files are refused with the file, the key and what is allowed; the file of added jobs never matters."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from controller import BadInput, SavedJobs, read_job
from tests.controller.jobs import job_dict, make_job, member


def refusal(path: Path, content: Any) -> str:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(BadInput) as caught:
        read_job(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


def test_a_good_file(tmp_path: Path) -> None:
    path = tmp_path / "job.json"
    path.write_text(json.dumps(job_dict()))
    assert read_job(path) == make_job()


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"nosuch.json: No such file or directory"):
        read_job(tmp_path / "nosuch.json")


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"policy": "esaa"}, ["unknown policy 'esaa'", "allowed: esa, atp, a2tp, switchml, ps"]),
        ({"windw": 3}, ["windw: unknown key; allowed: name, job, policy", "window"]),
        ({"pool": {"base": 0, "rows": 3, "size": 4}}, ["pool.rows: unknown key; allowed: base, size"]),
        ({"pool": {"base": 0, "size": 3}}, ["pool.size: pool size 3 is not a power of two"]),
        ({"pool": {"base": 8000, "size": 512}}, ["pool: rows 8000..8511 exceed the 8192 rows"]),
        ({"workers": [member(host) for host in range(1, 34)]}, ["workers: a fan-in of 33 exceeds 32"]),
        ({"workers": []}, ["workers: "]),
        ({"workers": [{**member(1), "mac": "AA"}]}, ["workers.0.mac: ", '"AA"']),
        ({"workers": [{**member(1), "port": 1}]}, ["workers.0.port: unknown key; allowed: ip, mac, udp_port"]),
        ({"lanes": 65}, ["lanes: no build with 65 lanes; allowed: 0, 64, 256"]),
        ({"server": member(9, 1234)}, ["server.udp_port: a PS listens on 31780"]),
        ({"quantisation": "none"}, ["quantisation: ", "'fixed' or 'adaptive'"]),
    ],
)
def test_bad_keys_are_named(tmp_path: Path, changes: dict[str, Any], parts: list[str]) -> None:
    message = refusal(tmp_path / "job.json", job_dict(**changes))
    for part in parts:
        assert part in message


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    content = job_dict()
    del content["server"]
    assert "server: Field required" in refusal(tmp_path / "job.json", content)


def test_not_json(tmp_path: Path) -> None:
    assert refusal(tmp_path / "job.json", "{name: 3").startswith("not JSON: ")


def test_saved_jobs_come_back_by_switch(tmp_path: Path) -> None:
    path = tmp_path / "state" / "jobs.json"
    here, there = SavedJobs(path, "a:1#1"), SavedJobs(path, "b:1#1")
    here.put(make_job("alpha", 1))
    here.put(make_job("beta", 2))
    there.put(make_job("gamma", 1))
    assert {key: job.name for key, job in here.jobs().items()} == {1: "alpha", 2: "beta"}
    here.drop(1)
    assert list(here.jobs()) == [2]
    here.clear()
    assert here.jobs() == {}
    assert there.jobs() == {1: make_job("gamma", 1)}
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("content", ["", "[]", "nonsense", '{"a:1#1": 3}', '{"a:1#1": {"1": {"name": "x"}}}'])
def test_a_damaged_file_counts_as_empty(tmp_path: Path, content: str) -> None:
    path = tmp_path / "jobs.json"
    path.write_text(content)
    saved = SavedJobs(path, "a:1#1")
    assert saved.jobs() == {}
    saved.put(make_job())
    assert list(saved.jobs()) == [1]


def test_a_file_that_cannot_be_written_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    SavedJobs(tmp_path / "file" / "jobs.json", "a:1#1").put(make_job())
