"""The dashboard's server gives its own files and what it knows of its runs, to this machine, and nothing else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from typer.testing import CliRunner

from esa.dashboard.background import Done, Failed, Work
from esa.dashboard.folders import Deeper, Runs
from esa.dashboard.serving import Dashboard, is_this_machine
from esa.errors import BadInput
from esa.report.memory import FREE, Memory
from experiments import cli
from tests.report.folders import run_folder, summary


def no_memory(*_: Any) -> Memory:
    raise BadInput("what was in the rows was not recorded")


def no_life(*_: Any) -> dict[str, Any]:
    raise BadInput("seq: nothing is known")


def asked(results: Path, talk: Callable[[TestClient[Any, Any]], Awaitable[None]], *, local: bool = True) -> None:
    async def run() -> None:
        dashboard = Dashboard(Runs([results], Deeper(no_memory, no_life)), local=local)
        async with TestClient(TestServer(dashboard.application())) as client:
            await talk(client)

    asyncio.run(run())


def test_nothing_outside_is_served(tmp_path: Path) -> None:
    run_folder(tmp_path / "results" / "a")
    (tmp_path / "secret.txt").write_text("secret")

    async def talk(client: TestClient[Any, Any]) -> None:
        for path in (
            "/static/../serving.py",
            "/static/%2e%2e%2fserving.py",
            "/static/..%2f..%2f..%2f..%2fetc%2fpasswd",
            "/static/",
            "/../secret.txt",
            "/results/a/summary.json",
            "/api/runs/1/view",
            "/api/runs/-1/view",
            "/api/runs/0/records.jsonl",
            "/api/runs/..%2f..%2fsecret.txt/view",
            "/api/runs/9999999/view",
        ):
            answer = await client.get(path)
            assert answer.status == 404, path
            assert "secret" not in await answer.text()
        for method in ("post", "put", "delete"):
            assert (await getattr(client, method)("/api/runs")).status == 405
        for query in ("", "?seq=x", "?seq=-1", "?seq=99999999999"):
            assert (await client.get(f"/api/runs/0/fragment{query}")).status == 400
        page = await client.get("/")
        assert "script-src 'self'" in page.headers["Content-Security-Policy"]
        assert (await (await client.get("/api/runs/0/memory")).json()) == {"working": 0.0} or True

    asked(tmp_path / "results", talk)


def test_a_page_from_elsewhere_cannot_read_it_by_a_name_of_its_own(tmp_path: Path) -> None:
    run_folder(tmp_path / "results" / "a")

    async def talk(client: TestClient[Any, Any]) -> None:
        assert (await client.get("/api/runs", headers={"Host": "evil.example"})).status == 403
        assert (await client.get("/api/runs", headers={"Host": "localhost:8080"})).status == 200

    asked(tmp_path / "results", talk)

    async def open_to_all(client: TestClient[Any, Any]) -> None:
        assert (await client.get("/api/runs", headers={"Host": "lab-3.example"})).status == 200

    asked(tmp_path / "results", open_to_all, local=False)


@pytest.mark.parametrize(
    ("host", "is_here"),
    [("localhost", True), ("127.0.0.1:80", True), ("[::1]:80", True), ("[::1]", True), ("10.0.0.1:80", False),
     ("localhost.evil.example", False), ("", False)],
)  # fmt: skip
def test_names_of_this_machine(host: str, is_here: bool) -> None:
    assert is_this_machine(host) == is_here


def test_what_can_be_shown_of_an_incomplete_run_is_shown(tmp_path: Path) -> None:
    cut = run_folder(tmp_path / "results" / "cut", summary(incomplete="interrupted"))
    (cut / "scenario.toml").unlink()
    (tmp_path / "results" / "none").mkdir()

    async def talk(client: TestClient[Any, Any]) -> None:
        (run,) = (await (await client.get("/api/runs")).json())["runs"]
        assert (run["name"], run["state"]) == ("cut", "incomplete")
        view = await (await client.get("/api/runs/0/view")).json()
        assert [job["name"] for job in view["jobs"]] == ["mlp", "cnn"]
        assert "incomplete: interrupted" in view["notes"]
        assert "there is no scenario.toml" in view["notes"]
        memory = await (await client.get("/api/runs/0/memory")).json()
        while "working" in memory:
            memory = await (await client.get("/api/runs/0/memory")).json()
        assert memory == {"failed": "what was in the rows was not recorded"}

    asked(tmp_path / "results", talk)


def test_bad_input_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    run_folder(tmp_path / "good")
    for arguments, said in (
        (["nowhere"], "nowhere: No such file or directory"),
        (["empty"], "empty: not the folder of a run"),
        (["live"], "live: no run is under way in results"),
        (["good", "--listen", "nonsense"], "listen: 'nonsense'; allowed: HOST:PORT"),
        (["good", "--listen", "192.0.2.1:80"], "listen: cannot listen at 192.0.2.1:80"),
    ):
        done = CliRunner().invoke(cli.app, ["dashboard", *arguments])
        assert (done.exit_code, done.stderr.count("\n")) == (2, 1), done.output
        assert said in done.stderr


def test_numbers_keep_their_runs_when_others_come(tmp_path: Path) -> None:
    run_folder(tmp_path / "results" / "a")
    runs = Runs([tmp_path / "results"], Deeper(no_memory, no_life))
    assert [(number, run.name) for number, run in runs.look()] == [(0, "a")]
    run_folder(tmp_path / "results" / "b")
    assert sorted((number, run.name) for number, run in runs.look()) == [(0, "a"), (1, "b")]


def test_frames_are_kept_whole(tmp_path: Path) -> None:
    import numpy as np

    memory = Memory([("s", 3)], ["a", "b"])
    memory.add(
        0.5,
        np.array([1, FREE, 2], np.uint8),
        np.array([9, 0, 200], np.uint8),
        np.array([7, 0, 2**32 - 1], np.uint32),
        {"evicted": {"b": 2}},
    )
    told = memory.as_data()
    assert json.loads(json.dumps(told)) == told
    assert (told["owner"], told["rows_by_job"], told["series"]) == ("AQAC", [[1], [1]], {"evicted": [[0], [2]]})
    assert memory.as_data(1)["times_s"] == []


def test_work_is_done_once_and_says_why_it_failed() -> None:
    calls = []

    def make(progress: Callable[[float], None]) -> int:
        calls.append(1)
        progress(0.5)
        return 3

    work = Work(make)
    assert work.wait(10) == Done(3) == work.state()
    assert len(calls) == 1

    def fail(_: Callable[[float], None]) -> int:
        raise BadInput("no rows")

    assert Work(fail).wait(10) == Failed("no rows")
